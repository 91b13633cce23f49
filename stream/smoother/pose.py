"""The rigid pose: a Kalman filter on the rotation's tangent space, direction and log distance."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from ...models.face.perspective import PerspectivePose
from ...models.face.rotation import (
    quaternion_conjugate,
    quaternion_from_rotation_vector,
    quaternion_multiply,
    rotation_vector_from_quaternion,
)
from .config import SmoothingConfig
from .process import process_noise, transition

_VELOCITY_SD = np.array([2.0, 2.0, 2.0, 0.5, 0.5, 0.5])  # at birth: rad/s, 1/s
_SMALLEST_VARIANCE = 1e-12


@dataclass(frozen=True)
class PoseMeasurement:
    """One frame's fitted pose.

    Attributes:
        pose: ``camera_from_head``.
        variance: (6,) of the left perturbation about camera x, y, z (rad^2), of the direction x/z
            and y/z, and of the logarithm of z.
    """

    pose: PerspectivePose
    variance: Float64[np.ndarray, " 6"]


class PoseFilter:
    """Error-state Kalman filter of a head's pose.

    The state is the six errors about a reference pose (left rotation vector in the camera frame,
    x/z, y/z, log z) and their six velocities. The reference takes up the rotation's error after
    every step, so that it stays small; the rotation goes on turning about the camera's axes.
    """

    def __init__(self, config: SmoothingConfig, first: PoseMeasurement) -> None:
        from filterpy.kalman import KalmanFilter

        self._config = config
        self._density = np.repeat(
            [config.rotation_process, config.direction_process, config.log_depth_process], [3, 2, 1]
        )
        self._filter = KalmanFilter(dim_x=12, dim_z=6)
        self._filter.H = np.eye(6, 12)
        self.reset(first)

    def reset(self, measured: PoseMeasurement) -> None:
        """Start anew from one measurement, at rest."""
        self._quat = measured.pose.quat_wxyz
        self._last_variance = measured.variance
        white = self._white(measured.variance)
        self._filter.x = np.zeros((12, 1))
        self._filter.x[3:6, 0] = _view_coordinates(measured.pose.translation_mm)
        self._filter.P = np.diag(np.concatenate([white, _VELOCITY_SD**2]))

    def predict(self, dt_s: float) -> None:
        """Move on by ``dt_s`` >= 0 seconds."""
        if dt_s > 0.0:
            self._filter.predict(F=transition(6, dt_s), Q=process_noise(self._density, dt_s))
            self._absorb_rotation()

    def coast(self, dt_s: float) -> None:
        """The frame just predicted showed no face: let the velocities die down."""
        decay = math.exp(-dt_s / self._config.coast_decay_s)
        self._filter.x[6:] *= decay

    def update(self, measured: PoseMeasurement) -> None:
        """Correct the state by a measurement at the time predicted to."""
        innovation = np.empty((6, 1))
        difference = quaternion_multiply(measured.pose.quat_wxyz, quaternion_conjugate(self._quat))
        innovation[:3, 0] = rotation_vector_from_quaternion(difference)
        innovation[3:, 0] = _view_coordinates(measured.pose.translation_mm)
        white = self._white(measured.variance)
        self._last_variance = measured.variance
        self._open_to_jumps(innovation[:, 0] - self._filter.x[:6, 0], white)
        self._filter.update(innovation, R=np.diag(white))
        self._absorb_rotation()

    @property
    def pose(self) -> PerspectivePose:
        """The present estimate."""
        x_over_z, y_over_z, log_z = self._filter.x[3:6, 0]
        z = math.exp(log_z)
        return PerspectivePose(self._quat, np.array([x_over_z * z, y_over_z * z, z]))

    @property
    def variance(self) -> Float64[np.ndarray, " 6"]:
        """Of rotation, direction and log z, as in :class:`PoseMeasurement`."""
        shared = self._config.correlated_share * self._last_variance
        return np.diagonal(self._filter.P)[:6] + shared

    @property
    def velocity(self) -> Float64[np.ndarray, " 6"]:
        """Of the rotation about the camera's axes (rad/s), direction and log z (1/s)."""
        return self._filter.x[6:, 0].copy()

    def _white(self, variance: Float64[np.ndarray, " 6"]) -> Float64[np.ndarray, " 6"]:
        """The part of a measurement's variance that is new in every frame."""
        return np.maximum(variance * (1.0 - self._config.correlated_share), _SMALLEST_VARIANCE)

    def _open_to_jumps(
        self, innovation: Float64[np.ndarray, " 6"], white: Float64[np.ndarray, " 6"]
    ) -> None:
        """Where the innovation is too large for its variance, widen the state's to explain it."""
        variance = np.diagonal(self._filter.P)[:6] + white
        missing = np.maximum(innovation**2 / self._config.gate - variance, 0.0)
        self._filter.P[range(6), range(6)] += missing

    def _absorb_rotation(self) -> None:
        step = quaternion_from_rotation_vector(self._filter.x[:3, 0])
        self._quat = quaternion_multiply(step, self._quat)
        self._filter.x[:3] = 0.0


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
    x, y, z = translation_mm
    direction = np.array([variance[3], variance[4], 0.0]) * z**2
    return direction + np.array([x, y, z]) ** 2 * (variance[5] + relative_size_sd**2)


def _view_coordinates(translation_mm: Float64[np.ndarray, " 3"]) -> Float64[np.ndarray, " 3"]:
    x, y, z = translation_mm
    return np.array([x / z, y / z, math.log(z)])
