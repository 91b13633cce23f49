"""How well a smoothed film agrees with its truth: error, jitter, lag, blinks, stated variance.

All figures are pooled over films. Every quantity has an error series e (T, K) in its own unit, such
that ``sum_k e_k^2`` is the squared error of a frame; frames without a face count for no method.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from smoothing_methods import Measured, States

from mien.models.face.agreement import normalised_error_squared
from mien.models.face.metrics import box_size_px
from mien.models.face.names import BLENDSHAPE_INDEX, BLENDSHAPE_NAMES
from mien.models.face.rotation import (
    matrix_from_quaternion,
    rotation_vector_from_matrix,
    yaw_pitch_roll_from_matrix,
)
from mien.tools.tune_smoother.recorded_film import RecordedFilm

UNITS: Final = {
    "rotation": "deg",
    "translation": "mm",
    "sideways": "mm",
    "depth": "mm",
    "landmarks": "% of box",
    "blendshapes": "",
    "lids": "",
}
"""What is measured; translation is sideways (x and y) and depth together."""
SETTLING_S = 0.2
"""At the beginning of a still stretch, not counted: a lagging estimate still comes in."""
LEAST_STILL_S = 0.3
"""Of a still stretch after that."""
RESTING_SPEED = 0.2
"""Of a blendshape that rests, 1/s."""
SLOW_S = 1.0
"""Window of the moving mean that is taken for the slow part of an error."""
DELAYS_MS = np.arange(-100.0, 402.5, 2.5)
BLINK, BLINK_PEAK, BLINK_MARGIN_S = 0.3, 0.5, 0.1
"""A true blink lies above the first, reaches the second, and is looked for so much around."""
_LIDS = [BLENDSHAPE_INDEX["eyeBlinkLeft"], BLENDSHAPE_INDEX["eyeBlinkRight"]]
_ALL = list(range(len(BLENDSHAPE_NAMES)))
_RESTING = {
    "landmarks": [k for k in _ALL if not BLENDSHAPE_NAMES[k].startswith("eyeLook")],
    "blendshapes": _ALL,
    "lids": _LIDS,
}
"""What must rest, besides the head, where these are to be still."""
_FACE = [BLENDSHAPE_INDEX[name] for name in ("jawOpen", "mouthSmileLeft", "mouthSmileRight")]

Series = dict[str, np.ndarray]


@dataclass(frozen=True)
class Estimate:
    """What a method makes of a film, or its truth.

    Attributes:
        rotation: (T, 3, 3).
        translation_mm: (T, 3).
        landmarks: (T, 68, 2) px.
        blendshapes: (T, 52); NaN where the network has none.
        variance: (T, 6) stated of the pose; NaN where the method states none.
    """

    rotation: np.ndarray
    translation_mm: np.ndarray
    landmarks: np.ndarray
    blendshapes: np.ndarray
    variance: np.ndarray

    @classmethod
    def of(cls, states: States, measured: Measured) -> Estimate:
        """The rows of frames without a face hold NaN."""
        T = len(states)
        quats, places = np.tile([1.0, 0.0, 0.0, 0.0], (T, 1)), np.full((T, 3), np.nan)
        landmarks, blendshapes = np.full((T, 68, 2), np.nan), np.full((T, 52), np.nan)
        variance = np.full((T, 6), np.nan)
        for k in np.flatnonzero(measured.seen):
            state = states[k]
            if state is None:
                raise RuntimeError(f"a method has no state in frame {k}, which shows a face")
            quats[k], places[k] = state.pose.quat_wxyz, state.pose.translation_mm
            landmarks[k] = measured.fitter.landmarks_px(state, measured.video.camera)
            variance[k] = state.pose_variance
            if state.blendshapes is not None:
                blendshapes[k] = state.blendshapes
        return cls(matrix_from_quaternion(quats), places, landmarks, blendshapes, variance)

    @classmethod
    def truth(cls, film: RecordedFilm) -> Estimate:
        return cls(
            film.rotation,
            film.translation_mm,
            film.landmarks.astype(np.float64),
            film.blendshapes.astype(np.float64),
            np.full((len(film.t_ns), 6), np.nan),
        )

    @property
    def signals(self) -> Series:
        """(T, S) of each quantity, to see its lag in."""
        angles = yaw_pitch_roll_from_matrix(self.rotation)
        return {
            "rotation": angles[:, :2],
            "translation": self.translation_mm,
            "sideways": self.translation_mm[:, :2],
            "depth": self.translation_mm[:, 2:],
            "landmarks": self.landmarks.mean(axis=1),
            "blendshapes": self.blendshapes[:, _FACE],
            "lids": self.blendshapes[:, _LIDS],
        }

    def errors(self, truth: Estimate) -> Series:
        """(T, K) of each quantity, in its unit; rotation: the vector that leads to the truth."""
        relative = self.rotation @ np.swapaxes(truth.rotation, -1, -2)
        places = self.translation_mm - truth.translation_mm
        points = (self.landmarks - truth.landmarks) / box_size_px(truth.landmarks)[:, None, None]
        blendshapes = self.blendshapes - truth.blendshapes
        return {
            "rotation": np.degrees(rotation_vector_from_matrix(relative)),
            "translation": places,
            "sideways": places[:, :2],
            "depth": places[:, 2:],
            "landmarks": 100.0 * points.reshape(len(points), -1) / np.sqrt(68.0),
            "blendshapes": blendshapes / np.sqrt(blendshapes.shape[1]),
            "lids": blendshapes[:, _LIDS] / np.sqrt(2.0),
        }


@dataclass(frozen=True)
class Quantity:
    """Figures of one quantity, in its unit; NaN where nothing can be said.

    Attributes:
        rms: of the error.
        fast: of the error less its own moving mean.
        jitter: on still stretches, from second differences: independent noise has its own sd.
        wobble: on still stretches, of the error less its moving mean there.
        lag_ms: behind the truth; of what waits for frames to come, the wait is not in it.
    """

    rms: float
    fast: float
    jitter: float
    wobble: float
    lag_ms: float


@dataclass(frozen=True)
class Figures:
    """Figures of one method.

    Attributes:
        quantities: by name, see :data:`UNITS`.
        blinks: over raw's: median, and the tenth percentile, of the peaks of true blinks.
        nees: of rotation and translation per degree of freedom; NaN where no variance is stated.
        wait_ms: for frames to come.
    """

    quantities: dict[str, Quantity]
    blinks: tuple[float, float] = (np.nan, np.nan)
    nees: tuple[float, float] = (np.nan, np.nan)
    wait_ms: float = 0.0


@dataclass
class _Pool:
    """Sums of squares, and of their counts."""

    squares: float = 0.0
    count: int = 0

    def add(self, series: np.ndarray) -> None:
        self.squares += float(np.sum(series**2))
        self.count += len(series)

    @property
    def rms(self) -> float:
        return float(np.sqrt(self.squares / self.count)) if self.count else float("nan")


def moving_mean(series: np.ndarray, t_s: np.ndarray, window_s: float = SLOW_S) -> np.ndarray:
    """Mean of the samples within half a window before and after each; (T, K)."""
    sums = np.concatenate([np.zeros((1, series.shape[1])), np.cumsum(series, axis=0)])
    first = np.searchsorted(t_s, t_s - window_s / 2 - 1e-6)
    end = np.searchsorted(t_s, t_s + window_s / 2 + 1e-6, side="right")
    return (sums[end] - sums[first]) / (end - first)[:, None]


def stretches(
    mask: np.ndarray, t_s: np.ndarray, skip_s: float, least_s: float, least_frames: int = 3
) -> list[np.ndarray]:
    """Frames of every unbroken run of the mask less its beginning, where enough is left."""
    found = []
    edges = np.flatnonzero(np.diff(np.concatenate([[False], mask, [False]]).astype(int)))
    for begin, end in edges.reshape(-1, 2):
        frames = np.arange(begin, end)
        frames = frames[t_s[frames] >= t_s[begin] + skip_s]
        if len(frames) >= least_frames and t_s[frames[-1]] - t_s[frames[0]] >= least_s:
            found.append(frames)
    return found


def second_differences(series: np.ndarray) -> np.ndarray:
    """(T - 2, K), scaled so that independent noise keeps its standard deviation."""
    return np.diff(series, n=2, axis=0) / np.sqrt(6.0)


class DelayedTruth:
    """The true signals of a film at every delay, made once.

    The lag is the delay of the truth from which an estimate differs least, but for an offset and a
    factor, signal by signal: a network that says too little of a turn is not late for that. Frames
    in which nothing moves add the same to every delay.

    Args:
        signals: (T, S) true.
        t_s: (T,).
        seen: (T,) frames that count.
    """

    def __init__(self, signals: np.ndarray, t_s: np.ndarray, seen: np.ndarray) -> None:
        inside = (t_s - t_s[0] >= DELAYS_MS[-1] * 1e-3) & (t_s[-1] - t_s >= -DELAYS_MS[0] * 1e-3)
        self._frames = np.flatnonzero(inside & seen)
        times = t_s[self._frames][None] - DELAYS_MS[:, None] * 1e-3
        delayed = np.stack([np.interp(times, t_s, column) for column in signals.T])
        self._delayed = delayed - delayed.mean(axis=-1, keepdims=True)  # (S, D, frames)
        self._squares = (self._delayed**2).sum(axis=-1)

    def cost(self, signals: np.ndarray) -> np.ndarray:
        """(D,) sum of squares of what each delay leaves of an estimate's signals (T, S)."""
        if not len(self._frames):
            return np.zeros(len(DELAYS_MS))
        own = signals[self._frames].T
        own = own - own.mean(axis=-1, keepdims=True)
        product = np.einsum("sdf,sf->sd", self._delayed, own)
        explained = np.maximum(product, 0.0) ** 2 / np.maximum(self._squares, 1e-12)
        return ((own**2).sum(axis=-1)[:, None] - explained).sum(axis=0)


def least_cost_ms(cost: np.ndarray) -> float:
    """The delay of the least cost, between the steps by a parabola; NaN where none is inside."""
    k = int(np.argmin(cost)) if np.isfinite(cost).all() else 0
    if not 0 < k < len(cost) - 1:
        return float("nan")
    before, here, after = cost[k - 1 : k + 2]
    curvature = before - 2.0 * here + after
    step = float(DELAYS_MS[1] - DELAYS_MS[0])
    return float(DELAYS_MS[k]) + step * float(before - after) / float(2.0 * curvature)


@dataclass
class _Truth:
    measured: Measured
    estimate: Estimate
    head_size: float
    t_s: np.ndarray
    still: dict[str, list[np.ndarray]]
    delayed: dict[str, DelayedTruth]
    blinks: list[tuple[int, np.ndarray]]


class Measures:
    """Compares methods on recorded films.

    Args:
        films: with one measurement a frame.
        raw: the reference of blinks.
    """

    def __init__(self, films: Sequence[Measured], raw: Callable[[Measured], States]) -> None:
        self.says_still = any(_film(one).still.any() for one in films)
        self._films = [_truth(one, self.says_still) for one in films]
        runs = [(film.still["rotation"], film.still["landmarks"]) for film in self._films]
        self.still_frames = sum(len(run) for head, _ in runs for run in head)
        self.resting_frames = sum(len(run) for _, face in runs for run in face)
        self.blink_count = sum(len(film.blinks) for film in self._films)
        self.raw = [Estimate.of(raw(one), one) for one in films]

    def of(self, method: Callable[[Measured], States]) -> Figures:
        """Run a method on all films."""
        return self.of_estimates([Estimate.of(method(f.measured), f.measured) for f in self._films])

    def of_landmarks(self, smooth: Callable[[np.ndarray, Measured], np.ndarray]) -> Figures:
        """Run on raw's landmarks; nothing else is measured."""
        estimates = [
            replace(raw, landmarks=smooth(raw.landmarks, film.measured))
            for raw, film in zip(self.raw, self._films, strict=True)
        ]
        figures = self.of_estimates(estimates, ("landmarks",))
        return Figures(figures.quantities)

    def of_estimates(
        self, estimates: Sequence[Estimate], names: Sequence[str] = tuple(UNITS)
    ) -> Figures:
        """Of one estimate a film."""
        pools = {name: [_Pool() for _ in range(4)] for name in names}
        costs = {name: np.zeros(len(DELAYS_MS)) for name in names}
        nees: tuple[list[float], list[float]] = ([], [])
        kept: list[float] = []
        for film, raw, estimate in zip(self._films, self.raw, estimates, strict=True):
            seen, errors = film.measured.seen, estimate.errors(film.estimate)
            signals = estimate.signals
            for name in names:
                error, (rms, fast, jitter, wobble) = errors[name], pools[name]
                rms.add(error[seen])
                fast.add(error[seen] - moving_mean(error[seen], film.t_s[seen]))
                for run in film.still[name]:
                    jitter.add(second_differences(error[run]))
                    wobble.add(error[run] - moving_mean(error[run], film.t_s[run]))
                costs[name] += film.delayed[name].cost(signals[name])
            for one, values in zip(nees, _nees(estimate, film), strict=True):
                one.extend(values)
            kept += _blinks_kept(estimate, raw, film)
        quantities: dict[str, Quantity] = {}
        for name in names:
            rms, fast, jitter, wobble = (pool.rms for pool in pools[name])
            quantities[name] = Quantity(rms, fast, jitter, wobble, least_cost_ms(costs[name]))
        blinks = (float(np.median(kept)), float(np.percentile(kept, 10))) if kept else None
        return Figures(
            quantities,
            blinks or (np.nan, np.nan),
            (float(np.mean(nees[0])), float(np.mean(nees[1]))) if nees[0] else (np.nan, np.nan),
        )


def _film(measured: Measured) -> RecordedFilm:
    if not isinstance(measured.video, RecordedFilm):
        raise TypeError("measures need films with their truth")
    return measured.video


def _truth(measured: Measured, says_still: bool) -> _Truth:
    film, seen = _film(measured), measured.seen
    estimate = Estimate.truth(film)
    t_s = (film.t_ns - film.t_ns[0]) * 1e-9
    # Films that never say where they are still count whole: second differences see little motion.
    head = stretches(film.still & seen if says_still else seen, t_s, SETTLING_S, LEAST_STILL_S)
    speed = np.abs(np.gradient(estimate.blendshapes, t_s, axis=0))
    still = dict.fromkeys(UNITS, head)
    for name, channels in _RESTING.items() if says_still else ():
        resting = film.still & seen & (speed[:, channels].max(axis=1) < RESTING_SPEED)
        still[name] = stretches(resting, t_s, SETTLING_S, LEAST_STILL_S)
    return _Truth(
        measured,
        estimate,
        film.head_size,
        t_s,
        still,
        {name: DelayedTruth(s, t_s, seen) for name, s in estimate.signals.items()},
        _true_blinks(estimate, t_s, seen),
    )


def _true_blinks(
    truth: Estimate, t_s: np.ndarray, seen: np.ndarray
) -> list[tuple[int, np.ndarray]]:
    """Lid and frames about each true blink of either eye, those with all frames seen."""
    blinks = []
    for lid in _LIDS:
        value = truth.blendshapes[:, lid]
        for run in stretches(value > BLINK, t_s, 0.0, 0.0, 1):
            near = t_s >= t_s[run[0]] - BLINK_MARGIN_S
            near &= t_s <= t_s[run[-1]] + BLINK_MARGIN_S
            short = t_s[run[-1]] - t_s[run[0]] < 0.6
            if short and value[run].max() >= BLINK_PEAK and seen[near].all():
                blinks.append((lid, np.flatnonzero(near)))
    return blinks


def _blinks_kept(estimate: Estimate, raw: Estimate, film: _Truth) -> list[float]:
    """Of every blink that raw sees: its peak over raw's."""
    kept = []
    for lid, frames in film.blinks:
        peak = float(raw.blendshapes[frames, lid].max())
        if peak >= 0.2:
            kept.append(float(estimate.blendshapes[frames, lid].max()) / peak)
    return kept


def _nees(estimate: Estimate, film: _Truth) -> tuple[np.ndarray, np.ndarray]:
    """By frame, of rotation and translation; the head has its true size, which is not known."""
    stated = film.measured.seen & np.isfinite(estimate.variance).all(axis=-1)
    truth, variance = film.estimate, estimate.variance[stated]
    relative = truth.rotation[stated] @ np.swapaxes(estimate.rotation[stated], -1, -2)
    shift = film.head_size * truth.translation_mm[stated] - estimate.translation_mm[stated]
    if not len(variance):
        return np.empty(0), np.empty(0)
    return (
        normalised_error_squared(rotation_vector_from_matrix(relative), variance[:, :3]),
        normalised_error_squared(shift, variance[:, 3:]),
    )
