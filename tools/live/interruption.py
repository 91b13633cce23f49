"""Ctrl-C and requests to terminate while live sessions are set up, run and are closed."""

from __future__ import annotations

import queue
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any, Final

_AGAIN_S: Final = 0.02
_PATIENCE: Final = 3
_SIGNALS: Final = tuple(
    getattr(signal, name)
    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK")
    if hasattr(signal, name)
)
"""Also that the terminal is gone: a recording must not go with it."""


class Interruption:
    """Remembers that an end was asked for, from the beginning of the context to its end.

    An interruption is an exception that may appear between any two instructions of the main thread:
    within a callback from C or the clean-up of an object it is lost, within the standard library's
    locks a second one breaks them. So it is noted as well, and within :meth:`held` only noted; the
    third one there is raised, for who really wants no more than an end.

    In another thread than the main one the context does nothing.

    Attributes:
        wake: takes ``None`` at every interruption; what waits for something else should wait here.
    """

    def __init__(self) -> None:
        self.wake: queue.SimpleQueue[object] = queue.SimpleQueue()
        self._count = 0
        self._held = False
        self._before: dict[int, Any] = {}

    @property
    def asked(self) -> bool:
        """Whether an end was asked for."""
        return self._count > 0

    @contextmanager
    def held(self) -> Iterator[None]:
        """Note interruptions without raising them."""
        self._held = True
        try:
            yield
        finally:
            self._held = False

    @contextmanager
    def insisting(self) -> Iterator[None]:
        """Raise an interruption again where it was lost, and say nothing of that.

        For what compiles: LLVM calls back after every function, and what is raised there is only
        printed. Where the system has no timer the interruption is noted, as everywhere.
        """
        if not self._before or not hasattr(signal, "setitimer"):
            yield
            return
        told = sys.unraisablehook

        def hook(lost: sys.UnraisableHookArgs) -> None:
            if lost.exc_type is KeyboardInterrupt:
                signal.setitimer(signal.ITIMER_REAL, _AGAIN_S)
            else:
                told(lost)

        handler = signal.signal(signal.SIGALRM, _raise)
        sys.unraisablehook = hook
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0.0)
            sys.unraisablehook = told
            signal.signal(signal.SIGALRM, handler)

    def __enter__(self) -> Interruption:
        if threading.current_thread() is threading.main_thread():
            for number in _SIGNALS:
                if signal.getsignal(number) != signal.SIG_IGN:  # as nohup has it
                    self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}

    def _note(self, number: int, frame: FrameType | None) -> None:
        del number, frame
        self._count += 1
        self.wake.put(None)
        if not self._held or self._count >= _PATIENCE:
            raise KeyboardInterrupt


def _raise(number: int, frame: FrameType | None) -> None:
    del number, frame
    raise KeyboardInterrupt
