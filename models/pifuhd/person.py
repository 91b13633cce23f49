"""Where a person is in a picture: its cube, and its outline in the cube's crop."""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np
from jaxtyping import Float, Float64, UInt8

from ..errors import InputError
from .crop import Crop, body_view, cut, upright_roll_deg
from .framing import CUBE_MM, centre_in_camera
from .place import PictureCube
from .segment import Segmentation, segment
from .silhouette_prior import certain, expected, expected_body
from .subject import Face, Settings

LEAST_BODY: Final = 0.5
"""Share of a body's height, as its head lets expect it, that the picture must show."""
_HEADS: Final = 7.5
_CROWN_MM: Final = np.array([0.0, -105.0, 90.0])
_HEAD_MM: Final = 228.0


def cube_of(
    image_bgr: UInt8[np.ndarray, "H W 3"],
    camera_matrix: Float64[np.ndarray, "3 3"],
    face: Face | None,
    settings: Settings,
) -> PictureCube:
    """Where the cube of a person stands.

    Args:
        image_bgr: the whole picture.
        camera_matrix: px.
        face: of the person; None: not known.
        settings: what is to be reconstructed.

    Raises:
        InputError: neither face nor box nor mask says where, or little of the body is shown.
    """
    if settings.subject == "head":
        if face is None:
            raise InputError("a head is reconstructed from its face, and none was given")
        pose = face.camera_from_head
        centre = centre_in_camera(pose[:3, :3], pose[:3, 3])
        return PictureCube.looking_at(centre, CUBE_MM, camera_matrix, upright_roll_deg(pose))
    depth = None if face is None else float(face.camera_from_head[2, 3])
    if settings.box is not None:
        return body_view(settings.box, camera_matrix, depth)
    if settings.mask is not None:
        return body_view(_box_of(settings.mask > 127), camera_matrix, depth)
    if face is None:
        raise InputError("no face in the picture: --box x,y,w,h says where the person is")
    return _body_around(image_bgr, face)


def _body_around(image_bgr: UInt8[np.ndarray, "H W 3"], face: Face) -> PictureCube:
    """The cube around the body that belongs to a face, found by cutting the person out."""
    pose, matrix = face.camera_from_head, face.camera_matrix
    scale = float(matrix[1, 1] / pose[2, 3])
    crown = matrix @ (pose[:3, :3] @ _CROWN_MM + pose[:3, 3])
    x, y = crown[:2] / crown[2]
    tall = _HEADS * _HEAD_MM * scale
    guess = (float(x - 0.27 * tall), float(y), 0.54 * tall, tall)
    depth = float(pose[2, 3])
    shown = (min(float(y) + tall, image_bgr.shape[0]) - max(float(y), 0.0)) / tall
    if shown < LEAST_BODY:
        raise InputError(
            f"only {100 * max(0.0, shown):.0f} % of the body's height is in the picture, expected "
            f"{100 * LEAST_BODY:.0f} % or more; --preset head takes the head, --box another body"
        )
    view = body_view(guess, matrix, depth)
    crop = cut(image_bgr, view, 256)
    found = _found(crop, view, face, guess).mask
    rows, columns = np.nonzero(found)
    ends = np.array([[columns.min(), rows.min(), 1], [columns.max(), rows.max(), 1]], float)
    mapped = ends @ crop.image_from_crop.T
    (left, top), (right, bottom) = mapped[:, :2] / mapped[:, 2:]
    if "bottom" in crop.cut_sides(found):
        bottom = max(bottom, y + tall)  # the legs are beyond the picture's edge
    return body_view((left, top, right - left + 1, bottom - top + 1), matrix, depth)


def _box_of(mask: np.ndarray) -> tuple[float, float, float, float]:
    rows, columns = np.nonzero(mask)
    if len(rows) == 0:
        raise InputError("the mask is empty: expected white where the person is")
    left, top = float(columns.min()), float(rows.min())
    return left, top, float(columns.max()) - left + 1.0, float(rows.max()) - top + 1.0


def cut_out(
    image_bgr: UInt8[np.ndarray, "H W 3"],
    crop: Crop,
    view: PictureCube,
    face: Face | None,
    settings: Settings,
) -> Segmentation:
    """The person in a crop: by the mask that was given, else found.

    Raises:
        InputError: the mask has another size than the picture, or is empty in the crop.
    """
    if settings.mask is None:
        return _found(crop, view, face, settings.box, body=settings.subject == "body")
    if settings.mask.shape != image_bgr.shape[:2]:
        height, width = settings.mask.shape
        raise InputError(
            f"the mask is {width}x{height} px, the picture {image_bgr.shape[1]}x"
            f"{image_bgr.shape[0]}: expected the same size"
        )
    alpha = cut(cv2.merge([settings.mask] * 3), view, crop.size).image_bgr[..., 0]
    if not (alpha > 127).any():
        raise InputError("the mask is empty where the person is to be reconstructed")
    return Segmentation(np.ascontiguousarray(alpha), 1.0)


def _found(
    crop: Crop,
    view: PictureCube,
    face: Face | None,
    box: tuple[float, float, float, float] | None = None,
    *,
    body: bool = True,
) -> Segmentation:
    size = crop.size
    seed = np.zeros((size, size), bool)
    if face is not None:
        seed = certain(in_crop(face.landmarks_px, crop), size)
    if not body and face is not None:
        prior = expected(view, face.camera_from_head, size)
    else:
        pose = None if face is None else face.camera_from_head
        prior, middle = expected_body(view, pose, size)
        seed |= middle
    return segment(crop.image_bgr, crop.inside, prior, seed)


def in_crop(points_px: Float[np.ndarray, "K 2"], crop: Crop) -> Float64[np.ndarray, "K 2"]:
    """Pixels of the picture as pixels of a crop."""
    flat = np.column_stack([points_px, np.ones(len(points_px))])
    mapped = flat @ np.linalg.inv(crop.image_from_crop).T
    return mapped[:, :2] / mapped[:, 2:]
