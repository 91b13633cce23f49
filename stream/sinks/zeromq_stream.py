"""One stream of a publisher: its messages in sequence."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Final

from ...models.errors import MienError, OutputError
from ...models.face.names import BLENDSHAPE_NAMES, N_LANDMARKS
from ..frame import Frame
from ..health import Health
from ..messages import (
    CONVENTIONS,
    FrameMessage,
    HelloMessage,
    SourceState,
    StatusMessage,
    encode,
    pose_message,
    topic,
)
from ..observation import FaceObservation
from ..schema import SCHEMA_VERSION, schema_table
from .base import Recording
from .zeromq_outlet import Outlet

SECOND_NS: Final = 1_000_000_000
_TRACKS: Final = 256  # whose numbers are kept: a new face every second must not fill the memory


class PublishedStream:
    """A sink: what is written goes out under the stream's name. Made by ``ZeroMQPublisher.add``.

    One thread writes. Until the publisher closes, status goes on to say how the stream ended.

    Attributes:
        name: of the stream.
    """

    def __init__(
        self,
        name: str,
        recording: Recording,
        outlet: Outlet,
        *,
        probe: Callable[[], Health] | None,
        echo: str,
        unix_clock: Callable[[], int],
    ) -> None:
        self.name = name
        self._recording = recording
        self._outlet = outlet
        self._probe = probe
        self._echo = echo
        self._unix_clock = unix_clock
        self._health = Health()
        self._poses: dict[int, tuple[bytes, int]] = {}  # topic and sequence, last used last
        self._frame_topic = topic("frame", name)
        self._hello_topic = topic("hello", name)
        self._status_topic = topic("status", name)
        self._frames = self._hellos = self._statuses = 0
        self._written_ns: deque[int] = deque(maxlen=1000)
        self._end: SourceState | None = None
        self._failure: str | None = None

    def write(self, frame: Frame, observations: Sequence[FaceObservation]) -> None:
        """Publish the poses of a frame, by track, then the frame.

        Raises:
            OutputError: the stream or the publisher is closed, or the publisher has failed.
        """
        outlet = self._outlet
        if len(observations) > 1:
            observations = sorted(observations, key=lambda row: row.track)
        with outlet.lock:
            outlet.check()
            if self._end is not None:
                raise OutputError(f"{outlet.endpoint}: cannot publish: {self.name} is closed")
            for row in observations:
                name, sequence = self._next_pose(row.track)
                outlet.send(name, pose_message(row, seq=sequence, t_publish_ns=outlet.clock()))
            now_ns = outlet.clock()
            self._written_ns.append(now_ns)
            outlet.send(
                self._frame_topic,
                FrameMessage(
                    v=SCHEMA_VERSION,
                    seq=self._frames,
                    t_publish_ns=now_ns,
                    frame=frame.index,
                    t_media_ns=frame.t_media_ns,
                    t_capture_ns=frame.t_capture_ns,
                    tracks=[row.track for row in observations],
                ),
            )
            self._frames += 1
            if outlet.take_subscriptions():
                outlet.wake()

    def fail(self, detail: str) -> None:
        """Have :meth:`close` say that the source has failed, and why (one line)."""
        self._failure = detail

    def close(self) -> None:
        """Say that the source has ended; may be called twice."""
        self._finish("ended" if self._failure is None else "failed")

    def abort(self) -> None:
        """Say that the source has failed."""
        self._failure = self._failure or ""
        self._finish("failed")

    def __enter__(self) -> PublishedStream:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None:
            self.close()
        else:
            if isinstance(error, MienError):
                self.fail(str(error))
            self.abort()

    def ask(self) -> None:
        """Ask the probe, as long as the stream lives; without the lock, it may take others."""
        if self._probe is not None and self._end is None:
            self._health = self._probe()

    def beat(self) -> None:
        """Send hello and status; with the lock held."""
        self.say_hello()
        now_ns = self._outlet.clock()
        recent = sum(now_ns - written <= SECOND_NS for written in self._written_ns)
        health = self._health
        state: SourceState = "running" if recent else "stalled"
        detail = ""
        if self._end is not None:
            state, detail = self._end, self._failure or ""
        elif health.state == "reconnecting":
            state, detail = health.state, health.detail
        self._outlet.send(
            self._status_topic,
            StatusMessage(
                v=SCHEMA_VERSION,
                seq=self._statuses,
                t_publish_ns=now_ns,
                rate=float(recent),
                latency_ms=dict(health.latency_ms),
                latency_99_ms=dict(health.latency_99_ms),
                drops=dict(health.drops),
                source_state=state,
                detail=detail,
            ),
        )
        self._statuses += 1

    def say_hello(self) -> None:
        """Send hello; with the lock held."""
        self._outlet.send(self._hello_topic, self._hello(self._hellos))
        self._hellos += 1

    def welcome(self) -> bytes:
        """Topic and hello in one, for ZeroMQ's welcome; its number is the last hello's."""
        return self._hello_topic + encode(self._hello(max(0, self._hellos - 1)))

    def _finish(self, end: SourceState) -> None:
        with self._outlet.lock:
            if self._end is not None:
                return
            self._end = end
            if self._outlet.usable:
                self.beat()

    def _next_pose(self, track: int) -> tuple[bytes, int]:
        name, sequence = self._poses.pop(track, None) or (topic("pose", self.name, track), 0)
        self._poses[track] = (name, sequence + 1)
        if len(self._poses) > _TRACKS:
            del self._poses[next(iter(self._poses))]
        return name, sequence

    def _hello(self, sequence: int) -> HelloMessage:
        recording = self._recording
        camera = recording.camera_matrix
        now_ns = self._outlet.clock()
        return HelloMessage(
            v=SCHEMA_VERSION,
            seq=sequence,
            t_publish_ns=now_ns,
            stream=self.name,
            columns=schema_table(),
            conventions=CONVENTIONS,
            camera_matrix=None if camera is None else [list(row) for row in camera],
            bundle_hash=recording.bundle_hash,
            source=recording.source,
            width=recording.width,
            height=recording.height,
            rate=recording.rate,
            landmark_names=[f"ibug{i}" for i in range(N_LANDMARKS)],
            blendshape_names=list(BLENDSHAPE_NAMES),
            clock_monotonic_ns=now_ns,
            clock_unix_ns=self._unix_clock(),
            echo=self._echo,
        )
