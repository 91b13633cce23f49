"""Opens several sources beside each other, in a way that can be interrupted."""

from __future__ import annotations

import queue
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from typing import Final

from .addresses import is_network
from .base import Source
from .opening import SourceOptions, open_source

_POLL_S: Final = 0.1


def open_together(specs: Sequence[str], options: SourceOptions | None = None) -> list[Source]:
    """Open sources, each in a thread of its own, so that none waits for another.

    FFmpeg waits for a silent server, a pipe or standard input without looking for signals. Here
    Ctrl-C is obeyed at once: a thread that is stuck is left to it, and closes what it gets.

    Args:
        specs: as :func:`open_source` takes them.
        options: of all of them; None for the defaults.

    Raises:
        SourceError: one cannot be opened (of several the first); the others are closed.
    """
    openings = [_Opening(spec, options) for spec in specs]
    with ExitStack() as undo:
        for opening in openings:
            undo.callback(opening.give_up)
        for opening in openings:
            opening.start()
        opened = [opening.wait() for opening in openings]
        undo.pop_all()
    return opened


class _Opening:
    """One source on its way."""

    def __init__(self, spec: str, options: SourceOptions | None) -> None:
        self._spec, self._options = spec, options
        self._lock = threading.Lock()  # of all that follows
        self._source: Source | None = None
        self._failure: BaseException | None = None
        self._over = False
        # No event: an interruption within the locks of one, which are Python, would break them.
        self._done: queue.SimpleQueue[None] = queue.SimpleQueue()

    def start(self) -> None:
        # What opens a camera on Windows must outlive it there.
        beside = sys.platform != "win32" or is_network(self._spec)
        work: Callable[[], object] = self._open
        if beside:
            work = threading.Thread(target=work, name="mien-opening", daemon=True).start
        work()

    def wait(self) -> Source:
        """The source; raises what opening it came to."""
        while True:  # a wait without a limit is deaf to Ctrl-C on Windows
            with suppress(queue.Empty):
                self._done.get(timeout=_POLL_S)
                break
        with self._lock:
            if self._source is None:
                assert self._failure is not None
                raise self._failure
            return self._source

    def give_up(self) -> None:
        """Close the source, now or when it is there."""
        with self._lock:
            self._over = True
            source, self._source = self._source, None
        if source is not None:
            source.close()

    def _open(self) -> None:
        try:
            source = open_source(self._spec, self._options)
        except BaseException as failure:  # noqa: BLE001 - raised by wait, whatever it is
            self._failure = failure
        else:
            with self._lock:
                self._source = None if self._over else source
            if self._over:
                source.close()
        self._done.put(None)
