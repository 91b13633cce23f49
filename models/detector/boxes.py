"""From the detector's maps to boxes, and boxes among themselves; no torch here."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import numpy as np
from jaxtyping import Float32

from ..errors import BundleError

Detections = Float32[np.ndarray, "_ 5"]
"""One face a row: x, y, w, h of its box in image pixels, and a score in [0, 1]; best first."""

THRESHOLD_KEY: Final = "threshold"
"""Name of the score that a face needs among the metadata of ``detector.onnx``."""

_STRIDE: Final = 4
_LARGEST: Final = 6.5
"""Logarithm of a size in cells that no face exceeds; keeps the exponential finite."""


def stated_threshold(metadata: Mapping[str, str], path: Path) -> float:
    """The score that a file says a face needs; a half where it does not say.

    Args:
        metadata: of the network.
        path: its file, for the message.

    Raises:
        BundleError: what it says is no number from 0 to 1.
    """
    said = metadata.get(THRESHOLD_KEY, "0.5")
    try:
        threshold = float(said)
    except ValueError:
        threshold = math.nan
    if not 0.0 <= threshold <= 1.0:
        raise BundleError(f"{path}: its threshold is {said!r}, expected a number from 0 to 1")
    return threshold


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


def resized(detections: Detections, size: tuple[int, int], new: tuple[int, int]) -> Detections:
    """Detections in a picture that was resized; pixel centres are at integers in both.

    Args:
        detections: (K, 5) in px of the first.
        size: width and height of the first, px.
        new: of the second.
    """
    scale = np.array([new[0] / size[0], new[1] / size[1]], np.float32)
    boxes = detections.copy()
    boxes[:, :2] = (boxes[:, :2] + 0.5) * scale - 0.5
    boxes[:, 2:4] *= scale
    return boxes


def decode(
    heat: Float32[np.ndarray, "h w"], box: Float32[np.ndarray, "4 h w"], threshold: float
) -> Detections:
    """Boxes of the cells whose heat passes the threshold, px of the network's input.

    Args:
        heat: how likely the middle of a face lies in the cell, in [0, 1].
        box: from the cell's middle to the face's, down and right, in cells; logarithms of height
            and width in cells.
        threshold: heat that a face needs.
    """
    rows, columns = np.nonzero(heat > threshold)
    down, right, log_height, log_width = box[:, rows, columns]
    y = (rows + down) * _STRIDE + 1.5
    x = (columns + right) * _STRIDE + 1.5
    h = _STRIDE * np.exp(np.minimum(log_height, _LARGEST))
    w = _STRIDE * np.exp(np.minimum(log_width, _LARGEST))
    found = np.stack([x - w / 2, y - h / 2, w, h, heat[rows, columns]], axis=1)
    return found.astype(np.float32)
