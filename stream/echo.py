"""Asks a publisher's echo: its clock, and requests."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

import msgspec
import zmq

from ..models.errors import InputError, SourceError
from .curve import CurveClient
from .messages import EchoReply, HelloMessage
from .schema import DAMAGE

_TCP = re.compile(r"tcp://(.+):(\d+)")
_REPLY = msgspec.msgpack.Decoder(EchoReply)


@dataclass(frozen=True, slots=True)
class ClockOffset:
    """How the publisher's clock differs from this machine's.

    Attributes:
        offset_ns: publisher's time = local time + offset.
        round_trip_ns: of the echo it was taken from; the offset is off by half of it at most.
    """

    offset_ns: int
    round_trip_ns: int


def echo_endpoint(endpoint: str, hello: HelloMessage) -> str:
    """Where the clock echo of a publisher is, seen from here.

    Raises:
        SourceError: it has none.
    """
    if hello.echo is None:
        raise SourceError(f"{endpoint}: the publisher names no clock echo")
    here, there = _TCP.fullmatch(endpoint), _TCP.fullmatch(hello.echo)
    if here and there:  # the publisher may know itself as 0.0.0.0
        return f"tcp://{here[1]}:{there[2]}"
    return hello.echo


class EchoClient:
    """Asks a publisher's echo; a context manager."""

    def __init__(
        self,
        endpoint: str,
        *,
        curve: CurveClient | None = None,
        context: zmq.Context[zmq.Socket[bytes]] | None = None,
        timeout_s: float = 1.0,
    ) -> None:
        """Connect.

        Args:
            endpoint: of the echo.
            curve: keys, where the publisher wants them.
            context: to make the socket in; None: one of its own.
            timeout_s: how long to wait for each answer.

        Raises:
            InputError: the endpoint is not accepted.
        """
        self.endpoint = endpoint
        self.timeout_s = timeout_s
        self._own: zmq.Context[zmq.Socket[bytes]] | None = None
        if context is None:
            context = self._own = zmq.Context()
        self._socket = context.socket(zmq.REQ)
        self._socket.linger = 0
        if curve is not None:
            curve.secure(self._socket)
        try:
            self._socket.connect(endpoint)
        except zmq.ZMQError as error:
            self.close()
            raise InputError(f"{endpoint}: cannot connect: {error.strerror}") from error

    def ask(self, payload: bytes = b"?") -> EchoReply:
        """The answer.

        Raises:
            SourceError: there is none in time, or it is not one of an echo.
        """
        self._socket.send(payload)
        if not self._socket.poll(round(self.timeout_s * 1000)):
            raise SourceError(f"{self.endpoint}: no clock echo within {self.timeout_s:g} s")
        try:
            return _REPLY.decode(self._socket.recv())
        except DAMAGE as error:
            raise SourceError(f"{self.endpoint}: not a clock echo: {error}") from error

    def offset(self, count: int, clock: Callable[[], int]) -> ClockOffset:
        """Of several answers the one with the shortest round trip.

        Raises:
            InputError: count is not positive.
            SourceError: no answer.
        """
        if count < 1:
            raise InputError(f"count is {count}, expected 1 or more")
        answers = []
        for _ in range(count):
            sent_ns = clock()
            remote_ns = self.ask().t_ns
            back_ns = clock()
            # round(mean) in integers: floats lose nanoseconds after some weeks of uptime.
            answers.append(ClockOffset(remote_ns - (sent_ns + back_ns) // 2, back_ns - sent_ns))
        return min(answers, key=lambda answer: answer.round_trip_ns)

    def close(self) -> None:
        """Disconnect; may be called twice."""
        self._socket.close()
        if self._own is not None:
            self._own.destroy(linger=0)

    def __enter__(self) -> EchoClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
