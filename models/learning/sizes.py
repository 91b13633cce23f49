"""A network's sizes as a file's header says them: of their usual kinds, and bounded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, Final, TypeVar

from ..errors import InputError

_MOST: Final = 1 << 16
"""What no size of a network exceeds."""
_MOST_LAYERS: Final = 64
"""Of layers or blocks, and of levels."""
_COUNTS: Final = ("blocks", "mapping_layers")
_Config = TypeVar("_Config")


def of_table(kind: type[_Config], table: Mapping[str, Any], what: str) -> _Config:
    """A dataclass of sizes, each of which has a default, from JSON.

    Args:
        kind: the dataclass.
        table: its values by name; lists stand for tuples.
        what: for messages.

    Raises:
        InputError: a name is unknown, or a value is of another kind than its default or beyond all
            networks.
    """
    usual = {field.name: field.default for field in fields(kind)}  # pyright: ignore[reportArgumentType]
    unknown = sorted(set(table) - usual.keys())
    if unknown:
        raise InputError(f"{what}: unknown sizes {', '.join(unknown)[:80]}")
    values = {k: tuple(v) if isinstance(v, list) else v for k, v in table.items()}
    for name, value in values.items():
        most = _MOST_LAYERS if name in _COUNTS else _MOST
        if not _is_possible(value, usual[name], most):
            raise InputError(f"{what}: {name} is {value!r:.40}")
    return kind(**values)


def _is_possible(value: Any, usual: Any, most: int) -> bool:
    if isinstance(usual, str | bool):
        return type(value) is type(usual)
    if isinstance(usual, int):
        return type(value) is int and 0 < value <= most
    if isinstance(usual, tuple):
        short = isinstance(value, tuple) and len(value) <= _MOST_LAYERS
        return short and all(_is_possible(one, 1, most) for one in value)
    return (usual is None and value is None) or (
        isinstance(value, int | float) and 0 <= value <= most
    )
