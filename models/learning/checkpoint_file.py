"""Checkpoints on disk: plain tensors and containers under the name of their format."""

from __future__ import annotations

import pickle
import struct
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from ..documents import one_line
from ..errors import InputError, MienError

DAMAGE = (
    *(RuntimeError, EOFError, pickle.UnpicklingError, ValueError, TypeError, LookupError),
    *(AttributeError, MemoryError, OverflowError, AssertionError, ImportError, struct.error),
)
"""What torch raises over damaged files."""


def save_content(path: Path, content: dict[str, Any]) -> None:
    """Write a checkpoint; an old one of that name stays whole until this one is.

    Args:
        path: the file.
        content: tensors and plain containers, with the format's name under ``format``.

    Raises:
        OSError: it cannot be written.
    """
    temporary = path.with_name(f".{path.name}.tmp")
    torch.save(content, temporary)
    temporary.replace(path)


def load_plain(path: Path) -> Any:
    """What a file of torch's holds; nothing but tensors and plain containers is unpickled.

    Raises:
        OSError: it cannot be read.
        ValueError: it is damaged, or holds more.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what other files of torch's might hold
            return torch.load(path, map_location="cpu", weights_only=True)
    except DAMAGE as error:
        lines = str(error).splitlines()
        raise ValueError(lines[0][:200] if lines else "it breaks off") from error


def load_content(path: Path, kind: object) -> dict[str, Any]:
    """Read a checkpoint; nothing but tensors and plain containers is unpickled.

    Args:
        path: the file.
        kind: the format that is expected.

    Raises:
        InputError: the file is missing, damaged or of another format.
    """
    try:
        content = load_plain(path)
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: not a checkpoint: {one_line(error)}") from error
    if not isinstance(content, dict) or content.get("format") != kind:
        raise InputError(f"{path}: not a checkpoint of format {kind}")
    return content


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
