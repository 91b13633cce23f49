"""Light and background of a synthetic picture."""

from __future__ import annotations

import cv2
import numpy as np
from jaxtyping import Float32

from ..render.surface import Lamp, Lights, ambient_from_surroundings
from .noise2d import octaves, smooth_field

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
    ambient_share = rng.uniform(0.25, 0.9) if kind < 0.85 else rng.uniform(0.08, 0.3)
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


def _drab(rng: np.random.Generator) -> Float32[np.ndarray, " 3"]:
    """A linear RGB colour such as rooms and streets have: seldom saturated."""
    grey = rng.uniform(0.0, 1.0) ** 1.8
    saturation = rng.beta(0.7, 2.5)
    colour = grey * (1 - saturation) + saturation * rng.uniform(0, 1, 3) ** 1.5
    return colour.astype(np.float32)


def _shapes(image: Float32[np.ndarray, "S S 3"], rng: np.random.Generator) -> None:
    """Walls, windows, shelves, people far away: flat shapes at random."""
    size = len(image)
    for _ in range(int(rng.integers(2, 16))):
        colour = tuple(float(c) for c in _drab(rng))
        if rng.random() < 0.6:
            corner = rng.uniform(-0.3, 1.0, 2) * size
            extent = rng.uniform(0.05, 0.9, 2) * size
            box = cv2.boxPoints(
                (tuple(corner), tuple(extent), float(rng.choice([0, 0, rng.uniform(-40, 40)])))
            )
            cv2.fillPoly(image, [np.round(box).astype(np.int32)], colour, cv2.LINE_AA)
        else:
            centre = rng.uniform(0, size, 2).astype(int)
            axes = rng.uniform(0.02, 0.3, 2) * size
            cv2.ellipse(
                image, centre.tolist(), axes.astype(int).tolist(), rng.uniform(0, 180), 0, 360,
                colour, -1, cv2.LINE_AA,
            )  # fmt: skip


def sample_background(rng: np.random.Generator, size: int) -> Float32[np.ndarray, "S S 3"]:
    """A procedural background in linear RGB: gradients, clutter, texture, blur."""
    base = _drab(rng)
    image = np.broadcast_to(base.astype(np.float32), (size, size, 3)).copy()
    slope = rng.normal(0, 0.4, 2)
    rows, columns = np.mgrid[0:size, 0:size].astype(np.float32) / size - 0.5
    image *= (1 + slope[0] * rows + slope[1] * columns)[..., None]
    if rng.random() < 0.7:
        _shapes(image, rng)
    if rng.random() < 0.7:
        texture = octaves(rng, size, size, rng.uniform(2, 20), 4, rng.uniform(0.4, 0.8))
        image *= np.exp(rng.uniform(0.05, 0.5) * texture)[..., None]
    if rng.random() < 0.3:
        for c in range(3):
            image[..., c] *= np.exp(0.2 * smooth_field(rng, size, size, 5))
    if rng.random() < 0.6:
        image = cv2.GaussianBlur(image, (0, 0), float(rng.uniform(0.6, 9)))
    return np.clip(image, 0, 3).astype(np.float32)
