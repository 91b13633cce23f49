"""Points of space and whether each is inside of a solid: what an implicit function learns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from jaxtyping import Bool, Float, Float32, UInt8

from ..mesh.distance import sample_surface
from ..mesh.inside import InsideTest
from ..mesh.triangle_mesh import TriangleMesh

SIGMA_SHARES: Final = (0.028, 0.017, 0.006)
"""Deviations of points from the surface over the object's height: PIFuHD's 5 cm and 3 cm of 180 cm,
and one for detail."""
UNIFORM: Final = len(SIGMA_SHARES)
"""``scale`` of points spread over the cubes."""
COUNTS: Final = (60_000, 60_000, 40_000, 40_000)
_SURPLUS = 1.3


@dataclass(frozen=True)
class Samples:
    """Labelled points.

    Attributes:
        points: (P, 3) mm, subject frame.
        inside: (P,) exact.
        scale: (P,) index into :data:`SIGMA_SHARES`, or :data:`UNIFORM`.
    """

    points: Float32[np.ndarray, "P 3"]
    inside: Bool[np.ndarray, " P"]
    scale: UInt8[np.ndarray, " P"]


def sample_points(
    mesh: TriangleMesh,
    cubes: Float[np.ndarray, "V 3 4"],
    height_mm: float,
    rng: np.random.Generator,
    counts: tuple[int, ...] = COUNTS,
) -> Samples:
    """Draw points within the cubes of a subject's views, in random order.

    Args:
        mesh: the solid, closed, subject frame, mm.
        cubes: ``cube_from_subject`` of each view.
        height_mm: of the object.
        rng: source of chance.
        counts: points of each scale, the uniform ones last.
    """
    near = _near(mesh, cubes, height_mm, counts[:UNIFORM], rng)
    parts = np.split(near, np.cumsum(counts[:UNIFORM])[:-1])
    parts.append(_within(cubes, counts[UNIFORM], rng))
    points = np.concatenate(parts)
    scale = np.repeat(np.arange(len(parts), dtype=np.uint8), [len(part) for part in parts])
    order = rng.permutation(len(points))
    points, scale = points[order], scale[order]
    return Samples(points, InsideTest(mesh).test(points), scale)


def _near(
    mesh: TriangleMesh,
    cubes: Float[np.ndarray, "V 3 4"],
    height_mm: float,
    counts: tuple[int, ...],
    rng: np.random.Generator,
) -> Float32[np.ndarray, "P 3"]:
    """Points about the surface that lie in at least one cube, one scale after another."""
    sigma = np.repeat(np.array(SIGMA_SHARES) * height_mm, counts).astype(np.float32)
    found = np.empty((len(sigma), 3), np.float32)
    missing = np.arange(len(sigma))
    while len(missing):
        count = int(len(missing) * _SURPLUS) + 64
        surface, _ = sample_surface(mesh, count, rng)
        surface = surface[rng.permutation(count)]
        tried = np.resize(missing, count)
        points = surface + rng.standard_normal((count, 3), np.float32) * sigma[tried, None]
        good = in_cubes(points, cubes).any(0)
        found[tried[good]] = points[good]
        missing = np.setdiff1d(missing, tried[good])
    return found


def in_cubes(
    points: Float32[np.ndarray, "P 3"], cubes: Float[np.ndarray, "V 3 4"]
) -> Bool[np.ndarray, "V P"]:
    """Whether each point lies in each cube."""
    return np.stack([(np.abs(points @ c[:, :3].T + c[:, 3]) <= 1).all(1) for c in cubes])


def _within(
    cubes: Float[np.ndarray, "V 3 4"], count: int, rng: np.random.Generator
) -> Float32[np.ndarray, "P 3"]:
    """Points spread evenly over each of the cubes in turn."""
    which = np.arange(count) % len(cubes)
    inverse = np.linalg.inv(cubes[:, :, :3].astype(np.float64))
    away = rng.uniform(-1, 1, (count, 3)) - cubes[which, :, 3]
    return np.einsum("pij,pj->pi", inverse[which], away).astype(np.float32)
