"""Rerun: poses, points and curves, to a file or to a running viewer.

Needs ``rerun-sdk``, whose names change between minor versions: nothing else imports it.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from ...models.errors import InputError, OutputError, how_to_install
from ...models.face.morphable import FaceModel
from ...models.face.names import BLENDSHAPE_NAMES
from ..frame import Frame
from ..observation import FaceObservation
from .base import Recording
from .partial import PartialFile

DEFAULT_ADDRESS: Final = ("127.0.0.1", 9876)
"""Where a viewer listens."""

_AXIS_MM: Final = 70.0
_POINT_PX: Final = 1.5
_POINT_MM: Final = 1.0
_SEEN: Final = (90, 235, 190)
_PREDICTED: Final = (170, 170, 170)
_ANSWER_S: Final = 2.0
_FLUSH_S: Final = 2.0
"""How long a viewer has, twice, to take what is held back at the end."""
_CURVES: Final = {
    "angles": ("yaw (deg)", "pitch (deg)", "roll (deg)"),
    "place": ("x (mm)", "y (mm)", "z (mm)"),
    "blendshapes": BLENDSHAPE_NAMES,
}


class RerunSink:
    """Logs every face as it is published: the camera's frame, millimetres, not mirrored.

    Entities: ``camera`` (pinhole), ``camera/face_N`` (68 points, px), ``face_N`` (transform of the
    head, with axes), ``face_N/landmarks`` (68 points in the head frame, where the face model is
    given), ``angles/face_N``, ``place/face_N`` and ``blendshapes/face_N`` (curves). Timelines:
    ``frame`` and ``time``, since the first frame. What is predicted is grey; a face that is gone is
    cleared.
    """

    def __init__(
        self,
        target: Path | tuple[str, int],
        recording: Recording,
        stream: str = "main",
        *,
        face_model: FaceModel | None = None,
    ) -> None:
        """Begin a file, or connect to a viewer.

        Args:
            target: an ``.rrd`` file, or host and port of a viewer.
            recording: what is known of the source.
            stream: name of the recording.
            face_model: what the coefficients belong to.

        Raises:
            InputError: rerun-sdk is not installed.
            OutputError: the file cannot be written, or no viewer answers.
        """
        try:
            import rerun
        except ImportError as error:
            raise InputError(f"--rerun needs rerun-sdk: {how_to_install('rerun')}") from error
        self._rerun: Any = rerun
        self._landmarks = None if face_model is None else face_model.landmarks()
        self._file: PartialFile | None = None
        self._tracks: set[int] = set()
        self._named: set[int] = set()
        self._begin_ns: int | None = None
        self._open = True
        if not isinstance(target, Path):
            _answers(target)
        self._log: Any = self._rerun.RecordingStream("mien")
        self._log.send_recording_name(stream)
        if isinstance(target, Path):
            self._file = PartialFile(target)
            self._log.save(self._file.path)
        else:
            host, port = target
            host = f"[{host}]" if ":" in host else host
            self._log.connect_grpc(f"rerun+http://{host}:{port}/proxy")
        self._describe(recording)

    def write(self, frame: Frame, observations: Sequence[FaceObservation]) -> None:
        """See :class:`~mien.stream.sinks.base.Sink`."""
        if not self._open:
            raise OutputError("--rerun: is closed, nothing more can be written")
        self._begin_ns = frame.t_ns if self._begin_ns is None else self._begin_ns
        since = np.timedelta64(frame.t_ns - self._begin_ns, "ns")
        self._log.set_time("frame", sequence=frame.index)
        self._log.set_time("time", duration=since)
        present = {row.track for row in observations}
        for track in sorted(self._tracks - present):
            for entity in (f"face_{track}", f"camera/face_{track}"):
                self._log.log(entity, self._rerun.Clear(recursive=True))
        self._tracks = present
        for row in observations:
            self._face(row)

    def close(self) -> None:
        """See :class:`~mien.stream.sinks.base.Sink`."""
        if not self._open:
            return
        self._open = False
        if self._file is None:
            self._end()
            return
        failure = self._end()
        if failure is not None:
            self._file.discard()
            raise OutputError(f"{self._file.final}: cannot be written: {failure}") from failure
        self._file.commit()

    def abort(self) -> None:
        """See :class:`~mien.stream.sinks.base.Sink`."""
        if self._open:
            self._open = False
            self._end()
            if self._file is not None:
                self._file.discard()

    def __enter__(self) -> RerunSink:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self.close()
        else:
            self.abort()

    def _end(self) -> RuntimeError | None:
        """Hand over what is held back, and what went wrong with it; a viewer may have gone."""
        limit_s = {} if self._file is not None else {"timeout_sec": _FLUSH_S}
        failure = None
        try:
            self._log.flush(**limit_s)
        except RuntimeError as error:
            failure = error
        # A viewer that is stopped, not closed, would hold up the end of the stream for ever, and
        # that of the process too.
        ending = threading.Thread(target=self._log.disconnect, daemon=True)
        ending.start()
        ending.join(None if self._file is not None else _FLUSH_S)
        if ending.is_alive():
            self._rerun.unregister_shutdown()
        return failure

    def _describe(self, recording: Recording) -> None:
        rr = self._rerun
        self._log.log("/", rr.ViewCoordinates.RDF, static=True)
        if recording.camera_matrix is not None:
            camera = rr.Pinhole(
                image_from_camera=np.array(recording.camera_matrix),
                resolution=(recording.width, recording.height),
                camera_xyz=rr.ViewCoordinates.RDF,
            )
            self._log.log("camera", camera, static=True)

    def _face(self, row: FaceObservation) -> None:
        rr, name = self._rerun, f"face_{row.track}"
        if row.track not in self._named:
            self._named.add(row.track)
            for curve, series in _CURVES.items():
                self._log.log(f"{curve}/{name}", rr.SeriesLines(names=series), static=True)
            self._log.log(name, rr.TransformAxes3D(_AXIS_MM), static=True)
        color = _SEEN if row.observed else _PREDICTED
        place = (row.tx, row.ty, row.tz)
        self._log.log(
            name,
            rr.Transform3D(
                translation=place, quaternion=rr.Quaternion(xyzw=(row.qx, row.qy, row.qz, row.qw))
            ),
        )
        self._log.log(
            f"camera/{name}", rr.Points2D(row.landmarks_px, colors=color, radii=_POINT_PX)
        )
        if self._landmarks is not None:
            points_mm = self._landmarks.decode_seen(row.shape, row.expression, row.blendshapes)
            self._log.log(
                f"{name}/landmarks", rr.Points3D(points_mm, colors=color, radii=_POINT_MM)
            )
        self._log.log(f"angles/{name}", rr.Scalars((row.yaw, row.pitch, row.roll)))
        self._log.log(f"place/{name}", rr.Scalars(place))
        if row.blendshapes is not None:
            self._log.log(f"blendshapes/{name}", rr.Scalars(row.blendshapes))


def _answers(address: tuple[str, int]) -> None:
    """See that a viewer listens: rerun would keep all that is logged in memory until one does."""
    host, port = address
    try:
        socket.create_connection(address, _ANSWER_S).close()
    except (OSError, OverflowError) as error:
        raise OutputError(
            f"--rerun {host}:{port}: no viewer answers there; start one with: rerun --port {port}"
        ) from error
