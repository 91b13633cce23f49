"""The aligned crop of a key frame: a square that is turned and sized by eyes and mouth."""

from __future__ import annotations

import math
from typing import Final

import cv2
import numpy as np
from jaxtyping import Float, Float32, Float64, UInt8

from ...models.errors import InputError

EYES_FACTOR: Final = 2.0
MOUTH_FACTOR: Final = 1.8
DOWN_SHARE: Final = 0.1


def image_from_crop(
    landmarks_px: Float32[np.ndarray, "68 2"], side: int
) -> Float64[np.ndarray, "2 3"]:
    """The map from pixels of the aligned crop to pixels of the picture.

    The alignment is that of FFHQ: the crop's rows run along the mean of the line between the eyes
    and the perpendicular to the line from eyes to mouth; its centre lies a tenth of the way from
    the eyes to the mouth below the eyes; half its side is the larger of twice the distance between
    the eyes and 1.8 times that from eyes to mouth. It holds the whole head with hair in a frontal
    view. Pixel centres are at integers in both.

    Args:
        landmarks_px: 68 points.
        side: of the crop, px.

    Raises:
        InputError: the landmarks are not finite, or all in one place.
    """
    points = landmarks_px.astype(np.float64)
    if not np.isfinite(points).all():
        raise InputError("landmarks are not finite")
    right, left = points[36:42].mean(axis=0), points[42:48].mean(axis=0)  # the subject's
    eyes, mouth = (right + left) / 2.0, (points[48] + points[54]) / 2.0
    across, down = left - right, mouth - eyes
    along = across + np.array([down[1], -down[0]])
    length = float(np.hypot(*along))
    reach = max(EYES_FACTOR * float(np.hypot(*across)), MOUTH_FACTOR * float(np.hypot(*down)))
    if length < 1e-6 or reach < 1e-6:
        raise InputError("landmarks are all in one place")
    u = along / length * reach  # half a side, to the crop's right
    v = np.array([-u[1], u[0]])  # and down
    centre = eyes + DOWN_SHARE * down
    step = 2.0 / side
    start = centre + (0.5 * step - 1.0) * (u + v)
    return np.column_stack([step * u, step * v, start])


def cut(
    image_bgr: UInt8[np.ndarray, "H W 3"], image_from_crop_px: Float[np.ndarray, "2 3"], side: int
) -> UInt8[np.ndarray, "side side 3"]:
    """The crop; black outside of the picture, averaged where the picture is finer."""
    scale = float(np.hypot(image_from_crop_px[0, 0], image_from_crop_px[1, 0]))
    fine = max(1, min(8, math.ceil(scale - 0.05)))
    # Pixel u of a crop that is finer lies at (u + 0.5) / fine - 0.5 of this one.
    shrink = np.array([[1 / fine, 0, 0.5 / fine - 0.5], [0, 1 / fine, 0.5 / fine - 0.5], [0, 0, 1]])
    matrix = image_from_crop_px @ shrink
    kind = cv2.INTER_LINEAR if scale >= 1.0 else cv2.INTER_CUBIC
    crop = cv2.warpAffine(
        image_bgr, matrix, (side * fine, side * fine), flags=kind | cv2.WARP_INVERSE_MAP
    )
    if fine > 1:
        crop = cv2.resize(crop, (side, side), interpolation=cv2.INTER_AREA)
    return np.asarray(crop, dtype=np.uint8)


def share_inside(
    image_from_crop_px: Float[np.ndarray, "2 3"], side: int, width: int, height: int
) -> float:
    """How much of the crop lies in a picture of this size, 0 to 1."""
    edge = side - 0.5
    corners = np.array([[-0.5, -0.5, 1], [edge, -0.5, 1], [edge, edge, 1], [-0.5, edge, 1]])
    quad = (corners @ image_from_crop_px.T).astype(np.float32)
    frame = np.array(
        [[-0.5, -0.5], [width - 0.5, -0.5], [width - 0.5, height - 0.5], [-0.5, height - 0.5]],
        dtype=np.float32,
    )
    common, _ = cv2.intersectConvexConvex(quad, frame)
    whole = cv2.contourArea(quad)
    return min(1.0, float(common) / whole) if whole > 0 else 0.0
