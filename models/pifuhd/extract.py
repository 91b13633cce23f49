"""From an occupancy function to a mesh: the octree, marching cubes, the largest piece."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from jaxtyping import Float32

from ..errors import InputError
from ..mesh.marching import surface_of_grid
from ..mesh.triangle_mesh import TriangleMesh
from .octree import LEVEL, Occupancy, refine


def extract(
    occupancy: Occupancy,
    resolution: int,
    *,
    start: int = 64,
    tolerance: float = 0.05,
    points_per_call: int = 100_000,
    least_share: float = 1.0,
    progress: Callable[[float], None] | None = None,
) -> TriangleMesh:
    """The surface of a function over the cube, in cube coordinates.

    The surface is closed where it leaves the cube.

    Args:
        occupancy: probability that points (P, 3) are inside, (P,).
        resolution: cells along an edge of the cube: at most ``start`` times a power of two.
        start: cells of the first grid, which is asked everywhere.
        tolerance: see :func:`~mien.models.pifuhd.octree.refine`.
        points_per_call: that the function is asked for at once, at most.
        least_share: pieces are kept that have at least this share of the largest one's triangles;
            1 keeps the largest alone.
        progress: told the share that is done, 0 to 1.

    Raises:
        InputError: an argument is impossible, nothing is inside, or the function gives something
            else than a finite number a point.
    """
    field = refine(
        occupancy,
        resolution,
        start=start,
        tolerance=tolerance,
        points_per_call=points_per_call,
        progress=progress,
    )
    return surface(field.values, least_share)


def surface(values: Float32[np.ndarray, "X X X"], least_share: float = 1.0) -> TriangleMesh:
    """The surface of values at the corners of a grid over the cube; see :func:`extract`.

    Raises:
        InputError: no value is inside.
    """
    inside = values > LEVEL
    if not inside.any():
        raise InputError("the network sees nothing solid in this picture: no surface in the cube")
    cells = len(values) - 1
    # The box around what is inside: marching cubes takes several times its grid in memory.
    first, last = np.empty(3, int), np.empty(3, int)
    for axis in range(3):
        filled = np.flatnonzero(inside.any(axis=tuple(a for a in range(3) if a != axis)))
        first[axis], last[axis] = max(0, filled[0] - 1), min(cells, filled[-1] + 1)
    del inside
    box = tuple(slice(a, b + 1) for a, b in zip(first, last, strict=True))
    low, high = (2.0 * corner / cells - 1.0 for corner in (first, last))
    mesh = surface_of_grid(
        np.ascontiguousarray(values[box]),
        LEVEL,
        (float(low[0]), float(low[1]), float(low[2])),
        (float(high[0]), float(high[1]), float(high[2])),
        inside_above=True,
    )
    if least_share >= 1.0:
        return mesh.largest_component()
    return _pieces(mesh, least_share)


def _pieces(mesh: TriangleMesh, least_share: float) -> TriangleMesh:
    pieces = mesh.components()
    most = max(len(piece.triangles) for piece in pieces)
    kept = [piece for piece in pieces if len(piece.triangles) >= least_share * most]
    starts = np.cumsum([0, *(len(piece.vertices) for piece in kept)])
    triangles = [piece.triangles + start for piece, start in zip(kept, starts, strict=False)]
    return TriangleMesh(
        np.concatenate([piece.vertices for piece in kept]),
        np.concatenate(triangles).astype(np.int32),
        None,
    )
