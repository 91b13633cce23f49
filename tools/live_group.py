"""Live sessions beside each other, watched from the main thread."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Sequence
from typing import Final, TextIO

from .live import Session

_SECOND_NS: Final = 1_000_000_000
_JOIN_S: Final = 15.0
"""How long a session may take to close its files."""


class LiveGroup:
    """Sessions that run beside each other, watched from the main thread.

    Args:
        sessions: one a source.
        watch: called about 30 times a second from the main thread; False ends all.
        line: where the status line goes where it is a terminal.
        clock: nanoseconds, monotonic.
    """

    def __init__(
        self,
        sessions: Sequence[Session],
        watch: Callable[[], bool] | None = None,
        line: TextIO = sys.stderr,
        clock: Callable[[], int] = time.perf_counter_ns,
    ) -> None:
        self._sessions = sessions
        self._watch = watch
        self._line = line
        self._clock = clock
        self._ended = threading.Semaphore(0)
        self._faults: list[BaseException] = []

    def run(self) -> bool:
        """Run all sessions to their end; an interruption stops them, files are kept.

        Returns:
            Whether it was interrupted.
        """
        threads = [
            threading.Thread(target=self._one, args=(session,), name=f"mien-{session.name}")
            for session in self._sessions
        ]
        for thread in threads:
            thread.daemon = True
            thread.start()
        interrupted = False
        try:
            self._oversee(len(threads))
        except KeyboardInterrupt:
            interrupted = True
        for session in self._sessions:
            session.stop()
        for thread in threads:
            thread.join(_JOIN_S)
        if self._line.isatty():
            self._line.write("\r\x1b[K")
        if self._faults:
            raise self._faults[0]
        return interrupted

    def _one(self, session: Session) -> None:
        try:
            session.run()
        except BaseException as fault:  # noqa: BLE001 - raised again in the main thread
            self._faults.append(fault)
        finally:
            self._ended.release()

    def _oversee(self, count: int) -> None:
        told_ns = self._clock()
        pause_s = 0.25 if self._watch is None else 0.03
        while count and not self._faults:
            if self._ended.acquire(timeout=pause_s):
                count -= 1
                continue
            if self._watch is not None and not self._watch():
                return
            now_ns = self._clock()
            if now_ns - told_ns >= _SECOND_NS and self._line.isatty():
                told_ns = now_ns
                text = " | ".join(session.line(now_ns) for session in self._sessions)
                self._line.write(f"\r{text}\x1b[K")
                self._line.flush()
