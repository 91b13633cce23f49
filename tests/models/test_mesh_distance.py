"""Distances to surfaces, samples of them, and how two surfaces agree."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mien.models.errors import InputError
from mien.models.mesh.compare import chamfer, iou
from mien.models.mesh.distance import SurfaceDistance, grid_points, sample_surface, signed_distance
from mien.models.mesh.inside import InsideTest
from mien.models.mesh.marching import surface_of_grid
from mien.models.mesh.triangle_mesh import TriangleMesh

LOW, HIGH = (-1.0, -1.0, -1.0), (1.0, 1.0, 1.0)


@pytest.fixture(scope="module")
def sphere() -> TriangleMesh:
    pytest.importorskip("skimage")
    points = grid_points(LOW, HIGH, (60, 60, 60))
    values = np.linalg.norm(points, axis=1).reshape(60, 60, 60)
    return surface_of_grid(values, 0.7, LOW, HIGH, inside_above=False)


def brute_force(mesh: TriangleMesh, points: np.ndarray) -> np.ndarray:
    """Least distance to any triangle: to its plane, where the foot is inside, else to its edges."""
    a, b, c = np.moveaxis(mesh.corners.astype(np.float64), 1, 0)
    best = np.full(len(points), np.inf)
    normal = np.cross(b - a, c - a)
    normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-30)
    for i, point in enumerate(points.astype(np.float64)):
        height = np.einsum("ij,ij->i", point - a, normal)
        foot = point - height[:, None] * normal
        inside = np.linalg.norm(normal, axis=1) > 0.5
        for start, end in ((a, b), (b, c), (c, a)):
            edge = end - start
            inside &= np.einsum("ij,ij->i", np.cross(edge, foot - start), normal) >= 0
            square = np.maximum(np.einsum("ij,ij->i", edge, edge), 1e-30)
            share = np.clip(np.einsum("ij,ij->i", point - start, edge) / square, 0, 1)
            nearest = start + share[:, None] * edge
            best[i] = min(best[i], np.linalg.norm(point - nearest, axis=1).min())
        if inside.any():
            best[i] = min(best[i], np.abs(height[inside]).min())
    return best


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), count=st.integers(1, 40))
def test_nearest_is_what_brute_force_finds(seed: int, count: int) -> None:
    rng = np.random.default_rng(seed)
    vertices = rng.normal(size=(12, 3)).astype(np.float32)
    mesh = TriangleMesh(vertices, rng.integers(0, 12, (count, 3)).astype(np.int32))
    points = rng.normal(0, 1.5, (30, 3)).astype(np.float32)
    distance, triangle, position = SurfaceDistance(mesh).nearest(points)
    np.testing.assert_allclose(distance, brute_force(mesh, points), atol=1e-4)
    np.testing.assert_allclose(np.linalg.norm(points - position, axis=1), distance, atol=1e-5)
    for i in range(0, 30, 7):
        own = TriangleMesh(vertices, mesh.triangles[triangle[i]][None])
        assert SurfaceDistance(own).nearest(position[i : i + 1])[0][0] < 1e-4


def test_nearest_of_a_sphere_is_along_the_radius(sphere: TriangleMesh) -> None:
    points = np.random.default_rng(0).uniform(-1, 1, (4000, 3)).astype(np.float32)
    radius = np.linalg.norm(points, axis=1)
    points, radius = points[radius > 0.2], radius[radius > 0.2]
    distance, _, position = SurfaceDistance(sphere).nearest(points)
    np.testing.assert_allclose(distance, np.abs(radius - 0.7), atol=1e-3)
    np.testing.assert_allclose(position, points * (0.7 / radius)[:, None], atol=0.03)


def test_the_order_of_the_points_does_not_matter(sphere: TriangleMesh) -> None:
    rng = np.random.default_rng(3)
    points = rng.uniform(-1, 1, (500, 3)).astype(np.float32)
    turn = rng.permutation(500)
    near = SurfaceDistance(sphere)
    np.testing.assert_array_equal(near.nearest(points)[0][turn], near.nearest(points[turn])[0])


def test_beyond_the_limit_nothing_is_found(sphere: TriangleMesh) -> None:
    points = np.array([[0.75, 0, 0], [0.9, 0, 0], [np.nan, 0, 0]], np.float32)
    distance, triangle, position = SurfaceDistance(sphere).nearest(points, limit=0.1)
    assert distance[0] == pytest.approx(0.05, abs=1e-3)
    assert np.isinf(distance[1:]).all()
    assert triangle[0] >= 0
    assert triangle[1:].tolist() == [-1, -1]
    np.testing.assert_allclose(position[1], points[1], atol=1e-6)


def test_a_distance_far_from_the_origin_keeps_its_digits(sphere: TriangleMesh) -> None:
    offset = np.array([4000, -2000, 9000], np.float32)
    moved = TriangleMesh(sphere.vertices * 100 + offset, sphere.triangles)
    distance, _, _ = SurfaceDistance(moved).nearest(
        offset[None] + np.array([[0, 100, 0]], np.float32)
    )
    assert distance[0] == pytest.approx(30, abs=0.05)


def test_empty_meshes_are_refused(sphere: TriangleMesh) -> None:
    empty = TriangleMesh(sphere.vertices, sphere.triangles[:0])
    with pytest.raises(InputError, match="no triangles"):
        SurfaceDistance(empty)
    with pytest.raises(InputError, match="no area"):
        sample_surface(empty, 3, np.random.default_rng(0))


def test_samples_lie_on_the_surface_and_are_even(sphere: TriangleMesh) -> None:
    points, normals = sample_surface(sphere, 20_000, np.random.default_rng(5))
    np.testing.assert_allclose(np.linalg.norm(points, axis=1), 0.7, atol=2e-3)
    assert np.einsum("pd,pd->p", points / 0.7, normals).min() > 0.99
    # Archimedes: the area between two heights is their share of the diameter.
    shares, _ = np.histogram(points[:, 2], bins=7, range=(-0.7, 0.7))
    np.testing.assert_allclose(shares / 20_000, 1 / 7, atol=0.006)
    assert np.abs(points.mean(axis=0)).max() < 0.01


def test_signed_distance_of_a_sphere(sphere: TriangleMesh) -> None:
    cells = (23, 21, 19)
    values = signed_distance(sphere, (-1, -1, -0.5), (1, 1, 0.75), cells, 0.25)
    points = grid_points((-1, -1, -0.5), (1, 1, 0.75), cells)
    true = np.clip(np.linalg.norm(points, axis=1) - 0.7, -0.25, 0.25).reshape(cells)
    assert values.shape == cells
    np.testing.assert_allclose(values, true, atol=2e-3)


def test_the_surface_of_the_signed_distance_is_the_mesh(sphere: TriangleMesh) -> None:
    values = signed_distance(sphere, LOW, HIGH, (40, 40, 40), 0.2)
    again = surface_of_grid(values, 0.0, LOW, HIGH, inside_above=False)
    agreement = chamfer(again, sphere, 3000)
    assert agreement.chamfer < 2e-3
    assert agreement.normal_error_deg < 3


def test_sheets_are_as_thick_as_asked() -> None:
    corners = np.array([[-0.5, -0.5, 0], [0.5, -0.5, 0], [0.5, 0.5, 0], [-0.5, 0.5, 0]], np.float32)
    sheet = TriangleMesh(corners, np.array([[0, 1, 2], [0, 2, 3]], np.int32))
    values = signed_distance(sheet, (0, 0, -0.4), (0.1, 0.1, 0.4), (2, 2, 9), 0.2, thickness=0.1)
    expected = [0.2, 0.2, 0.1, 0, -0.1, 0, 0.1, 0.2, 0.2]
    np.testing.assert_allclose(values[0, 0], expected, atol=1e-6)


def test_a_surface_agrees_with_itself_and_by_its_shift(sphere: TriangleMesh) -> None:
    same = chamfer(sphere, sphere, 2000, np.random.default_rng(1))
    assert same.chamfer < 1e-5
    assert same.normal_error_deg < 1
    grown = chamfer(sphere.transformed(np.eye(3) * 1.1), sphere, 2000)
    assert grown.point_to_surface_ab == pytest.approx(0.07, abs=2e-3)
    assert grown.point_to_surface_ba == pytest.approx(0.07, abs=2e-3)
    assert grown.chamfer == (grown.point_to_surface_ab + grown.point_to_surface_ba) / 2


def test_a_missing_part_shows_from_one_side_only(sphere: TriangleMesh) -> None:
    upper = TriangleMesh(sphere.vertices, sphere.triangles[sphere.corners[:, :, 2].min(1) > 0])
    agreement = chamfer(upper, sphere, 2000)
    assert agreement.point_to_surface_ab < 1e-4
    assert agreement.point_to_surface_ba > 0.1


def test_overlap_of_spheres(sphere: TriangleMesh) -> None:
    assert iou(sphere, sphere, 32) == 1
    smaller = sphere.transformed(np.eye(3) * 0.9)
    assert iou(smaller, sphere, 64, LOW, HIGH) == pytest.approx(0.9**3, abs=0.01)
    away = sphere.transformed(np.array([[1, 0, 0, 3], [0, 1, 0, 0], [0, 0, 1, 0.0]]))
    assert iou(away, sphere, 32) == 0
    empty = TriangleMesh(sphere.vertices, sphere.triangles[:0])
    assert iou(empty, sphere, 16, LOW, HIGH) == 0


@settings(max_examples=10, deadline=None)
@given(st.tuples(*[st.floats(-0.4, 0.4)] * 3))
def test_overlap_is_symmetric_and_that_of_the_inside_tests(shift: tuple[float, ...]) -> None:
    corners = grid_points((-0.5, -0.5, -0.5), (0.5, 0.5, 0.5), (2, 2, 2))
    quads = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
    triangles = np.array([t for a, b, c, d in quads for t in ((a, b, c), (a, c, d))], np.int32)
    a = TriangleMesh(corners, triangles)
    b = TriangleMesh(corners + np.array(shift, np.float32), triangles)
    common = np.prod(1 - np.abs(shift))
    assert iou(a, b, 40, LOW, HIGH) == iou(b, a, 40, LOW, HIGH)
    assert iou(a, b, 40, LOW, HIGH) == pytest.approx(common / (2 - common), abs=0.12)
    assert InsideTest(a).test(np.zeros((1, 3), np.float32)).all()
