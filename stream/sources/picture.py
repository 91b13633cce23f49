"""From a decoded picture to what the rest of mien sees: upright BGR, and integer nanoseconds."""

from __future__ import annotations

import struct
from fractions import Fraction
from functools import lru_cache
from pathlib import Path
from typing import Protocol, runtime_checkable

import av
import av.video.reformatter
import cv2
import numpy as np
from jaxtyping import UInt8

from ...models.picture_file import decoded
from .tone import HLG, PQ, to_sdr

_QUARTER_TURNS = {
    90: cv2.ROTATE_90_COUNTERCLOCKWISE,
    180: cv2.ROTATE_180,
    270: cv2.ROTATE_90_CLOCKWISE,
}


@runtime_checkable
class _Rational(Protocol):
    @property
    def numerator(self) -> int: ...
    @property
    def denominator(self) -> int: ...


def rational(value: _Rational | None) -> Fraction | None:
    """A rate or time base of PyAV as a Fraction; None where it is unset.

    An unset one is None in PyAV 18 and a rational zero in PyAV 19.
    """
    return Fraction(value.numerator, value.denominator) if value else None


def nanoseconds(ticks: int, time_base: Fraction) -> int:
    """``ticks`` x ``time_base``, rounded to the nearest nanosecond, in integers throughout."""
    scaled = ticks * time_base.numerator * 1_000_000_000
    return (2 * scaled + time_base.denominator) // (2 * time_base.denominator)


class PictureConverter:
    """Makes upright BGR of the pictures of one source.

    The scaler is kept from picture to picture, and works in the calling thread: to set one up for
    each picture, with threads, costs more than the conversion does.
    """

    def __init__(self) -> None:
        self._scaler = av.video.reformatter.VideoReformatter()

    def upright_bgr(
        self, picture: av.VideoFrame, file: Path | None = None
    ) -> UInt8[np.ndarray, "H W 3"]:
        """The picture as contiguous BGR, as a player would show it.

        Any pixel format is converted to 8 bits, any size is taken. High dynamic range (PQ, HLG) is
        mapped to the ordinary one. Of an interlaced picture one field is taken, and its lines are
        interpolated: all of it is of one moment, without waiting for the next picture. What is
        transparent is blended over black. The display matrix (rotation by quarter turns, mirroring)
        is applied; other angles are not.

        Args:
            picture: as decoded.
            file: the image file that it is all of, where there is one: read again by OpenCV where
                EXIF may say how the picture lies, which PyAV cannot tell in full.
        """
        if file is not None and _has_exif(file):
            again = decoded(np.fromfile(file, dtype=np.uint8), cv2.IMREAD_COLOR)
            if again is not None:
                return np.asarray(again, dtype=np.uint8)
        orientation = _orientation(picture) if file is None else None
        if orientation is None:
            orientation = _angle(picture)
        return _turned(self._bgr(picture), *orientation)

    def _bgr(self, picture: av.VideoFrame) -> UInt8[np.ndarray, "H W 3"]:
        image = self._woven_bgr(picture)
        return _one_field(image) if picture.interlaced_frame else image

    def _woven_bgr(self, picture: av.VideoFrame) -> UInt8[np.ndarray, "H W 3"]:
        if picture.color_trc in (PQ, HLG):
            deep = self._scaler.reformat(picture, format="bgr48le", threads=1).to_ndarray()
            return to_sdr(deep, picture.color_trc, picture.color_primaries)
        if not _has_alpha(picture.format.name):
            return self._scaler.reformat(picture, format="bgr24", threads=1).to_ndarray()
        bgra = self._scaler.reformat(picture, format="bgra", threads=1).to_ndarray()
        alpha = bgra[..., 3:]
        image = np.ascontiguousarray(bgra[..., :3])
        if alpha.min() < 255:
            image = ((image.astype(np.uint16) * alpha + 127) // 255).astype(np.uint8)
        return image


def _one_field(image: UInt8[np.ndarray, "H W 3"]) -> UInt8[np.ndarray, "H W 3"]:
    """The even lines of a picture, and between them their means."""
    above, below = image[0:-2:2], image[2::2]
    out = image.copy()
    out[1 : 2 * len(above) : 2] = cv2.addWeighted(above, 0.5, below, 0.5, 0.0)
    if len(image) % 2 == 0:
        out[-1] = image[-2]
    return out


@lru_cache(maxsize=64)
def _has_alpha(pixel_format: str) -> bool:
    layout = av.VideoFormat(pixel_format)
    return layout.has_palette or any(component.is_alpha for component in layout.components)


def _turned(
    image: UInt8[np.ndarray, "H W 3"], turn: int, mirrored: bool
) -> UInt8[np.ndarray, "H2 W2 3"]:
    if turn:
        image = np.asarray(cv2.rotate(image, _QUARTER_TURNS[turn]))
    if mirrored:
        image = np.asarray(cv2.flip(image, 1))
    return np.ascontiguousarray(image, dtype=np.uint8)


def _orientation(picture: av.VideoFrame) -> tuple[int, bool] | None:
    """Counter-clockwise degrees (0, 90, 180, 270) to turn, and whether to mirror left-right then.

    FFmpeg's matrix (a b u; c d v; x y w) sends a pixel (x, y) to (a x + c y, b x + d y). None where
    it cannot be read: PyAV 18 has no name for EXIF side data, and refuses the whole list over it.

    The list is read only where the picture is turned (or mirrored left-right, which looks like a
    half turn): PyAV frees side data that bears a name, such as a colour profile, twice, and the
    process dies of it later. Pictures that are only upside down in a mirror pay for that.
    """
    if _angle(picture)[0] == 0:
        return 0, False
    try:
        matrix = picture.side_data.get("DISPLAYMATRIX")
    except ValueError:
        return None
    if matrix is None:
        return 0, False
    a, b, _, c, d = struct.unpack("<5i", bytes(matrix)[:20])
    return _turn_of(a, b, c, d)


def _angle(picture: av.VideoFrame) -> tuple[int, bool]:
    """The turn alone, which says nothing of mirroring; it does not touch the list of side data."""
    return round(picture.rotation / 90) * 90 % 360, False


def _has_exif(file: Path) -> bool:
    """Whether an image file may say by EXIF how it lies; OpenCV then reads it."""
    data = file.read_bytes()
    return any(mark in data for mark in (b"Exif\0\0", b"eXIf", b"EXIF"))


def _turn_of(a: int, b: int, c: int, d: int) -> tuple[int, bool]:
    mirrored = a * d - b * c < 0
    if mirrored:  # M = F T with F the left-right mirror: T = F M
        a, c = -a, -c
    if abs(a) >= abs(b):
        return (0 if a > 0 else 180), mirrored
    return (270 if b > 0 else 90), mirrored
