"""Checkpoints on disk: plain tensors and containers under the name of their format."""

from __future__ import annotations

import io
import pickle
import re
import struct
import warnings
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from ..archives import check_sizes
from ..documents import one_line
from ..errors import InputError, MienError, OutputError
from ..pickle_steps import Spread, steps
from ..writing import whole_file
from .tensor_file import check_content

DAMAGE = (
    *(RuntimeError, EOFError, pickle.UnpicklingError, ValueError, TypeError, LookupError),
    *(AttributeError, MemoryError, ArithmeticError, AssertionError, ImportError, struct.error),
)
"""What torch raises over damaged files."""
_NO_WEIGHTS = "it is no file of torch's weights"
_LONGEST_NAME = 1000
_ZIP = b"PK\3\4"
_OLD_PROGRAMS = 5
"""Pickles at the beginning of a file of before torch 1.6; numbers follow."""
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


def program_fault(path: Path) -> str:
    """What a file of torch's must not do, although torch would let it; "" for nothing.

    Of a class that it does not allow torch searches its own message, in time that grows with the
    square of the name: 2 s for 15 kB. It makes byte arrays of any size, unpacks whatever is packed
    (its own files never are), and hashes values that stand in themselves over and over.
    """
    try:
        with path.open("rb") as file:
            is_zip = file.read(len(_ZIP)) == _ZIP  # as torch decides it
        if is_zip:
            with zipfile.ZipFile(path) as archive:
                if any(info.compress_type != zipfile.ZIP_STORED for info in archive.infolist()):
                    raise ValueError("it is packed")
                check_sizes(archive.infolist(), path.stat().st_size)
                # torch takes no notice of capitals
                inside = [n for n in archive.namelist() if n.lower().endswith("data.pkl")]
                programs = [(archive.read(name), 1) for name in inside]
        else:
            programs = [(path.read_bytes(), _OLD_PROGRAMS)]
        for content, count in programs:
            _check_programs(io.BytesIO(content), count)
    except UnicodeDecodeError:
        return f"{_NO_WEIGHTS}: it names a class in letters that no class has"
    except (zipfile.BadZipFile, *DAMAGE) as error:
        return f"{_NO_WEIGHTS}: {one_line(error)}"
    return ""


def _check_programs(stream: io.BytesIO, count: int) -> None:
    for _ in range(count):
        spread = Spread()
        for step, argument, end in steps(stream):
            if step.name in ("GLOBAL", "STACK_GLOBAL"):
                name = str(argument or "")
                if len(name) > _LONGEST_NAME:
                    raise ValueError(f"it names a class of {len(name)} letters")
                if name.endswith(" bytearray"):
                    raise ValueError("it makes bytes of a size that it names")
            spread.take(step, argument, end)


def words_of(error: BaseException) -> str:
    """What torch says of a file, in one line, without its advice to load it unsafely."""
    text = str(error)
    found = _CLASS.search(text)
    if found is not None:
        return f"it holds a {found[1]}, and only tensors and plain containers are read"
    if "weights_only" in text or isinstance(error, LookupError):
        return _NO_WEIGHTS
    lines = text.splitlines()
    return lines[0][:200] if lines else "it breaks off"


def load_plain(path: Path) -> Any:
    """What a file of torch's holds; nothing but tensors and plain containers is unpickled.

    Raises:
        OSError: it cannot be read.
        ValueError: it is damaged, or holds more.
    """
    fault = program_fault(path)
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
    check_content(path, content)
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
