"""Says whether a file ends before the end that its own headers declare.

FFmpeg plays a file that was cut short as if it were a shorter one. The container formats below
state the length of their parts, so that the missing bytes can be counted without decoding.
"""

from __future__ import annotations

import re
import struct
from pathlib import Path
from typing import BinaryIO

_EBML = b"\x1a\x45\xdf\xa3"
_MATROSKA_SEGMENT = 0x18538067
_BOX_NAME = re.compile(rb"[\w \xa9-]{4}")
_UNKNOWN_LENGTH = b"\xff" * 4
_ISO_FIRST_BOXES = {b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"styp", b"pnot"}


def missing_bytes(path: Path) -> int:
    """How many bytes the file lacks: ISO media (MP4, MOV), Matroska and WebM, RIFF (AVI, WebP).

    0 for a complete file, and for every format that does not say how long it is.

    Raises:
        OSError: the file cannot be read.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(12)
        if head[4:8] in _ISO_FIRST_BOXES:
            return _missing_in_iso(file, size)
        if head[:4] == _EBML:
            return _missing_in_matroska(file, size)
        if head[:4] == b"RIFF" and len(head) >= 8 and head[4:8] != _UNKNOWN_LENGTH:
            return max(0, 8 + struct.unpack("<I", head[4:8])[0] - size)
    return 0


def _missing_in_iso(file: BinaryIO, size: int) -> int:
    at = 0
    while at < size:
        file.seek(at)
        head = file.read(16)
        # Not a box: padding or other bytes after the last, which are not ours to judge.
        if len(head) < 8 or not _BOX_NAME.fullmatch(head[4:8]):
            return 0
        length, header = struct.unpack(">I", head[:4])[0], 8
        if length == 1 and len(head) == 16:
            length, header = struct.unpack(">Q", head[8:16])[0], 16
        if length < header:  # 0: to the end of the file, however long that is
            return 0
        at += length
    return at - size


def _missing_in_matroska(file: BinaryIO, size: int) -> int:
    at = 0
    while at < size:
        file.seek(at)
        name, name_bytes = _ebml_number(file, keep_marker=True)
        length, length_bytes = _ebml_number(file, keep_marker=False)
        if name is None or length is None:
            return 0
        if length == (1 << (7 * length_bytes)) - 1:  # unknown, as in live recordings
            return 0
        at += name_bytes + length_bytes + length
        if name == _MATROSKA_SEGMENT:
            break
    return max(0, at - size)


def _ebml_number(file: BinaryIO, keep_marker: bool) -> tuple[int | None, int]:
    """A variable-length integer: its value, None where there is none, and its bytes."""
    first = file.read(1)
    if not first or first[0] == 0:
        return None, 0
    count = 9 - first[0].bit_length()
    rest = file.read(count - 1)
    if len(rest) < count - 1:
        return None, 0
    lead = first[0] if keep_marker else first[0] & ((1 << (8 - count)) - 1)
    return int.from_bytes(bytes([lead]) + rest, "big"), count
