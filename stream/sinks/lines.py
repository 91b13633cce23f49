"""What the sinks of text have in common: whole lines, frame by frame."""

from __future__ import annotations

import os
from abc import abstractmethod
from collections.abc import Sequence

from ...models.errors import OutputError
from ..frame import Frame
from ..observation import FaceObservation
from .base import FileSink


class LineSink(FileSink):
    """Base of the sinks that write lines of text.

    A frame's lines are handed to the system at once and unbuffered. A recording is whole up to the
    last frame at any time, and needs no reserve: what a full disk took of a frame is cut off again.
    A process that is killed leaves it so, under the hidden name (``.NAME.XXXXXXXX.part``).

    A subclass implements :meth:`_lines`.
    """

    def __init__(
        self, path: str | os.PathLike[str], *, head: bytes = b"", salvage: bool = False
    ) -> None:
        """Begin the file.

        Args:
            path: its final name.
            head: what comes before the first row.
            salvage: keep what was written before a failure.

        Raises:
            OutputError: the place cannot be written to.
        """
        super().__init__(path, salvage=salvage)
        try:
            self._stream = self._file.path.open("wb", buffering=0)
            self._end = 0
            try:
                self._append(head)
            except OSError:
                self._stream.close()
                raise
        except OSError as error:
            self._file.discard()
            raise OutputError(
                f"{self.path}: cannot be written: {error.strerror or error}"
            ) from error

    @abstractmethod
    def _lines(self, observations: Sequence[FaceObservation]) -> bytes:
        """The lines of a frame's rows, each with its end."""

    def _write(self, frame: Frame, observations: Sequence[FaceObservation]) -> None:
        if observations:
            self._append(self._lines(observations))

    def _append(self, text: bytes) -> None:
        rest = memoryview(text)
        while rest:
            rest = rest[self._stream.write(rest) :]
        self._end += len(text)

    def _finish(self) -> None:
        # An interruption may have come in the middle of a frame as well.
        if self._stream.tell() != self._end:
            self._stream.truncate(self._end)

    def _release(self) -> None:
        self._stream.close()
