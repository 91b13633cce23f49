"""What cameras and transmission do to a face picture: random changes of its pixels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, no_type_check

import cv2
import numpy as np
from jaxtyping import UInt8
from numba import njit
from numpy.typing import NDArray

Picture = UInt8[np.ndarray, "H W 3"]

_LEVELS: Final = np.linspace(0.0, 1.0, 256, dtype=np.float32)
_NOISE_UNIT: Final = 24.0
"""Standard deviation of the noise bank, in its integer steps."""
_BANK_SIZE: Final = 512


@dataclass(frozen=True)
class PhotometricConfig:
    """How often (probability a picture) each change is made.

    Attributes:
        tone: brightness, contrast, gamma and colour cast.
        grey: all colour removed.
        blur: out of focus.
        motion: blurred along a line.
        low_resolution: shrunk and enlarged again.
        sharpen: over-sharpened, as small cameras do.
        noise: independent in each pixel and channel.
        blotches: noise correlated over a few pixels.
        jpeg: compressed and decoded.
        occluder: an ellipse or rectangle in front.
        frame_edge: black beyond an edge of the frame.
    """

    tone: float = 0.85
    grey: float = 0.06
    blur: float = 0.15
    motion: float = 0.10
    low_resolution: float = 0.20
    sharpen: float = 0.08
    noise: float = 0.45
    blotches: float = 0.15
    jpeg: float = 0.22
    occluder: float = 0.15
    frame_edge: float = 0.06


class Photometry:
    """Applies random changes to pictures; deterministic by the generator that is passed.

    Args:
        config: probabilities.
        seed: of the noise bank.
    """

    def __init__(self, config: PhotometricConfig, seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        fine = rng.standard_normal((_BANK_SIZE, _BANK_SIZE, 3), dtype=np.float32)
        coarse = cv2.GaussianBlur(fine, (0, 0), 1.4)
        coarse = 0.6 * coarse.mean(-1, keepdims=True) * 3**0.5 + 0.4 * coarse
        self._fine = _as_bank(fine)
        self._coarse = _as_bank(coarse)
        self._steps: list[tuple[float, Callable[[Picture, np.random.Generator], Picture]]] = [
            (config.occluder, occluded),
            (config.frame_edge, cut_by_frame),
            (config.tone, toned),
            (config.grey, _greyed),
            (config.blur, _blurred),
            (config.motion, _moved),
            (config.low_resolution, _coarsened),
            (config.noise, lambda p, r: _noisy(p, r, self._fine)),
            (config.blotches, lambda p, r: _noisy(p, r, self._coarse)),
            (config.sharpen, _sharpened),
            (config.jpeg, _compressed),
        ]

    def apply(self, picture: Picture, rng: np.random.Generator) -> Picture:
        """The picture after a random selection of the changes, in the order of a camera."""
        chances = rng.random(len(self._steps))
        for chance, (probability, change) in zip(chances, self._steps, strict=True):
            if chance < probability:
                picture = change(picture, rng)
        return picture


def toned(picture: Picture, rng: np.random.Generator) -> Picture:
    """Brightness, contrast, gamma and a cast, as one table a channel."""
    gamma = np.exp(rng.normal(0.0, 0.2))
    contrast = np.exp(rng.normal(0.0, 0.18))
    brightness = rng.normal(0.0, 0.06)
    cast = np.exp(rng.normal(0.0, 0.06, 3))
    lift = rng.normal(0.0, 0.015, 3)
    curve = ((_LEVELS**gamma) - 0.45) * contrast + 0.45 + brightness
    table = np.clip(curve[:, None] * cast + lift, 0.0, 1.0) * 255
    return cv2.LUT(picture, table.astype(np.uint8)[None])


def occluded(picture: Picture, rng: np.random.Generator) -> Picture:
    """An ellipse or rectangle in front, of one colour, of noise, or cut from the picture itself."""
    height, width = picture.shape[:2]
    centre = rng.uniform(0.0, 1.0, 2) * (width, height)
    half = rng.uniform(0.05, 0.22, 2) * (width, height)
    mask = np.zeros((height, width), np.uint8)
    angle = rng.uniform(0.0, 180.0)
    box = (tuple(centre), tuple(2 * half), angle)
    if rng.random() < 0.5:
        cv2.ellipse(mask, box, 255, -1)
    else:
        cv2.fillPoly(mask, [cv2.boxPoints(box).astype(np.int32)], 255)
    kind = rng.random()
    if kind < 0.4:
        cover = np.empty_like(picture)
        cover[:] = rng.integers(0, 256, 3, dtype=np.uint8)
    elif kind < 0.6:
        small = rng.integers(0, 256, (*rng.integers(3, 25, 2), 3), dtype=np.uint8)
        cover = cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR)
    else:
        shift = rng.integers(width // 4, 3 * width // 4, 2)
        cover = np.roll(picture, tuple(shift), axis=(0, 1))
    out = picture.copy()
    cv2.copyTo(cover, mask, out)
    return out


def cut_by_frame(picture: Picture, rng: np.random.Generator) -> Picture:
    """Black beyond one edge of the frame, or two that meet."""
    out = picture.copy()
    height, width = picture.shape[:2]
    depth = rng.uniform(0.03, 0.3, 2) * (height, width)
    rows, columns = int(depth[0]), int(depth[1])
    which = rng.random()
    if which < 0.6:
        edge = slice(0, rows) if rng.random() < 0.5 else slice(height - rows, height)
        out[edge] = 0
    if which > 0.4:
        edge = slice(0, columns) if rng.random() < 0.5 else slice(width - columns, width)
        out[:, edge] = 0
    return out


def _greyed(picture: Picture, rng: np.random.Generator) -> Picture:
    grey = cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY)
    return cv2.cvtColor(grey, cv2.COLOR_GRAY2BGR)


def _blurred(picture: Picture, rng: np.random.Generator) -> Picture:
    return cv2.GaussianBlur(picture, (0, 0), float(rng.uniform(0.4, 1.8)))


def _moved(picture: Picture, rng: np.random.Generator) -> Picture:
    length = float(rng.uniform(2.0, 8.0))
    kernel = np.zeros((9, 9), np.float32)
    angle = rng.uniform(0.0, np.pi)
    half = np.array([np.cos(angle), np.sin(angle)]) * length / 2
    start, end = 16 * (4 - half), 16 * (4 + half)  # in sixteenths of a pixel
    cv2.line(
        kernel,
        (int(start[0]), int(start[1])),
        (int(end[0]), int(end[1])),
        1.0,
        1,
        cv2.LINE_AA,
        shift=4,
    )
    return cv2.filter2D(picture, -1, kernel / max(float(kernel.sum()), 1.0))


def _coarsened(picture: Picture, rng: np.random.Generator) -> Picture:
    height, width = picture.shape[:2]
    factor = float(np.exp(rng.uniform(np.log(0.2), np.log(0.8))))
    size = (max(8, round(width * factor)), max(8, round(height * factor)))
    small = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    back = cv2.INTER_LINEAR if rng.random() < 0.8 else cv2.INTER_CUBIC
    return cv2.resize(small, (width, height), interpolation=back)


def _sharpened(picture: Picture, rng: np.random.Generator) -> Picture:
    amount = float(rng.uniform(0.3, 1.5))
    soft = cv2.GaussianBlur(picture, (0, 0), float(rng.uniform(0.7, 1.6)))
    return cv2.addWeighted(picture, 1 + amount, soft, -amount, 0)


def _noisy(picture: Picture, rng: np.random.Generator, bank: NDArray[np.int8]) -> Picture:
    height, width = picture.shape[:2]
    sigma = float(np.exp(rng.normal(1.5, 0.75)))  # median 4.5 of 255
    top = int(rng.integers(0, _BANK_SIZE - height))
    left = int(rng.integers(0, _BANK_SIZE - width))
    window = bank[top : top + height, left : left + width]
    out = np.empty_like(picture)
    _add_noise(picture, window, np.float32(min(sigma, 25.0) / _NOISE_UNIT), out)
    return out


def _compressed(picture: Picture, rng: np.random.Generator) -> Picture:
    quality = int(rng.integers(15, 96))
    encoded = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    return np.asarray(cv2.imdecode(encoded, cv2.IMREAD_COLOR), dtype=np.uint8)


def _as_bank(noise: NDArray[np.float32]) -> NDArray[np.int8]:
    scaled = noise / noise.std() * _NOISE_UNIT
    return np.clip(np.rint(scaled), -127, 127).astype(np.int8)


@njit(cache=True, nogil=True)
@no_type_check
def _add_noise(picture: Any, noise: Any, scale: float, out: Any) -> None:
    for y in range(picture.shape[0]):
        for x in range(picture.shape[1]):
            for c in range(3):
                value = picture[y, x, c] + scale * noise[y, x, c] + 0.5
                out[y, x, c] = min(max(value, 0.0), 255.0)
