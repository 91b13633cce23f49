"""The square piece of a picture that the regressor sees.

Pixel ``u`` of a crop of ``size`` pixels lies at image ``x = cx + (u - (size - 1) / 2) side / size``
(for the regressor's 120: ``cx + (u - 59.5) side / 120``); pixel centres are at integers in both.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from types import ModuleType

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from ..errors import InputError

CROP_SIZE = 120
"""Side of the regressor's input, px."""
CROP_SCALE = 1.414
"""Side of the crop over the longer side of the tight box of the 68 landmarks."""


@dataclass(frozen=True)
class BoxStyle:
    """How the boxes of a detector lie to the nominal crop; each detector has its own.

    Attributes:
        crop_scale: side of the crop over the box's longer side.
        centre_down: from the box's centre down to the crop's, over the box's height.
    """

    crop_scale: float
    centre_down: float


LANDMARK_BOX = BoxStyle(CROP_SCALE, 0.0)
"""The tight box of the 68 landmarks, hidden ones too."""
# Means over 107 real faces found by CenterFace (standard deviations 0.10 and 0.036).
FACE_BOX = BoxStyle(1.17, 0.107)
"""With the forehead, so that its centre lies higher: what most face detectors give."""


@dataclass(frozen=True)
class Crop:
    """An upright square of the image.

    Attributes:
        cx: centre, image px.
        cy: centre, image px.
        side: image px.

    Raises:
        InputError: a value is not finite or the side is not positive.
    """

    cx: float
    cy: float
    side: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.cx) and math.isfinite(self.cy) and math.isfinite(self.side)):
            raise InputError(f"crop: {self} is not finite")
        if self.side <= 0.0:
            raise InputError(f"crop: side must be positive, got {self.side}")

    def to_image(
        self, points_crop_px: Float[np.ndarray, "*B 2"], size: int = CROP_SIZE
    ) -> Float[np.ndarray, "*B 2"]:
        """Image pixels of crop pixels."""
        centre = np.array([self.cx, self.cy])
        return centre + (points_crop_px - (size - 1) / 2.0) * (self.side / size)

    def from_image(
        self, points_px: Float[np.ndarray, "*B 2"], size: int = CROP_SIZE
    ) -> Float[np.ndarray, "*B 2"]:
        """Crop pixels of image pixels."""
        centre = np.array([self.cx, self.cy])
        return (points_px - centre) * (size / self.side) + (size - 1) / 2.0


@cache
def _kernel() -> ModuleType:
    """Imported where it is first needed: numba is slow to import."""
    from . import _crop_kernel

    return _crop_kernel


def tight_box(points_px: Float[np.ndarray, "N 2"]) -> tuple[float, float, float, float]:
    """The box (x, y, w, h) that just holds the points, px."""
    return _kernel().bounds(points_px)


def crop_from_landmarks(landmarks_px: Float[np.ndarray, "N 2"]) -> Crop:
    """The nominal crop of a face: centred on the landmarks' tight box, 1.414 x its longer side.

    Raises:
        InputError: the landmarks are not finite, or all in one place.
    """
    x, y, w, h = tight_box(landmarks_px)
    return Crop(x + w / 2.0, y + h / 2.0, CROP_SCALE * max(w, h))


def crop_from_box(box_xywh_px: Float[np.ndarray, " K"], style: BoxStyle = FACE_BOX) -> Crop:
    """The crop that a detector's face box (x, y, w, h, and what follows is ignored) proposes.

    Raises:
        InputError: the box is not finite, or empty.
    """
    x, y, w, h = (float(v) for v in box_xywh_px[:4])
    centre_y = y + h / 2.0 + style.centre_down * h
    return Crop(x + w / 2.0, centre_y, style.crop_scale * max(w, h))


def extract(
    image_bgr: UInt8[np.ndarray, "H W 3"],
    crop: Crop,
    size: int = CROP_SIZE,
    out: UInt8[np.ndarray, "size size 3"] | None = None,
) -> UInt8[np.ndarray, "size size 3"]:
    """Cut a crop out of a picture, bilinear, zero outside of the frame.

    A face much larger than the crop is first averaged over whole blocks of pixels, so that no
    detail is aliased.

    Args:
        image_bgr: the picture.
        crop: what to cut out.
        size: of the result, px.
        out: takes the result; None: a new array.
    """
    kernel = _kernel()
    out = np.empty((size, size, 3), np.uint8) if out is None else out
    scale = crop.side / size
    left = crop.cx - scale * (size - 1) / 2.0
    top = crop.cy - scale * (size - 1) / 2.0
    block = math.floor(scale)
    if block == 2:
        image_bgr = np.ascontiguousarray(image_bgr)
        height, width = image_bgr.shape[:2]
        reach = crop.side / 2.0 + 2.0 * block
        x0, x1 = max(0, math.floor(crop.cx - reach)), min(width, math.ceil(crop.cx + reach))
        y0, y1 = max(0, math.floor(crop.cy - reach)), min(height, math.ceil(crop.cy + reach))
        if x1 <= x0 or y1 <= y0:
            out[:] = 0
            return out
        x, y = x0 + 0.5, y0 + 0.5
        kernel.sample_half(
            image_bgr, x0, y0, x1, y1, (left - x) / 2, (top - y) / 2, scale / 2, size, out
        )
        return out
    if block > 2:
        shrunk = _shrink(image_bgr, crop, block)
        if shrunk is None:
            out[:] = 0
            return out
        image_bgr, x0, y0 = shrunk
        left, top, scale = (left - x0) / block, (top - y0) / block, scale / block
    # One layout only: the kernel is compiled for each that it meets.
    kernel.sample(np.ascontiguousarray(image_bgr), left, top, scale, size, out)
    return out


def _shrink(
    image_bgr: UInt8[np.ndarray, "H W 3"], crop: Crop, block: int
) -> tuple[UInt8[np.ndarray, "h w 3"], float, float] | None:
    """The part under the crop averaged over blocks, and where its pixel (0, 0) lies, image px.

    None where the crop lies outside of the frame.
    """
    height, width = image_bgr.shape[:2]
    half = crop.side / 2.0 + 2.0 * block
    x0, x1 = max(0, math.floor(crop.cx - half)), min(width, math.ceil(crop.cx + half))
    y0, y1 = max(0, math.floor(crop.cy - half)), min(height, math.ceil(crop.cy + half))
    if x1 <= x0 or y1 <= y0:
        return None
    part = image_bgr[y0:y1, x0:x1]
    # Whole blocks: of what is there, else of zeros.
    x1, y1 = min(width, x1 + -(x1 - x0) % block), min(height, y1 + -(y1 - y0) % block)
    part = image_bgr[y0:y1, x0:x1]
    pad_x, pad_y = -(x1 - x0) % block, -(y1 - y0) % block
    if pad_x or pad_y:
        part = cv2.copyMakeBorder(part, 0, pad_y, 0, pad_x, cv2.BORDER_CONSTANT, value=(0, 0, 0))
    new_size = (part.shape[1] // block, part.shape[0] // block)
    shrunk = cv2.resize(part, new_size, interpolation=cv2.INTER_AREA)
    offset = (block - 1) / 2.0
    return shrunk.astype(np.uint8, copy=False), x0 + offset, y0 + offset
