"""Arrays of an uncompressed ``.npz``, mapped instead of read: processes share what is cached."""

from __future__ import annotations

import struct
import zipfile
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from ..archives import DAMAGE, read_npz
from ..documents import one_line
from ..errors import InputError

_LOCAL_HEADER: Final = 30
"""Bytes of a zip entry's local header before its name and extra field."""


def map_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """The arrays of a file of ``numpy.savez``, read-only; compressed ones are read whole.

    Raises:
        InputError: the file is missing, damaged or no such archive.
    """
    try:
        with zipfile.ZipFile(path) as archive, path.open("rb") as file:
            entries = archive.infolist()
            stored = all(entry.compress_type == zipfile.ZIP_STORED for entry in entries)
            if not stored:
                return read_npz(path)
            found: dict[str, NDArray[Any]] = {}
            for entry in entries:
                file.seek(entry.header_offset)
                name, extra = struct.unpack("<26x2H", file.read(_LOCAL_HEADER))
                file.seek(name + extra, 1)
                found[entry.filename.removesuffix(".npy")] = _map(path, file)
            return found
    except (OSError, *DAMAGE) as error:
        raise InputError(f"{path}: not a file of arrays (.npz): {one_line(error)}") from error


def _map(path: Path, file: Any) -> NDArray[Any]:
    read = (
        npy.read_array_header_1_0 if npy.read_magic(file) == (1, 0) else npy.read_array_header_2_0
    )
    shape, fortran, dtype = read(file)
    if dtype.hasobject:
        raise ValueError("it holds Python objects")
    if min(shape, default=0) < 0:
        raise ValueError(f"an array declares shape {shape!r:.60}")
    if 0 in shape:
        return np.zeros(shape, dtype)
    order = "F" if fortran else "C"
    # The base class: memmap's own bookkeeping would be done at every slice.
    return np.asarray(np.memmap(path, dtype, "r", file.tell(), shape, order))
