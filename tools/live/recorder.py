"""Recording that can be switched on and off while faces are followed."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ...models.errors import OutputError
from ...stream.frame import Frame
from ...stream.observation import FaceObservation

if TYPE_CHECKING:
    from ...stream.sinks.base import Recording, Sink

_ENDED: Final = "nothing more comes to be recorded"


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
        self._switching = threading.Lock()  # files are opened and closed by one thread at a time
        self._lock = threading.Lock()  # of the sink and what follows; never held for long
        self._sink: Sink | None = None
        self._path = self._first
        self._failure = ""  # after one there are no further files
        self._untold: OutputError | None = None
        self._ended = False
        if on:
            self._sink = self._open()

    @property
    def on(self) -> bool:
        """Whether rows are being written."""
        return self._sink is not None

    def toggle(self) -> str:
        """Begin or finish a file; a line that says so. May be called from any thread.

        Frames do not wait for it. A file that cannot be finished is also told by the next
        :meth:`write`, or by :meth:`close`.
        """
        with self._switching:
            with self._lock:
                if self._failure or self._ended:
                    return self._failure or _ENDED
                sink, self._sink = self._sink, None
            try:
                return self._begin() if sink is None else self._finish(sink)
            except OutputError as error:
                return str(error)

    def write(self, frame: Frame, observations: Sequence[FaceObservation]) -> None:
        """See :class:`~mien.stream.sinks.base.Sink`."""
        with self._lock:
            self._tell()
            if self._sink is None:
                return
            try:
                self._sink.write(frame, observations)
            except OutputError as error:
                self._sink, self._failure = None, str(error)
                raise

    def close(self) -> None:
        """See :class:`~mien.stream.sinks.base.Sink`."""
        sink = self._end()
        if sink is not None:
            sink.close()
        with self._switching, self._lock:  # a file that is just being finished belongs to it
            self._tell()

    def abort(self) -> None:
        """See :class:`~mien.stream.sinks.base.Sink`."""
        sink = self._end()
        if sink is not None:
            sink.abort()

    def _begin(self) -> str:
        sink = self._open()
        with self._lock:
            if not self._ended:
                self._sink = sink
                return f"recording to {self._path}"
        sink.abort()
        return _ENDED

    def _finish(self, sink: Sink) -> str:
        try:
            sink.close()
        except OutputError as error:
            with self._lock:
                self._failure, self._untold = str(error), error
            raise
        return f"recorded {self._path}"

    def _end(self) -> Sink | None:
        with self._lock:
            self._ended = True
            sink, self._sink = self._sink, None
        return sink

    def _tell(self) -> None:
        """Raise what nobody was told; with the lock held."""
        untold, self._untold = self._untold, None
        if untold is not None:
            raise untold

    def _open(self) -> Sink:
        from ...stream.sinks.queued import QueuedSink
        from ..files import row_sink

        path, number = self._first, 1
        while self._taken and path.exists():
            number += 1
            path = self._first.with_stem(f"{self._first.stem}-{number}")
        # Nobody waits for the disk: a row group is written while the next frames are followed.
        sink = QueuedSink(row_sink(path, self._recording, salvage=True))
        self._path, self._taken = path, True
        return sink
