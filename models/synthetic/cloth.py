"""Textures of cloth: plain, striped, checked, knitted, printed."""

from __future__ import annotations

import cv2
import numpy as np
from jaxtyping import Float32

from ..render.texture import Texture
from .noise2d import octaves, smooth_field

_SIZE = 96


def cloth_colour(rng: np.random.Generator) -> Float32[np.ndarray, " 3"]:
    """An sRGB colour as clothes have: black, white, navy, grey and muted ones before bright."""
    kind = rng.random()
    if kind < 0.35:
        grey = rng.choice((rng.uniform(8, 50), rng.uniform(60, 160), rng.uniform(190, 245)))
        return (grey + rng.normal(0, 5, 3)).clip(3, 250).astype(np.float32)
    hue, value = rng.uniform(0, 180), rng.uniform(40, 235)
    saturation = rng.uniform(30, 150) if kind < 0.8 else rng.uniform(130, 250)
    pixel = np.array([[[hue, saturation, value]]]).astype(np.uint8)
    return cv2.cvtColor(pixel, cv2.COLOR_HSV2RGB)[0, 0].astype(np.float32)


def cloth_image(rng: np.random.Generator, size: int = _SIZE) -> Float32[np.ndarray, "S S 3"]:
    """A square of cloth, sRGB 0 to 255, that repeats without a strong seam."""
    image = np.broadcast_to(cloth_colour(rng), (size, size, 3)).copy()
    rows, columns = np.mgrid[0:size, 0:size].astype(np.float32) / size
    kind = rng.random()
    if kind < 0.3:
        other = cloth_colour(rng)
        across = columns if rng.random() < 0.5 else rows
        repeats, duty = int(rng.integers(3, 14)), rng.uniform(0.2, 0.7)
        image[(across * repeats) % 1 < duty] = other
        if rng.random() < 0.4:
            checks = ((rows + columns - across) * repeats) % 1 < duty
            image[checks] = 0.5 * (image[checks] + cloth_colour(rng))
    elif kind < 0.42:
        for _ in range(int(rng.integers(4, 30))):
            centre = (rng.uniform(0, size, 2)).astype(int).tolist()
            colour = cloth_colour(rng).tolist()
            cv2.circle(image, centre, int(rng.integers(2, 12)), colour, -1, cv2.LINE_AA)
    ribs = rng.uniform(0, 0.12) if kind < 0.7 else rng.uniform(0.1, 0.3)
    weave = np.sin(2 * np.pi * columns * int(rng.integers(8, 30)))
    weave *= 1 + 0.5 * np.sin(2 * np.pi * rows * int(rng.integers(8, 30)))
    folds = 0.12 * octaves(rng, size, size, 2.5, 2) + 0.04 * smooth_field(rng, size, size, 40)
    return np.clip(image * (1 + ribs * weave + folds)[..., None], 2, 252).astype(np.float32)


def cloth(rng: np.random.Generator, size: int = _SIZE) -> Texture:
    """A texture of cloth."""
    return Texture.from_image(cloth_image(rng, size).astype(np.uint8))
