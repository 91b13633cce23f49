"""Simple solids, as vertices and triangles: tubes, grids, turned shapes, slabs."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Float32, Int32

Mesh = tuple[Float32[np.ndarray, "_ 3"], Int32[np.ndarray, "_ 3"]]


def tube(
    path: Float[np.ndarray, "P 3"], radius: float, closed: bool = False, sides: int = 5
) -> Mesh:
    """A tube around a polyline, mm."""
    ahead = np.roll(path, -1, 0) - path
    if not closed:
        ahead[-1] = ahead[-2]
    ahead /= np.linalg.norm(ahead, axis=1, keepdims=True) + 1e-9
    side = np.cross(ahead, np.where(np.abs(ahead[:, 1:2]) < 0.9, [[0, 1.0, 0]], [[1.0, 0, 0]]))
    side /= np.linalg.norm(side, axis=1, keepdims=True) + 1e-9
    up = np.cross(ahead, side)
    angle = np.linspace(0, 2 * np.pi, sides, endpoint=False)
    ring = np.cos(angle)[:, None, None] * side + np.sin(angle)[:, None, None] * up
    points = (path + radius * ring).transpose(1, 0, 2).reshape(-1, 3)
    n = len(path)
    i = np.arange(n if closed else n - 1)[:, None] * sides
    j = (i + sides) % (n * sides)
    k = np.arange(sides)[None]
    ahead_k = (k + 1) % sides
    triangles = np.concatenate(
        [
            np.stack([i + k, j + k, j + ahead_k], -1).reshape(-1, 3),
            np.stack([i + k, j + ahead_k, i + ahead_k], -1).reshape(-1, 3),
        ]
    )
    return points.astype(np.float32), triangles.astype(np.int32)


def grid_triangles(rows: int, columns: int, closed: bool = False) -> Int32[np.ndarray, "M 3"]:
    """Triangles of a grid of vertices in row-major order; ``closed`` joins its last column on."""
    index = np.arange(rows * columns).reshape(rows, columns)
    if closed:
        index = np.concatenate([index, index[:, :1]], 1)
    a, b, c, d = index[:-1, :-1], index[:-1, 1:], index[1:, 1:], index[1:, :-1]
    halves = [np.stack([a, b, c], -1), np.stack([a, c, d], -1)]
    return np.concatenate([half.reshape(-1, 3) for half in halves]).astype(np.int32)


def grid_uv(
    triangles: Int32[np.ndarray, "M 3"], columns: int, across: float, down: float
) -> Float32[np.ndarray, "M 3 2"]:
    """Texture coordinates of a grid: 1 / ``across`` of the texture a column, likewise rows.

    The seam of a closed grid is unwrapped.
    """
    u, v = triangles % columns, triangles // columns
    wrap = np.ptp(u, axis=1) > 1
    u = np.where(wrap[:, None] & (u == 0), columns, u)
    return np.stack([u / across, 1 - v / down], -1).astype(np.float32)


def turned(profile: Float[np.ndarray, "P 2"], sides: int = 16) -> Mesh:
    """A profile of (radius, y) turned around the y axis, mm."""
    angle = np.linspace(0, 2 * np.pi, sides, endpoint=False)
    radius, y = profile[:, 0], profile[:, 1]
    points = np.stack(
        [
            radius[:, None] * np.cos(angle),
            np.broadcast_to(y[:, None], (len(y), sides)),
            radius[:, None] * np.sin(angle),
        ],
        -1,
    )
    return points.reshape(-1, 3).astype(np.float32), grid_triangles(len(profile), sides, True)


def slab(width: float, height: float, depth: float, corner: float) -> Mesh:
    """A flat box with rounded corners in the plane z = 0, mm."""
    angle = np.linspace(0, 2 * np.pi, 16, endpoint=False) + np.pi / 16
    wave = np.stack([np.cos(angle), np.sin(angle)], 1)
    rim = np.sign(wave) * [width / 2 - corner, height / 2 - corner] + corner * wave
    rings = [
        np.c_[rim * share, np.full(16, z)]
        for share, z in ((0.02, 0), (1, 0), (1, depth), (0.02, depth))
    ]
    return np.concatenate(rings).astype(np.float32), grid_triangles(4, 16, True)


def joined(parts: list[Mesh]) -> Mesh:
    """Several meshes as one."""
    starts = np.cumsum([0] + [len(points) for points, _ in parts])
    triangles = [t + s for (_, t), s in zip(parts, starts, strict=False)]
    return np.concatenate([p for p, _ in parts]), np.concatenate(triangles).astype(np.int32)
