"""Held-out errors of the blendshapes' network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import torch

from ..face.morphable import FaceModel
from ..face.names import GAZE_DEG
from .dataset import ViewBatch
from .losses import BLINK, GAZE, OTHERS, moved_points
from .network import BlendshapeNetwork

_SEEN: Final = 0.7
"""Sine of the yaw to which both eyes are seen."""
_OPEN: Final = 0.4


@dataclass(frozen=True)
class BlendshapeValidation:
    """Figures of held-out pictures, of faces turned by at most 45 degrees; NaN where none is.

    Attributes:
        blink_error: mean absolute error of ``eyeBlink*``.
        winks: share of faces with one eye closed and one open of which both are told right at 0.5.
        gaze_deg: mean error of the direction of open eyes, about both axes together.
        gaze_constant_deg: what their mean direction would get.
        correlation: mean over all blendshapes but those of blinks and gaze.
        points_mm: mean error of the face's points, as far as the blendshapes move them.
        points_constant_mm: what their mean would get.
    """

    blink_error: float
    winks: float
    gaze_deg: float
    gaze_constant_deg: float
    correlation: float
    points_mm: float
    points_constant_mm: float


def validate(
    network: BlendshapeNetwork, batches: list[ViewBatch], model: FaceModel
) -> BlendshapeValidation:
    """Measure a network, in evaluation mode, on batches of faces of a face model."""
    said = []
    with torch.inference_mode():
        for batch in batches:
            output = network(torch.from_numpy(batch.views), torch.from_numpy(batch.facing))
            said.append(output.numpy())
    found = np.concatenate(said)
    true = np.concatenate([batch.blendshapes for batch in batches])
    facing = np.concatenate([batch.facing for batch in batches])
    seen = np.abs(facing[:, 0]) <= _SEEN
    found, true = found[seen], true[seen]
    lids, closed = found[:, BLINK], true[:, BLINK]
    if not len(true):
        return BlendshapeValidation(*[float("nan")] * 7)
    wink = (closed.max(1) >= 0.6) & (closed.min(1) <= 0.3)
    right = ((lids >= 0.5) == (closed >= 0.5)).all(1)
    is_open = closed < _OPEN
    angles, truth = _angles(found)[is_open], _angles(true)[is_open]
    middle = truth.mean(0) if len(truth) else truth
    points = moved_points(model).reshape(true.shape[1], -1)
    return BlendshapeValidation(
        blink_error=_mean(np.abs(lids - closed)),
        winks=_mean(right[wink]),
        gaze_deg=_mean(np.linalg.norm(angles - truth, axis=1)),
        gaze_constant_deg=_mean(np.linalg.norm(truth - middle, axis=1)),
        correlation=_mean(_correlations(found[:, OTHERS], true[:, OTHERS])),
        points_mm=_distance(found - true, points),
        points_constant_mm=_distance(true - true.mean(0), points),
    )


def _correlations(one: np.ndarray, two: np.ndarray) -> np.ndarray:
    """Of each column; zero where one of both does not vary."""
    one, two = one - one.mean(0), two - two.mean(0)
    size = np.sqrt((one**2).sum(0) * (two**2).sum(0))
    return (one * two).sum(0) / np.maximum(size, 1e-9)


def _distance(error: np.ndarray, points: np.ndarray) -> float:
    """Mean over points of how far errors of blendshapes move them, mm."""
    return float(np.linalg.norm((error @ points).reshape(len(error), -1, 3), axis=2).mean())


def _mean(values: np.ndarray) -> float:
    """Mean of what is there; not a number where nothing is."""
    return float(values.mean()) if values.size else float("nan")


def _angles(blendshapes: np.ndarray) -> np.ndarray:
    """(N, 2 eyes, 2) outwards and up, degrees."""
    out = blendshapes[:, GAZE["Out"]] - blendshapes[:, GAZE["In"]]
    up = blendshapes[:, GAZE["Up"]] - blendshapes[:, GAZE["Down"]]
    return np.stack([out, up], -1) * GAZE_DEG
