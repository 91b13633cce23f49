"""Laws of a network's errors, fitted to errors that were measured on short videos."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from jaxtyping import Float64

from ...models.errors import InputError
from .tuning import CONDITIONS, ErrorLaw, GroupTuning

_LAGS = (1, 2, 3, 4, 6, 8, 11, 15, 22, 30, 45, 60)
_FARTHEST = 99.7  # percentile: what lies beyond is a failure, not noise
MOST_PASSING: Final = 0.25
"""Share of the lasting errors' variance that may pass. Errors follow the pose more than the time: a
filter that takes more of them for passing holds a head where it was seen before, and errs more on
the whole (by 5 % with all of them)."""
LEAST_RATIO: Final = 1e-3
_RIDGE = 1e-3
_RISE = 1.5  # largest weight of a stated log-variance
_STEPS = 40


@dataclass(frozen=True)
class MeasuredErrors:
    """Errors of one group's channels in V videos of T frames each.

    Attributes:
        error: (V, T, N) measured less true.
        stated: (V, T, N) log-variances that the network states.
        conditions: (V, T, F).
        absolute: (V,) whether the truth is exact: of a photograph only changes are known.
    """

    error: Float64[np.ndarray, "V T N"]
    stated: Float64[np.ndarray, "V T N"]
    conditions: Float64[np.ndarray, "V T F"]
    absolute: np.ndarray


@dataclass(frozen=True)
class Correlation:
    """How errors last, by a variogram.

    Attributes:
        white: share of the variance of a frame's change that is new in every frame.
        error_s: time in which the lasting error that changes forgets itself.
        passing: variance of that error, over the white one's.
    """

    white: float
    error_s: float
    passing: float


def fit_errors(
    errors: MeasuredErrors, dt_s: float, weigh_stated: bool
) -> tuple[ErrorLaw, ErrorLaw, Correlation]:
    """The laws of one group.

    Args:
        errors: of its channels.
        dt_s: between frames.
        weigh_stated: whether the weight of the stated log-variance is fitted; it is 1 where not,
            as the units of a pose demand.

    Returns:
        The law of the new errors, that of the lasting ones, and how these last.

    Raises:
        InputError: there are too few videos.
    """
    videos, frames, _ = errors.error.shape
    if videos < 8 or frames < 4 or not errors.absolute.any():
        raise InputError(
            f"{videos} videos of {frames} frames, expected 8 or more of 4, some with exact truth"
        )
    error = _within(errors.error)
    correlation = correlate(error, dt_s)
    change = np.diff(error, axis=1)
    half = 0.5 * change**2 * correlation.white
    middle = 0.5 * (errors.stated[:, 1:] + errors.stated[:, :-1])
    seen = 0.5 * (errors.conditions[:, 1:] + errors.conditions[:, :-1])
    white = _fit_law(half, middle, seen, np.zeros_like(half), weigh_stated)
    exact = np.asarray(errors.absolute, bool)
    stated, conditions = errors.stated[exact], errors.conditions[exact]
    known = variances(white, stated, conditions)
    slow = _fit_law(error[exact] ** 2, stated, conditions, known, weigh_stated)
    return white, slow, correlation


def variances(
    law: ErrorLaw, stated: Float64[np.ndarray, "V T N"], conditions: Float64[np.ndarray, "V T F"]
) -> Float64[np.ndarray, "V T N"]:
    """What a law says of every error."""
    return np.exp(
        np.array(law.level)
        + law.stated * stated
        + (conditions @ np.array(law.conditions))[..., None]
    )


def correlate(error: Float64[np.ndarray, "V T N"], dt_s: float) -> Correlation:
    """Fit ``w + s (1 - exp(-lag / tau))`` to the variogram, half the mean squared change.

    Channels count alike: each is scaled by its own changes.
    """
    scale = np.sqrt(np.mean(np.diff(error, axis=1) ** 2, axis=(0, 1)))
    scaled = error / np.maximum(scale, 1e-30)
    # Of each lag there must be enough pairs.
    lags = np.array([lag for lag in _LAGS if lag < 0.8 * error.shape[1]])
    variogram = np.array([0.5 * np.mean((scaled[:, lag:] - scaled[:, :-lag]) ** 2) for lag in lags])
    variogram = np.maximum(variogram, 1e-30)  # of errors that never change
    best: tuple[float, Correlation] | None = None
    for tau in np.geomspace(2.0 * dt_s, lags[-1] * dt_s, 40):
        shape = 1.0 - np.exp(-lags * dt_s / tau)
        # Non-negative least squares of two terms, the relative misfit being what counts.
        rows = np.column_stack([np.ones(len(lags)), shape]) / variogram[:, None]
        w, s = np.linalg.lstsq(rows, np.ones(len(lags)), rcond=None)[0]
        if s < 0.0:
            w, s = 1.0 / np.mean(1.0 / variogram), 0.0
        w = max(w, 0.02 * variogram[0])
        misfit = float(np.sum((rows @ [w, s] - 1.0) ** 2))
        if best is None or misfit < best[0]:
            first = w + s * shape[0]
            best = misfit, Correlation(float(w / first), float(tau), float(s / w))
    if best is None:
        raise InputError("no lag to correlate errors at")
    return best[1]


def with_correlation(
    group: GroupTuning, errors: Float64[np.ndarray, "V T N"], dt_s: float
) -> GroupTuning:
    """A group with the correlation in time of errors in longer videos than stills make.

    Args:
        group: with its laws.
        errors: of its channels, measured less true.
        dt_s: between frames.
    """
    found = correlate(_within(errors), dt_s)
    return replace(group, error_s=found.error_s, error_ratio=max(found.passing, LEAST_RATIO))


def _within(error: Float64[np.ndarray, "V T N"]) -> Float64[np.ndarray, "V T N"]:
    """Errors with failures drawn in: the largest few count as the percentile they lie beyond."""
    limit = np.percentile(np.abs(error), _FARTHEST, axis=(0, 1))
    return np.clip(error, -limit, limit)


def _fit_law(
    squared: Float64[np.ndarray, "V T N"],
    stated: Float64[np.ndarray, "V T N"],
    conditions: Float64[np.ndarray, "V T F"],
    known: Float64[np.ndarray, "V T N"],
    weigh_stated: bool,
) -> ErrorLaw:
    """Maximum likelihood of normal errors of variance ``known + exp(level + ...)``, by scoring.

    Minimises ``log T + e^2 / T``, T the whole variance, with Fisher's information in place of the
    second derivatives.
    """
    channels = squared.shape[-1]
    features = len(CONDITIONS)
    least = max(1e-3 * float(np.mean(squared)), 1e-12)  # of errors that never change, too
    level = np.log(np.maximum(np.mean(squared - known, axis=(0, 1)), least))
    weight = 1.0
    slopes = np.zeros(features)
    middle = conditions.mean(axis=(0, 1))
    spread = conditions.std(axis=(0, 1)) + 1e-9
    f = (conditions - middle) / spread
    level = level - weight * stated.mean(axis=(0, 1))
    centre = stated.mean(axis=(0, 1))
    for _ in range(_STEPS):
        own = np.exp(np.clip(level + weight * stated + (f @ slopes)[..., None], -60.0, 60.0))
        whole = own + known
        score = own / whole * (squared / whole - 1.0)  # of the law's logarithm, times 2
        weights = (own / whole) ** 2
        gradient = np.concatenate(
            [
                score.sum(axis=(0, 1)),
                [np.sum(score * (stated - centre)) if weigh_stated else 0.0],
                np.einsum("vtn,vtf->f", score, f),
            ]
        )
        information = np.zeros((channels + 1 + features,) * 2)
        by_channel = weights.sum(axis=(0, 1))
        s = stated - centre
        ws = weights * s
        information[range(channels), range(channels)] = by_channel
        information[:channels, channels] = information[channels, :channels] = ws.sum(axis=(0, 1))
        information[channels, channels] = np.sum(ws * s) if weigh_stated else 1.0
        if not weigh_stated:
            information[:channels, channels] = information[channels, :channels] = 0.0
        cross = np.einsum("vtn,vtf->nf", weights, f)
        information[:channels, channels + 1 :] = cross
        information[channels + 1 :, :channels] = cross.T
        both = np.einsum("vtn,vtf->f", ws, f) if weigh_stated else np.zeros(features)
        information[channels, channels + 1 :] = information[channels + 1 :, channels] = both
        information[channels + 1 :, channels + 1 :] = np.einsum("vtn,vtf,vtg->fg", weights, f, f)
        information[range(len(gradient)), range(len(gradient))] += _RIDGE * len(squared) + 1e-9
        step = np.linalg.solve(information, gradient)
        step *= min(1.0, 1.0 / max(np.abs(step).max(), 1e-12))
        before = weight
        if weigh_stated:
            weight = float(np.clip(weight + step[channels], 0.0, _RISE))
        # Levels were stepped about the mean stated value.
        level = level + step[:channels] - (weight - before) * centre
        slopes = slopes + step[channels + 1 :]
        if np.abs(step).max() < 1e-4:
            break
    raw = slopes / spread
    return ErrorLaw(
        tuple(float(v) for v in level - raw @ middle), weight, tuple(float(v) for v in raw)
    )


def condition_range(
    conditions: Sequence[Float64[np.ndarray, "_ _ F"]],
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Between which values each condition was measured, but for a hundredth at either end."""
    rows = np.concatenate([c.reshape(-1, len(CONDITIONS)) for c in conditions])
    low, high = np.percentile(rows, [1.0, 99.0], axis=0)
    return tuple(low.tolist()), tuple(high.tolist())
