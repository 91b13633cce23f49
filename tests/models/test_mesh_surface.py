"""Meshes on analytic shapes: marching cubes, components, closedness, inside."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mien.models.errors import InputError
from mien.models.mesh.distance import grid_axes, grid_points
from mien.models.mesh.inside import InsideTest
from mien.models.mesh.marching import surface_of_grid
from mien.models.mesh.triangle_mesh import TriangleMesh

pytest.importorskip("skimage")

LOW, HIGH = (-1.0, -1.2, -0.9), (1.1, 1.0, 1.0)
CELLS = (56, 58, 52)


def torus_distance(points: np.ndarray) -> np.ndarray:
    ring = np.hypot(points[:, 0], points[:, 1]) - 0.6
    return np.hypot(ring, points[:, 2]) - 0.25


def sphere_distance(points: np.ndarray) -> np.ndarray:
    return np.linalg.norm(points, axis=1) - 0.8


def surface(distance: np.ndarray) -> TriangleMesh:
    values = distance.reshape(CELLS).astype(np.float32)
    return surface_of_grid(values, 0.0, LOW, HIGH, inside_above=False)


@pytest.fixture(scope="module")
def grid() -> np.ndarray:
    return grid_points(LOW, HIGH, CELLS)


@pytest.fixture(scope="module")
def sphere(grid: np.ndarray) -> TriangleMesh:
    return surface(sphere_distance(grid))


@pytest.fixture(scope="module")
def torus(grid: np.ndarray) -> TriangleMesh:
    return surface(torus_distance(grid))


def box(low: tuple[float, float, float], high: tuple[float, float, float]) -> TriangleMesh:
    corners = grid_points(low, high, (2, 2, 2))
    quads = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
    triangles = [t for a, b, c, d in quads for t in ((a, b, c), (a, c, d))]
    return TriangleMesh(corners, np.array(triangles, np.int32))


def test_marching_meets_the_analytic_surface(sphere: TriangleMesh, torus: TriangleMesh) -> None:
    assert np.abs(sphere_distance(sphere.vertices)).max() < 1e-3
    assert np.abs(torus_distance(torus.vertices)).max() < 4e-3
    assert sphere.volume() == pytest.approx(4 / 3 * np.pi * 0.8**3, rel=5e-3)
    assert torus.volume() == pytest.approx(2 * np.pi**2 * 0.6 * 0.25**2, rel=2e-2)
    assert sphere.area() == pytest.approx(4 * np.pi * 0.8**2, rel=5e-3)


def test_normals_face_outwards(sphere: TriangleMesh, torus: TriangleMesh) -> None:
    outwards = sphere.vertices / np.linalg.norm(sphere.vertices, axis=1, keepdims=True)
    assert (sphere.vertex_normals() * outwards).sum(axis=1).min() > 0.99
    flat = torus.vertices * np.array([1, 1, 0], np.float32)
    ring = 0.6 * flat / np.linalg.norm(flat, axis=1, keepdims=True)
    away = (torus.vertices - ring) / 0.25
    assert (torus.vertex_normals() * away).sum(axis=1).min() > 0.95


def test_the_side_of_the_inside_and_mirrored_grids_do_not_matter(grid: np.ndarray) -> None:
    values = sphere_distance(grid).reshape(CELLS).astype(np.float32)
    below = surface_of_grid(values, 0.0, LOW, HIGH, inside_above=False)
    above = surface_of_grid(-values, 0.0, LOW, HIGH, inside_above=True)
    assert above.volume() == pytest.approx(below.volume(), rel=1e-5)
    turned = surface_of_grid(values, 0.0, HIGH, LOW, inside_above=False)
    assert turned.volume() == pytest.approx(below.volume(), rel=1e-3)


def test_what_reaches_the_border_is_closed_there(grid: np.ndarray) -> None:
    cut = surface(grid[:, 1] - 0.1)
    assert cut.is_watertight()
    low, high = cut.bounds()
    np.testing.assert_allclose(low, LOW, atol=1e-3)
    np.testing.assert_allclose(high, (HIGH[0], 0.1, HIGH[2]), atol=1e-3)
    assert cut.volume() == pytest.approx(2.1 * 1.3 * 1.9, rel=1e-3)


def test_values_exactly_at_the_level_leave_no_holes() -> None:
    steps = np.linspace(-1, 1, 9, dtype=np.float32)
    values = np.abs(np.stack(np.meshgrid(steps, steps, steps, indexing="ij"))).sum(axis=0) - 0.5
    mesh = surface_of_grid(values, 0.0, (-1, -1, -1), (1, 1, 1), inside_above=False)
    assert mesh.is_watertight()
    assert mesh.volume() == pytest.approx(4 / 3 * 0.5**3, rel=1e-3)


def test_nothing_inside_is_an_empty_mesh_and_bad_values_are_refused() -> None:
    empty = surface_of_grid(np.ones((4, 4, 4), np.float32), 0.0, LOW, HIGH, inside_above=False)
    assert len(empty.triangles) == 0
    assert not empty.is_watertight()
    with pytest.raises(InputError, match="not finite"):
        surface_of_grid(np.full((4, 4, 4), np.nan, np.float32), 0.0, LOW, HIGH, inside_above=True)
    with pytest.raises(InputError, match="2 or more"):
        surface_of_grid(np.ones((4, 1, 4), np.float32), 0.0, LOW, HIGH, inside_above=True)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(seed=st.integers(0, 2**32 - 1))
def test_random_surfaces_are_watertight(seed: int) -> None:
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(9, 7, 8)).astype(np.float32)
    mesh = surface_of_grid(values, 0.3, (0, 0, 0), (8, 6, 7), inside_above=True)
    ends = np.sort(mesh.triangles[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2), axis=1)
    _, uses = np.unique(ends, axis=0, return_counts=True)
    assert (uses % 2 == 0).all()
    assert mesh.volume() > 0


def test_a_missing_or_turned_triangle_is_a_hole(sphere: TriangleMesh) -> None:
    assert sphere.is_watertight()
    assert not TriangleMesh(sphere.vertices, sphere.triangles[1:]).is_watertight()
    turned = sphere.triangles.copy()
    turned[0] = turned[0, ::-1]
    assert not TriangleMesh(sphere.vertices, turned).is_watertight()


def test_trimesh_agrees_on_closedness(torus: TriangleMesh) -> None:
    trimesh = pytest.importorskip("trimesh")
    theirs = trimesh.Trimesh(torus.vertices, torus.triangles, process=False)
    assert theirs.is_watertight == torus.is_watertight() is True
    assert theirs.volume == pytest.approx(torus.volume(), rel=1e-4)


def test_components_are_found_whole_and_by_size() -> None:
    small, large = box((0, 0, 0), (1, 1, 1)), box((5, 0, 0), (8, 3, 3))
    colours = np.repeat(np.arange(16, dtype=np.uint8)[:, None], 3, axis=1)
    vertices = np.concatenate([small.vertices, np.zeros((1, 3), np.float32), large.vertices])
    both = TriangleMesh(
        vertices,
        np.concatenate([small.triangles, large.triangles + np.int32(9)]),
        np.insert(colours, 8, 99, axis=0),
    )
    pieces = both.components()
    assert [piece.volume() for piece in pieces] == pytest.approx([27, 1])
    assert all(piece.is_watertight() for piece in pieces)
    assert pieces[0].colours is not None
    assert set(pieces[0].colours[:, 0]) == set(range(8, 16))
    np.testing.assert_array_equal(both.largest_component().vertices, pieces[0].vertices)
    assert TriangleMesh(vertices, both.triangles[:0]).components() == []


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_transforming_scales_volumes_and_keeps_them_positive(seed: int) -> None:
    matrix = np.random.default_rng(seed).normal(size=(4, 4))
    mesh = box((-1, 0, 2), (1, 1, 3)).transformed(matrix)
    expected = 2 * abs(np.linalg.det(matrix[:3, :3]))
    assert mesh.volume() == pytest.approx(expected, rel=1e-3, abs=1e-3)
    assert mesh.is_watertight()


def test_a_mesh_refuses_what_does_not_fit() -> None:
    vertices = np.zeros((3, 3), np.float32)
    with pytest.raises(InputError, match="outside the 3 vertices"):
        TriangleMesh(vertices, np.array([[0, 1, 3]], np.int32))


def test_inside_is_the_analytic_inside(
    grid: np.ndarray, sphere: TriangleMesh, torus: TriangleMesh
) -> None:
    points = np.random.default_rng(1).uniform(-1.3, 1.3, (60_000, 3)).astype(np.float32)
    for mesh, distance in ((sphere, sphere_distance), (torus, torus_distance)):
        true = distance(points)
        sure = np.abs(true) > 0.005
        np.testing.assert_array_equal(InsideTest(mesh).test(points)[sure], (true < 0)[sure])


def test_rays_through_edges_and_corners_count_once() -> None:
    """A lattice: every ray runs through vertices or along edges of the boxes."""
    test = InsideTest(box((-2, -2, -2), (2, 2, 2)))
    lattice = grid_points((-1.5, -1.5, -1.5), (1.5, 1.5, 1.5), (7, 7, 7))
    assert test.test(lattice).all()
    diagonal = np.linspace(-1.9, 1.9, 21, dtype=np.float32)
    assert test.test(np.stack([diagonal, diagonal, 0 * diagonal], axis=1)).all()
    assert not test.test(lattice + np.array([0, 0, 4], np.float32)).any()
    assert not test.test(lattice - np.array([0, 0, 4], np.float32)).any()


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_rays_through_vertices_of_random_surfaces_count_once(seed: int) -> None:
    """Marching cubes of 0 and 1 has its vertices on the lattice's lines: rays there meet them."""
    values = (np.random.default_rng(seed).random((6, 6, 6)) < 0.5).astype(np.float32)
    mesh = surface_of_grid(values, 0.5, (0, 0, 0), (5, 5, 5), inside_above=True)
    inner = grid_points((1, 1, 1), (4, 4, 4), (4, 4, 4))
    true = values[1:5, 1:5, 1:5].reshape(-1) > 0.5
    for axes in ((0, 1, 2), (1, 2, 0), (2, 0, 1)):
        turned = mesh.transformed(np.eye(3)[list(axes)])
        points = np.ascontiguousarray(inner[:, list(axes)])
        np.testing.assert_array_equal(InsideTest(turned).test(points), true)


def test_a_grid_of_points_is_as_each_of_them(torus: TriangleMesh) -> None:
    """Also where rays run through vertices, and beyond the mesh's box."""
    test = InsideTest(torus)
    for cells in ((31, 29, 33), CELLS):
        axes = grid_axes(LOW, HIGH, cells)
        each = test.test(grid_points(LOW, HIGH, cells)).reshape(cells)
        assert each.any()
        np.testing.assert_array_equal(test.test_grid(*axes), each)


def test_overlapping_shells_are_their_union() -> None:
    a, b = box((0, 0, 0), (2, 2, 2)), box((1, 1, 1), (3, 3, 3))
    both = TriangleMesh(
        np.concatenate([a.vertices, b.vertices]),
        np.concatenate([a.triangles, b.triangles + np.int32(8)]),
    )
    points = np.random.default_rng(2).uniform(-0.5, 3.5, (5000, 3)).astype(np.float32)
    union = ((points > 0) & (points < 2)).all(axis=1) | ((points > 1) & (points < 3)).all(axis=1)
    np.testing.assert_array_equal(InsideTest(both).test(points), union)


def test_points_that_are_not_finite_are_outside_and_empty_meshes_refused() -> None:
    mesh = box((-1, -1, -1), (1, 1, 1))
    points = np.array([[0, 0, 0], [np.nan, 0, 0], [0, np.inf, 0]], np.float32)
    assert InsideTest(mesh).test(points).tolist() == [True, False, False]
    with pytest.raises(InputError, match="no triangles"):
        InsideTest(TriangleMesh(mesh.vertices, mesh.triangles[:0]))
