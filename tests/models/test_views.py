"""Views of eyes and mouth: upright, mirrored, and the same at every size of the face."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mien.models.face.bundle import Bundle
from mien.models.face.crop import CROP_SIZE, Crop
from mien.models.face.names import BLENDSHAPE_NAMES
from mien.models.face.rotation import matrix_from_rotation_vector
from mien.models.face.views import (
    BLENDSHAPE_VIEWS,
    LEFT_EYE,
    MOUTH,
    RIGHT_EYE,
    STEP_MM,
    VIEW_HEIGHT,
    VIEW_WIDTH,
    FaceViews,
    ViewPlaces,
)  # fmt: skip

MIDDLE = (CROP_SIZE - 1) / 2
WHOLE = Crop(MIDDLE, MIDDLE, CROP_SIZE)
"""Crop pixels are the picture's."""
PLACES = ViewPlaces(
    np.array([[31, 3, 13], [-31, 3, 13], [0, 80, 5]], np.float32), np.zeros((40, 3, 3), np.float32)
)
"""Of a head that is its own mirror image."""
PLAIN = np.zeros(40, np.float32)


def blots(seed: int, width: int, height: int) -> np.ndarray:
    """A smooth picture."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (max(height // 24, 2), max(width // 24, 2), 3), dtype=np.uint8)
    return np.asarray(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC), np.uint8)


def pose_of(turn: np.ndarray, scale: float, at: tuple[float, float]) -> np.ndarray:
    pose = np.zeros((3, 4), np.float32)
    pose[:, :3] = scale * matrix_from_rotation_vector(turn)
    pose[:2, 3] = at
    return pose


def views_of(image: np.ndarray, pose: np.ndarray) -> FaceViews:
    return PLACES.views(image, WHOLE, pose, PLAIN)


def difference(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.abs(a.astype(int) - b.astype(int)).mean())


turns = st.tuples(st.floats(-0.5, 0.5), st.floats(-0.9, 0.9), st.floats(-1.0, 1.0))


@settings(max_examples=30, deadline=None)
@given(turn=turns, seed=st.integers(0, 99))
def test_a_mirrored_picture_has_the_same_views_the_other_way_round(
    turn: tuple[float, float, float], seed: int
) -> None:
    image = blots(seed, 480, 480)
    pose = pose_of(np.array(turn), 1.5, (240.0, 230.0))
    mirrored = pose.copy()
    mirrored[0] *= -1  # of the picture x changes sign,
    mirrored[:, 0] *= -1  # and of the head
    mirrored[0, 3] = 479 - pose[0, 3]
    one, two = views_of(image, pose), views_of(np.ascontiguousarray(image[:, ::-1]), mirrored)
    assert one.inside.all()
    assert two.inside.all()
    np.testing.assert_allclose(two.facing, one.facing * [-1, 1], atol=1e-5)
    assert difference(two.pixels[LEFT_EYE], one.pixels[RIGHT_EYE]) < 1.0
    assert difference(two.pixels[RIGHT_EYE], one.pixels[LEFT_EYE]) < 1.0
    assert difference(two.pixels[MOUTH], one.pixels[MOUTH, :, ::-1]) < 1.0


@settings(max_examples=30, deadline=None)
@given(roll=st.floats(-3.1, 3.1), seed=st.integers(0, 99))
def test_views_turn_with_the_picture(roll: float, seed: int) -> None:
    image = blots(seed, 481, 481)
    pose = pose_of(np.array([0.2, 0.4, 0.0]), 1.5, (235.0, 245.0))
    spin = matrix_from_rotation_vector(np.array([0.0, 0.0, roll]))
    turned = pose.copy()
    turned[:, :3] = spin @ pose[:, :3]
    turned[:2, 3] = spin[:2, :2] @ (pose[:2, 3] - 240) + 240
    affine = np.c_[spin[:2, :2], 240 - spin[:2, :2] @ np.array([240.0, 240.0])]
    moved = np.asarray(cv2.warpAffine(image, affine, (481, 481)), np.uint8)
    one, two = views_of(image, pose), views_of(moved, turned)
    np.testing.assert_allclose(two.facing, one.facing, atol=1e-5)
    assert difference(two.pixels, one.pixels) < 2.5


@pytest.mark.parametrize("times", [2, 3, 5, 9])
def test_a_larger_picture_has_the_same_views(times: int) -> None:
    image = blots(4, 400, 400)
    pose = pose_of(np.array([0.1, -0.5, 0.2]), 1.4, (200.0, 190.0))
    large = np.asarray(cv2.resize(image, None, fx=times, fy=times), np.uint8)
    larger = pose * np.float32(times)
    larger[:2, 3] = (pose[:2, 3] + 0.5) * times - 0.5
    one, two = views_of(image, pose), views_of(large, larger)
    np.testing.assert_allclose(two.facing, one.facing, atol=1e-6)
    assert difference(two.pixels, one.pixels) < 2.0


@pytest.mark.parametrize("scale", [2.0, 2.5, 3.0, 3.3, 3.6, 5.5, 9.0])
def test_a_pattern_finer_than_a_view_is_seen_as_its_mean(scale: float) -> None:
    """Of a large face: what lies between the samples counts, or stripes would appear."""
    image = np.zeros((1600, 1600, 3), np.uint8)
    image[:, 1::2] = 200
    image[1::2] //= 2
    seen = views_of(image, pose_of(np.zeros(3), scale, (800.0, 500.0)))
    assert seen.inside.all()
    assert np.abs(seen.pixels.astype(float) - image.mean()).max() < 25


def test_an_eye_lies_in_the_middle_of_its_view_the_nose_on_the_left() -> None:
    image = np.zeros((400, 400, 3), np.uint8)
    pose = pose_of(np.zeros(3), 2.0, (200.0, 200.0))
    for x in (31, -31):  # the eyes white, a red nose between
        cv2.circle(image, (200 + 2 * x, 206), 8, (255, 255, 255), -1)
    cv2.circle(image, (200, 206), 20, (0, 0, 255), -1)
    for view in views_of(image, pose).pixels[:MOUTH]:
        grey = view[..., 0].astype(float)
        rows, columns = np.nonzero(grey > 128)
        assert rows.mean() == pytest.approx((VIEW_HEIGHT - 1) / 2, abs=0.5)
        assert columns.mean() == pytest.approx((VIEW_WIDTH - 1) / 2, abs=0.5)
        red = (view[..., 2] > 128) & (grey < 128)
        assert np.nonzero(red)[1].mean() < 8


def test_the_mouth_lies_in_the_middle_of_its_view_and_the_chin_below() -> None:
    image = np.zeros((400, 400, 3), np.uint8)
    pose = pose_of(np.zeros(3), 2.0, (200.0, 200.0))
    cv2.circle(image, (200, 360), 8, (255, 255, 255), -1)
    cv2.circle(image, (200 + 2 * 24, 360 + 2 * 15), 8, (0, 0, 255), -1)  # left and below, in mm
    view = views_of(image, pose).pixels[MOUTH]
    white, red = view[..., 0] > 128, (view[..., 2] > 128) & (view[..., 0] < 128)
    middle = np.array([VIEW_HEIGHT - 1, VIEW_WIDTH - 1]) / 2
    np.testing.assert_allclose(np.argwhere(white).mean(0), middle, atol=0.5)
    step = STEP_MM[MOUTH]
    np.testing.assert_allclose(np.argwhere(red).mean(0), middle + [15 / step, 24 / step], atol=0.6)


def test_the_places_of_a_model_lie_about_eyes_and_mouth() -> None:
    model = Bundle.default().face_model
    places, marks = ViewPlaces.of(model), model.landmarks()
    rng = np.random.default_rng(0)
    for _ in range(5):
        shape = rng.normal(0, 1, 40).astype(np.float32)
        points = marks.decode(shape)
        left, right, mouth = places.mean + np.tensordot(shape, places.basis, 1)
        for place, eye, brow in (
            (left, slice(42, 48), slice(22, 27)), (right, slice(36, 42), slice(17, 22))
        ):  # fmt: skip
            assert points[brow].mean(0)[1] < place[1] < points[eye].mean(0)[1]  # y points down
            assert abs(place[0] - points[eye].mean(0)[0]) < 4
        assert points[48:60].mean(0)[1] < mouth[1] < points[8][1]
        assert abs(mouth[0]) < 3


def test_each_blendshape_is_looked_for_where_it_is() -> None:
    view = dict(zip(BLENDSHAPE_NAMES, BLENDSHAPE_VIEWS, strict=True))
    for name in ("eyeBlinkRight", "browDownRight", "cheekSquintRight"):
        assert view[name] == (RIGHT_EYE,)
    assert view["eyeLookInLeft"] == (LEFT_EYE,)
    assert view["browInnerUp"] == (LEFT_EYE, RIGHT_EYE)
    assert view["jawOpen"] == view["mouthSmileLeft"] == view["cheekPuff"] == (MOUTH,)


def test_facing_is_where_the_face_looks() -> None:
    image = blots(0, 400, 400)
    # Turned about the vertical: the nose to the picture's right, which is the subject's left.
    pose = pose_of(np.array([0.0, -0.5, 0.0]), 1.5, (200.0, 200.0))
    facing = views_of(image, pose).facing
    np.testing.assert_allclose(facing, [np.sin(0.5), 0], atol=1e-6)


def test_what_lies_outside_is_black_and_said() -> None:
    image = np.full((200, 200, 3), 255, np.uint8)
    far = views_of(image, pose_of(np.zeros(3), 1.0, (5000.0, 100.0)))
    assert not far.inside.any()
    assert not far.pixels.any()
    half = views_of(image, pose_of(np.zeros(3), 1.0, (20.0, 100.0)))  # the right eye is cut off
    assert half.inside.tolist() == [True, False, True]
    assert half.pixels[LEFT_EYE].min() == 255
    assert not half.pixels[RIGHT_EYE, :, VIEW_WIDTH // 2 :].any()
    for huge in (1e4, 1e20, 1e30):
        views_of(image, pose_of(np.zeros(3), huge, (100.0, 100.0)))
    for broken in (np.nan, np.inf, 0.0):
        assert not views_of(image, np.full((3, 4), broken, np.float32)).inside.any()
        nowhere = pose_of(np.zeros(3), 40.0, (broken, broken) if broken else (1e30, 0.0))
        assert not views_of(image, nowhere).pixels.any()
