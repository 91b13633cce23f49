"""Receives what a publisher sends, the newest of every topic or all of it.

:class:`PoseSubscriber` waits where it is called. Beside it are
:class:`~mien.stream.subscriber_thread.ThreadedPoseSubscriber`, which keeps the newest in the
background, and :class:`~mien.stream.subscriber_async.AsyncPoseSubscriber` for asyncio.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from types import TracebackType

from .echo import ClockOffset, EchoClient, echo_endpoint
from .messages import HelloMessage, PoseMessage
from .subscription import Received, SubscriberBase, SubscriberStats

__all__ = ["ClockOffset", "PoseSubscriber", "Received", "SubscriberStats"]


class PoseSubscriber(SubscriberBase):
    """Reads a publisher without falling behind; no thread, no wait but in :meth:`receive`.

    Connecting succeeds also where nobody publishes yet, and is repeated when a publisher comes
    back. Messages that are not what the protocol says are counted and left out. A publisher that
    refuses the key says so to nobody: nothing comes.
    """

    def receive(self, timeout_s: float | None = None) -> list[Received]:
        """Wait for a message, then take all that are there.

        Args:
            timeout_s: how long to wait for the first; None: for ever.

        Returns:
            The newest message of every topic, or with ``every`` all of them, in the order of their
            coming; empty after the time limit.
        """
        if not self._subscription.waiting:
            self._wait(timeout_s)
        return self._subscription.take()

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
        subscription = self._subscription
        endpoint = echo or echo_endpoint(subscription.endpoint, self._hello(timeout_s))
        with EchoClient(
            endpoint, curve=subscription.curve, context=subscription.context, timeout_s=timeout_s
        ) as client:
            return client.offset(count, subscription.clock)

    def __enter__(self) -> PoseSubscriber:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _wait(self, timeout_s: float | None) -> None:
        limit_ms = None if timeout_s is None else max(0, round(timeout_s * 1000))
        self._subscription.socket.poll(limit_ms)

    def _hello(self, timeout_s: float) -> HelloMessage:
        begin_s = time.monotonic()
        waited_s = 0.0
        while (hello := self._subscription.look_for_hello(waited_s, timeout_s)) is None:
            self._wait(timeout_s - waited_s)
            waited_s = time.monotonic() - begin_s
        return hello
