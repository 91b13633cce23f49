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
    check_detector(name)
    if name == "centerface":
        from .centerface import CenterFaceDetector

        return CenterFaceDetector(threads=threads)
    from ...models.face.bundle import Bundle
    from .own import OwnDetector

    # A detector points at faces and knows nothing of a face model: any bundle can use any.
    path = bundle.detector_path or Bundle.default().detector_path
    if path is None:
        raise BundleError(f"{Bundle.default().folder}: the shipped bundle lacks its detector")
    return OwnDetector(path, threads=threads)


def check_detector(name: DetectorName) -> None:
    """Tell before the work what :func:`open_detector` would tell in it.

    Raises:
        InputError: there is none of that name.
        BundleError: its weights are not installed.
    """
    if name == "centerface":
        from .centerface import centerface_path

        centerface_path()
    elif name != "own":
        raise InputError(f"detector is {name!r}, expected 'own' or 'centerface'")
