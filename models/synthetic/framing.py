"""Where a head stands before the camera, and the camera that crops it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from ..face.camera import Camera
from ..face.rotation import (
    matrix_from_rotation_vector,
    matrix_from_yaw_pitch_roll,
    rotation_between,
    rotation_vector_from_matrix,
)

SIZE = 144
"""Side of a training picture; the nominal 120-pixel crop is its middle."""
_CROP = 120
_FURTHEST_NECK_RAD = np.radians(60)


@dataclass(frozen=True)
class Pose:
    """Where a head is: ``x -> rotation x + translation`` from head frame to camera frame, mm."""

    rotation: Float64[np.ndarray, "3 3"]
    translation: Float64[np.ndarray, " 3"]


def sample_pose(rng: np.random.Generator) -> Pose:
    """All of +-95 degrees of yaw and +-45 of pitch, more in front; 35 cm to 3 m; a wide view."""
    kind = rng.random()
    if kind < 0.42:
        yaw = rng.normal(0, 27)
    elif kind < 0.8:
        yaw = rng.uniform(-95, 95)
    else:
        yaw = rng.choice((-1.0, 1.0)) * rng.uniform(55, 98)
    pitch = rng.normal(0, 14) if rng.random() < 0.6 else rng.uniform(-48, 48)
    roll = rng.normal(0, 11) if rng.random() < 0.9 else rng.uniform(-60, 60)
    off_axis = np.clip(rng.normal(0, 10, 2), -28, 28)
    ray = np.array([*np.tan(np.radians(off_axis)), 1.0])
    ray /= np.linalg.norm(ray)
    distance = float(np.exp(rng.uniform(np.log(350), np.log(3000))))
    turned = rotation_between(np.array([0.0, 0.0, 1.0]), ray)
    rotation = turned @ matrix_from_yaw_pitch_roll(np.array([yaw, pitch, roll]))
    return Pose(rotation, ray * distance)


def crop_camera(landmarks_camera: Float64[np.ndarray, "68 3"], size: int) -> Camera:
    """The camera whose picture is the nominal crop of these landmarks, with its margin."""
    flat = landmarks_camera[:, :2] / landmarks_camera[:, 2:]
    low, high = flat.min(0), flat.max(0)
    focal = size * _CROP / SIZE / (1.414 * float((high - low).max()))
    centre = (size - 1) / 2 - focal * (low + high) / 2
    return Camera(focal, focal, float(centre[0]), float(centre[1]), size, size)


def sample_body(pose: Pose, rng: np.random.Generator) -> Float64[np.ndarray, "3 3"]:
    """How the shoulders stand: they follow the head's turn in part, to 60 degrees of neck."""
    turn = rotation_vector_from_matrix(pose.rotation)
    angle = float(np.linalg.norm(turn))
    least = max(0.0, 1 - _FURTHEST_NECK_RAD / max(angle, 1e-6))
    return matrix_from_rotation_vector(turn * rng.uniform(least, 1.0))
