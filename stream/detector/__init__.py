"""Face detectors behind one small protocol."""

from ...models.face.crop import BoxStyle
from .centerface import CenterFaceConfig, CenterFaceDetector
from .own import OwnDetector, OwnDetectorConfig
from .protocol import Detections, Detector, Hinting

__all__ = [
    "BoxStyle",
    "CenterFaceConfig",
    "CenterFaceDetector",
    "Detections",
    "Detector",
    "Hinting",
    "OwnDetector",
    "OwnDetectorConfig",
]
