"""What every subscriber does with messages, whichever way it waits for them."""

from __future__ import annotations

import re
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

import msgspec
import zmq

from ..models.errors import InputError, SourceError
from .curve import CurveClient
from .messages import (
    DEFAULT_ENDPOINT,
    LAST_PORT,
    MESSAGES,
    HelloMessage,
    Message,
    check_stream_name,
    check_topic,
    decode,
    split_welcome,
)
from .schema import DAMAGE

_RECEIVE_HWM: Final = 10_000  # 25 MB at most
_TOPICS: Final = 4096  # whose sequence is followed: tracks come and go for days
_STREAMS: Final = 256  # whose hellos are kept, 10 kB each
_MOST_BYTES: Final = 1 << 20  # of a message; a longer one ends the connection
_TCP = re.compile(r"tcp://(.+):(\d{1,9})")


class _Head(msgspec.Struct):
    """What every message begins with; the rest is left undecoded."""

    seq: int


_HEAD = msgspec.msgpack.Decoder(_Head)


@dataclass(frozen=True, slots=True)
class Received:
    """A message as it came.

    Attributes:
        topic: such as ``pose.main.0.``.
        message: decoded and checked.
        t_receive_ns: when it was read, on this machine's clock.
    """

    topic: str
    message: Message
    t_receive_ns: int

    @property
    def kind(self) -> str:
        """``pose``, ``frame``, ``status`` or ``hello``."""
        return self.topic.split(".", 1)[0]

    @property
    def stream(self) -> str:
        """Name of the stream."""
        return self.topic.split(".", 2)[1]


@dataclass(slots=True)
class SubscriberStats:
    """Counts since connecting.

    Attributes:
        received: messages read.
        superseded: of these, left undecoded because a newer one of the topic was there.
        lost: messages missing in the sequence numbers.
        invalid: messages that are not what the protocol says.
        restarts: times that a sequence began anew.
        last_error: what was wrong with the last invalid message.
    """

    received: int = 0
    superseded: int = 0
    lost: int = 0
    invalid: int = 0
    restarts: int = 0
    last_error: str = ""


class Subscription:
    """A connected SUB socket and what was read from it. It never waits.

    Attributes:
        endpoint: of the publisher.
        context: the socket's own.
        socket: for polling; read it with :meth:`take` only.
        curve: keys, where the publisher wants them.
        clock: nanoseconds, monotonic.
        hellos: the newest hello by stream.
        hello: the newest hello of any stream, once one came.
        stats: counts.
    """

    def __init__(
        self,
        endpoint: str,
        *,
        stream: str | None,
        kinds: tuple[str, ...],
        every: bool,
        curve: CurveClient | None,
        clock: Callable[[], int],
    ) -> None:
        """Connect; arguments and errors are those of ``PoseSubscriber``."""
        unknown = set(kinds) - set(MESSAGES)
        if unknown:
            raise InputError(f"unknown kinds {sorted(unknown)}: expected some of {list(MESSAGES)}")
        tcp = _TCP.fullmatch(endpoint)
        if tcp is not None and int(tcp[2]) > LAST_PORT:
            raise InputError(f"{endpoint}: expected a port up to {LAST_PORT}")
        part = "" if stream is None else f"{check_stream_name(stream)}."
        self.endpoint = endpoint
        self.curve = curve
        self.clock = clock
        self.hello: HelloMessage | None = None
        self.hellos: dict[str, HelloMessage] = {}
        self.stats = SubscriberStats()
        self._every = every
        self._sequences: dict[bytes, int] = {}
        self._kept: deque[tuple[bytes, bytes]] = deque()
        self.context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self.socket = self.context.socket(zmq.SUB)
        self.socket.linger = 0
        self.socket.rcvhwm = _RECEIVE_HWM
        self.socket.setsockopt(zmq.MAXMSGSIZE, _MOST_BYTES)
        # Trying again costs little on the way, and what is published meanwhile is missed.
        self.socket.setsockopt(zmq.RECONNECT_IVL_MAX, 200)
        self.socket.setsockopt(zmq.HEARTBEAT_IVL, 1000)
        self.socket.setsockopt(zmq.HEARTBEAT_TIMEOUT, 5000)
        if curve is not None:
            curve.secure(self.socket)
        # Before connecting, or the welcome is filtered out.
        for kind in {*kinds, "hello"}:
            self.socket.subscribe(f"{kind}.{part}")
        try:
            self.socket.connect(endpoint)
        except zmq.ZMQError as error:
            self.close()
            raise InputError(
                f"{endpoint}: cannot connect: {error.strerror}; expected an endpoint such as "
                f"{DEFAULT_ENDPOINT}"
            ) from error

    @property
    def waiting(self) -> bool:
        """Messages were read already that nobody took."""
        return bool(self._kept)

    def take(self) -> list[Received]:
        """All messages that are there, or without ``every`` the newest of every topic."""
        raw = [*self._kept, *self._read_all()]
        self._kept.clear()
        if not self._every:
            newest = {name: position for position, (name, _) in enumerate(raw)}
            self.stats.superseded += len(raw) - len(newest)
            raw = [raw[position] for position in sorted(newest.values())]
        return [received for name, payload in raw if (received := self._decode(name, payload))]

    def look_for_hello(self, waited_s: float, timeout_s: float) -> HelloMessage | None:
        """The newest hello; what else is there is kept for :meth:`take`.

        Raises:
            SourceError: there is none, and the time limit has passed.
        """
        for name, payload in self._read_all():
            self._kept.append((name, payload))
            if self.hello is None and name.startswith(b"hello."):
                self._decode(name, payload)
        if self.hello is None and waited_s >= timeout_s:
            raise SourceError(f"{self.endpoint}: no hello within {timeout_s:g} s")
        return self.hello

    def close(self) -> None:
        """Disconnect; may be called twice."""
        self.context.destroy(linger=0)

    def _read_all(self) -> Iterable[tuple[bytes, bytes]]:
        """Topic and payload of what is there, sequence numbers checked."""
        for _ in range(_RECEIVE_HWM):
            try:
                frames = self.socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            self.stats.received += 1
            try:
                if len(frames) == 1:
                    yield split_welcome(frames[0])
                    continue
                name, payload = frames[:2]
                check_topic(name)
                self._check_sequence(name, _HEAD.decode(payload).seq)
            except (InputError, *DAMAGE) as error:
                self._refuse(str(error))
                continue
            yield name, payload

    def _check_sequence(self, name: bytes, sequence: int) -> None:
        expected = self._sequences.pop(name, sequence)
        if sequence > expected:
            self.stats.lost += sequence - expected
        elif sequence < expected:
            self.stats.restarts += 1
        self._sequences[name] = sequence + 1
        if len(self._sequences) > _TOPICS:
            del self._sequences[next(iter(self._sequences))]

    def _decode(self, name: bytes, payload: bytes) -> Received | None:
        try:
            check_topic(name)
            message = decode(name, payload)
        except InputError as error:
            self._refuse(str(error))
            return None
        if isinstance(message, HelloMessage):
            self.hellos.pop(message.stream, None)
            self.hello = self.hellos[message.stream] = message
            if len(self.hellos) > _STREAMS:
                del self.hellos[next(iter(self.hellos))]
        return Received(name.decode("ascii"), message, self.clock())

    def _refuse(self, why: str) -> None:
        self.stats.invalid += 1
        self.stats.last_error = why


class SubscriberBase:
    """What subscribers share, however they wait."""

    def __init__(
        self,
        endpoint: str = DEFAULT_ENDPOINT,
        *,
        stream: str | None = None,
        kinds: tuple[str, ...] = tuple(MESSAGES),
        every: bool = False,
        curve: CurveClient | None = None,
        clock: Callable[[], int] = time.perf_counter_ns,
    ) -> None:
        """Connect.

        Args:
            endpoint: of the publisher.
            stream: only this one; None: all.
            kinds: which messages to ask for; hello is always asked for.
            every: give every message, not only the newest of each topic.
            curve: keys, where the publisher wants them.
            clock: nanoseconds, monotonic.

        Raises:
            InputError: endpoint, stream or kind is not accepted.
        """
        self._subscription = Subscription(
            endpoint, stream=stream, kinds=kinds, every=every, curve=curve, clock=clock
        )

    @property
    def hello(self) -> HelloMessage | None:
        """The newest hello of any stream, once one came."""
        return self._subscription.hello

    @property
    def hellos(self) -> dict[str, HelloMessage]:
        """The newest hello by stream."""
        return self._subscription.hellos

    @property
    def stats(self) -> SubscriberStats:
        """Counts since connecting."""
        return self._subscription.stats

    def close(self) -> None:
        """Disconnect; may be called twice."""
        self._subscription.close()
