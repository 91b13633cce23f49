"""Smooth random fields, the stuff that procedural pictures are made of."""

from __future__ import annotations

import cv2
import numpy as np
from jaxtyping import Float, Float32


def smooth_field(
    rng: np.random.Generator, height: int, width: int, cells: float, aspect: float = 1.0
) -> Float32[np.ndarray, "H W"]:
    """Gaussian noise of unit deviation with about ``cells`` features across its height.

    Args:
        rng: source of randomness.
        height, width: size of the field.
        cells: features across the height.
        aspect: features are this many times longer vertically than horizontally.
    """
    rows = max(2, round(cells / np.sqrt(aspect)) + 1)
    columns = max(2, round(cells * np.sqrt(aspect) * width / height) + 1)
    rows, columns = min(rows, height), min(columns, width)
    coarse = rng.standard_normal((rows, columns), dtype=np.float32)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)


def octaves(
    rng: np.random.Generator,
    height: int,
    width: int,
    cells: float,
    count: int = 4,
    falloff: float = 0.5,
) -> Float32[np.ndarray, "H W"]:
    """A sum of smooth fields, each twice as fine and ``falloff`` times as strong as the last."""
    total = np.zeros((height, width), np.float32)
    norm = 0.0
    for i in range(count):
        total += falloff**i * smooth_field(rng, height, width, cells * 2**i)
        norm += falloff ** (2 * i)
    return total / np.float32(np.sqrt(norm))


def smoothstep(
    x: Float[np.ndarray, "*S"],
    low: float | Float[np.ndarray, "*S"],
    high: float | Float[np.ndarray, "*S"],
) -> Float32[np.ndarray, "*S"]:
    """0 below ``low``, 1 above ``high`` (the other way round if high < low), smooth between."""
    t = np.clip((x - low) / (high - low), 0, 1)
    return (t * t * (3 - 2 * t)).astype(np.float32)
