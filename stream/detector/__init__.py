"""Face detectors behind one small protocol."""

from .centerface import CenterFaceConfig, CenterFaceDetector
from .own import OwnDetector, OwnDetectorConfig
from .protocol import Detections, Detector

__all__ = [
    "CenterFaceConfig",
    "CenterFaceDetector",
    "Detections",
    "Detector",
    "OwnDetector",
    "OwnDetectorConfig",
]
