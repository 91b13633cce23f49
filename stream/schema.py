"""The formats of a row, generated from :class:`~mien.stream.observation.FaceObservation`.

Nothing here lists a field by name: the columns are read from the annotations, and every format
(Parquet, CSV, JSON lines, the wire, the tables of ``PROTOCOL.md``) is made from the columns.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, Final, Union, get_args, get_origin, get_type_hints

import msgspec
import numpy as np
from jaxtyping import Float64
from msgspec import Meta, Struct

from ..models.errors import InputError
from ..models.face.names import BLENDSHAPE_NAMES, N_LANDMARKS
from .observation import LIMITS, FaceObservation

if TYPE_CHECKING:
    import pyarrow as pa

SCHEMA_VERSION: Final = 1
"""Raised when a reader of the old rows would misread the new ones; added columns do not count."""
DAMAGE: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What msgspec raises over bytes that are not what they should be."""

LIST_ELEMENTS: Final[dict[str, tuple[str, ...]]] = {
    "pose_variance": ("rx", "ry", "rz", "tx", "ty", "tz"),
    "landmarks": tuple(f"{axis}{i}" for i in range(N_LANDMARKS) for axis in "xy"),
    "blendshapes": BLENDSHAPE_NAMES,
}
"""Names of the elements of a list column, where they have better ones than 0, 1, 2, ..."""


@dataclass(frozen=True)
class Column:
    """One field of a row or message.

    Attributes:
        name: as in the class.
        dtype: ``int64``, ``int32``, ``bool``, ``float32``, or another word for wire-only fields.
        length: number of elements of a fixed list, 0 for a scalar.
        nullable: whether None is allowed.
        unit: "" where there is none.
        description: one phrase.
    """

    name: str
    dtype: str
    length: int
    nullable: bool
    unit: str
    description: str

    @property
    def type_name(self) -> str:
        """For tables: ``float32[136]``, ``int64?`` (the question mark: may be null)."""
        suffix = f"[{self.length}]" if self.length else ""
        return f"{self.dtype}{suffix}{'?' if self.nullable else ''}"

    @property
    def flat_names(self) -> tuple[str, ...]:
        """The CSV columns that hold this one."""
        if not self.length:
            return (self.name,)
        elements = LIST_ELEMENTS.get(self.name, tuple(map(str, range(self.length))))
        return tuple(f"{self.name}_{element}" for element in elements)


def columns_of(struct: type[Struct]) -> tuple[Column, ...]:
    """The columns of a message class, read from its annotations, in order."""
    hints = get_type_hints(struct, include_extras=True)
    return tuple(_column(name, hints[name]) for name in struct.__struct_fields__)


def _column(name: str, hint: object) -> Column:
    meta = Meta()
    if get_origin(hint) is Annotated:
        hint, *_, meta = get_args(hint)  # before it the limits of the type
    nullable = get_origin(hint) in (Union, types.UnionType) and type(None) in get_args(hint)
    if nullable:
        (hint,) = (kind for kind in get_args(hint) if kind is not type(None))
    dims = getattr(hint, "dim_str", "")  # of a jaxtyping array
    extra = meta.extra or {}
    return Column(
        name=name,
        dtype=extra.get("dtype", getattr(hint, "__name__", str(hint))),
        length=int(dims) if dims else 0,
        nullable=nullable,
        unit=extra.get("unit", ""),
        description=meta.description or "",
    )


COLUMNS: Final[tuple[Column, ...]] = columns_of(FaceObservation)
"""The columns of a row, in order."""

CSV_HEADER: Final[tuple[str, ...]] = tuple(n for column in COLUMNS for n in column.flat_names)
"""One name a CSV column: scalars by name, lists as ``<column>_<element>``."""


def schema_table(columns: Sequence[Column] = COLUMNS) -> list[dict[str, object]]:
    """The columns as plain dictionaries, for the hello message."""
    return [
        {
            "name": column.name,
            "type": column.dtype,
            "length": column.length,
            "nullable": column.nullable,
            "unit": column.unit,
            "description": column.description,
        }
        for column in columns
    ]


def markdown_table(columns: Sequence[Column] = COLUMNS) -> str:
    """The columns as the Markdown table that ``PROTOCOL.md`` shows."""
    rows = ["| field | type | unit | meaning |", "|---|---|---|---|"]
    rows += [f"| `{c.name}` | {c.type_name} | {c.unit} | {c.description} |" for c in columns]
    return "\n".join(rows) + "\n"


def arrow_schema(metadata: dict[str, str] | None = None) -> pa.Schema:
    """The Parquet schema, units and descriptions in the field metadata; imports pyarrow."""
    import pyarrow as pa

    scalars = {
        "int64": pa.int64(),
        "int32": pa.int32(),
        "bool": pa.bool_(),
        "float32": pa.float32(),
    }
    fields = []
    for column in COLUMNS:
        kind: pa.DataType = scalars[column.dtype]
        if column.length:
            # The item is declared non-null, as Parquet writes it back the same way.
            kind = pa.list_(pa.field("element", kind, nullable=False), column.length)
        notes = {"unit": column.unit, "description": column.description}
        fields.append(
            pa.field(
                column.name,
                kind,
                nullable=column.nullable,
                metadata={k: v for k, v in notes.items() if v},
            )
        )
    return pa.schema(fields, metadata=dict(metadata or {}))


def to_plain(value: Any) -> Any:
    """``enc_hook`` of msgspec: NumPy arrays and scalars as lists and numbers."""
    if isinstance(value, (np.ndarray, np.generic)):
        return value.tolist()
    raise NotImplementedError(f"cannot encode {type(value).__name__}")


def from_plain(kind: type, value: Any) -> Any:
    """``dec_hook`` of msgspec: lists as float32 arrays; msgspec then checks shape and dtype."""
    if hasattr(kind, "dim_str"):
        try:
            return np.asarray(value, dtype=np.float32)
        except (OverflowError, TypeError) as error:
            raise ValueError(f"not a list of numbers: {error}") from error
    raise NotImplementedError(f"cannot decode {kind}")


def shortest_float32(values: Float64[np.ndarray, " N"]) -> list[float]:
    """Each float32 value as the float64 of few decimal digits that reads back as the same float32.

    Nine significant digits always identify a float32, and seven often do; written as it stands it
    would show seventeen. Values beyond 1e9 or below 1e-13 are left as they are.
    """
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        exponent = np.floor(np.log10(np.abs(values)))
        result = values.copy()
        for digits in (9, 8, 7):
            places = digits - 1 - exponent
            usable = (places >= 0) & (places <= 22)  # 10^22: the last power that float64 holds
            scale = 10.0 ** np.where(usable, places, 0.0)
            rounded = np.rint(values * scale) / scale
            result = np.where(usable & (rounded.astype(np.float32) == values), rounded, result)
    return result.tolist()


_FLOAT_SCALARS: Final = tuple(c.name for c in COLUMNS if c.dtype == "float32" and not c.length)


def rounded(observation: FaceObservation) -> FaceObservation:
    """The row as every file gives it back: float scalars rounded to float32."""
    present = [name for name in _FLOAT_SCALARS if getattr(observation, name) is not None]
    values = np.array([getattr(observation, name) for name in present], dtype=np.float32).tolist()
    return msgspec.structs.replace(observation, **dict(zip(present, values, strict=True)))


def plain_row(observation: FaceObservation) -> dict[str, Any]:
    """The row as plain values for text formats, floats in their shortest float32 form."""
    row: dict[str, Any] = {}
    floats: list[tuple[str, int]] = []
    parts: list[np.ndarray] = []
    for column in COLUMNS:
        value = getattr(observation, column.name)
        row[column.name] = value
        if value is None or column.dtype != "float32":
            continue
        floats.append((column.name, column.length))
        parts.append(np.atleast_1d(np.asarray(value, dtype=np.float32)))
    values = shortest_float32(np.concatenate(parts).astype(np.float64))
    at = 0
    for name, length in floats:
        row[name] = values[at : at + length] if length else values[at]
        at += length or 1
    return row


def csv_row(observation: FaceObservation) -> Iterator[str]:
    """The row's CSV cells, in the order of ``CSV_HEADER``; null is empty."""
    row = plain_row(observation)
    for column in COLUMNS:
        value = row[column.name]
        if value is None:
            yield from [""] * (column.length or 1)
        elif column.length:
            yield from map(repr, value)
        elif column.dtype == "bool":
            yield "true" if value else "false"
        else:
            yield repr(value)


def _whole(dtype: str, text: str) -> int:
    number = int(text)
    low, high = LIMITS[dtype]
    if not low <= number <= high:
        raise OverflowError
    return number


_PARSERS: Final[dict[str, Callable[[str], Any]]] = {
    **{dtype: partial(_whole, dtype) for dtype in LIMITS},
    "float32": float,
    "bool": {"true": True, "false": False}.__getitem__,
}


def observation_from_csv(cells: Sequence[str]) -> FaceObservation:
    """The inverse of :func:`csv_row`.

    Raises:
        InputError: the cells are not those of such a row.
    """
    if len(cells) != len(CSV_HEADER):
        raise InputError(f"a row of {len(cells)} cells, expected {len(CSV_HEADER)}")
    fields: dict[str, Any] = {}
    at = 0
    for column in COLUMNS:
        part = cells[at : at + (column.length or 1)]
        at += len(part)
        try:
            if column.nullable and part[0] == "":
                fields[column.name] = None
            elif column.length:
                fields[column.name] = np.array([float(cell) for cell in part], dtype=np.float32)
            else:
                fields[column.name] = _PARSERS[column.dtype](part[0])
        except (ValueError, KeyError, OverflowError) as error:
            raise InputError(f"{column.name}: {part[0]!r:.60} is not {column.type_name}") from error
    return rounded(FaceObservation(**fields))
