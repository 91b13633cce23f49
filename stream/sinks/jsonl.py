"""JSON lines: one object a face a frame, with the field names of the row."""

from __future__ import annotations

import os
from collections.abc import Sequence

import msgspec

from ..frame import Frame
from ..observation import FaceObservation
from ..schema import plain_row
from .base import FileSink


class JsonLinesSink(FileSink):
    """Writes JSON lines; floats in the fewest digits that give the same float32."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """Begin the file.

        Raises:
            OutputError: the place cannot be written to.
        """
        super().__init__(path)
        self._stream = self._file.path.open("wb")
        self._encoder = msgspec.json.Encoder()

    def _write(self, frame: Frame, observations: Sequence[FaceObservation]) -> None:
        for row in observations:
            self._stream.write(self._encoder.encode(plain_row(row)) + b"\n")

    def _release(self) -> None:
        self._stream.close()
