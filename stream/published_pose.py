"""The pose that a row publishes, ``camera_from_head``, as geometry rather than as columns."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float64

from ..models.face.perspective import PerspectivePose
from ..models.face.rotation import normalize_quaternion
from .observation import FaceObservation


def pose_of(row: FaceObservation) -> PerspectivePose:
    """The published ``camera_from_head``.

    Raises:
        InputError: its quaternion is zero or not finite.
    """
    quat = normalize_quaternion(np.array([row.qw, row.qx, row.qy, row.qz]))
    return PerspectivePose(quat, np.array([row.tx, row.ty, row.tz], dtype=np.float64))


def camera_from_head_matrix(pose: PerspectivePose) -> Float64[np.ndarray, "4 4"]:
    """The pose as a 4x4 matrix, mm."""
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = pose.rotation, pose.translation_mm
    return matrix


def camera_from_head_of(row: FaceObservation) -> Float64[np.ndarray, "4 4"]:
    """The published ``camera_from_head`` as a 4x4 matrix, mm.

    Raises:
        InputError: see :func:`pose_of`.
    """
    return camera_from_head_matrix(pose_of(row))
