"""A network's sizes as a file's header says them: of their usual kinds, and bounded."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import fields
from functools import cache
from types import UnionType
from typing import Any, Final, Literal, TypeVar, get_args, get_origin, get_type_hints

from ..errors import InputError

_MOST: Final = 1 << 16
"""What no size of a network exceeds."""
_MOST_LAYERS: Final = 64
"""Of layers or blocks, and of levels."""
_COUNTS: Final = ("blocks", "mapping_layers", "mixing", "stacks", "depth", "downs")
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


def check_kinds(
    kind: type,
    values: Mapping[str, Any],
    what: str,
    *,
    zero: Collection[str] = (),
    negative: Collection[str] = (),
) -> None:
    """See that what a file's header says of a dataclass of sizes is what its fields take.

    Whole numbers are 1 or more, and bounded; other numbers are 0 or more, and finite. No boolean
    stands for a number, nor a number of another kind for a whole one.

    Args:
        kind: with fields of ``int``, ``float``, ``bool``, ``str``, literals, tuples, dataclasses.
        values: by the names of its fields; others are left to its constructor.
        what: for messages.
        zero: fields whose whole numbers may be 0.
        negative: fields whose numbers may be below 0.

    Raises:
        InputError: a value is another; what is accepted is said.
    """
    for name, wanted in _kinds(kind).items():
        if name not in values:
            continue
        most = _MOST_LAYERS if name in _COUNTS else _MOST
        accepted = _unmet(values[name], wanted, int(name not in zero), most, name in negative)
        if accepted:
            raise InputError(f"{what}: {name} is {values[name]!r:.40}, expected {accepted}")


@cache
def _kinds(kind: type) -> dict[str, Any]:
    hints = get_type_hints(kind)
    return {field.name: hints[field.name] for field in fields(kind)}  # pyright: ignore[reportArgumentType]


def _unmet(value: Any, kind: Any, least: int, most: int, negative: bool) -> str:
    """What would be accepted in the value's place; "" where it is."""
    parts = get_args(kind)
    if get_origin(kind) is Literal:
        return "" if isinstance(value, str) and value in parts else f"one of {', '.join(parts)}"
    if get_origin(kind) is UnionType:
        found = [_unmet(value, part, least, most, negative) for part in parts]
        return "" if "" in found else " or ".join(found)
    if get_origin(kind) is tuple:
        return _unmet_in_tuple(value, parts, least, most, negative)
    if kind is int:
        fits = type(value) is int and least <= value <= most
        return "" if fits else f"a whole number from {least} to {most}"
    if kind is float:
        low = -most if negative else 0
        fits = type(value) in (int, float) and low <= value <= most and math.isfinite(value)
        return "" if fits else f"a number from {low} to {most}"
    return "" if type(value) is kind else f"a {kind.__name__}"


def _unmet_in_tuple(
    value: Any, parts: tuple[Any, ...], least: int, most: int, negative: bool
) -> str:
    if not isinstance(value, tuple) or len(value) > _MOST_LAYERS:
        return f"a list of {_MOST_LAYERS} values or fewer"
    kinds = parts[:1] * len(value) if parts[-1] is Ellipsis else parts
    if len(value) != len(kinds):
        return f"a list of {len(kinds)} values"
    pairs = zip(value, kinds, strict=True)
    found = (_unmet(one, kind, least, most, negative) for one, kind in pairs)
    return next((f"of each {accepted}" for accepted in found if accepted), "")


def _is_possible(value: Any, usual: Any, most: int) -> bool:
    if isinstance(usual, str | bool):
        return type(value) is type(usual)
    if isinstance(usual, int):
        return type(value) is int and 0 < value <= most
    if isinstance(usual, tuple):
        short = isinstance(value, tuple) and len(value) <= _MOST_LAYERS
        return short and all(_is_possible(one, 1, most) for one in value)
    return (usual is None and value is None) or (type(value) in (int, float) and 0 <= value <= most)
