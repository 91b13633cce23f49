"""Modes of cameras: a driver that answers ioctls as the kernel does, and texts of FFmpeg's."""

from __future__ import annotations

import ctypes
import errno
import sys
from pathlib import Path

import pytest

from mien.models.errors import SourceError
from mien.stream.sources import CameraDevice, list_modes
from mien.stream.sources.camera_mode import CameraMode
from mien.stream.sources.printed_modes import (
    modes_in_avfoundation,
    modes_in_dshow,
    printed_modes,
)
from mien.stream.sources.v4l2 import (
    ENUM_FMT,
    ENUM_FRAMEINTERVALS,
    ENUM_FRAMESIZES,
    QUERYCAP,
    camera_modes,
    format_name,
)
from mien.tools.live.cameras import list_cameras_text

U32 = ctypes.c_uint32


class Capability(ctypes.Structure):
    _fields_ = (
        ("driver", ctypes.c_char * 16),
        ("card", ctypes.c_char * 32),
        ("bus_info", ctypes.c_char * 32),
        ("version", U32),
        ("capabilities", U32),
        ("device_caps", U32),
        ("reserved", U32 * 3),
    )


class Format(ctypes.Structure):
    _fields_ = (
        ("index", U32),
        ("type", U32),
        ("flags", U32),
        ("description", ctypes.c_char * 32),
        ("pixelformat", U32),
        ("mbus_code", U32),
        ("reserved", U32 * 3),
    )


class Size(ctypes.Structure):
    _fields_ = (
        ("index", U32),
        ("pixel_format", U32),
        ("type", U32),
        ("sizes", U32 * 6),
        ("reserved", U32 * 2),
    )


class Interval(ctypes.Structure):
    _fields_ = (
        ("index", U32),
        ("pixel_format", U32),
        ("width", U32),
        ("height", U32),
        ("type", U32),
        ("fractions", U32 * 6),
        ("reserved", U32 * 2),
    )


def fourcc(text: str) -> int:
    return int.from_bytes(text.encode(), "little")


class Driver:
    """A camera with two sizes of MJPEG at two rates, YUYV of any size, and a node for metadata."""

    def __init__(self, capabilities: int = 0x84A00001, device_caps: int = 0x04200001) -> None:
        self.capabilities = capabilities
        self.device_caps = device_caps

    def __call__(self, fd: int, request: int, buffer: bytearray) -> int:
        assert request >> 16 & 0x3FFF == len(buffer)
        answers = {
            QUERYCAP: self.capability,
            ENUM_FMT: self.format,
            ENUM_FRAMESIZES: self.size,
            ENUM_FRAMEINTERVALS: self.interval,
        }
        if request not in answers:
            raise OSError(errno.ENOTTY, "Inappropriate ioctl for device")
        answers[request](buffer)
        return 0

    def capability(self, buffer: bytearray) -> None:
        answer = Capability.from_buffer(buffer)
        answer.driver, answer.card = b"uvcvideo", b"A Camera"
        answer.capabilities, answer.device_caps = self.capabilities, self.device_caps

    def format(self, buffer: bytearray) -> None:
        asked = Format.from_buffer(buffer)
        if asked.type != 1 or asked.index > 1:
            raise OSError(errno.EINVAL, "Invalid argument")
        asked.pixelformat = fourcc(("MJPG", "YUYV")[asked.index])
        asked.description = b"a description as long as possible"[:31]

    def size(self, buffer: bytearray) -> None:
        asked = Size.from_buffer(buffer)
        mjpeg = asked.pixel_format == fourcc("MJPG")
        if asked.index > (1 if mjpeg else 0):
            raise OSError(errno.EINVAL, "Invalid argument")
        asked.type = 1 if mjpeg else 3
        sizes = ((640, 480), (1920, 1080))[asked.index] if mjpeg else (16, 800, 8, 16, 600, 8)
        asked.sizes[: len(sizes)] = sizes

    def interval(self, buffer: bytearray) -> None:
        asked = Interval.from_buffer(buffer)
        if asked.pixel_format == fourcc("YUYV"):
            assert (asked.width, asked.height) == (800, 600)
            if asked.index > 0:
                raise OSError(errno.EINVAL, "Invalid argument")
            asked.type = 2
            asked.fractions[:] = (1, 25, 1, 5, 1, 1)
            return
        if asked.index > 1 or asked.width not in (640, 1920):
            raise OSError(errno.EINVAL, "Invalid argument")
        asked.type = 1
        asked.fractions[:2] = ((1, 60), (1001, 30000))[asked.index]


@pytest.fixture
def node(tmp_path: Path) -> str:
    path = tmp_path / "video0"
    path.touch()
    return str(path)


def test_requests_are_those_of_the_kernel() -> None:
    assert (QUERYCAP, ENUM_FMT) == (0x80685600, 0xC0405602)
    assert (ENUM_FRAMESIZES, ENUM_FRAMEINTERVALS) == (0xC02C564A, 0xC034564B)
    assert [ctypes.sizeof(s) for s in (Capability, Format, Size, Interval)] == [104, 64, 44, 52]


def test_a_driver_is_asked_for_its_modes(node: str) -> None:
    modes = camera_modes(node, Driver())
    assert modes == [
        CameraMode("mjpeg", 1920, 1080, (60.0, 30000 / 1001)),
        CameraMode("mjpeg", 640, 480, (60.0, 30000 / 1001)),
        CameraMode("yuyv422", 800, 600, (25.0, 5.0), least=(16, 16)),
    ]
    assert [" ".join(str(mode).split()) for mode in modes] == [
        "mjpeg 1920x1080 60, 29.97",
        "mjpeg 640x480 60, 29.97",
        "yuyv422 16x16 to 800x600 25, 5",
    ]


def test_a_node_that_gives_no_pictures_has_no_modes(node: str) -> None:
    assert camera_modes(node, Driver(device_caps=0x04A00000)) == []
    assert len(camera_modes(node, Driver(capabilities=0x04000001, device_caps=0))) == 3


def test_a_driver_without_an_end_is_not_believed(node: str) -> None:
    class Endless(Driver):
        def interval(self, buffer: bytearray) -> None:
            asked = Interval.from_buffer(buffer)
            asked.type = 1
            asked.fractions[:2] = (1, 30)

    assert [mode.rates for mode in camera_modes(node, Endless())] == [(30.0,)] * 3


def test_what_is_no_device_says_so(node: str, tmp_path: Path) -> None:
    pytest.importorskip("fcntl")
    with pytest.raises(SourceError, match="video0: is no video device"):
        camera_modes(node)
    with pytest.raises(SourceError, match="none: cannot be opened: No such file"):
        camera_modes(str(tmp_path / "none"))


def test_formats_have_the_names_to_ask_for_them_by() -> None:
    names = [format_name(fourcc(text)) for text in ("MJPG", "YUYV", "NV12", "GREY", "Z16 ")]
    assert names == ["mjpeg", "yuyv422", "nv12", "gray", "z16"]


DSHOW = """[dshow @ 000001] DirectShow video device options (from video devices)
[dshow @ 000001]  Pin "Capture" (alternative pin name "0")
[dshow @ 000001]   vcodec=mjpeg  min s=1280x720 fps=5 max s=1280x720 fps=60.0002
[dshow @ 000001]   vcodec=mjpeg  min s=1280x720 fps=5 max s=1280x720 fps=60.0002 (pc, bt470bg)
[dshow @ 000001]   pixel_format=yuyv422  min s=160x120 fps=30 max s=640x480 fps=30
"""
AVFOUNDATION = """Selected framerate (0.001000) is not supported by the device.
Supported modes:
  1280x720@[1.000000 30.000030]fps
  640x480@[15.000000 15.000000]fps
  640x480@[30.000000 30.000000]fps
"""


def test_what_ffmpeg_prints_is_read() -> None:
    assert modes_in_dshow(DSHOW) == [
        CameraMode("mjpeg", 1280, 720, (60.0002, 5.0)),
        CameraMode("yuyv422", 640, 480, (30.0,), least=(160, 120)),
    ]
    assert modes_in_avfoundation(AVFOUNDATION) == [
        CameraMode("", 1280, 720, (30.00003, 1.0)),
        CameraMode("", 640, 480, (30.0, 15.0)),
    ]
    assert modes_in_dshow("nothing") == []
    for odd in ("1e+021e+0", "1.2.3", "9" * 5000):  # no number, or none that Python reads
        assert modes_in_dshow(DSHOW.replace("fps=5", f"fps={odd}").replace("fps=30", "fps=")) == []
        assert modes_in_avfoundation(f"640x480@[{odd} 30.0]fps") == []
    assert modes_in_dshow(f"vcodec=a min s=1x1 fps=5 max s={'9' * 5000}x1 fps=5") == []


def test_ffmpeg_is_asked_and_its_log_is_as_before() -> None:
    av_logging = pytest.importorskip("av.logging")
    before = av_logging.get_level()
    for interface in ("dshow", "avfoundation"):  # which this build of FFmpeg may lack
        assert printed_modes(interface, "none") == []
    assert av_logging.get_level() == before


def test_the_list_for_people(monkeypatch: pytest.MonkeyPatch) -> None:
    cameras = [CameraDevice("/dev/video0", "A Camera"), CameraDevice("/dev/video1", "Another")]
    modes = {"/dev/video0": [CameraMode("mjpeg", 640, 480, (30.0,))]}

    def offered(camera: CameraDevice) -> list[CameraMode]:
        if camera.name not in modes:
            raise SourceError("/dev/video1: cannot be opened: Permission denied")
        return modes[camera.name]

    monkeypatch.setattr("mien.tools.live.cameras.list_cameras", lambda: cameras)
    monkeypatch.setattr("mien.tools.live.cameras.list_modes", offered)
    assert list_cameras_text() == (
        "/dev/video0  A Camera\n  mjpeg      640x480      30\n\n"
        "/dev/video1  Another\n  /dev/video1: cannot be opened: Permission denied"
    )
    monkeypatch.setattr("mien.tools.live.cameras.list_cameras", list)
    assert list_cameras_text() == "no camera is connected"


@pytest.mark.skipif(sys.platform == "win32", reason="ioctls are those of a Unix")
def test_modes_are_asked_of_the_platform(node: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mien.stream.sources.cameras.capture_format", lambda: "v4l2")
    with pytest.raises(SourceError, match="video0: is no video device"):
        list_modes(CameraDevice(node, "A Camera"))
    monkeypatch.setattr("mien.stream.sources.cameras.capture_format", lambda: "dshow")
    assert list_modes(CameraDevice("none", "A Camera")) == []
