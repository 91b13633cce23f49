"""The pinhole camera: field of view, projection and rays, files."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mien.models.errors import InputError
from mien.models.face.camera import Camera


@pytest.mark.parametrize(("width", "height"), [(640, 480), (480, 640), (1920, 1080)])
def test_the_field_of_view_spans_the_longer_side(width: int, height: int) -> None:
    camera = Camera.from_fov(width, height)
    middle = [(width - 1) / 2.0, (height - 1) / 2.0]
    longer = 0 if width > height else 1
    edges = np.array([middle, middle])
    edges[:, longer] = [-0.5, max(width, height) - 0.5]
    rays = camera.ray(edges)
    angle = np.degrees(np.arccos(rays[0] @ rays[1]))
    assert angle == pytest.approx(60.0, abs=1e-9)
    np.testing.assert_allclose(camera.ray(np.array(middle)), [0.0, 0.0, 1.0])


@settings(deadline=None)
@given(st.floats(-500, 500), st.floats(-500, 500), st.floats(100, 5000))
def test_a_point_lies_on_its_ray(x: float, y: float, z: float) -> None:
    camera = Camera(800.0, 780.0, 310.0, 250.0, 640, 480)
    point = np.array([x, y, z])
    ray = camera.ray(camera.project(point))
    np.testing.assert_allclose(ray * np.linalg.norm(point), point, rtol=1e-9, atol=1e-6)
    homogeneous = camera.matrix @ point
    np.testing.assert_allclose(homogeneous[:2] / homogeneous[2], camera.project(point))


def test_resizing_keeps_the_view() -> None:
    camera = Camera.from_fov(640, 480)
    small = camera.resized(320, 240)
    corner, small_corner = np.array([-0.5, -0.5]), np.array([-0.5, -0.5])
    np.testing.assert_allclose(camera.ray(corner), small.ray(small_corner))
    assert small.resized(640, 480) == camera


@pytest.mark.parametrize("name", ["camera.toml", "camera.json"])
def test_a_file_round_trip(tmp_path: Path, name: str) -> None:
    camera = Camera(801.5, 800.25, 319.5, 239.5, 640, 480)
    camera.save(tmp_path / name)
    assert Camera.load(tmp_path / name) == camera


@pytest.mark.parametrize(
    "text", ["", "fx = 1", "fx = 'a'\nfy=1\ncx=1\ncy=1\nwidth=1\nheight=1", "{"]
)
def test_a_bad_file_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "camera.toml"
    path.write_text(text)
    with pytest.raises(InputError, match=r"camera\.toml"):
        Camera.load(path)
    with pytest.raises(InputError, match=r"missing\.toml"):
        Camera.load(tmp_path / "missing.toml")


def test_impossible_cameras_are_refused() -> None:
    with pytest.raises(InputError, match="field of view"):
        Camera.from_fov(640, 480, 0.0)
    with pytest.raises(InputError, match="positive"):
        Camera(0.0, 1.0, 1.0, 1.0, 640, 480)
    with pytest.raises(InputError, match="finite"):
        Camera(float("nan"), 1.0, 1.0, 1.0, 640, 480)


def test_another_aspect_ratio_is_another_camera() -> None:
    with pytest.raises(InputError, match="640x480 pictures, this one is 640x360"):
        Camera.from_fov(640, 480).resized(640, 360)
