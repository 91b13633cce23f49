"""Spoils files: bytes, numbers, tokens, and what a format keeps inside, its lengths put right.

Everything is drawn from the generator that is given: the same one makes the same bytes.
"""

from __future__ import annotations

import io
import json
import lzma
import re
import struct
import zipfile
import zlib
from collections.abc import Callable, Sequence
from random import Random
from typing import Any, Final

import msgspec

MOST_BYTES: Final = 1 << 18
"""A spoiled file is cut here."""

NUMBERS: Final = (
    *(b"0", b"-1", b"1", b"0.5", b"-0.0", b"nan", b"NaN", b"inf", b"-Infinity", b"1e999", b"1e308"),
    *(b"-1e-320", b"255", b"65536", b"2147483647", b"2147483648", b"4294967296", b"100000000"),
    *(b"9223372036854775807", b"-9223372036854775809", b"99999999999999999999", b"9" * 400),
    *(b"true", b"null", b'""', b"[]", b"{}", b"0x10", b"1_000", b"1e400", b"9" * 5000),
)
TOKENS: Final = (
    *(
        b"\0",
        b"\n",
        b"\r\n",
        b",",
        b'"',
        b"'",
        b"\\",
        b"/",
        b"..",
        b"../../etc/passwd",
        b"/dev/null",
    ),
    *(b"\xff\xfe", b"\xc3\x28", b"\xed\xa0\x80", b"\\ud800", b"\xef\xbb\xbf", b"%s", b"${x}"),
    *(b"[" * 3000, b'{"a":' * 3000, b"\x91" * 3000, b"(" * 500, b"a" * 5000, b"\xf4\x8f\xbf\xbf"),
    *(b"__class__", b"os\nsystem\n", b"&a *a", b"<!ENTITY", b"nan,nan", b"= [[", b"]]", b"---\n"),
)
VALUES: Final[tuple[Any, ...]] = (
    *(None, True, False, 0, -1, 1, 2, 0.5, -0.0, 255, 65536, 2**31, 2**32, 2**63 - 1, -(2**63)),
    *(10**30, 10**400, 1e308, -1e308, 5e-324, float("nan"), float("inf"), float("-inf"), "", "a"),
    *("nan", "../../etc/passwd", "/dev/zero", "\0", "\ud800", "x" * 5000, [], {}, [[]], [1, [2]]),
    *({"a": 1}, [0] * 1000, [float("nan")] * 9, "\U0001f600", "1e5", ["a"], {"": None}),
)
_NUMBER: Final = re.compile(rb"-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?")
_ENDS: Final = ("<", ">")


def mutate(data: bytes, form: str, rng: Random, other: bytes = b"") -> bytes:
    """A spoiled copy.

    Args:
        data: a file.
        form: what it is, of :data:`FORMS`; others are spoiled as bytes.
        rng: drawn from.
        other: a file of the same kind, to take pieces of.
    """
    for _ in range(rng.choice((1, 1, 1, 2, 2, 3, 5))):
        edit = FORMS.get(form)
        if edit is not None and rng.random() < 0.6:
            try:
                data = edit(data, rng, other)
                continue
            except _UNFIT:
                pass  # spoiled before: as bytes then
        data = rng.choice(_STEPS)(data, rng, other)
    return data[:MOST_BYTES]


def _place(data: bytes, rng: Random) -> int:
    """Anywhere, the beginning more often: headers are there."""
    end = len(data) if rng.random() < 0.6 else min(len(data), 64)
    return rng.randrange(end + 1)


def _flip(data: bytes, rng: Random, _: bytes) -> bytes:
    out = bytearray(data)
    for _time in range(rng.choice((1, 1, 2, 8))):
        at = _place(data, rng)
        if at < len(out):
            out[at] ^= 1 << rng.randrange(8)
    return bytes(out)


def _byte(data: bytes, rng: Random, _: bytes) -> bytes:
    at = _place(data, rng)
    return (
        data[:at] + bytes([rng.choice((0, 1, 127, 128, 255, rng.randrange(256)))]) + data[at + 1 :]
    )


def _cut(data: bytes, rng: Random, _: bytes) -> bytes:
    return data[: rng.randrange(len(data) + 1)]


def _drop(data: bytes, rng: Random, _: bytes) -> bytes:
    at = _place(data, rng)
    return data[:at] + data[at + rng.choice((1, 1, 2, 4, 16, 100)) :]


def _double(data: bytes, rng: Random, _: bytes) -> bytes:
    start, to = _place(data, rng), _place(data, rng)
    block = data[start : start + rng.choice((1, 4, 16, 64, 1000))]
    return data[:to] + block * rng.choice((1, 2, 20)) + data[to:]


def _splice(data: bytes, rng: Random, other: bytes) -> bytes:
    start = _place(other, rng)
    block = other[start : start + rng.choice((4, 16, 100, 10_000))]
    at = _place(data, rng)
    return data[:at] + block + data[at + rng.choice((0, len(block))) :]


def _token(data: bytes, rng: Random, _: bytes) -> bytes:
    at = _place(data, rng)
    return data[:at] + rng.choice(TOKENS + NUMBERS) + data[at + rng.choice((0, 0, 1, 8)) :]


def _number(data: bytes, rng: Random, _: bytes) -> bytes:
    """A number of a text replaced."""
    found = list(_NUMBER.finditer(data[: MOST_BYTES // 4]))
    if not found:
        return _binary(data, rng, b"")
    one = rng.choice(found)
    return data[: one.start()] + rng.choice(NUMBERS) + data[one.end() :]


def _binary(data: bytes, rng: Random, _: bytes) -> bytes:
    """A number of some bytes overwritten."""
    at, order = _place(data, rng), rng.choice(_ENDS)
    kind = rng.choice("bhiqfd")
    if kind in "fd":
        value: float = rng.choice((float("nan"), float("inf"), -1.0, 0.0, 1e30))
    else:
        most = (1 << (8 * struct.calcsize(kind) - 1)) - 1
        value = rng.choice((0, -1, 1, most, -most - 1, most // 2, min(most, 4096)))
    block = struct.pack(order + kind, value)
    return data[:at] + block + data[at + len(block) :]


def _swap_lines(data: bytes, rng: Random, _: bytes) -> bytes:
    lines = data.split(b"\n")
    a, b = rng.randrange(len(lines)), rng.randrange(len(lines))
    if rng.random() < 0.3:
        del lines[a]
    else:
        lines[a], lines[b] = lines[b], lines[a]
    return b"\n".join(lines)


_STEPS: Final[tuple[Callable[[bytes, Random, bytes], bytes], ...]] = (
    *(_flip, _flip, _byte, _cut, _drop, _double, _splice, _token, _number, _number, _binary),
    _swap_lines,
)
_UNFIT: Final = (
    *(ValueError, TypeError, KeyError, IndexError, OverflowError, RecursionError, EOFError),
    *(msgspec.MsgspecError, struct.error, zipfile.BadZipFile, zlib.error),
    *(RuntimeError, AttributeError, MemoryError, OSError, lzma.LZMAError),
)


def edited(tree: Any, rng: Random) -> Any:
    """A tree of plain values with one place changed."""
    if isinstance(tree, dict) and tree and rng.random() < 0.85:
        out = dict(tree)
        name = rng.choice(list(out))
        way = rng.random()
        if way < 0.1:
            del out[name]
        elif way < 0.17:
            out[rng.choice(list(out))] = out[name]
        elif way < 0.22:
            out[rng.choice(("", "x", "__init__", "../x", name + "\0"))] = out.pop(name)
        else:
            out[name] = edited(out[name], rng)
        return out
    if isinstance(tree, list) and tree and rng.random() < 0.85:
        out, at, way = list(tree), rng.randrange(len(tree)), rng.random()
        if way < 0.1:
            del out[at]
        elif way < 0.2:
            out[at:at] = [out[at]] * rng.choice((1, 1, 50))
        else:
            out[at] = edited(out[at], rng)
        return out
    if rng.random() < 0.04:
        deep: Any = tree
        for _ in range(rng.choice((3, 400, 900))):
            deep = [deep] if rng.random() < 0.5 else {"a": deep}
        return deep
    return rng.choice(VALUES)


def _json(data: bytes, rng: Random, _: bytes) -> bytes:
    tree = edited(json.loads(data), rng)
    return json.dumps(tree).encode("utf-8", "surrogatepass")


def _json_lines(data: bytes, rng: Random, _: bytes) -> bytes:
    lines = data.split(b"\n")
    at = rng.randrange(len(lines))
    lines[at] = _json(lines[at], rng, b"")
    return b"\n".join(lines)


def _message(data: bytes, rng: Random, _: bytes) -> bytes:
    """A topic, a line end, MessagePack."""
    topic, _end, payload = data.partition(b"\n")
    tree = edited(msgspec.msgpack.decode(payload), rng)
    return topic + b"\n" + msgspec.msgpack.encode(tree)


def _msgpack(data: bytes, rng: Random, _: bytes) -> bytes:
    return msgspec.msgpack.encode(edited(msgspec.msgpack.decode(data), rng))


def _table(data: bytes, rng: Random, _: bytes) -> bytes:
    """A cell of a CSV."""
    lines = data.split(b"\n")
    row = rng.randrange(len(lines))
    cells = lines[row].split(b",")
    cells[rng.randrange(len(cells))] = rng.choice(NUMBERS + TOKENS[:20])
    lines[row] = b",".join(cells)
    return b"\n".join(lines)


def _array(data: bytes, rng: Random, _: bytes) -> bytes:
    """The header of an ``.npy``: its shape, its type."""
    if data[:6] != b"\x93NUMPY":
        raise ValueError("no array")
    size = struct.unpack("<H", data[8:10])[0]
    header, rest = data[10 : 10 + size].rstrip(), data[10 + size :]
    if rng.random() < 0.3:
        kinds = (
            b"'|O'",
            b"'<f8'",
            b"'<c16'",
            b"'|S4'",
            b"'<U9'",
            b"[('a','<f4')]",
            b"'<M8[s]'",
            b"'>i2'",
        )
        header = re.sub(rb"'descr': [^,]*", b"'descr': " + rng.choice(kinds), header)
    else:
        shapes = (
            b"()",
            b"(0,)",
            b"(-1,)",
            b"(10000000000,)",
            b"(1, 1, 1, 1, 1)",
            b"(2, 3)",
            b"(99999, 99999)",
        )
        header = re.sub(rb"'shape': \([^)]*\)", b"'shape': " + rng.choice(shapes), header)
    header += b" " * (-(len(header) + 11) % 64) + b"\n"
    return data[:8] + struct.pack("<H", len(header)) + header + rest


_BOMB: Final = (
    b"\x93NUMPY\x01\x00F\x00{'descr': '|u1', 'fortran_order': False, 'shape': (2097152,), "
    b"}" + b" " * 9 + b"\n" + b"\0" * 2_097_152
)


def _archive(data: bytes, rng: Random, other: bytes) -> bytes:
    """A member of a zip, its sums put right."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    name, way = rng.choice(list(members)), rng.random()
    if way < 0.1:
        del members[name]
    elif way < 0.2:
        members[rng.choice(("../x.npy", "/etc/x", "x", name + "x"))] = members.pop(name)
    elif way < 0.25:
        members[name] = _BOMB
    elif way < 0.65 and name.endswith(".npy"):
        members[name] = _array(members[name], rng, b"")
    else:
        members[name] = rng.choice(_STEPS)(members[name], rng, other)
    out = io.BytesIO()
    method = rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))
    with zipfile.ZipFile(out, "w", method) as archive:
        for member, content in members.items():
            archive.writestr(zipfile.ZipInfo(member), content, method)
    return out.getvalue()


def _safetensors(data: bytes, rng: Random, _: bytes) -> bytes:
    size = struct.unpack("<Q", data[:8])[0]
    tree = json.loads(data[8 : 8 + size])
    about = tree.get("__metadata__", {})
    if about and rng.random() < 0.6:
        name = rng.choice(list(about))
        about[name] = _json(about[name].encode(), rng, b"").decode("utf-8", "replace")
    else:
        tree = edited(tree, rng)
    text = json.dumps(tree).encode("utf-8", "replace")
    return struct.pack("<Q", len(text)) + text + data[8 + size :]


def _glb(data: bytes, rng: Random, _: bytes) -> bytes:
    size = struct.unpack("<I", data[12:16])[0]
    text = _json(data[20 : 20 + size], rng, b"")
    text += b" " * (-len(text) % 4)
    rest = data[20 + size :]
    whole = 20 + len(text) + len(rest)
    return (
        struct.pack("<4sII", b"glTF", 2, whole)
        + struct.pack("<I4s", len(text), b"JSON")
        + text
        + rest
    )


def _png(data: bytes, rng: Random, other: bytes) -> bytes:
    """A chunk, its sum put right."""
    chunks, at = [], 8
    while at + 12 <= len(data):
        size = struct.unpack(">I", data[at : at + 4])[0]
        chunks.append([data[at + 4 : at + 8], data[at + 8 : at + 8 + size]])
        at += 12 + size
    one = rng.choice(chunks)
    one[1] = rng.choice(_STEPS[:8] + (_binary,))(one[1], rng, other)
    return data[:8] + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in chunks
    )


FORMS: Final[dict[str, Callable[[bytes, Random, bytes], bytes]]] = {
    "json": _json,
    "jsonl": _json_lines,
    "message": _message,
    "msgpack": _msgpack,
    "csv": _table,
    "text": _number,
    "npy": _array,
    "zip": _archive,
    "safetensors": _safetensors,
    "glb": _glb,
    "png": _png,
}
"""Edits that know a format; what they make is whole, and says something else."""


def spoiled(seeds: Sequence[bytes], form: str, rng: Random) -> bytes:
    """One of the seeds, spoiled."""
    return mutate(rng.choice(seeds), form, rng, rng.choice(seeds))
