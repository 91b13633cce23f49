"""The one socket that several threads publish through."""

from __future__ import annotations

import threading
from collections.abc import Callable

import zmq

from ...models.errors import OutputError
from ..messages import Message, encode

_MOST_AT_ONCE = 200  # subscriptions: whoever floods us with them must not hold up the writers


class Outlet:
    """An XPUB socket under a lock: hold :attr:`lock` around everything but :meth:`fail`.

    A ZeroMQ socket may go from thread to thread where a lock orders them. What arrives on it
    (connections, subscriptions) raises a signal that any call may take away; so who has sent looks
    for subscriptions too, and the publisher's thread sleeps on the signal instead of asking.

    Attributes:
        lock: of the socket, and of everything that is sent in order.
        endpoint: as bound.
        signal: file descriptor that is readable when something has arrived.
        newcomer: somebody has subscribed to hello since this was last set to False; only where
            :meth:`notice_newcomers` was called.
        clock: nanoseconds.
        wake: has the publisher's thread look here.
    """

    def __init__(
        self, socket: zmq.Socket[bytes], clock: Callable[[], int], wake: Callable[[], None]
    ) -> None:
        self.lock = threading.Lock()
        self.endpoint = socket.get_string(zmq.LAST_ENDPOINT).rstrip("\0")
        self.signal = int(socket.getsockopt(zmq.FD))
        self.newcomer = False
        self.clock = clock
        self.wake = wake
        self._socket = socket
        self._greets = False
        self._failure: Exception | None = None
        self._closed = False

    @property
    def usable(self) -> bool:
        """Neither closed nor failed."""
        return not self._closed and self._failure is None

    def check(self) -> None:
        """See that something can be sent.

        Raises:
            OutputError: the publisher is closed, or has failed.
        """
        if not self.usable:
            why = "is closed" if self._failure is None else str(self._failure)
            raise OutputError(f"{self.endpoint}: cannot publish: {why}") from self._failure

    def send(self, name: bytes, message: Message) -> None:
        """Send a message.

        Raises:
            OutputError: ZeroMQ refuses.
        """
        payload = encode(message)
        try:
            self._socket.send(name, zmq.SNDMORE)
            self._socket.send(payload)
        except zmq.ZMQError as error:
            raise OutputError(f"{self.endpoint}: cannot publish: {error.strerror}") from error

    def take_subscriptions(self) -> bool:
        """Read what subscribers say; this is also what makes ZeroMQ send them the welcome.

        Returns:
            Whether the publisher's thread has something to do: a newcomer, or more to read.
        """
        socket = self._socket
        for _ in range(_MOST_AT_ONCE):
            if not int(socket.getsockopt(zmq.EVENTS)) & zmq.POLLIN:
                return self.newcomer
            said = socket.recv()
            wanted = said[1:]
            if self._greets and said[:1] == b"\x01":
                self.newcomer |= wanted.startswith(b"hello.") or b"hello.".startswith(wanted)
        return True

    def welcome(self, frame: bytes) -> None:
        """Set what ZeroMQ sends to whoever connects."""
        self._socket.setsockopt(zmq.XPUB_WELCOME_MSG, frame)

    def notice_newcomers(self) -> None:
        """From now on note who subscribes to hello, also where others did before."""
        self._socket.setsockopt(zmq.XPUB_VERBOSE, 1)
        self._greets = True

    def fail(self, error: Exception) -> None:
        """Have every following :meth:`check` raise this."""
        self._failure = error

    def close(self) -> None:
        """Send nothing any more."""
        self._closed = True
