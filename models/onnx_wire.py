"""ONNX files on the level of the protobuf wire format, without the ``onnx`` package.

That package is needed for training only; what must be known of a file before it is run is little.
Numbers of fields are those of ``onnx.proto``.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from .errors import InputError

LENGTH_DELIMITED: Final = 2
_EXTERNAL_DATA, _DATA_LOCATION, _NAME = 13, 14, 8
_MOST_KEY: Final = (1 << 32) - 1
_DEEPEST: Final = 32
"""Graphs within graphs."""
_TENSORS: Final[dict[str, dict[int, str]]] = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "function": {7: "node", 11: "attribute"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
}
"""Which fields of a message lead to tensors."""


def check_one_file(model: bytes, path: Path | str) -> None:
    """Refuse a model whose weights lie in other files: it names them itself, anywhere on the disk.

    Args:
        model: a serialised ModelProto.
        path: for the message.

    Raises:
        InputError: it is such a model, or none at all.
    """
    try:
        _walk(model, "model", 0)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def _walk(message: bytes, kind: str, depth: int) -> None:
    if depth > _DEEPEST * 3:
        raise InputError("not an ONNX model: nested too deeply")
    below = _TENSORS[kind]
    for number, wire_type, _, payload in fields(message):
        inner = below.get(number)
        if inner is None or wire_type != LENGTH_DELIMITED:
            continue
        if inner == "tensor":
            _check_tensor(payload)
        else:
            _walk(payload, inner, depth + 1)


def _check_tensor(tensor: bytes) -> None:
    name, outside = "", False
    for number, _, _, payload in fields(tensor):
        if number == _NAME:
            name = payload.decode("utf-8", "replace")
        outside |= number == _EXTERNAL_DATA or (number == _DATA_LOCATION and payload != b"\0")
    if outside:
        raise InputError(
            f"keeps {name or 'a weight'!r:.60} in another file; expected a network that is one file"
        )


def fields(message: bytes) -> Iterator[tuple[int, int, bytes, bytes]]:
    """Number, wire type, raw bytes and payload of each field of a message.

    Raises:
        InputError: the bytes are not such a message.
    """
    at = 0
    while at < len(message):
        start = at
        key, at = _read_varint(message, at)
        if key > _MOST_KEY:  # protobuf drops the bits above: another field than is seen here
            raise InputError(f"not an ONNX model: field {key >> 3} at byte {start}")
        wire_type = key & 7
        if wire_type == 0:
            _, end = _read_varint(message, at)
        elif wire_type == 1:
            end = at + 8
        elif wire_type == LENGTH_DELIMITED:
            length, at = _read_varint(message, at)
            end = at + length
        elif wire_type == 5:
            end = at + 4
        else:
            raise InputError(f"not an ONNX model: wire type {wire_type} at byte {start}")
        if end > len(message):
            raise InputError(f"not an ONNX model: it ends within the field at byte {start}")
        yield key >> 3, wire_type, message[start:end], message[at:end]
        at = end


def _read_varint(message: bytes, at: int) -> tuple[int, int]:
    value, shift = 0, 0
    while at < len(message) and shift < 64:
        byte = message[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at
    raise InputError(f"not an ONNX model: broken number before byte {at}")
