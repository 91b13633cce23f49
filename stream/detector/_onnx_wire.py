"""Opens the fixed input size of an ONNX file, on the level of the protobuf wire format.

``centerface.onnx`` states its input as 10 x 3 x 32 x 32 and lists its weights among the inputs, so
onnxruntime accepts no other size and optimises little. The ``onnx`` package, which could rewrite
it, is needed for training only; the few fields concerned are rewritten here. Numbers are those of
``onnx.proto``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ...models.errors import InputError

_GRAPH = 7  # ModelProto
_INPUT, _OUTPUT = 11, 12  # GraphProto
_FLOAT = 1  # TensorProto.DataType
_LENGTH_DELIMITED = 2


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
    for number, wire_type, raw, payload in _fields(model):
        if number == _GRAPH and wire_type == _LENGTH_DELIMITED:
            out += _delimited(_GRAPH, _open_graph(payload, kept))
        else:
            out += raw
    return bytes(out)


def _open_graph(graph: bytes, kept: set[str]) -> bytes:
    out = bytearray()
    for number, _, raw, payload in _fields(graph):
        if number not in (_INPUT, _OUTPUT):
            out += raw
            continue
        name = next((p.decode() for n, _, _, p in _fields(payload) if n == 1), "")
        if number == _OUTPUT or name in kept:
            out += _delimited(number, _value_info(name))
    return bytes(out)


def _value_info(name: str) -> bytes:
    """A ValueInfoProto: a float tensor with four named, hence free, dimensions."""
    dimensions = b"".join(
        _delimited(1, _delimited(2, f"{name}_{axis}".encode())) for axis in "nchw"
    )
    tensor = _varint(1 << 3) + _varint(_FLOAT) + _delimited(2, dimensions)
    return _delimited(1, name.encode()) + _delimited(2, _delimited(1, tensor))


def _fields(message: bytes) -> Iterator[tuple[int, int, bytes, bytes]]:
    """Number, wire type, raw bytes and payload of each field of a message."""
    at = 0
    while at < len(message):
        start = at
        key, at = _read_varint(message, at)
        wire_type = key & 7
        if wire_type == 0:
            _, end = _read_varint(message, at)
        elif wire_type == 1:
            end = at + 8
        elif wire_type == _LENGTH_DELIMITED:
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


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _delimited(number: int, payload: bytes) -> bytes:
    return _varint(number << 3 | _LENGTH_DELIMITED) + _varint(len(payload)) + payload
