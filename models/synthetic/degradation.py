"""Fixed losses of image quality, to measure what each costs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import numpy as np
from jaxtyping import UInt8

from ..noise.degradation import compression, gaussian_noise, low_resolution, motion_blur

Picture = UInt8[np.ndarray, "H W 3"]
Degradation = Callable[[Picture, np.random.Generator], Picture]


def _moved(picture: Picture, rng: np.random.Generator) -> Picture:
    return motion_blur(picture, 9.0, float(rng.uniform(0.0, np.pi)))


def _dark(picture: Picture, rng: np.random.Generator) -> Picture:
    return gaussian_noise((picture * 0.2).astype(np.uint8), 4.0, rng)


DEGRADATIONS: Final[Mapping[str, Degradation]] = {
    "face of 25 px": lambda picture, rng: low_resolution(picture, 3.4),
    "noise, sigma 20": lambda picture, rng: gaussian_noise(picture, 20.0, rng),
    "JPEG of quality 12": lambda picture, rng: compression(picture, 88.0),
    "motion blur, 9 px": _moved,
    "a fifth of the light, noise": _dark,
}
"""By name; a nominal crop of 120 px shows a face of 85 px."""
