"""Measurements of a face, for the tests of its filters."""

from __future__ import annotations

import numpy as np

from mien.models.face.perspective import PerspectivePose
from mien.models.face.rotation import quaternion_from_rotation_vector
from mien.stream.smoother import FaceMeasurement, PoseMeasurement
from mien.stream.smoother.pose import translation_from_view

NOISE = 0.01
"""Standard deviation of all that is measured, unless something else is said."""


def look(
    quat: np.ndarray,
    view: np.ndarray,
    variance: float = NOISE**2,
    expression: np.ndarray | None = None,
    blendshapes: np.ndarray | None = None,
) -> FaceMeasurement:
    """A face in one frame; ``view`` is direction and log z."""
    pose = PerspectivePose(quat, translation_from_view(view))
    return FaceMeasurement(
        PoseMeasurement(pose, np.full(6, variance)),
        np.zeros(10) if expression is None else expression, np.full(10, variance), blendshapes,
    )  # fmt: skip


def turned(x: float, y: float = 0.0, z: float = 0.0) -> np.ndarray:
    """Quaternion of a rotation vector, rad."""
    return quaternion_from_rotation_vector(np.array([x, y, z]))
