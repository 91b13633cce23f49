"""Shadow maps: the scene's nearest depth, seen along a light's rays."""

from __future__ import annotations

from typing import Any, no_type_check

import numpy as np
from jaxtyping import Float32
from numba import njit

from .mesh import Mesh
from .raster import NOTHING, RELAXED, SUBPIXELS, Array, edges
from .texture import sample_alpha

SOLID = 0.5
"""Blended surfaces cast a shadow where their opacity reaches this."""


def light_frame(
    meshes: list[Mesh], towards: Float32[np.ndarray, " 3"], size: int
) -> tuple[Float32[np.ndarray, " 13"], tuple[float, float]]:
    """An orthographic view along a light that just holds the meshes.

    Returns:
        three rows of an affine map (12 numbers) from camera-frame mm to the map's column and row
        and to nearness (mm towards the light), then the map's mean texel size in mm; and the texel
        size along columns and rows.
    """
    across = np.cross(towards, [0.0, 1.0, 0.0] if abs(towards[1]) < 0.9 else [1.0, 0.0, 0.0])
    across /= np.linalg.norm(across)
    axes = np.stack([across, np.cross(towards, across), towards]).astype(np.float32)
    low, high = np.full(3, np.inf), np.full(3, -np.inf)
    for mesh in meshes:
        seen = mesh.vertices @ axes.T
        low, high = np.minimum(low, seen.min(axis=0)), np.maximum(high, seen.max(axis=0))
    texel = np.maximum(high - low, 1e-3)[:2] / (size - 5)
    frame = np.zeros((3, 4))
    frame[:2, :3] = axes[:2] / texel[:, None]
    frame[:2, 3] = 2.0 - low[:2] / texel
    frame[2, :3] = axes[2]
    packed = np.append(frame.reshape(-1), texel.mean()).astype(np.float32)
    return packed, (float(texel[0]), float(texel[1]))


def draw_shadow_map(
    meshes: list[Mesh], frame: Float32[np.ndarray, " 13"], size: int
) -> Float32[np.ndarray, "S S"]:
    """Nearness to the light of the first surface along each ray; far below zero where none."""
    depth = np.full((size, size), NOTHING, np.float32)
    for mesh in meshes:
        fixed = np.empty((len(mesh.vertices), 2), np.int32)
        nearness = np.empty(len(mesh.vertices), np.float32)
        _see_from_light(mesh.vertices, frame, fixed, nearness)
        _draw_nearness(fixed, nearness, mesh, depth)
    return depth


@njit(cache=True, nogil=True, fastmath=RELAXED)
@no_type_check
def _see_from_light(vertices: Array, frame: Array, fixed: Array, nearness: Array) -> None:
    for i in range(len(vertices)):
        x, y, z = vertices[i, 0], vertices[i, 1], vertices[i, 2]
        u = frame[0] * x + frame[1] * y + frame[2] * z + frame[3]
        v = frame[4] * x + frame[5] * y + frame[6] * z + frame[7]
        if abs(u) < 1e5 and abs(v) < 1e5:
            fixed[i, 0] = np.int32(u * SUBPIXELS)
            fixed[i, 1] = np.int32(v * SUBPIXELS)
            nearness[i] = frame[8] * x + frame[9] * y + frame[10] * z
        else:
            nearness[i] = NOTHING


@njit(cache=True, nogil=True, fastmath=RELAXED)
@no_type_check
def _draw_nearness(fixed: Array, nearness: Array, mesh: Any, depth: Array) -> None:
    size = len(depth)
    triangles, alpha, uv = mesh.triangles, mesh.alpha, mesh.uv
    texels, levels, level = mesh.texels, mesh.levels, mesh.level
    blended = len(alpha) > 0 or not mesh.opaque
    for t in range(len(triangles)):
        corners = triangles[t]
        q0, q1, q2 = nearness[corners[0]], nearness[corners[1]], nearness[corners[2]]
        if min(q0, q1, q2) <= NOTHING:
            continue
        box, start, steps, _, area = edges(fixed, corners, size, size, False)
        if box[0] > box[1]:
            continue
        scale = 1.0 / np.float64(area)
        e0, e1, e2 = start
        for y in range(box[2], box[3] + 1):
            w0, w1, w2 = e0, e1, e2
            for x in range(box[0], box[1] + 1):
                if (w0 | w1 | w2) >= 0:
                    b0, b1 = np.float32(w0 * scale), np.float32(w1 * scale)
                    b2 = np.float32(w2 * scale)
                    q = b0 * q0 + b1 * q1 + b2 * q2
                    if q > depth[y, x] and (
                        not blended
                        or opacity(triangles, alpha, uv, texels, levels, level, t, b0, b1) >= SOLID
                    ):
                        depth[y, x] = q
                w0 += steps[0]
                w1 += steps[1]
                w2 += steps[2]
            e0 += steps[3]
            e1 += steps[4]
            e2 += steps[5]


@njit(cache=True, nogil=True, fastmath=RELAXED)
@no_type_check
def opacity(
    triangles: Array,
    vertex_alpha: Array,
    uv: Array,
    texels: Array,
    levels: Array,
    level: Array,
    t: int,
    b0: float,
    b1: float,
) -> float:
    """Alpha of a mesh at a point of a triangle."""
    b2 = np.float32(1.0) - b0 - b1
    alpha = np.float32(1.0)
    if len(vertex_alpha) > 0:
        alpha = b0 * vertex_alpha[triangles[t, 0]] + b1 * vertex_alpha[triangles[t, 1]]
        alpha += b2 * vertex_alpha[triangles[t, 2]]
    if len(texels) > 0 and alpha > 0:
        u = b0 * uv[t, 0, 0] + b1 * uv[t, 1, 0] + b2 * uv[t, 2, 0]
        v = b0 * uv[t, 0, 1] + b1 * uv[t, 1, 1] + b2 * uv[t, 2, 1]
        alpha *= sample_alpha(texels, levels, u, v, level[t])
    return alpha


@njit(cache=True, nogil=True, fastmath=RELAXED)
@no_type_check
def light_arriving(
    maps: Array,
    frames: Array,
    k: int,
    x: float,
    y: float,
    z: float,
    bias: float,
    spread: float,
) -> float:
    """Share of lamp ``k``'s light that reaches a point: 3 x 3 comparisons, each bilinear.

    ``bias`` is in mm, ``spread`` the distance of the comparisons in texels. Near the map's border
    and outside all light arrives.
    """
    u = frames[k, 0] * x + frames[k, 1] * y + frames[k, 2] * z + frames[k, 3]
    v = frames[k, 4] * x + frames[k, 5] * y + frames[k, 6] * z + frames[k, 7]
    q = frames[k, 8] * x + frames[k, 9] * y + frames[k, 10] * z + bias
    one = np.float32(1.0)
    last = np.float32(maps.shape[1] - 2) - spread
    if u < spread or v < spread or u >= last or v >= last:
        return one
    left, right = np.int32(u - spread), np.int32(u + spread) + 1
    top, bottom = np.int32(v - spread), np.int32(v + spread) + 1
    lit = np.int32(q >= maps[k, top, left]) + np.int32(q >= maps[k, top, right])
    lit += np.int32(q >= maps[k, bottom, left]) + np.int32(q >= maps[k, bottom, right])
    lit += np.int32(q >= maps[k, np.int32(v + np.float32(0.5)), np.int32(u + np.float32(0.5))])
    # Most points are far from any edge of a shadow.
    if lit == 5:
        return one
    if lit == 0:
        return np.float32(0.0)
    total = np.float32(0.0)
    for i in range(-1, 2):
        t = v + np.float32(i) * spread
        row = np.int32(t)
        ft = t - np.float32(row)
        for j in range(-1, 2):
            s = u + np.float32(j) * spread
            column = np.int32(s)
            fs = s - np.float32(column)
            above = (one - fs) * np.float32(q >= maps[k, row, column])
            above += fs * np.float32(q >= maps[k, row, column + 1])
            below = (one - fs) * np.float32(q >= maps[k, row + 1, column])
            below += fs * np.float32(q >= maps[k, row + 1, column + 1])
            total += (one - ft) * above + ft * below
    return total * np.float32(1.0 / 9.0)
