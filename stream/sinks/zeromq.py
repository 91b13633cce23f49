"""ZeroMQ: every frame and every pose to whoever subscribes (``PROTOCOL.md``)."""

from __future__ import annotations

import re
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from types import TracebackType

import zmq

from ...models.errors import InputError, OutputError
from ...models.face.names import BLENDSHAPE_NAMES, N_LANDMARKS
from ..frame import Frame
from ..messages import (
    CONVENTIONS,
    DEFAULT_ENDPOINT,
    LAST_PORT,
    EchoReply,
    FrameMessage,
    HelloMessage,
    Message,
    SourceState,
    StatusMessage,
    check_stream_name,
    encode,
    pose_message,
    topic,
)
from ..observation import FaceObservation
from ..schema import SCHEMA_VERSION, schema_table
from .base import Recording

_SECOND_NS = 1_000_000_000
_TICK_MS = 20  # how long a new subscriber may wait for its welcome where no frames come
_FLUSH_MS = 250  # what close() grants the last messages
_SEND_HWM = 64
_LOOPBACK = re.compile(r"tcp://(127(\.\d+){3}|localhost|\[::1\]):(\d+|\*)")
_TCP = re.compile(r"tcp://(.+):(\d+|\*)")


class ZeroMQPublisher:
    """A sink that publishes. Nobody listening costs nothing, and a slow listener slows nobody.

    One thread of its own answers the clock echo and says hello and status once a second, also
    where no frame comes. What it fails with is raised by the next :meth:`write`.
    """

    def __init__(
        self,
        recording: Recording,
        endpoint: str = DEFAULT_ENDPOINT,
        *,
        stream: str = "main",
        echo: str | None = None,
        insecure: bool = False,
        clock: Callable[[], int] = time.perf_counter_ns,
        unix_clock: Callable[[], int] = time.time_ns,
    ) -> None:
        """Bind both sockets and start the thread.

        Args:
            recording: what hello says of source, camera and bundle.
            endpoint: to bind, ``tcp://127.0.0.1:5570`` or ``ipc://...``; port ``*`` takes any.
            stream: name of the stream, part of every topic.
            echo: endpoint of the clock echo; None: the next port.
            insecure: allow endpoints that other machines reach, unencrypted and unauthenticated.
            clock: nanoseconds, monotonic: that of ``t_capture_ns``.
            unix_clock: nanoseconds since 1970, for hello.

        Raises:
            InputError: the stream name or an endpoint is not accepted.
            OutputError: an endpoint cannot be bound.
        """
        self._stream = check_stream_name(stream)
        echo = next_endpoint(endpoint) if echo is None else echo
        for wanted in (endpoint, echo):
            check_endpoint(wanted, insecure)
        self._recording = recording
        self._clock, self._unix_clock = clock, unix_clock
        self._lock = threading.Lock()
        self._sequences: dict[bytes, int] = {}
        self._written_ns: deque[int] = deque(maxlen=1000)
        self._latency_ms: dict[str, float] = {}
        self._drops: dict[str, int] = {}
        self._state: SourceState | None = None
        self._failure: zmq.ZMQError | None = None
        self._closed = False
        self._stop = threading.Event()
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        try:
            self._publisher = self._bind(zmq.XPUB, endpoint, "--publish")
            self._echo = self._bind(zmq.REP, echo, "--echo")
        except OutputError:
            self._context.destroy(linger=0)
            raise
        self.endpoint = self._publisher.get_string(zmq.LAST_ENDPOINT).rstrip("\0")
        self.echo_endpoint = self._echo.get_string(zmq.LAST_ENDPOINT).rstrip("\0")
        self._beat(clock())
        self._thread = threading.Thread(target=self._serve, name="mien-publisher", daemon=True)
        self._thread.start()

    def write(self, frame: Frame, observations: Sequence[FaceObservation]) -> None:
        """Publish the poses of a frame, by track, then the frame.

        Raises:
            OutputError: the publisher is closed, or has failed.
        """
        if self._closed or self._failure is not None:
            why = "is closed" if self._failure is None else str(self._failure)
            raise OutputError(f"{self.endpoint}: cannot publish: {why}")
        tracks: list[int] = []
        with self._lock:
            for row in sorted(observations, key=lambda row: row.track):
                tracks.append(row.track)
                name = topic("pose", self._stream, row.track)
                self._send(
                    name,
                    pose_message(row, seq=self._next(name), t_publish_ns=self._clock()),
                )
            name = topic("frame", self._stream)
            now_ns = self._clock()
            self._written_ns.append(now_ns)
            self._send(
                name,
                FrameMessage(
                    v=SCHEMA_VERSION,
                    seq=self._next(name),
                    t_publish_ns=now_ns,
                    frame=frame.index,
                    t_media_ns=frame.t_media_ns,
                    t_capture_ns=frame.t_capture_ns,
                    tracks=tracks,
                ),
            )

    def update_status(
        self,
        *,
        latency_ms: dict[str, float] | None = None,
        drops: dict[str, int] | None = None,
        source_state: SourceState | None = None,
    ) -> None:
        """Set what the next status messages say.

        Args:
            latency_ms: median by stage.
            drops: frames lost so far, by place.
            source_state: None: running, or stalled where no frame was written for a second.
        """
        with self._lock:
            self._latency_ms = self._latency_ms if latency_ms is None else dict(latency_ms)
            self._drops = self._drops if drops is None else dict(drops)
            self._state = source_state

    def close(self) -> None:
        """Say that the source has ended, give the last messages a moment, let go of the ports."""
        self._shut("ended", _FLUSH_MS)

    def abort(self) -> None:
        """Say that the source has failed, and let go of the ports."""
        self._shut("failed", 0)

    def __enter__(self) -> ZeroMQPublisher:
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
            self.abort()

    def _shut(self, state: SourceState, linger_ms: int) -> None:
        if self._closed:
            return
        self._closed = True
        self._stop.set()
        self._thread.join()
        self._state = state if self._state is None else self._state
        if self._failure is None:
            self._beat(self._clock())
        self._context.destroy(linger=linger_ms)

    def _bind(self, kind: int, endpoint: str, option: str) -> zmq.Socket[bytes]:
        socket = self._context.socket(kind)
        socket.linger = 0
        socket.sndhwm = _SEND_HWM
        socket.setsockopt(zmq.HEARTBEAT_IVL, 1000)
        socket.setsockopt(zmq.HEARTBEAT_TIMEOUT, 5000)
        if "[" in endpoint:
            socket.ipv6 = True
        try:
            socket.bind(endpoint)
        except zmq.ZMQError as error:
            if error.errno == zmq.EADDRINUSE:
                why = f"the port is in use by another program; choose another with {option}"
            else:
                why = f"cannot be bound: {error.strerror}"
            raise OutputError(f"{endpoint}: {why}") from error
        return socket

    def _next(self, name: bytes) -> int:
        sequence = self._sequences.get(name, 0)
        self._sequences[name] = sequence + 1
        return sequence

    def _send(self, name: bytes, message: Message) -> None:
        try:
            self._publisher.send_multipart((name, encode(message)))
        except zmq.ZMQError as error:
            raise OutputError(f"{self.endpoint}: cannot publish: {error.strerror}") from error

    def _serve(self) -> None:
        beat_ns = self._clock()
        try:
            while not self._stop.is_set():
                if self._echo.poll(_TICK_MS):
                    self._echo.recv_multipart()
                    self._echo.send(encode(EchoReply(t_ns=self._clock())))
                with self._lock:
                    # Reading subscriptions is also what makes ZeroMQ send the welcome.
                    while self._publisher.poll(0):
                        self._publisher.recv_multipart()
                    now_ns = self._clock()
                    if now_ns - beat_ns >= _SECOND_NS:
                        beat_ns = now_ns
                        self._beat(now_ns)
        except zmq.ZMQError as error:
            self._failure = error

    def _beat(self, now_ns: int) -> None:
        """Send hello and status, and renew the welcome. Call with the lock held."""
        name = topic("hello", self._stream)
        hello = self._hello(now_ns, self._next(name))
        self._publisher.setsockopt(zmq.XPUB_WELCOME_MSG, name + encode(hello))
        self._send(name, hello)
        recent = sum(now_ns - written <= _SECOND_NS for written in self._written_ns)
        name = topic("status", self._stream)
        self._send(
            name,
            StatusMessage(
                v=SCHEMA_VERSION,
                seq=self._next(name),
                t_publish_ns=now_ns,
                rate=float(recent),
                latency_ms=self._latency_ms,
                drops=self._drops,
                source_state=self._state or ("running" if recent else "stalled"),
            ),
        )

    def _hello(self, now_ns: int, sequence: int) -> HelloMessage:
        recording = self._recording
        camera = recording.camera_matrix
        return HelloMessage(
            v=SCHEMA_VERSION,
            seq=sequence,
            t_publish_ns=now_ns,
            stream=self._stream,
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
            echo=self.echo_endpoint,
        )


def next_endpoint(endpoint: str) -> str:
    """The default of the clock echo: the next TCP port, or the same path with ``-echo``."""
    tcp = _TCP.fullmatch(endpoint)
    if tcp is None:
        return f"{endpoint}-echo"
    host, port = tcp.groups()
    return f"tcp://{host}:{'*' if port in ('*', '0') else int(port) + 1}"


def check_endpoint(endpoint: str, insecure: bool) -> None:
    """Accept what can be bound safely.

    Raises:
        InputError: the endpoint is malformed, or other machines could reach it and ``insecure`` is
            not said.
    """
    if re.match(r"(ipc|inproc)://.", endpoint):
        return
    tcp = _TCP.fullmatch(endpoint)
    if tcp is None:
        raise InputError(f"{endpoint}: expected an endpoint such as {DEFAULT_ENDPOINT}")
    if tcp[2] != "*" and int(tcp[2]) > LAST_PORT:
        raise InputError(f"{endpoint}: expected a port up to {LAST_PORT}")
    if not insecure and not _LOOPBACK.fullmatch(endpoint):
        raise InputError(
            f"{endpoint}: other machines could read the poses there; "
            "bind 127.0.0.1, or say --insecure"
        )
