"""Cameras and their modes on Windows and macOS, from what FFmpeg prints about them.

DirectShow has an option that lists them. AVFoundation prints them when it is asked for a rate that
no camera has. The parsers follow the format strings of FFmpeg's ``dshow.c`` and
``avfoundation.m``; they have not been tried on such machines.
"""

from __future__ import annotations

import re
from contextlib import suppress

import av
import av.error
import av.logging

from .camera_mode import CameraMode, sorted_modes

_SIZE = r"(\d{1,6})x(\d{1,6})"
_RATE = r"(\d{1,9}(?:\.\d{1,9})?(?:e\+\d{1,2})?)"
_DSHOW = re.compile(
    rf"(?:pixel_format|vcodec)=(\S+)\s+min s={_SIZE} fps={_RATE} max s={_SIZE} fps={_RATE}"
)
_AVFOUNDATION = re.compile(rf"{_SIZE}@\[{_RATE} {_RATE}\]fps")
_IMPOSSIBLE_RATE = "0.001"
_DSHOW_DEVICE = re.compile(r'"([^"\n]+)" \(([a-z, ]+)\)\s+Alternative name "([^"\n]+)"')


def modes_in_dshow(text: str) -> list[CameraMode]:
    """From DirectShow's list of options."""
    modes = []
    for name, *numbers in _DSHOW.findall(text):
        least_width, least_height, _, width, height, _ = numbers
        least = (int(least_width), int(least_height))
        largest = (int(width), int(height))
        rates = tuple(sorted({float(numbers[2]), float(numbers[5])}, reverse=True))
        modes.append(CameraMode(name, *largest, rates, None if least == largest else least))
    return sorted_modes(modes)


def modes_in_avfoundation(text: str) -> list[CameraMode]:
    """From AVFoundation's list of supported modes, which names no formats."""
    found: dict[tuple[int, int], set[float]] = {}
    for width, height, low, high in _AVFOUNDATION.findall(text):
        found.setdefault((int(width), int(height)), set()).update((float(low), float(high)))
    return sorted_modes(
        [CameraMode("", *size, tuple(sorted(rates, reverse=True))) for size, rates in found.items()]
    )


def cameras_in_dshow(text: str) -> list[tuple[str, str]]:
    """From DirectShow's list of devices: what each camera is opened by, and what people call it."""
    return [
        (name, called)
        for called, kinds, name in _DSHOW_DEVICE.findall(text)
        if kinds == "none" or "video" in kinds.split(", ")
    ]


def printed_cameras() -> list[tuple[str, str]]:
    """Ask DirectShow; FFmpeg's own list fails as a whole where there is no microphone."""
    return cameras_in_dshow(_printed("dshow", "dummy", {"list_devices": "true"}))


def printed_modes(interface: str, device: str) -> list[CameraMode]:
    """Ask FFmpeg; empty where it prints nothing that is understood.

    Args:
        interface: ``dshow`` or ``avfoundation``.
        device: what FFmpeg opens.
    """
    if interface == "dshow":
        return modes_in_dshow(_printed(interface, device, {"list_options": "true"}))
    if interface == "avfoundation":
        options = {"framerate": _IMPOSSIBLE_RATE}
        return modes_in_avfoundation(_printed(interface, device, options))
    return []


def _printed(interface: str, device: str, options: dict[str, str]) -> str:
    """What FFmpeg says while it fails to open a device."""
    level = av.logging.get_level()
    try:
        av.logging.set_level(av.logging.INFO)
        with av.logging.Capture(local=False) as logs, suppress(av.error.FFmpegError, ValueError):
            av.open(device, format=interface, options=options).close()
    finally:
        av.logging.set_level(level)
    return "".join(message for _, _, message in logs)
