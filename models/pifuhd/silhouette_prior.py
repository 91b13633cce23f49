"""Where head, hair, neck and shoulders are to be expected around a fitted face."""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np
from jaxtyping import Bool, Float, Float32

from .crop import BODY_MARGIN
from .place import PictureCube

SKULL_CENTRE_MM: Final = (0.0, -2.0, 85.0)
SKULL_RADII_MM: Final = (80.0, 118.0, 100.0)
"""An ellipsoid about the head, head frame: sides, crown and chin, back."""
NECK_MM: Final = (0.0, 125.0, 95.0)
"""Middle of the neck, head frame."""
_PEAK: Final = 4.0
"""Log-odds where there is no doubt."""


def expected(
    view: PictureCube, camera_from_head: Float[np.ndarray, "4 4"], size: int
) -> Float32[np.ndarray, "S S"]:
    """Log-odds of foreground in a crop, from the pose alone; about 0 where hair may or may not be.

    Args:
        view: of the crop.
        camera_from_head: of the face, mm.
        size: of the crop, px.
    """
    step = view.side_mm / size
    down, right = np.mgrid[0:size, 0:size].astype(np.float64)
    head = _skull(view, camera_from_head, size)
    # Shoulders stand upright in the crop whatever the head does.
    neck = camera_from_head[:3, :3] @ np.array(NECK_MM) + camera_from_head[:3, 3]
    middle = view.crop_points(neck[None], size)[0]
    x, y = (right - middle[0]) * step, (down - middle[1]) * step
    # Half the width of neck and trunk, by how far below the neck's middle: mm.
    width = np.interp(y, [-60.0, -15.0, 8.0, 30.0, 60.0, 110.0], [42.0, 56.0, 90.0, 145, 190, 215])
    sharp = np.interp(y, [-20.0, 40.0], [14.0, 30.0])
    trunk = np.clip((width - np.abs(x)) / sharp, -_PEAK, 3.2)
    trunk = np.where(y < -60.0, -_PEAK, trunk)
    # Long hair falls beside the neck.
    beside = np.interp(np.abs(x), [80.0, 120.0, 160.0, 200.0], [-0.6, -1.2, -2.5, -_PEAK])
    beside = np.where((y > -140.0) & (y < 120.0), beside, -_PEAK)
    return np.maximum(np.maximum(head, trunk), beside).astype(np.float32)


def _skull(
    view: PictureCube, camera_from_head: Float[np.ndarray, "4 4"], size: int
) -> Float[np.ndarray, "S S"]:
    """Log-odds by how near the ray of a pixel comes to the skull's ellipsoid."""
    edge = np.arange(size)
    matrix = np.linalg.solve(view.camera_matrix, view.image_from_crop(size))
    u, v = np.meshgrid(edge, edge)
    rays = np.stack([u, v, np.ones_like(u)], axis=-1) @ matrix.T
    radii = np.array(SKULL_RADII_MM)
    rotation = camera_from_head[:3, :3]
    # In a frame where the skull is a unit ball: the ray's nearest distance to its middle.
    start = (-rotation.T @ camera_from_head[:3, 3] - np.array(SKULL_CENTRE_MM)) / radii
    along = rays @ rotation / radii
    along /= np.linalg.norm(along, axis=-1, keepdims=True)
    nearest = start - along * (along @ start)[..., None]
    radius = np.linalg.norm(nearest, axis=-1)
    above = nearest[..., 1] < 0.3  # hair and hats are above and beside, not below the chin
    hair = np.interp(radius, [0.85, 1.0, 1.12, 1.35, 1.6, 1.9], [4.0, 2.2, 0.8, -0.5, -1.6, -4.0])
    bare = np.interp(radius, [0.85, 1.0, 1.1, 1.4], [4.0, 1.5, -1.0, -4.0])
    return np.where(above, hair, bare)


def certain(
    landmarks_px: Float[np.ndarray, "68 2"], size: int, shrink: float = 0.92
) -> Bool[np.ndarray, "S S"]:
    """The middle of the face: the hull of its landmarks, a little smaller."""
    middle = landmarks_px.mean(axis=0)
    points = middle + shrink * (landmarks_px - middle)
    hull = cv2.convexHull(np.round(points * 16).astype(np.int32))
    mask = np.zeros((size, size), np.uint8)
    cv2.fillConvexPoly(mask, hull, 1, shift=4)
    return mask.astype(bool)


def expected_body(
    view: PictureCube, camera_from_head: Float[np.ndarray, "4 4"] | None, size: int
) -> tuple[Float32[np.ndarray, "S S"], Bool[np.ndarray, "S S"]]:
    """Log-odds of a whole person in the crop of its cube, and where it is for sure.

    Args:
        view: of the crop; the body fills its height but for a margin.
        camera_from_head: of the face, mm; None where unknown: the head is above the middle.
        size: of the crop, px.
    """
    # The body's height is 1 / 1.15 of the crop's: measured in it, from the crown.
    unit = size / BODY_MARGIN
    crown, axis = (size - unit) / 2.0, (size - 1) / 2.0
    if camera_from_head is not None:
        neck = camera_from_head[:3, :3] @ np.array(NECK_MM) + camera_from_head[:3, 3]
        axis = float(view.crop_points(neck[None], size)[0, 0])
    down, right = np.mgrid[0:size, 0:size].astype(np.float64)
    y, x = (down - crown) / unit, np.abs(right - axis) / unit
    levels = [-0.04, 0.0, 0.06, 0.13, 0.17, 0.2, 0.35, 0.5, 0.7, 0.97, 1.02]
    width = np.interp(y, levels, [0.01, 0.05, 0.055, 0.05, 0.08, 0.13, 0.14, 0.13, 0.12, 0.1, 0.02])
    prior = np.clip((width - x) / 0.035, -2.2, 2.0)
    prior = np.where(x > 0.42, -_PEAK, prior)
    prior = np.where((y < -0.05) | (y > 1.06), -_PEAK, prior)
    sure = (x < 0.045) & (y > 0.24) & (y < 0.42)
    if camera_from_head is not None:
        prior = np.maximum(prior, np.clip(_skull(view, camera_from_head, size), -_PEAK, _PEAK))
    return prior.astype(np.float32), sure
