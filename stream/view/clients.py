"""One browser that looks: the newest of every kind of message, and nothing queued behind it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from .encoding import Snapshot

if TYPE_CHECKING:
    from websockets.asyncio.server import ServerConnection

Message = str | bytes | Snapshot | Callable[[], bytes]
"""What can be sent; a function makes what is large when its turn comes."""

_UNANSWERED: Final = 2
"""Messages on their way at once. The client answers each when it has taken it; so nothing waits in
the buffers of sockets, where it would grow old: there is room for minutes of such small messages.
"""


class Client:
    """What is sent to one connection, newest first of all: a message replaces the one of its key.

    Use it in the server's event loop only.

    Attributes:
        connection: as the server has it.
        models: numbers of the face models that it was given.
    """

    def __init__(self, connection: ServerConnection) -> None:
        self.connection = connection
        self.models: set[int] = set()
        self._waiting: dict[str, Message] = {}
        self._free = _UNANSWERED
        self._change = asyncio.Event()

    def put(self, key: str, message: Message) -> None:
        """Send a message when the client is ready, unless a newer one of this key comes before."""
        self._waiting[key] = message
        self._change.set()

    async def attend(self) -> None:
        """Send and receive until the connection ends."""
        sending = asyncio.ensure_future(self._send())
        receiving = asyncio.ensure_future(self._receive())
        try:
            await asyncio.wait((sending, receiving), return_when=asyncio.FIRST_COMPLETED)
        finally:
            sending.cancel()
            receiving.cancel()
            ended = await asyncio.gather(sending, receiving, return_exceptions=True)
        for problem in ended:
            if isinstance(problem, Exception):
                raise problem

    async def _receive(self) -> None:
        async for _ in self.connection:
            self._free = min(self._free + 1, _UNANSWERED)
            self._change.set()

    async def _send(self) -> None:
        while True:
            while not (self._waiting and self._free):
                self._change.clear()
                await self._change.wait()
            key = next(iter(self._waiting))
            message = self._waiting.pop(key)
            self._free -= 1
            if isinstance(message, Snapshot):
                message = message.data
            elif callable(message):
                message = message()
            await self.connection.send(message)


def registry() -> tuple[set[ServerConnection], type[ServerConnection]]:
    """Connections that are open, also where nothing was said yet, and the kind that enters them."""
    from websockets.asyncio.server import ServerConnection

    open_ones: set[ServerConnection] = set()

    class Registered(ServerConnection):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            super().connection_made(transport)
            open_ones.add(self)

        def connection_lost(self, exc: Exception | None) -> None:
            open_ones.discard(self)
            super().connection_lost(exc)

    return open_ones, Registered
