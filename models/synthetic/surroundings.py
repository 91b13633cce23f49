"""Light and background of a synthetic picture."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float32

from ..render.surface import Lamp, Lights, ambient_from_surroundings
from .backdrop import sample_background

__all__ = ["sample_background", "sample_lights"]

_DIRECTIONS = np.stack(
    [
        np.array([np.cos(a) * np.sqrt(1 - z * z), np.sin(a) * np.sqrt(1 - z * z), z])
        for k in range(96)
        for z, a in [(1 - (2 * k + 1) / 96, 2.39996 * k)]
    ]
)
"""A Fibonacci sphere, camera frame."""


def _warmth(rng: np.random.Generator) -> Float32[np.ndarray, " 3"]:
    """A light's tint, linear RGB of mean about 1: from tungsten to shade."""
    t = rng.normal(0, 0.16)
    tint = np.array([1 + t, 1 + 0.1 * rng.normal() * abs(t), 1 - t])
    return np.clip(tint, 0.4, 1.8).astype(np.float32)


def sample_lights(rng: np.random.Generator) -> Lights:
    """Light from around, and none to two lamps; a white patch sends back about 1 in all."""
    kind = rng.random()
    if kind < 0.12:
        return _flash(rng)
    if kind < 0.2:
        return _single_lamp(rng)
    ambient_share = rng.uniform(0.2, 0.9) if kind < 0.82 else rng.uniform(0.06, 0.3)
    radiance = np.full((len(_DIRECTIONS), 3), 0.5)
    up = -_DIRECTIONS[:, 1]
    radiance *= (1 + rng.uniform(-0.2, 0.9) * up)[:, None]
    for _ in range(int(rng.integers(1, 5))):
        towards = rng.normal(0, 1, 3) * [1, 0.7, 1]
        towards /= np.linalg.norm(towards) + 1e-9
        lobe = np.exp((_DIRECTIONS @ towards - 1) * rng.uniform(1.5, 8))
        radiance += (lobe * rng.uniform(0.2, 2.5))[:, None] * _warmth(rng)
    radiance = np.clip(radiance, 0.01, None) * _warmth(rng)
    ambient = ambient_from_surroundings(_DIRECTIONS, radiance)
    ambient *= ambient_share / max(float(ambient[0].mean()), 1e-3)
    lamps = []
    for number in range(int(rng.choice([0, 1, 2], p=[0.2, 0.6, 0.2]))):
        # Mostly from above and in front; z points away from the camera.
        azimuth = rng.normal(0, 55) if rng.random() < 0.8 else rng.uniform(-170, 170)
        height = rng.normal(35, 25)
        a, h = np.radians(azimuth), np.radians(np.clip(height, -40, 85))
        direction = np.array([np.sin(a) * np.cos(h), -np.sin(h), -np.cos(a) * np.cos(h)])
        strength = (1.25 - ambient_share) * rng.uniform(0.4, 1.5) / (1 + number)
        lamps.append(
            Lamp(
                direction,
                (strength * _warmth(rng)).astype(np.float64),
                casts_shadow=number == 0,
                softness_mm=float(rng.uniform(1.5, 9)),
            )
        )
    return Lights(ambient.astype(np.float32), tuple(lamps), shadow_size=160)


def _flash(rng: np.random.Generator) -> Lights:
    """A flash beside the lens: flat, hot, with short hard shadows, in a dim room."""
    aside = np.array([rng.normal(0, 0.08), -abs(rng.normal(0.05, 0.08)), -1.0])
    ambient = np.zeros((9, 3), np.float32)
    ambient[0] = rng.uniform(0.05, 0.35) * _warmth(rng)
    colour = rng.uniform(0.7, 1.3) * _warmth(rng)
    lamp = Lamp(aside, colour.astype(np.float64), casts_shadow=True, softness_mm=1.5)
    return Lights(ambient, (lamp,), shadow_size=160)


def _single_lamp(rng: np.random.Generator) -> Lights:
    """One strong light from the side, behind or below (a window, the sun, a coloured screen)."""
    azimuth = rng.choice((-1.0, 1.0)) * rng.uniform(50, 170)
    height = rng.uniform(-35, 60)
    a, h = np.radians(azimuth), np.radians(height)
    towards = np.array([np.sin(a) * np.cos(h), -np.sin(h), -np.cos(a) * np.cos(h)])
    tint = np.exp(rng.normal(0, 0.5 if rng.random() < 0.35 else 0.1, 3))
    ambient = np.zeros((9, 3), np.float32)
    ambient[0] = rng.uniform(0.08, 0.4) * _warmth(rng)
    ambient[2] = -0.5 * ambient[0] * rng.uniform(0, 1)
    lamp = Lamp(
        towards,
        rng.uniform(0.7, 2.0) * tint / tint.mean(),
        casts_shadow=True,
        softness_mm=float(rng.uniform(1.5, 5)),
    )
    return Lights(ambient, (lamp,), shadow_size=160)
