"""Base of the sinks that send one head by UDP: a datagram a frame, to whoever listens or nobody."""

from __future__ import annotations

import contextlib
import socket
from abc import ABC, abstractmethod
from collections.abc import Sequence
from types import TracebackType
from typing import ClassVar, TypeVar

from ...models.errors import InputError, OutputError
from ..frame import Frame
from ..neutral import HeadPose, Neutral, PrimaryFace
from ..observation import FaceObservation

SelfSink = TypeVar("SelfSink", bound="UdpHeadSink")


class UdpHeadSink(ABC):
    """Sends the primary face of every frame, never waiting.

    A frame without that face sends nothing: receivers keep, or let go of, what they had. A datagram
    that the system does not take at once, or that nobody listens for, is counted and forgotten. A
    subclass implements :meth:`_packet`.

    Attributes:
        sent: datagrams that the system took.
        lost: those that it did not, and poses that were not finite.
    """

    OPTION: ClassVar[str] = ""
    """Of the command; messages name it."""

    def __init__(self, address: tuple[str, int], neutral: Neutral | None = None) -> None:
        """Find the receiver's machine; whether the program runs there is not asked.

        Args:
            address: host and port.
            neutral: what poses are relative to; its own where not given.

        Raises:
            InputError: the port is none.
            OutputError: the host is unknown or cannot be reached.
        """
        self._neutral = Neutral() if neutral is None else neutral
        self._primary = PrimaryFace()
        self.sent = 0
        self.lost = 0
        self._socket: socket.socket | None = _connected(address, self.OPTION)

    def write(self, frame: Frame, observations: Sequence[FaceObservation]) -> None:
        """See :class:`~mien.stream.sinks.base.Sink`."""
        if self._socket is None:
            raise OutputError(f"{self.OPTION}: is closed, nothing more can be sent")
        row = self._primary.choose(observations)
        if row is None:
            return
        pose = self._neutral.relative(row)
        if not pose.finite:
            self.lost += 1
            return
        try:
            self._socket.send(self._packet(frame, row, pose))
            self.sent += 1
        except OSError:  # a full buffer, a refusal, a network that is down: all may pass
            self.lost += 1

    def close(self) -> None:
        """See :class:`~mien.stream.sinks.base.Sink`."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def abort(self) -> None:
        """See :class:`~mien.stream.sinks.base.Sink`."""
        self.close()

    def __enter__(self: SelfSink) -> SelfSink:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @abstractmethod
    def _packet(self, frame: Frame, row: FaceObservation, pose: HeadPose) -> bytes:
        """The datagram of a face; ``pose`` is relative to the neutral one and finite."""


def _connected(address: tuple[str, int], option: str) -> socket.socket:
    """A UDP socket for one receiver, which never waits."""
    host, port = address
    where = f"{option} {host}:{port}"
    if not 0 < port <= 65535:
        raise InputError(f"{where}: expected a port from 1 to 65535")
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)
    except (socket.gaierror, UnicodeError) as error:
        raise OutputError(f"{where}: unknown host {host!r}") from error
    # Receivers written for games listen on IPv4 alone, and "localhost" may mean ::1 first.
    found.sort(key=lambda entry: entry[0] != socket.AF_INET)
    family, kind, protocol, _, place = found[0]
    with contextlib.ExitStack() as undo:
        sender = undo.enter_context(socket.socket(family, kind, protocol))
        try:
            sender.setblocking(False)
            if family == socket.AF_INET:
                sender.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
            sender.connect(place)
        except OSError as error:
            raise OutputError(f"{where}: cannot be sent to: {error.strerror or error}") from error
        undo.pop_all()
    return sender
