"""What happens to a frame: sources, detector, regression, tracks, smoothing, sinks."""

from .frame import Frame
from .observation import FaceObservation
from .tracker import FaceTracker
from .tracker_config import TrackerConfig

__all__ = ["FaceObservation", "FaceTracker", "Frame", "TrackerConfig"]
