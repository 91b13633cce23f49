"""Whether points lie inside a closed mesh, exactly."""

from __future__ import annotations

from typing import Any, no_type_check

import numpy as np
import numpy.typing as npt
from jaxtyping import Bool, Float32
from numba import njit

from ..errors import InputError
from .triangle_mesh import TriangleMesh

Array = npt.NDArray[Any]

STEPS = 1 << 26
"""Steps that the longer side of the mesh's box is divided into, across the rays."""


class InsideTest:
    """Follows a ray along +z from each point and adds up how the mesh's triangles are crossed.

    A point is inside where the sum (the winding number: +1 for each triangle that the ray leaves
    the mesh through, -1 for each that it enters through) is not zero. For one closed surface that
    is the parity of the crossings; for closed surfaces that overlap it is their union. Places
    across the rays are rounded to integers and edges follow the rasteriser's top-left rule, so a
    ray through an edge or a vertex crosses exactly one of the triangles around it.

    Args:
        mesh: closed; in any unit.

    Raises:
        InputError: the mesh has no triangles, or vertices that are not finite.
    """

    def __init__(self, mesh: TriangleMesh) -> None:
        if not len(mesh.triangles):
            raise InputError("mesh: no triangles, so no inside")
        if not np.isfinite(mesh.vertices).all():
            raise InputError("mesh: vertices that are not finite")
        low, high = mesh.bounds()
        self._low, self._high = low.astype(np.float64), high.astype(np.float64)
        self._steps = STEPS / max(float((self._high - self._low)[:2].max()), 1e-30)
        across = (mesh.vertices[:, :2].astype(np.float64) - self._low[:2]) * self._steps
        self._fixed = np.rint(across).astype(np.int64)
        self._z = mesh.vertices[:, 2].astype(np.float64)
        self._triangles = np.ascontiguousarray(mesh.triangles)
        side = int(np.clip(np.sqrt(len(mesh.triangles)), 1, 1024))
        self._width = STEPS // side + 1
        self._starts, self._members = _bin(self._fixed, self._triangles, side, self._width)

    def test(self, points: Float32[np.ndarray, "P 3"]) -> Bool[np.ndarray, " P"]:
        """Whether each point is inside; points that are not finite are outside."""
        inside = np.zeros(len(points), np.bool_)
        _test(
            np.ascontiguousarray(points),
            self._low,
            self._high,
            self._steps,
            self._fixed,
            self._z,
            self._triangles,
            self._width,
            self._starts,
            self._members,
            inside,
        )
        return inside

    def test_grid(
        self,
        x: Float32[np.ndarray, " X"],
        y: Float32[np.ndarray, " Y"],
        z: Float32[np.ndarray, " Z"],
    ) -> Bool[np.ndarray, "X Y Z"]:
        """As :meth:`test` of all points (x, y, z), but each ray is followed once for all its z.

        Args:
            x: places along the first axis.
            y: along the second.
            z: along the third, ascending.
        """
        inside = np.zeros((len(x), len(y), len(z)), np.bool_)
        _test_grid(
            np.ascontiguousarray(x, np.float64),
            np.ascontiguousarray(y, np.float64),
            np.ascontiguousarray(z, np.float64),
            self._low,
            self._high,
            self._steps,
            self._fixed,
            self._z,
            self._triangles,
            self._width,
            self._starts,
            self._members,
            inside,
        )
        return inside


@njit(cache=True, nogil=True)
@no_type_check
def _bin(fixed: Array, triangles: Array, side: int, width: int) -> tuple[Array, Array]:
    """For each square of the plane across the rays, the triangles that may be above it."""
    starts = np.zeros(side * side + 1, np.int64)
    members = np.empty(0, np.int32)
    for fill in range(2):
        place = starts[:-1].copy()
        for t in range(len(triangles)):
            a, b, c = triangles[t]
            x0 = min(fixed[a, 0], fixed[b, 0], fixed[c, 0]) // width
            x1 = max(fixed[a, 0], fixed[b, 0], fixed[c, 0]) // width
            y0 = min(fixed[a, 1], fixed[b, 1], fixed[c, 1]) // width
            y1 = max(fixed[a, 1], fixed[b, 1], fixed[c, 1]) // width
            for y in range(y0, y1 + 1):
                for x in range(x0, x1 + 1):
                    square = y * side + x
                    if fill:
                        members[place[square]] = t
                        place[square] += 1
                    else:
                        starts[square + 1] += 1
        if not fill:
            for i in range(side * side):
                starts[i + 1] += starts[i]
            members = np.empty(starts[-1], np.int32)
    return starts, members


@njit(cache=True, nogil=True)
@no_type_check
def _test(
    points: Array,
    low: Array,
    high: Array,
    steps: float,
    fixed: Array,
    depth: Array,
    triangles: Array,
    width: int,
    starts: Array,
    members: Array,
    inside: Array,
) -> None:
    side = int(np.sqrt(len(starts) - 1) + 0.5)
    for i in range(len(points)):
        x, y, z = np.float64(points[i, 0]), np.float64(points[i, 1]), np.float64(points[i, 2])
        if not (low[0] <= x <= high[0] and low[1] <= y <= high[1] and low[2] <= z <= high[2]):
            continue
        px = np.int64(np.rint((x - low[0]) * steps))
        py = np.int64(np.rint((y - low[1]) * steps))
        square = (py // width) * side + px // width
        winding = 0
        for k in range(starts[square], starts[square + 1]):
            corners = triangles[members[k]]
            if max(depth[corners[0]], depth[corners[1]], depth[corners[2]]) > z:
                sign, above = _crossing(fixed, depth, corners, px, py)
                if above > z:
                    winding += sign
        inside[i] = winding != 0


@njit(cache=True, nogil=True)
@no_type_check
def _test_grid(
    xs: Array,
    ys: Array,
    zs: Array,
    low: Array,
    high: Array,
    steps: float,
    fixed: Array,
    depth: Array,
    triangles: Array,
    width: int,
    starts: Array,
    members: Array,
    inside: Array,
) -> None:
    side = int(np.sqrt(len(starts) - 1) + 0.5)
    change = np.empty(len(zs) + 1, np.int64)
    for i in range(len(xs)):
        if not low[0] <= xs[i] <= high[0]:
            continue
        px = np.int64(np.rint((xs[i] - low[0]) * steps))
        for j in range(len(ys)):
            if not low[1] <= ys[j] <= high[1]:
                continue
            py = np.int64(np.rint((ys[j] - low[1]) * steps))
            square = (py // width) * side + px // width
            change[:] = 0
            for k in range(starts[square], starts[square + 1]):
                sign, above = _crossing(fixed, depth, triangles[members[k]], px, py)
                if sign:
                    # The crossing is above the first so many points.
                    change[np.searchsorted(zs, above)] += sign
            winding = 0
            for k in range(len(zs) - 1, -1, -1):
                winding += change[k + 1]
                inside[i, j, k] = winding != 0


@njit(cache=True, nogil=True)
@no_type_check
def _crossing(fixed: Array, depth: Array, corners: Array, px: int, py: int) -> tuple[int, float]:
    """Whether and how the line along +z at (px, py) crosses a triangle: +1, -1 or 0, and where."""
    a, b, c = corners[0], corners[1], corners[2]
    ax, ay = fixed[a, 0], fixed[a, 1]
    bx, by = fixed[b, 0], fixed[b, 1]
    cx, cy = fixed[c, 0], fixed[c, 1]
    area = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
    if area == 0:
        return 0, 0.0
    sign = 1 if area > 0 else -1
    u = _edge(bx, by, cx, cy, px, py, sign)
    v = _edge(cx, cy, ax, ay, px, py, sign)
    w = _edge(ax, ay, bx, by, px, py, sign)
    if u < 0 or v < 0 or w < 0:
        return 0, 0.0
    at = (u * depth[a] + v * depth[b] + w * depth[c]) / np.float64(area * sign)
    # Rounding must not take the crossing out of the triangle.
    least, most = min(depth[a], depth[b], depth[c]), max(depth[a], depth[b], depth[c])
    return sign, min(max(at, least), most)


@njit(cache=True, nogil=True)
@no_type_check
def _edge(ax: int, ay: int, bx: int, by: int, px: int, py: int, sign: int) -> int:
    """Weight of the corner opposite edge a to b, or -1 where the point is not on its side.

    Points on the edge belong to the triangle on one side of it only: dx and dy change their signs
    with the side that the edge is seen from, so the rule holds for one of the two triangles.
    """
    dx, dy = (bx - ax) * sign, (by - ay) * sign
    value = dx * (py - ay) - dy * (px - ax)
    if value == 0 and not (dy > 0 or (dy == 0 and dx > 0)):
        return -1
    return value
