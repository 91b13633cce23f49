"""A recording in the CSV format of the Live Link Face app, for Unreal and what imports the same."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from typing import Final

from ...models.errors import InputError
from ...models.face.names import BLENDSHAPE_INDEX
from ..frame import Frame
from ..gaze import eye_angles
from ..neutral import Neutral, PrimaryFace
from ..observation import FaceObservation
from .lines import LineSink
from .spellings import LIVE_LINK_ORDER

_ANGLES: Final = tuple(
    f"{what}{angle}"
    for what in ("Head", "LeftEye", "RightEye")
    for angle in ("Yaw", "Pitch", "Roll")
)
LIVE_LINK_HEADER: Final = ("Timecode", "BlendShapeCount", *LIVE_LINK_ORDER, *_ANGLES)
"""The columns, as the app writes them."""

_COUNT: Final = len(LIVE_LINK_HEADER) - 2
_ORDER: Final = [BLENDSHAPE_INDEX[name[0].lower() + name[1:]] for name in LIVE_LINK_ORDER]
# Unreal's importer knows 30 and 60 frames a second, and takes 60 where a timecode has a frame
# number above 30; so frames are always counted at 60, whatever the source's rate is.
_RATE: Final = 60


class LiveLinkSink(LineSink):
    """Writes the primary face, one row a frame.

    The timecode is ``hh:mm:ss:ff.fff`` since the first row, ff being sixtieths of a second. Curves
    are 0 to 1. Head angles are radians relative to the neutral pose, as an Unreal rotator turns a
    head (yaw > 0 to the subject's right, pitch > 0 up, roll > 0 to the right shoulder); eyes follow
    from the ``eyeLook`` curves. A frame without the face has no row: importers refuse rows of
    another length.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        neutral: Neutral | None = None,
        *,
        salvage: bool = False,
    ) -> None:
        """Begin the file.

        Args:
            path: its final name.
            neutral: what poses are relative to; its own where not given.
            salvage: keep what was written before a failure.

        Raises:
            OutputError: the place cannot be written to.
        """
        super().__init__(path, head=_line(LIVE_LINK_HEADER), salvage=salvage)
        self._neutral = Neutral() if neutral is None else neutral
        self._primary = PrimaryFace()
        self._t_ns = 0
        self._begin_ns: int | None = None

    def _write(self, frame: Frame, observations: Sequence[FaceObservation]) -> None:
        self._t_ns = frame.t_ns
        self._append(self._lines(observations))  # of none as well: a face may be lost

    def _lines(self, observations: Sequence[FaceObservation]) -> bytes:
        row = self._primary.choose(observations)
        if row is None:
            return b""
        values = self._neutral.blendshapes(row)
        if values is None:
            raise InputError("--livelink needs blendshapes; this model bundle has none")
        pose = self._neutral.relative(row)
        if not pose.finite:
            return b""
        self._begin_ns = self._t_ns if self._begin_ns is None else self._begin_ns
        yaw, pitch, roll = pose.yaw_pitch_roll_deg
        left, right = eye_angles(values)
        degrees = (yaw, pitch, -roll, left.right, left.up, 0.0, right.right, right.up, 0.0)
        numbers = [*values[_ORDER].tolist(), *map(math.radians, degrees)]
        since_ns = self._t_ns - self._begin_ns
        return _line((_timecode(since_ns), str(_COUNT), *(f"{one:.8f}" for one in numbers)))


def _line(cells: Sequence[str]) -> bytes:
    return f"{','.join(cells)}\n".encode("ascii")


def _timecode(since_ns: int) -> str:
    """Time as ``hh:mm:ss:ff.fff``; a clock that jumps back reads as 0."""
    ticks = max(0, round(since_ns * _RATE / 1_000_000))  # thousandths of a frame
    seconds, ticks = divmod(ticks, _RATE * 1000)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02}:{minutes:02}:{seconds:02}:{ticks // 1000:02}.{ticks % 1000:03}"
