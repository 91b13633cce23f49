"""A subscriber in the background: the newest of every topic, whenever one looks."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Final

from ..models.errors import SourceError
from .curve import CurveClient
from .echo import ClockOffset, EchoClient, echo_endpoint
from .messages import DEFAULT_ENDPOINT, MESSAGES, FrameMessage, HelloMessage, PoseMessage
from .subscriber import PoseSubscriber
from .subscription import Received, SubscriberStats

_POLL_S: Final = 0.1  # how long closing may take


class ThreadedPoseSubscriber:
    """Reads in a thread of its own: for games, plots and loops that have their own beat.

    What is kept is the newest message of every topic. A pose goes when a frame comes that does not
    name its track, so that the poses kept are the faces of the newest frame.

    ::

        with ThreadedPoseSubscriber("tcp://127.0.0.1:5570") as subscriber:
            while drawing:
                for pose in subscriber.poses(max_age_s=0.5):
                    ...
    """

    def __init__(
        self,
        endpoint: str = DEFAULT_ENDPOINT,
        *,
        stream: str | None = None,
        kinds: tuple[str, ...] = tuple(MESSAGES),
        curve: CurveClient | None = None,
        clock: Callable[[], int] = time.perf_counter_ns,
    ) -> None:
        """Connect and start; arguments and errors are those of ``PoseSubscriber``."""
        self._subscriber = PoseSubscriber(
            endpoint, stream=stream, kinds=kinds, curve=curve, clock=clock
        )
        self._endpoint = endpoint
        self._curve = curve
        self._clock = clock
        self._newest: dict[str, Received] = {}
        self._count = 0
        self._hello: HelloMessage | None = None
        self._failure: Exception | None = None
        self._stopping = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="mien-subscriber", daemon=True)
        self._thread.start()

    @property
    def stats(self) -> SubscriberStats:
        """Counts since connecting."""
        return self._subscriber.stats

    @property
    def count(self) -> int:
        """Times that something came; for :meth:`wait`."""
        return self._count

    def latest(self, max_age_s: float | None = None) -> dict[str, Received]:
        """The newest message of every topic, by topic.

        Args:
            max_age_s: leave out what was received longer ago; None: nothing.

        Raises:
            SourceError: reading has failed.
        """
        with self._changed:
            self._check()
            newest = dict(self._newest)
        if max_age_s is None:
            return newest
        oldest_ns = self._clock() - round(max_age_s * 1e9)
        return {name: got for name, got in newest.items() if got.t_receive_ns >= oldest_ns}

    def poses(self, max_age_s: float | None = None) -> list[PoseMessage]:
        """The faces of the newest frame, see :meth:`latest`."""
        messages = (received.message for received in self.latest(max_age_s).values())
        return [message for message in messages if isinstance(message, PoseMessage)]

    def wait(self, after: int, timeout_s: float | None = None) -> bool:
        """Wait until :attr:`count` is larger; False after the time limit.

        Raises:
            SourceError: reading has failed, or the subscriber is closed.
        """
        with self._changed:
            came = self._changed.wait_for(
                lambda: self._count > after or self._failure is not None or self._stopping,
                timeout_s,
            )
            self._check()
            if self._stopping:
                raise SourceError(f"{self._endpoint}: the subscriber is closed")
            return came

    def clock_offset(
        self, echo: str | None = None, *, count: int = 20, timeout_s: float = 1.0
    ) -> ClockOffset:
        """As ``PoseSubscriber.clock_offset``.

        Raises:
            SourceError: no answer.
        """
        if echo is None:
            with self._changed:
                self._changed.wait_for(lambda: self._hello is not None, timeout_s)
                self._check()
            if self._hello is None:
                raise SourceError(f"{self._endpoint}: no hello within {timeout_s:g} s")
            echo = echo_endpoint(self._endpoint, self._hello)
        with EchoClient(echo, curve=self._curve, timeout_s=timeout_s) as client:
            return client.offset(count, self._clock)

    def close(self) -> None:
        """Stop and disconnect; may be called twice."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        self._thread.join()
        self._subscriber.close()

    def __enter__(self) -> ThreadedPoseSubscriber:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _check(self) -> None:
        if self._failure is not None:
            raise SourceError(f"{self._endpoint}: {self._failure}") from self._failure

    def _run(self) -> None:
        try:
            while not self._stopping:
                came = self._subscriber.receive(_POLL_S)
                if came:
                    with self._changed:
                        for received in came:
                            self._keep(received)
                        self._count += 1
                        self._changed.notify_all()
        except Exception as error:  # noqa: BLE001 - a thread has nobody to tell: latest raises it
            with self._changed:
                self._failure = error
                self._changed.notify_all()

    def _keep(self, received: Received) -> None:
        self._newest[received.topic] = received
        message = received.message
        if isinstance(message, HelloMessage):
            self._hello = message
        elif isinstance(message, FrameMessage):
            tracks = set(message.tracks)
            gone = [
                name
                for name, kept in self._newest.items()
                if isinstance(kept.message, PoseMessage)
                and kept.stream == received.stream
                and kept.message.track not in tracks
            ]
            for name in gone:
                del self._newest[name]
