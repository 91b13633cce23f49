"""Live sessions beside each other, watched from the main thread."""

from __future__ import annotations

import queue
import shutil
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final

from ..memory import give_back_free_memory
from .interruption import Interruption
from .session import Session

_SECOND_NS: Final = 1_000_000_000
_TIDY_NS: Final = 60 * _SECOND_NS
"""How often memory that is free goes back to the system."""
_STOP_S: Final = 2.0
"""How long a session may take to end: one that still waits for its source then is left to it."""
_CLOSE_S: Final = 15.0
"""How long files may take to be closed."""


class LiveGroup:
    """Sessions that run beside each other, watched from the main thread.

    Args:
        sessions: one a source.
        watch: called about 30 times a second from the main thread; False ends all.
        interruption: what notes Ctrl-C; None: nothing does.
    """

    def __init__(
        self,
        sessions: Sequence[Session],
        watch: Callable[[], bool] | None = None,
        interruption: Interruption | None = None,
    ) -> None:
        self._sessions = sessions
        self._watch = watch
        self._interruption = interruption or Interruption()
        self._faults: list[BaseException] = []

    def run(self) -> bool:
        """Run all sessions to their end; an interruption stops them, files are kept.

        Returns:
            Whether it was interrupted.
        """
        threads = [
            threading.Thread(
                target=self._one, args=(session,), name=f"mien-{session.name}", daemon=True
            )
            for session in self._sessions
        ]
        with self._interruption.held():
            try:
                for thread in threads:
                    thread.start()
                self._oversee(threads)
            finally:
                self._stop(threads)
        if self._faults:
            raise self._faults[0]
        return self._interruption.asked

    def _stop(self, threads: Sequence[threading.Thread]) -> None:
        for session in self._sessions:
            session.stop()
        begin_s = time.monotonic()

        def left_s(limit_s: float) -> float:
            return max(0.0, begin_s + limit_s - time.monotonic())

        started = [pair for pair in zip(self._sessions, threads, strict=True) if pair[1].ident]
        for _, thread in started:
            thread.join(left_s(_STOP_S))
        for session, thread in started:
            if thread.is_alive():
                session.leave(left_s(_CLOSE_S))
        if sys.stderr.isatty():
            sys.stderr.write("\r\x1b[K")

    def _one(self, session: Session) -> None:
        try:
            session.run()
        except BaseException as fault:  # noqa: BLE001 - raised again in the main thread
            self._faults.append(fault)
        finally:
            self._interruption.wake.put(session)

    def _oversee(self, threads: Sequence[threading.Thread]) -> None:
        told_ns = tidied_ns = time.perf_counter_ns()
        pause_s = 0.25 if self._watch is None else 0.03
        left = len(threads)
        while left and not (self._faults or self._interruption.asked):
            with suppress(queue.Empty):
                left -= self._interruption.wake.get(timeout=pause_s) is not None
                continue
            if self._watch is not None and not self._watch():
                return
            now_ns = time.perf_counter_ns()
            if now_ns - tidied_ns >= _TIDY_NS:
                tidied_ns = now_ns
                give_back_free_memory()
            if now_ns - told_ns >= _SECOND_NS and sys.stderr.isatty():
                told_ns = now_ns
                text = " | ".join(session.line(now_ns) for session in self._sessions)
                # A line that is wrapped could not be written over.
                columns = shutil.get_terminal_size((80, 24)).columns
                sys.stderr.write(f"\r{text[: columns - 1]}\x1b[K")
                sys.stderr.flush()
