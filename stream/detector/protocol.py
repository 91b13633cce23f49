"""What the tracker asks of a face detector."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float32, UInt8

Detections = Float32[np.ndarray, "_ 5"]
"""One face a row: x, y, w, h of its box in image pixels, and a score in [0, 1]; best first."""


@runtime_checkable
class Detector(Protocol):
    """Finds faces in a picture, each on its own: it remembers nothing."""

    def detect(self, image_bgr: UInt8[np.ndarray, "H W 3"], thorough: bool = False) -> Detections:
        """Boxes of the faces in a picture, best first.

        Args:
            image_bgr: the picture.
            thorough: spare no time, for stills: small faces are searched for as well.

        Returns:
            (K, 5) float32: x, y, w, h in px, score.
        """
        ...


def overlap(
    one_xywh: Float32[np.ndarray, " A"], others_xywh: Float32[np.ndarray, "K B"]
) -> Float32[np.ndarray, " K"]:
    """Intersection over union of one box with others (x, y, w, h first; more is ignored)."""
    low = np.maximum(one_xywh[:2], others_xywh[:, :2])
    high = np.minimum(one_xywh[:2] + one_xywh[2:4], others_xywh[:, :2] + others_xywh[:, 2:4])
    common = np.prod(np.maximum(high - low, 0.0), axis=1)
    area = one_xywh[2] * one_xywh[3] + others_xywh[:, 2] * others_xywh[:, 3] - common
    return (common / np.maximum(area, 1e-9)).astype(np.float32)


def suppress(detections: Detections, most_overlap: float) -> Detections:
    """The detections, best first, without those that overlap a better one."""
    left = detections[np.argsort(-detections[:, 4], kind="stable")]
    kept: list[Float32[np.ndarray, " 5"]] = []
    while len(left):
        best, left = left[0], left[1:]
        kept.append(best)
        left = left[overlap(best, left) <= most_overlap]
    return np.stack(kept) if kept else detections
