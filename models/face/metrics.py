"""Measures of faces against the truth: landmarks, angles, detections, steadiness.

Pure functions on arrays. Landmark errors are in percent of ``sqrt(w h)`` of the tight box of the
true landmarks (the field's NME); angles in degrees; times in integer nanoseconds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from jaxtyping import Bool, Float, Int64

from ..errors import InputError
from .names import N_LANDMARKS

YAW_BIN_EDGES_DEG: Final[tuple[float, ...]] = (30.0, 60.0, 90.0)
"""Upper ends of the field's three bins of |yaw|: 0 to 30, over 30 to 60, over 60 to 90."""
JAW: Final[slice] = slice(0, 17)
"""The jaw line among the 68 landmarks."""
MATCH_OVERLAP: Final[float] = 0.3
"""Intersection over union from which a detection is a true face's.

Low on purpose: boxes drawn by hand and the tight box of 68 points differ by a third in size."""


def box_size_px(landmarks_px: Float[np.ndarray, "*B 68 2"]) -> Float[np.ndarray, "*B"]:
    """``sqrt(w h)`` of the tight box of the landmarks, px."""
    extent = landmarks_px.max(axis=-2) - landmarks_px.min(axis=-2)
    return np.asarray(np.sqrt(extent[..., 0] * extent[..., 1]))


def nme_percent(
    predicted_px: Float[np.ndarray, "*B 68 2"],
    true_px: Float[np.ndarray, "*B 68 2"],
    *,
    jaw: bool = True,
) -> Float[np.ndarray, "*B"]:
    """Mean distance of the landmarks, in percent of :func:`box_size_px` of all 68 true ones.

    Args:
        predicted_px: image px.
        true_px: image px.
        jaw: whether the 17 jaw points count; the box always spans all 68.

    Raises:
        InputError: the true landmarks of a face have no extent.
    """
    size = box_size_px(true_px)
    if not np.all(size > 0):
        raise InputError("NME: the box of the true landmarks is empty")
    distance = np.linalg.norm(predicted_px - true_px, axis=-1)
    if not jaw:
        distance = distance[..., JAW.stop : N_LANDMARKS]
    return np.asarray(100.0 * distance.mean(axis=-1) / size)


def yaw_bin(yaw_deg: float) -> int | None:
    """Index of the bin of |yaw| in :data:`YAW_BIN_EDGES_DEG`, None beyond 90 degrees."""
    for index, edge in enumerate(YAW_BIN_EDGES_DEG):
        if abs(yaw_deg) <= edge:
            return index
    return None


@dataclass(frozen=True)
class YawBins:
    """Means of a measure over the three bins of |yaw|.

    Attributes:
        means: of each bin, None where it holds no face.
        counts: faces in each bin.
        mean: of the bins' means, None unless every bin holds a face.
    """

    means: tuple[float | None, ...]
    counts: tuple[int, ...]
    mean: float | None


def mean_by_yaw(values: Float[np.ndarray, " N"], yaw_deg: Float[np.ndarray, " N"]) -> YawBins:
    """Average a measure in each bin of |yaw|, then over the bins (AFLW2000-3D's headline)."""
    bins = [yaw_bin(float(yaw)) for yaw in yaw_deg]
    means: list[float | None] = []
    counts: list[int] = []
    for index in range(len(YAW_BIN_EDGES_DEG)):
        inside = [value for value, place in zip(values, bins, strict=True) if place == index]
        counts.append(len(inside))
        means.append(float(np.mean(inside)) if inside else None)
    known = [mean for mean in means if mean is not None]
    headline = float(np.mean(known)) if len(known) == len(means) else None
    return YawBins(tuple(means), tuple(counts), headline)


def angle_error_deg(
    predicted_deg: Float[np.ndarray, "*B"], true_deg: Float[np.ndarray, "*B"]
) -> Float[np.ndarray, "*B"]:
    """Absolute difference of two angles the short way round, 0 to 180 degrees."""
    return np.asarray(np.abs((predicted_deg - true_deg + 180.0) % 360.0 - 180.0))


def overlaps(
    boxes_px: Float[np.ndarray, "D 4"], others_px: Float[np.ndarray, "T 4"]
) -> Float[np.ndarray, "D T"]:
    """Intersection over union of every pair of boxes (x, y, w, h), 0 to 1."""
    area = _intersections(boxes_px, others_px)
    union = (boxes_px[:, 2] * boxes_px[:, 3])[:, None] + others_px[:, 2] * others_px[:, 3] - area
    return np.divide(area, union, out=np.zeros_like(area), where=union > 0)


def _intersections(
    boxes_px: Float[np.ndarray, "D 4"], others_px: Float[np.ndarray, "T 4"]
) -> Float[np.ndarray, "D T"]:
    low = np.maximum(boxes_px[:, None, :2], others_px[None, :, :2])
    ends, other_ends = boxes_px[:, :2] + boxes_px[:, 2:], others_px[:, :2] + others_px[:, 2:]
    high = np.minimum(ends[:, None], other_ends[None])
    return np.prod(np.maximum(high - low, 0.0), axis=-1)


@dataclass(frozen=True)
class Matching:
    """Which detection is which true face.

    Attributes:
        pairs: detection of each true face that was found.
        missed: true faces without a detection, those to ignore aside.
        false: detections that are no face's, not even one to ignore's.
    """

    pairs: Mapping[int, int] = field(default_factory=dict)
    missed: tuple[int, ...] = ()
    false: tuple[int, ...] = ()


def match(
    detected_px: Float[np.ndarray, "D 4"],
    true_px: Float[np.ndarray, "T 4"],
    ignore: Sequence[bool] = (),
    min_overlap: float = MATCH_OVERLAP,
) -> Matching:
    """Pair detections with true faces, the largest overlap first, each used once.

    Faces to ignore take what the others leave: they are neither missed nor is a detection on them
    (half of its area inside) false.

    Args:
        detected_px: boxes (x, y, w, h).
        true_px: boxes (x, y, w, h).
        ignore: whether each true face is to be ignored; empty for none.
        min_overlap: intersection over union that makes a pair.
    """
    skip: Bool[np.ndarray, " T"] = np.zeros(len(true_px), dtype=bool)
    skip[: len(ignore)] = ignore
    overlap = overlaps(detected_px, true_px)
    pairs: dict[int, int] = {}
    for wanted in (~skip, skip):
        candidates = [
            (overlap[d, t], d, t)
            for d in range(len(detected_px))
            for t in np.flatnonzero(wanted)
            if overlap[d, t] >= min_overlap
        ]
        # Ties go to the earlier detection and face, so that the result never depends on sorting.
        for _, d, t in sorted(candidates, key=lambda c: (-c[0], c[1], c[2])):
            if t not in pairs and d not in pairs.values():
                pairs[int(t)] = d
    area = np.maximum(detected_px[:, 2] * detected_px[:, 3], 1e-9)
    inside = _intersections(detected_px, true_px[skip]) / area[:, None]
    on_ignored = np.asarray(np.any(inside > 0.5, axis=1))
    taken = set(pairs.values())
    return Matching(
        pairs=dict(sorted(pairs.items())),
        missed=tuple(t for t in range(len(true_px)) if t not in pairs and not skip[t]),
        false=tuple(d for d in range(len(detected_px)) if d not in taken and not on_ignored[d]),
    )


def still_jitter_percent(landmarks_px: Float[np.ndarray, "T 68 2"]) -> float:
    """Rms distance of each landmark from its mean place, on a face that does not move, percent.

    Raises:
        InputError: fewer than two frames.
    """
    if len(landmarks_px) < 2:
        raise InputError(f"jitter: needs two frames or more, got {len(landmarks_px)}")
    mean = landmarks_px.mean(axis=0)
    rms = np.sqrt(np.mean(np.sum((landmarks_px - mean) ** 2, axis=-1)))
    return float(100.0 * rms / box_size_px(mean))


def stability_percent(
    predicted_px: Float[np.ndarray, "T 68 2"], true_px: Float[np.ndarray, "T 68 2"]
) -> float:
    """The paper's video stability: mean of ``|dp - dq|`` over the true box's size, percent.

    ``dp`` and ``dq`` are a landmark's offsets between neighbouring frames, predicted and true.

    Raises:
        InputError: fewer than two frames.
    """
    if len(predicted_px) < 2:
        raise InputError(f"stability: needs two frames or more, got {len(predicted_px)}")
    offset = np.linalg.norm(np.diff(predicted_px - true_px, axis=0), axis=-1)
    return float(100.0 * np.mean(offset.mean(axis=-1) / box_size_px(true_px[1:])))


def lag_ms(
    estimate: Float[np.ndarray, " T"],
    truth: Float[np.ndarray, " T"],
    t_ns: Int64[np.ndarray, " T"],
    longest_ms: float = 500.0,
) -> float:
    """How late one signal follows another, milliseconds; negative where it runs ahead.

    The delay of the truth, interpolated linearly, that leaves the least squared difference;
    resolved to a tenth of a millisecond.

    Args:
        estimate: the signal that lags.
        truth: the signal itself, same unit.
        t_ns: their common times, ascending.
        longest_ms: delays from minus to plus this are tried; the same samples serve all of them.

    Raises:
        InputError: the signals do not last longer than twice ``longest_ms``, or do not move.
    """
    time_ms = (t_ns - t_ns[0]) * 1e-6
    inside = (time_ms >= longest_ms) & (time_ms <= time_ms[-1] - longest_ms)
    if inside.sum() < 2 or np.ptp(truth) == 0:
        raise InputError(f"lag: needs a moving signal of more than {2 * longest_ms:g} ms")

    def cost(delay_ms: float) -> float:
        delayed = np.interp(time_ms[inside] - delay_ms, time_ms, truth)
        return float(np.mean((estimate[inside] - delayed) ** 2))

    centre, reach = 0.0, longest_ms
    for step in (5.0, 0.1):
        delays = np.arange(centre - reach, centre + reach + step / 2, step)
        delays = delays[np.abs(delays) <= longest_ms]
        centre, reach = float(delays[np.argmin([cost(d) for d in delays])]), step
    return centre
