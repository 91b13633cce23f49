"""The rows of a source that has ended, smoothed by what came later too: two passes, no lag.

The first pass follows the faces as in a live stream; frame by frame, :class:`TwoPass` takes its
rows and the steps of its filters. Then it gives the frames again with the smoothed rows: the same
faces in the same frames. Only pose, variance, shape, expression and what follows from them differ.
"""

from __future__ import annotations

import tempfile
from array import array
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, Final

import numpy as np

from ..models.errors import OutputError
from ..models.face.camera import Camera
from ..models.face.perspective import PerspectivePose
from .fit import FaceFitter
from .frame import Frame
from .observation import FaceObservation
from .rows import row_of_state
from .smoother import FaceState, SmoothingConfig
from .smoother.offline import OfflineSmoother
from .smoother.smoother import FilterStep
from .track import relative_size_sd

_BLOCK: Final = 1024  # records read, written or made room for at a time
_MOST_OPEN: Final = 8  # tracks that are not smoothed yet; each holds a file and 2 MB
_NO_TIME: Final = np.iinfo(np.int64).min
_NS: Final = 1e-9

_FRAME: Final = np.dtype(
    [("index", "i8"), ("t_media_ns", "i8"), ("t_capture_ns", "i8"), ("rows", "u4")]
)
_ROW: Final = np.dtype(
    [
        ("track", "i4"),
        ("camera", "u4"),
        ("confidence", "f8"),  # NaN: the network has no word on that
        ("observed", "?"),
        ("variance_stated", "?"),
        ("has_blendshapes", "?"),
    ]
)
_STATE: Final = np.dtype(
    [
        ("quat_wxyz", "f8", 4),
        ("translation_mm", "f8", 3),
        ("pose_variance", "f4", 6),
        ("shape", "f4", 40),
        ("expression", "f4", 10),
        ("blendshapes", "f4", 52),
    ]
)
"""A smoothed state, as exactly as rows hold it."""


class TwoPass:
    """Keeps what a first pass found, and gives it again smoothed.

    In memory there are some 60 bytes a frame; all else is spooled to unnamed files, 4 kB a row.

    Args:
        fitter: of the tracker.
        smoothing: of the tracker, with its tuning.
        folder: for the files; None takes the system's folder for temporary files.

    Raises:
        OutputError: the files cannot be written; so in all methods.
    """

    def __init__(
        self, fitter: FaceFitter, smoothing: SmoothingConfig, folder: Path | None = None
    ) -> None:
        self._fitter = fitter
        self._smoothing = smoothing
        self._folder = folder
        self._size_sd = relative_size_sd(fitter, smoothing)
        self._frames = _Records(_FRAME)
        self._rows = _Records(_ROW)
        self._cameras: list[Camera] = []
        self._source = ""
        self._open: dict[int, _Track] = {}  # by number, the one that was seen last at the end
        with self._explained():
            self._states: IO[bytes] = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - see close

    def __enter__(self) -> TwoPass:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Give the room of the files back; may be called twice."""
        for track in self._open.values():
            track.smoother.close()
        self._open.clear()
        with suppress(OSError):  # of what was not written yet, and will not be read
            self._states.close()

    def add(
        self,
        frame: Frame,
        rows: Sequence[FaceObservation],
        steps: Sequence[FilterStep | None],
        camera: Camera | None,
    ) -> None:
        """Take the next frame; its pixels are not looked at.

        Args:
            frame: of the source, in order.
            rows: its faces by track number.
            steps: of the rows' filters; None leaves a row as it is.
            camera: that the rows' poses hold for; None will do where there are none.
        """
        self._source = frame.source
        at = self._frames.new()
        at["index"], at["rows"] = frame.index, len(rows)
        for name, t_ns in (("t_media_ns", frame.t_media_ns), ("t_capture_ns", frame.t_capture_ns)):
            at[name] = _NO_TIME if t_ns is None else t_ns
        if camera is not None and (not self._cameras or self._cameras[-1] != camera):
            self._cameras.append(camera)
        for row, step in zip(rows, steps, strict=True):
            self._take(row, step, frame.t_ns)
        while len(self._open) > max(_MOST_OPEN, len(rows)):
            self._smooth(next(iter(self._open)))

    def _take(self, row: FaceObservation, step: FilterStep | None, t_ns: int) -> None:
        number = len(self._rows)
        at = self._rows.new()
        at["track"], at["camera"], at["observed"] = row.track, len(self._cameras) - 1, row.observed
        at["confidence"] = np.nan if row.confidence is None else row.confidence
        at["variance_stated"] = row.pose_variance is not None
        at["has_blendshapes"] = row.blendshapes is not None
        if step is None:
            with self._explained():
                self._write_states(number, [_state_of_row(row)])
            return
        with self._explained():
            track = self._open.pop(row.track, None)
            if track is None:
                track = _Track(OfflineSmoother(self._smoothing, self._folder))
            else:
                # A filter that was begun anew does not know how long its face was away.
                step = replace(step, dt_s=max(0.0, (t_ns - track.t_ns) * _NS))
            self._open[row.track] = track
            track.smoother.add(step)
        track.rows.append(number)
        track.t_ns = t_ns

    def _smooth(self, number: int) -> None:
        """Smooth a track; if it should ever come back, that is as another one."""
        track = self._open[number]
        with self._explained():
            track.smoother.smooth()
            first, run = 0, list[FaceState]()
            for row, state in zip(track.rows, track.smoother.states(self._size_sd), strict=True):
                if run and (row != first + len(run) or len(run) == _BLOCK):
                    self._write_states(first, run)
                    run = []
                first = first if run else row
                run.append(state)
            self._write_states(first, run)
        del self._open[number]
        track.smoother.close()

    def frames(self) -> Iterator[tuple[Frame, list[FaceObservation]]]:
        """All frames in order, without their pixels (0, 0, 3), and their smoothed rows.

        Nothing can be added afterwards to the tracks that were smoothed.
        """
        for number in list(self._open):
            self._smooth(number)
        states = self._read_states()
        row = 0
        empty = np.zeros((0, 0, 3), np.uint8)
        for at in self._frames:
            times = (int(at["t_media_ns"]), int(at["t_capture_ns"]))
            t_media_ns, t_capture_ns = (None if t == _NO_TIME else t for t in times)
            frame = Frame(empty, int(at["index"]), t_media_ns, t_capture_ns, self._source)
            end = row + int(at["rows"])
            yield frame, [self._row(n, next(states), frame) for n in range(row, end)]
            row = end

    def _row(self, number: int, state: np.void, frame: Frame) -> FaceObservation:
        at = self._rows[number]
        face = FaceState(
            pose=PerspectivePose(state["quat_wxyz"], state["translation_mm"]),
            pose_variance=state["pose_variance"].astype(np.float64),
            shape=state["shape"].astype(np.float64),
            expression=state["expression"].astype(np.float64),
            blendshapes=state["blendshapes"].astype(np.float64) if at["has_blendshapes"] else None,
        )
        confidence = float(at["confidence"])
        return row_of_state(
            face,
            self._fitter.landmarks_px(face, self._cameras[int(at["camera"])]),
            frame=frame.index,
            t_media_ns=frame.t_media_ns,
            t_capture_ns=frame.t_capture_ns,
            track=int(at["track"]),
            observed=bool(at["observed"]),
            confidence=None if np.isnan(confidence) else confidence,
            variance_stated=bool(at["variance_stated"]),
        )

    def _write_states(self, first: int, states: Sequence[FaceState]) -> None:
        """The states of rows from ``first`` on."""
        records = np.zeros(len(states), _STATE)
        for at, state in zip(records, states, strict=True):
            at["quat_wxyz"], at["translation_mm"] = state.pose.quat_wxyz, state.pose.translation_mm
            at["pose_variance"], at["shape"] = state.pose_variance, state.shape
            at["expression"] = state.expression
            if state.blendshapes is not None:
                at["blendshapes"] = state.blendshapes
        self._states.seek(first * _STATE.itemsize)
        self._states.write(records.tobytes())

    def _read_states(self) -> Iterator[np.void]:
        for first in range(0, len(self._rows), _BLOCK):
            count = min(_BLOCK, len(self._rows) - first)
            with self._explained():
                self._states.seek(first * _STATE.itemsize)
                data = self._states.read(count * _STATE.itemsize)
            yield from np.frombuffer(data, _STATE)

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except OutputError:
            raise
        except OSError as error:
            raise OutputError(
                f"{self._folder or tempfile.gettempdir()}: no room for what the second pass needs: "
                f"{error.strerror or error}"
            ) from error


@dataclass
class _Track:
    """A track that is not smoothed yet: which rows it has, and when it was last seen."""

    smoother: OfflineSmoother
    rows: array[int] = field(default_factory=lambda: array("q"))
    t_ns: int = 0


class _Records:
    """Records that grow in number, compactly."""

    def __init__(self, kind: np.dtype) -> None:
        self._kind = kind
        self._blocks: list[np.ndarray] = []
        self._count = 0

    def new(self) -> np.void:
        """One more, to be filled in."""
        if self._count % _BLOCK == 0:
            self._blocks.append(np.zeros(_BLOCK, self._kind))
        self._count += 1
        return self[self._count - 1]

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, number: int) -> np.void:
        return self._blocks[number // _BLOCK][number % _BLOCK]

    def __iter__(self) -> Iterator[np.void]:
        return (self[number] for number in range(self._count))


def _state_of_row(row: FaceObservation) -> FaceState:
    """The state that a row was made of, in so far as rows hold it."""
    variance = np.zeros(6) if row.pose_variance is None else row.pose_variance.astype(np.float64)
    return FaceState(
        pose=PerspectivePose(
            np.array([row.qw, row.qx, row.qy, row.qz]), np.array([row.tx, row.ty, row.tz])
        ),
        pose_variance=variance,
        shape=row.shape.astype(np.float64),
        expression=row.expression.astype(np.float64),
        blendshapes=None if row.blendshapes is None else row.blendshapes.astype(np.float64),
    )
