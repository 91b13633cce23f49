"""``mien listen``: a subscriber that prints what is published, or records it."""

from __future__ import annotations

import sys
import time
from collections import deque
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Annotated

import tyro
from tyro.conf import Positional

from ...models.errors import InputError, OutputError
from ..files import check_row_place
from ..options import of_option
from .interruption import Interruption
from .keys import KeyOption, ServerKeyOption, client_keys

if TYPE_CHECKING:
    from ...stream.messages import FrameMessage, HelloMessage, PoseMessage
    from ...stream.observation import FaceObservation
    from ...stream.sinks.base import FileSink
    from ...stream.subscriber import PoseSubscriber, Received

_POLL_S = 0.2
_PATIENCE_S = 5.0
_ENDS = ("ended", "failed")
_MOST_WAITING = 4096
"""Poses whose frame has not come: 10 MB."""


@dataclass(frozen=True)
class Listen:
    """Subscribe to "mien track --publish": print every pose, or record it.

    Attributes:
        endpoint: of the publisher.
        every: every message, not only the newest of each topic when this program is late.
        stream: only the stream of this name; default: all, for --record the first one heard of.
        record: file that takes the poses: .parquet, .csv or .jsonl; implies --every. A recording of
            that name is replaced.
        json: print messages of all kinds as JSON lines instead of one line a pose.
        until_end: stop when the publisher says that its source has ended; of several streams, when
            the last one has.
        duration: stop after so many seconds; 0: never.
        key: this subscriber's key file, where the publisher has --curve; see "mien keys".
        server_key: the publisher's public key, or a file that has it.
    """

    endpoint: Positional[str] = "tcp://127.0.0.1:5570"
    every: bool = False
    stream: Annotated[str | None, tyro.conf.arg(metavar="NAME")] = None
    record: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    json: bool = False
    until_end: bool = False
    duration: float = 0.0
    key: KeyOption = None
    server_key: ServerKeyOption = None

    def run(self) -> int:
        """Listen until told to stop, and return the exit status."""
        if not self.duration >= 0.0:
            raise InputError(f"--duration is {self.duration:g}, expected 0 or more seconds")
        with of_option("--record"):
            check_row_place(self.record)
        curve = client_keys(self.key, self.server_key)
        from ...stream.subscriber import PoseSubscriber

        every = self.every or self.record is not None
        status = 0
        # Whatever comes while it closes, what was heard is kept: an end is noted, not raised.
        with Interruption() as interruption, interruption.held(), ExitStack() as stack:
            subscriber = stack.enter_context(
                PoseSubscriber(self.endpoint, stream=self.stream, every=every, curve=curve)
            )
            print(f"listening to {self.endpoint}", file=sys.stderr, flush=True)
            recorder = None
            if self.record is not None:
                recorder = stack.enter_context(Recorder(self.record, self.stream))
            try:
                self._listen(subscriber, recorder, interruption)
            except OutputError as error:
                print(f"mien: {error}", file=sys.stderr)
                status = 1 if recorder is not None and recorder.rows else 2
        self._tell(subscriber, recorder)
        return status or (130 if interruption.asked else 0)

    def _listen(
        self, subscriber: PoseSubscriber, recorder: Recorder | None, interruption: Interruption
    ) -> None:
        from ...stream.messages import StatusMessage

        begin_s = time.monotonic()
        heard = False
        ended: set[str] = set()
        while not self.duration or time.monotonic() - begin_s < self.duration:
            if interruption.asked:
                return
            for received in subscriber.receive(_POLL_S):
                heard = True
                if recorder is not None:
                    recorder.take(received)
                self._print(received)
                message = received.message
                if isinstance(message, StatusMessage) and message.source_state in _ENDS:
                    ended.add(received.stream)
            sys.stdout.flush()
            if self.until_end and ended and ended >= subscriber.hellos.keys():
                return
            if not heard and time.monotonic() - begin_s > _PATIENCE_S:
                heard = True  # say it once
                self._wonder()

    def _wonder(self) -> None:
        """A refused key shows in nothing but silence, as does an address where nobody is."""
        why = "no publisher there, or none yet"
        if self.key is not None:
            why += ", or it does not let this key in (a key that was let in later: start again)"
        else:
            why += ", or it wants --key and --server-key"
        print(f"nothing heard from {self.endpoint}: {why}", file=sys.stderr, flush=True)

    def _print(self, received: Received) -> None:
        from ...stream.messages import PoseMessage

        if self.json:
            print(as_json(received))
        elif self.record is None and isinstance(received.message, PoseMessage):
            # In one piece: another process may write to the same terminal.
            sys.stdout.write(pose_line(received.message, received.stream) + "\n")

    def _tell(self, subscriber: PoseSubscriber, recorder: Recorder | None) -> None:
        stats = subscriber.stats
        line = f"received {stats.received}, superseded {stats.superseded}, lost {stats.lost}"
        if stats.invalid:
            line += f", invalid {stats.invalid} ({stats.last_error})"
        print(line, file=sys.stderr)
        if recorder is not None:
            where = str(recorder.path) if recorder.rows else f"no pose came, no {recorder.path}"
            dropped = f", dropped {recorder.dropped} without a frame" if recorder.dropped else ""
            print(f"recorded {recorder.rows} rows{dropped}: {where}", file=sys.stderr)


def pose_line(row: FaceObservation, stream: str = "") -> str:
    """A row for people: degrees and millimetres."""
    seen = "" if row.observed else " predicted"
    return (
        f"{f'{stream} ' if stream else ''}frame {row.frame:6d} track {row.track}"
        f"  yaw {row.yaw:+6.1f} pitch {row.pitch:+6.1f} roll {row.roll:+6.1f} deg"
        f"  at {row.tx:+7.1f} {row.ty:+7.1f} {row.tz:7.1f} mm{seen}"
    )


def as_json(received: Received) -> str:
    """A message as one JSON object, its topic added."""
    import msgspec

    from ...stream.schema import to_plain

    fields = {name: getattr(received.message, name) for name in received.message.__struct_fields__}
    return msgspec.json.encode({"topic": received.topic, **fields}, enc_hook=to_plain).decode()


@dataclass
class Recorder:
    """Writes the poses of one stream to a file; the file begins with the first hello.

    Attributes:
        path: of the file.
        stream: name of the stream; None: the first one heard of.
        rows: written so far.
        dropped: rows given up because too many others came before their frame.
    """

    path: Path
    stream: str | None
    rows: int = 0
    dropped: int = 0
    _sink: FileSink | None = None
    _waiting: deque[PoseMessage] = field(default_factory=lambda: deque(maxlen=_MOST_WAITING))

    def take(self, received: Received) -> None:
        """Take a message; rows are written when their frame is complete.

        Raises:
            OutputError: the file cannot be written.
        """
        from ...stream.messages import FrameMessage, HelloMessage, PoseMessage

        self.stream = self.stream or received.stream
        if received.stream != self.stream:
            return
        message = received.message
        if isinstance(message, HelloMessage) and self._sink is None:
            self._sink = self._open(message)
        elif isinstance(message, PoseMessage):
            self.dropped += len(self._waiting) == _MOST_WAITING  # the oldest makes room
            self._waiting.append(message)
        elif isinstance(message, FrameMessage) and self._sink is not None:
            self._write(self._sink, message)

    def _open(self, hello: HelloMessage) -> FileSink:
        from ...stream.sinks.base import Recording
        from ..files import row_sink

        recording = Recording(
            source=hello.source,
            rate=hello.rate,
            width=hello.width,
            height=hello.height,
            bundle_hash=hello.bundle_hash,
            camera_matrix=None
            if hello.camera_matrix is None
            else tuple((row[0], row[1], row[2]) for row in hello.camera_matrix),
            options={"stream": hello.stream},
        )
        return row_sink(self.path, recording, salvage=True)

    def _write(self, sink: FileSink, message: FrameMessage) -> None:
        import numpy as np

        from ...stream.frame import Frame
        from ...stream.messages import observation_of

        rows = [observation_of(pose) for pose in self._waiting if pose.frame == message.frame]
        self._waiting.clear()
        picture = np.zeros((1, 1, 3), np.uint8)  # a publisher sends no pictures
        frame = Frame(picture, message.frame, message.t_media_ns, message.t_capture_ns)
        try:
            sink.write(frame, rows)
        finally:
            self.rows = sink.rows

    def __enter__(self) -> Recorder:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._sink is None:
            return
        if self.rows:
            self._sink.__exit__(kind, error, trace)  # what was heard is kept, whatever came
        else:
            self._sink.abort()
