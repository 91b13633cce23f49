"""Kalman filters of one followed face: rigid pose, identity, expression."""

from .config import PRESETS, SmoothingConfig, resolve_smoothing
from .pose import Displacement, PoseMeasurement
from .smoother import FaceMeasurement, FaceSmoother, FaceState

__all__ = [
    "PRESETS",
    "Displacement",
    "FaceMeasurement",
    "FaceSmoother",
    "FaceState",
    "PoseMeasurement",
    "SmoothingConfig",
    "resolve_smoothing",
]
