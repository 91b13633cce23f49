"""Face masks over mouth and nose, with their ear loops."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float32

from ..render.surface import Surface
from .cloth import cloth, cloth_colour
from .eyes import srgb
from .headmap import CENTRE, Table, directions, over
from .primitives import grid_triangles, grid_uv, tube

_MEDICAL = ((205, 225, 235), (240, 242, 242), (28, 28, 30), (150, 195, 215), (225, 180, 190))
_ROWS, _COLUMNS = 9, 21


def face_mask(
    marks: Float32[np.ndarray, "68 3"], table: Table, rng: np.random.Generator
) -> list[Surface]:
    """A mask from the bridge of the nose (or below it) to under the chin, head frame.

    Args:
        marks: landmarks with their expression, mm.
        table: the head with its expression (see :mod:`.headmap`).
        rng: source of chance.
    """
    worn = rng.random()
    # Some wear it under the nose, or under the chin.
    top = marks[28] if worn < 0.8 else (marks[33] + [0, 4, 0] if worn < 0.92 else marks[57])
    away = (top - CENTRE) / np.linalg.norm(top - CENTRE)
    front_top = float(np.degrees(np.arcsin(-away[1]))) + rng.uniform(-4, 3)
    width = rng.uniform(52, 72)
    azimuth = np.linspace(-width, width, _COLUMNS)
    edge = np.abs(azimuth) / width
    upper = front_top - (front_top + rng.uniform(4, 14)) * edge**1.5
    lower = rng.uniform(-72, -62) + (rng.uniform(25, 40)) * edge**2
    share = np.linspace(0, 1, _ROWS)[:, None]
    elevation = upper + share * (lower - upper)
    towards = directions(np.broadcast_to(azimuth, elevation.shape), elevation)
    puff = rng.uniform(1, 7) * np.sin(np.pi * share) * (1 - edge**2)
    points = over(table, towards, 2.0 + puff)
    # The cloth spans from the tip of the nose to the chin instead of following the lips.
    depth = points[..., 2]
    middle = _COLUMNS // 2
    chord = np.minimum(depth, np.minimum.accumulate(depth + 2.0 * share * _ROWS, axis=0))
    blend = np.exp(-(((np.arange(_COLUMNS) - middle) / 4.0) ** 2))
    points[..., 2] = depth + blend * (chord - depth)
    triangles = grid_triangles(_ROWS, _COLUMNS)
    medical = rng.random() < 0.65
    pleats = 1 + rng.uniform(0, 0.2) * np.sin(share * np.pi * 2 * int(rng.integers(3, 7)))
    shade = srgb(np.array(_MEDICAL[rng.integers(len(_MEDICAL))]) * rng.uniform(0.85, 1.05))
    colour = np.broadcast_to(pleats[..., None] * shade, (_ROWS, _COLUMNS, 3)).reshape(-1, 3)
    made = [
        Surface(
            np.ascontiguousarray(points.reshape(-1, 3)),
            triangles,
            colour=np.clip(colour, 0, 1).astype(np.float32) if medical else None,
            texture=None if medical else cloth(rng),
            uv=None if medical else grid_uv(triangles, _COLUMNS, 16.0, 8.0),
            specular=0.01,
            roughness=0.8,
            subsurface=0.3,
            two_sided=True,
        )
    ]
    loop_colour = shade if medical else srgb(cloth_colour(rng))
    for end, side in ((0, -1.0), (_COLUMNS - 1, 1.0)):
        ear = over(table, directions(np.array(side * 96.0), np.array(2.0)), 0.0)
        for row in (1, _ROWS - 2):
            start = points[row, end]
            path = np.stack([start, (start + ear) / 2 + [side * 1.5, 0, 0], ear])
            vertices, faces = tube(path, 1.0, sides=4)
            colours = np.tile(loop_colour, (len(vertices), 1)).astype(np.float32)
            made.append(Surface(vertices, faces, colour=colours, two_sided=True))
    return made
