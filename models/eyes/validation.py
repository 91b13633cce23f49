"""Held-out errors of the eyes' network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import torch

from ..face.eye_views import BLINK, LOOK_DOWN, LOOK_IN, LOOK_OUT, LOOK_UP
from ..face.names import GAZE_DEG
from .dataset import EyeBatch
from .network import EyeNetwork

_SEEN: Final = 0.7
"""Sine of the yaw to which both eyes are seen."""
_OPEN: Final = 0.4


@dataclass(frozen=True)
class EyeValidation:
    """Figures of held-out pictures, of faces turned by at most 45 degrees; NaN where none is.

    Attributes:
        blink_error: mean absolute error of ``eyeBlink*``.
        winks: share of faces with one eye closed and one open of which both are told right at 0.5.
        gaze_deg: mean error of the direction of open eyes, about both axes together.
        gaze_constant_deg: what their mean direction would get.
    """

    blink_error: float
    winks: float
    gaze_deg: float
    gaze_constant_deg: float


def validate(network: EyeNetwork, batches: list[EyeBatch]) -> EyeValidation:
    """Measure a network, in evaluation mode, on batches."""
    said = []
    with torch.inference_mode():
        for batch in batches:
            output = network(torch.from_numpy(batch.eyes), torch.from_numpy(batch.facing))
            said.append(output.numpy())
    units = np.concatenate(said)
    true = np.concatenate([batch.units for batch in batches])
    facing = np.concatenate([batch.facing for batch in batches])
    seen = np.abs(facing[:, 0, 0]) <= _SEEN
    units, true = units[seen], true[seen]
    lids, closed = units[..., BLINK], true[..., BLINK]
    wink = (closed.max(1) >= 0.6) & (closed.min(1) <= 0.3)
    right = ((lids >= 0.5) == (closed >= 0.5)).all(1)
    is_open = closed < _OPEN
    angles, truth = _angles(units)[is_open], _angles(true)[is_open]
    middle = truth.mean(0) if len(truth) else truth
    return EyeValidation(
        blink_error=_mean(np.abs(lids - closed)),
        winks=_mean(right[wink]),
        gaze_deg=_mean(np.linalg.norm(angles - truth, axis=1)),
        gaze_constant_deg=_mean(np.linalg.norm(truth - middle, axis=1)),
    )


def _mean(values: np.ndarray) -> float:
    """Mean of what is there; not a number where nothing is."""
    return float(values.mean()) if values.size else float("nan")


def _angles(units: np.ndarray) -> np.ndarray:
    """Outwards and up, degrees."""
    out, up = (
        units[..., LOOK_OUT] - units[..., LOOK_IN],
        units[..., LOOK_UP] - units[..., LOOK_DOWN],
    )
    return np.stack([out, up], -1) * GAZE_DEG
