"""A measured rigid pose, and the coordinates in which it is filtered."""

from __future__ import annotations

import math

import msgspec
import numpy as np
from jaxtyping import Float64

from ...models.face.perspective import PerspectivePose


class PoseMeasurement(msgspec.Struct, frozen=True, eq=False):
    """One frame's fitted pose.

    Attributes:
        pose: ``camera_from_head``.
        variance: (6,) as the network states it, of the left perturbation about camera x, y, z
            (rad^2), of the direction x/z and y/z, and of the logarithm of z.
    """

    pose: PerspectivePose
    variance: Float64[np.ndarray, " 6"]


class Displacement(msgspec.Struct, frozen=True, eq=False):
    """By how much a pose moved since the frame before, seen in the pictures themselves.

    Attributes:
        by: (6,) rotation vector about the camera's axes (rad; it leads from the old rotation to the
            new one), then the changes of x/z, y/z and log z.
        variance: (6,) of these.
    """

    by: Float64[np.ndarray, " 6"]
    variance: Float64[np.ndarray, " 6"]


def view_coordinates(translation_mm: Float64[np.ndarray, " 3"]) -> Float64[np.ndarray, " 3"]:
    """Direction x/z and y/z, and log z: their errors are those of the picture, at any distance."""
    x, y, z = translation_mm.tolist()
    return np.array([x / z, y / z, math.log(z)])


def translation_from_view(view: Float64[np.ndarray, " 3"]) -> Float64[np.ndarray, " 3"]:
    """The inverse of :func:`view_coordinates`, mm."""
    x_over_z, y_over_z, log_z = view.tolist()
    z = math.exp(log_z)
    return np.array([x_over_z * z, y_over_z * z, z])


def translation_variance(
    translation_mm: Float64[np.ndarray, " 3"],
    variance: Float64[np.ndarray, " 6"],
    relative_size_sd: float,
) -> Float64[np.ndarray, " 3"]:
    """Variance of tx, ty, tz (mm^2) from that of direction and log z, and of the head's size.

    Args:
        translation_mm: the position.
        variance: as in :class:`PoseMeasurement`.
        relative_size_sd: standard deviation of the true head's size over the assumed one's; the
            whole position scales with it.
    """
    x, y, z = translation_mm.tolist()
    scaled = variance[5] + relative_size_sd**2
    return np.array(
        [variance[3] * z * z + x * x * scaled, variance[4] * z * z + y * y * scaled, z * z * scaled]
    )
