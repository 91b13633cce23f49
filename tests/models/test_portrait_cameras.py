"""Camera labels of the portrait, and the rays through their pixels."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

torch = pytest.importorskip("torch")

from mien.models.errors import InputError  # noqa: E402
from mien.models.face.eg3d_camera import camera_to_world, project, yaw_pitch_of  # noqa: E402
from mien.models.portrait.cameras import (  # noqa: E402
    PIVOT,
    SIDE_SPREAD_RAD,
    axis_share,
    frontal_label,
    orbit_label,
    rays,
    side_labels,
    turntable_labels,
)

angle = st.floats(-1.2, 1.2)


@given(angle, angle)
def test_a_label_says_where_its_camera_stands(yaw: float, pitch: float) -> None:
    label = orbit_label(yaw, pitch)
    assert np.allclose(yaw_pitch_of(label), (yaw, pitch), atol=1e-5)
    assert np.isclose(np.linalg.norm(camera_to_world(label)[:3, 3]), 2.7, atol=1e-5)
    centre = project(label, np.array([PIVOT]), 64)
    assert np.allclose(centre, 31.5, atol=1e-3)


def test_the_frontal_label_is_eg3ds() -> None:
    label = frontal_label()
    expected = np.diag([1.0, -1.0, -1.0, 1.0])
    expected[2, 3] = 2.7
    assert np.allclose(label[:16].reshape(4, 4), expected, atol=1e-6)
    assert np.allclose(label[[16, 20, 18, 21, 24]], (4.2647, 4.2647, 0.5, 0.5, 1.0), atol=1e-4)


@given(angle, st.floats(-1.0, 1.0), st.floats(0.1, 3.0))
def test_points_along_a_ray_lie_on_its_pixel(yaw: float, pitch: float, far: float) -> None:
    label = orbit_label(yaw, pitch)
    origins, directions = rays(torch.from_numpy(label)[None], 5)
    points = (origins + far * directions)[0].double().numpy()
    pixels = project(label, points, 5)
    rows, columns = np.mgrid[:5, :5]
    assert np.allclose(pixels, np.stack([columns.ravel(), rows.ravel()], 1), atol=1e-3)
    assert np.allclose(directions.norm(dim=-1), 1, atol=1e-6)


def test_depth_along_the_axis_is_a_share_of_that_along_the_ray() -> None:
    label = torch.from_numpy(orbit_label(0.4, -0.2))[None]
    origins, directions = rays(label, 6)
    distance = 2.5
    share = axis_share(label, directions)
    points = origins + distance / share[..., None] * directions
    pose = camera_to_world(label[0].numpy())
    in_camera = (points[0].double().numpy() - pose[:3, 3]) @ pose[:3, :3]
    assert np.allclose(in_camera[:, 2], distance, atol=1e-5)


def test_side_cameras_stay_within_their_spread_and_fill_it() -> None:
    labels = side_labels(400, np.random.default_rng(0))
    angles = np.array([yaw_pitch_of(label) for label in labels])
    assert np.abs(angles).max() <= SIDE_SPREAD_RAD + 1e-6
    assert np.allclose(angles.std(0), SIDE_SPREAD_RAD / np.sqrt(3), rtol=0.1)


def test_a_turntable_closes() -> None:
    labels = turntable_labels(12)
    steps = np.linalg.norm(np.diff(labels[:, :12], axis=0, append=labels[:1, :12]), axis=1)
    assert np.allclose(steps[6:], steps[:6], atol=1e-5)
    assert steps.max() < 1.0
    yaws = [yaw_pitch_of(label)[0] for label in labels]
    assert np.isclose(max(yaws), 0.6, atol=1e-6)
    assert np.isclose(min(yaws), -0.6, atol=1e-6)


def test_impossible_cameras_are_refused() -> None:
    with pytest.raises(InputError, match="height"):
        orbit_label(0.0, 1.57)
    with pytest.raises(InputError, match="expected 25"):
        rays(torch.zeros(1, 24), 4)
