"""Solids on grids: distances, what sheets enclose, smooth meshes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mien.models.errors import InputError
from mien.models.people.fields import (
    Grid,
    closing,
    distance_to_set,
    distance_to_sheets,
    lower,
    signed_distance_to,
)
from mien.models.people.subdivision import Subdivision, split_corners
from mien.models.synthetic.primitives import Mesh, grid_triangles


def _ball(radius: float, rings: int = 24) -> Mesh:
    """A closed sphere around the origin."""
    polar = np.linspace(0, np.pi, rings)[1:-1, None]
    around = np.linspace(0, 2 * np.pi, 2 * rings, endpoint=False)[None]
    points = np.stack(
        [np.sin(polar) * np.cos(around), np.sin(polar) * np.sin(around),
         np.cos(polar) * np.ones_like(around)], -1,
    ).reshape(-1, 3)  # fmt: skip
    n, columns = len(points), 2 * rings
    middle = grid_triangles(rings - 2, columns, closed=True)[:, ::-1]
    step = np.arange(columns)
    ahead = (step + 1) % columns
    top = np.stack([np.full(columns, n), step, ahead], 1)
    last = n - columns
    bottom = np.stack([np.full(columns, n + 1), last + ahead, last + step], 1)
    vertices = np.concatenate([points, [[0, 0, 1], [0, 0, -1]]]) * radius
    triangles = np.concatenate([middle, top, bottom])
    corners = vertices[triangles]
    volume = np.einsum("ij,ij->", corners[:, 0], np.cross(corners[:, 1], corners[:, 2])) / 6
    if volume < 0:
        triangles = triangles[:, ::-1]
    return vertices.astype(np.float32), np.ascontiguousarray(triangles, np.int32)


def _around(half: float, cell: float) -> Grid:
    return Grid.around(np.full(3, -half, np.float64), np.full(3, half, np.float64), cell)


def _radius(grid: Grid) -> np.ndarray:
    x, y, z = grid.coordinates()
    return np.sqrt(x * x + y * y + z * z)


def test_the_distance_of_a_ball_is_known() -> None:
    grid = _around(30, 2.0)
    field = signed_distance_to(grid, [_ball(20, 60)], 5.0)
    np.testing.assert_allclose(field, np.clip(_radius(grid) - 20, -5, 5), atol=0.1)


def test_overlapping_balls_are_one_solid() -> None:
    grid = _around(30, 2.5)
    vertices, triangles = _ball(15)
    moved = (vertices + np.array([6, 0, 0], np.float32), triangles)
    both = signed_distance_to(grid, [(vertices, triangles), moved], 3.0) < 0
    each = [signed_distance_to(grid, [mesh], 3.0) < 0 for mesh in ((vertices, triangles), moved)]
    np.testing.assert_array_equal(both, each[0] | each[1])


def test_a_hollow_shell_is_filled_and_a_ball_is_left_alone() -> None:
    grid = _around(40, 2.0)
    shell = distance_to_sheets(grid, [_ball(25)], 12.0) - 2.5
    assert shell[grid.size[0] // 2, grid.size[1] // 2, grid.size[2] // 2] > 0
    assert (closing(shell, 2.0, 6.0)[_radius(grid) < 20] < 0).all()
    solid = signed_distance_to(grid, [_ball(25)], 12.0)
    united = np.minimum(solid, closing(solid, 2.0, 6.0))
    np.testing.assert_array_equal(united < 0, solid < 0)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000), cells=st.integers(1, 4))
def test_distances_to_sets_are_those_of_all_pairs(seed: int, cells: int) -> None:
    inside = np.random.default_rng(seed).random((6, 5, 7)) < 0.03
    every = np.argwhere(np.ones_like(inside))
    chosen = np.argwhere(inside)
    away = np.full(len(every), np.inf)
    if len(chosen):
        away = np.linalg.norm(every[:, None] - chosen[None], axis=2).min(1)
    expected = np.where(away > cells, cells + 1, away)
    found = distance_to_set(inside, cells).reshape(-1)
    # Between ``cells`` and one more the distance may be told or cut off.
    np.testing.assert_allclose(np.minimum(found, cells), np.minimum(expected, cells), atol=1e-5)


def test_uniting_takes_the_lower_of_two_fields_only_where_both_are() -> None:
    grid = _around(10, 1.0)
    field = np.full(grid.size, 3.0, np.float32)
    other = Grid(np.array([-4.0, -4.0, -4.0]), 2.0, (4, 4, 4))
    x, y, z = other.coordinates()
    lower(grid, field, other, (x + 0 * y + 0 * z).astype(np.float32))
    x, y, z = grid.coordinates()
    within = (np.maximum(np.maximum(abs(x + 1), abs(y + 1)), abs(z + 1)) <= 3) & (x < 3)
    expected = np.where(within, x + 0 * y + 0 * z, 3.0)
    np.testing.assert_allclose(field, expected, atol=1e-5)


def _bend(vertices: np.ndarray, triangles: np.ndarray) -> float:
    """Mean sine between a ball's triangles and the directions of their corners."""
    corners = vertices[triangles].astype(np.float64)
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    outwards = corners / np.linalg.norm(corners, axis=2, keepdims=True)
    return float(np.linalg.norm(np.cross(normals[:, None], outwards), axis=2).mean())


def test_subdivision_smooths_a_ball_and_keeps_it_closed() -> None:
    vertices, triangles = _ball(10, 12)
    step = Subdivision.of(triangles, len(vertices))
    finer = step.points(vertices)
    assert len(step.triangles) == 4 * len(triangles)
    Subdivision.of(step.triangles, len(finer))  # raises unless closed
    assert _bend(finer, step.triangles) < 0.6 * _bend(vertices, triangles)
    # The same affine motion before or after.
    np.testing.assert_allclose(step.points(vertices * 2 + 5), finer * 2 + 5, atol=1e-4)
    uv = vertices[triangles][..., :2]
    np.testing.assert_allclose(
        split_corners(np.ascontiguousarray(uv)), step.attribute(vertices)[step.triangles][..., :2],
        atol=1e-5,
    )  # fmt: skip


def test_an_open_mesh_is_not_subdivided() -> None:
    vertices, triangles = _ball(10, 12)
    with pytest.raises(InputError, match="exactly two"):
        Subdivision.of(triangles[1:], len(vertices))
