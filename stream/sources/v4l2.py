"""The modes of a camera on Linux, as video4linux enumerates them.

Layouts and numbers are those of the kernel's ``linux/videodev2.h`` (all members are 32 bits wide,
so that there is no padding) on the machines that number their ioctls the common way (x86, ARM,
RISC-V).
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Iterator
from typing import Final

from ...models.errors import SourceError
from .camera_mode import CameraMode, sorted_modes

Ioctl = Callable[[int, int, bytearray], object]
"""Like ``fcntl.ioctl``: fills the buffer, or raises OSError."""

CAPABILITY: Final = struct.Struct("=16s32s32s3I12x")  # driver, card, bus, version, all, of device
FORMAT: Final = struct.Struct("=3I32sI16x")  # index, type, flags, description, pixel format
SIZE: Final = struct.Struct("=3I6I8x")  # index, pixel format, type, sizes
INTERVAL: Final = struct.Struct("=5I6I8x")  # index, pixel format, width, height, type, fractions


def _ioc(direction: int, number: int, layout: struct.Struct) -> int:
    return direction << 30 | layout.size << 16 | ord("V") << 8 | number


QUERYCAP: Final = _ioc(2, 0, CAPABILITY)
ENUM_FMT: Final = _ioc(3, 2, FORMAT)
ENUM_FRAMESIZES: Final = _ioc(3, 74, SIZE)
ENUM_FRAMEINTERVALS: Final = _ioc(3, 75, INTERVAL)

_CAPTURE: Final = 0x1  # V4L2_CAP_VIDEO_CAPTURE, and V4L2_BUF_TYPE_VIDEO_CAPTURE
_CAPTURE_MPLANE: Final = 0x1000
_TYPE_MPLANE: Final = 9
_HAS_DEVICE_CAPS: Final = 0x80000000
_DISCRETE: Final = 1
_MOST: Final = 256  # of anything: a driver whose list does not end is not believed

# FFmpeg's names where they are not the four characters in small letters.
_NAMES: Final = {
    "YUYV": "yuyv422", "YVYU": "yvyu422", "UYVY": "uyvy422", "MJPG": "mjpeg", "JPEG": "mjpeg",
    "YU12": "yuv420p", "422P": "yuv422p", "GREY": "gray", "Y16 ": "gray16le", "BGR3": "bgr24",
    "RGB3": "rgb24", "BGR4": "bgr0", "XR24": "bgr0", "RGBP": "rgb565le", "HEVC": "hevc",
    "MPG4": "mpeg4", "BA81": "bayer_bggr8", "GBRG": "bayer_gbrg8", "GRBG": "bayer_grbg8",
    "RGGB": "bayer_rggb8",
}  # fmt: skip


def camera_modes(path: str, ioctl: Ioctl | None = None) -> list[CameraMode]:
    """What a device offers; empty where it is none that gives pictures. It may be in use.

    Args:
        path: such as ``/dev/video0``.
        ioctl: None for the system's.

    Raises:
        SourceError: it cannot be opened, or is no video device.
    """
    if ioctl is None:
        from fcntl import ioctl
    try:
        fd = os.open(path, os.O_RDWR | os.O_NONBLOCK)
    except OSError as error:
        raise SourceError(f"{path}: cannot be opened: {error.strerror}") from error
    try:
        return sorted_modes(list(_modes(fd, ioctl)))
    except OSError as error:
        raise SourceError(f"{path}: is no video device: {error.strerror}") from error
    finally:
        os.close(fd)


def _modes(fd: int, ioctl: Ioctl) -> Iterator[CameraMode]:
    buffer = bytearray(CAPABILITY.size)
    ioctl(fd, QUERYCAP, buffer)
    *_, capabilities, of_device = CAPABILITY.unpack(buffer)
    if capabilities & _HAS_DEVICE_CAPS:  # of this node: a camera may have others, for metadata
        capabilities = of_device
    if capabilities & _CAPTURE:
        kind = _CAPTURE
    elif capabilities & _CAPTURE_MPLANE:
        kind = _TYPE_MPLANE
    else:
        return
    for fmt in _enumerated(fd, ioctl, ENUM_FMT, FORMAT, (kind,)):
        fourcc = fmt[4]
        name = format_name(fourcc)
        for size in _enumerated(fd, ioctl, ENUM_FRAMESIZES, SIZE, (fourcc,)):
            least = None
            width, height = size[3:5]
            if size[2] != _DISCRETE:
                least_width, width, _, least_height, height, _ = size[3:9]
                least = (least_width, least_height)
            yield CameraMode(name, width, height, _rates(fd, ioctl, fourcc, width, height), least)


def _rates(fd: int, ioctl: Ioctl, fourcc: int, width: int, height: int) -> tuple[float, ...]:
    rates: set[float] = set()
    for interval in _enumerated(fd, ioctl, ENUM_FRAMEINTERVALS, INTERVAL, (fourcc, width, height)):
        # A range is its shortest and its longest interval, and a step.
        fractions = interval[5:7] if interval[4] == _DISCRETE else interval[5:9]
        for seconds, parts in zip(fractions[::2], fractions[1::2], strict=True):
            if seconds:
                rates.add(parts / seconds)
    return tuple(sorted(rates, reverse=True))


def _enumerated(
    fd: int, ioctl: Ioctl, request: int, layout: struct.Struct, asked: tuple[int, ...]
) -> Iterator[tuple[int, ...]]:
    """Entries until the driver says that there are no more; only the first of a range."""
    ranged = {ENUM_FRAMESIZES: 2, ENUM_FRAMEINTERVALS: 4}.get(request)
    for index in range(_MOST):
        buffer = bytearray(layout.size)
        struct.pack_into(f"={1 + len(asked)}I", buffer, 0, index, *asked)
        try:
            ioctl(fd, request, buffer)
        except OSError:  # EINVAL past the end; ENOTTY of a driver that does not enumerate
            return
        entry = layout.unpack(buffer)
        yield entry
        if ranged is not None and entry[ranged] != _DISCRETE:
            return


def format_name(fourcc: int) -> str:
    """FFmpeg's name of a pixel format, or its four characters where they are not known."""
    characters = struct.pack("<I", fourcc & 0x7FFFFFFF).decode("ascii", "replace")
    return _NAMES.get(characters, characters.strip().lower())
