"""A subscriber for asyncio."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from types import TracebackType
from typing import Final

import zmq
import zmq.asyncio

from .echo import ClockOffset, EchoClient, echo_endpoint
from .messages import HelloMessage, PoseMessage
from .subscription import Received, SubscriberBase

_FOR_EVER: Final = -1  # ms, as ZeroMQ says it


class AsyncPoseSubscriber(SubscriberBase):
    """As :class:`~mien.stream.subscriber.PoseSubscriber`, awaited.

    ::

        async with AsyncPoseSubscriber("tcp://127.0.0.1:5570") as subscriber:
            async for received in subscriber:
                ...

    On Windows it needs an event loop that can watch sockets
    (``asyncio.WindowsSelectorEventLoopPolicy``).
    """

    _poller: zmq.asyncio.Poller | None = None

    async def receive(self, timeout_s: float | None = None) -> list[Received]:
        """Wait for a message, then take all that are there.

        Args:
            timeout_s: how long to wait for the first; None: for ever.

        Returns:
            The newest message of every topic, or with ``every`` all of them, in the order of their
            coming; empty after the time limit.
        """
        if not self._subscription.waiting:
            await self._wait(timeout_s)
        return self._subscription.take()

    async def poses(self, timeout_s: float | None = None) -> list[PoseMessage]:
        """As :meth:`receive`, the poses only."""
        messages = [received.message for received in await self.receive(timeout_s)]
        return [message for message in messages if isinstance(message, PoseMessage)]

    async def __aiter__(self) -> AsyncIterator[Received]:
        """Messages for ever."""
        while True:
            for received in await self.receive():
                yield received

    async def clock_offset(
        self, echo: str | None = None, *, count: int = 20, timeout_s: float = 1.0
    ) -> ClockOffset:
        """As ``PoseSubscriber.clock_offset``; asked in a thread, which the loop does not delay."""
        endpoint = echo
        if endpoint is None:
            endpoint = echo_endpoint(self._subscription.endpoint, await self._hello(timeout_s))
        return await asyncio.to_thread(self._ask, endpoint, count, timeout_s)

    async def __aenter__(self) -> AsyncPoseSubscriber:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    async def _wait(self, timeout_s: float | None) -> None:
        if self._poller is None:
            self._poller = zmq.asyncio.Poller()
            self._poller.register(self._subscription.socket, zmq.POLLIN)
        await self._poller.poll(_FOR_EVER if timeout_s is None else max(0, round(timeout_s * 1000)))

    async def _hello(self, timeout_s: float) -> HelloMessage:
        begin_s = time.monotonic()
        waited_s = 0.0
        while (hello := self._subscription.look_for_hello(waited_s, timeout_s)) is None:
            await self._wait(timeout_s - waited_s)
            waited_s = time.monotonic() - begin_s
        return hello

    def _ask(self, endpoint: str, count: int, timeout_s: float) -> ClockOffset:
        subscription = self._subscription
        with EchoClient(endpoint, curve=subscription.curve, timeout_s=timeout_s) as client:
            return client.offset(count, subscription.clock)
