"""Textures of hair running down them."""

from __future__ import annotations

from functools import cache

import cv2
import numpy as np
from jaxtyping import Float32

from ..render.texture import Texture
from .noise2d import smooth_field, smoothstep
from .person import Person


@cache
def _bank(size: int) -> Float32[np.ndarray, "16 S S"]:
    """Fields of vertical strands, drawn once: fields of one texture are these, rolled."""
    rng = np.random.default_rng(0)
    aspects = np.geomspace(6, 30, 16)
    fields = [smooth_field(rng, size, size, size / 2.7, float(a)) for a in aspects]
    return np.stack(fields)


def _fine(rng: np.random.Generator, size: int) -> Float32[np.ndarray, "S S"]:
    bank = _bank(size)
    which, shift = int(rng.integers(len(bank))), int(rng.integers(size))
    field = np.roll(bank[which], shift, 1)
    return cv2.flip(field, 0) if rng.random() < 0.5 else field


def strands(rng: np.random.Generator, person: Person, opacity: float, size: int = 128) -> Texture:
    """A texture of hair running down it, with gaps where ``opacity`` < 1."""
    light = 1 + rng.uniform(0.1, 0.22) * _fine(rng, size)
    light += 0.15 * smooth_field(rng, size, size, 5, 3.0)
    colour = np.array(person.hair, np.float32) * light[..., None]
    if 0 < person.greying < 1:
        grey = 0.35 * smoothstep(_fine(rng, size), 0.5, 2.0)
        colour += grey[..., None] * (rng.uniform(120, 200) - colour)
    gaps = _fine(rng, size)
    alpha = np.clip(opacity * 255 + 100 * gaps * (opacity < 1), 0, 255)
    if opacity >= 1:
        alpha[:] = 255
    rgba = np.concatenate([np.clip(colour, 2, 250), alpha[..., None]], 2)
    return Texture.from_image(
        rgba.astype(np.uint8) if opacity < 1 else rgba[..., :3].astype(np.uint8)
    )
