"""Detectors by name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...models.errors import BundleError, InputError
from ..detector_names import DetectorName
from .protocol import Detector

if TYPE_CHECKING:
    from ...models.face.bundle import Bundle


def open_detector(name: DetectorName, bundle: Bundle, threads: int = 1) -> Detector:
    """The detector of that name.

    Raises:
        InputError: there is none of that name.
        BundleError: its weights are not there, or damaged.
    """
    if name == "centerface":
        from .centerface import CenterFaceDetector

        return CenterFaceDetector(threads=threads)
    if name != "own":
        raise InputError(f"detector is {name!r}, expected 'own' or 'centerface'")
    from .own import OwnDetector

    if bundle.detector_path is None:
        raise BundleError(
            f"{bundle.folder}: this bundle has no detector of its own (detector.onnx); take "
            "centerface"
        )
    return OwnDetector(bundle.detector_path, threads=threads)
