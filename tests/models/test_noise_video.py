"""Short videos: the labels of each frame say where its pixels went."""

from __future__ import annotations

from importlib.resources import as_file, files
from itertools import pairwise

import cv2
import numpy as np
import pytest

from mien.models.errors import InputError
from mien.models.face.camera import Camera
from mien.models.face.morphable import FaceModel
from mien.models.face.rotation import matrix_from_yaw_pitch_roll
from mien.models.noise.placed_face import LabelledFaces, PlacedFace
from mien.models.noise.profiling import HEAD_CENTRE_MM
from mien.models.noise.video import VideoNoise, moved_picture, short_video, similarity
from mien.models.render.raster import vertex_normals
from mien.models.render.scene import render
from mien.models.render.texture import to_srgb
from mien.models.synthetic.framing import Pose, crop_camera
from mien.models.synthetic.scene import Studio
from mien.models.synthetic.surroundings import sample_lights

STILL = VideoNoise().scaled(motion=0.0, degradation=0.0)
CLEAN = VideoNoise().scaled(degradation=0.0)
SEEN = (19, 24, 27, 30, 33, 36, 39, 42, 45, 48, 51, 54, 57)
"""Landmarks that a face within 30 degrees of the camera shows."""


@pytest.fixture(scope="module")
def model() -> FaceModel:
    with as_file(files("mien.models.weights.default") / "face_model.npz") as path:
        return FaceModel.load(path)


@pytest.fixture(scope="module")
def face(model: FaceModel) -> PlacedFace:
    """Turned by a few degrees, in a picture of 144 x 144."""
    rotation = matrix_from_yaw_pitch_roll(np.array([10.0, -4.0, 6.0]))
    pose = np.column_stack([0.62 * rotation, [66.0, 58.0, 0.0]])
    return PlacedFace.orthographic(model.mean, model.triangles, pose)


def picture(seed: int = 0) -> np.ndarray:
    coarse = np.random.default_rng(seed).integers(0, 255, (18, 18, 3), dtype=np.uint8)
    return np.asarray(cv2.resize(coarse, (144, 144), interpolation=cv2.INTER_CUBIC), np.uint8)


def blob(at: np.ndarray, size: int = 144) -> np.ndarray:
    """A smooth dot, exactly where it is said to be: (size, size, 3)."""
    rows, columns = np.mgrid[:size, :size]
    level = 250 * np.exp(-((columns - at[0]) ** 2 + (rows - at[1]) ** 2) / (2 * 1.0**2))
    return np.repeat(np.rint(level).astype(np.uint8)[..., None], 3, 2)


def found(image: np.ndarray, near: np.ndarray) -> np.ndarray:
    """The middle of the dot that lies near a place; a warp may stretch it: its peak is sought."""
    level = image[..., 0].astype(np.float64)
    rows, columns = np.mgrid[: image.shape[0], : image.shape[1]]
    at = near
    for radius in (5.0, 2.5, 2.5, 2.5):
        window = level * (np.hypot(columns - at[0], rows - at[1]) < radius)
        at = np.array([(window * columns).sum(), (window * rows).sum()]) / window.sum()
    return at


@pytest.mark.parametrize("seed", [0, 1])
def test_dots_at_the_landmarks_are_found_where_the_labels_say(
    model: FaceModel, face: PlacedFace, seed: int
) -> None:
    errors: dict[int, float] = {}
    for landmark in SEEN:
        vertex = model.landmark_vertices[landmark]
        image = blob(face.pixels[vertex])
        for frame in short_video(image, face, CLEAN, np.random.default_rng(seed)):
            assert frame.face is not None
            label = frame.face.pixels[vertex]
            error = float(np.linalg.norm(found(frame.image_bgr, label) - label))
            errors[landmark] = max(error, errors.get(landmark, 0.0))
    # In the creases below nose and lip one side of a dot is hidden or stretched.
    creased = max(errors.pop(33), errors.pop(57))
    assert max(errors.values()) < 0.2, errors
    assert creased < 0.5


def test_every_visible_pixel_of_a_smooth_pattern_follows_the_mesh(face: PlacedFace) -> None:
    """The picture codes its own coordinates: each vertex must show those that it came from."""
    rows, columns = np.mgrid[:144, :144]
    image = np.stack([columns, rows, np.zeros_like(rows)], 2).astype(np.uint8)
    turn = matrix_from_yaw_pitch_roll(np.array([9.0, -6.0, 0.0]))
    affine = similarity(1.06, 5.0, np.array([3.0, -4.0]), np.array([72.0, 72.0]))
    moved, after = moved_picture(image, face, turn, affine)
    assert after is not None
    # Vertices in front, away from the rim: what faces the camera before and after.
    mesh = face.vertices_mm.astype(np.float32)
    normals = vertex_normals(mesh, face.triangles)
    front = (normals @ face.pose[2, :3] < -0.35) & (normals @ after.pose[2, :3] < -0.35)
    front &= face.depth_mm < 40
    at = after.pixels[front].astype(np.float32)
    shown = cv2.remap(moved.astype(np.float32), at[:, 0], at[:, 1], cv2.INTER_LINEAR)
    error = np.linalg.norm(shown.reshape(-1, 3)[:, :2] - face.pixels[front], axis=1)
    assert front.sum() > 600
    assert np.median(error) < 0.4  # bytes: the code itself is rounded to whole pixels
    assert np.percentile(error, 97) < 1.0


def test_no_strength_is_identity(face: PlacedFace) -> None:
    image = picture()
    for frame in short_video(image, face, STILL, np.random.default_rng(0)):
        np.testing.assert_array_equal(frame.image_bgr, image)
        assert frame.face is not None
        np.testing.assert_allclose(frame.face.pose, face.pose, atol=1e-9)
        np.testing.assert_allclose(frame.face.pixels, face.pixels, atol=1e-9)


def test_the_same_seed_gives_the_same_video(face: PlacedFace) -> None:
    image = picture()
    before = image.copy()
    one, again, other = (
        short_video(image, face, VideoNoise(), np.random.default_rng(seed)) for seed in (5, 5, 6)
    )
    np.testing.assert_array_equal(image, before)
    assert len(one) == 8
    for a, b in zip(one, again, strict=True):
        np.testing.assert_array_equal(a.image_bgr, b.image_bgr)
        np.testing.assert_array_equal(a.affine, b.affine)
        np.testing.assert_array_equal(a.turn, b.turn)
    assert any((a.image_bgr != b.image_bgr).any() for a, b in zip(one, other, strict=True))


def test_movement_accumulates_within_its_ranges(face: PlacedFace) -> None:
    config = VideoNoise(frames=40, turn_limit_deg=12.0)
    video = short_video(picture(), face, config, np.random.default_rng(2))
    furthest = 0.0
    for a, b in pairwise(video):
        step = b.affine[:, :2] @ np.linalg.inv(a.affine[:, :2])
        scale = np.sqrt(np.linalg.det(step))
        assert 0.95 <= scale <= 1.05
        assert abs(np.degrees(np.arctan2(step[1, 0], step[0, 0]))) <= 3.0
        turn = a.turn.T @ b.turn
        assert np.degrees(np.arccos((np.trace(turn) - 1) / 2)) <= 5.0 * np.sqrt(2) + 1e-6
        furthest = max(furthest, np.degrees(np.arccos((np.trace(b.turn) - 1) / 2)))
    assert 6.0 < furthest < 12.0 * np.sqrt(2) + 1.0


def test_a_crop_is_sampled_once_and_its_labels_lie_in_it(
    model: FaceModel, face: PlacedFace
) -> None:
    first = similarity(0.9, 10.0, np.array([-12.0, -12.0]), np.array([72.0, 72.0]))
    vertex = model.landmark_vertices[30]
    image = blob(face.pixels[vertex])
    video = short_video(image, face, CLEAN, np.random.default_rng(3), first=first, size=(120, 100))
    assert video[0].face is not None
    np.testing.assert_allclose(video[0].affine, first)
    np.testing.assert_allclose(video[0].face.pixels, face.moved(first).pixels)
    for frame in video:
        assert frame.image_bgr.shape == (100, 120, 3)
        assert frame.face is not None
        label = frame.face.pixels[vertex]
        assert np.linalg.norm(found(frame.image_bgr, label) - label) < 0.2


def test_a_picture_without_a_face_moves_too() -> None:
    image = picture()
    video = short_video(image, None, CLEAN, np.random.default_rng(0))
    assert all(frame.face is None for frame in video)
    moved = cv2.warpAffine(
        image,
        video[4].affine,
        (144, 144),
        flags=cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REFLECT_101,
    )
    np.testing.assert_array_equal(video[4].image_bgr, moved)


def test_strengths_scale_and_impossible_ones_are_refused() -> None:
    config = VideoNoise(shrink=2.0, compression=40.0)
    half = config.scaled(0.5, 0.5)
    assert (half.turn_deg, half.shift_px, half.scale) == (2.5, 2.5, 0.025)
    assert (half.gaussian_sigma, half.shrink, half.compression) == (1.5, 1.5, 20.0)
    larger = config.for_crop(240.0)
    assert (larger.shift_px, larger.motion_blur_px, larger.turn_deg) == (10.0, 10.0, 5.0)
    for wrong in ({"turn_deg": -1.0}, {"compression": 120.0}, {"frames": 0}, {"shrink": 0.5}):
        with pytest.raises(InputError, match="video noise"):
            VideoNoise(**wrong)  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize(
    ("angles", "turn_deg", "distance_mm"),
    [((0.0, 0.0, 4.0), (10.0, -6.0), 400.0), ((30.0, -5.0, 0.0), (-10.0, 0.0), 900.0)],
)
def test_a_profiled_face_is_the_one_rendered_there(
    studio: Studio,
    angles: tuple[float, float, float],
    turn_deg: tuple[float, float],
    distance_mm: float,
) -> None:
    rng = np.random.default_rng(3)
    look = studio.sample_look(rng)
    neutral = np.zeros(52, np.float32)
    rotation = matrix_from_yaw_pitch_roll(np.array(angles))
    turn = matrix_from_yaw_pitch_roll(np.array([*turn_deg, 0.0]))
    place = np.array([0.03, -0.02, 1.0]) * distance_mm
    before = Pose(rotation, place)
    after = Pose(rotation @ turn, place + rotation @ (HEAD_CENTRE_MM - turn @ HEAD_CENTRE_MM))
    mesh = studio.expressed(look.person, neutral)[studio.head.face_vertices].astype(np.float64)
    model, landmarks = studio.head.model, studio.head.model.landmark_vertices
    camera = crop_camera(mesh[landmarks] @ rotation.T + place, 144)
    large = Camera(camera.fx * 2, camera.fy * 2, camera.cx * 2 + 0.5, camera.cy * 2 + 0.5, 288, 288)
    lights = sample_lights(rng)
    renders = []
    for pose in (before, after):
        skin = studio.surfaces(look, neutral, pose, rotation, np.random.default_rng(1))[:1]
        light = render(skin, large, lights, np.full((288, 288, 3), 0.2, np.float32)).image
        small = cv2.resize(light, (144, 144), interpolation=cv2.INTER_AREA)
        renders.append(to_srgb(np.ascontiguousarray(small)))
    true = camera.project(mesh @ after.rotation.T + after.translation)
    whole = PlacedFace.perspective(mesh, model.triangles, before.rotation, place, camera)
    points = camera.project(mesh @ rotation.T + place)[studio.points]
    labelled = LabelledFaces(model, studio.points.tolist()).place(
        look.person.shape, neutral, whole.pose, points
    )
    for face, tolerance in ((whole, 1e-6), (labelled, 0.8)):
        image, moved = moved_picture(renders[0], face, turn, np.eye(2, 3))
        assert moved is not None
        error = np.linalg.norm(moved.pixels[landmarks] - true[landmarks], axis=1)
        assert error.max() < tolerance
        # The middle of the face, where nothing was hidden before: light from its own direction
        # and samples of a texture are all that may differ.
        inner = np.zeros((144, 144), np.uint8)
        hull = cv2.convexHull(true[landmarks[list(SEEN)]].astype(np.float32))
        cv2.fillConvexPoly(inner, np.rint(hull).astype(np.int32), 1)
        apart = np.abs(image.astype(int) - renders[1])[inner > 0].mean()
        unmoved = np.abs(renders[0].astype(int) - renders[1])[inner > 0].mean()
        assert apart < 0.5 * unmoved
        assert apart < 8.0
