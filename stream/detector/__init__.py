"""Face detectors behind one small protocol."""

from .centerface import CenterFaceConfig, CenterFaceDetector
from .protocol import Detections, Detector

__all__ = ["CenterFaceConfig", "CenterFaceDetector", "Detections", "Detector"]
