"""Parquet, mien's own format: typed columns, units in the fields, provenance in the file."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ...models.errors import OutputError
from ..frame import Frame
from ..observation import FaceObservation
from ..schema import COLUMNS, SCHEMA_VERSION, Column, arrow_schema
from .base import FileSink, Recording
from .reserve import Reserve

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

_ROWS_A_GROUP: Final = 4096
_LIVE_ROWS_A_GROUP: Final = 512
"""Of a file that is salvaged: a tenth of the reserve and of the time that a row group takes."""

_FACES: Final = 64
"""Rows that a frame may have beyond those that fill a row group."""
_ROW_BYTES: Final = sum(
    (column.length or 1) * np.dtype(column.dtype).itemsize for column in COLUMNS
) * 5 // 4 + len(COLUMNS)
"""Of a row in a row group at most: its values as they are; a quarter more is for levels, page
headers, and for what compression adds where it finds nothing to compress."""
_GROUP_ENTRY_BYTES: Final = 192 * len(COLUMNS)
"""Of a row group in the file's end at most: 88 a column were seen, offsets can add 20."""


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
    """Writes a Parquet file, zstd, in row groups; memory does not grow with the film.

    Parquet can be read only with what stands at its end. With ``salvage``, the file holds disk
    space (:class:`Reserve`) for one more row group and that end, so that both can be written when
    there is no more. Until it is closed it ends with zeros, and a process that is killed leaves
    nothing that can be read.
    """

    def __init__(
        self, path: str | os.PathLike[str], recording: Recording, *, salvage: bool = False
    ) -> None:
        """Begin the file; imports pyarrow.

        Args:
            path: its final name.
            recording: for the file metadata.
            salvage: keep what was written before a failure.

        Raises:
            OutputError: the place cannot be written to, or has no room for the reserve.
        """
        super().__init__(path, salvage=salvage)
        self._schema = arrow_schema(file_metadata(recording))
        self._rows: list[FaceObservation] = []
        self._rows_a_group = _LIVE_ROWS_A_GROUP if salvage else _ROWS_A_GROUP
        self._groups = 0
        self._broken = False
        try:
            self._stream = self._file.path.open("wb")
            try:
                self._reserve = Reserve(self._stream)
                if salvage:
                    self._empty_bytes = _empty_bytes(self._schema)
                    self._secure()
                self._writer = _writer(self._stream, self._schema)
            except BaseException:
                self._stream.close()
                raise
        except OSError as error:
            self._file.discard()
            raise OutputError(
                f"{self.path}: cannot be written: {error.strerror or error}"
            ) from error

    def _write(self, frame: Frame, observations: Sequence[FaceObservation]) -> None:
        self._rows.extend(observations)
        if len(self._rows) >= self._rows_a_group:
            self._flush()

    def _secure(self) -> None:
        if not self._rows:
            # A frame more than fills the group at most, with all its faces.
            rows = self._rows_a_group + _FACES
            footer = self._empty_bytes + (self._groups + 1) * _GROUP_ENTRY_BYTES
            self._reserve.hold(rows * _ROW_BYTES + footer)

    def _finish(self) -> None:
        if self._broken:
            # What pyarrow has counted and what the file holds may differ.
            raise OSError("a row group broke off in the middle")
        if self._rows:
            self._flush()

    def _release(self) -> None:
        try:
            self._writer.close()
            self._reserve.give_back()
        finally:
            self._stream.close()

    def _flush(self) -> None:
        batch = record_batch(self._rows, self._schema)
        self._broken = True
        self._writer.write_batch(batch)
        self._broken = False
        self._groups += 1
        self._rows.clear()


def _writer(stream: Any, schema: pa.Schema) -> pq.ParquetWriter:
    import pyarrow.parquet as pq

    return pq.ParquetWriter(
        stream,
        schema,
        compression="zstd",
        use_dictionary=False,  # hardly a value comes twice
    )


def _empty_bytes(schema: pa.Schema) -> int:
    """Size of a file without rows."""
    stream = io.BytesIO()
    _writer(stream, schema).close()
    return stream.tell()


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
