"""Opens the fixed input size of an ONNX file, on the level of the protobuf wire format.

``centerface.onnx`` states its input as 10 x 3 x 32 x 32 and lists its weights among the inputs, so
onnxruntime accepts no other size and optimises little. The ``onnx`` package, which could rewrite
it, is needed for training only; the few fields concerned are rewritten here. Numbers are those of
``onnx.proto``.
"""

from __future__ import annotations

from collections.abc import Iterable

from ...models.errors import InputError
from ...models.onnx_wire import LENGTH_DELIMITED, fields

_GRAPH = 7  # ModelProto
_INPUT, _OUTPUT = 11, 12  # GraphProto
_FLOAT = 1  # TensorProto.DataType


def with_dynamic_size(model: bytes, inputs: Iterable[str]) -> bytes:
    """The same model whose named inputs, and all outputs, are float NCHW of any size.

    Args:
        model: a serialised ModelProto.
        inputs: names of the true inputs; all others (weights) leave the list of inputs.

    Raises:
        InputError: the bytes are not such a model.
    """
    kept = set(inputs)
    out = bytearray()
    for number, wire_type, raw, payload in fields(model):
        if number == _GRAPH and wire_type == LENGTH_DELIMITED:
            out += _delimited(_GRAPH, _open_graph(payload, kept))
        else:
            out += raw
    return bytes(out)


def _open_graph(graph: bytes, kept: set[str]) -> bytes:
    out = bytearray()
    for number, _, raw, payload in fields(graph):
        if number not in (_INPUT, _OUTPUT):
            out += raw
            continue
        name = next((_text(p) for n, _, _, p in fields(payload) if n == 1), "")
        if number == _OUTPUT or name in kept:
            out += _delimited(number, _value_info(name))
    return bytes(out)


def _text(payload: bytes) -> str:
    try:
        return payload.decode()
    except UnicodeDecodeError as error:
        raise InputError("not an ONNX model: a name that is no text") from error


def _value_info(name: str) -> bytes:
    """A ValueInfoProto: a float tensor with four named, hence free, dimensions."""
    dimensions = b"".join(
        _delimited(1, _delimited(2, f"{name}_{axis}".encode())) for axis in "nchw"
    )
    tensor = _varint(1 << 3) + _varint(_FLOAT) + _delimited(2, dimensions)
    return _delimited(1, name.encode()) + _delimited(2, _delimited(1, tensor))


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _delimited(number: int, payload: bytes) -> bytes:
    return _varint(number << 3 | LENGTH_DELIMITED) + _varint(len(payload)) + payload
