"""Things held before a face: phones, cups, microphones, slabs of anything."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Float32

from ..face.rotation import matrix_from_rotation_vector
from ..render.surface import Surface
from .cloth import cloth, cloth_colour
from .eyes import srgb
from .headmap import Table, directions, over
from .primitives import Mesh, joined, slab, turned


def _solid(mesh: Mesh, rng: np.random.Generator, colour: Float[np.ndarray, " 3"]) -> Surface:
    vertices, triangles = mesh
    return Surface(
        vertices,
        triangles,
        colour=np.tile(srgb(colour), (len(vertices), 1)).astype(np.float32),
        specular=rng.uniform(0.02, 0.12),
        roughness=rng.uniform(0.15, 0.6),
        two_sided=True,
    )


def _turned_to(
    mesh: Mesh, rotation: Float[np.ndarray, "3 3"], place: Float[np.ndarray, " 3"]
) -> Mesh:
    vertices, triangles = mesh
    return (vertices @ rotation.T + place).astype(np.float32), triangles


def phone(
    marks: Float32[np.ndarray, "68 3"], table: Table, rng: np.random.Generator
) -> list[Surface]:
    """A telephone at the ear, or held up before the face."""
    size = slab(rng.uniform(66, 78), rng.uniform(135, 165), rng.uniform(7, 11), 9.0)
    dark = rng.uniform(5, 45, 3) if rng.random() < 0.7 else rng.uniform(120, 245, 3)
    if rng.random() < 0.6:
        side = float(rng.choice((-1.0, 1.0)))
        azimuth, elevation = np.array(side * rng.uniform(68, 88)), np.array(rng.uniform(-22, -4))
        place = over(table, directions(azimuth, elevation), rng.uniform(4, 16))
        turn = matrix_from_rotation_vector(np.array([0.0, side * -1.35, 0.0]))
        lean = matrix_from_rotation_vector(np.array([0.0, 0.0, side * rng.uniform(-0.7, 0.1)]))
        rotation = turn @ lean
    else:
        rotation = matrix_from_rotation_vector(rng.normal(0, 0.25, 3))
        place = marks[rng.integers(0, 68)] + [0.0, rng.uniform(0, 60), -rng.uniform(60, 180)]
    return [_solid(_turned_to(size, rotation, place), rng, dark)]


def cup(
    marks: Float32[np.ndarray, "68 3"], table: Table, rng: np.random.Generator
) -> list[Surface]:
    """A cup, glass or bottle at the mouth."""
    radius, height = rng.uniform(22, 45), rng.uniform(50, 170)
    neck = rng.uniform(0.4, 1.1)
    rim = [[radius * neck, 0], [radius * (neck + 1) / 2, height * 0.4]]
    profile = np.array([*rim, [radius, height * 0.6], [radius * 0.8, height], [0.1, height]])
    tilt = matrix_from_rotation_vector(np.array([rng.uniform(-1.5, 0.2), 0, rng.normal(0, 0.3)]))
    mouth = marks[48:68].mean(0)
    place = mouth + tilt @ [0, rng.uniform(-4, 25), 0] + [0, rng.normal(6, 6), -radius * neck - 4]
    return [_solid(_turned_to(turned(profile), tilt, place), rng, cloth_colour(rng))]


def microphone(
    marks: Float32[np.ndarray, "68 3"], table: Table, rng: np.random.Generator
) -> list[Surface]:
    """A microphone below the mouth or before it."""
    radius = rng.uniform(14, 28)
    angle = np.linspace(-1.5, 1.1, 7)
    ball = np.stack([radius * np.cos(angle), radius * np.sin(angle)], 1)
    shaft = np.array([[radius * 0.55, radius * 1.2], [radius * 0.4, 180.0], [0.1, 181.0]])
    mesh = turned(np.concatenate([ball, shaft]), 12)
    tilt = matrix_from_rotation_vector(np.array([rng.uniform(-1.2, 0.3), 0, rng.normal(0, 0.5)]))
    place = marks[48:68].mean(0) + [
        rng.normal(0, 12),
        rng.uniform(0, 40),
        -radius - rng.uniform(5, 45),
    ]
    return [_solid(_turned_to(mesh, tilt, place), rng, rng.uniform(8, 90, 3))]


def board(
    marks: Float32[np.ndarray, "68 3"], table: Table, rng: np.random.Generator
) -> list[Surface]:
    """A sheet, book, shoulder or pillar that covers part of the face."""
    width, height = rng.uniform(40, 180, 2)
    vertices, triangles = slab(width, height, rng.uniform(1, 25), rng.uniform(2, 18))
    tilt = matrix_from_rotation_vector(rng.normal(0, 0.4, 3))
    edge = marks[rng.integers(0, 17)].astype(np.float64)
    place = edge + (edge - marks[30]) * rng.uniform(0.1, 0.9) + [0, 0, -rng.uniform(40, 160)]
    mesh = _turned_to((vertices, triangles), tilt, place)
    flat = (vertices[triangles][..., :2] / 90.0).astype(np.float32)
    return [
        Surface(
            *mesh,
            texture=cloth(rng),
            uv=flat,
            specular=rng.uniform(0, 0.05),
            two_sided=True,
            subsurface=0.2,
        )
    ]


def stick(
    marks: Float32[np.ndarray, "68 3"], table: Table, rng: np.random.Generator
) -> list[Surface]:
    """A spoon, brush, cigarette or straw at the mouth."""
    length, radius = rng.uniform(50, 170), rng.uniform(1.5, 6)
    profile = np.array([[0.1, 0], [radius, 1], [radius, length], [0.1, length]])
    parts = [turned(profile, 8)]
    if rng.random() < 0.5:
        bowl = np.array([[0.1, -14.0], [12, -4], [13, 4], [0.1, 16]]) * rng.uniform(0.6, 1.6)
        parts.append(turned(bowl, 10))
    tilt = matrix_from_rotation_vector(np.array([rng.uniform(-1.7, -0.6), 0, rng.normal(0, 0.7)]))
    place = marks[62] + [rng.normal(0, 8), 0, -3]
    return [_solid(_turned_to(joined(parts), tilt, place), rng, cloth_colour(rng))]


_KINDS = ((0.26, phone), (0.2, cup), (0.2, microphone), (0.22, board))


def sample_prop(
    marks: Float32[np.ndarray, "68 3"], table: Table, rng: np.random.Generator
) -> list[Surface]:
    """One of the above by chance, head frame.

    Args:
        marks: landmarks with their expression, mm.
        table: the head (see :mod:`.headmap`).
        rng: source of chance.
    """
    draw = rng.random()
    for share, make in _KINDS:
        if draw < share:
            return make(marks, table, rng)
        draw -= share
    return stick(marks, table, rng)
