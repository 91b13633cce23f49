"""What the tracker asks of a face detector."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import UInt8

from ...models.detector.boxes import Detections as Detections
from ...models.detector.boxes import overlap as overlap
from ...models.detector.boxes import resized as resized
from ...models.detector.boxes import suppress as suppress
from ...models.face.crop import BoxStyle


@runtime_checkable
class Detector(Protocol):
    """Finds faces in a picture, each on its own: it remembers nothing."""

    @property
    def box_style(self) -> BoxStyle:
        """How its boxes lie to the crop that the regressor wants."""
        ...

    def detect(self, image_bgr: UInt8[np.ndarray, "H W 3"], thorough: bool = False) -> Detections:
        """Boxes of the faces in a picture, best first.

        Args:
            image_bgr: the picture.
            thorough: spare no time, for stills: small faces are searched for as well.

        Returns:
            (K, 5) float32: x, y, w, h in px, score in [0, 1]; best first.
        """
        ...


@runtime_checkable
class Hinting(Detector, Protocol):
    """A detector that can also say where it suspects a face without being sure."""

    @property
    def sure_score(self) -> float:
        """Least score of what ``detect`` gives, in [0, 1]; boxes of less are hints."""
        ...

    def suspect(self, image_bgr: UInt8[np.ndarray, "H W 3"], thorough: bool = False) -> Detections:
        """As ``detect``, with hints: boxes that are to be looked at more critically.

        Args:
            image_bgr: the picture.
            thorough: as for ``detect``.

        Returns:
            (K, 5) float32: x, y, w, h in px, score in [0, 1]; best first. Those of ``sure_score``
            or more are what ``detect`` gives.
        """
        ...
