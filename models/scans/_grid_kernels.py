"""Compiled loops over the cells of a grid: which lie inside of a mesh, and what is nearest."""

from __future__ import annotations

from typing import Any, no_type_check

import numpy as np
import numpy.typing as npt
from numba import njit

Array = npt.NDArray[Any]
RELAXED = {"contract", "reassoc", "nsz", "arcp", "afn"}
_STEPS = 4096
"""Steps that the edge of a cell is divided into: edges are followed in integers."""
_SLIVER = np.float32(1e-8)
"""Squared double area, mm^4, below which a triangle is left out: its neighbours have its edges."""


@njit(cache=True, nogil=True)
@no_type_check
def winding(points: Array, triangles: Array, turns: Array) -> None:
    """How often a closed mesh surrounds each cell's centre (0 outside, 1 inside).

    Rays run along z through the centres. A triangle that faces them is entered (+1), another is
    left (-1); the top-left rule makes each ray cross a closed mesh without gap or repetition, and
    where a mesh overlaps itself the count still tells inside from outside.

    Args:
        points: (V, 3) vertices in cells; centres are at integers.
        triangles: (M, 3) counter-clockwise from outside.
        turns: (N, N, N) int16, set.
    """
    n = turns.shape[0]
    turns[:] = 0
    for t in range(len(triangles)):
        a, b, c = triangles[t, 0], triangles[t, 1], triangles[t, 2]
        ax = np.int64(np.floor(points[a, 0] * _STEPS + 0.5))
        ay = np.int64(np.floor(points[a, 1] * _STEPS + 0.5))
        bx = np.int64(np.floor(points[b, 0] * _STEPS + 0.5))
        by = np.int64(np.floor(points[b, 1] * _STEPS + 0.5))
        cx = np.int64(np.floor(points[c, 0] * _STEPS + 0.5))
        cy = np.int64(np.floor(points[c, 1] * _STEPS + 0.5))
        area = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
        if area == 0:
            continue
        # x right, y down, z in: a triangle that faces the ray is clockwise in (x, y).
        step = -1 if area > 0 else 1
        az, bz, cz = points[a, 2], points[b, 2], points[c, 2]
        if area < 0:
            bx, by, bz, cx, cy, cz = cx, cy, cz, bx, by, bz
            area = -area
        x0 = max(0, -(-min(ax, bx, cx) // _STEPS))
        x1 = min(n - 1, max(ax, bx, cx) // _STEPS)
        y0 = max(0, -(-min(ay, by, cy) // _STEPS))
        y1 = min(n - 1, max(ay, by, cy) // _STEPS)
        first_a = 0 if by < cy or (by == cy and bx < cx) else -1
        first_b = 0 if cy < ay or (cy == ay and cx < ax) else -1
        first_c = 0 if ay < by or (ay == by and ax < bx) else -1
        for x in range(x0, x1 + 1):
            px = x * _STEPS
            for y in range(y0, y1 + 1):
                py = y * _STEPS
                wa = (cx - bx) * (py - by) - (cy - by) * (px - bx)
                wb = (ax - cx) * (py - cy) - (ay - cy) * (px - cx)
                wc = (bx - ax) * (py - ay) - (by - ay) * (px - ax)
                if wa + first_a >= 0 and wb + first_b >= 0 and wc + first_c >= 0:
                    z = (wa * np.float64(az) + wb * np.float64(bz) + wc * np.float64(cz)) / area
                    k = max(0, np.int64(np.ceil(z)))
                    if k < n:
                        turns[x, y, k] += step
    for x in range(n):
        for y in range(n):
            for k in range(1, n):
                turns[x, y, k] += turns[x, y, k - 1]


@njit(cache=True, nogil=True, fastmath=RELAXED, error_model="numpy", inline="always")
@no_type_check
def closest(
    p0: float, p1: float, p2: float, a: Array, b: Array, c: Array
) -> tuple[float, float, float]:
    """Squared distance of a point from a triangle, and the weights of b and c there.

    By the regions of Ericson, Real-Time Collision Detection, 5.1.5.
    """
    abx, aby, abz = b[0] - a[0], b[1] - a[1], b[2] - a[2]
    acx, acy, acz = c[0] - a[0], c[1] - a[1], c[2] - a[2]
    apx, apy, apz = p0 - a[0], p1 - a[1], p2 - a[2]
    zero, one = np.float32(0.0), np.float32(1.0)
    d1 = abx * apx + aby * apy + abz * apz
    d2 = acx * apx + acy * apy + acz * apz
    bpx, bpy, bpz = p0 - b[0], p1 - b[1], p2 - b[2]
    d3 = abx * bpx + aby * bpy + abz * bpz
    d4 = acx * bpx + acy * bpy + acz * bpz
    cpx, cpy, cpz = p0 - c[0], p1 - c[1], p2 - c[2]
    d5 = abx * cpx + aby * cpy + abz * cpz
    d6 = acx * cpx + acy * cpy + acz * cpz
    va, vb, vc = d3 * d6 - d5 * d4, d5 * d2 - d1 * d6, d1 * d4 - d3 * d2
    v, w = zero, zero
    if d1 <= 0 and d2 <= 0:
        v, w = zero, zero
    elif d3 >= 0 and d4 <= d3:
        v, w = one, zero
    elif vc <= 0 and d1 >= 0 and d3 <= 0:
        v, w = d1 / (d1 - d3), zero
    elif d6 >= 0 and d5 <= d6:
        v, w = zero, one
    elif vb <= 0 and d2 >= 0 and d6 <= 0:
        v, w = zero, d2 / (d2 - d6)
    elif va <= 0 and d4 - d3 >= 0 and d5 - d6 >= 0:
        w = (d4 - d3) / ((d4 - d3) + (d5 - d6))
        v = one - w
    else:
        over = one / (va + vb + vc)
        v, w = vb * over, vc * over
    x, y, z = apx - v * abx - w * acx, apy - v * aby - w * acy, apz - v * abz - w * acz
    return x * x + y * y + z * z, v, w


@njit(cache=True, nogil=True, fastmath=RELAXED, error_model="numpy")
@no_type_check
def nearest_triangles(
    vertices: Array,
    triangles: Array,
    first: Array,
    edges: Array,
    reach: float,
    squared: Array,
    nearest: Array,
    weights: Array,
) -> None:
    """The nearest triangle of each cell's centre within a distance; without area it is none.

    Args:
        vertices: (V, 3) float32, mm.
        triangles: (M, 3).
        first: (3,) float32 centre of the first cell, mm.
        edges: (3,) float32 edges of a cell, mm.
        reach: mm.
        squared: (N, N, N) float32, set: squared distance, reach squared where none is as near.
        nearest: (N, N, N) int32, set: the triangle, -1 where none.
        weights: (N, N, N, 2) float32, set: of its second and third corner at the nearest point.
    """
    n = squared.shape[0]
    squared[:] = np.float32(reach * reach)
    nearest[:] = -1
    for t in range(len(triangles)):
        a = vertices[triangles[t, 0]]
        b = vertices[triangles[t, 1]]
        c = vertices[triangles[t, 2]]
        ux, uy, uz = b[0] - a[0], b[1] - a[1], b[2] - a[2]
        vx, vy, vz = c[0] - a[0], c[1] - a[1], c[2] - a[2]
        nx, ny, nz = uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx
        if nx * nx + ny * ny + nz * nz < _SLIVER:
            continue
        mx = (a[0] + b[0] + c[0]) / np.float32(3)
        my = (a[1] + b[1] + c[1]) / np.float32(3)
        mz = (a[2] + b[2] + c[2]) / np.float32(3)
        ra = (a[0] - mx) ** 2 + (a[1] - my) ** 2 + (a[2] - mz) ** 2
        rb = (b[0] - mx) ** 2 + (b[1] - my) ** 2 + (b[2] - mz) ** 2
        rc = (c[0] - mx) ** 2 + (c[1] - my) ** 2 + (c[2] - mz) ** 2
        radius = np.sqrt(max(ra, rb, rc))
        far = radius + np.float32(reach)
        i0 = max(0, np.int64(np.ceil((mx - far - first[0]) / edges[0])))
        i1 = min(n - 1, np.int64(np.floor((mx + far - first[0]) / edges[0])))
        j0 = max(0, np.int64(np.ceil((my - far - first[1]) / edges[1])))
        j1 = min(n - 1, np.int64(np.floor((my + far - first[1]) / edges[1])))
        k0 = max(0, np.int64(np.ceil((mz - far - first[2]) / edges[2])))
        k1 = min(n - 1, np.int64(np.floor((mz + far - first[2]) / edges[2])))
        for i in range(i0, i1 + 1):
            x = first[0] + np.float32(i) * edges[0]
            for j in range(j0, j1 + 1):
                y = first[1] + np.float32(j) * edges[1]
                flat = (x - mx) ** 2 + (y - my) ** 2
                if flat > far * far:
                    continue
                for k in range(k0, k1 + 1):
                    z = first[2] + np.float32(k) * edges[2]
                    centre = flat + (z - mz) ** 2
                    best = squared[i, j, k]
                    # |p - m| - r is a lower bound: (r + d)^2 <= 2 (r^2 + d^2) saves the root.
                    if centre > np.float32(2) * (radius * radius + best):
                        continue
                    bound = radius + np.sqrt(best)
                    if centre >= bound * bound:
                        continue
                    d2, v, w = closest(x, y, z, a, b, c)
                    if d2 < best:
                        squared[i, j, k] = d2
                        nearest[i, j, k] = t
                        weights[i, j, k, 0] = v
                        weights[i, j, k, 1] = w
