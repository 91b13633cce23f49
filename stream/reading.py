"""Reads back the rows that the file sinks wrote."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from ..models.documents import one_line
from ..models.errors import InputError
from .observation import LIMITS, FaceObservation
from .schema import COLUMNS, CSV_HEADER, DAMAGE, from_plain, observation_from_csv, rounded

_WHOLE = tuple(column for column in COLUMNS if column.dtype in LIMITS)


def read_observations(path: str | os.PathLike[str]) -> Iterator[FaceObservation]:
    """The rows of a ``.parquet``, ``.csv`` or ``.jsonl`` file, in order.

    Raises:
        InputError: the file cannot be read, has another ending, or holds other columns.
    """
    place = Path(path)
    readers = {".parquet": _read_parquet, ".csv": _read_csv, ".jsonl": _read_jsonl}
    reader = readers.get(place.suffix.lower())
    if reader is None:
        raise InputError(f"{place}: expected a name that ends with {', '.join(readers)}")
    try:
        yield from reader(place)
    except InputError as error:
        raise InputError(f"{place}: {error}") from error
    except (OSError, csv.Error, *DAMAGE) as error:
        raise InputError(f"{place}: cannot be read: {one_line(error)}") from error


def read_parquet_metadata(path: str | os.PathLike[str]) -> dict[str, str]:
    """mien's entries of a Parquet file's metadata, without the prefix ``mien.``.

    Raises:
        InputError: the file cannot be read.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        metadata = pq.read_schema(path).metadata or {}
    except (OSError, ValueError, pa.ArrowException) as error:
        raise InputError(f"{path}: not a Parquet file: {one_line(error)}") from error
    return {
        key.decode("utf-8", "replace").removeprefix("mien."): value.decode("utf-8", "replace")
        for key, value in metadata.items()
        if key.startswith(b"mien.")
    }


def _read_parquet(path: Path) -> Iterator[FaceObservation]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            lacking = [c.name for c in COLUMNS if c.name not in file.schema_arrow.names]
            if lacking:
                raise InputError(f"lacks the columns {', '.join(lacking)}")
            for batch in file.iter_batches(batch_size=4096):
                yield from _rows_of(batch)
    except (pa.ArrowException, ValueError, TypeError, OverflowError, StopIteration) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"not a Parquet file of mien's: {one_line(error)}") from error


def _rows_of(batch: Any) -> Iterator[FaceObservation]:
    columns: dict[str, list[Any]] = {}
    for column in COLUMNS:
        array = batch.column(column.name)
        if column.length:
            valid = array.is_valid().to_numpy(zero_copy_only=False)
            # flatten() skips null lists, so the values line up with the valid rows only.
            rows = iter(array.flatten().to_numpy().reshape(-1, column.length).astype(np.float32))
            columns[column.name] = [next(rows) if ok else None for ok in valid]
        else:
            columns[column.name] = array.to_pylist()
    for values in zip(*columns.values(), strict=True):
        row = dict(zip(columns, values, strict=True))
        for column in _WHOLE:  # a foreign writer's may be of any type
            low, high = LIMITS[column.dtype]
            number = row[column.name]
            if number is None and column.nullable:
                continue
            if isinstance(number, float) and number.is_integer():  # of one without whole numbers
                number = row[column.name] = int(number)
            if not isinstance(number, int) or not low <= number <= high:
                raise InputError(f"{column.name}: {number!r:.60} is not {column.type_name}")
        yield FaceObservation(**row)


def _read_csv(path: Path) -> Iterator[FaceObservation]:
    with path.open(encoding="utf-8", newline="") as stream:
        rows = csv.reader(stream)
        if tuple(next(rows, ())) != CSV_HEADER:
            raise InputError("the header is not that of mien's rows")
        for cells in rows:
            yield observation_from_csv(cells)


def _read_jsonl(path: Path) -> Iterator[FaceObservation]:
    decoder = msgspec.json.Decoder(FaceObservation, dec_hook=from_plain)
    with path.open("rb") as stream:
        for line in stream:
            yield rounded(decoder.decode(line))
