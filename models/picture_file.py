"""Pictures that others made, through OpenCV: whatever is wrong with one is an ``InputError``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
from jaxtyping import UInt8
from numpy.typing import NDArray

from .errors import InputError
from .picture_size import PNG, content_fault


def read_bgr(path: Path) -> UInt8[np.ndarray, "H W 3"]:
    """A picture file, upright by its EXIF, in 8 bits.

    Raises:
        InputError: it cannot be read, or is no picture.
    """
    return np.asarray(read_as_it_is(path, cv2.IMREAD_COLOR), np.uint8)


def read_as_it_is(path: Path, flags: int = cv2.IMREAD_UNCHANGED) -> NDArray[Any]:
    """A picture file in its own type and channels.

    Args:
        path: of the file.
        flags: OpenCV's, of another reading.

    Raises:
        InputError: it cannot be read, or is no picture.
    """
    try:
        content = np.fromfile(path, np.uint8)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from error
    image = decoded(content, flags)
    if image is None:
        why = content_fault(content)
        raise InputError(f"{path}: not a picture that can be read{why and ': it ' + why}")
    return image


def decoded(content: UInt8[np.ndarray, " B"], flags: int) -> NDArray[Any] | None:
    """The picture that bytes hold; None where they hold none, or one beyond OpenCV's limits."""
    if not content.size or not _has_its_chunks(content) or content_fault(content):
        return None
    try:
        return cv2.imdecode(content, flags)
    except cv2.error:
        return None


def _has_its_chunks(content: UInt8[np.ndarray, " B"]) -> bool:
    """Whether a PNG has the bytes that its chunks declare: OpenCV makes room before it looks."""
    if content[:8].tobytes() != PNG:
        return True
    at, kind = len(PNG), b""
    while at + 8 <= len(content) and kind != b"IEND":
        kind = content[at + 4 : at + 8].tobytes()
        at += 12 + int.from_bytes(content[at : at + 4].tobytes(), "big")
    return at <= len(content)
