"""Plays a file at its own pace, as though it were a camera."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from types import TracebackType

from ..frame import Frame
from .base import Clock, Source, SourceInfo, SourceStats


class PacedSource:
    """Gives each frame of a source when it is due, and stamps it with that time.

    A frame is due when as much time has passed since the first one as their presentation times say.
    ``t_capture_ns`` becomes the due time, so that latency is counted from there. No frame is
    dropped: a consumer that is late gets the next ones at once.
    """

    def __init__(
        self,
        source: Source,
        clock: Clock = time.perf_counter_ns,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        """Take over a source.

        Args:
            source: closed with this one.
            clock: nanoseconds, monotonic.
            sleep: waits for so many seconds.
        """
        self._source = source
        self._clock = clock
        self._sleep = sleep

    @property
    def info(self) -> SourceInfo:
        """That of the source, said to be live."""
        return replace(self._source.info, live=True)

    @property
    def stats(self) -> SourceStats:
        """Those of the source."""
        return self._source.stats

    def __iter__(self) -> Iterator[Frame]:
        offset_ns: int | None = None
        for frame in self._source:
            now_ns = self._clock()
            media_ns = now_ns - (offset_ns or 0) if frame.t_media_ns is None else frame.t_media_ns
            if offset_ns is None:
                offset_ns = now_ns - media_ns
            due_ns = media_ns + offset_ns
            if due_ns > now_ns:
                self._sleep((due_ns - now_ns) / 1e9)
            yield replace(frame, t_capture_ns=due_ns)

    def close(self) -> None:
        """Close the source."""
        self._source.close()

    def __enter__(self) -> PacedSource:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
