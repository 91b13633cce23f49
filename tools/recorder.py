"""Recording that can be switched on and off while faces are followed."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..models.errors import OutputError
from ..stream.frame import Frame
from ..stream.observation import FaceObservation

if TYPE_CHECKING:
    from ..stream.sinks.base import Recording, Sink


class RecordSwitch:
    """A sink that writes while it is on, each time into a file of its own.

    Args:
        path: of the first file; None: ``mien-<stream>.parquet`` here. Later ones get a number.
        stream: name of the stream.
        recording: what files say about where their rows come from.
        on: whether it begins at once.

    Raises:
        OutputError: the file cannot be written.
    """

    def __init__(self, path: Path | None, stream: str, recording: Recording, on: bool) -> None:
        self._first = path or Path(f"mien-{stream}.parquet")
        self._taken = path is None  # what is there already was not asked to be replaced
        self._recording = recording
        self._lock = threading.Lock()
        self._sink: Sink | None = None
        self._path = self._first
        self._failure = ""
        if on:
            self._begin()

    @property
    def on(self) -> bool:
        """Whether rows are being written."""
        return self._sink is not None

    def toggle(self) -> str:
        """Begin or finish a file; a line that says so. May be called from any thread."""
        with self._lock:
            if self._failure:
                return self._failure
            try:
                if self._sink is None:
                    self._begin()
                    return f"recording to {self._path}"
                sink, self._sink = self._sink, None
                sink.close()
            except OutputError as error:
                return str(error)
            return f"recorded {self._path}"

    def write(self, frame: Frame, observations: Sequence[FaceObservation]) -> None:
        """See :class:`~mien.stream.sinks.base.Sink`."""
        with self._lock:
            if self._sink is None:
                return
            try:
                self._sink.write(frame, observations)
            except OutputError as error:
                self._sink, self._failure = None, str(error)
                raise

    def close(self) -> None:
        """See :class:`~mien.stream.sinks.base.Sink`."""
        with self._lock:
            sink, self._sink = self._sink, None
            if sink is not None:
                sink.close()

    def abort(self) -> None:
        """See :class:`~mien.stream.sinks.base.Sink`."""
        with self._lock:
            sink, self._sink = self._sink, None
            if sink is not None:
                sink.abort()

    def _begin(self) -> None:
        from ..stream.sinks.queued import QueuedSink
        from .files import row_sink

        path, number = self._first, 1
        while self._taken and path.exists():
            number += 1
            path = self._first.with_stem(f"{self._first.stem}-{number}")
        # Nobody waits for the disk: a row group is written while the next frames are followed.
        self._sink = QueuedSink(row_sink(path, self._recording, salvage=True))
        self._path, self._taken = path, True
