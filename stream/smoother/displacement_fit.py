"""How far displacements may be believed, from films with truth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import numpy as np
from jaxtyping import Float64

from ...models.errors import InputError
from ...models.face.rotation import (
    quaternion_conjugate,
    quaternion_multiply,
    rotation_vector_from_quaternion,
)
from .channels import POSE_GROUPS, ROTATION
from .displacement_tuning import DisplacementTuning
from .pose import view_coordinates
from .tuner import TruePath
from .tuning import Tuning, channels_of

Ways = Float64[np.ndarray, "3 _ 6"]
"""Displacements summed: as they were found, as they were, and the variances stated."""

_LONG: Final = 4  # steps of a way on which errors that go together show
_SHARES: Final = (0.5, 1.5)  # of a turn that an alignment may find
_TAILS: Final = 3.0  # degrees of freedom of Student's t
_T_OF_NORMAL: Final = 0.6297  # its likeliest scale squared where errors are normal of variance 1
_LEAST: Final = 1e-4  # of a factor, which must be positive
_FIRST: Final = (1.0, 0.05, 0.01)  # where the search begins


def fit_displacements(tuning: Tuning, paths: Sequence[TruePath]) -> Tuning:
    """How far to believe displacements, on films, and how much of a turn they find.

    The error of a way has the variance ``variance q + motion^2 |way|^2 + turning^2 |turn|^2``, q
    the sum of what its steps state: single steps tell of their noise, ways of :data:`_LONG` steps
    of what goes together from step to step. Errors are taken to have Student's t-distribution, so
    that the few ways on which an alignment failed do not tell of all others.

    Args:
        tuning: to complete.
        paths: of films.

    Raises:
        InputError: no film shows a face for long enough.
    """
    ways = _ways(paths, _LONG)
    if not ways.shape[1]:
        raise InputError(f"no film follows a face for {_LONG} frames")
    share = tuple(_share(*ways[:2, :, k]) for k in range(ROTATION.start, ROTATION.stop))
    gain = DisplacementTuning(share=share).gain
    scale = np.stack([gain, np.ones(6), gain**2])[:, None]
    both = [scale * some for some in (_ways(paths, 1), ways)]
    fits = [_worth(name, both) for name in POSE_GROUPS]
    variance, motion, turning = map(tuple, zip(*fits, strict=True))
    worth = DisplacementTuning(variance, share, motion, turning[1:])
    return replace(tuning, displacement=worth)


def _share(found: Float64[np.ndarray, " W"], true: Float64[np.ndarray, " W"]) -> float:
    """The slope of the line through the origin that has the least absolute error."""
    moved = true != 0.0
    if not moved.any():
        return 1.0
    slopes, weights = found[moved] / true[moved], np.abs(true[moved])
    order = np.argsort(slopes)
    middle = np.searchsorted(np.cumsum(weights[order]), 0.5 * weights.sum())
    return float(np.clip(slopes[order][middle], *_SHARES))


def _worth(name: str, ways: Sequence[Ways]) -> tuple[float, float, float]:
    """Likeliest factor of the stated variance, and errors' shares of the way and of the turn."""
    from scipy.optimize import minimize

    channels = channels_of(name)
    turns = [(true[:, ROTATION] ** 2).sum(axis=1, keepdims=True) for _, true, _ in ways]
    own = [(true[:, channels] ** 2).sum(axis=1, keepdims=True) for _, true, _ in ways]
    squared = [((found - true) ** 2)[:, channels] for found, true, _ in ways]
    stated = [q[:, channels] for _, _, q in ways]
    free = 2 if name == "rotation" else 3  # its way is the turn

    def cost(logarithms: Float64[np.ndarray, " F"]) -> float:
        factor, motion, turning = (*np.exp(logarithms), 0.0)[:3]
        total = 0.0
        for e, q, way, turn in zip(squared, stated, own, turns, strict=True):
            scale = factor * q + motion**2 * way + turning**2 * turn + 1e-18
            logs = np.log(scale) + (_TAILS + 1.0) * np.log1p(e / (_TAILS * scale))
            total += float(logs.mean())
        return total

    start = np.log(_FIRST[:free])
    simplex = np.concatenate([start[None], start + np.eye(free)])
    found = minimize(cost, start, method="Nelder-Mead", options={"initial_simplex": simplex})
    factor, motion, turning = (*np.exp(found.x).tolist(), 0.0)[:3]
    wider = _T_OF_NORMAL**-0.5
    return max(factor * wider**2, _LEAST), motion * wider, turning * wider


def _ways(paths: Sequence[TruePath], steps: int) -> Ways:
    """All ways of so many steps; no two have a step in common."""
    ways = [way for path in paths for way in _ways_of(path, steps)]
    return np.stack(ways, axis=1) if ways else np.empty((3, 0, 6))


def _ways_of(path: TruePath, steps: int) -> list[Float64[np.ndarray, "3 6"]]:
    ways: list[Float64[np.ndarray, "3 6"]] = []
    walked: list[Float64[np.ndarray, "3 6"]] = []
    for k, measured in enumerate(path.measured):
        found = None if measured is None else measured.displacement
        if k == 0 or found is None:
            walked = []
            continue
        turn = quaternion_multiply(path.quats[k], quaternion_conjugate(path.quats[k - 1]))
        view = view_coordinates(path.translation_mm[k])
        view -= view_coordinates(path.translation_mm[k - 1])
        true = np.concatenate([rotation_vector_from_quaternion(turn), view])
        walked.append(np.stack([found.by, true, found.variance]))
        if len(walked) == steps:
            ways.append(np.sum(walked, axis=0))
            walked = []
    return ways
