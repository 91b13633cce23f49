"""What a camera does to the pixels of a still scene: each a pure function with a strength.

Every function takes and returns (H, W, 3) uint8 BGR, and returns the picture unchanged at strength
zero. The two blurs are symmetric, normalised kernels: they move nothing and keep the mean.
"""

from __future__ import annotations

import math

import cv2
import numpy as np
from jaxtyping import Float32, UInt8

from ..errors import InputError


def gaussian_noise(
    image_bgr: UInt8[np.ndarray, "H W 3"], sigma: float, rng: np.random.Generator
) -> UInt8[np.ndarray, "H W 3"]:
    """Independent noise in each pixel and channel, rounded and clipped.

    Args:
        image_bgr: the picture.
        sigma: standard deviation, in the 0 to 255 scale.
        rng: source of chance.

    Raises:
        InputError: ``sigma`` is negative.
    """
    _not_negative("noise sigma", sigma)
    if sigma == 0.0:
        return image_bgr
    noise = rng.standard_normal(image_bgr.shape, dtype=np.float32)
    noise *= np.float32(sigma)
    noise += image_bgr
    np.maximum(noise, 0.0, out=noise)
    # Rounds to nearest and saturates, several times faster than rint, clip and astype.
    return np.asarray(cv2.convertScaleAbs(noise), np.uint8)


def line_kernel(length_px: float, direction_rad: float) -> Float32[np.ndarray, "K K"]:
    """The kernel of a motion along a line: it sums to 1 and is symmetric about its middle.

    Unit steps along the line are spread over the pixels beside them, so that any direction and
    length is met: a length of 5 gives at most 5x5 pixels, five equal ones along an axis.

    Args:
        length_px: of the line with its ends, px; up to 1 nothing is blurred.
        direction_rad: from x to the right towards y down.
    """
    _not_negative("motion blur", length_px)
    half = max(0.0, (length_px - 1.0) / 2.0)
    steps = max(1, math.ceil(length_px - 1e-9))
    radius = math.ceil(half - 1e-9)
    kernel = np.zeros((2 * radius + 2, 2 * radius + 2), np.float64)
    for along in np.linspace(-half, half, steps):
        x = radius + along * math.cos(direction_rad)
        y = radius + along * math.sin(direction_rad)
        # A sum of signed zeros may fall a rounding below the pixel that it means.
        x, y = round(x, 9), round(y, 9)
        left, top = math.floor(x), math.floor(y)
        for row, by in ((top, 1 - (y - top)), (top + 1, y - top)):
            for column, bx in ((left, 1 - (x - left)), (left + 1, x - left)):
                kernel[row, column] += by * bx / steps
    return kernel[:-1, :-1].astype(np.float32)


def motion_blur(
    image_bgr: UInt8[np.ndarray, "H W 3"], length_px: float, direction_rad: float
) -> UInt8[np.ndarray, "H W 3"]:
    """Blurred along a line (see :func:`line_kernel`); lengths up to 1 px leave it as it is."""
    if 0.0 <= length_px <= 1.0:
        return image_bgr
    return _filtered(image_bgr, line_kernel(length_px, direction_rad))


def disc_kernel(radius_px: float) -> Float32[np.ndarray, "K K"]:
    """The kernel of a lens out of focus: a disc with a soft rim of one pixel, sum 1."""
    _not_negative("defocus", radius_px)
    reach = math.ceil(radius_px + 0.5) - 1
    rows, columns = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    disc = np.clip(radius_px + 0.5 - np.hypot(rows, columns), 0.0, 1.0)
    return (disc / disc.sum()).astype(np.float32)


def defocus_blur(
    image_bgr: UInt8[np.ndarray, "H W 3"], radius_px: float
) -> UInt8[np.ndarray, "H W 3"]:
    """Blurred by a disc; up to half a pixel of radius changes nothing."""
    if 0.0 <= radius_px <= 0.5:
        return image_bgr
    return _filtered(image_bgr, disc_kernel(radius_px))


def low_resolution(
    image_bgr: UInt8[np.ndarray, "H W 3"], factor: float
) -> UInt8[np.ndarray, "H W 3"]:
    """Averaged down by a factor and enlarged again, bilinear.

    Args:
        image_bgr: the picture.
        factor: how many times larger its pixels become, 1 for none.

    Raises:
        InputError: ``factor`` is below 1.
    """
    if not factor >= 1.0:
        raise InputError(f"low resolution: the factor must be 1 or more, got {factor}")
    height, width = image_bgr.shape[:2]
    small_size = (max(1, round(width / factor)), max(1, round(height / factor)))
    if small_size == (width, height):
        return image_bgr
    small = cv2.resize(image_bgr, small_size, interpolation=cv2.INTER_AREA)
    large = cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR)
    return np.asarray(large, np.uint8)


def compression(image_bgr: UInt8[np.ndarray, "H W 3"], loss: float) -> UInt8[np.ndarray, "H W 3"]:
    """Compressed as JPEG and decoded, as the frames of most web cameras are.

    Args:
        image_bgr: the picture.
        loss: 100 less the JPEG quality; 0 for no compression at all, at most 99.

    Raises:
        InputError: ``loss`` is not from 0 to 99.
    """
    if not 0.0 <= loss <= 99.0:
        raise InputError(f"compression: the loss must be 0 to 99 (100 - quality), got {loss}")
    if loss == 0.0:
        return image_bgr
    quality = round(100.0 - loss)
    _, encoded = cv2.imencode(".jpg", image_bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return np.asarray(cv2.imdecode(encoded, cv2.IMREAD_COLOR), np.uint8)


def _filtered(
    image_bgr: UInt8[np.ndarray, "H W 3"], kernel: Float32[np.ndarray, "K K"]
) -> UInt8[np.ndarray, "H W 3"]:
    blurred = cv2.filter2D(image_bgr, -1, kernel, borderType=cv2.BORDER_REFLECT_101)
    return np.asarray(blurred, np.uint8)


def _not_negative(what: str, value: float) -> None:
    if not 0.0 <= value < math.inf:
        raise InputError(f"{what} must be 0 or more, got {value}")
