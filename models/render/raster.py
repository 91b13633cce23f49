"""Which triangle is seen at each pixel: a z-buffer rasteriser on one core.

Vertices are snapped to 1/1024 px and edges are followed in integers, with the top-left rule:
triangles that share an edge leave neither a crack nor a pixel drawn twice.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, no_type_check

import numpy as np
import numpy.typing as npt
from jaxtyping import Float32, Int32
from numba import njit

Array = npt.NDArray[Any]

# Relaxed arithmetic, yet NaN and infinity keep their meaning: bad vertices must be recognised.
RELAXED = {"contract", "reassoc", "nsz", "arcp", "afn"}

SUBPIXELS = 1024
"""Steps a pixel is divided into."""
REACH_PX = 2.0**20
"""Vertices farther than this from the picture's origin are not drawn."""
NOTHING = -1e30
"""Nearness of an empty pixel, or of a vertex that cannot be drawn."""


@dataclass(frozen=True)
class GBuffer:
    """What is seen at each pixel.

    Attributes:
        triangle: (H, W) index of the nearest triangle, -1 where there is none.
        barycentric: (H, W, 3) perspective-correct weights of its corners, zero where none.
        depth: (H, W) depth of the surface, in the unit of the points (mm), +inf where none.
    """

    triangle: Int32[np.ndarray, "H W"]
    barycentric: Float32[np.ndarray, "H W 3"]
    depth: Float32[np.ndarray, "H W"]


def rasterise(
    points_px: Float32[np.ndarray, "N 3"],
    triangles: Int32[np.ndarray, "M 3"],
    height: int,
    width: int,
    *,
    cull_back: bool = False,
    near: float = 1.0,
) -> GBuffer:
    """Draw projected triangles into a z-buffer.

    Args:
        points_px: x and y in pixels (pixel centres at integers), camera depth in mm. The points
            come from a perspective camera: attributes are interpolated with 1/depth.
        triangles: vertex indices, counter-clockwise as seen in the picture when facing the viewer.
        height: rows of the picture.
        width: columns of the picture.
        cull_back: leave out triangles that face away.
        near: triangles with a vertex at this depth or nearer (mm), or that is not finite, or
            beyond a million pixels, are left out.
    """
    fixed = np.empty((len(points_px), 2), np.int32)
    nearness = np.empty(len(points_px), np.float32)
    snap(points_px, near, fixed, nearness)
    seen = np.full((height, width), NOTHING, np.float32)
    label = np.full((height, width), -1, np.int32)
    triangle = np.full((height, width), -1, np.int32)
    corner = np.zeros((height, width, 2), np.float32)
    draw(fixed, nearness, triangles, cull_back, 0, seen, label, triangle, corner)
    hit = triangle >= 0
    third = np.where(hit, 1.0 - corner[..., 0] - corner[..., 1], 0.0).astype(np.float32)
    depth = np.full((height, width), np.inf, np.float32)
    depth[hit] = 1.0 / seen[hit]
    return GBuffer(triangle, np.concatenate([corner, third[..., None]], axis=2), depth)


def vertex_normals(
    vertices: Float32[np.ndarray, "N 3"], triangles: Int32[np.ndarray, "M 3"]
) -> Float32[np.ndarray, "N 3"]:
    """Unit normals, averaged over the triangles around each vertex by area.

    They point out of the side from which triangles are counter-clockwise. A vertex of no triangle,
    or of degenerate ones only, has a zero normal.
    """
    normals = np.zeros(vertices.shape, np.float32)
    _accumulate_normals(vertices, triangles, normals)
    return normals


@njit(cache=True, nogil=True, fastmath=RELAXED)
@no_type_check
def _accumulate_normals(vertices: Array, triangles: Array, normals: Array) -> None:
    for t in range(len(triangles)):
        a, b, c = triangles[t, 0], triangles[t, 1], triangles[t, 2]
        ux = vertices[b, 0] - vertices[a, 0]
        uy = vertices[b, 1] - vertices[a, 1]
        uz = vertices[b, 2] - vertices[a, 2]
        vx = vertices[c, 0] - vertices[a, 0]
        vy = vertices[c, 1] - vertices[a, 1]
        vz = vertices[c, 2] - vertices[a, 2]
        nx = uy * vz - uz * vy
        ny = uz * vx - ux * vz
        nz = ux * vy - uy * vx
        for i in (a, b, c):
            normals[i, 0] += nx
            normals[i, 1] += ny
            normals[i, 2] += nz
    for i in range(len(normals)):
        nx, ny, nz = normals[i, 0], normals[i, 1], normals[i, 2]
        length = np.sqrt(nx * nx + ny * ny + nz * nz)
        if length > 1e-20:
            normals[i, 0] = nx / length
            normals[i, 1] = ny / length
            normals[i, 2] = nz / length
        else:
            normals[i, :] = 0.0


@njit(cache=True, nogil=True, fastmath=RELAXED)
@no_type_check
def project(vertices: Array, camera: Array, points: Array) -> None:
    """Camera-frame mm to (x px, y px, depth mm); ``camera`` holds fx, fy, cx, cy."""
    for i in range(len(vertices)):
        z = vertices[i, 2]
        over = np.float32(1.0) / z if z > 1e-6 else np.float32(0.0)
        points[i, 0] = camera[0] * vertices[i, 0] * over + camera[2]
        points[i, 1] = camera[1] * vertices[i, 1] * over + camera[3]
        points[i, 2] = z


@njit(cache=True, nogil=True, fastmath=RELAXED)
@no_type_check
def snap(points: Array, near: float, fixed: Array, nearness: Array) -> None:
    """Fixed-point image position, and 1/depth: linear over the picture, larger when nearer."""
    for i in range(len(points)):
        x, y, z = points[i, 0], points[i, 1], points[i, 2]
        if z > near and z < 1e30 and abs(x) < REACH_PX and abs(y) < REACH_PX:
            fixed[i, 0] = np.int32(np.floor(np.float64(x) * SUBPIXELS + 0.5))
            fixed[i, 1] = np.int32(np.floor(np.float64(y) * SUBPIXELS + 0.5))
            nearness[i] = np.float32(1.0) / z
        else:
            fixed[i, 0] = 0
            fixed[i, 1] = 0
            nearness[i] = NOTHING


@njit(cache=True, nogil=True)
@no_type_check
def edges(
    fixed: Array, corners: Array, width: int, height: int, cull_back: bool
) -> tuple[tuple[int, int, int, int], tuple[int, ...], tuple[int, ...], tuple[int, ...], int]:
    """Edge functions of a triangle.

    Returns:
        the pixel box (x0, x1, y0, y1; x0 > x1 when there is nothing to draw); for each corner the
        value at (x0, y0) of the function that is 0 on the opposite edge and positive inside; its
        steps along x and y (3 + 3); what to add so that >= 0 decides membership; and its value at
        the corner, twice the area, so that value / area is the weight of the corner.
    """
    ax, ay = np.int64(fixed[corners[0], 0]), np.int64(fixed[corners[0], 1])
    bx, by = np.int64(fixed[corners[1], 0]), np.int64(fixed[corners[1], 1])
    cx, cy = np.int64(fixed[corners[2], 0]), np.int64(fixed[corners[2], 1])
    zero = np.int64(0)
    x0 = max(zero, (min(ax, bx, cx) + (SUBPIXELS - 1)) // SUBPIXELS)
    x1 = min(np.int64(width - 1), max(ax, bx, cx) // SUBPIXELS)
    y0 = max(zero, (min(ay, by, cy) + (SUBPIXELS - 1)) // SUBPIXELS)
    y1 = min(np.int64(height - 1), max(ay, by, cy) // SUBPIXELS)
    area = (cx - bx) * (ay - by) - (cy - by) * (ax - bx)
    # y runs down: counter-clockwise as seen has a negative area.
    if area == 0 or (cull_back and area > 0) or y0 > y1:
        x0, x1 = np.int64(1), zero
    sign = np.int64(1) if area > 0 else np.int64(-1)
    step_x = ((by - cy) * sign, (cy - ay) * sign, (ay - by) * sign)
    step_y = ((cx - bx) * sign, (ax - cx) * sign, (bx - ax) * sign)
    px, py = x0 * SUBPIXELS, y0 * SUBPIXELS
    start = (
        step_x[0] * (px - bx) + step_y[0] * (py - by),
        step_x[1] * (px - cx) + step_y[1] * (py - cy),
        step_x[2] * (px - ax) + step_y[2] * (py - ay),
    )
    rule = (
        zero if step_x[0] > 0 or (step_x[0] == 0 and step_y[0] > 0) else np.int64(-1),
        zero if step_x[1] > 0 or (step_x[1] == 0 and step_y[1] > 0) else np.int64(-1),
        zero if step_x[2] > 0 or (step_x[2] == 0 and step_y[2] > 0) else np.int64(-1),
    )
    steps = (
        step_x[0] * SUBPIXELS,
        step_x[1] * SUBPIXELS,
        step_x[2] * SUBPIXELS,
        step_y[0] * SUBPIXELS,
        step_y[1] * SUBPIXELS,
        step_y[2] * SUBPIXELS,
    )
    return (x0, x1, y0, y1), start, steps, rule, area * sign


@njit(cache=True, nogil=True, fastmath=RELAXED)
@no_type_check
def draw(
    fixed: Array,
    nearness: Array,
    triangles: Array,
    cull_back: bool,
    name: int,
    seen: Array,
    label: Array,
    triangle: Array,
    corner: Array,
) -> None:
    """Draw a mesh where it is nearer than what ``seen`` (H, W nearness) holds.

    Writes ``label`` (H, W) = ``name``, ``triangle`` (H, W) and ``corner`` (H, W, 2): the
    perspective-correct weights of the first two corners.
    """
    height, width = seen.shape
    for t in range(len(triangles)):
        corners = triangles[t]
        q0, q1, q2 = nearness[corners[0]], nearness[corners[1]], nearness[corners[2]]
        if min(q0, q1, q2) <= NOTHING:
            continue
        box, start, steps, rule, area = edges(fixed, corners, width, height, cull_back)
        if box[0] > box[1]:
            continue
        scale = 1.0 / np.float64(area)
        e0, e1, e2 = start
        for y in range(box[2], box[3] + 1):
            w0, w1, w2 = e0, e1, e2
            for x in range(box[0], box[1] + 1):
                if ((w0 + rule[0]) | (w1 + rule[1]) | (w2 + rule[2])) >= 0:
                    p0 = np.float32(w0 * scale) * q0
                    p1 = np.float32(w1 * scale) * q1
                    q = p0 + p1 + np.float32(w2 * scale) * q2
                    if q > seen[y, x]:
                        over = np.float32(1.0) / q
                        seen[y, x] = q
                        label[y, x] = name
                        triangle[y, x] = t
                        corner[y, x, 0] = p0 * over
                        corner[y, x, 1] = p1 * over
                w0 += steps[0]
                w1 += steps[1]
                w2 += steps[2]
            e0 += steps[3]
            e1 += steps[4]
            e2 += steps[5]
