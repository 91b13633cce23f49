"""Where frames come from: files, images, pipes, cameras, network streams, test patterns."""

from .base import Clock, Source, SourceInfo, SourceKind, SourceStats
from .cameras import CameraDevice, list_cameras
from .latest import LatestSlot, LatestSource, SlotClosed
from .opening import SourceOptions, open_source
from .pacing import PacedSource

__all__ = [
    "CameraDevice",
    "Clock",
    "LatestSlot",
    "LatestSource",
    "PacedSource",
    "SlotClosed",
    "Source",
    "SourceInfo",
    "SourceKind",
    "SourceOptions",
    "SourceStats",
    "list_cameras",
    "open_source",
]
