"""Latest wins: a slot for one item, and a source whose frames are never old.

A camera that is read from the consumer's loop falls behind as soon as the consumer is slower than
it. Here a thread reads as fast as frames come, each replaces the one before, and the consumer takes
the newest.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from types import TracebackType
from typing import Final, Generic, TypeVar

from ...models.errors import SourceError
from ..frame import Frame
from .base import Clock, Source, SourceInfo, SourceStats

T = TypeVar("T")

THREAD_NAME: Final = "mien-source"
JOIN_S: Final = 0.5
"""A reading thread that has not ended after so long is stuck in a call, and is left to it."""


class SlotClosed(Exception):  # noqa: N818 - an end, not an error
    """No item will come any more."""


class LatestSlot(Generic[T]):
    """One item, shared by a thread that puts and one that takes; a newer item replaces it.

    Attributes:
        dropped: items that were replaced before they were taken.
        stale: items that were older than the maximum age when they could have been taken.
    """

    def __init__(self, max_age_ns: int | None = None, clock: Clock = time.perf_counter_ns) -> None:
        """Make an empty slot.

        Args:
            max_age_ns: an item that has waited for longer is not given out; None: no limit.
            clock: nanoseconds, monotonic.
        """
        self.dropped = 0
        self.stale = 0
        self._max_age_ns = max_age_ns
        self._clock = clock
        self._changed = threading.Condition()
        self._item: tuple[T, int] | None = None
        self._closed = False
        self._error: BaseException | None = None

    def put(self, item: T) -> None:
        """Replace what is there; without effect on a closed slot."""
        with self._changed:
            if self._closed:
                return
            if self._item is not None:
                self.dropped += 1
            self._item = (item, self._clock())
            self._changed.notify()

    def close(self, error: BaseException | None = None) -> None:
        """Say that no more items come, and why; what is in the slot may still be taken."""
        with self._changed:
            if not self._closed:
                self._closed, self._error = True, error
            self._changed.notify_all()

    def take(self, timeout_s: float | None = None) -> T:
        """Wait for an item and take it.

        Raises:
            SlotClosed: the slot is closed and empty.
            TimeoutError: no item came in time.
            BaseException: whatever the slot was closed with.
        """
        with self._changed:
            while True:
                if not self._changed.wait_for(self._ready, timeout_s):
                    raise TimeoutError
                if self._item is None:
                    raise self._error if self._error is not None else SlotClosed
                (item, put_ns), self._item = self._item, None
                if self._max_age_ns is None or self._clock() - put_ns <= self._max_age_ns:
                    return item
                self.stale += 1

    def _ready(self) -> bool:
        return self._item is not None or self._closed


class LatestSource:
    """Reads a source in a thread and gives the newest frame whenever one is asked for.

    The thread starts with the iteration, is stopped and joined by :meth:`close`, and what it fails
    with is raised to the consumer after the last frame. From its start on it alone closes the
    source, as that must not happen while it reads: stuck in a driver, it does so when it can.
    """

    def __init__(
        self,
        source: Source,
        max_age_ns: int = 500_000_000,
        timeout_s: float = 10.0,
        clock: Clock = time.perf_counter_ns,
    ) -> None:
        """Take over a source.

        Args:
            source: closed with this one.
            max_age_ns: a frame that has waited for longer is not given out.
            timeout_s: without a frame for so long, the source counts as failed.
            clock: nanoseconds, monotonic.
        """
        self._source = source
        self._timeout_s = timeout_s
        self._slot: LatestSlot[Frame] = LatestSlot(max_age_ns, clock)
        self._lock = threading.Lock()  # of the thread's start
        self._thread: threading.Thread | None = None
        self._stop = threading.Event()

    @property
    def info(self) -> SourceInfo:
        """That of the source."""
        return self._source.info

    @property
    def stats(self) -> SourceStats:
        """Those of the source, with the frames that were dropped here."""
        stats = self._source.stats
        stats.dropped, stats.stale = self._slot.dropped, self._slot.stale
        return stats

    def __iter__(self) -> Iterator[Frame]:
        with self._lock:
            if self._thread is None and not self._stop.is_set():
                self._thread = threading.Thread(target=self._read, name=THREAD_NAME, daemon=True)
                self._thread.start()
        while not self._stop.is_set():
            try:
                yield self._slot.take(self._timeout_s)
            except SlotClosed:
                return
            except TimeoutError as error:
                raise SourceError(
                    f"{self.info.name}: no frame for {self._timeout_s:g} s"
                ) from error

    def _read(self) -> None:
        error: BaseException | None = None
        try:
            for frame in self._source:
                if self._stop.is_set():
                    break
                self._slot.put(frame)
        except BaseException as caught:  # noqa: BLE001 - handed to the consumer, whatever it is
            error = caught
        finally:
            self._source.close()
        self._slot.close(error)

    def close(self) -> None:
        """Stop the thread and close the source; may be called twice."""
        with self._lock:
            again, thread = self._stop.is_set(), self._thread
            self._stop.set()
        self._slot.close()
        if again:
            return
        if thread is None:
            self._source.close()
        else:
            thread.join(JOIN_S)

    def __enter__(self) -> LatestSource:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
