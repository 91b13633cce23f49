"""Hair as locks: ribbons that grow from the skin, fall, wave and curl."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, Float32, Int32

from ..render.surface import Surface
from .headmap import CENTRE, Table, reach
from .person import Person
from .strands import strands

_STEPS = 11


@dataclass(frozen=True)
class LockStyle:
    """How locks look.

    Attributes:
        count: how many.
        length: mm, mean.
        width: mm at the root's end.
        stiffness: 0 hangs at once, 1 stays in the direction in which it grew.
        wave: mm of sideways swing.
        turns: swings along a lock.
        clearance: mm kept from the skin.
        comb: pull away from the middle of the face, 0 to 1.
        mess: spread of directions.
        opening: half width of the face that stays free, degrees around the head; 0 for a fringe.
        opacity: of the strands.
    """

    count: int
    length: float
    width: float
    stiffness: float
    wave: float
    turns: float
    clearance: float
    comb: float
    mess: float
    opening: float
    opacity: float


def sample_style(rng: np.random.Generator, long: bool) -> LockStyle:
    """Straight, wavy or curly hair; long or short; an afro now and then."""
    curl = rng.random()
    wave, turns = rng.uniform(0, 3), rng.uniform(0.3, 1.5)
    if curl > 0.4:
        wave, turns = rng.uniform(2, 7), rng.uniform(1.0, 2.8)
    length = rng.uniform(110, 300) if long else rng.uniform(25, 90)
    width = rng.uniform(10, 24) if wave < 4 else rng.uniform(8, 16)
    style = LockStyle(
        count=int(np.clip(3000 / width, 130, 280)),
        length=length,
        width=width,
        stiffness=rng.uniform(0.1, 0.7),
        wave=wave,
        turns=turns,
        clearance=rng.uniform(3, 12),
        comb=rng.uniform(0.2, 1.0),
        mess=rng.uniform(0.05, 0.3),
        opening=rng.uniform(38, 75),
        opacity=rng.uniform(0.75, 1.0),
    )
    if not long and rng.random() < 0.3:  # stands off on all sides
        afro = rng.uniform(20, 70)
        style = replace(
            style, length=afro, stiffness=0.97, wave=6.0, turns=2.5, mess=0.6, width=12.0, count=260
        )
    return style


def grow(
    roots: Float32[np.ndarray, "K 3"],
    outwards: Float32[np.ndarray, "K 3"],
    table: Table,
    down: Float[np.ndarray, " 3"],
    style: LockStyle,
    rng: np.random.Generator,
) -> tuple[Float32[np.ndarray, "N 3"], Int32[np.ndarray, "M 3"], Float32[np.ndarray, "M 3 2"]]:
    """Ribbons from chosen roots: vertices (head frame, mm), triangles and texture coordinates.

    Args:
        roots: points of the skin where hair grows.
        outwards: unit normals there.
        table: the head's distances, which keep hair out of it (see :mod:`.headmap`).
        down: unit vector of gravity.
        style: how it looks.
        rng: source of chance.
    """
    chosen = rng.integers(0, len(roots), style.count)
    place, normal = roots[chosen].astype(np.float64), outwards[chosen].astype(np.float64)
    n = len(chosen)
    side = np.sign(place[:, 0] + rng.normal(0, 8) + rng.normal(0, 6, n))
    aside = side * style.comb
    opening = np.radians(style.opening + rng.normal(0, 7, n)) * (style.opening > 0)
    heading = normal + rng.normal(0, style.mess, (n, 3))
    heading[:, 0] += aside
    heading[:, 2] += 0.5 * style.comb
    length = style.length * np.exp(rng.normal(0, 0.22, n))
    step = (length / (_STEPS - 1))[:, None]
    path = np.empty((_STEPS, n, 3))
    lift = style.clearance * rng.uniform(0.2, 1.3, n)
    for k in range(_STEPS):
        path[k] = place
        heading = heading / np.linalg.norm(heading, axis=1, keepdims=True)
        heading = heading + (1 - style.stiffness) * 0.9 * down
        place = place + step * heading / np.linalg.norm(heading, axis=1, keepdims=True)
        away = _parted(place - CENTRE, side, opening)
        distance = np.linalg.norm(away, axis=1, keepdims=True)
        place, away = CENTRE + away, away / distance
        # The neck's side of the map is no surface: hair is free there.
        least = reach(table, away) + lift * min(1.0, 0.35 + k / 3)
        inside = (distance[:, 0] < least) & (place[:, 1] < 95)
        place[inside] = CENTRE + away[inside] * least[inside, None]
    return _ribbons(path, style, rng)


def _parted(
    away: Float[np.ndarray, "N 3"], side: Float[np.ndarray, " N"], opening: Float[np.ndarray, " N"]
) -> Float[np.ndarray, "N 3"]:
    """Turn points about the head's axis, out of the face, the more the lower they are."""
    azimuth = np.arctan2(away[:, 0], -away[:, 2]) * side
    least = opening * np.clip((away[:, 1] + 75) / 45, 0, 1)
    turn = np.where(np.abs(azimuth) < least, least - azimuth, 0.0) * side
    cosine, sine = np.cos(turn), np.sin(turn)
    x, z = away[:, 0], away[:, 2]
    return np.stack([cosine * x - sine * z, away[:, 1], sine * x + cosine * z], 1)


def _ribbons(
    path: Float[np.ndarray, "S N 3"], style: LockStyle, rng: np.random.Generator
) -> tuple[Float32[np.ndarray, "V 3"], Int32[np.ndarray, "M 3"], Float32[np.ndarray, "M 3 2"]]:
    steps, n = path.shape[:2]
    ahead = np.gradient(path, axis=0)
    away = path - CENTRE
    across = np.cross(ahead, away)
    across /= np.linalg.norm(across, axis=2, keepdims=True) + 1e-6
    outward = np.cross(across, ahead)
    outward /= np.linalg.norm(outward, axis=2, keepdims=True) + 1e-6
    share = np.linspace(0, 1, steps)[:, None]
    phase = 2 * np.pi * (style.turns * share + rng.uniform(0, 1, n))
    swing = style.wave * np.minimum(share * 3, 1)
    path = path + (swing * np.sin(phase))[..., None] * across
    path = path + (0.7 * swing * (1 + np.cos(phase)))[..., None] * outward
    half = 0.5 * style.width * np.exp(rng.normal(0, 0.25, n)) * (1 - 0.75 * share**3)
    twist = rng.normal(0, 0.35, n) + 0.3 * np.sin(phase)
    side = across * np.cos(twist)[..., None] + outward * np.sin(twist)[..., None]
    edges = np.stack([path - half[..., None] * side, path + half[..., None] * side], 2)
    index = np.arange(steps * n * 2).reshape(steps, n, 2)
    a, b, c, d = index[:-1, :, 0], index[:-1, :, 1], index[1:, :, 1], index[1:, :, 0]
    triangles = np.concatenate(
        [np.stack([a, b, c], -1).reshape(-1, 3), np.stack([a, c, d], -1).reshape(-1, 3)]
    )
    u = rng.uniform(0, 1, n)[None, :, None] + np.array([0.0, 0.22])
    v = np.broadcast_to(1 - share[..., None], (steps, n, 2))
    uv = np.stack([np.broadcast_to(u, (steps, n, 2)), v], -1).reshape(-1, 2)
    return (
        edges.reshape(-1, 3).astype(np.float32),
        triangles.astype(np.int32),
        np.ascontiguousarray(uv[triangles].astype(np.float32)),
    )


def locks(
    roots: Float32[np.ndarray, "K 3"],
    outwards: Float32[np.ndarray, "K 3"],
    table: Table,
    down: Float[np.ndarray, " 3"],
    style: LockStyle,
    person: Person,
    rng: np.random.Generator,
) -> Surface:
    """Locks of a person's hair, head frame; see :func:`grow`."""
    vertices, triangles, uv = grow(roots, outwards, table, down, style, rng)
    # Lit like the bulk of the hair that they are part of, darker deep inside.
    away = vertices - CENTRE
    distance = np.linalg.norm(away, axis=1)
    depth = distance - reach(table, away / distance[:, None])
    shade = 0.45 + 0.55 * np.clip(depth / max(style.clearance + style.wave, 4.0), 0, 1)
    return Surface(
        vertices,
        triangles,
        normals=(away / distance[:, None]).astype(np.float32),
        colour=np.repeat(shade[:, None], 3, 1).astype(np.float32),
        texture=strands(rng, person, style.opacity),
        uv=uv,
        occlusion=shade.astype(np.float32),
        specular=rng.uniform(0.01, 0.05),
        roughness=0.4,
        two_sided=True,
    )
