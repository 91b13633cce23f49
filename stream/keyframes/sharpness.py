"""How sharp a face is, comparable between faces of any size, contrast and noise."""

from __future__ import annotations

import math
from typing import Final

import cv2
import numpy as np
from jaxtyping import Bool, Float, Float32, UInt8

from ...models.face.crop import Crop, crop_from_landmarks, extract

CROP_PX: Final = 160
"""Side of the crop that is looked at; the landmarks' box takes 0.71 of it."""
FINE_PX: Final = 0.8
COARSE_PX: Final = 2.4
"""Deviations of the two Gaussians whose slopes are compared, px of the crop."""
SHARP_PX: Final = 1.0
"""A blur of so much, px of the crop, counts as half sharp."""
MOST_PX: Final = 12.0
"""More blur than this is not told apart."""


def blur_px(
    image_bgr: UInt8[np.ndarray, "H W 3"], landmarks_px: Float32[np.ndarray, "68 2"]
) -> float:
    """The deviation of the Gaussian that has blurred a face, px of a crop of :data:`CROP_PX`.

    An edge that was blurred by ``b`` has slopes whose energy falls as ``1 / sqrt(b^2 + s^2)`` when
    it is looked at through a Gaussian of ``s``: the energies at two scales tell ``b``, whatever the
    contrast. The part of white noise, measured where the skin is plain, is taken off before. The
    worse of the two axes counts, so that motion blur shows. Only what the landmarks enclose is
    looked at, never the background.

    Args:
        image_bgr: the whole picture.
        landmarks_px: 68 points in it.

    Raises:
        InputError: the landmarks are not finite, or all in one place.
    """
    crop = crop_from_landmarks(landmarks_px)
    grey = cv2.cvtColor(extract(image_bgr, crop, CROP_PX), cv2.COLOR_BGR2GRAY).astype(np.float32)
    inside = _inside(crop, landmarks_px, image_bgr.shape[:2])
    if np.count_nonzero(inside) < 100:
        return MOST_PX
    noise = _noise(grey, inside)
    fine, coarse = _slopes(grey, inside, FINE_PX), _slopes(grey, inside, COARSE_PX)
    worst = 0.0
    for axis in (0, 1):
        least = fine[axis] * 1e-3 + 1e-6
        ratio = max(fine[axis] - _NOISE[FINE_PX] * noise**2, least) / max(
            coarse[axis] - _NOISE[COARSE_PX] * noise**2, least
        )
        worst = max(worst, _blur_of(ratio))
    return worst


def sharpness(blur: float) -> float:
    """Between 0 and 1 of a blur in px of the crop: 1 is perfect, 0.5 a blur of :data:`SHARP_PX`."""
    return 1.0 / (1.0 + (blur / SHARP_PX) ** 2)


def _blur_of(ratio: float) -> float:
    """The blur at which the energies at the fine and the coarse scale have a ratio."""
    square = ratio * ratio
    if square <= 1.0:
        return MOST_PX
    blur2 = (COARSE_PX**2 - square * FINE_PX**2) / (square - 1.0)
    return min(MOST_PX, math.sqrt(max(0.0, blur2)))


def _inside(
    crop: Crop, landmarks_px: Float32[np.ndarray, "68 2"], shape: tuple[int, ...]
) -> Bool[np.ndarray, "S S"]:
    """Where in the crop the face is, as far as it is in the picture."""
    mask = np.zeros((CROP_PX, CROP_PX), dtype=np.uint8)
    points = crop.from_image(landmarks_px.astype(np.float64), CROP_PX)
    hull = cv2.convexHull(np.rint(points).astype(np.int32))
    cv2.fillConvexPoly(mask, hull, (1,))
    corners = crop.from_image(np.array([[0.0, 0.0], [shape[1] - 1.0, shape[0] - 1.0]]), CROP_PX)
    # Not the step where the picture ends: the reach of the wider kernel is left free.
    low = np.maximum(np.ceil(corners[0] + 3 * COARSE_PX), 0).astype(int)
    high = np.maximum(np.floor(corners[1] - 3 * COARSE_PX), 0).astype(int)
    within = np.zeros_like(mask)
    within[low[1] : high[1] + 1, low[0] : high[0] + 1] = 1
    return (mask & within).astype(bool)


def _noise(grey: Float32[np.ndarray, "S S"], inside: Bool[np.ndarray, "S S"]) -> float:
    """Deviation of the noise, grey levels: the median of a filter that plain skin does not pass."""
    kernel = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], dtype=np.float32)
    response = np.abs(cv2.filter2D(grey, cv2.CV_32F, kernel))[inside]
    return 1.4826 * float(np.median(response)) / 6.0


def _slopes(
    grey: Float32[np.ndarray, "S S"], inside: Bool[np.ndarray, "S S"], sigma_px: float
) -> tuple[float, float]:
    """Mean squared slope along x and y of the picture seen through a Gaussian."""
    seen = cv2.GaussianBlur(grey, (0, 0), sigma_px)
    dx = cv2.filter2D(seen, cv2.CV_32F, _STEP)
    dy = cv2.filter2D(seen, cv2.CV_32F, _STEP.T)
    return float(np.mean(dx[inside] ** 2)), float(np.mean(dy[inside] ** 2))


_STEP: Final = np.array([[-0.5, 0.0, 0.5]], dtype=np.float32)


def _noise_gain(sigma_px: float) -> float:
    """Mean squared slope of white noise of deviation 1 through :func:`_slopes`."""
    size = 2 * math.ceil(6 * sigma_px) + 1
    point: Float[np.ndarray, "n n"] = np.zeros((size, size), dtype=np.float32)
    point[size // 2, size // 2] = 1.0
    answer = cv2.filter2D(cv2.GaussianBlur(point, (0, 0), sigma_px), cv2.CV_32F, _STEP)
    return float(np.sum(answer.astype(np.float64) ** 2))


_NOISE: Final = {sigma: _noise_gain(sigma) for sigma in (FINE_PX, COARSE_PX)}
