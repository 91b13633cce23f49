"""ZeroMQ: every frame and every pose to whoever subscribes (``PROTOCOL.md``)."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Final

import zmq

from ...models.errors import InputError, OutputError
from ..curve import CurveServer, Doorkeeper
from ..health import Health
from ..messages import DEFAULT_ENDPOINT, check_stream_name
from .base import Recording
from .zeromq_echo import Requests, answer
from .zeromq_endpoints import check_endpoint, next_endpoint
from .zeromq_outlet import Outlet
from .zeromq_stream import SECOND_NS, PublishedStream

_GREETING_NS: Final = 50_000_000  # hellos for newcomers: at most so often, however many come
_FLUSH_MS: Final = 250  # what closing grants the last messages
_SEND_HWM: Final = 64
_INCOMING_BYTES: Final = 4096  # subscriptions and requests are short; what is longer is no client
_HANDSHAKE_MS: Final = 10_000  # a connection that has not said by then what it is, is cut


class ZeroMQPublisher:
    """Publishes streams on one pair of sockets.

    Nobody listening costs nothing, and a slow listener slows nobody. One thread answers the echo,
    lets clients in, and says hello and status of every stream once a second, also where no frame
    comes; between these it sleeps. What it fails with is raised by the next ``write``. Streams may
    be written from several threads.

    Attributes:
        endpoint: where messages are published, as bound.
        echo_endpoint: where the echo answers.
    """

    def __init__(
        self,
        endpoint: str = DEFAULT_ENDPOINT,
        *,
        echo: str | None = None,
        insecure: bool = False,
        curve: CurveServer | None = None,
        requests: Requests | None = None,
        clock: Callable[[], int] = time.perf_counter_ns,
        unix_clock: Callable[[], int] = time.time_ns,
    ) -> None:
        """Bind both sockets and start the thread.

        Args:
            endpoint: to bind, ``tcp://127.0.0.1:5570`` or ``ipc://...``; port ``*`` takes any.
            echo: endpoint of the clock echo; None: the next port.
            insecure: allow endpoints that other machines reach, unencrypted and unauthenticated.
            curve: encrypt, and let in only the clients of a list; on both sockets.
            requests: what may be asked of the echo, by name; called in the publisher's thread.
            clock: nanoseconds, monotonic: that of ``t_capture_ns``.
            unix_clock: nanoseconds since 1970, for hello.

        Raises:
            InputError: an endpoint is not accepted.
            OutputError: an endpoint cannot be bound.
        """
        echo = next_endpoint(endpoint) if echo is None else echo
        for wanted, option in ((endpoint, "--publish"), (echo, "--echo")):
            check_endpoint(wanted, public=insecure or curve is not None, option=option)
        self._requests = {} if requests is None else dict(requests)
        self._clock, self._unix_clock = clock, unix_clock
        self._streams: list[PublishedStream] = []
        self._stopping = self._closed = False
        self._greeted_ns = 0
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._doorkeeper: Doorkeeper | None = None
        try:
            if curve is not None:
                self._doorkeeper = Doorkeeper(self._context, curve)
            publisher = self._bind(zmq.XPUB, endpoint, "--publish", curve)
            # A ROUTER that answers as REP: after some garbage libzmq's own REP loses an answer.
            self._echo = self._bind(zmq.ROUTER, echo, "--echo", curve)
        except OutputError:
            self._context.destroy(linger=0)
            raise
        self._woken, self._waking = socket.socketpair()
        self._waking.setblocking(False)
        self._outlet = Outlet(publisher, clock, self._wake)
        self.endpoint = self._outlet.endpoint
        self.echo_endpoint = self._echo.get_string(zmq.LAST_ENDPOINT).rstrip("\0")
        self._thread = threading.Thread(target=self._run, name="mien-publisher", daemon=True)
        self._thread.start()

    def add(
        self, stream: str, recording: Recording, probe: Callable[[], Health] | None = None
    ) -> PublishedStream:
        """Begin a stream: its hello is sent at once.

        Args:
            stream: its name, part of every topic.
            recording: what hello says of source, camera and bundle.
            probe: asked once a second how the stream is doing, in the publisher's thread, also
                where no frame comes.

        Raises:
            InputError: the name is not accepted, or taken.
            OutputError: the publisher is closed, or has failed.
        """
        check_stream_name(stream)
        with self._outlet.lock:
            self._outlet.check()
            if any(other.name == stream for other in self._streams):
                raise InputError(f"stream name {stream!r} is given twice")
            added = PublishedStream(
                stream,
                recording,
                self._outlet,
                probe=probe,
                echo=self.echo_endpoint,
                unix_clock=self._unix_clock,
            )
            if not self._streams:
                self._outlet.welcome(added.welcome())
            else:
                self._outlet.notice_newcomers()
            added.beat()
            self._streams.append(added)
        return added

    def close(self) -> None:
        """Close every stream, give the last messages a moment, let go of the ports."""
        self._shut(PublishedStream.close)

    def abort(self) -> None:
        """As :meth:`close`; streams that are open have failed."""
        self._shut(PublishedStream.abort)

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

    def _shut(self, finish: Callable[[PublishedStream], None]) -> None:
        if self._closed:
            return
        self._closed = self._stopping = True
        self._wake()
        self._thread.join()
        try:
            for stream in self._streams:
                finish(stream)
        finally:
            with self._outlet.lock:
                self._outlet.close()
            self._context.destroy(linger=_FLUSH_MS)
            self._woken.close()
            self._waking.close()

    def _bind(
        self, kind: int, endpoint: str, option: str, curve: CurveServer | None
    ) -> zmq.Socket[bytes]:
        bound = self._context.socket(kind)
        bound.linger = 0
        bound.sndhwm = _SEND_HWM
        bound.setsockopt(zmq.MAXMSGSIZE, _INCOMING_BYTES)
        bound.setsockopt(zmq.HANDSHAKE_IVL, _HANDSHAKE_MS)
        bound.setsockopt(zmq.HEARTBEAT_IVL, 1000)
        bound.setsockopt(zmq.HEARTBEAT_TIMEOUT, 5000)
        if curve is not None:
            curve.secure(bound)
        if "[" in endpoint:
            bound.ipv6 = True
        try:
            bound.bind(endpoint)
        except zmq.ZMQError as error:
            if error.errno == zmq.EADDRINUSE:
                why = f"the port is in use by another program; choose another with {option}"
            else:
                why = f"cannot be bound: {error.strerror}"
            raise OutputError(f"{endpoint}: {why}") from error
        return bound

    def _wake(self) -> None:
        with contextlib.suppress(BlockingIOError):  # as many calls wait as fit: it will wake
            self._waking.send(b"!")

    def _run(self) -> None:
        try:
            self._serve()
        except Exception as error:  # noqa: BLE001 - a thread has nobody to tell: write raises it
            self._outlet.fail(error)

    def _serve(self) -> None:
        poller = zmq.Poller()
        for source in (self._echo, self._outlet.signal, self._woken):
            poller.register(source, zmq.POLLIN)
        if self._doorkeeper is not None:
            poller.register(self._doorkeeper.socket, zmq.POLLIN)
        beat_ns = self._clock()
        while not self._stopping:
            wait_ns = beat_ns + SECOND_NS - self._clock()
            if wait_ns <= 0:
                beat_ns = self._beat()
                continue
            greeting_ns = self._attend()
            wait_ns = wait_ns if greeting_ns is None else min(wait_ns, greeting_ns)
            ready = dict(poller.poll(max(0, wait_ns) // 1_000_000 + 1))
            if self._echo in ready:
                self._answer_echo()
            if self._doorkeeper is not None and self._doorkeeper.socket in ready:
                self._doorkeeper.answer()
            if self._woken.fileno() in ready:
                self._woken.recv(4096)

    def _answer_echo(self) -> None:
        try:
            parts = self._echo.recv_multipart(zmq.NOBLOCK)
        except zmq.Again:
            return
        if b"" not in parts[1:]:
            return  # no envelope: the peer is no REQ
        body = parts.index(b"", 1) + 1
        reply = answer(b"".join(parts[body:]), self._requests, self._clock)
        with contextlib.suppress(zmq.Again):  # who asks and does not listen goes without
            self._echo.send_multipart([*parts[:body], reply], zmq.NOBLOCK)

    def _attend(self) -> int | None:
        """See to what subscribers said; returns when to come again at the latest, in ns."""
        outlet = self._outlet
        with outlet.lock:
            more = outlet.take_subscriptions()
            if not outlet.newcomer:
                return 0 if more else None
            # The welcome is of the first stream: ZeroMQ has only one.
            wait_ns = self._greeted_ns + _GREETING_NS - self._clock()
            if wait_ns > 0:
                return wait_ns
            outlet.newcomer = False
            self._greeted_ns = self._clock()
            for stream in self._streams[1:]:
                stream.say_hello()
        return None

    def _beat(self) -> int:
        """Hello and status of every stream; returns when, ns."""
        with self._outlet.lock:
            streams = tuple(self._streams)
        for stream in streams:
            stream.ask()
        with self._outlet.lock:
            for stream in streams:
                stream.beat()
            if streams:
                self._outlet.welcome(streams[0].welcome())
            return self._clock()
