"""Parquet, mien's own format: typed columns, units in the fields, provenance in the file."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..frame import Frame
from ..observation import FaceObservation
from ..schema import COLUMNS, SCHEMA_VERSION, Column, arrow_schema
from .base import FileSink, Recording

if TYPE_CHECKING:
    import pyarrow as pa

_ROWS_A_GROUP = 4096


def file_metadata(recording: Recording) -> dict[str, str]:
    """The file metadata: plain text, or JSON where a value is not one word."""
    return {
        "mien.schema_version": str(SCHEMA_VERSION),
        "mien.bundle_hash": recording.bundle_hash,
        "mien.source": recording.source,
        "mien.frame_rate": "" if recording.rate is None else repr(recording.rate),
        "mien.width": str(recording.width),
        "mien.height": str(recording.height),
        "mien.camera_matrix": json.dumps(recording.camera_matrix),
        "mien.options": json.dumps(recording.options, sort_keys=True),
    }


class ParquetSink(FileSink):
    """Writes a Parquet file, zstd, in row groups of 4,096; memory does not grow with the film."""

    def __init__(self, path: str | os.PathLike[str], recording: Recording) -> None:
        """Begin the file; imports pyarrow.

        Raises:
            OutputError: the place cannot be written to.
        """
        import pyarrow.parquet as pq

        super().__init__(path)
        self._schema = arrow_schema(file_metadata(recording))
        self._rows: list[FaceObservation] = []
        self._writer = pq.ParquetWriter(
            self._file.path,
            self._schema,
            compression="zstd",
            use_dictionary=False,  # hardly a value comes twice
        )

    def _write(self, frame: Frame, observations: Sequence[FaceObservation]) -> None:
        self._rows.extend(observations)
        if len(self._rows) >= _ROWS_A_GROUP:
            self._flush()

    def _finish(self) -> None:
        if self._rows:
            self._flush()

    def _release(self) -> None:
        self._writer.close()

    def _flush(self) -> None:
        self._writer.write_batch(record_batch(self._rows, self._schema))
        self._rows.clear()


def record_batch(rows: Sequence[FaceObservation], schema: pa.Schema) -> pa.RecordBatch:
    """The rows as an Arrow batch."""
    import pyarrow as pa

    arrays = [
        _arrow_column(column, [getattr(row, column.name) for row in rows], field.type)
        for column, field in zip(COLUMNS, schema, strict=True)
    ]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def _arrow_column(column: Column, values: list[Any], kind: pa.DataType) -> pa.Array:
    import pyarrow as pa

    if not column.length:
        return pa.array(values, type=kind)
    absent = np.array([value is None for value in values])
    filler = np.zeros(column.length, dtype=np.float32)
    flat = np.concatenate([filler if value is None else value for value in values])
    return pa.FixedSizeListArray.from_arrays(
        pa.array(flat, type=pa.float32()),
        type=kind,
        mask=pa.array(absent) if absent.any() else None,
    )
