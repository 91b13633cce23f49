"""Arrays in ``.npy`` and ``.npz`` files that others wrote.

NumPy itself makes room for whatever a header declares before it reads a byte, and lets the errors
of whichever part fails come out. Here a header is believed only as far as its bytes are there, and
all that is wrong with a file is a ``ValueError``. Objects are never unpickled.
"""

from __future__ import annotations

import lzma
import math
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Iterable, Mapping, Sequence
from io import BufferedIOBase
from pathlib import Path
from typing import IO, Any, Final

import numpy as np
from numpy.typing import NDArray

from .documents import one_line

MOST_BYTES: Final = 8 << 30
"""Of all arrays that are read from one file together."""
DAMAGE: Final = (
    *(ValueError, TypeError, KeyError, IndexError, EOFError, OverflowError, AttributeError),
    *(SyntaxError, RecursionError, MemoryError, RuntimeError, struct.error),
    *(zipfile.BadZipFile, zlib.error, lzma.LZMAError, tokenize.TokenError),
)
"""What NumPy and zipfile raise over damaged files."""
_MOST_PACKED: Final = 1100
"""Bytes out of one; deflate makes at most 1032."""
_HEADERS: Final = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


def read_npz(
    path: Path,
    names: Sequence[str] | None = None,
    optional: Sequence[str] = (),
    most_bytes: int = MOST_BYTES,
) -> dict[str, NDArray[Any]]:
    """Arrays of an ``.npz``.

    Args:
        path: of the file.
        names: that must be there; None: all that are.
        optional: further ones that may be.
        most_bytes: that they may have together.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is no such archive, lacks an array, holds objects, or unpacks to more than
            ``most_bytes``.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
            wanted = members.keys() if names is None else names
            lacking = [name for name in wanted if name not in members]
            if lacking:
                raise ValueError(f"it lacks {', '.join(lacking)}")
            chosen = dict.fromkeys((*wanted, *(name for name in optional if name in members)))
            size = sum(members[name].file_size for name in chosen)
            if size > most_bytes:
                raise ValueError(f"it unpacks to {size >> 20} MB, more than {most_bytes >> 20} MB")
            check_sizes([members[name] for name in chosen], path.stat().st_size)
            arrays = {}
            for name in chosen:
                with archive.open(members[name]) as stream:
                    arrays[name] = _array(stream, members[name].file_size, name)
            return arrays
    except DAMAGE as error:
        raise ValueError(one_line(error)) from error


def check_sizes(entries: Iterable[zipfile.ZipInfo], size: int) -> None:
    """Entries of a zip must have the bytes that its directory says: room is made for them.

    Args:
        entries: of the archive.
        size: of the archive's file, bytes.

    Raises:
        ValueError: they cannot come out of so few bytes.
    """
    packed = 0
    for entry in entries:
        most = 1 if entry.compress_type == zipfile.ZIP_STORED else _MOST_PACKED
        packed += entry.compress_size
        if entry.file_size > most * entry.compress_size or packed > size:
            raise ValueError(f"{entry.filename!r:.60} lacks the bytes it declares")


def read_npy(path: Path, *, mapped: bool = False) -> NDArray[Any]:
    """The array of an ``.npy``.

    Args:
        path: of the file.
        mapped: leave it on disk, read-only.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is no such file, holds objects, or has not the bytes it declares.
    """
    try:
        with path.open("rb") as stream:
            if not mapped:
                return _array(stream, path.stat().st_size, "it")
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except DAMAGE as error:
        raise ValueError(one_line(error)) from error


def fitted(
    arrays: Mapping[str, NDArray[Any]], wanted: Mapping[str, tuple[type[np.generic], str]]
) -> dict[str, NDArray[Any]]:
    """The arrays in the types and shapes that are wanted.

    Args:
        arrays: by name.
        wanted: type and axes of each: a number, a name (the same size wherever it stands), or
            ``_`` for any size; of names that ``arrays`` lacks nothing is asked.

    Raises:
        ValueError: one has other axes, or cannot be cast without a loss of kind.
    """
    sizes: dict[str, int] = {}
    out: dict[str, NDArray[Any]] = {}
    for name, array in arrays.items():
        kind, axes = wanted[name]
        words = axes.split()
        fits = len(words) == array.ndim and all(
            word == "_" or size == (int(word) if word.isdigit() else sizes.setdefault(word, size))
            for word, size in zip(words, array.shape, strict=True)
        )
        if not fits or not np.can_cast(array.dtype, kind, "same_kind"):
            raise ValueError(
                f"{name} is {array.dtype}{list(array.shape)}, expected {np.dtype(kind)}[{axes}]"
            )
        out[name] = array.astype(kind, copy=False)
    return out


def _array(stream: IO[bytes] | BufferedIOBase, size: int, name: str) -> NDArray[Any]:
    """An array whose file has ``size`` bytes, its header among them."""
    header = _HEADERS.get(np.lib.format.read_magic(stream))
    if header is None:
        raise ValueError(f"{name} is in a version of NumPy's format that is not read here")
    shape, fortran, dtype = header(stream)
    if dtype.hasobject or dtype.itemsize == 0:
        raise ValueError(f"{name} holds {dtype}, expected numbers or text")
    declared = math.prod(shape) * dtype.itemsize
    if min(shape, default=0) < 0 or declared > size - stream.tell():
        raise ValueError(f"{name} declares shape {shape!r:.60} of {dtype}, and lacks the bytes")
    content = bytearray(declared)
    view, at = memoryview(content), 0
    while at < declared:
        got = stream.readinto(view[at:])  # pyright: ignore[reportAttributeAccessIssue]
        if not got:
            raise ValueError(f"{name} breaks off")
        at += got
    flat = np.frombuffer(content, dtype)
    return flat.reshape(shape, order="F" if fortran else "C")
