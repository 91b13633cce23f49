"""How well two surfaces agree: point to surface, Chamfer (PIFuHD, section 4), and overlap."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32

from .distance import Corner, SurfaceDistance, grid_axes, sample_surface
from .inside import InsideTest
from .triangle_mesh import TriangleMesh


@dataclass(frozen=True)
class Agreement:
    """Distances between two surfaces, in their unit, and the angle between their normals.

    Attributes:
        point_to_surface_ab: mean distance of points of the first to the second surface.
        point_to_surface_ba: and of points of the second to the first.
        chamfer: mean of both.
        normal_error_deg: mean angle between the normal at a point and the normal at the other
            surface's nearest point, over both directions.
    """

    point_to_surface_ab: float
    point_to_surface_ba: float
    chamfer: float
    normal_error_deg: float


@dataclass(frozen=True)
class Deviations:
    """Points of one surface, and how far another one is from them.

    Attributes:
        normals: (P, 3) of the surface that the points are of, unit, outwards.
        distance: (P,) to the other surface.
        angle_deg: (P,) between the normals, here and at the other surface's nearest point.
    """

    normals: Float32[np.ndarray, "P 3"]
    distance: Float32[np.ndarray, " P"]
    angle_deg: Float32[np.ndarray, " P"]


def chamfer(
    a: TriangleMesh,
    b: TriangleMesh,
    count: int = 10_000,
    rng: np.random.Generator | None = None,
    within: tuple[Corner, Corner] | None = None,
) -> Agreement:
    """Compare two surfaces by points drawn from each.

    Args:
        a: of a reconstruction, say.
        b: the truth, in the same frame and unit.
        count: points drawn from each.
        rng: draws them; default: seeded with 0.
        within: see :func:`deviations`.
    """
    rng = rng or np.random.default_rng(0)
    return agreement(deviations(a, b, count, rng, within), deviations(b, a, count, rng, within))


def agreement(ab: Deviations, ba: Deviations) -> Agreement:
    """What the deviations in both directions come to; NaN where there are no points."""
    there, back = _mean(ab.distance), _mean(ba.distance)
    angle = (_mean(ab.angle_deg) + _mean(ba.angle_deg)) / 2
    return Agreement(there, back, (there + back) / 2, angle)


def deviations(
    source: TriangleMesh,
    target: TriangleMesh,
    count: int,
    rng: np.random.Generator,
    within: tuple[Corner, Corner] | None = None,
    near: SurfaceDistance | None = None,
) -> Deviations:
    """How far one surface is from another.

    Args:
        source: whose points are drawn, evenly by area.
        target: whose nearest points are looked for.
        count: points drawn.
        rng: draws them.
        within: lowest and highest corner of a box; points outside are left out, so that where a
            surface was cut off does not count.
        near: of the target, where it is at hand already.

    Raises:
        InputError: a surface without area.
    """
    points, normals = sample_surface(source, count, rng)
    if within is not None:
        kept = ((points >= np.asarray(within[0])) & (points <= np.asarray(within[1]))).all(axis=1)
        points, normals = points[kept], normals[kept]
    distance, triangle, _ = (near or SurfaceDistance(target)).nearest(points)
    cosine = np.einsum("pd,pd->p", normals, target.triangle_normals()[triangle])
    return Deviations(normals, distance, np.degrees(np.arccos(np.clip(cosine, -1, 1))))


def iou(
    a: TriangleMesh,
    b: TriangleMesh,
    cells: int = 128,
    low: Corner | None = None,
    high: Corner | None = None,
) -> float:
    """Intersection over union of two closed meshes' insides, at the centres of a box's cells.

    Args:
        a: closed.
        b: closed.
        cells: along each axis of the box.
        low: (3,) the box's lowest corner; default: of the box around both meshes.
        high: (3,) its highest corner.

    Returns:
        a share in [0, 1]; 1 where neither holds a cell's centre.
    """
    bounds = [mesh.bounds() for mesh in (a, b) if len(mesh.vertices)]
    first = np.min([bound[0] for bound in bounds], axis=0) if low is None else low
    last = np.max([bound[1] for bound in bounds], axis=0) if high is None else high
    return overlap(inside_of_cells(a, cells, first, last), inside_of_cells(b, cells, first, last))


def inside_of_cells(
    mesh: TriangleMesh, cells: int, low: Corner, high: Corner
) -> Bool[np.ndarray, "X X X"]:
    """Whether the centres of a box's cells, as many along each axis, are inside a closed mesh."""
    if not len(mesh.triangles):
        return np.zeros((cells, cells, cells), np.bool_)
    first, last = np.asarray(low, np.float64), np.asarray(high, np.float64)
    half = (last - first) / (2 * cells)
    axes = grid_axes(first + half, last - half, (cells, cells, cells))
    return InsideTest(mesh).test_grid(*axes)


def overlap(a: Bool[np.ndarray, "X X X"], b: Bool[np.ndarray, "X X X"]) -> float:
    """Intersection over union of two grids of insides; 1 where both are empty."""
    union = int((a | b).sum())
    return int((a & b).sum()) / union if union else 1.0


def _mean(values: Float32[np.ndarray, " P"]) -> float:
    return float(values.mean(dtype=np.float64)) if len(values) else float("nan")
