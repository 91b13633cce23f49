"""Where frames come from: files, images, pipes, cameras, network streams, test patterns."""

from .base import Clock, Source, SourceInfo, SourceKind, SourceStats
from .camera_mode import CameraMode
from .cameras import CameraDevice, list_cameras, list_modes
from .latest import LatestSlot, LatestSource, SlotClosed
from .opening import SourceOptions, open_source
from .pacing import PacedSource
from .reconnecting import Backoff, ReconnectingSource
from .together import open_together

__all__ = [
    "Backoff",
    "CameraDevice",
    "CameraMode",
    "Clock",
    "LatestSlot",
    "LatestSource",
    "PacedSource",
    "ReconnectingSource",
    "SlotClosed",
    "Source",
    "SourceInfo",
    "SourceKind",
    "SourceOptions",
    "SourceStats",
    "list_cameras",
    "list_modes",
    "open_source",
    "open_together",
]
