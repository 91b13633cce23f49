"""JSON and TOML that others wrote: whatever is wrong with them is a ``ValueError``."""

from __future__ import annotations

import json
import os
import re
import tomllib
from collections.abc import Iterator
from typing import Any, Final

_DEEPEST: Final = 32
"""Values within values, and parts of a TOML key."""
_MOST_TOML: Final = 1 << 18
"""Characters of a TOML text; the largest of mien's own has 7,000."""
_TOKEN: Final = re.compile(
    r'''
    """ (?: \\. | [^\\] )*? (?: "{3,5} | \Z )   # a text without its end is refused by the parser
    | \'{3} .*? (?: \'{3,5} | \Z )
    | \# [^\n]*
    | (?P<part> [A-Za-z0-9_-]++ | " (?: \\[^\n] | [^"\\\n] )*+ "? | \' [^\'\n]*+ \'? | [ \t]++ )
    | (?P<dot> \. )
    | .
    ''',
    re.VERBOSE | re.DOTALL,
)
"""Of TOML, as far as it tells the dots of keys from others."""


def json_of(text: str | bytes) -> Any:
    """The value of a JSON text.

    Raises:
        ValueError: it is not JSON, not in Unicode, nested deeper than anything sensible, or larger
            than the memory.
    """
    try:
        value = json.loads(text)
        for _ in _levels(value):
            pass
    except (RecursionError, MemoryError) as error:
        raise ValueError(_too(error)) from error
    return value


def toml_of(text: str) -> dict[str, Any]:
    """The table of a TOML text.

    Raises:
        ValueError: it is not TOML, larger or nested deeper than anything sensible, or has a number
            beyond 64 bits, which Python may not even print.
    """
    if len(text) > _MOST_TOML:
        raise ValueError(f"{len(text)} characters, expected {_MOST_TOML} or fewer")
    _check_keys(text)
    try:
        table = tomllib.loads(text)
    except (RecursionError, MemoryError) as error:
        raise ValueError(_too(error)) from error
    for level in _levels(table):
        if any(isinstance(one, int) and not -(1 << 63) <= one < 1 << 63 for one in level):
            raise ValueError("a whole number beyond 64 bits")
    return table


def _too(error: RecursionError | MemoryError) -> str:
    return "nested too deeply" if isinstance(error, RecursionError) else "too large for the memory"


def _check_keys(text: str) -> None:
    """Refuse keys of many parts: tomllib takes time and memory by the square of their number."""
    dots = 0
    for token in _TOKEN.finditer(text):
        if token.lastgroup == "dot":
            dots += 1
            if dots > _DEEPEST:
                raise ValueError("nested too deeply")
        elif token.lastgroup is None:
            dots = 0


def _levels(value: Any) -> Iterator[list[Any]]:
    """A value, the values in it, the values in these, and so on.

    Raises:
        ValueError: they go so deep that Python may not even print them.
    """
    level = [value]
    for _ in range(_DEEPEST):
        yield level
        inside: list[Any] = []
        for one in level:
            if isinstance(one, dict):
                inside += one.values()
            elif isinstance(one, list):
                inside += one
        if not inside:
            return
        level = inside
    raise ValueError("nested too deeply")


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
    return shown(" ".join((words or str(error)).split()), most) or type(error).__name__


def shown(text: str, most: int = 60) -> str:
    """What somebody wrote, for a message: what a terminal would obey is spelt out."""
    text = text[:most]
    return text if text.isprintable() else repr(text)[1:-1][:most]
