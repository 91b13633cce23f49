"""The neutral pose that outputs are relative to, and the one face that outputs for a head follow.

Programs that move an avatar or a game's camera want a head that looks straight ahead at rest, and
one head only. What is changed here reaches such outputs only; published and recorded rows are as
the tracker made them.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
from jaxtyping import Float32, Float64

from ..models.errors import InputError
from ..models.face.names import BLENDSHAPE_MIRROR
from ..models.face.rotation import (
    matrix_from_quaternion,
    quaternion_conjugate,
    quaternion_multiply,
)
from .observation import FaceObservation

AXES: Final = ("x", "y", "z", "yaw", "pitch", "roll")
"""What can be inverted, each by itself."""

_MIRRORED_AXES: Final = frozenset({"x", "yaw", "roll"})
_MIRROR: Final = np.array(BLENDSHAPE_MIRROR)
_IDENTITY: Final = np.array([1.0, 0.0, 0.0, 0.0])
_GIMBAL: Final = 1e-9  # |cos pitch| below which yaw and roll turn about one axis


@dataclass(frozen=True)
class HeadPose:
    """Where a head is, seen from its neutral pose.

    The axes are those of the neutral head: x to the right of a picture that it looks straight out
    of (the subject's left), y down, z into the head (away from a camera in front of it).

    Attributes:
        quat_wxyz: (4,) float64 unit quaternion, w >= 0.
        translation_mm: (3,) float64, mm.
    """

    quat_wxyz: Float64[np.ndarray, " 4"]
    translation_mm: Float64[np.ndarray, " 3"]

    @cached_property
    def yaw_pitch_roll_deg(self) -> tuple[float, float, float]:
        """Angles of ``Ry(yaw) Rx(-pitch) Rz(roll)``, degrees; |pitch| <= 90.

        The turn about the vertical is outermost, as in games and avatars: yaw is where the nose
        points from side to side and pitch how far up. (The angles of a row have pitch outermost.)
        Signs are those of a row: yaw > 0 to the picture's left edge (the subject's right), pitch >
        0 up, roll > 0 clockwise in the picture (towards the subject's left shoulder).
        """
        R = matrix_from_quaternion(self.quat_wxyz).tolist()
        level = math.hypot(R[0][2], R[2][2])
        if level < _GIMBAL:
            yaw, roll = math.atan2(-R[2][0], R[0][0]), 0.0
        else:
            yaw, roll = math.atan2(R[0][2], R[2][2]), math.atan2(R[1][0], R[1][1])
        return math.degrees(yaw), math.degrees(math.atan2(R[1][2], level)), math.degrees(roll)

    @property
    def finite(self) -> bool:
        """Whether every number is."""
        return math.isfinite(float(self.quat_wxyz.sum()) + float(self.translation_mm.sum()))

    def inverted(self, axes: Iterable[str]) -> HeadPose:
        """With some of :data:`AXES` turned round."""
        axes = frozenset(axes)
        signs = np.array([-1.0 if axis in axes else 1.0 for axis in AXES[:3]])
        turned = axes & {"yaw", "pitch", "roll"}
        if not turned:
            quat_wxyz = self.quat_wxyz
        elif turned == _MIRRORED_AXES - {"x"}:
            quat_wxyz = self.quat_wxyz * np.array([1.0, 1.0, -1.0, -1.0])
        else:
            yaw, pitch, roll = (
                -angle if axis in turned else angle
                for axis, angle in zip(AXES[3:], self.yaw_pitch_roll_deg, strict=True)
            )
            quat_wxyz = quaternion_from_yaw_pitch_roll(yaw, pitch, roll)
        return HeadPose(quat_wxyz, self.translation_mm * signs)


def quaternion_from_yaw_pitch_roll(
    yaw_deg: float, pitch_deg: float, roll_deg: float
) -> Float64[np.ndarray, " 4"]:
    """(w, x, y, z) of ``Ry(yaw) Rx(-pitch) Rz(roll)``; see :attr:`HeadPose.yaw_pitch_roll_deg`."""

    def about(axis: int, angle_deg: float) -> np.ndarray:
        half = 0.5 * math.radians(angle_deg)
        quat = np.array([math.cos(half), 0.0, 0.0, 0.0])
        quat[1 + axis] = math.sin(half)
        return quat

    turned = quaternion_multiply(about(1, yaw_deg), about(0, -pitch_deg))
    return quaternion_multiply(turned, about(2, roll_deg))


class Neutral:
    """The neutral pose of one stream, shared by its outputs; safe to centre from any thread.

    Until :meth:`center` is called, a head is at rest when it faces along the camera's axes (the
    direction of a row's yaw, pitch and roll 0), at the place where it was first observed: nobody
    sits at the camera. After it, the pose then is at rest, and turns and shifts are along the axes
    of that head: a camera beside the screen does not make a nod look like a roll.

    Rows must come from one thread.
    """

    def __init__(self, *, mirror: bool = False, invert: Iterable[str] = ()) -> None:
        """Begin with nothing seen.

        Args:
            mirror: give everything as a mirror shows it: left and right of blendshapes change
                places; yaw, roll and x change their signs.
            invert: of :data:`AXES`, the ones to turn round, after mirroring.

        Raises:
            InputError: there is no such axis.
        """
        unknown = sorted(set(invert) - set(AXES))
        if unknown:
            raise InputError(f"invert: no axis {', '.join(unknown)}; there are {', '.join(AXES)}")
        self._mirror = mirror
        self._axes = frozenset(invert) ^ (_MIRRORED_AXES if mirror else frozenset())
        self._lock = threading.Lock()
        self._wanted = False
        self._inverse_wxyz: Float64[np.ndarray, " 4"] = _IDENTITY
        self._turn: Float64[np.ndarray, "3 3"] = np.eye(3)
        self._place_mm: Float64[np.ndarray, " 3"] | None = None
        self._last: tuple[FaceObservation, HeadPose] | None = None

    def center(self) -> None:
        """Take the next observed pose as the neutral one."""
        with self._lock:
            self._wanted = True

    def relative(self, row: FaceObservation) -> HeadPose:
        """The pose of a row relative to the neutral one, mirrored and inverted as was said.

        The same row again costs nothing, so that several outputs may ask.
        """
        with self._lock:
            if self._last is not None and self._last[0] is row:
                return self._last[1]
            quat_wxyz = np.array([row.qw, row.qx, row.qy, row.qz])
            place_mm = np.array([row.tx, row.ty, row.tz])
            usable = HeadPose(quat_wxyz, place_mm).finite and bool(quat_wxyz.any())
            if not usable:  # what is not finite stays so, for the outputs to leave out
                return HeadPose(quat_wxyz, np.full(3, np.nan))
            if self._wanted and row.observed:
                self._wanted = False
                self._inverse_wxyz = quaternion_conjugate(quat_wxyz)
                self._turn = matrix_from_quaternion(self._inverse_wxyz)
                self._place_mm = place_mm
            elif self._place_mm is None and row.observed:
                self._place_mm = place_mm
            origin_mm = place_mm if self._place_mm is None else self._place_mm
            pose = HeadPose(
                quaternion_multiply(self._inverse_wxyz, quat_wxyz),
                self._turn @ (place_mm - origin_mm),
            )
            pose = pose.inverted(self._axes) if self._axes else pose
            self._last = row, pose
            return pose

    def blendshapes(self, row: FaceObservation) -> Float32[np.ndarray, " 52"] | None:
        """A row's blendshapes in ARKit's order, clipped to 0..1, mirrored as was said.

        None where the row has none, or one that is no number.
        """
        if row.blendshapes is None or not np.isfinite(row.blendshapes).all():
            return None
        values = np.clip(row.blendshapes, 0.0, 1.0)
        return values[_MIRROR] if self._mirror else values


class PrimaryFace:
    """Which face the outputs for a single head follow.

    The lowest track number among the observed faces, kept until its track has ended (a gap that is
    bridged by predicted rows does not end it).
    """

    def __init__(self) -> None:
        self._track: int | None = None

    def choose(self, observations: Sequence[FaceObservation]) -> FaceObservation | None:
        """The row of that face in the next frame; None: there is none."""
        for row in observations:
            if row.track == self._track:
                return row
        seen = [row for row in observations if row.observed]
        chosen = min(seen, key=lambda row: row.track, default=None)
        self._track = None if chosen is None else chosen.track
        return chosen
