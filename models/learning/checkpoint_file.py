"""Checkpoints on disk: plain tensors and containers under the name of their format."""

from __future__ import annotations

import io
import pickle
import pickletools
import re
import struct
import warnings
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from ..documents import one_line
from ..errors import InputError, MienError, OutputError
from ..writing import whole_file

DAMAGE = (
    *(RuntimeError, EOFError, pickle.UnpicklingError, ValueError, TypeError, LookupError),
    *(AttributeError, MemoryError, ArithmeticError, AssertionError, ImportError, struct.error),
)
"""What torch raises over damaged files."""
_LONGEST_NAME = 1000
_CLASS = re.compile(r"GLOBAL ([\w.]{1,200}) was not an allowed global")


def save_content(path: Path, content: dict[str, Any]) -> None:
    """Write a checkpoint; an old one of that name stays whole until this one is.

    Args:
        path: the file.
        content: tensors and plain containers, with the format's name under ``format``.

    Raises:
        OutputError: it cannot be written.
    """
    with whole_file(path) as part:
        try:
            torch.save(content, part)
        except RuntimeError as error:  # of a full disk
            raise OutputError(f"{path}: cannot be written: {one_line(error)}") from error


def names_fault(path: Path) -> str:
    """What is wrong with names of classes in a file of torch's; "" for nothing.

    Of a class that it does not allow torch searches its own message, in time that grows with the
    square of the name: 2 s for 15 kB.
    """
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                inside = [name for name in archive.namelist() if name.endswith("data.pkl")]
                contents = [archive.read(name) for name in inside]
        else:
            contents = [path.read_bytes()]
        for content in contents:
            stream = io.BytesIO(content)
            # Files of before torch 1.6 are five pickles, then numbers.
            for _ in range(5):
                for code, argument, _ in pickletools.genops(stream):
                    length = len(str(argument)) if code.name == "GLOBAL" else 0
                    if length > _LONGEST_NAME:
                        return f"it names a class of {length} letters"
    except UnicodeDecodeError:
        return "it names a class in letters that no class has"
    except (zipfile.BadZipFile, zlib.error, *DAMAGE):
        return ""  # torch says what is wrong
    return ""


def words_of(error: BaseException) -> str:
    """What torch says of a file, in one line, without its advice to load it unsafely."""
    text = str(error)
    found = _CLASS.search(text)
    if found is not None:
        return f"it holds a {found[1]}, and only tensors and plain containers are read"
    if "weights_only" in text or isinstance(error, LookupError):
        return "it is no file of torch's weights"
    lines = text.splitlines()
    return lines[0][:200] if lines else "it breaks off"


def load_plain(path: Path) -> Any:
    """What a file of torch's holds; nothing but tensors and plain containers is unpickled.

    Raises:
        OSError: it cannot be read.
        ValueError: it is damaged, or holds more.
    """
    fault = names_fault(path)
    if fault:
        raise ValueError(fault)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what other files of torch's might hold
            return torch.load(path, map_location="cpu", weights_only=True)
    except DAMAGE as error:
        raise ValueError(words_of(error)) from error


def load_content(path: Path, kind: object) -> dict[str, Any]:
    """Read a checkpoint; nothing but tensors and plain containers is unpickled.

    Args:
        path: the file.
        kind: the format that is expected.

    Raises:
        InputError: the file is missing, damaged or of another format.
    """
    if not path.exists():
        raise InputError(f"{path}: no such file; expected a checkpoint")
    try:
        content = load_plain(path)
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: not a checkpoint: {one_line(error)}") from error
    if not isinstance(content, dict) or content.get("format") != kind:
        raise InputError(f"{path}: not a checkpoint of format {kind}")
    return content


def is_checkpoint(path: Path, kind: object) -> bool:
    """Whether a file is a checkpoint of that format, rather than another network's or none."""
    try:
        load_content(path, kind)
    except InputError:
        return False
    return True


@contextmanager
def unpacking(path: Path) -> Iterator[None]:
    """What is raised inside over a checkpoint's entries is said of its file, in one line.

    Raises:
        InputError: an entry is missing, of another kind, or of another network.
    """
    try:
        yield
    except MienError:
        raise
    except DAMAGE as error:
        raise InputError(
            f"{path}: a checkpoint that is damaged, or of another network: {one_line(error)}"
        ) from error
