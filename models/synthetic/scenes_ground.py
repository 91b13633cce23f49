"""Backgrounds without faces: rooms, text, foliage, dots, lights, walls, photographs if given."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from jaxtyping import UInt8

from ..errors import InputError
from ..picture_file import read_bgr
from ..render.texture import to_srgb
from .noise2d import octaves, smooth_field
from .surroundings import sample_background

Picture = UInt8[np.ndarray, "H W 3"]
Painter = Callable[[Picture, np.random.Generator], None]

_SIZE: Final = 400
"""Side of a painted background, px."""
_MOST_PHOTOGRAPH: Final = 800
"""Longest side of a photograph as it is kept, px."""
_PHOTOGRAPH_SHARE: Final = 0.25
_FRESH_SHARE: Final = 0.01


def colour(rng: np.random.Generator) -> tuple[int, int, int]:
    """An sRGB colour such as things have: seldom saturated."""
    grey = rng.uniform(0, 255)
    mixed = grey + rng.beta(0.8, 2.0) * (rng.uniform(0, 255, 3) - grey)
    b, g, r = (int(v) for v in mixed)
    return b, g, r


def _text(picture: Picture, rng: np.random.Generator) -> None:
    """Lines of letters on a plain ground."""
    picture[:] = colour(rng)
    ink, scale = colour(rng), float(rng.uniform(0.3, 1.6))
    font = int(rng.choice([cv2.FONT_HERSHEY_SIMPLEX, cv2.FONT_HERSHEY_COMPLEX]))
    letters = np.array(list("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNO   0123456789.,:;()"))
    for y in range(0, len(picture) + 30, max(8, int(scale * rng.uniform(24, 40)))):
        line = "".join(rng.choice(letters, 60))
        cv2.putText(picture, line, (-5, y), font, scale, ink, 1 + int(scale), cv2.LINE_AA)


def _leaves(picture: Picture, rng: np.random.Generator) -> None:
    """Many small ellipses around one colour, the later the lighter."""
    base = np.array([rng.uniform(10, 70), rng.uniform(60, 150), rng.uniform(20, 120)])
    picture[:] = (base * 0.3).astype(np.uint8)
    size = float(np.exp(rng.uniform(np.log(3), np.log(30))))
    count = int(np.clip(3 * (_SIZE / size) ** 2, 200, 2500))
    for i in range(count):
        shade = base * (0.3 + i / count) * rng.uniform(0.6, 1.3) + rng.normal(0, 8, 3)
        b, g, r = (int(v) for v in np.clip(shade, 0, 255))
        x, y = (int(v) for v in rng.uniform(0, _SIZE, 2))
        axes = (
            max(1, int(size * rng.uniform(0.5, 1.3))),
            max(1, int(size * rng.uniform(0.2, 0.6))),
        )
        cv2.ellipse(picture, (x, y), axes, rng.uniform(0, 180), 0, 360, (b, g, r), -1, cv2.LINE_AA)


def _dots(picture: Picture, rng: np.random.Generator) -> None:
    """Discs and rings of all sizes, shaded or flat: fruit, lamps, wheels, buttons."""
    picture[:] = colour(rng)
    for _ in range(int(rng.integers(5, 90))):
        radius = int(np.exp(rng.uniform(np.log(2), np.log(60))))
        x, y = (int(v) for v in rng.uniform(0, _SIZE, 2))
        thickness = -1 if rng.random() < 0.7 else max(1, radius // 5)
        cv2.circle(picture, (x, y), radius, colour(rng), thickness, cv2.LINE_AA)
        if thickness < 0 and rng.random() < 0.5:
            at = (x - radius // 3, y - radius // 3)
            cv2.circle(picture, at, max(1, radius // 3), colour(rng), -1, cv2.LINE_AA)


def _lights(picture: Picture, rng: np.random.Generator) -> None:
    """Lights in the dark, sharp or out of focus: stars and galaxies, lamps, windows at night."""
    light = np.zeros(picture.shape, np.float32)
    largest = float(np.exp(rng.uniform(np.log(4), np.log(60))))
    for _ in range(int(rng.integers(10, 150))):
        x, y = rng.uniform(0, _SIZE, 2)
        radius = float(np.exp(rng.uniform(0.0, np.log(largest))))
        reach = 4 * radius + 1
        x0, y0 = (max(0, int(v - reach)) for v in (x, y))
        rows, columns = np.mgrid[y0 : int(y + reach) + 1, x0 : int(x + reach) + 1]
        angle, flat = rng.uniform(0, np.pi), rng.uniform(0.2, 1.0)
        along = (columns - x) * np.cos(angle) + (rows - y) * np.sin(angle)
        across = (rows - y) * np.cos(angle) - (columns - x) * np.sin(angle)
        far = np.sqrt(along**2 + (across / flat) ** 2) / radius
        # A bright middle in a faint disc, or a disc of even light with a soft edge.
        glow = np.exp(-far * rng.uniform(1.5, 5.0)) if rng.random() < 0.7 else np.exp(-(far**8))
        tint = np.array([rng.uniform(0.4, 1.0), rng.uniform(0.6, 0.9), rng.uniform(0.6, 1.0)])
        bright = glow[..., None] * (tint * np.exp(rng.uniform(np.log(20), np.log(500))))
        part = light[y0 : y0 + len(rows), x0 : x0 + rows.shape[1]]
        part += bright[: part.shape[0], : part.shape[1]]
    dark = rng.uniform(0, 45) + rng.normal(0, 4, 3) + 3 * rng.standard_normal(picture.shape)
    picture[:] = np.clip(dark + light, 0, 255).astype(np.uint8)


def _wall(picture: Picture, rng: np.random.Generator) -> None:
    """Bricks, tiles, shelves, fences: rectangles in rows."""
    picture[:] = colour(rng)
    base = np.array(colour(rng), np.float64)
    height, width = (int(v) for v in np.exp(rng.uniform(np.log(6), np.log(90), 2)))
    gap = int(rng.integers(0, 5))
    spread = rng.uniform(2, 70)
    for row, y in enumerate(range(0, _SIZE, height + gap)):
        for x in range(-(row % 2) * width // 2, _SIZE, width + gap):
            b, g, r = (int(v) for v in np.clip(base + rng.normal(0, spread, 3), 0, 255))
            cv2.rectangle(picture, (x, y), (x + width - 1, y + height - 1), (b, g, r), -1)


def _grain(picture: Picture, rng: np.random.Generator) -> None:
    """Grass, gravel, fur, cloth: noise of one scale, stretched along one axis."""
    cells = float(np.exp(rng.uniform(np.log(6), np.log(150))))
    aspect = float(np.exp(rng.uniform(np.log(0.2), np.log(8))))
    light = smooth_field(rng, _SIZE, _SIZE, cells, aspect)
    light = light + 0.6 * octaves(rng, _SIZE, _SIZE, cells / 2, 4, 0.7)
    for channel, level in enumerate(colour(rng)):
        own = light + 0.3 * smooth_field(rng, _SIZE, _SIZE, 12)
        picture[..., channel] = np.clip(level + rng.uniform(10, 50) * own, 0, 255)


_PAINTERS: Final[tuple[tuple[float, Painter], ...]] = (
    (0.07, _text),
    (0.08, _leaves),
    (0.09, _dots),
    (0.05, _lights),
    (0.09, _wall),
    (0.12, _grain),
)


def paint(rng: np.random.Generator) -> UInt8[np.ndarray, "S S 3"]:
    """One background, most often a cluttered room or street."""
    draw = rng.random()
    picture = np.zeros((_SIZE, _SIZE, 3), np.uint8)
    for share, painter in _PAINTERS:
        if draw < share:
            painter(picture, rng)
            break
        draw -= share
    else:
        light = sample_background(rng, _SIZE) * np.float32(np.exp(rng.normal(0.2, 0.5)))
        picture = np.ascontiguousarray(to_srgb(np.ascontiguousarray(light, np.float32)))
    if rng.random() < 0.35:
        shade = np.exp(0.35 * smooth_field(rng, _SIZE, _SIZE, 4))[..., None]
        picture = np.clip(picture * shade, 0, 255).astype(np.uint8)
    return picture


class Grounds:
    """A stock of backgrounds, painted once; each draw cuts another piece, turned and mirrored.

    Args:
        seed: of the painted ones.
        photographs: folder of pictures (JPEG or PNG) without faces, used as they are.
        count: how many to paint.

    Raises:
        InputError: the folder holds no picture.
    """

    def __init__(self, seed: int, photographs: Path | None = None, count: int = 240) -> None:
        rng = np.random.default_rng([seed, 0xBAC])
        self._painted = [paint(rng) for _ in range(count)]
        self._photographs = [] if photographs is None else _read(photographs)

    def draw(self, rng: np.random.Generator, height: int, width: int) -> Picture:
        """A piece of a background; sometimes two of them, divided by an edge."""
        piece = self._piece(rng, height, width)
        if rng.random() < 0.25:
            other = self._piece(rng, height, width)
            edge = rng.uniform(0.2, 0.8)
            if rng.random() < 0.5:
                cut = int(edge * width)
                piece[:, cut:] = other[:, cut:]
            else:
                cut = int(edge * height)
                piece[cut:] = other[cut:]
        return piece

    def _piece(self, rng: np.random.Generator, height: int, width: int) -> Picture:
        chance = rng.random()
        if self._photographs and chance < _PHOTOGRAPH_SHARE:
            source = self._photographs[rng.integers(len(self._photographs))]
        elif chance > 1 - _FRESH_SHARE:
            source = paint(rng)
        else:
            source = self._painted[rng.integers(len(self._painted))]
        high, wide = source.shape[:2]
        # Frame pixels a source pixel.
        scale = np.exp(rng.uniform(np.log(0.7), np.log(2.5))) * max(height / high, width / wide)
        angle = rng.normal(0, 0.12) if rng.random() < 0.9 else rng.uniform(-3.1, 3.1)
        c, s = scale * np.cos(angle), scale * np.sin(angle)
        linear = np.array([[c, -s], [s, c]])
        if rng.random() < 0.5:
            linear[:, 0] *= -1
        middle = rng.uniform(0.3, 0.7, 2) * (wide, high)
        shift = np.array([width / 2, height / 2]) - linear @ middle
        matrix = np.column_stack([linear, shift])
        if scale < 0.6:
            shrunk = cv2.resize(source, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
            matrix[:, :2] *= 2
            source = np.asarray(shrunk, np.uint8)
        turned = cv2.warpAffine(source, matrix, (width, height), borderMode=cv2.BORDER_REFLECT_101)
        return np.asarray(turned, np.uint8)


def _read(folder: Path) -> list[Picture]:
    pictures: list[Picture] = []
    for path in sorted(folder.glob("*")):
        if path.suffix.lower() not in (".jpg", ".jpeg", ".png"):
            continue
        picture = read_bgr(path)
        shrink = min(1.0, _MOST_PHOTOGRAPH / max(picture.shape[:2]))
        small = cv2.resize(picture, None, fx=shrink, fy=shrink, interpolation=cv2.INTER_AREA)
        pictures.append(np.asarray(small, np.uint8))
    if not pictures:
        raise InputError(f"{folder}: no picture (.jpg, .png) in it")
    return pictures
