"""What the headers of pictures say of their sizes, before a decoder makes room for them.

OpenCV and its like believe a header: 48 kB that say 20,000 x 20,000 px take gigabytes. Formats are
those that OpenCV reads.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Iterable
from typing import Final

import numpy as np
from jaxtyping import UInt8

PNG: Final = b"\x89PNG\r\n\x1a\n"
"""How such a file begins."""
_JPEG: Final = b"\xff\xd8\xff"
_PLAUSIBLE_PX: Final = 1 << 24
MOST_PX_A_BYTE: Final = 200
"""Of larger pictures; even plain black, JPEG packs fewer into one."""
_MASK_PX: Final = 1 << 26
_MASK_PX_A_BYTE: Final = 2000
"""Of a mask, or a face before a plain wall: a figure on black, of 60 million pixels, has 50 kB."""
_GAP: Final = rb"(?:\s|#[^\r\n]*[\r\n])+"
_PXM: Final = re.compile(rb"P[1-6]" + _GAP + rb"(\d{1,10})" + _GAP + rb"(\d{1,10})")
_PFM: Final = re.compile(rb"P[Ff]\s+(\d{1,10})\s+(\d{1,10})")
_PAM: Final = re.compile(rb"(WIDTH|HEIGHT)\s+(\d{1,10})")
_RADIANCE: Final = re.compile(rb"[-+][XY]\s*(\d{1,10})\s*[-+][XY]\s*(\d{1,10})")
_JPEG_2000: Final = re.compile(rb"\xff\x51(?=(.{38}))", re.DOTALL)
_AVIF: Final = re.compile(rb"ispe....(?=(.{8}))", re.DOTALL)
_JPEG_MARKER: Final = re.compile(rb"\xff+([^\xff\0])")
_JPEG_ALONE: Final = frozenset((0x01, *range(0xD0, 0xD9)))  # they have no length
_JPEG_SIZES: Final = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}


def size_fault(width: int, height: int, size_bytes: int) -> str:
    """Why a film can have no frames of that size, else "": decoders make room before they look."""
    if width * height <= max(_PLAUSIBLE_PX, MOST_PX_A_BYTE * size_bytes):
        return ""
    return f"says that it is {width}x{height} px, and has only {size_bytes} bytes"


def declared_size(content: UInt8[np.ndarray, " B"]) -> tuple[int, int] | None:
    """Width and height that a picture's header says, px, without decoding it.

    Where several places may say it, none is smaller than what OpenCV would make room for. None of
    what is in no format that OpenCV reads, or breaks off before it says.
    """
    data = memoryview(np.ascontiguousarray(content).data)
    for mark, read in _FORMATS:
        if re.match(mark, data, re.DOTALL):
            try:
                return read(data)
            except (struct.error, IndexError, ValueError):
                return None
    return None


def content_fault(content: UInt8[np.ndarray, " B"]) -> str:
    """Why a picture's size is not known or cannot be true, else ""."""
    width, height = declared_size(content) or (0, 0)
    if not width * height:  # OpenCV knows more ways to say it, which are nobody's
        return "is of no format that is known here, or says no size"
    return picture_fault(width, height, content)


def picture_fault(width: int, height: int, content: UInt8[np.ndarray, " B"]) -> str:
    """Why a picture's size, wherever it is known from, cannot be true, else ""."""
    may_be_plain = content[:3].tobytes() != _JPEG and width * height <= _MASK_PX
    if may_be_plain and width * height <= _MASK_PX_A_BYTE * content.size:
        return ""
    return size_fault(width, height, content.size)


def _at(layout: str, at: int) -> Callable[[memoryview], tuple[int, int]]:
    """A reader of two numbers at a fixed place; bitmaps that hang upside down are negative."""

    def read(data: memoryview) -> tuple[int, int]:
        width, height = struct.unpack_from(layout, data, at)
        return abs(width), abs(height)

    return read


def _written(pattern: re.Pattern[bytes]) -> Callable[[memoryview], tuple[int, int] | None]:
    """A reader of two numbers in the text that a file begins with."""

    def read(data: memoryview) -> tuple[int, int] | None:
        match = pattern.match(data)
        return None if match is None else (int(match[1]), int(match[2]))

    return read


def _largest(sizes: Iterable[tuple[int, int]]) -> tuple[int, int]:
    """Of what looks like a size: a decoy may stand before the true one."""
    return max(sizes, key=lambda size: size[0] * size[1], default=(0, 0))


def _jpeg(data: memoryview) -> tuple[int, int] | None:
    at = 2
    while (marker := _JPEG_MARKER.search(data, at)) is not None:
        kind, at = marker[1][0], marker.end()
        if kind in _JPEG_SIZES:
            height, width = struct.unpack_from(">HH", data, at + 3)
            return width, height
        if kind in (0xD9, 0xDA):  # the end, or a scan
            return None
        if kind not in _JPEG_ALONE:
            at += struct.unpack_from(">H", data, at)[0]
    return None


def _webp(data: memoryview) -> tuple[int, int] | None:
    kind = data[12:16].tobytes()
    if kind == b"VP8X":
        low = int.from_bytes(data[24:30].tobytes(), "little")
        return (low & 0xFFFFFF) + 1, (low >> 24) + 1
    if kind == b"VP8L":
        bits = struct.unpack_from("<I", data, 21)[0]
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    width, height = struct.unpack_from("<HH", data, 26)
    return width & 0x3FFF, height & 0x3FFF


def _tiff(data: memoryview) -> tuple[int, int]:
    """The first directory's; of tiles, which may be larger than the picture, theirs."""
    order = "<" if data[:1] == b"I" else ">"
    big = struct.unpack_from(order + "H", data, 2)[0] == 43
    start = struct.unpack_from(order + ("Q" if big else "I"), data, 8 if big else 4)[0]
    count = struct.unpack_from(order + ("Q" if big else "H"), data, start)[0]
    at, step = start + (8 if big else 2), 20 if big else 12
    largest = {256: 0, 257: 0, 322: 0, 323: 0}
    for entry in range(at, min(at + step * count, len(data) - step + 1), step):
        tag, kind = struct.unpack_from(order + "HH", data, entry)
        if tag not in largest:
            continue
        layout = {1: "B", 6: "B", 3: "H", 8: "H", 16: "Q", 17: "Q"}.get(kind, "I")
        place = entry + (12 if big else 8)
        if layout == "Q" and not big:
            place = struct.unpack_from(order + "I", data, place)[0]
        value = struct.unpack_from(order + layout, data, place)[0]
        largest[tag] = max(largest[tag], value)
    return max(largest[256], largest[322]), max(largest[257], largest[323])


def _jpeg_2000(data: memoryview) -> tuple[int, int]:
    sizes: list[tuple[int, int]] = []
    for match in _JPEG_2000.finditer(data):
        length, _, right, lower, left, upper = struct.unpack_from(">HHIIII", match[1])
        if length == 38 + 3 * struct.unpack_from(">H", match[1], 36)[0]:  # of the components
            sizes.append((max(0, right - left), max(0, lower - upper)))
    return _largest(sizes)


def _avif(data: memoryview) -> tuple[int, int]:
    return _largest(struct.unpack(">II", match[1]) for match in _AVIF.finditer(data))


def _radiance(data: memoryview) -> tuple[int, int]:
    return _largest((int(match[2]), int(match[1])) for match in _RADIANCE.finditer(data))


def _pam(data: memoryview) -> tuple[int, int]:
    said = [(match[1], int(match[2])) for match in _PAM.finditer(data)]
    width, height = (max(n for name, n in said if name == side) for side in (b"WIDTH", b"HEIGHT"))
    return width, height


_FORMATS: Final[tuple[tuple[bytes, Callable[[memoryview], tuple[int, int] | None]], ...]] = (
    (re.escape(PNG) + rb"....IHDR", _at(">II", 16)),
    (_JPEG, _jpeg),
    (rb"GIF8", _at("<HH", 6)),
    (rb"BM.{12}\x0c\0\0\0", _at("<HH", 18)),
    (rb"BM", _at("<ii", 18)),
    (rb"II[*+]\0|MM\0[*+]", _tiff),
    (rb"RIFF....WEBP", _webp),
    (rb"....ftyp", _avif),
    (rb"\0\0\0\x0cjP|\xff\x4f\xff", _jpeg_2000),
    (rb"#\?R", _radiance),
    (rb"P7", _pam),
    (rb"P[1-6]", _written(_PXM)),
    (rb"P[Ff]", _written(_PFM)),
    (rb"\x59\xa6\x6a\x95", _at(">II", 4)),
)
"""How a file begins, and what reads its size."""
