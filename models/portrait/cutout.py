"""A key frame as the generator was shown its portraits: aligned, the person alone, over black."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from ..errors import InputError
from ..face.crop import Crop, extract
from ..pifuhd.crop import cut, upright_roll_deg
from ..pifuhd.framing import CUBE_MM, centre_in_camera
from ..pifuhd.place import PictureCube
from ..pifuhd.segment import segment
from ..pifuhd.silhouette_prior import certain, expected

_CUT_PX = 256
"""Side of the crop in which the person is cut out."""


@dataclass(frozen=True)
class CutOut:
    """A portrait.

    Attributes:
        image: BGR over black.
        mask: 0 (background) to 255 (the person).
        quality: of the mask, 0 to 1.
        doubts: about it, in words.
    """

    image: UInt8[np.ndarray, "S S 3"]
    mask: UInt8[np.ndarray, "S S"]
    quality: float
    doubts: tuple[str, ...]


def cut_out(
    image_bgr: UInt8[np.ndarray, "H W 3"],
    camera_matrix: Float[np.ndarray, "3 3"],
    camera_from_head: Float[np.ndarray, "4 4"],
    landmarks_px: Float[np.ndarray, "68 2"],
    crop: Crop,
    size: int,
    mask: UInt8[np.ndarray, "H W"] | None = None,
) -> CutOut:
    """The crop of a portrait without its background.

    Args:
        image_bgr: the whole picture.
        camera_matrix: of it, px.
        camera_from_head: pose of the face, mm.
        landmarks_px: of the face.
        crop: the aligned square.
        size: of the result, px.
        mask: of the person in the whole picture; None: cut out without anything learned.

    Raises:
        InputError: the mask has another size than the picture, or nothing is in the crop.
    """
    inside = np.full(image_bgr.shape[:2], 255, np.uint8)
    quality, doubts = 1.0, ()
    if mask is None:
        alpha, quality, doubts = _found(
            image_bgr, camera_matrix, camera_from_head, landmarks_px, crop, size
        )
    elif mask.shape != image_bgr.shape[:2]:
        raise InputError(
            f"the mask is {mask.shape[1]}x{mask.shape[0]} px, the picture {image_bgr.shape[1]}x"
            f"{image_bgr.shape[0]}: expected the same size"
        )
    else:
        alpha = extract(cv2.merge([mask] * 3), crop, size)[..., 0]
    shown = extract(cv2.merge([inside] * 3), crop, size)[..., 0]
    alpha = np.minimum(alpha, shown)
    if alpha.max(initial=0) < 128:
        raise InputError("nobody is left in the aligned crop: the mask is empty there")
    # Light is mixed as light: the training pictures' edges are.
    share = (alpha[..., None] / 255.0) ** (1 / 2.2)
    image = np.rint(extract(image_bgr, crop, size) * share).astype(np.uint8)
    return CutOut(image, np.ascontiguousarray(alpha), quality, tuple(doubts))


def _found(
    image_bgr: UInt8[np.ndarray, "H W 3"],
    camera_matrix: Float[np.ndarray, "3 3"],
    camera_from_head: Float[np.ndarray, "4 4"],
    landmarks_px: Float[np.ndarray, "68 2"],
    crop: Crop,
    size: int,
) -> tuple[UInt8[np.ndarray, "S S"], float, tuple[str, ...]]:
    pose = np.asarray(camera_from_head, np.float64)
    centre = centre_in_camera(pose[:3, :3], pose[:3, 3])
    view = PictureCube.looking_at(centre, CUBE_MM, camera_matrix, upright_roll_deg(pose))
    wide = cut(image_bgr, view, _CUT_PX)
    flat = np.column_stack([landmarks_px, np.ones(len(landmarks_px))])
    mapped = flat @ np.linalg.inv(wide.image_from_crop).T
    seed = certain(mapped[:, :2] / mapped[:, 2:], _CUT_PX)
    found = segment(wide.image_bgr, wide.inside, expected(view, pose, _CUT_PX), seed)
    step = crop.side / size
    corner = crop.cx - (size - 1) / 2 * step, crop.cy - (size - 1) / 2 * step
    image_from_portrait = np.array([[step, 0, corner[0]], [0, step, corner[1]], [0, 0, 1.0]])
    # Sampled finely and averaged: the portrait's pixels are larger than the cut's.
    fine = 4
    offset = 0.5 / fine - 0.5
    steps = np.array([[1 / fine, 0, offset], [0, 1 / fine, offset], [0, 0, 1]])
    matrix = np.linalg.inv(wide.image_from_crop) @ image_from_portrait @ steps
    alpha = cv2.warpPerspective(
        found.alpha, matrix, (size * fine, size * fine),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
    )  # fmt: skip
    alpha = cv2.resize(alpha, (size, size), interpolation=cv2.INTER_AREA)
    return np.asarray(alpha, np.uint8), found.quality, found.doubts
