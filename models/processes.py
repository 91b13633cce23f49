"""Work shared out over processes, each of which prepares itself once.

A process that cannot prepare itself, or that dies, ends the work with an error; a
``multiprocessing.Pool`` would begin another in its place, and another, for ever.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from typing import Final, TypeVar

from .errors import MienError

Config = TypeVar("Config")
Task = TypeVar("Task")
Result = TypeVar("Result")

MOST_PROCESSES: Final = 60 if os.name == "nt" else sys.maxsize
"""At once: Windows waits for 63 things at most."""

_prepared = False


def _do(
    prepare: Callable[[Config], object],
    config: Config,
    make: Callable[[Task], Result],
    task: Task,
) -> Result:
    """One task, in a process of its own pool; what it raises reaches the caller."""
    global _prepared  # noqa: PLW0603 - once a process
    if not _prepared:
        prepare(config)
        _prepared = True
    return make(task)


def _leave_interrupts() -> None:
    """Ctrl-C reaches all processes of a terminal; the one that began them ends them."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def share_out(
    make: Callable[[Task], Result],
    tasks: Iterable[Task],
    workers: int,
    prepare: Callable[[Config], object],
    config: Config,
) -> Generator[Result, None, None]:
    """What ``make`` returns for each task, in the order in which they are done.

    Args:
        make: does a task; a function of a module, as ``prepare`` is.
        tasks: what to do.
        workers: processes.
        prepare: called with ``config`` in each process, before its first task.
        config: what to prepare for.

    Raises:
        MienError: a process died; and whatever ``prepare`` and ``make`` raise. The other
            processes are ended.
    """
    # Spawned, not forked: numba's and OpenCV's threads do not survive a fork.
    context = multiprocessing.get_context("spawn")
    others = set(multiprocessing.active_children())
    pool = ProcessPoolExecutor(min(workers, MOST_PROCESSES), context, _leave_interrupts)
    done = False
    try:
        for future in as_completed([pool.submit(_do, prepare, config, make, t) for t in tasks]):
            yield future.result()
        done = True
    except BrokenProcessPool as error:
        raise MienError(
            "a worker process died: killed, or out of memory; the same command goes on from "
            "what is finished, with fewer --workers it takes less memory"
        ) from error
    finally:
        if not done:
            for process in set(multiprocessing.active_children()) - others:
                process.terminate()
        pool.shutdown(cancel_futures=True)
