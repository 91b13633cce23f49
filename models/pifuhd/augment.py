"""What is varied about pictures of people while PIFuHD learns.

The crop's place, size and roll and the side (with the person's geometry), light and colour,
sharpness and noise, and the edge of the mask: segmentations of photographs are not exact.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any, Final

import cv2
import numpy as np
from jaxtyping import Float32, Float64, Int8, UInt8
from numpy.typing import NDArray

_NOISE_SPARE: Final = 128
"""Pixels by which the noise is larger than a picture."""


@dataclass(frozen=True)
class Placement:
    """Where the original lies in the crop that is learnt from; coordinates of the cube.

    Attributes:
        scale: of the person in the crop.
        right: shift, from -1 to 1 across the picture.
        down: shift.
        mirrored: left and right swapped, before the rest.
        roll_deg: turned clockwise in the picture, about its middle, before the shift.
    """

    scale: float = 1.0
    right: float = 0.0
    down: float = 0.0
    mirrored: bool = False
    roll_deg: float = 0.0

    @property
    def turn(self) -> Float64[np.ndarray, "2 2"]:
        """The roll, as it moves x (right) and y (down)."""
        angle = np.deg2rad(self.roll_deg)
        return np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])

    @property
    def affine(self) -> Float64[np.ndarray, "3 4"]:
        """From the original's cube to the crop's: a similarity, or a mirrored one."""
        moved = np.diag([self.scale] * 3)
        moved[:2, :2] = self.scale * self.turn
        if self.mirrored:
            moved[:, 0] = -moved[:, 0]
        return np.c_[moved, [self.right, self.down, 0.0]]

    def points(self, points: Float32[np.ndarray, "p 3"]) -> Float32[np.ndarray, "p 3"]:
        """Points of the original's cube, in the crop's."""
        affine = self.affine.astype(np.float32)
        return points @ affine[:, :3].T + affine[:, 3]

    def pixels(self, size: int, wanted: int) -> Float64[np.ndarray, "2 3"]:
        """Affine map from pixels of the original to those of the crop.

        Args:
            size: pixels across the original.
            wanted: pixels across the crop.
        """
        # Pixel i of S lies at (2 i + 1) / S - 1.
        affine = self.affine
        linear = affine[:2, :2]
        corner = linear @ np.full(2, 1 / size - 1) + affine[:2, 3]
        return np.c_[linear * (wanted / size), ((corner + 1) * wanted - 1) / 2]


@dataclass(frozen=True)
class Augmentation:
    """How much is varied; shares are probabilities.

    Attributes:
        mirror: share of mirrored pictures.
        scale: of the crop, either way.
        shift: of the crop, either way, as a share of half the picture.
        brightness: either way, as a share.
        contrast: either way, as a share.
        saturation: either way, as a share.
        hue: of each colour channel against the others, either way, as a share.
        grey: share of grey pictures.
        blur: share of blurred pictures, half of them by low resolution.
        noise: share of noisy pictures.
        edge: share of pictures whose mask wanders about the person's edge.
        roll_deg: of the crop, either way.
        gamma: exponent of the brightness, either way, as the logarithm.
    """

    mirror: float = 0.5
    scale: float = 0.08
    shift: float = 0.08
    brightness: float = 0.2
    contrast: float = 0.25
    saturation: float = 0.3
    hue: float = 0.1
    grey: float = 0.1
    blur: float = 0.35
    noise: float = 0.5
    edge: float = 0.4
    roll_deg: float = 4.0
    gamma: float = 0.25

    def placement(self, rng: np.random.Generator, cut: bool) -> Placement:
        """A place for the crop.

        Args:
            rng: for everything random.
            cut: the person goes on beyond the picture's lower edge: it must stay at or beyond the
                crop's, as it does in photographs.
        """
        scale = 1 + rng.uniform(-self.scale, self.scale)
        right, down = rng.uniform(-self.shift, self.shift, 2)
        roll = rng.uniform(-self.roll_deg, self.roll_deg)
        if cut:
            lowest = np.cos(np.deg2rad(roll)) - abs(np.sin(np.deg2rad(roll)))
            down = max(down, 1 - scale * lowest)
        return Placement(scale, right, down, bool(rng.random() < self.mirror), roll)


def placed_picture(
    picture: UInt8[np.ndarray, "S S *c"], placement: Placement, size: int
) -> UInt8[np.ndarray, "W W *c"]:
    """A picture or mask in its place; black beyond the original.

    Args:
        picture: the original.
        placement: its place.
        size: pixels across the crop.
    """
    return _warped(np.ascontiguousarray(picture), placement, size, (0.0, 0.0, 0.0))


def placed_normals(
    normals: Int8[np.ndarray, "S S 3"], placement: Placement, size: int
) -> Float32[np.ndarray, "3 W W"]:
    """Normals in their place, mirrored and rolled as directions too; zero beyond the original.

    Args:
        normals: times 127.
        placement: their place.
        size: pixels across the crop.
    """
    shifted = (normals.view(np.uint8)) ^ np.uint8(128)
    grey = (128.0, 128.0, 128.0)
    warped = _warped(np.ascontiguousarray(shifted), placement, size, grey)
    placed = warped.astype(np.float32).transpose(2, 0, 1)
    placed = (placed - 128) / 127
    if placement.mirrored:
        placed[0] = -placed[0]
    if placement.roll_deg:
        # y is up in normals.
        turn = placement.turn.T.astype(np.float32)
        placed[:2] = np.tensordot(turn, placed[:2], 1)
    return placed


def _warped(
    picture: UInt8[np.ndarray, "S S *c"],
    placement: Placement,
    size: int,
    beyond: tuple[float, float, float],
) -> Any:
    if len(picture) == size and placement == Placement():
        return picture
    if len(picture) > 1.5 * size:
        picture = np.asarray(cv2.resize(picture, (size, size), interpolation=cv2.INTER_AREA))
    return cv2.warpAffine(
        picture,
        placement.pixels(len(picture), size),
        (size, size),
        flags=cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=beyond,
    )


def photograph(
    picture: UInt8[np.ndarray, "S S 3"],
    mask: UInt8[np.ndarray, "S S"],
    varied: Augmentation | None,
    rng: np.random.Generator,
) -> Float32[np.ndarray, "3 S S"]:
    """The network's picture: RGB from -1 to 1, the background zero.

    Args:
        picture: BGR before a backdrop.
        mask: how much of each pixel is the person.
        varied: what is varied; None for nothing.
        rng: for everything random.
    """
    covered: NDArray[np.float32] = mask.astype(np.float32) / np.float32(255)
    if varied is not None and varied.gamma:
        picture = _curved(picture, float(np.exp(rng.uniform(-varied.gamma, varied.gamma))))
    pixels = picture.astype(np.float32)
    if varied is not None:
        pixels = _coloured(pixels, varied, rng)
        pixels = _softened(pixels, varied, rng)
        if rng.random() < varied.edge:
            covered = _wandering(covered, rng)
    rgb = pixels[..., ::-1] / 127.5 - 1
    return np.ascontiguousarray((rgb * covered[..., None]).transpose(2, 0, 1), dtype=np.float32)


def _curved(picture: UInt8[np.ndarray, "S S 3"], gamma: float) -> UInt8[np.ndarray, "S S 3"]:
    """A picture whose dark and bright parts lie otherwise."""
    table = np.round(255 * (np.arange(256) / 255) ** gamma).astype(np.uint8)
    return np.asarray(cv2.LUT(picture, table), np.uint8)


def _coloured(
    pixels: NDArray[np.float32], varied: Augmentation, rng: np.random.Generator
) -> NDArray[np.float32]:
    """Light and colour varied; one affine map of the channels, then a curve."""
    away = varied.saturation * rng.uniform(-1, 1) if rng.random() >= varied.grey else -1.0
    grey = np.array([0.114, 0.587, 0.299])
    mix = (1 + away) * np.eye(3) - away * np.tile(grey, (3, 1))
    gains = 1 + varied.hue * rng.uniform(-1, 1, 3) if away > -1 else np.ones(3)
    contrast = 1 + varied.contrast * rng.uniform(-1, 1)
    brightness = 1 + varied.brightness * rng.uniform(-1, 1)
    middle = 127.5 * (1 - contrast)
    matrix = np.c_[gains[:, None] * mix * contrast * brightness, np.full(3, middle)]
    changed: Any = cv2.transform(pixels, matrix.astype(np.float32))
    return np.clip(changed, 0, 255)


def _softened(
    pixels: NDArray[np.float32], varied: Augmentation, rng: np.random.Generator
) -> NDArray[np.float32]:
    """Sharpness and noise varied."""
    soft: Any = pixels
    if rng.random() < varied.blur:
        if rng.random() < 0.5:
            soft = cv2.GaussianBlur(soft, (0, 0), rng.uniform(0.4, 1.6))
        else:
            size = len(pixels)
            small = max(8, round(size / rng.uniform(1.3, 4.0)))
            soft = cv2.resize(soft, (small, small), interpolation=cv2.INTER_AREA)
            soft = cv2.resize(soft, (size, size), interpolation=cv2.INTER_LINEAR)
    if rng.random() < varied.noise:
        size = len(pixels)
        row, column = rng.integers(_NOISE_SPARE, size=2)
        noise = _noise(size)[row : row + size, column : column + size]
        soft = np.clip(soft + np.float32(rng.uniform(1, 9) * rng.choice([-1, 1])) * noise, 0, 255)
    return soft


@cache
def _noise(size: int) -> NDArray[np.float32]:
    """Noise for all pictures, of which each takes a piece: making it anew costs too much."""
    wide = size + _NOISE_SPARE
    return np.random.default_rng(0).standard_normal((wide, wide, 3), np.float32)


def _wandering(covered: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """A mask whose edge strays to either side by a few pixels."""
    size = len(covered)
    reach = size / 256 * rng.uniform(1.0, 3.5)
    soft: Any = cv2.GaussianBlur(covered, (0, 0), reach, borderType=cv2.BORDER_REPLICATE)
    cells = int(rng.integers(3, 17))
    noise = rng.uniform(-1, 1, (cells, cells)).astype(np.float32)
    level = 0.5 + 0.3 * cv2.resize(noise, (size, size), interpolation=cv2.INTER_LINEAR)
    # Steep enough to leave what is far from the edge as it was.
    steep = max(3.0, reach * rng.uniform(1.5, 3.0))
    return np.clip((soft - level) * steep + 0.5, 0, 1)
