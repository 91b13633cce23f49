"""JSON and TOML that others wrote: whatever is wrong with them is a ``ValueError``."""

from __future__ import annotations

import json
import os
import tomllib
from typing import Any


def json_of(text: str | bytes) -> Any:
    """The value of a JSON text.

    Raises:
        ValueError: it is not JSON, not in Unicode, or nested deeper than can be read.
    """
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def toml_of(text: str) -> dict[str, Any]:
    """The table of a TOML text.

    Raises:
        ValueError: it is not TOML, nested deeper than can be read, or has a number beyond 64 bits,
            which Python may not even print.
    """
    try:
        table = tomllib.loads(text)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    waiting: list[Any] = [table]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            waiting += value.values()
        elif isinstance(value, list):
            waiting += value
        elif isinstance(value, int) and not -(1 << 63) <= value < 1 << 63:
            raise ValueError("a whole number beyond 64 bits")
    return table


def is_file(path: str | os.PathLike[str]) -> bool:
    """Whether a file is there; a text that no file can be called by is none."""
    try:
        return os.path.isfile(path)
    except (OSError, ValueError):
        return False


def one_line(error: BaseException, most: int = 200) -> str:
    """What an error says, in one line of at most so many characters.

    Of one of the operating system's the words, without its number and the file: messages name it.
    """
    words = error.strerror if isinstance(error, OSError) else None
    return " ".join((words or str(error)).split())[:most] or type(error).__name__
