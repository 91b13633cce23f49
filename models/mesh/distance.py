"""How far points are from a surface, and points drawn from it."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Float32, Int32, Int64

from ..errors import InputError
from ._tree import build, nearest
from .inside import InsideTest
from .triangle_mesh import TriangleMesh

Corner = Float[np.ndarray, " 3"] | tuple[float, float, float]


class SurfaceDistance:
    """Finds the nearest point of a surface, by a tree of boxes.

    Args:
        mesh: any triangles, closed or not, in any unit.

    Raises:
        InputError: the mesh has no triangles, or vertices that are not finite.
    """

    def __init__(self, mesh: TriangleMesh) -> None:
        if not len(mesh.triangles):
            raise InputError("mesh: no triangles to measure a distance to")
        if not np.isfinite(mesh.vertices).all():
            raise InputError("mesh: vertices that are not finite")
        # Around its middle, for the sake of float32.
        self._middle = mesh.vertices.mean(axis=0, dtype=np.float64).astype(np.float32)
        self._corners = _without_slivers(np.ascontiguousarray(mesh.corners - self._middle))
        self._boxes, self._nodes, self._order = build(self._corners)

    def nearest(
        self, points: Float32[np.ndarray, "P 3"], limit: float = np.inf
    ) -> tuple[Float32[np.ndarray, " P"], Int32[np.ndarray, " P"], Float32[np.ndarray, "P 3"]]:
        """The surface's nearest point to each point.

        Args:
            points: in the mesh's frame and unit.
            limit: what is at this distance or beyond is not looked for, which is faster.

        Returns:
            distance (P,); the triangle (P,) that the nearest point is of; its position (P, 3).
            Nothing nearer than ``limit``, or a point that is not finite: +inf, -1 and the point.
        """
        count = len(points)
        distance, triangle = np.empty(count, np.float32), np.empty(count, np.int32)
        position = np.empty((count, 3), np.float32)
        shifted = np.ascontiguousarray(points - self._middle)
        nearest(
            shifted,
            _along_a_curve(shifted),
            float(limit),
            self._corners,
            self._boxes,
            self._nodes,
            self._order,
            distance,
            triangle,
            position,
        )
        return distance, triangle, position + self._middle


def _without_slivers(corners: Float32[np.ndarray, "M 3 3"]) -> Float32[np.ndarray, "M 3 3"]:
    """The same place with triangles without area as their longest edge, (a, b, a)."""
    edges = np.roll(corners, -1, axis=1) - corners
    squares = np.einsum("mij,mij->mi", edges, edges)
    areas = np.linalg.norm(np.cross(edges[:, 0], edges[:, 1]), axis=1)
    for t in np.flatnonzero(areas <= 1e-6 * squares.max(axis=1, initial=0)):
        first = int(squares[t].argmax())
        a, b = corners[t, first].copy(), corners[t, (first + 1) % 3].copy()
        corners[t] = a, b, a
    return corners


def _along_a_curve(points: Float32[np.ndarray, "P 3"]) -> Int64[np.ndarray, " P"]:
    """An order (Morton's) in which points that follow each other are near each other."""
    finite = np.nan_to_num(points, nan=0.0, posinf=0.0, neginf=0.0)
    low = finite.min(axis=0, initial=0.0)
    reach = max(float((finite.max(axis=0, initial=0.0) - low).max()), 1e-30)
    places = ((finite - low) * np.float32(1023 / reach)).astype(np.uint32)
    for shift, mask in ((16, 0x030000FF), (8, 0x0300F00F), (4, 0x030C30C3), (2, 0x09249249)):
        places = (places | (places << np.uint32(shift))) & np.uint32(mask)
    code = places[:, 0] | (places[:, 1] << np.uint32(1)) | (places[:, 2] << np.uint32(2))
    return np.argsort(code)


def sample_surface(
    mesh: TriangleMesh, count: int, rng: np.random.Generator
) -> tuple[Float32[np.ndarray, "P 3"], Float32[np.ndarray, "P 3"]]:
    """Points spread evenly over a surface, and its unit outward normals there (of the triangles).

    Raises:
        InputError: the mesh has no area.
    """
    total = np.cumsum(mesh.triangle_areas(), dtype=np.float64)
    if not len(total) or not total[-1] > 0:
        raise InputError("mesh: no area to draw points from")
    # Stratified along the list of triangles: less clumped than independent draws.
    place = (np.arange(count) + rng.random(count)) * (total[-1] / max(count, 1))
    chosen = np.minimum(np.searchsorted(total, place, side="right"), len(total) - 1)
    root, share = np.sqrt(rng.random(count, np.float32)), rng.random(count, np.float32)
    weights = np.stack([1 - root, root * (1 - share), root * share], axis=1)
    points = np.einsum("pc,pcd->pd", weights, mesh.corners[chosen])
    return points.astype(np.float32), mesh.triangle_normals()[chosen]


def signed_distance(
    mesh: TriangleMesh,
    low: Corner,
    high: Corner,
    cells: tuple[int, int, int],
    truncation: float,
    *,
    thickness: float = 0.0,
) -> Float32[np.ndarray, "X Y Z"]:
    """Distance to a surface on a grid, negative inside, cut off at +-``truncation``.

    Args:
        mesh: closed; with a ``thickness``, any sheets.
        low: (3,) place of the first value.
        high: (3,) place of the last value.
        cells: how many values along x, y and z; both ends have one, as for ``surface_of_grid``.
        truncation: greatest distance that is told.
        thickness: above 0, the mesh is taken for sheets this thick to each side: the value is the
            distance without a sign, less the thickness.
    """
    points = grid_points(low, high, cells)
    reach = truncation + thickness
    distance = np.minimum(SurfaceDistance(mesh).nearest(points, reach)[0], np.float32(reach))
    if thickness > 0:
        distance = np.clip(distance - np.float32(thickness), -truncation, truncation)
    else:
        inside = InsideTest(mesh).test_grid(*grid_axes(low, high, cells)).reshape(-1)
        np.negative(distance, out=distance, where=inside)
    return distance.astype(np.float32).reshape(cells)


def grid_points(
    low: Corner, high: Corner, cells: tuple[int, int, int]
) -> Float32[np.ndarray, "P 3"]:
    """The places of a grid's values, from ``low`` to ``high`` inclusive, the last axis fastest."""
    axes = grid_axes(low, high, cells)
    return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)


def grid_axes(
    low: Corner, high: Corner, cells: tuple[int, int, int]
) -> tuple[Float32[np.ndarray, " X"], Float32[np.ndarray, " Y"], Float32[np.ndarray, " Z"]]:
    """The places of :func:`grid_points` along each axis."""
    x, y, z = (
        np.linspace(a, b, n, dtype=np.float32) for a, b, n in zip(low, high, cells, strict=True)
    )
    return x, y, z
