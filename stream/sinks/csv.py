"""CSV: one row a face a frame, under the header that the schema generates."""

from __future__ import annotations

import csv
import os
from collections.abc import Sequence

from ..frame import Frame
from ..observation import FaceObservation
from ..schema import CSV_HEADER, csv_row
from .base import FileSink


class CsvSink(FileSink):
    """Writes a CSV file; floats in the fewest digits that give the same float32."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """Begin the file.

        Raises:
            OutputError: the place cannot be written to.
        """
        super().__init__(path)
        self._stream = self._file.path.open("w", encoding="utf-8", newline="")
        self._writer = csv.writer(self._stream, lineterminator="\n")
        self._writer.writerow(CSV_HEADER)

    def _write(self, frame: Frame, observations: Sequence[FaceObservation]) -> None:
        self._writer.writerows(csv_row(row) for row in observations)

    def _release(self) -> None:
        self._stream.close()
