"""The person is cut out of a crop, and the quality says when not to believe it."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from jaxtyping import Float32

from mien.models.face.camera import Camera
from mien.models.pifuhd.crop import cut
from mien.models.pifuhd.framing import CUBE_MM, centre_in_camera
from mien.models.pifuhd.minimal_cut import edge_weights, minimal_cut
from mien.models.pifuhd.place import PictureCube
from mien.models.pifuhd.segment import LOW_QUALITY, guided_filter, segment
from mien.models.pifuhd.silhouette_prior import NECK_MM, certain, expected, expected_body

SIZE = 192
POSE = np.eye(4)
POSE[:3, 3] = 0.0, -20.0, 700.0
VIEW = PictureCube.looking_at(
    centre_in_camera(POSE[:3, :3], POSE[:3, 3]), CUBE_MM, Camera.from_fov(640, 480).matrix
)


def head_points(points_mm: list[tuple[float, float, float]]) -> np.ndarray:
    return VIEW.crop_points(np.array(points_mm) + POSE[:3, 3], SIZE)


@pytest.fixture(scope="module")
def truth() -> np.ndarray:
    """A bust: head with hair that stands out to one side, neck and shoulders."""
    mask = np.zeros((SIZE, SIZE), np.uint8)
    middle, reach = head_points([(0.0, 0.0, 85.0), (80.0, 118.0, 85.0)])
    axes = tuple(int(v) for v in np.round(np.abs(reach - middle) * 1.05))
    cv2.ellipse(mask, tuple(np.round(middle).astype(int).tolist()), axes, 0, 0, 360, 1, -1)
    hair = np.round(middle + (-20, -22)).astype(int).tolist()
    cv2.circle(mask, tuple(hair), 28, 1, -1)
    neck = head_points([NECK_MM])[0]
    x, y = neck.tolist()
    left, right = round(x - 22), round(x + 22)
    cv2.rectangle(mask, (left, round(y - 20)), (right, round(y + 20)), 1, -1)
    outline = [(x - 24, y + 2), (x - 75, y + 26), (x - 85, SIZE), (x + 85, SIZE), (x + 75, y + 26)]
    cv2.fillPoly(mask, [np.array([*outline, (x + 24, y + 2)], np.int32)], 1)
    return mask.astype(bool)


@pytest.fixture(scope="module")
def prior() -> Float32[np.ndarray, "S S"]:
    return expected(VIEW, POSE, SIZE)


@pytest.fixture(scope="module")
def seed(prior: Float32[np.ndarray, "S S"]) -> np.ndarray:
    landmarks = head_points(
        [(x, y, 20.0) for x, y in ((-60, 0), (60, 0), (-50, 70), (50, 70), (0, 110))]
    )
    return certain(np.resize(landmarks, (68, 2)), SIZE)


def painted(
    mask: np.ndarray, person: tuple[int, int, int], around: tuple[int, int, int]
) -> np.ndarray:
    rng = np.random.default_rng(1)
    image = np.where(mask[..., None], person, around).astype(float)
    image = cv2.GaussianBlur(image, (0, 0), 0.8) + rng.normal(0.0, 4.0, image.shape)
    return np.clip(image, 0, 255).astype(np.uint8)


def overlap(one: np.ndarray, other: np.ndarray) -> float:
    return float((one & other).sum() / (one | other).sum())


EVERYWHERE = np.ones((SIZE, SIZE), bool)


def test_a_person_before_a_wall_is_cut_out(
    truth: np.ndarray, prior: Float32[np.ndarray, "S S"], seed: np.ndarray
) -> None:
    found = segment(painted(truth, (90, 120, 190), (150, 160, 120)), EVERYWHERE, prior, seed)
    assert overlap(found.mask, truth) > 0.95
    assert found.quality > 0.8
    assert found.doubts == ()
    # Where the form alone would be, hair that stands out is not: the picture decided.
    assert overlap(prior > 0, truth) < overlap(found.mask, truth) - 0.05


def test_it_is_one_piece_without_small_holes_and_only_in_the_picture(
    truth: np.ndarray, prior: Float32[np.ndarray, "S S"], seed: np.ndarray
) -> None:
    image = painted(truth, (90, 120, 190), (150, 160, 120))
    cv2.circle(image, (96, 170), 6, (150, 160, 120), -1)  # a badge in the colour of the wall
    cv2.circle(image, (15, 20), 9, (90, 120, 190), -1)  # a lamp in the colour of the person
    inside = EVERYWHERE.copy()
    inside[:, 170:] = False
    image[~inside] = 0
    found = segment(image, inside, prior, seed)
    assert not found.mask[~inside].any()
    assert found.mask[170, 96]
    assert not found.mask[20, 15]
    assert cv2.connectedComponents(found.mask.astype(np.uint8))[0] == 2


def test_a_person_in_the_colours_of_the_background_is_doubted(
    truth: np.ndarray, prior: Float32[np.ndarray, "S S"], seed: np.ndarray
) -> None:
    clear = segment(painted(truth, (90, 120, 190), (150, 160, 120)), EVERYWHERE, prior, seed)
    hidden = segment(painted(truth, (120, 130, 140), (121, 130, 141)), EVERYWHERE, prior, seed)
    assert hidden.quality < LOW_QUALITY < clear.quality
    assert hidden.doubts
    # Nothing is seen, so the form that is expected is what remains.
    assert overlap(hidden.mask, prior > 0) > 0.7


def test_what_is_expected_follows_the_head(prior: Float32[np.ndarray, "S S"]) -> None:
    middle = np.round(head_points([(0.0, 20.0, 60.0)])[0]).astype(int)
    assert prior[middle[1], middle[0]] > 2.0
    assert prior[3, 3] < -3.0
    assert prior[-3, SIZE // 2] > 2.0
    moved = POSE.copy()
    moved[0, 3] += 60.0
    shift = round(60.0 * VIEW.distance_mm / 790.0 / (CUBE_MM / SIZE))
    other = expected(VIEW, moved, SIZE)
    difference = np.abs(other[:, shift:] - prior[:, :-shift])
    assert np.median(difference) < 0.15


def test_a_body_is_expected_upright_in_its_cube() -> None:
    view = PictureCube.looking_at(np.array([0.0, 0.0, 3000.0]), 1955.0, VIEW.camera_matrix)
    prior, sure = expected_body(view, None, 160)
    assert (prior[sure] > 1.0).all()
    assert prior[:, :5].max() < -1.0
    assert prior[80, 80] > 1.0
    assert prior[2, 80] < 0.0


# What it is made of.


def test_the_cut_keeps_to_an_edge_and_to_its_costs() -> None:
    image = np.zeros((40, 40, 3), np.uint8)
    image[:, 22:] = 200
    cost = np.zeros((40, 40), np.float32)
    cost[:, :8], cost[:, 32:] = -1.0, 1.0  # known at the sides; in between the edge decides
    share = minimal_cut(cost, 2.0 * edge_weights(image), 600)
    assert (share[:, :21] > 0.9).all()
    assert (share[:, 23:] < 0.1).all()


def test_without_boundaries_each_pixel_goes_its_own_way() -> None:
    cost = np.random.default_rng(0).normal(size=(20, 20)).astype(np.float32)
    share = minimal_cut(cost, np.zeros((2, 20, 20), np.float32), 200)
    sure = np.abs(cost) > 0.1
    np.testing.assert_array_equal(share[sure] > 0.5, cost[sure] < 0)


def test_the_guided_filter_keeps_what_is_linear_in_the_guide() -> None:
    guide = np.random.default_rng(0).random((48, 48, 3)).astype(np.float32)
    values = guide @ np.array([0.2, -0.5, 0.9], np.float32) + np.float32(0.3)
    np.testing.assert_allclose(guided_filter(guide, values, 4, 1e-8), values, atol=1e-3)
    flat = np.full((48, 48), 0.7, np.float32)
    np.testing.assert_allclose(guided_filter(guide, flat, 4, 1e-4), flat, atol=1e-4)


def test_a_portrait(eval_dir: Path) -> None:
    """The astronaut, before a bright wall and beside a flag."""
    image = cv2.imread(str(eval_dir / "astronaut.png"))
    assert image is not None
    pose = np.eye(4)
    camera = Camera.from_fov(512, 512)
    pose[:3, 3] = camera.ray(np.array([222.0, 105.0])) * 690.0
    view = PictureCube.looking_at(
        centre_in_camera(pose[:3, :3], pose[:3, 3]), CUBE_MM, camera.matrix
    )
    crop = cut(np.asarray(image, np.uint8), view, 256)
    hull = np.array([[180, 100], [265, 100], [185, 140], [260, 140], [222, 178]], float)
    flat = np.column_stack([hull, np.ones(5)]) @ np.linalg.inv(crop.image_from_crop).T
    seed = certain(np.resize(flat[:, :2] / flat[:, 2:], (68, 2)), 256)
    found = segment(crop.image_bgr, crop.inside, expected(view, pose, 256), seed)

    def at(x: float, y: float) -> bool:
        u, v, w = np.linalg.inv(crop.image_from_crop) @ (x, y, 1.0)
        return bool(found.mask[round(v / w), round(u / w)])

    assert at(222, 40), "hair"
    assert at(160, 90), "hair"
    assert at(270, 90), "hair"
    assert at(222, 200), "neck"
    assert not at(130, 60), "wall"
    assert not at(330, 60), "wall"
    assert found.quality > 0.7
