"""Clothes below the neck: what hangs from the shoulders, and collars."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float32, Int32

from ..render.raster import vertex_normals
from ..render.surface import Surface
from ..render.texture import Texture
from .hats import draped
from .headmap import CENTRE

_FALL = ((1.0, 0.0), (1.04, 45.0), (1.08, 160.0), (1.1, 500.0))
"""Rows of the trunk: how much wider than the mesh's lower edge, how many mm below it."""
_COLUMNS = 48
_AXIS_Z = 112.0
_HIGHEST_LOOP_Y = 150.0


def lower_edge(
    points: Float32[np.ndarray, "V 3"], triangles: Int32[np.ndarray, "M 3"]
) -> Int32[np.ndarray, "E 2"]:
    """Border edges of a head's skin where it was cut off the body, as directed vertex pairs."""
    edges = np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]])
    n = len(points)
    forward = edges[:, 0].astype(np.int64) * n + edges[:, 1]
    backward = edges[:, 1].astype(np.int64) * n + edges[:, 0]
    border = edges[~np.isin(forward, backward)]
    return border[(points[border][..., 1] > _HIGHEST_LOOP_Y).all(1)].astype(np.int32)


def trunk(
    head: Float32[np.ndarray, "V 3"],
    edge: Int32[np.ndarray, "E 2"],
    uv: Float32[np.ndarray, "V 2"],
    texture: Texture,
) -> Surface:
    """What is below the cut, hanging from it; head frame.

    Args:
        head: the skin's vertices.
        edge: see :func:`lower_edge`.
        uv: texture coordinates of the skin's vertices.
        texture: of the skin, with the clothes painted on.
    """
    rows = []
    for wider, lower in _FALL:
        row = head[edge].copy()
        row[..., 0] *= wider
        row[..., 2] = _AXIS_Z + (row[..., 2] - _AXIS_Z) * wider
        row[..., 1] += lower
        rows.append(row)
    points = np.stack(rows)
    n = len(edge)
    index = np.arange(len(_FALL) * n * 2).reshape(len(_FALL), n, 2)
    a, b, c, d = index[:-1, :, 1], index[:-1, :, 0], index[1:, :, 0], index[1:, :, 1]
    triangles = np.concatenate(
        [np.stack([a, b, c], -1).reshape(-1, 3), np.stack([a, c, d], -1).reshape(-1, 3)]
    ).astype(np.int32)
    corner = np.stack([uv[edge] * [1, 1 - 0.25 * k] for k in range(len(_FALL))]).reshape(-1, 2)
    corners = corner[triangles].astype(np.float32)
    wrap = np.ptp(corners[..., 0], axis=1) > 0.5
    corners[wrap, :, 0] += corners[wrap, :, 0] < 0.5
    vertices = np.ascontiguousarray(points.reshape(-1, 3))
    return Surface(
        vertices,
        triangles,
        normals=vertex_normals(vertices, triangles),
        texture=texture,
        uv=np.ascontiguousarray(corners),
        specular=0.01,
        roughness=0.7,
        two_sided=True,
    )


def collar(neck: Float32[np.ndarray, "K 3"], rng: np.random.Generator) -> list[Surface]:
    """A shirt's collar, a roll neck, a hood that lies on the shoulders, or a necklace's band.

    Args:
        neck: vertices of the neck between chin and shoulders, head frame.
        rng: source of chance.
    """
    azimuth = np.linspace(-np.pi, np.pi, _COLUMNS, endpoint=False)
    away = np.hypot(neck[:, 0], neck[:, 2] - CENTRE[2])
    at = np.arctan2(neck[:, 0], -(neck[:, 2] - CENTRE[2]))
    apart = np.angle(np.exp(1j * (azimuth[:, None] - at[None])))
    near = np.exp(-((apart / 0.25) ** 2))
    radius = (near * away).sum(1) / (near.sum(1) + 1e-6)
    kind = rng.random()
    base = float(np.quantile(neck[:, 1], 0.75)) + rng.uniform(-8, 10)
    front = np.cos(azimuth)
    low = base + rng.uniform(0, 22) * front
    if kind < 0.4:  # roll neck or crew neck
        height, flare = rng.uniform(6, 55), rng.uniform(2, 6)
        rows = [(0.0, flare + 9), (0.45, flare + 2), (1.0, flare), (1.0, flare - 3)]
    elif kind < 0.75:  # folded shirt collar, open in front
        height, flare = rng.uniform(22, 42), rng.uniform(4, 9)
        rows = [(0.15, flare + 16), (0.6, flare + 6), (1.0, flare), (0.6, flare - 2)]
    else:  # thick folds of a hood or scarf
        height, flare = rng.uniform(15, 40), rng.uniform(6, 14)
        rows = [(0.0, flare + 26), (0.5, flare + 24), (1.0, flare + 8), (0.7, flare - 3)]
    points = np.empty((len(rows), _COLUMNS, 3))
    for row, (share, out) in enumerate(rows):
        r = radius + out
        points[row, :, 0] = r * np.sin(azimuth)
        points[row, :, 1] = low - share * height
        points[row, :, 2] = CENTRE[2] - r * np.cos(azimuth)
    if 0.4 <= kind < 0.75:
        opening = int(rng.integers(1, 6))
        middle = _COLUMNS // 2
        order = np.r_[middle + opening : _COLUMNS, 0 : middle - opening + 1]
        return [draped(np.ascontiguousarray(points[:, order].astype(np.float32)), rng)]
    return [draped(points.astype(np.float32), rng, closed=True)]
