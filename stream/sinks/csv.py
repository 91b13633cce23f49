"""CSV: one row a face a frame, under the header that the schema generates."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterable, Sequence

from ..observation import FaceObservation
from ..schema import CSV_HEADER, csv_row
from .lines import LineSink


class CsvSink(LineSink):
    """Writes a CSV file; floats in the fewest digits that give the same float32."""

    def __init__(self, path: str | os.PathLike[str], *, salvage: bool = False) -> None:
        """Begin the file.

        Args:
            path: its final name.
            salvage: keep what was written before a failure.

        Raises:
            OutputError: the place cannot be written to.
        """
        super().__init__(path, head=_text([CSV_HEADER]), salvage=salvage)

    def _lines(self, observations: Sequence[FaceObservation]) -> bytes:
        return _text(csv_row(row) for row in observations)


def _text(rows: Iterable[Iterable[str]]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().encode()
