"""What makes a frame a good key frame: its parts, each from 0 to 1."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from jaxtyping import Float, Float32, Float64, UInt8

from ...models.face.names import BLENDSHAPE_NAMES, LANDMARK_GROUPS
from ...models.face.perspective import apparent_rotation
from ...models.face.rotation import matrix_from_quaternion
from ..episodes import blinking
from ..observation import FaceObservation
from .alignment import image_from_crop, share_inside
from .sharpness import blur_px, sharpness

SMALLEST_PX: Final = 32.0
LARGEST_PX: Final = 512.0
"""Longer side of the box of the landmarks at which the size scores 0 and 1."""
TURN_DEG: Final = 20.0
"""A turn away from the camera that scores a half."""
ROLL_DEG: Final = 30.0
"""A roll that scores a half."""
NEUTRAL_UNITS: Final = 0.5
"""An expression of this length (root of the sum of squared blendshapes) scores a half."""
OPEN_RATIO: Final = 0.28
"""Height over width of an open eye, where there are no blendshapes."""
# Of a person who stands upright, mm about the sellion; a pose's depth has the scale of its face,
# so that the ratio to the face is what counts.
ABOVE_MM: Final = 130.0
BELOW_MM: Final = 1600.0
ASIDE_MM: Final = 320.0

# Where the eyes look and whether they are open is no expression here.
_EXPRESSIVE: Final = np.array(
    [not name.startswith(("eyeLook", "eyeBlink")) for name in BLENDSHAPE_NAMES]
)


@dataclass(frozen=True)
class Candidate:
    """A frame that may be chosen.

    Attributes:
        frame: its index.
        t_s: its time, seconds.
        parts: the parts of the score that need no other frame, by name: ``sharp``, ``size``,
            ``frontal``, ``level``, ``eyes``, ``confidence``, ``inside`` (of the aligned crop, in
            the picture), ``body`` (of a standing person, in the picture).
        look: where the nose points, relative to the line of sight, unit vector in camera axes.
        expression: blendshapes without gaze and blinking (0 there), or the expression's
            components where there are no blendshapes.
        blur_px: blur, px of the crop that sharpness is measured in.
    """

    frame: int
    t_s: float
    parts: dict[str, float]
    look: Float64[np.ndarray, " 3"]
    expression: Float32[np.ndarray, " E"]
    blur_px: float


def measure(
    image_bgr: UInt8[np.ndarray, "H W 3"],
    row: FaceObservation,
    camera_matrix: Float[np.ndarray, "3 3"],
    t_s: float,
) -> Candidate:
    """Measure one face in its picture.

    Raises:
        InputError: the landmarks are not finite, or all in one place.
    """
    height, width = image_bgr.shape[:2]
    rotation = matrix_from_quaternion(np.array([row.qw, row.qx, row.qy, row.qz], np.float64))
    look = -apparent_rotation(rotation, np.array([row.tx, row.ty, row.tz]))[:, 2]
    turn_deg = math.degrees(math.acos(float(np.clip(-look[2], -1.0, 1.0))))
    blur = blur_px(image_bgr, row.landmarks_px)
    crop = image_from_crop(row.landmarks_px, 256)
    span = math.log(LARGEST_PX / SMALLEST_PX)
    side_px = max(row.box_w, row.box_h, 1e-3)
    parts = {
        "sharp": sharpness(blur),
        "size": float(np.clip(math.log(side_px / SMALLEST_PX) / span, 0.0, 1.0)),
        "frontal": falloff(turn_deg, TURN_DEG),
        "level": falloff(row.roll, ROLL_DEG),
        "eyes": eyes_open(row),
        "confidence": 1.0 if row.confidence is None else float(row.confidence),
        "inside": share_inside(crop, 256, width, height),
        "body": body_inside(row, camera_matrix, width, height),
    }
    return Candidate(row.frame, t_s, parts, look, expression_of(row), blur)


def falloff(value: float, half: float) -> float:
    """1 at 0, a half at ``half``, and never quite 0."""
    return 1.0 / (1.0 + (value / half) ** 2)


def eyes_open(row: FaceObservation) -> float:
    """How far the eye that is more closed is open, 0 to 1."""
    values = blinking(row)
    if values is not None:
        return float(np.clip(1.0 - max(values), 0.0, 1.0))
    ratios = [
        _eye_ratio(row.landmarks_px[LANDMARK_GROUPS[eye]]) for eye in ("right_eye", "left_eye")
    ]
    return float(np.clip(min(ratios) / OPEN_RATIO, 0.0, 1.0))


def _eye_ratio(eye_px: Float32[np.ndarray, "6 2"]) -> float:
    height = np.linalg.norm(eye_px[1] - eye_px[5]) + np.linalg.norm(eye_px[2] - eye_px[4])
    return float(height / max(2.0 * float(np.linalg.norm(eye_px[0] - eye_px[3])), 1e-6))


def expression_of(row: FaceObservation) -> Float32[np.ndarray, " E"]:
    """What of a row is expression; see :class:`Candidate`."""
    if row.blendshapes is not None:
        return np.where(_EXPRESSIVE, row.blendshapes, np.float32(0.0)).astype(np.float32)
    return (row.expression * np.float32(0.25)).astype(np.float32)  # about as long


def body_inside(
    row: FaceObservation, camera_matrix: Float[np.ndarray, "3 3"], width: int, height: int
) -> float:
    """How much of a person who stands below this face would lie in the picture, 0 to 1.

    By the place of the face alone: nobody looks whether something stands before the person, or
    whether they sit.
    """
    if row.tz <= 1.0:
        return 0.0
    fx, fy = camera_matrix[0, 0] / row.tz, camera_matrix[1, 1] / row.tz  # px per mm
    x = fx * row.tx + camera_matrix[0, 2]
    y = fy * row.ty + camera_matrix[1, 2]
    left, right = x - ASIDE_MM * fx, x + ASIDE_MM * fx
    top, bottom = y - ABOVE_MM * fy, y + BELOW_MM * fy
    across = min(right, width - 0.5) - max(left, -0.5)
    along = min(bottom, height - 0.5) - max(top, -0.5)
    if across <= 0 or along <= 0:
        return 0.0
    return float(across * along / ((right - left) * (bottom - top)))
