"""Cameras by number, path or name, on the capture interface of each platform.

Only what can be had without a camera has been tried so far: opening, what FFmpeg accepts, a driver
that answers as the kernel does. Windows and macOS are written from FFmpeg's sources.
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass

import av
import av.error

from ...models.errors import SourceError
from .camera_mode import CameraMode

_SCREEN = re.compile(r"Capture screen \d+")
"""What AVFoundation lists among the cameras; to open it asks for the right to record the screen."""
_FORMATS = {"linux": "v4l2", "darwin": "avfoundation", "win32": "dshow"}


@dataclass(frozen=True)
class CameraDevice:
    """A camera as the system lists it.

    Attributes:
        name: what to open it by.
        description: what people call it.
    """

    name: str
    description: str


def capture_format() -> str:
    """FFmpeg's name of this platform's capture interface."""
    return _FORMATS.get(sys.platform, "v4l2")


def list_cameras() -> list[CameraDevice]:
    """The cameras of this machine; opens none of them."""
    try:
        devices = av.enumerate_input_devices(capture_format())
    except (av.error.FFmpegError, ValueError):
        if capture_format() != "dshow":  # this build of FFmpeg lacks the interface
            return []
        from .printed_modes import printed_cameras

        return [CameraDevice(*names) for names in printed_cameras()]
    return [
        CameraDevice(device.name, device.description)
        for device in devices
        if (not device.media_types or "video" in device.media_types)
        and not _SCREEN.fullmatch(device.description)
    ]


def list_modes(camera: CameraDevice) -> list[CameraMode]:
    """Formats, sizes and rates that a camera offers; empty where they cannot be had.

    On Linux from the driver, which works while the camera is in use; on Windows and macOS from what
    FFmpeg prints when the camera is opened for a list.

    Raises:
        SourceError: the device cannot be asked.
    """
    interface = capture_format()
    if interface == "v4l2":
        from .v4l2 import camera_modes

        return camera_modes(camera.name)
    from .printed_modes import printed_modes

    return printed_modes(interface, _target(camera))


def is_camera_number(spec: str) -> bool:
    """Whether the words name a camera by number or device path."""
    return bool(re.fullmatch(r"\d+|/dev/video\d+|/dev/v4l/by-(id|path)/.+", spec))


def find_camera(spec: str) -> str | None:
    """What FFmpeg opens for a number, device path or name; None where no camera has that name.

    Raises:
        SourceError: there is no camera of that number (where the number is a place in a list).
    """
    if sys.platform.startswith("linux") and is_camera_number(spec):
        return spec if spec.startswith("/") else f"/dev/video{spec}"
    if sys.platform == "darwin" and spec.isdigit():
        return spec
    cameras = list_cameras()
    if spec.isdigit():
        if int(spec) >= len(cameras):
            raise SourceError(f"camera {spec}: there is none; {describe(cameras)}")
        return _target(cameras[int(spec)])
    for camera in cameras:
        if spec.casefold() in (camera.name.casefold(), camera.description.casefold()):
            return _target(camera)
    return None


def describe(cameras: list[CameraDevice]) -> str:
    """One phrase for messages."""
    if not cameras:
        return "no camera is connected"
    return "cameras here: " + ", ".join(f"{c.name} ({c.description})" for c in cameras)


def _target(camera: CameraDevice) -> str:
    return f"video={camera.name}" if sys.platform == "win32" else camera.name
