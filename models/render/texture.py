"""Textures with a mip pyramid, in linear light."""

from __future__ import annotations

from dataclasses import dataclass
from typing import no_type_check

import numpy as np
from jaxtyping import Bool, Float32, Int32, UInt8
from numba import njit

from ..errors import InputError
from .raster import RELAXED, SUBPIXELS, Array


@dataclass(frozen=True)
class Texture:
    """A picture to wrap around a mesh; build it once with :meth:`from_image` and reuse it.

    Attributes:
        texels: (T, 4) linear red, green, blue, times alpha, and alpha, of all levels.
        levels: (L, 3) offset into ``texels``, height and width of each level, finest first.
        opaque: alpha is 1 everywhere.
    """

    texels: Float32[np.ndarray, "T 4"]
    levels: Int32[np.ndarray, "L 3"]
    opaque: bool

    @classmethod
    def from_image(
        cls, image: Float32[np.ndarray, "H W C"] | UInt8[np.ndarray, "H W C"]
    ) -> Texture:
        """Make the pyramid of an image, RGB or RGBA (alpha not premultiplied).

        float32 is linear light; uint8 is sRGB (its alpha linear). uv (0, 0) is the lower left
        corner, as in OBJ files, and uv repeats beyond [0, 1].

        Raises:
            InputError: the image has neither 3 nor 4 channels, or is empty.
        """
        height, width, channels = image.shape
        if channels not in (3, 4) or not height * width:
            raise InputError(f"texture of shape {image.shape}; expected (H, W, 3) or (H, W, 4)")
        level = np.ones((height, width, 4), np.float32)
        if image.dtype == np.uint8:
            level[..., :3] = _LINEAR[image[..., :3]]
            if channels == 4:
                level[..., 3] = image[..., 3] / np.float32(255.0)
        else:
            level[..., :channels] = image
        opaque = channels == 3 or bool((level[..., 3] >= 1.0).all())
        level[..., :3] *= level[..., 3:]
        pyramid = [level]
        while min(level.shape[:2]) > 1:
            level = _halve(level)
            pyramid.append(level)
        sizes = np.array([step.shape[:2] for step in pyramid], np.int32)
        offsets = np.concatenate([[0], np.cumsum(sizes[:-1, 0] * sizes[:-1, 1])])
        levels = np.column_stack([offsets, sizes]).astype(np.int32)
        return cls(np.concatenate([step.reshape(-1, 4) for step in pyramid]), levels, opaque)


def linear_from_srgb(image: UInt8[np.ndarray, "*S"]) -> Float32[np.ndarray, "*S"]:
    """Linear light in [0, 1] of sRGB bytes."""
    return _LINEAR[image]


def to_srgb(
    image: Float32[np.ndarray, "H W 3"], mask: Bool[np.ndarray, "H W"] | None = None
) -> UInt8[np.ndarray, "H W 3"]:
    """sRGB bytes in BGR order of linear RGB light, clamped; black outside ``mask`` if given."""
    out = np.empty(image.shape, np.uint8)
    _encode(image, _BYTES, out)
    if mask is not None:
        out[~mask] = 0
    return out


def _halve(level: Float32[np.ndarray, "H W 4"]) -> Float32[np.ndarray, "h w 4"]:
    """Average 2 x 2 texels; an odd last row or column is left out."""
    height, width = (level.shape[0] // 2) * 2, (level.shape[1] // 2) * 2
    rows = level[0:height:2] + level[1:height:2]
    return (rows[:, 0:width:2] + rows[:, 1:width:2]) * np.float32(0.25)


def _srgb_curves() -> tuple[Float32[np.ndarray, " 256"], UInt8[np.ndarray, " 4096"]]:
    """Byte to linear light, and the square root of linear light (in 4095ths) to byte."""
    code = np.arange(256) / 255.0
    linear = np.where(code <= 0.04045, code / 12.92, ((code + 0.055) / 1.055) ** 2.4)
    light = (np.arange(4096) / 4095.0) ** 2
    encoded = np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)
    return linear.astype(np.float32), np.rint(encoded * 255.0).astype(np.uint8)


_LINEAR, _BYTES = _srgb_curves()


@njit(cache=True, nogil=True, fastmath=RELAXED)
@no_type_check
def _encode(image: Array, table: Array, out: Array) -> None:
    height, width, _ = image.shape
    for y in range(height):
        for x in range(width):
            for c in range(3):
                light = min(max(image[y, x, c], np.float32(0.0)), np.float32(1.0))
                out[y, x, 2 - c] = table[np.int32(np.sqrt(light) * np.float32(4095.0) + 0.5)]


@njit(cache=True, nogil=True, fastmath=RELAXED)
@no_type_check
def choose_levels(fixed: Array, triangles: Array, uv: Array, levels: Array, chosen: Array) -> None:
    """The mip level (a fraction) at which each triangle's texels are about as large as pixels."""
    top = np.float32(len(levels) - 1)
    texels = np.float32(levels[0, 1]) * np.float32(levels[0, 2])
    for t in range(len(triangles)):
        a, b, c = triangles[t, 0], triangles[t, 1], triangles[t, 2]
        ux = np.float32(fixed[b, 0] - fixed[a, 0]) / SUBPIXELS
        uy = np.float32(fixed[b, 1] - fixed[a, 1]) / SUBPIXELS
        vx = np.float32(fixed[c, 0] - fixed[a, 0]) / SUBPIXELS
        vy = np.float32(fixed[c, 1] - fixed[a, 1]) / SUBPIXELS
        pixels = abs(ux * vy - uy * vx)
        ru, rv = uv[t, 1, 0] - uv[t, 0, 0], uv[t, 1, 1] - uv[t, 0, 1]
        su, sv = uv[t, 2, 0] - uv[t, 0, 0], uv[t, 2, 1] - uv[t, 0, 1]
        covered = abs(ru * sv - rv * su) * texels
        level = np.float32(0.0)
        if covered > pixels:
            level = np.float32(0.5) * np.float32(np.log2(covered / max(pixels, 1e-3)))
        chosen[t] = min(level, top)


@njit(cache=True, nogil=True, fastmath=RELAXED)
@no_type_check
def sample(
    texels: Array, levels: Array, u: float, v: float, level: float
) -> tuple[float, float, float, float]:
    """Trilinear sample: red, green, blue, times alpha, and alpha."""
    low = min(np.int32(level), np.int32(len(levels) - 1))
    part = level - np.float32(low)
    r, g, b, a = _bilinear(texels, levels[low, 0], levels[low, 1], levels[low, 2], u, v)
    if part > 0.02 and low + 1 < len(levels):
        low += 1
        r2, g2, b2, a2 = _bilinear(texels, levels[low, 0], levels[low, 1], levels[low, 2], u, v)
        r += part * (r2 - r)
        g += part * (g2 - g)
        b += part * (b2 - b)
        a += part * (a2 - a)
    return r, g, b, a


@njit(cache=True, nogil=True, fastmath=RELAXED)
@no_type_check
def _bilinear(
    texels: Array, offset: int, height: int, width: int, u: float, v: float
) -> tuple[float, float, float, float]:
    p, q, r, s, fx, fy = _taps(offset, height, width, u, v)
    one = np.float32(1.0)
    w00, w01 = (one - fx) * (one - fy), fx * (one - fy)
    w10, w11 = (one - fx) * fy, fx * fy
    return (
        w00 * texels[p, 0] + w01 * texels[q, 0] + w10 * texels[r, 0] + w11 * texels[s, 0],
        w00 * texels[p, 1] + w01 * texels[q, 1] + w10 * texels[r, 1] + w11 * texels[s, 1],
        w00 * texels[p, 2] + w01 * texels[q, 2] + w10 * texels[r, 2] + w11 * texels[s, 2],
        w00 * texels[p, 3] + w01 * texels[q, 3] + w10 * texels[r, 3] + w11 * texels[s, 3],
    )


@njit(cache=True, nogil=True, fastmath=RELAXED)
@no_type_check
def sample_alpha(texels: Array, levels: Array, u: float, v: float, level: float) -> float:
    """Bilinear sample of alpha alone, on the nearest level."""
    n = min(np.int32(level + np.float32(0.5)), np.int32(len(levels) - 1))
    p, q, r, s, fx, fy = _taps(levels[n, 0], levels[n, 1], levels[n, 2], u, v)
    above = texels[p, 3] + fx * (texels[q, 3] - texels[p, 3])
    below = texels[r, 3] + fx * (texels[s, 3] - texels[r, 3])
    return above + fy * (below - above)


@njit(cache=True, nogil=True, fastmath=RELAXED)
@no_type_check
def _taps(
    offset: int, height: int, width: int, u: float, v: float
) -> tuple[int, int, int, int, float, float]:
    """Rows of the four texels around a place, and how far it is from the first towards the last.

    Beyond [0, 1] the texture repeats; its own edges are not blended with one another.
    """
    one, half = np.float32(1.0), np.float32(0.5)
    u = u if 0 <= u <= 1 else u - np.float32(np.floor(u))
    v = v if 0 <= v <= 1 else v - np.float32(np.floor(v))
    x = min(max(u * np.float32(width) - half, np.float32(0.0)), np.float32(width - 1))
    y = min(max((one - v) * np.float32(height) - half, np.float32(0.0)), np.float32(height - 1))
    x0, y0 = np.int32(x), np.int32(y)
    first = offset + y0 * width + x0
    right = np.int32(1) if x0 + 1 < width else np.int32(0)
    down = width if y0 + 1 < height else np.int32(0)
    fx, fy = x - np.float32(x0), y - np.float32(y0)
    return first, first + right, first + down, first + down + right, fx, fy
