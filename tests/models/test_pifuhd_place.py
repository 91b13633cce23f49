"""The cube before the camera: what is placed falls on the picture where it came from."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mien.models.errors import InputError
from mien.models.face.camera import Camera
from mien.models.face.rotation import matrix_from_yaw_pitch_roll
from mien.models.pifuhd.crop import (
    BODY_MARGIN,
    apparent_angles_deg,
    body_view,
    cut,
    extended,
    local_scale,
    upright_roll_deg,
)
from mien.models.pifuhd.framing import (
    CENTRE_MM,
    CUBE_MM,
    centre_in_camera,
    cube_from_head,
    sight_from_head,
)
from mien.models.pifuhd.place import PictureCube, pixels

CAMERA = Camera.from_fov(640, 480)

views = st.builds(
    lambda x, y, z, roll: PictureCube.looking_at(
        np.array([x * z, y * z, z]), CUBE_MM, CAMERA.matrix, roll
    ),
    st.floats(-0.4, 0.4),
    st.floats(-0.3, 0.3),
    st.floats(350.0, 3000.0),
    st.floats(-90.0, 90.0),
)


@settings(max_examples=40, deadline=None)
@given(view=views, seed=st.integers(0, 1000))
def test_a_vertex_falls_on_the_pixel_that_its_crop_pixel_came_from(
    view: PictureCube, seed: int
) -> None:
    points = np.random.default_rng(seed).uniform(-1.0, 1.0, (50, 3))
    size = 200
    crop_px = ((points[:, :2] + 1.0) * size - 1.0) / 2.0
    mapped = np.column_stack([crop_px, np.ones(50)]) @ view.image_from_crop(size).T
    placed = view.camera_from_cube_points(points)
    np.testing.assert_allclose(
        pixels(placed, view.camera_matrix), mapped[:, :2] / mapped[:, 2:], atol=1e-6
    )
    np.testing.assert_allclose(view.crop_points(placed, size), crop_px, atol=1e-6)


@settings(max_examples=40, deadline=None)
@given(view=views, seed=st.integers(0, 1000))
def test_depth_is_along_the_line_of_sight_and_all_can_be_undone(
    view: PictureCube, seed: int
) -> None:
    points = np.random.default_rng(seed).uniform(-1.0, 1.0, (50, 3))
    placed = view.camera_from_cube_points(points)
    along = placed @ view.camera_from_cube[:, 2]
    half = 0.5 * view.side_mm
    np.testing.assert_allclose(along, view.distance_mm + half * points[:, 2], atol=1e-6)
    np.testing.assert_allclose(view.cube_from_camera_points(placed), points, atol=1e-9)


def test_the_middle_of_the_cube_is_where_it_was_put() -> None:
    centre = np.array([120.0, -40.0, 700.0])
    view = PictureCube.looking_at(centre, CUBE_MM, CAMERA.matrix)
    np.testing.assert_allclose(view.camera_from_cube_points(np.zeros((1, 3)))[0], centre)
    np.testing.assert_allclose(view.centre_mm, centre)
    assert np.linalg.det(view.camera_from_cube) == pytest.approx(1.0)


def test_from_afar_it_is_the_parallel_cube_of_training() -> None:
    rotation = matrix_from_yaw_pitch_roll(np.array([25.0, -10.0, 5.0]))
    translation = np.array([9000.0, -4000.0, 60000.0])
    view = PictureCube.looking_at(centre_in_camera(rotation, translation), CUBE_MM, CAMERA.matrix)
    head = np.random.default_rng(0).uniform(-1.0, 1.0, (30, 3)) * 100.0 + CENTRE_MM
    parallel = cube_from_head(sight_from_head(rotation, translation))
    np.testing.assert_allclose(
        view.cube_from_camera_points(head @ rotation.T + translation),
        head @ parallel[:, :3].T + parallel[:, 3],
        atol=0.003,
    )


def test_what_is_not_before_the_camera_is_refused() -> None:
    with pytest.raises(InputError, match="not before the camera"):
        PictureCube.looking_at(np.array([0.0, 0.0, -500.0]), CUBE_MM, CAMERA.matrix)


# Crops.


def ramp(width: int, height: int) -> np.ndarray:
    """Blue is the column, green the row, as shares of 250."""
    image = np.zeros((height, width, 3), np.uint8)
    image[..., 0] = np.round(np.linspace(0, 250, width))
    image[..., 1] = np.round(np.linspace(0, 250, height))[:, None]
    return image


@pytest.mark.parametrize(("width", "height"), [(320, 240), (1920, 1440), (7680, 5760)])
@pytest.mark.parametrize("roll", [0.0, 40.0])
def test_a_crop_shows_what_the_homography_says_at_any_size(
    width: int, height: int, roll: float
) -> None:
    camera = Camera.from_fov(width, height)
    view = PictureCube.looking_at(np.array([30.0, -20.0, 900.0]), CUBE_MM, camera.matrix, roll)
    crop = cut(ramp(width, height), view, 64)
    u, v = np.meshgrid(np.arange(64.0), np.arange(64.0))
    mapped = np.stack([u, v, np.ones_like(u)], -1) @ crop.image_from_crop.T
    x, y = mapped[..., 0] / mapped[..., 2], mapped[..., 1] / mapped[..., 2]
    assert crop.inside.all()
    assert np.abs(crop.image_bgr[..., 0] - 250.0 * x / (width - 1)).max() < 2.0
    assert np.abs(crop.image_bgr[..., 1] - 250.0 * y / (height - 1)).max() < 2.0


def test_a_crop_of_a_finer_picture_is_averaged() -> None:
    checks = np.indices((960, 1280)).sum(axis=0) % 2 * 255
    image = np.repeat(checks[..., None], 3, axis=2).astype(np.uint8)
    view = PictureCube.looking_at(
        np.array([0.0, 0.0, 800.0]), CUBE_MM, Camera.from_fov(1280, 960).matrix
    )
    crop = cut(image, view, 64)
    assert np.abs(crop.image_bgr.astype(float) - 127.5).max() < 12.0


def test_beyond_the_picture_a_crop_is_black_and_says_so() -> None:
    camera = Camera.from_fov(320, 240)
    view = PictureCube.looking_at(np.array([0.0, 0.0, 400.0]), CUBE_MM, camera.matrix)
    crop = cut(np.full((240, 320, 3), 200, np.uint8), view, 128)
    assert not crop.inside.all()
    assert (crop.image_bgr[~crop.inside] == 0).all()
    assert (crop.image_bgr[crop.inside] > 150).all()
    away = PictureCube.looking_at(np.array([5000.0, 0.0, 400.0]), CUBE_MM, camera.matrix)
    with pytest.raises(InputError, match="outside of the picture"):
        cut(np.zeros((240, 320, 3), np.uint8), away, 64)


@pytest.mark.parametrize("roll", [0.0, 35.0])
def test_the_sides_at_which_a_person_is_cut_are_named(roll: float) -> None:
    camera = Camera.from_fov(400, 300)
    view = PictureCube.looking_at(np.array([0.0, 0.0, 420.0]), CUBE_MM, camera.matrix, roll)
    crop = cut(np.full((300, 400, 3), 99, np.uint8), view, 128)
    mask = np.zeros((128, 128), bool)
    mask[50:, 40:80] = True
    assert crop.cut_sides(mask) == ("bottom",)
    assert crop.cut_sides(np.zeros((128, 128), bool)) == ()
    mask[:50, 40:80] = True
    assert crop.cut_sides(mask) == ("top", "bottom")


def test_a_trunk_is_carried_on_below_the_picture_and_nowhere_else() -> None:
    camera = Camera.from_fov(400, 300)
    view = PictureCube.looking_at(np.array([0.0, 0.0, 420.0]), CUBE_MM, camera.matrix)
    crop = cut(np.full((300, 400, 3), (10, 90, 200), np.uint8), view, 128)
    alpha = np.zeros((128, 128), np.uint8)
    alpha[60:, 30:90] = 255
    alpha[~crop.inside] = 0
    expected = np.full((128, 128), -4.0, np.float32)
    expected[:, 30:90] = 4.0
    image, mask = extended(crop, alpha, expected, 64.0)
    assert (mask[100:, 35:85] == 255).all()
    assert (np.abs(image[100:, 35:85].astype(int) - (10, 90, 200)) <= 2).all()
    assert (mask[:60] == 0).all()
    np.testing.assert_array_equal(mask[crop.inside], alpha[crop.inside])
    np.testing.assert_array_equal(image[crop.inside], crop.image_bgr[crop.inside])


@pytest.mark.parametrize("roll", [-70.0, -10.0, 12.0, 40.0])
def test_a_tilted_head_is_turned_upright_beyond_what_is_trained(roll: float) -> None:
    pose = np.eye(4)
    pose[:3, :3] = matrix_from_yaw_pitch_roll(np.array([10.0, 5.0, roll]))
    pose[:3, 3] = 0.0, 0.0, 700.0
    turned = upright_roll_deg(pose)
    assert turned == (pytest.approx(roll) if abs(roll) > 15.0 else 0.0)
    view = PictureCube.looking_at(pose[:3, 3], CUBE_MM, CAMERA.matrix, turned)
    left, right = (pose[:3, :3] @ np.array([x, 0.0, 0.0]) + pose[:3, 3] for x in (-50.0, 50.0))
    (u0, v0), (u1, v1) = view.crop_points(np.stack([left, right]), 256)
    assert abs(np.degrees(np.arctan2(v1 - v0, u1 - u0))) < 16.0
    assert apparent_angles_deg(pose)[2] == pytest.approx(roll)


def test_a_body_fills_its_cube_but_for_the_margin() -> None:
    view = body_view((300.0, 60.0, 100.0, 400.0), CAMERA.matrix)
    matrix = view.image_from_crop(230)
    assert local_scale(matrix, 114.5) == pytest.approx(BODY_MARGIN * 400 / 230, rel=0.05)
    middle = view.crop_points(view.centre_mm[None], 230)[0]
    np.testing.assert_allclose(middle, 114.5)
    np.testing.assert_allclose(
        pixels(view.centre_mm[None], CAMERA.matrix)[0], (349.5, 259.5), atol=1e-6
    )
    with pytest.raises(InputError, match="width and a height"):
        body_view((0.0, 0.0, 0.0, 5.0), CAMERA.matrix)


def test_a_crop_of_a_small_picture_is_smooth() -> None:
    noise = np.random.default_rng(0).integers(0, 255, (60, 80, 3), dtype=np.uint8)
    view = PictureCube.looking_at(
        np.array([0.0, 0.0, 900.0]), CUBE_MM, Camera.from_fov(80, 60).matrix
    )
    crop = cut(cv2.GaussianBlur(noise, (0, 0), 2.0), view, 256)
    assert crop.scale < 0.5
    assert np.abs(np.diff(crop.image_bgr.astype(float), axis=1)).mean() < 4.0
