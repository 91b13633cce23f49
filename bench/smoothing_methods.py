"""Ways to smooth a recorded video: mien's own filters, and what they are measured against.

A method takes a :class:`Measured` video and returns a :class:`FaceState` a frame. All but mien's
own and ``raw`` smooth the same measured poses, fitted with the same filtered shape (that of mien's
default settings), so that they differ in nothing but the smoothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

import msgspec
import numpy as np

from mien.models.face.perspective import PerspectivePose
from mien.models.face.rotation import (
    quaternion_conjugate,
    quaternion_from_rotation_vector,
    quaternion_multiply,
    rotation_vector_from_quaternion,
)
from mien.stream.candidate import Candidate
from mien.stream.fit import FaceFitter
from mien.stream.smoother import PRESETS, FaceMeasurement, FaceSmoother, FaceState, SmoothingConfig
from mien.stream.smoother.offline import OfflineSmoother
from mien.tools.tune_smoother.recorded_film import RecordedVideo, follow

LONGEST_GAP_S = 0.5
"""A face unseen for longer begins anew, as in the tracker."""
WIDTHS = (3, 2, 1, 10, 52)
"""Channels of rotation (rad, about the camera's axes), direction (x/z, y/z), log z, expression and
blendshapes; in this order everywhere below."""
NATURAL_SPEED = np.repeat([1.0, 0.2, 0.2, 10.0, 3.0], WIDTHS)
"""Of a lively motion: rad/s, 1/s, 1/s, sd/s, 1/s. One Euro's beta is in Hz per this speed, so that
one grid fits all groups: in each group's own units it is beta / speed."""
NATURAL_SIZE_SPEED = 1.0
"""The same of landmarks, box sizes a second."""
HAND_CHOSEN_SD = (math.radians(1.5), 0.003, 0.015, 0.5, 0.05)
"""Of a measurement, group by group: the constant noise of the plain Kalman filter."""
HAND_CHOSEN_DENSITY = (5.0, 0.05, 0.1, 2000.0, 100.0)
"""Of its process noise, unit^2/s^3; all are swept together by a factor."""

States = list[FaceState | None]
Method = Callable[["Measured"], States]


@dataclass(frozen=True)
class Measured:
    """A video with one measurement a frame, the same for all methods that are compared.

    Attributes:
        video: the recording.
        fitter: that made it.
        measured: fitted with the filtered shape; None where there is no face.
        shapes: (T, 40) filtered.
    """

    video: RecordedVideo
    fitter: FaceFitter
    measured: list[FaceMeasurement | None]
    shapes: np.ndarray

    @classmethod
    def of(cls, video: RecordedVideo, fitter: FaceFitter, config: SmoothingConfig) -> Measured:
        """With shape and pose filtered as these settings say.

        Displacements are measured here, from the poses of these settings.
        """
        return cls(video, fitter, *follow(video, fitter, config))

    @property
    def seen(self) -> np.ndarray:
        """(T,) whether the frame shows a face."""
        return np.array([one is not None for one in self.measured], bool)


def take_shape(smoother: FaceSmoother, candidate: Candidate) -> np.ndarray:
    """(40,) the filtered shape, with this frame's in it."""
    return smoother.update_shape(candidate.shape, candidate.shape_variance, candidate.conditions)


def _followed(measured: Measured, config: SmoothingConfig) -> Iterator[FaceSmoother]:
    """mien's smoother after every frame, driven as a track drives it; another one begins anew."""
    smoother, unseen_s = FaceSmoother(config), 0.0
    video = measured.video
    for candidate, before, dt_s in zip(
        video.candidates, measured.measured, video.steps_s, strict=True
    ):
        unseen_s += dt_s
        if unseen_s > LONGEST_GAP_S:
            smoother, unseen_s = FaceSmoother(config), 0.0
        smoother.predict(dt_s)
        taken = None
        if candidate is not None:
            shape = take_shape(smoother, candidate)
            taken = measured.fitter.measure(candidate, shape, video.camera)
            if taken is not None and before is not None:
                taken = msgspec.structs.replace(taken, displacement=before.displacement)
        if taken is None:
            smoother.miss()
        else:
            smoother.update(taken)
            unseen_s = 0.0
        yield smoother


def ours(config: SmoothingConfig) -> Method:
    """mien's causal smoother."""

    def smooth(measured: Measured) -> States:
        return [one.state(config.head_scale_sd) for one in _followed(measured, config)]

    return smooth


raw: Method = ours(PRESETS["raw"])
"""What the network says, frame by frame."""


def offline(config: SmoothingConfig) -> Method:
    """mien's smoother that sees the whole video."""

    def smooth(measured: Measured) -> States:
        passes: dict[FaceSmoother, OfflineSmoother] = {}
        followed = []
        for one in _followed(measured, config):
            begun = one.state(config.head_scale_sd) is not None
            if begun and one not in passes:
                passes[one] = OfflineSmoother(config)
            if begun:
                passes[one].add(one.step())
            followed.append(one if begun else None)
        states = {}
        for one, its_pass in passes.items():
            its_pass.smooth()
            states[one] = iter(list(its_pass.states(config.head_scale_sd)))
            its_pass.close()
        return [None if one is None else next(states[one]) for one in followed]

    return smooth


class Correction(Protocol):
    """A filter of C channels seen from its own estimate: it moves on, and answers innovations."""

    def predict(self, dt_s: float) -> np.ndarray:
        """By how much the estimate moves on by itself, (C,)."""
        ...

    def correct(self, innovation: np.ndarray, dt_s: float) -> np.ndarray:
        """By how much it moves, (C,), ``dt_s`` after the last correction."""
        ...


class OneEuro:
    """Casiez et al. 2012: a low pass whose cutoff grows with the speed, channel by channel.

    Args:
        min_cutoff: Hz.
        beta: Hz per ``natural_speed``.
        natural_speed: (C,).
        d_cutoff: of the speed's own low pass, Hz.
    """

    def __init__(
        self,
        min_cutoff: float,
        beta: float,
        natural_speed: np.ndarray | float = NATURAL_SPEED,
        d_cutoff: float = 1.0,
    ) -> None:
        self._min_cutoff, self._d_cutoff = min_cutoff, d_cutoff
        self._beta = np.asarray(beta / natural_speed)
        self._speed: np.ndarray | float = 0.0

    def predict(self, dt_s: float) -> np.ndarray:
        return np.zeros(sum(WIDTHS))

    def correct(self, innovation: np.ndarray, dt_s: float) -> np.ndarray:
        dt_s = max(dt_s, 1e-6)
        # The paper's difference is against the filtered value of the frame before.
        self._speed = self._speed + _alpha(self._d_cutoff, dt_s) * (innovation / dt_s - self._speed)
        beta = self._beta if np.ndim(self._beta) == 0 else self._beta[: len(innovation)]
        cutoff = self._min_cutoff + beta * np.abs(self._speed)
        return _alpha(cutoff, dt_s) * innovation


def _alpha(cutoff_hz: np.ndarray | float, dt_s: float) -> np.ndarray:
    return 1.0 / (1.0 + 1.0 / (2.0 * np.pi * np.asarray(cutoff_hz) * dt_s))


class ConstantVelocity:
    """A plain Kalman filter a channel, with constant noise; one gain serves a group of channels.

    Args:
        factor: what :data:`HAND_CHOSEN_DENSITY` is multiplied with.
    """

    def __init__(self, factor: float) -> None:
        from filterpy.kalman import KalmanFilter

        self._filters: list[KalmanFilter] = []
        self._densities = [factor * density for density in HAND_CHOSEN_DENSITY]
        for sd in HAND_CHOSEN_SD:
            one = KalmanFilter(dim_x=2, dim_z=1)
            one.H = np.array([[1.0, 0.0]])
            one.R = np.array([[sd**2]])
            one.P = np.diag([sd**2, (20.0 * sd) ** 2])
            self._filters.append(one)
        self._velocity = np.zeros(sum(WIDTHS))

    def predict(self, dt_s: float) -> np.ndarray:
        F = np.array([[1.0, dt_s], [0.0, 1.0]])
        shape = np.array([[dt_s**3 / 3.0, dt_s**2 / 2.0], [dt_s**2 / 2.0, dt_s]])
        for one, density in zip(self._filters, self._densities, strict=True):
            one.predict(F=F, Q=density * shape)
        return self._velocity * dt_s

    def correct(self, innovation: np.ndarray, dt_s: float) -> np.ndarray:
        for one in self._filters:
            one.update(0.0)
        n = len(innovation)  # fewer where the network has no blendshapes
        gains = np.array([one.K[:, 0] for one in self._filters])
        place, velocity = np.repeat(gains, WIDTHS, axis=0)[:n].T
        self._velocity = self._velocity[:n] + velocity * innovation
        return place * innovation


@dataclass
class _Head:
    """Where a filter believes the face to be: quaternion, and all channels after the rotation."""

    quat: np.ndarray
    values: np.ndarray

    @classmethod
    def of(cls, measured: FaceMeasurement) -> _Head:
        x, y, z = measured.pose.pose.translation_mm
        place = [x / z, y / z, math.log(z)]
        blendshapes = measured.blendshapes if measured.blendshapes is not None else np.empty(0)
        values = np.concatenate([place, measured.expression, blendshapes])
        return cls(measured.pose.pose.quat_wxyz, values)

    def towards(self, other: _Head) -> np.ndarray:
        """(C,) what leads to another one."""
        turn = quaternion_multiply(other.quat, quaternion_conjugate(self.quat))
        return np.concatenate([rotation_vector_from_quaternion(turn), other.values - self.values])

    def moved(self, by: np.ndarray) -> _Head:
        turn = quaternion_from_rotation_vector(by[:3])
        return _Head(quaternion_multiply(turn, self.quat), self.values + by[3:])

    def state(self, shape: np.ndarray) -> FaceState:
        x, y, log_z = self.values[:3]
        z = math.exp(log_z)
        blendshapes = self.values[13:]
        return FaceState(
            pose=PerspectivePose(self.quat, np.array([x * z, y * z, z])),
            pose_variance=np.full(6, np.nan),
            shape=shape,
            expression=self.values[3:13],
            blendshapes=np.clip(blendshapes, 0.0, 1.0) if len(blendshapes) else None,
        )


def causal(make: Callable[[], Correction]) -> Method:
    """A filter of all channels that sees nothing to come; a face that is not seen stands still."""

    def smooth(measured: Measured) -> States:
        states: States = []
        head, correction, unseen_s = None, make(), 0.0
        for taken, shape, dt_s in zip(
            measured.measured, measured.shapes, measured.video.steps_s, strict=True
        ):
            unseen_s += dt_s
            if head is not None and unseen_s > LONGEST_GAP_S:
                head, correction = None, make()
            if taken is not None:
                if head is None:
                    head = _Head.of(taken)
                else:
                    by = correction.predict(unseen_s)[: 3 + len(head.values)]
                    head = head.moved(by)
                    head = head.moved(correction.correct(head.towards(_Head.of(taken)), unseen_s))
                unseen_s = 0.0
            states.append(None if head is None else head.state(shape))
        return states

    return smooth


def one_euro(min_cutoff: float, beta: float) -> Method:
    """See :class:`OneEuro`: rotation in the tangent space, everything else as it is."""
    return causal(lambda: OneEuro(min_cutoff, beta))


def plain_kalman(factor: float) -> Method:
    """See :class:`ConstantVelocity`."""
    return causal(lambda: ConstantVelocity(factor))


def moving_average(ahead: int) -> Method:
    """The mean of so many frames before and after, as 3DDFA_V2's ``demo_video_smooth`` takes it.

    It smooths parameters where that script smooths vertices; it waits for ``ahead`` frames.
    """

    def smooth(measured: Measured) -> States:
        heads = [None if one is None else _Head.of(one) for one in measured.measured]
        states: States = []
        for k, head in enumerate(heads):
            if head is None:
                states.append(None)
                continue
            window = heads[max(0, k - ahead) : k + ahead + 1]
            mean = np.mean([head.towards(other) for other in window if other is not None], axis=0)
            states.append(head.moved(mean).state(measured.shapes[k]))
        return states

    return smooth


def one_euro_on_pixels(
    landmarks: np.ndarray, measured: Measured, min_cutoff: float, beta: float
) -> np.ndarray:
    """One Euro on each coordinate of the landmarks instead, as it is often used.

    Args:
        landmarks: (T, 68, 2) unsmoothed; frames without a face hold anything.
        measured: the video that they are of.
        min_cutoff: Hz.
        beta: Hz per box size a second.
    """
    found = landmarks.copy()
    estimate, one, unseen_s = None, None, 0.0
    for k, (seen, dt_s) in enumerate(zip(measured.seen, measured.video.steps_s, strict=True)):
        unseen_s += dt_s
        if not seen:
            continue
        if estimate is None or one is None or unseen_s > LONGEST_GAP_S:
            extent = np.ptp(landmarks[k], axis=0)
            size = NATURAL_SIZE_SPEED * float(np.sqrt(extent.prod()))
            estimate, one = landmarks[k], OneEuro(min_cutoff, beta, size)
        else:
            estimate = estimate + one.correct(landmarks[k] - estimate, unseen_s)
        found[k] = estimate
        unseen_s = 0.0
    return found
