"""How well values agree with the truth: correlation, decisions at a threshold, stated variance.

Pure functions on arrays, for what has no unit of its own: blendshapes, gaze, presence, variances.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Float64

from ..errors import InputError


def correlations(
    predicted: Float[np.ndarray, "n K"], true: Float[np.ndarray, "n K"]
) -> Float64[np.ndarray, " K"]:
    """Pearson's correlation of each column; NaN where either does not vary."""
    a = predicted - predicted.mean(axis=0, dtype=np.float64)
    b = true - true.mean(axis=0, dtype=np.float64)
    spread = np.sqrt((a**2).sum(axis=0) * (b**2).sum(axis=0))
    varies = spread > 1e-12
    return np.divide((a * b).sum(axis=0), spread, out=np.full(len(spread), np.nan), where=varies)


@dataclass(frozen=True)
class Confusion:
    """Counts of a yes or no question."""

    true_positive: int
    false_positive: int
    false_negative: int
    true_negative: int

    @property
    def recall(self) -> float:
        """Share of the true ones that were found; NaN where there are none."""
        return _share(self.true_positive, self.true_positive + self.false_negative)

    @property
    def precision(self) -> float:
        """Share of the found ones that are true; NaN where nothing was found."""
        return _share(self.true_positive, self.true_positive + self.false_positive)

    @property
    def false_alarm_rate(self) -> float:
        """Share of the others that were taken for true ones; NaN where there are none."""
        return _share(self.false_positive, self.false_positive + self.true_negative)


def _share(part: int, whole: int) -> float:
    return part / whole if whole else float("nan")


def confusion(predicted: Bool[np.ndarray, " n"], true: Bool[np.ndarray, " n"]) -> Confusion:
    """Count agreements and disagreements."""
    return Confusion(
        int(np.sum(predicted & true)),
        int(np.sum(predicted & ~true)),
        int(np.sum(~predicted & true)),
        int(np.sum(~predicted & ~true)),
    )


def roc_area(scores: Float[np.ndarray, " n"], true: Bool[np.ndarray, " n"]) -> float:
    """Area under the ROC curve: chance that a true one scores above another (ties count half).

    Raises:
        InputError: all are true, or none is.
    """
    positive, negative = np.sort(scores[true]), np.sort(scores[~true])
    if not len(positive) or not len(negative):
        raise InputError("ROC: needs true ones and others")
    below = np.searchsorted(negative, positive, side="left")
    not_above = np.searchsorted(negative, positive, side="right")
    return float((below + not_above).mean() / (2 * len(negative)))


def normalised_error_squared(
    error: Float[np.ndarray, "*B K"], variance: Float[np.ndarray, "*B K"]
) -> Float64[np.ndarray, "*B"]:
    """Mean of ``e_k^2 / variance_k``: 1 on average where the stated variance is true.

    Raises:
        InputError: a variance is not positive.
    """
    if not np.all(variance > 0):
        raise InputError("normalised error: a stated variance is not positive")
    return np.asarray(np.mean(error.astype(np.float64) ** 2 / variance, axis=-1))


def angle_between_gazes_deg(
    predicted_deg: Float[np.ndarray, "*B 2"], true_deg: Float[np.ndarray, "*B 2"]
) -> Float64[np.ndarray, "*B"]:
    """Angle between two directions of an eye, each given as degrees to the left and up."""
    cosine = np.sum(_direction(predicted_deg) * _direction(true_deg), axis=-1)
    return np.asarray(np.degrees(np.arccos(np.clip(cosine, -1.0, 1.0))))


def _direction(left_up_deg: Float[np.ndarray, "*B 2"]) -> Float64[np.ndarray, "*B 3"]:
    left, up = np.moveaxis(np.radians(left_up_deg.astype(np.float64)), -1, 0)
    return np.stack([np.sin(left) * np.cos(up), np.sin(up), np.cos(left) * np.cos(up)], axis=-1)
