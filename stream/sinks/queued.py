"""A sink that files are written through without anybody waiting for the disk."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Final, TypeVar

import numpy as np

from ...models.errors import OutputError
from ..frame import Frame
from ..observation import FaceObservation
from .base import FileSink

_NO_PICTURE: Final = np.zeros((0, 0, 3), np.uint8)
_PERIOD_S: Final = 0.05
"""How often the thread looks. A call for every frame would cost the caller more than writing does:
whoever wakes a thread competes with it for the interpreter, at once."""
_POLL_S: Final = 0.002

SelfQueued = TypeVar("SelfQueued", bound="QueuedSink")


class QueuedSink:
    """Writes to a file sink in a thread of its own.

    Frames wait in a queue, without their pictures: a file of rows needs none. The queue is bounded;
    where the disk stands still for longer, :meth:`write` waits, and no row is lost. What fails in
    the thread is raised by the next :meth:`write` or by :meth:`close`, once.

    A context manager, which ends the thread; what has been handed to it is written first.
    """

    def __init__(self, sink: FileSink, frames: int = 1024) -> None:
        """Start the thread.

        Args:
            sink: what writes; from now on it belongs to the thread.
            frames: that may wait: 1,024 are half a minute, and 4 MB with one face in each.
        """
        self._sink = sink
        self._frames = frames
        self._queue: deque[tuple[Frame, tuple[FaceObservation, ...]]] = deque()
        self._wake = threading.Event()
        self._ending = False
        self._failure: BaseException | None = None
        self._done = False
        """Whether the thread takes what comes without writing it."""
        self._thread = threading.Thread(target=self._drain, name="mien-writer", daemon=True)
        self._thread.start()

    @property
    def path(self) -> Path:
        """The final name."""
        return self._sink.path

    @property
    def rows(self) -> int:
        """Rows written so far; the ones that wait are not counted."""
        return self._sink.rows

    @property
    def waiting(self) -> int:
        """Frames that wait."""
        return len(self._queue)

    def write(self, frame: Frame, observations: Sequence[FaceObservation]) -> None:
        """See :class:`~mien.stream.sinks.base.Sink`."""
        if self._done or self._ending:
            if self._failure is not None:
                raise self._told()
            raise OutputError(f"{self.path}: is closed, nothing more can be written")
        while len(self._queue) >= self._frames:
            self._wake.set()
            time.sleep(_POLL_S)
        self._queue.append((replace(frame, image_bgr=_NO_PICTURE), tuple(observations)))

    def close(self) -> None:
        """See :class:`~mien.stream.sinks.base.Sink`."""
        self._end()
        if self._failure is not None:
            failure = self._told()
            self._sink.__exit__(type(failure), failure, failure.__traceback__)
            raise failure
        self._sink.close()

    def abort(self) -> None:
        """See :class:`~mien.stream.sinks.base.Sink`."""
        self._done = True
        self._end()
        self._sink.abort()

    def __enter__(self: SelfQueued) -> SelfQueued:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None:
            self.close()
            return
        self._end()
        if self._failure is not None and error is not None:
            error.add_note(str(self._told()))
        self._sink.__exit__(kind, error, trace)

    def _told(self) -> BaseException:
        """The failure of the thread, which nobody need be told again."""
        failure, self._failure = self._failure, None
        assert failure is not None
        return failure

    def _end(self) -> None:
        self._ending = True
        self._wake.set()
        self._thread.join()

    def _drain(self) -> None:
        ending = False
        while not ending:
            self._wake.wait(_PERIOD_S)
            self._wake.clear()
            ending = self._ending  # what is appended after it is set is not written
            while self._queue:
                frame, rows = self._queue.popleft()
                # After a failure the queue is emptied still: nobody may wait for a place in it.
                if not self._done:
                    self._take(frame, rows)

    def _take(self, frame: Frame, rows: Sequence[FaceObservation]) -> None:
        try:
            self._sink.write(frame, rows)
        except BaseException as caught:  # noqa: BLE001 - raised again by the next write
            self._failure = caught  # before what makes the caller look for it
            self._done = True
