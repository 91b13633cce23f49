"""JSON lines: one object a face a frame, with the field names of the row."""

from __future__ import annotations

import os
from collections.abc import Sequence

import msgspec

from ..observation import FaceObservation
from ..schema import plain_row
from .lines import LineSink


class JsonLinesSink(LineSink):
    """Writes JSON lines; floats in the fewest digits that give the same float32."""

    def __init__(self, path: str | os.PathLike[str], *, salvage: bool = False) -> None:
        """Begin the file.

        Args:
            path: its final name.
            salvage: keep what was written before a failure.

        Raises:
            OutputError: the place cannot be written to.
        """
        super().__init__(path, salvage=salvage)
        self._encoder = msgspec.json.Encoder()

    def _lines(self, observations: Sequence[FaceObservation]) -> bytes:
        return self._encoder.encode_lines([plain_row(row) for row in observations])
