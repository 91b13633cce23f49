"""Worker processes that may die: each item is done by one of them, and told how it ended."""

from __future__ import annotations

import _thread
import contextlib
import multiprocessing
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from types import FrameType, TracebackType
from typing import Final, Generic, TypeAlias, TypeVar

from ...models.processes import MOST_PROCESSES

Item = TypeVar("Item")
Done = TypeVar("Done")

_LOOK_S: Final = 0.5
"""How often silent workers are looked at."""
_END_S: Final = 5.0
"""How long a worker may take to tidy up when it is told to end."""
_ENDS_AT_ONCE: Final = os.name == "nt"
"""Whether a process that is terminated has no time to tidy up."""

Tell = Callable[[int, int | None], None]
"""Called by the work as it goes on: parts done, and how many there are where that is known."""


Work: TypeAlias = Callable[[Item, Tell], Done]
"""What a worker does with an item; what is wrong with the item is part of what it returns."""


@dataclass
class _Worker(Generic[Item]):
    process: BaseProcess
    line: Connection
    item: Item | None = None
    heard_s: float = field(default_factory=time.monotonic)


@dataclass(frozen=True)
class Progress(Generic[Item]):
    """An item goes on.

    Attributes:
        item: which.
        done: parts done.
        parts: how many there are; None where unknown.
    """

    item: Item
    done: int
    parts: int | None


@dataclass(frozen=True)
class Ended(Generic[Item, Done]):
    """An item has ended.

    Attributes:
        item: which.
        result: what the work returned; None where its process died or was silent for too long.
        reason: of that, one line.
    """

    item: Item
    result: Done | None
    reason: str = ""


class Workers(Generic[Item, Done]):
    """Some processes, each with one item at a time.

    A process that dies takes its item with it and is replaced; so is one that says nothing for too
    long. An interruption ends all of them as Ctrl-C would, so that they remove what is unfinished.

    Args:
        count: of processes.
        make: makes the work in each process; importable, with arguments that can be pickled.
        silence_s: after so long without a word a worker is given up.
    """

    def __init__(
        self, count: int, make: Callable[[], Work[Item, Done]], silence_s: float = 300.0
    ) -> None:
        self._count = min(count, MOST_PROCESSES)
        self._make = make
        self._silence_s = silence_s
        # Forked processes would share locks of threads that they do not have.
        self._context = multiprocessing.get_context("spawn")
        self._workers: list[_Worker[Item]] = []

    def run(self, items: Sequence[Item]) -> Iterator[Progress[Item] | Ended[Item, Done]]:
        """Do all items; what happens is told as it happens, ends in the order of their coming."""
        waiting = deque(items)
        while len(self._workers) < min(self._count, len(items)):
            self._workers.append(self._start())
        for worker in self._workers:
            self._give(worker, waiting)
        while any(worker.item is not None for worker in self._workers):
            ready = wait([worker.line for worker in self._workers], _LOOK_S)
            for number, worker in enumerate(self._workers):
                if worker.item is None:
                    continue
                told, ended = self._hear(worker) if worker.line in ready else self._check(worker)
                if told is not None:
                    yield told
                if ended:
                    if not worker.process.is_alive():
                        self._workers[number] = self._start()
                    self._give(self._workers[number], waiting)

    def __enter__(self) -> Workers[Item, Done]:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for worker in self._workers:
            worker.line.close()  # an idle one ends of itself, a busy one at its next word
            if worker.item is not None and not _ENDS_AT_ONCE:
                worker.process.terminate()
        deadline = time.monotonic() + _END_S
        for worker in self._workers:
            worker.process.join(max(0.0, deadline - time.monotonic()))
            if worker.process.is_alive():
                worker.process.kill()
                worker.process.join()

    def _start(self) -> _Worker[Item]:
        here, there = self._context.Pipe()
        process = self._context.Process(target=_serve, args=(there, self._make), daemon=True)
        process.start()
        there.close()
        return _Worker(process, here)  # pyright: ignore[reportArgumentType] - as on POSIX

    @staticmethod
    def _give(worker: _Worker[Item], waiting: deque[Item]) -> None:
        worker.item = waiting.popleft() if waiting else None
        worker.heard_s = time.monotonic()
        if worker.item is not None:
            with contextlib.suppress(BrokenPipeError):  # it died: found out when it is looked at
                worker.line.send(worker.item)

    def _hear(
        self, worker: _Worker[Item]
    ) -> tuple[Progress[Item] | Ended[Item, Done] | None, bool]:
        assert worker.item is not None
        try:
            kind, content = worker.line.recv()
        except (EOFError, ConnectionResetError):
            worker.process.join(_END_S)
            code = worker.process.exitcode
            name = signal.Signals(-code).name if code is not None and code < 0 else f"status {code}"
            return Ended(worker.item, None, f"its worker process died ({name})"), True
        worker.heard_s = time.monotonic()
        if kind == "progress":
            return Progress(worker.item, *content), False
        return Ended(worker.item, content), True

    def _check(self, worker: _Worker[Item]) -> tuple[Ended[Item, Done] | None, bool]:
        assert worker.item is not None
        if time.monotonic() - worker.heard_s < self._silence_s:
            return None, False
        worker.process.terminate()
        worker.process.join(_END_S)
        if worker.process.is_alive():
            worker.process.kill()
            worker.process.join()
        worker.line.close()
        reason = f"nothing happened for {self._silence_s:g} s"
        return Ended(worker.item, None, reason), True


def _serve(line: Connection, make: Callable[[], Work[Item, Done]]) -> None:
    """A worker process: items in, results out, until the line is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all: the first process decides
    signal.signal(signal.SIGTERM, _interrupt)
    threading.Thread(target=_end_with_parent, name="parent", daemon=True).start()
    try:
        work = make()
        while True:
            line.send(("done", work(line.recv(), _teller(line))))
    except (EOFError, BrokenPipeError, ConnectionResetError, KeyboardInterrupt):
        return


def _end_with_parent() -> None:
    """Whoever is left when the first process was killed is interrupted, and tidies up.

    The next run of the same command must not find anybody still at work.
    """
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        main = threading.main_thread().ident
        if hasattr(signal, "pthread_kill") and main is not None:
            signal.pthread_kill(main, signal.SIGTERM)  # also where it waits for something
        else:
            _thread.interrupt_main(signal.SIGTERM)
        time.sleep(_END_S)
        os._exit(1)


def _teller(line: Connection) -> Tell:
    told_s = 0.0

    def tell(done: int, parts: int | None) -> None:
        nonlocal told_s
        now_s = time.monotonic()
        if now_s - told_s >= 0.2:
            told_s = now_s
            line.send(("progress", (done, parts)))

    return tell


def _interrupt(number: int, frame: FrameType | None) -> None:
    del number, frame
    raise KeyboardInterrupt
