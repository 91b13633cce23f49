"""Who is rendered: a head's geometry and the attributes that its looks are painted from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Float64

from ..makehuman.build import HeadModel
from ..makehuman.head import align
from ..makehuman.identity import Identity, IdentitySampler

Colour = tuple[float, float, float]
"""sRGB, 0 to 255."""

_SKIN = np.array(
    [[243, 214, 196], [231, 190, 162], [208, 160, 126], [172, 122, 88], [126, 84, 60],
     [84, 55, 41], [54, 36, 29]], np.float64,
)  # fmt: skip
_HAIR: tuple[tuple[float, Colour], ...] = (
    (0.30, (22, 18, 16)), (0.25, (52, 36, 26)), (0.17, (92, 62, 40)), (0.10, (150, 112, 70)),
    (0.05, (205, 172, 122)), (0.04, (120, 58, 30)), (0.06, (150, 148, 145)),
    (0.03, (225, 222, 215)),
)  # fmt: skip
_IRIS: tuple[Colour, ...] = (
    (62, 38, 24), (88, 56, 32), (112, 84, 48), (98, 106, 66), (92, 118, 132), (86, 104, 140),
    (120, 128, 132),
)  # fmt: skip


@dataclass(frozen=True)
class Person:
    """One synthetic person.

    Attributes:
        neutral: (V, 3) whole head, mm, in the head frame of the face model (so scaled to the mean
            face's size; a child's head is a smaller one seen from nearer).
        shape: (40,) coefficients of the face model, standard deviations.
        identity: what it was built from.
        skin, hair, iris: sRGB colours.
        beard: 0 none, up to 0.5 stubble, 1 full; drawn per region by the painter.
        long_hair: 0 bald, 0.3 short, 1 long.
        makeup: 0 to 1.
        greying: 0 to 1.
    """

    neutral: Float32[np.ndarray, "V 3"]
    shape: Float32[np.ndarray, " 40"]
    identity: Identity
    skin: Colour
    hair: Colour
    iris: Colour
    beard: float
    long_hair: float
    makeup: float
    greying: float


class People:
    """Draws persons for a head model."""

    def __init__(self, head: HeadModel) -> None:
        self.head = head
        self.sampler = IdentitySampler(head.topology.data, head.topology.vertex_ids)
        basis = head.model.shape_basis.reshape(len(head.model.shape_basis), -1)
        self._whiten = basis / (basis.astype(np.float64) ** 2).sum(1, keepdims=True)

    def sample(self, rng: np.random.Generator) -> Person:
        """Draw one person."""
        identity = self.sampler.sample(rng)
        neutral, shape = self.place(self.sampler.vertices(identity))
        adult = identity.age_years > 17
        male = rng.random() < identity.masculinity
        age = identity.age_years
        greying = float(np.clip((age - 45) / 35 + rng.normal(0, 0.2), 0, 1)) if adult else 0.0
        if male:
            long_hair = float(rng.choice([0.0, 0.3, 1.0], p=[0.18, 0.7, 0.12]))
        else:
            long_hair = float(rng.choice([0.0, 0.3, 1.0], p=[0.05, 0.3, 0.65]))
        beard = 0.0
        if male and adult and rng.random() < 0.65:
            beard = float(rng.beta(0.9, 1.1))
        made_up = (not male) and age > 14 and rng.random() < 0.5
        return Person(
            neutral=neutral,
            shape=shape,
            identity=identity,
            skin=_skin_colour(rng, identity.ancestry.astype(np.float64)),
            hair=_hair_colour(rng, identity.ancestry.astype(np.float64), greying),
            iris=_iris_colour(rng, identity.ancestry.astype(np.float64)),
            beard=beard,
            long_hair=long_hair,
            makeup=float(rng.uniform(0.1, 1)) if made_up else 0.0,
            greying=greying,
        )

    def place(
        self, vertices_dm: Float32[np.ndarray, "V 3"]
    ) -> tuple[Float32[np.ndarray, "V 3"], Float32[np.ndarray, " 40"]]:
        """Bring a base-mesh head into the head frame; also its shape coefficients."""
        face = self.head.face_vertices
        mean = self.head.model.mean
        to_head = align(vertices_dm[face].astype(np.float64), mean.astype(np.float64))
        neutral = to_head.apply(vertices_dm)
        shape = self._whiten @ (neutral[face] - mean).astype(np.float64).ravel()
        return neutral, shape.astype(np.float32)


def _jitter(rng: np.random.Generator, colour: Float64[np.ndarray, " 3"], by: float) -> Colour:
    r, g, b = np.clip(colour * rng.normal(1, by) + rng.normal(0, 60 * by, 3), 4, 250)
    return float(r), float(g), float(b)


def _skin_colour(rng: np.random.Generator, ancestry: Float64[np.ndarray, " 3"]) -> Colour:
    melanin = float(ancestry @ (0.72, 0.24, 0.16)) + rng.normal(0, 0.12)
    melanin = float(np.clip(melanin, 0, 1)) * (len(_SKIN) - 1)
    low = min(int(melanin), len(_SKIN) - 2)
    part = melanin - low
    return _jitter(rng, _SKIN[low] * (1 - part) + _SKIN[low + 1] * part, 0.05)


def _hair_colour(
    rng: np.random.Generator, ancestry: Float64[np.ndarray, " 3"], greying: float
) -> Colour:
    chances = np.array([chance for chance, _ in _HAIR])
    chances[2:6] *= max(0.05, float(ancestry[2])) * 1.5
    colour = np.array(_HAIR[rng.choice(len(_HAIR), p=chances / chances.sum())][1], np.float64)
    grey = np.full(3, rng.uniform(120, 225))
    return _jitter(rng, colour * (1 - greying) + grey * greying, 0.08)


def _iris_colour(rng: np.random.Generator, ancestry: Float64[np.ndarray, " 3"]) -> Colour:
    light = rng.random() < 0.7 * ancestry[2]
    index = int(rng.integers(2, len(_IRIS))) if light else int(rng.integers(0, 2))
    return _jitter(rng, np.array(_IRIS[index], np.float64), 0.1)
