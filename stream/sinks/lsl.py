"""Lab Streaming Layer: a stream of numbers, and one of markers, for LabRecorder and the like.

Needs ``pylsl``.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

from ...models.errors import InputError, OutputError, how_to_install
from ...models.face.names import BLENDSHAPE_NAMES
from ..frame import Frame
from ..neutral import PrimaryFace
from ..observation import FaceObservation
from .base import Recording

FOUND: Final = "face found"
LOST: Final = "face lost"

_SCALARS: Final[tuple[tuple[str, str, str], ...]] = (
    ("confidence", "probability", "Confidence"),
    ("x", "millimeters", "PositionX"),
    ("y", "millimeters", "PositionY"),
    ("z", "millimeters", "PositionZ"),
    ("qw", "normalized", "OrientationW"),
    ("qx", "normalized", "OrientationX"),
    ("qy", "normalized", "OrientationY"),
    ("qz", "normalized", "OrientationZ"),
    ("yaw", "degrees", "OrientationYaw"),
    ("pitch", "degrees", "OrientationPitch"),
    ("roll", "degrees", "OrientationRoll"),
)
_VARIANCES: Final = tuple(
    (f"variance_{name}", unit, "Variance")
    for names, unit in ((("rx", "ry", "rz"), "radians^2"), (("x", "y", "z"), "millimeters^2"))
    for name in names
)
CHANNELS: Final[tuple[tuple[str, str, str], ...]] = (
    ("observed", "boolean", "Status"),
    ("track", "number", "Status"),
    *_SCALARS,
    *_VARIANCES,
    *((name, "normalized", "Blendshape") for name in BLENDSHAPE_NAMES),
)
"""Label, unit and type of each channel, in order."""

_FIELDS: Final = (
    "confidence", "tx", "ty", "tz", "qw", "qx", "qy", "qz", "yaw", "pitch", "roll"
)  # fmt: skip
_NAN: Final = math.nan
_KEPT: Final = 60
"""Hundreds of samples that are kept for a recorder that falls behind."""


def _pylsl() -> Any:
    try:
        import pylsl
    except ImportError as error:
        raise InputError(f"--lsl needs pylsl: {how_to_install('lsl')}") from error
    except RuntimeError as error:  # the wheel for this platform comes without the library
        raise InputError("--lsl needs the library liblsl, which pylsl did not find here") from error
    return pylsl


class LslSink:
    """Two outlets: ``mien-<stream>`` (float32, irregular rate) and ``mien-<stream>-markers``.

    A sample a frame, of the primary face as it is published: the camera's frame, millimetres,
    absolute, not mirrored (:data:`CHANNELS`). ``observed`` is 1 where the face was seen, 0 where it
    is predicted, and 0 with NaN in all other channels where there is none. Markers say
    :data:`FOUND` and :data:`LOST`; a gap that predictions bridge is no loss. Time stamps are times
    of capture on ``local_clock``; of a file without them, its own time from when it began.
    """

    def __init__(
        self,
        recording: Recording,
        stream: str = "main",
        *,
        clock: Callable[[], int] = time.perf_counter_ns,
    ) -> None:
        """Open the outlets.

        Args:
            recording: what the description says about the source.
            stream: name of the stream.
            clock: nanoseconds, that of the frames' times of capture.

        Raises:
            InputError: pylsl is not installed.
            OutputError: an outlet cannot be opened.
        """
        lsl = _pylsl()
        self._local_clock: Callable[[], float] = lsl.local_clock
        self._offset_s = _offset_s(clock, lsl.local_clock)
        self._primary = PrimaryFace()
        self._present: bool = False
        self._begin: tuple[int, float] | None = None
        name = f"mien-{stream}"
        try:
            info = lsl.StreamInfo(
                name, "Face", len(CHANNELS), lsl.IRREGULAR_RATE, lsl.cf_float32, f"{name}-numbers"
            )
            _describe(info.desc(), recording)
            marks = lsl.StreamInfo(
                f"{name}-markers", "Markers", 1, lsl.IRREGULAR_RATE, lsl.cf_string, f"{name}-marks"
            )
            self._outlets: tuple[Any, Any] | None = (
                lsl.StreamOutlet(info, max_buffered=_KEPT),
                lsl.StreamOutlet(marks),
            )
        except RuntimeError as error:
            raise OutputError(f"--lsl: cannot open the outlet {name}: {error}") from error

    def write(self, frame: Frame, observations: Sequence[FaceObservation]) -> None:
        """See :class:`~mien.stream.sinks.base.Sink`."""
        if self._outlets is None:
            raise OutputError("--lsl: is closed, nothing more can be sent")
        numbers, marks = self._outlets
        row = self._primary.choose(observations)
        time_s = self._time_s(frame)
        try:
            numbers.push_sample(_sample(row), time_s)
            if (row is not None) != self._present:
                self._present = row is not None
                marks.push_sample([FOUND if self._present else LOST], time_s)
        except (RuntimeError, ValueError) as error:  # as pylsl says whatever liblsl refuses
            raise OutputError(f"--lsl: cannot send: {error}") from error

    def close(self) -> None:
        """See :class:`~mien.stream.sinks.base.Sink`."""
        self._outlets = None  # the outlets close with their last reference

    def abort(self) -> None:
        """See :class:`~mien.stream.sinks.base.Sink`."""
        self.close()

    def __enter__(self) -> LslSink:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _time_s(self, frame: Frame) -> float:
        if frame.t_capture_ns is not None:
            return 1e-9 * frame.t_capture_ns + self._offset_s
        if frame.t_media_ns is None:
            return self._local_clock()
        if self._begin is None:
            self._begin = frame.t_media_ns, self._local_clock()
        return self._begin[1] + 1e-9 * (frame.t_media_ns - self._begin[0])


def _sample(row: FaceObservation | None) -> list[float]:
    if row is None:
        return [0.0] + [_NAN] * (len(CHANNELS) - 1)
    sample = [float(row.observed), float(row.track)]
    for field in _FIELDS:
        value = getattr(row, field)
        sample.append(_NAN if value is None else value)
    for values, count in ((row.pose_variance, 6), (row.blendshapes, len(BLENDSHAPE_NAMES))):
        sample += [_NAN] * count if values is None else values.tolist()
    return sample


def _offset_s(clock: Callable[[], int], local_clock: Callable[[], float]) -> float:
    """What to add to a time of one clock for that of the other, by the tightest of some pairs."""
    pairs = []
    for _ in range(9):
        before_ns = clock()
        local_s = local_clock()
        after_ns = clock()
        pairs.append((after_ns - before_ns, local_s - 0.5e-9 * (before_ns + after_ns)))
    return min(pairs)[1]


def _describe(description: Any, recording: Recording) -> None:
    """Channels as XDF's metadata names them, and where the poses come from."""
    channels = description.append_child("channels")
    for label, unit, kind in CHANNELS:
        channel = channels.append_child("channel")
        channel.append_child_value("label", label)
        channel.append_child_value("unit", unit)
        channel.append_child_value("type", kind)
    setup = description.append_child("setup")
    setup.append_child_value("name", recording.source)
    setup.append_child_value("width", str(recording.width))
    setup.append_child_value("height", str(recording.height))
    setup.append_child_value("coordinate_system", "camera: x right, y down, z forward")
    if recording.camera_matrix is not None:
        rows = "; ".join(" ".join(f"{one:g}" for one in row) for row in recording.camera_matrix)
        setup.append_child_value("camera_matrix", rows)
    acquisition = description.append_child("acquisition")
    acquisition.append_child_value("manufacturer", "mien")
    acquisition.append_child_value("model", recording.bundle_hash)
