"""Compiled loops over triangles and grids of distances."""

from __future__ import annotations

from typing import Any, no_type_check

import numpy as np
import numpy.typing as npt
from numba import njit

Array = npt.NDArray[Any]


@njit(cache=True, nogil=True)
@no_type_check
def squared_distance(p: Array, a: Array, b: Array, c: Array) -> float:  # noqa: PLR0911
    """Squared distance of a point from a triangle (Ericson, Real-Time Collision Detection, 5.1)."""
    abx, aby, abz = b[0] - a[0], b[1] - a[1], b[2] - a[2]
    acx, acy, acz = c[0] - a[0], c[1] - a[1], c[2] - a[2]
    apx, apy, apz = p[0] - a[0], p[1] - a[1], p[2] - a[2]
    d1 = abx * apx + aby * apy + abz * apz
    d2 = acx * apx + acy * apy + acz * apz
    if d1 <= 0 and d2 <= 0:
        return apx * apx + apy * apy + apz * apz
    bpx, bpy, bpz = p[0] - b[0], p[1] - b[1], p[2] - b[2]
    d3 = abx * bpx + aby * bpy + abz * bpz
    d4 = acx * bpx + acy * bpy + acz * bpz
    if d3 >= 0 and d4 <= d3:
        return bpx * bpx + bpy * bpy + bpz * bpz
    vc = d1 * d4 - d3 * d2
    if vc <= 0 and d1 >= 0 and d3 <= 0:
        v = d1 / (d1 - d3)
        x, y, z = apx - v * abx, apy - v * aby, apz - v * abz
        return x * x + y * y + z * z
    cpx, cpy, cpz = p[0] - c[0], p[1] - c[1], p[2] - c[2]
    d5 = abx * cpx + aby * cpy + abz * cpz
    d6 = acx * cpx + acy * cpy + acz * cpz
    if d6 >= 0 and d5 <= d6:
        return cpx * cpx + cpy * cpy + cpz * cpz
    vb = d5 * d2 - d1 * d6
    if vb <= 0 and d2 >= 0 and d6 <= 0:
        w = d2 / (d2 - d6)
        x, y, z = apx - w * acx, apy - w * acy, apz - w * acz
        return x * x + y * y + z * z
    va = d3 * d6 - d5 * d4
    if va <= 0 and d4 >= d3 and d5 >= d6:
        w = (d4 - d3) / ((d4 - d3) + (d5 - d6))
        x = bpx - w * (c[0] - b[0])
        y = bpy - w * (c[1] - b[1])
        z = bpz - w * (c[2] - b[2])
        return x * x + y * y + z * z
    nx, ny, nz = aby * acz - abz * acy, abz * acx - abx * acz, abx * acy - aby * acx
    along = apx * nx + apy * ny + apz * nz
    return along * along / (nx * nx + ny * ny + nz * nz)


@njit(cache=True, nogil=True)
@no_type_check
def splat(
    vertices: Array, triangles: Array, low: Array, cell: float, band: float, out: Array
) -> None:
    """Lower ``out`` (X, Y, Z; squared distances) to what lies within ``band`` of triangles."""
    size = out.shape
    first, last = np.empty(3, np.int64), np.empty(3, np.int64)
    p, normal = np.empty(3), np.empty(3)
    for t in range(len(triangles)):
        a, b, c = vertices[triangles[t, 0]], vertices[triangles[t, 1]], vertices[triangles[t, 2]]
        empty = False
        for k in range(3):
            least, most = min(a[k], b[k], c[k]) - band, max(a[k], b[k], c[k]) + band
            first[k] = max(0, int(np.ceil((least - low[k]) / cell)))
            last[k] = min(size[k] - 1, int(np.floor((most - low[k]) / cell)))
            empty = empty or first[k] > last[k]
        normal[0] = (b[1] - a[1]) * (c[2] - a[2]) - (b[2] - a[2]) * (c[1] - a[1])
        normal[1] = (b[2] - a[2]) * (c[0] - a[0]) - (b[0] - a[0]) * (c[2] - a[2])
        normal[2] = (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])
        length = np.sqrt(normal[0] ** 2 + normal[1] ** 2 + normal[2] ** 2)
        if empty or length < 1e-9:
            continue
        normal /= length
        for i in range(first[0], last[0] + 1):
            p[0] = low[0] + i * cell
            for j in range(first[1], last[1] + 1):
                p[1] = low[1] + j * cell
                plane = (p[0] - a[0]) * normal[0] + (p[1] - a[1]) * normal[1] - a[2] * normal[2]
                for k in range(first[2], last[2] + 1):
                    p[2] = low[2] + k * cell
                    away = plane + p[2] * normal[2]
                    away *= away
                    if away < out[i, j, k]:
                        d = squared_distance(p, a, b, c)
                        out[i, j, k] = min(out[i, j, k], d)


@njit(cache=True, nogil=True)
@no_type_check
def crossings(vertices: Array, triangles: Array, low: Array, cell: float, out: Array) -> None:
    """Count in ``out`` (X, Y, Z; int8) the surfaces crossed from one grid point to the next in z.

    Entering counts 1, leaving -1; their sums along z are winding numbers. Rays are moved by a
    hair's breadth off the grid so that they meet no edges.
    """
    size = out.shape
    aside_x, aside_y = cell * 1.234e-4, cell * 0.731e-4
    for t in range(len(triangles)):
        a, b, c = vertices[triangles[t, 0]], vertices[triangles[t, 1]], vertices[triangles[t, 2]]
        ax, ay, bx, by = np.float64(a[0]), np.float64(a[1]), np.float64(b[0]), np.float64(b[1])
        cx, cy = np.float64(c[0]), np.float64(c[1])
        area = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
        if area == 0:
            continue
        i0 = max(0, int(np.ceil((min(ax, bx, cx) - low[0] - aside_x) / cell)))
        i1 = min(size[0] - 1, int(np.floor((max(ax, bx, cx) - low[0] - aside_x) / cell)))
        j0 = max(0, int(np.ceil((min(ay, by, cy) - low[1] - aside_y) / cell)))
        j1 = min(size[1] - 1, int(np.floor((max(ay, by, cy) - low[1] - aside_y) / cell)))
        for i in range(i0, i1 + 1):
            x = low[0] + i * cell + aside_x
            for j in range(j0, j1 + 1):
                y = low[1] + j * cell + aside_y
                u = (bx - x) * (cy - y) - (by - y) * (cx - x)
                v = (cx - x) * (ay - y) - (cy - y) * (ax - x)
                w = (ax - x) * (by - y) - (ay - y) * (bx - x)
                if (u > 0 and v > 0 and w > 0) or (u < 0 and v < 0 and w < 0):
                    z = (u * a[2] + v * b[2] + w * c[2]) / area
                    k = max(0, int(np.ceil((z - low[2]) / cell)))
                    if k < size[2]:
                        # A triangle that faces -z is entered by a ray towards +z.
                        out[i, j, k] += 1 if area < 0 else -1


@njit(cache=True, nogil=True)
@no_type_check
def lower_by(
    coarse: Array, coarse_low: Array, coarse_cell: float, low: Array, cell: float, out: Array
) -> None:
    """Lower the grid ``out`` to another grid, interpolated trilinearly, where they overlap."""
    first, last = np.empty(3, np.int64), np.empty(3, np.int64)
    for k in range(3):
        end = coarse_low[k] + (coarse.shape[k] - 1) * coarse_cell
        first[k] = max(0, int(np.ceil((coarse_low[k] - low[k]) / cell)))
        last[k] = min(out.shape[k] - 1, int(np.floor((end - low[k]) / cell)))
    for i in range(first[0], last[0] + 1):
        x = (low[0] + i * cell - coarse_low[0]) / coarse_cell
        x0 = min(max(int(x), 0), coarse.shape[0] - 2)
        fx = x - x0
        for j in range(first[1], last[1] + 1):
            y = (low[1] + j * cell - coarse_low[1]) / coarse_cell
            y0 = min(max(int(y), 0), coarse.shape[1] - 2)
            fy = y - y0
            for k in range(first[2], last[2] + 1):
                z = (low[2] + k * cell - coarse_low[2]) / coarse_cell
                z0 = min(max(int(z), 0), coarse.shape[2] - 2)
                fz = z - z0
                value = 0.0
                for dx in range(2):
                    wx = fx if dx else 1 - fx
                    for dy in range(2):
                        wy = fy if dy else 1 - fy
                        row = coarse[x0 + dx, y0 + dy]
                        value += wx * wy * (row[z0] * (1 - fz) + row[z0 + 1] * fz)
                out[i, j, k] = min(out[i, j, k], value)
