"""What people wear on and around their heads: caps, beanies, hoods, scarves, bands, headphones."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Float32

from ..render.surface import Surface
from .cloth import cloth, cloth_colour
from .eyes import srgb
from .headmap import Table, directions, over
from .primitives import grid_triangles, grid_uv, joined, tube, turned

_COLUMNS = 48
_AZIMUTH = np.linspace(-180, 180, _COLUMNS, endpoint=False)


def draped(
    points: Float32[np.ndarray, "R C 3"], rng: np.random.Generator, closed: bool = False
) -> Surface:
    """A sheet of cloth over a grid of points."""
    rows, columns = points.shape[:2]
    triangles = grid_triangles(rows, columns, closed)
    repeat = float(rng.choice((12, 16, 24, 48)))  # divides the columns of a closed sheet
    return Surface(
        np.ascontiguousarray(points.reshape(-1, 3)),
        triangles,
        texture=cloth(rng),
        uv=grid_uv(triangles, columns, repeat, repeat * rng.uniform(0.5, 1.5)),
        specular=float(rng.choice([0.0, rng.uniform(0, 0.04)])),
        roughness=0.7,
        two_sided=True,
    )


def _wobble(
    rng: np.random.Generator, around_deg: Float[np.ndarray, " C"], size: float
) -> Float[np.ndarray, " C"]:
    a = np.radians(around_deg)
    phase = rng.uniform(0, 6.3, 2)
    return size * (0.7 * np.sin(2 * a + phase[0]) + 0.5 * np.sin(5 * a + phase[1]))


def _dome(
    table: Table,
    edge_deg: Float[np.ndarray, " C"],
    lift: Float[np.ndarray, " R"],
    rng: np.random.Generator,
) -> Surface:
    """From the crown down to an edge of given elevation; ``lift`` from crown to edge."""
    share = np.linspace(0.02, 1, len(lift))[:, None] ** 0.8
    elevation = 90 - share * (90 - edge_deg)
    towards = directions(np.broadcast_to(_AZIMUTH, elevation.shape), elevation)
    return draped(over(table, towards, lift[:, None]), rng, closed=True)


def cap(table: Table, rng: np.random.Generator) -> list[Surface]:
    """A cap with a peak, sometimes worn backwards."""
    front = rng.uniform(20, 40)
    back = rng.uniform(-8, 14)
    turn = 180.0 if rng.random() < 0.2 else rng.normal(0, 6)
    facing = np.cos(np.radians(_AZIMUTH - turn))
    edge = back + (front - back) * (0.5 + 0.5 * facing)
    lift = np.linspace(rng.uniform(8, 22), rng.uniform(3, 6), 9)
    made = [_dome(table, edge, lift, rng)]
    sweep = np.linspace(-62, 62, 15)
    length = rng.uniform(45, 75) * np.cos(np.radians(sweep) * 1.4) ** 0.6
    edge_at = back + (front - back) * (0.5 + 0.5 * np.cos(np.radians(sweep)))
    inner = over(table, directions(sweep + turn, edge_at), lift[-1] - 1)
    outwards = directions(sweep * 0.8 + turn, np.full(15, rng.uniform(-25, 5)))
    outer = inner + outwards * length[:, None]
    outer[:, 1] += rng.uniform(0, 0.004) * (sweep**2)
    made.append(draped(np.stack([inner, outer]).astype(np.float32), rng))
    return made


def beanie(table: Table, rng: np.random.Generator) -> list[Surface]:
    """A knitted cap, with or without a turned-up band."""
    front, side = rng.uniform(18, 38), rng.uniform(-22, 14)
    facing = np.cos(np.radians(_AZIMUTH))
    edge = side + (front - side) * np.clip(facing, 0, 1) ** 1.2 + _wobble(rng, _AZIMUTH, 1.5)
    made = [_dome(table, edge, np.linspace(rng.uniform(10, 35), 4, 9), rng)]
    if rng.random() < 0.6:
        elevation = edge + np.linspace(0, rng.uniform(14, 26), 3)[:, None]
        towards = directions(np.broadcast_to(_AZIMUTH, elevation.shape), elevation)
        made.append(draped(over(table, towards, rng.uniform(7, 11)), rng, closed=True))
    return made


def hood(table: Table, rng: np.random.Generator) -> list[Surface]:
    """A hood or a headscarf: all around an opening for the face, down over the neck."""
    scarf = rng.random() < 0.55
    around = np.linspace(0, 360, _COLUMNS, endpoint=False)
    a = np.radians(around)
    wide, high, low = rng.uniform(46, 70), rng.uniform(34, 56), rng.uniform(56, 82)
    up = np.sin(a)
    half = np.where(up > 0, high, low)
    opening = 1 / np.sqrt((np.cos(a) / wide) ** 2 + (up / half) ** 2) + _wobble(rng, around, 2.0)
    away = opening + (172 - opening) * np.linspace(0, 1, 12)[:, None] ** 1.3
    r = np.radians(away)
    towards = np.stack([np.sin(r) * np.cos(a), -np.sin(r) * np.sin(a), -np.cos(r)], -1)
    lift = rng.uniform(3, 8) if scarf else rng.uniform(10, 26)
    lift = lift + np.array([1.5 if scarf else 4.0] + [0.0] * 11)[:, None]
    lift = lift + rng.uniform(0, 3) * np.sin(a * int(rng.integers(3, 9)) + away / 20)
    points = over(table, towards.astype(np.float32), lift)
    # Below the chin the cloth hangs instead of following the neck.
    hang = np.clip(-up, 0, 1)[None] * np.linspace(0, 1, 12)[:, None] ** 2
    points[..., 1] += (hang * rng.uniform(10, 60)).astype(np.float32)
    return [draped(points, rng, closed=True)]


def band(table: Table, rng: np.random.Generator) -> list[Surface]:
    """A headband or bandana."""
    facing = np.cos(np.radians(_AZIMUTH))
    low = rng.uniform(0, 12) + rng.uniform(14, 30) * (0.5 + 0.5 * facing)
    elevation = low + np.linspace(0, rng.uniform(8, 28), 4)[:, None]
    towards = directions(np.broadcast_to(_AZIMUTH, elevation.shape), elevation)
    return [draped(over(table, towards, rng.uniform(3, 7)), rng, closed=True)]


def neck_scarf(table: Table, rng: np.random.Generator) -> list[Surface]:
    """A scarf or high collar around the neck, up to the chin or the mouth."""
    facing = np.cos(np.radians(_AZIMUTH))
    top = rng.uniform(-68, -38) + rng.uniform(0, 16) * -facing + _wobble(rng, _AZIMUTH, 3.0)
    elevation = top - np.linspace(0, rng.uniform(14, 26), 6)[:, None]
    towards = directions(np.broadcast_to(_AZIMUTH, elevation.shape), elevation)
    bulge = np.sin(np.linspace(0.25, 2.9, 6))[:, None] * rng.uniform(10, 26)
    lift = 4 + bulge * (1 + _wobble(rng, _AZIMUTH, 0.25))
    return [draped(over(table, towards, lift), rng, closed=True)]


def headphones(table: Table, rng: np.random.Generator) -> list[Surface]:
    """A band over the crown and two cups over the ears, or a headset's with a boom."""
    elevation = np.linspace(-4, 184, 24)
    lean = rng.uniform(-12, 15)
    e, lean_rad = np.radians(elevation), np.radians(lean)
    towards = np.stack(
        [np.cos(e), -np.sin(e) * np.cos(lean_rad), -np.sin(e) * np.sin(lean_rad)], -1
    )
    path = over(table, towards.astype(np.float32), rng.uniform(6, 16))
    parts = [tube(path, rng.uniform(2.5, 7), sides=6)]
    size, deep = rng.uniform(24, 42), rng.uniform(12, 26)
    profile = np.array([[0.5, 0], [0.8, 0], [1, 4], [1, deep], [0.75, deep + 4], [0.02, deep + 5]])
    profile[:, 0] *= size
    for end, side in ((path[0], 1.0), (path[-1], -1.0)):
        points, triangles = turned(profile, 14)
        placed = np.stack([side * (points[:, 1] - 4), points[:, 0], points[:, 2]], 1)
        parts.append(((placed + end + [0, 6, 0]).astype(np.float32), triangles))
    if rng.random() < 0.3:
        start = path[0] + [8, 10, -10]
        bend = start + np.array([[0, 0, 0], [2, 25, -35], [-15, 45, -75], [-40, 50, -92]])
        parts.append(tube(bend, 2.2, sides=5))
    vertices, triangles = joined(parts)
    colour = srgb(cloth_colour(rng))
    return [
        Surface(
            vertices,
            triangles,
            colour=np.tile(colour, (len(vertices), 1)).astype(np.float32),
            specular=rng.uniform(0.02, 0.2),
            roughness=rng.uniform(0.2, 0.6),
            two_sided=True,
        )
    ]


_KINDS = ((0.26, cap), (0.22, beanie), (0.22, hood), (0.08, band), (0.1, neck_scarf))
HIDES_HAIR = {cap: 0.6, beanie: 0.5, hood: 1.0, band: 0.0, neck_scarf: 0.0, headphones: 0.0}
"""How likely it is that the hair is tucked under each."""


def sample_hat(table: Table, rng: np.random.Generator) -> tuple[list[Surface], bool]:
    """One of the above by chance; and whether it hides the hair."""
    draw = rng.random()
    for share, make in _KINDS:
        if draw < share:
            return make(table, rng), rng.random() < HIDES_HAIR[make]
        draw -= share
    return headphones(table, rng), False
