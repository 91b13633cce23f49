"""Renders shards in a process of its own while a training reads them."""

from __future__ import annotations

import io
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from types import FrameType
from typing import NoReturn

from ..errors import InputError, MienError

_POLL_S = 0.5


class RenderAhead:
    """A child process that renders; use it as a context manager, which ends the child.

    What the child had finished stays; an unfinished shard is rendered again by the next one. An
    interruption from the keyboard is the parent's to handle: the child ends when the block does, or
    when the parent is gone.

    Args:
        task: renders into ``folder``; must be picklable, as ``functools.partial`` of a function is.
        folder: of the shards.
    """

    def __init__(self, task: Callable[[], object], folder: Path) -> None:
        self._folder = folder
        # Spawned, not forked: threads of torch and numba do not survive a fork.
        context = multiprocessing.get_context("spawn")
        self._failure, self._theirs = context.Pipe(duplex=False)
        self._process = context.Process(
            target=_render, args=(task, self._theirs), name="render-ahead"
        )

    def __enter__(self) -> RenderAhead:
        self._process.start()
        self._theirs.close()  # the child has its own: it closes when the child ends
        return self

    def __exit__(self, *exception: object) -> None:
        self._process.terminate()
        self._process.join()

    def wait(self, shards: int) -> None:
        """Block until so many shards are finished, or rendering is.

        Raises:
            InputError: rendering failed.
        """
        while self._process.is_alive() and self._finished() < shards:
            time.sleep(_POLL_S)
        self.check()

    def check(self) -> None:
        """Say if rendering failed.

        Raises:
            InputError: it did, for the reason that it names.
        """
        status = self._process.exitcode
        if status not in (None, 0, -signal.SIGTERM):  # the last one is what ends it early
            try:
                reason = self._failure.recv()
            except EOFError:
                reason = f"it ended with {status}"
            raise InputError(f"{self._folder}: rendering failed: {reason}")

    def _finished(self) -> int:
        return sum(1 for _ in self._folder.glob("shard-*.npz"))


class _NoTerminal(io.TextIOWrapper):
    """Standard error that shows no progress bars: the terminal has the training's."""

    def isatty(self) -> bool:
        return False


def _render(task: Callable[[], object], failure: Connection) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _leave)
    threading.Thread(target=_follow_parent, daemon=True).start()
    sys.stderr = _NoTerminal(os.fdopen(2, "wb", closefd=False), write_through=True)
    try:
        task()
    except MienError as error:
        failure.send(str(error))
        raise SystemExit(1) from error


def _leave(signum: int, frame: FrameType | None) -> NoReturn:
    """Unwinds the child, so that a pool of workers in it is ended too."""
    raise SystemExit(0)


def _follow_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)
