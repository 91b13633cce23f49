"""Where the time of a frame goes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Stopwatch:
    """Adds up the time that the stages of a frame take.

    The clock is given: without one nothing is measured, and a lap costs next to nothing.

    Attributes:
        spent_ns: time by stage since :meth:`begin`.
    """

    def __init__(self, clock: Callable[[], int] | None = None) -> None:
        """Take a clock that gives nanoseconds, monotonic; None measures nothing."""
        self.spent_ns: dict[str, int] = {}
        self._clock = clock
        self._last_ns = 0
        self._whole: str | None = None

    def begin(self) -> None:
        """Start anew with the next frame."""
        if self._clock is not None:
            self.spent_ns = {}
            self._last_ns = self._clock()

    def lap(self, stage: str) -> None:
        """Count the time since the last lap as this stage's."""
        if self._clock is None:
            return
        now_ns = self._clock()
        name = stage if self._whole is None else self._whole
        self.spent_ns[name] = self.spent_ns.get(name, 0) + now_ns - self._last_ns
        self._last_ns = now_ns

    @contextmanager
    def whole(self, stage: str) -> Iterator[None]:
        """Count everything within, also the laps of others, as this stage's."""
        before, self._whole = self._whole, stage
        try:
            yield
        finally:
            self.lap(stage)
            self._whole = before
