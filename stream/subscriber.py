"""Receives what a publisher sends, the newest of every topic or all of it."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import TracebackType

import msgspec
import zmq

from ..models.errors import InputError, SourceError
from .messages import (
    DEFAULT_ENDPOINT,
    LAST_PORT,
    MESSAGES,
    EchoReply,
    HelloMessage,
    Message,
    PoseMessage,
    check_stream_name,
    decode,
    split_welcome,
)

_RECEIVE_HWM = 10_000  # 25 MB at most
_TCP = re.compile(r"tcp://(.+):(\d+)")
_REPLY = msgspec.msgpack.Decoder(EchoReply)


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


@dataclass(frozen=True, slots=True)
class ClockOffset:
    """How the publisher's clock differs from this machine's.

    Attributes:
        offset_ns: publisher's time = local time + offset.
        round_trip_ns: of the echo it was taken from; the offset is off by half of it at most.
    """

    offset_ns: int
    round_trip_ns: int


class PoseSubscriber:
    """Reads a publisher without falling behind; no thread, no wait but in :meth:`receive`.

    Connecting succeeds also where nobody publishes yet, and is repeated when a publisher comes
    back. Messages that are not what the protocol says are counted and left out.

    Attributes:
        hello: the newest hello, once one came.
        stats: counts.
    """

    def __init__(
        self,
        endpoint: str = DEFAULT_ENDPOINT,
        *,
        stream: str | None = None,
        kinds: tuple[str, ...] = tuple(MESSAGES),
        every: bool = False,
        clock: Callable[[], int] = time.perf_counter_ns,
    ) -> None:
        """Connect.

        Args:
            endpoint: of the publisher.
            stream: only this one; None: all.
            kinds: which messages to ask for; hello is always asked for.
            every: give every message, not only the newest of each topic.
            clock: nanoseconds, monotonic.

        Raises:
            InputError: endpoint, stream or kind is not accepted.
        """
        unknown = set(kinds) - set(MESSAGES)
        if unknown:
            raise InputError(f"unknown kinds {sorted(unknown)}: expected some of {list(MESSAGES)}")
        tcp = _TCP.fullmatch(endpoint)
        if tcp is not None and int(tcp[2]) > LAST_PORT:
            raise InputError(f"{endpoint}: expected a port up to {LAST_PORT}")
        part = "" if stream is None else f"{check_stream_name(stream)}."
        self.hello: HelloMessage | None = None
        self.stats = SubscriberStats()
        self._endpoint = endpoint
        self._every = every
        self._clock = clock
        self._sequences: dict[bytes, int] = {}
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._socket = self._context.socket(zmq.SUB)
        self._socket.linger = 0
        self._socket.rcvhwm = _RECEIVE_HWM
        # Trying again costs little on the way, and what is published meanwhile is missed.
        self._socket.setsockopt(zmq.RECONNECT_IVL_MAX, 200)
        self._socket.setsockopt(zmq.HEARTBEAT_IVL, 1000)
        self._socket.setsockopt(zmq.HEARTBEAT_TIMEOUT, 5000)
        # Before connecting, or the welcome is filtered out.
        for kind in {*kinds, "hello"}:
            self._socket.subscribe(f"{kind}.{part}")
        try:
            self._socket.connect(endpoint)
        except zmq.ZMQError as error:
            self.close()
            raise InputError(
                f"{endpoint}: cannot connect: {error.strerror}; expected an endpoint such as "
                f"{DEFAULT_ENDPOINT}"
            ) from error

    def receive(self, timeout_s: float | None = None) -> list[Received]:
        """Wait for a message, then take all that are there.

        Args:
            timeout_s: how long to wait for the first; None: for ever.

        Returns:
            The newest message of every topic, or with ``every`` all of them, in the order of their
            coming; empty after the time limit.
        """
        if not self._socket.poll(None if timeout_s is None else max(0, round(timeout_s * 1000))):
            return []
        raw: list[tuple[bytes, bytes]] = []
        while len(raw) < _RECEIVE_HWM and self._socket.poll(0):
            message = self._read()
            if message is not None:
                raw.append(message)
        if not self._every:
            newest = {name: position for position, (name, _) in enumerate(raw)}
            self.stats.superseded += len(raw) - len(newest)
            raw = [raw[position] for position in sorted(newest.values())]
        return [received for name, payload in raw if (received := self._decode(name, payload))]

    def poses(self, timeout_s: float | None = None) -> list[PoseMessage]:
        """As :meth:`receive`, the poses only."""
        messages = (received.message for received in self.receive(timeout_s))
        return [message for message in messages if isinstance(message, PoseMessage)]

    def __iter__(self) -> Iterator[Received]:
        """Messages for ever."""
        while True:
            yield from self.receive()

    def clock_offset(
        self, echo: str | None = None, *, count: int = 20, timeout_s: float = 1.0
    ) -> ClockOffset:
        """Ask the publisher's clock echo, and keep the answer with the shortest round trip.

        Args:
            echo: endpoint; None: the one in hello, which is waited for.
            count: how often to ask.
            timeout_s: how long to wait for hello, and for each answer.

        Raises:
            SourceError: no answer.
        """
        endpoint = echo or self._echo_endpoint(timeout_s)
        best: ClockOffset | None = None
        with self._context.socket(zmq.REQ) as socket:
            socket.linger = 0
            socket.connect(endpoint)
            for _ in range(count):
                sent_ns = self._clock()
                socket.send(b"?")
                if not socket.poll(round(timeout_s * 1000)):
                    raise SourceError(f"{endpoint}: no clock echo within {timeout_s:g} s")
                reply = socket.recv()
                back_ns = self._clock()
                try:
                    remote_ns = _REPLY.decode(reply).t_ns
                except msgspec.DecodeError as error:
                    raise SourceError(f"{endpoint}: not a clock echo: {error}") from error
                # round(mean) in integers: floats lose nanoseconds after some weeks of uptime.
                answer = ClockOffset(remote_ns - (sent_ns + back_ns) // 2, back_ns - sent_ns)
                if best is None or answer.round_trip_ns < best.round_trip_ns:
                    best = answer
        if best is None:
            raise InputError(f"count is {count}, expected 1 or more")
        return best

    def close(self) -> None:
        """Disconnect; may be called twice."""
        self._context.destroy(linger=0)

    def __enter__(self) -> PoseSubscriber:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _echo_endpoint(self, timeout_s: float) -> str:
        deadline_ns = self._clock() + round(timeout_s * 1e9)
        while self.hello is None and (left_ns := deadline_ns - self._clock()) > 0:
            if self._socket.poll(max(1, left_ns // 1_000_000)):
                message = self._read()
                if message is not None and message[0].startswith(b"hello."):
                    self._decode(*message)
        if self.hello is None or self.hello.echo is None:
            raise SourceError(f"{self._endpoint}: no hello within {timeout_s:g} s")
        here, there = _TCP.fullmatch(self._endpoint), _TCP.fullmatch(self.hello.echo)
        if here and there:  # the publisher may know itself as 0.0.0.0
            return f"tcp://{here[1]}:{there[2]}"
        return self.hello.echo

    def _read(self) -> tuple[bytes, bytes] | None:
        """One message off the socket, its sequence number checked; None where it is not one."""
        frames = self._socket.recv_multipart()
        self.stats.received += 1
        try:
            if len(frames) == 1:
                return split_welcome(frames[0])
            name, payload = frames[:2]
            self._check_sequence(name, _HEAD.decode(payload).seq)
        except (InputError, msgspec.DecodeError) as error:
            self._refuse(str(error))
            return None
        return name, payload

    def _check_sequence(self, name: bytes, sequence: int) -> None:
        expected = self._sequences.get(name, sequence)
        if sequence > expected:
            self.stats.lost += sequence - expected
        elif sequence < expected:
            self.stats.restarts += 1
        self._sequences[name] = sequence + 1

    def _decode(self, name: bytes, payload: bytes) -> Received | None:
        try:
            message = decode(name, payload)
        except InputError as error:
            self._refuse(str(error))
            return None
        if isinstance(message, HelloMessage):
            self.hello = message
        return Received(name.decode("ascii"), message, self._clock())

    def _refuse(self, why: str) -> None:
        self.stats.invalid += 1
        self.stats.last_error = why
