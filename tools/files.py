"""Files that commands write: where they may lie, and which sink a name asks for."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from jaxtyping import UInt8

from ..models.errors import InputError, OutputError
from ..models.writing import whole_file

if TYPE_CHECKING:
    import numpy as np

    from ..stream.sinks.base import FileSink, Recording

ROW_SUFFIXES = (".parquet", ".csv", ".jsonl")


def check_place(path: Path | None) -> None:
    """See that a file can be written there, before the work that fills it; None is fine.

    Raises:
        OutputError: its folder is absent or cannot be written to, or the place is a folder.
    """
    if path is None:
        return
    if path.is_dir():
        raise OutputError(f"{path}: is a folder, expected a place for a file")
    if not path.parent.is_dir():
        raise OutputError(f"{path}: no folder {path.parent} to write it to")
    if not os.access(path.parent, os.W_OK):
        raise OutputError(f"{path}: the folder {path.parent} cannot be written to")


def write_png(path: Path, picture_bgr: np.ndarray) -> None:
    """Write a picture, (H, W, 3) uint8 BGR.

    Raises:
        OutputError: the file cannot be written.
    """
    import cv2

    with whole_file(path) as part:
        part.write_bytes(cv2.imencode(".png", picture_bgr)[1].tobytes())


def write_film(path: Path, pictures: Iterable[UInt8[np.ndarray, "H W 3"]], rate: int) -> None:
    """Write pictures, BGR, of one even size, as MP4.

    Args:
        path: the file.
        pictures: one after the other.
        rate: of them, per second.

    Raises:
        OutputError: the file cannot be written.
    """
    from ..stream.sinks.mp4 import Mp4Writer

    with Mp4Writer(path, rate) as film:
        for number, picture in enumerate(pictures):
            film.add(picture, round(number * 1_000_000_000 / rate))


def check_row_place(path: Path | None) -> None:
    """As :func:`check_place`, for a file of rows.

    Raises:
        InputError: no sink writes files with this ending.
        OutputError: see there.
    """
    if path is not None and path.suffix.lower() not in ROW_SUFFIXES:
        raise InputError(f"{path}: expected a name that ends {', '.join(ROW_SUFFIXES)}")
    check_place(path)


def row_sink(path: Path, recording: Recording, *, salvage: bool = False) -> FileSink:
    """The sink of rows that the ending of a name means: .parquet, .csv or .jsonl.

    Args:
        path: the file.
        recording: what it says about where its rows come from.
        salvage: keep what was written before a failure, as of a live recording.

    Raises:
        InputError: another ending.
        OutputError: the place cannot be written to.
    """
    check_row_place(path)
    suffix = path.suffix.lower()
    if suffix == ".parquet":
        from ..stream.sinks.parquet import ParquetSink

        return ParquetSink(path, recording, salvage=salvage)
    if suffix == ".csv":
        from ..stream.sinks.csv import CsvSink

        return CsvSink(path, salvage=salvage)
    from ..stream.sinks.jsonl import JsonLinesSink

    return JsonLinesSink(path, salvage=salvage)
