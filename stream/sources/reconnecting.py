"""A live source that comes back: opened anew when it fails, ends or falls silent.

One thread reads, waits and opens, and the consumer takes the newest frame, as with
:class:`~mien.stream.sources.latest.LatestSource`. The consumer also watches the thread: one that is
stuck in a device's driver or in a connection attempt is left to itself, and lets go of what it
holds when the call returns.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from random import Random
from types import TracebackType
from typing import Final

from ...models.errors import InputError, SourceError
from ..frame import Frame
from .base import Clock, Source, SourceInfo, SourceStats
from .latest import JOIN_S, THREAD_NAME, LatestSlot, SlotClosed

_POLL_S: Final = 0.25
_GRACE_S: Final = 1.0
"""By so much FFmpeg may be late with its own time limit, which says more than ours."""


@dataclass(frozen=True)
class Backoff:
    """How long to wait before each attempt.

    Attributes:
        first_s: before the first; each further wait is twice as long.
        longest_s: it grows to this.
        jitter: each wait is longer or shorter by up to this share, so that many readers of one
            server do not come back at once.
    """

    first_s: float = 0.25
    longest_s: float = 15.0
    jitter: float = 0.5

    def delays(self, rng: Random) -> Iterator[float]:
        """Waits in seconds, without end."""
        delay_s = self.first_s
        while True:
            yield delay_s * (1.0 + rng.uniform(-self.jitter, self.jitter))
            delay_s = min(2.0 * delay_s, self.longest_s)


class ReconnectingSource:
    """Gives the newest frame of a live source, and opens it anew when it is lost.

    Indices go on and times of capture never go back from one connection to the next. ``info`` stays
    that of the first; frames say their own size. While it is being opened anew, ``stats.state`` is
    ``reconnecting`` and ``stats.detail`` says why.
    """

    def __init__(
        self,
        source: Source,
        reopen: Callable[[], Source],
        *,
        max_age_ns: int = 500_000_000,
        read_timeout_s: float = 10.0,
        give_up_s: float = 3600.0,
        backoff: Backoff | None = None,
        rng: Random | None = None,
        clock: Clock = time.perf_counter_ns,
    ) -> None:
        """Take over a source.

        Args:
            source: the first connection.
            reopen: makes the next one, or raises SourceError; called in the reading thread.
            max_age_ns: a frame that has waited for longer is not given out.
            read_timeout_s: without a frame for so long (and a second), the source counts as lost.
            give_up_s: lost for so long, it has failed.
            backoff: the waits between attempts; None for the defaults.
            rng: draws their jitter; None: seeded by the system.
            clock: nanoseconds, monotonic.
        """
        if give_up_s <= 0:
            raise InputError(f"give_up_s is {give_up_s:g}, expected seconds above 0")
        self.info: SourceInfo = source.info
        self._reopen = reopen
        self._read_timeout_s = read_timeout_s
        self._give_up_s = give_up_s
        self._backoff = backoff or Backoff()
        self._rng = rng or Random()
        self._clock = clock
        self._slot: LatestSlot[Frame] = LatestSlot(max_age_ns, clock)
        self._lock = threading.Lock()  # of all that follows
        self._source: Source | None = source
        self._past = SourceStats()
        self._delays = self._backoff.delays(self._rng)
        self._reader: _Reader | None = None
        self._closed = False
        self._connected_ns = self._came_ns = self._lost_ns = self._asked_ns = 0
        self._attempts = 0
        self._first_index = self._next_index = 0
        self._capture_ns: int | None = None

    @property
    def stats(self) -> SourceStats:
        """Those of all connections together; a copy."""
        with self._lock:
            total = replace(self._past, dropped=self._slot.dropped, stale=self._slot.stale)
            if self._source is not None:
                _add(total, self._source.stats)
            return total

    def __iter__(self) -> Iterator[Frame]:
        with self._lock:
            if self._reader is None and not self._closed:
                self._connected_ns = self._came_ns = self._clock()
                self._start(self._source)
        while True:
            self._asked_ns = self._clock()
            try:
                frame = self._slot.take(_POLL_S)
            except SlotClosed:
                return
            except TimeoutError:
                self._watch()
                continue
            yield frame

    def close(self) -> None:
        """Stop the thread and close the source; may be called twice.

        A thread that is stuck is left after half a second; it closes what it holds when it can.
        """
        with self._lock:
            again, self._closed = self._closed, True
            reader, first = self._reader, self._source
            if reader is not None:
                reader.over.set()
        self._slot.close()
        if again:
            return
        if reader is not None:
            reader.thread.join(JOIN_S)
        elif first is not None:
            first.close()

    def __enter__(self) -> ReconnectingSource:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _watch(self) -> None:
        """Called by the consumer while no frame comes.

        Raises:
            SourceError: the source has been lost for too long.
        """
        with self._lock:
            now_ns = self._clock()
            if self._reader is None or self._reader.over.is_set():
                return
            if now_ns - self._asked_ns > _GRACE_S * 1e9:  # this process was stopped, not the source
                self._came_ns = now_ns
            if self._past.state == "running":
                if now_ns - self._came_ns < (self._read_timeout_s + _GRACE_S) * 1e9:
                    return
                self._reader.over.set()
                self._lose(f"{self.info.name}: no frame for {self._read_timeout_s:g} s")
                self._start(None)
                return
            lost_s = (now_ns - self._lost_ns) / 1e9
            if lost_s < self._give_up_s:
                return
            self._reader.over.set()
            attempts = "1 attempt" if self._attempts == 1 else f"{self._attempts} attempts"
            error = SourceError(
                f"{self.info.name}: lost for {lost_s:.3g} s, given up after {attempts}; "
                f"last: {self._past.detail}"
            )
        self._slot.close(error)
        raise error

    def _start(self, source: Source | None) -> None:
        """Let a new thread read a source, or look for one; with the lock held."""
        over = threading.Event()
        thread = threading.Thread(
            target=self._read, args=(over, source), name=THREAD_NAME, daemon=True
        )
        self._reader = _Reader(thread, over)
        thread.start()

    def _read(self, over: threading.Event, source: Source | None) -> None:
        """The thread's work, until ``over`` is set: it alone closes what it reads."""
        try:
            while not over.is_set():
                if source is None:
                    source = self._connect(over)
                else:
                    reason = self._drain(source, over)
                    source.close()
                    with self._lock:
                        if not over.is_set():
                            self._lose(reason)
                    source = None
        except BaseException as error:  # noqa: BLE001 - handed to the consumer, whatever it is
            if not over.is_set():
                self._slot.close(error)
        finally:
            if source is not None:
                source.close()

    def _drain(self, source: Source, over: threading.Event) -> str:
        """Hand frames over until there are no more, and say why."""
        try:
            for frame in source:
                with self._lock:
                    if over.is_set():
                        break
                    self._slot.put(self._continued(frame))
        except SourceError as error:
            return _one_line(error)
        return f"{self.info.name}: ended"

    def _continued(self, frame: Frame) -> Frame:
        """The frame as one of all connections; with the lock held."""
        self._came_ns = self._clock()
        index = self._next_index = self._first_index + frame.index
        self._next_index += 1
        capture_ns = frame.t_capture_ns
        if capture_ns is not None:
            if self._capture_ns is not None:
                capture_ns = max(capture_ns, self._capture_ns + 1)
            self._capture_ns = capture_ns
        if index == frame.index and capture_ns == frame.t_capture_ns:
            return frame
        return replace(frame, index=index, t_capture_ns=capture_ns)

    def _lose(self, reason: str) -> None:
        """Note that a connection is at its end; with the lock held."""
        if self._source is not None:
            _add(self._past, self._source.stats)
            self._source = None
        self._lost_ns, self._attempts = self._clock(), 0
        if self._lost_ns - self._connected_ns >= self._backoff.longest_s * 1e9:
            self._delays = self._backoff.delays(self._rng)
        self._past.state, self._past.detail = "reconnecting", reason

    def _connect(self, over: threading.Event) -> Source | None:
        """Try until a source is open; None when ``over`` is set."""
        while True:
            with self._lock:
                delay_s = next(self._delays)
            if over.wait(delay_s):
                return None
            try:
                source = self._reopen()
            except SourceError as error:
                with self._lock:
                    if over.is_set():
                        return None
                    self._attempts += 1
                    self._past.detail = _one_line(error)
                continue
            with self._lock:
                if not over.is_set():
                    self._source = source
                    self._first_index = self._next_index
                    self._connected_ns = self._came_ns = self._clock()
                    self._past.reconnects += 1
                    self._past.state, self._past.detail = "running", ""
                    return source
            source.close()
            return None


@dataclass(frozen=True)
class _Reader:
    thread: threading.Thread
    over: threading.Event


def _add(total: SourceStats, more: SourceStats) -> None:
    total.frames += more.frames
    total.decode_errors += more.decode_errors
    total.guessed_times += more.guessed_times


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
