"""The messages as JSON Schema, for checkers and code generators in other languages.

``python -m mien.stream.json_schema`` writes ``protocol.schema.json`` beside this file; a test
compares it with the code. It describes the decoded maps, whether they came as MessagePack or JSON.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

import msgspec

from .messages import MESSAGES, EchoReply, EchoRequest
from .schema import SCHEMA_VERSION, Column, columns_of

SCHEMA_FILE: Final = Path(__file__).with_name("protocol.schema.json")
_INTEGERS: Final = {"int32": 31, "int64": 63}


def json_schema() -> dict[str, Any]:
    """JSON Schema 2020-12: any message; by name under ``$defs``, the echo's two as well.

    ``unit`` and ``dtype`` are annotations of ours. Fields that are not named may come: later
    versions add some.
    """
    kinds = {**MESSAGES, "echo_request": EchoRequest, "echo_reply": EchoReply}
    _, components = msgspec.json.schema_components(
        kinds.values(), schema_hook=_array_schema, ref_template="#/$defs/{name}"
    )
    definitions = {}
    for name, message in kinds.items():
        definition = components[message.__name__]
        for column in columns_of(message):
            _annotate(definition["properties"][column.name], column)
        definitions[name] = {**definition, "title": name}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"mien's protocol: version {SCHEMA_VERSION}",
        "$defs": definitions,
        "anyOf": [{"$ref": f"#/$defs/{kind}"} for kind in MESSAGES],
    }


def _array_schema(kind: type) -> dict[str, Any]:
    """Of a jaxtyping array of one axis of known length."""
    length = int(getattr(kind, "dim_str", ""))
    return {
        "type": "array",
        "items": {"type": "number"},
        "minItems": length,
        "maxItems": length,
    }


def _annotate(field: dict[str, Any], column: Column) -> None:
    """Add what msgspec leaves out: units, sizes of numbers, the version."""
    if column.unit:
        field["unit"] = column.unit
    field["dtype"] = column.dtype
    bits = _INTEGERS.get(column.dtype)
    for part in field.get("anyOf", [field]):
        if part.get("type") == "integer" and bits is not None:
            part["minimum"], part["maximum"] = -(2**bits), 2**bits - 1
    if column.name == "v":
        field["const"] = SCHEMA_VERSION


def schema_text() -> str:
    """The file's content."""
    return json.dumps(json_schema(), indent=2) + "\n"


if __name__ == "__main__":
    SCHEMA_FILE.write_text(schema_text(), encoding="utf-8")
