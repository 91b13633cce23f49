"""EG3D's world and its camera labels: what the export of labels and the portrait share.

The world is a face of standard size: origin inside the head, x to the right of who looks at it,
y up, z out of the face, one unit 370 mm. A label is 25 numbers: the 4x4 matrix camera to world
(OpenCV's axes, row by row), then the 3x3 intrinsics divided by the picture's size. All labels have
one focal length and one distance from the origin.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from jaxtyping import Float, Float64

from ..errors import InputError
from .crop import Crop
from .morphable import FaceModel
from .rotation import FLIP

FOCAL: Final = 2985.29 / 700.0
"""Of the crop's side."""
RADIUS: Final = 2.7
LOOK_AT: Final = (0.0, 0.006, 0.161)
"""The standard face's origin in the world; the axes of the labels' cameras pass near it."""
UNIT_MM: Final = 100.0 / 0.27
"""A unit of the world, on the standard face."""

# Of the recipe: the side of the crop in units of 100 mm of the standard face, EG3D units in such a
# unit, and where EG3D puts the standard face's origin.
_SIDE_DM = 700.0 / 300.0
_UNITS_A_DM = 0.27
_FACE_ORIGIN = np.array(LOOK_AT)
# The standard face: its size (between the eyes, plus from the eyes to the mouth), and the point
# half-way from the eyes to the mouth, seen from its origin, y up and z out of the face; mm.
_SIZE_MM = 62.1 + 67.7
_MIDDLE_MM = np.array([0.0, -4.6, 17.8])
_NOSE, _RIGHT_EYE, _LEFT_EYE, _MOUTH = 30, (36, 39), (42, 45), (48, 54)


@dataclass(frozen=True)
class StandardFace:
    """How a face model's head frame lies in EG3D's world: a similarity.

    Attributes:
        origin: (3,) the standard face's origin, head frame, mm.
        dm: units of 100 mm of the standard face in a mm of the model.
        five: (5, 3) eyes, tip of the nose and corners of the mouth of the model's mean, in the
            standard face's axes (y up, z out of the face) and units of 100 mm from its origin.
    """

    origin: Float64[np.ndarray, " 3"]
    dm: float
    five: Float64[np.ndarray, "5 3"]

    @classmethod
    def of(cls, model: FaceModel) -> StandardFace:
        """Of a face model's mean."""
        mean = five_points(model.mean[model.landmark_vertices].astype(np.float64))
        eyes, mouth = mean[:2].mean(axis=0), mean[3:].mean(axis=0)
        size = np.linalg.norm(mean[1] - mean[0]) + np.linalg.norm(eyes - mouth)
        dm = _SIZE_MM / float(size) / 100.0
        origin = (eyes + mouth) / 2.0 - FLIP @ _MIDDLE_MM / (100.0 * dm)
        return cls(origin, dm, (mean - origin) @ FLIP * dm)

    def world_from_head(self, points: Float[np.ndarray, "N 3"]) -> Float64[np.ndarray, "N 3"]:
        """World places of model points (head frame, mm)."""
        return (points - self.origin) @ FLIP * self.dm * _UNITS_A_DM + _FACE_ORIGIN

    def matrix(self) -> Float64[np.ndarray, "4 4"]:
        """World from head, homogeneous."""
        result = np.eye(4)
        result[:3, :3] = FLIP * (self.dm * _UNITS_A_DM)
        result[:3, 3] = self.world_from_head(np.zeros((1, 3)))[0]
        return result

    @property
    def units_a_mm(self) -> float:
        """World units in a mm of the model."""
        return self.dm * _UNITS_A_DM

    def crop(self, landmarks_px: Float[np.ndarray, "68 2"]) -> Crop:
        """The recipe's square: an affine camera through five points, its centre and its scale.

        Raises:
            InputError: the points lie on one line or at one place.
        """
        points = five_points(landmarks_px.astype(np.float64))
        system = np.column_stack([self.five, np.ones(5)])
        solution = np.linalg.lstsq(system, points, rcond=None)[0]
        scale = np.linalg.norm(solution[:3], axis=0).mean()  # px per unit
        cx, cy = solution[3].tolist()
        return Crop(cx, cy, float(scale) * _SIDE_DM)


def five_points(landmarks: Float[np.ndarray, "68 D"]) -> Float64[np.ndarray, "5 D"]:
    """Eyes (the subject's right one first), tip of the nose, corners of the mouth."""
    right, left = landmarks[list(_RIGHT_EYE)].mean(axis=0), landmarks[list(_LEFT_EYE)].mean(axis=0)
    return np.stack([right, left, landmarks[_NOSE], *landmarks[list(_MOUTH)]]).astype(np.float64)


def label_of(
    rotation: Float[np.ndarray, "3 3"], place: Float[np.ndarray, " 3"]
) -> Float64[np.ndarray, " 25"]:
    """The label of a camera with the standard intrinsics.

    Args:
        rotation: camera to world; columns are the camera's axes (x right, y down, z forward).
        place: of the camera in the world.
    """
    matrix = np.vstack([np.column_stack([rotation, place]), [0.0, 0.0, 0.0, 1.0]])
    intrinsics = [FOCAL, 0.0, 0.5, 0.0, FOCAL, 0.5, 0.0, 0.0, 1.0]
    return np.concatenate([matrix.ravel(), intrinsics])


def side_label(
    yaw_rad: float,
    pitch_rad: float,
    look_at: tuple[float, float, float] = LOOK_AT,
    radius: float = RADIUS,
    roll_rad: float = 0.0,
) -> Float64[np.ndarray, " 25"]:
    """The label of a camera on a sphere around the world's origin.

    Args:
        yaw_rad: the camera's azimuth: positive to the right of the frontal camera (towards +x),
            from where the nose is seen turned to the picture's left edge.
        pitch_rad: its height; positive above, so that the face is seen from above.
        look_at: the place that its axis passes through.
        radius: distance from the origin.
        roll_rad: how far the camera is turned about its axis, clockwise.
    """
    across = np.cos(pitch_rad)
    place = radius * np.array(
        [np.sin(yaw_rad) * across, np.sin(pitch_rad), np.cos(yaw_rad) * across]
    )
    forward = np.asarray(look_at) - place
    forward /= np.linalg.norm(forward)
    right = np.cross(forward, [0.0, 1.0, 0.0])
    right /= np.linalg.norm(right)
    down = np.cross(forward, right)
    c, s = np.cos(roll_rad), np.sin(roll_rad)
    rotation = np.stack([c * right + s * down, c * down - s * right, forward], axis=1)
    return label_of(rotation, place)


def frontal_label() -> Float64[np.ndarray, " 25"]:
    """The label with which a generator is conditioned: from straight in front."""
    return side_label(0.0, 0.0)


def camera_to_world(label: Float[np.ndarray, " 25"]) -> Float64[np.ndarray, "4 4"]:
    """The 4x4 matrix of a label.

    Raises:
        InputError: it is not a rigid one.
    """
    matrix = np.asarray(label[:16], np.float64).reshape(4, 4)
    rotation = matrix[:3, :3]
    if not np.allclose(rotation @ rotation.T, np.eye(3), atol=1e-3):
        raise InputError("camera label: its first 16 numbers are no camera-to-world matrix")
    return matrix


def yaw_pitch_of(label: Float[np.ndarray, " 25"]) -> tuple[float, float]:
    """Azimuth and height of a label's camera, radians, as :func:`side_label` takes them."""
    x, y, z = camera_to_world(label)[:3, 3]
    return float(np.arctan2(x, z)), float(np.arctan2(y, np.hypot(x, z)))


def mirrored_label(label: Float[np.ndarray, " 25"]) -> Float64[np.ndarray, " 25"]:
    """The label of the mirrored picture: the world and the picture are mirrored in x."""
    mirror = np.diag([-1.0, 1.0, 1.0, 1.0])
    matrix = mirror @ label[:16].reshape(4, 4) @ mirror
    return np.concatenate([matrix.ravel() + 0.0, label[16:]])  # + 0: no negative zeros


def project(
    label: Float[np.ndarray, " 25"], world: Float[np.ndarray, "N 3"], size: int
) -> Float64[np.ndarray, "N 2"]:
    """Pixels (the first one's centre is 0) of a square picture at which a label sees points."""
    matrix = np.asarray(label[:16], np.float64).reshape(4, 4)
    intrinsics = np.asarray(label[16:], np.float64).reshape(3, 3)
    seen = (world - matrix[:3, 3]) @ matrix[:3, :3] @ intrinsics.T
    return seen[:, :2] / seen[:, 2:] * size - 0.5
