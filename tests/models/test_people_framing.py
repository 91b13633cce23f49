"""How a head's cube lies: the generator's view and a photograph's agree."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mien.models.errors import InputError
from mien.models.face.rotation import matrix_from_yaw_pitch_roll
from mien.models.people.orthographic import into_view, parallel_camera
from mien.models.pifuhd.framing import (
    CENTRE_MM,
    CUBE_MM,
    centre_in_camera,
    cube_from_head,
    sight_from_head,
)
from mien.models.pifuhd.place import PictureCube
from mien.models.render.surface import Surface

angles = st.tuples(st.floats(-75, 75), st.floats(-25, 25), st.floats(-15, 15))


@settings(max_examples=30, deadline=None)
@given(angles=angles, side=st.floats(100, 900))
def test_the_cube_holds_a_fixed_point_at_its_middle(
    angles: tuple[float, float, float], side: float
) -> None:
    turn = matrix_from_yaw_pitch_roll(np.array(angles))
    cube = cube_from_head(turn, side)
    np.testing.assert_allclose(cube[:, :3] @ CENTRE_MM + cube[:, 3], 0, atol=1e-5)
    forward = CENTRE_MM + turn.T @ [0.0, 0.0, side / 2]
    np.testing.assert_allclose(cube[:, :3] @ forward + cube[:, 3], [0, 0, 1], atol=1e-5)


@settings(max_examples=30, deadline=None)
@given(angles=angles, x=st.floats(-0.4, 0.4), y=st.floats(-0.4, 0.4), depth=st.floats(400, 3000))
def test_a_photographs_cube_is_the_generators(
    angles: tuple[float, float, float], x: float, y: float, depth: float
) -> None:
    """Points on the plane through the middle have the same cube coordinates both ways."""
    turn = matrix_from_yaw_pitch_roll(np.array(angles))
    translation = np.array([x, y, 1.0]) * depth
    camera = np.array([[900.0, 0, 320], [0, 900, 240], [0, 0, 1]])
    view = PictureCube.looking_at(centre_in_camera(turn, translation), CUBE_MM, camera)
    cube = cube_from_head(sight_from_head(turn, translation))
    points = CENTRE_MM + np.random.default_rng(0).normal(0, 60, (20, 3))
    ours = points @ cube[:, :3].T + cube[:, 3]
    theirs = view.cube_from_camera_points(points @ turn.T + translation)
    np.testing.assert_allclose(theirs[:, 2], ours[:, 2], atol=1e-4)
    # What is nearer is seen larger: perspective, of which a parallel view knows nothing.
    spread = 1 + ours[:, 2:] * CUBE_MM / 2 / view.distance_mm
    np.testing.assert_allclose(theirs[:, :2] * spread, ours[:, :2], atol=1e-4)


def test_the_parallel_camera_is_parallel() -> None:
    cube = cube_from_head(matrix_from_yaw_pitch_roll(np.array([40.0, 10.0, -5.0])))
    points = np.random.default_rng(1).uniform(-200, 200, (100, 3)).astype(np.float32)
    surface = Surface(points, np.array([[0, 1, 2]], np.int32))
    placed = into_view(surface, cube, CUBE_MM).vertices.astype(np.float64)
    camera = parallel_camera(256, CUBE_MM)
    inside = points @ cube[:, :3].T + cube[:, 3]
    expected = (inside[:, :2] + 1) * 128 - 0.5
    np.testing.assert_allclose(camera.project(placed), expected, atol=0.01)
    depth = np.diff(placed[:, 2])
    np.testing.assert_allclose(depth, np.diff(inside[:, 2]) * CUBE_MM / 2, atol=0.03)


def test_what_cannot_be_framed_is_refused() -> None:
    with pytest.raises(InputError, match="side"):
        cube_from_head(np.eye(3), 0.0)
    with pytest.raises(InputError, match="depth -410"):
        sight_from_head(np.eye(3), np.array([0.0, 0.0, -500.0]))
