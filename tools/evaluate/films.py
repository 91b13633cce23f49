"""Following rendered films with full truth: accuracy, steadiness, lag, honesty, failures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np

from ...models.face import metrics
from ...models.face.agreement import normalised_error_squared
from ...models.face.bundle import Bundle
from ...models.face.rotation import (
    matrix_from_quaternion,
    rotation_vector_from_matrix,
)
from ...models.noise.degradation import gaussian_noise
from ...models.synthetic.evaluation import Clip, load_clip, resized_head
from ...stream.detector_names import DEFAULT_DETECTOR, DetectorName
from ...stream.observation import FaceObservation
from ...stream.smoother import PRESETS
from ...stream.tracker import FaceTracker

_NOISE_SIGMA: Final = 3.0
"""Of 255, on the face that does not move (the paper's short-video synthesis adds as much)."""
_STILL_FRAMES: Final = 24
_SETTLED: Final = 6
"""Frames after which a filter is taken to have settled on the face that does not move."""
_FRAME_NS: Final = 40_000_000
_LONGEST_LAG_MS: Final = 240.0


@dataclass
class _Followed:
    """What one smoothing makes of all films."""

    frames: int = 0
    missed: int = 0
    extra: int = 0
    switched: int = 0
    nme: list[float] = field(default_factory=list)
    stability: list[float] = field(default_factory=list)
    still: list[float] = field(default_factory=list)
    rotation_deg: list[float] = field(default_factory=list)
    rotation_nees: list[float] = field(default_factory=list)
    translation_nees: list[float] = field(default_factory=list)
    yaw: list[np.ndarray] = field(default_factory=list)
    t_ns: list[np.ndarray] = field(default_factory=list)


def measure_films(
    paths: Sequence[Path],
    bundle: Bundle,
    threads: int,
    step: Callable[[], object],
    presets: Sequence[str] = tuple(PRESETS),
    detector: DetectorName = DEFAULT_DETECTOR,
) -> dict[str, Any]:
    """Follow every film with presets of the smoother, detecting as ``mien track`` does.

    Args:
        paths: films of an evaluation set.
        bundle: the model.
        threads: of the networks.
        step: called after every film and preset.
        presets: names; ``raw`` must be among them, it is what lag is measured against.
        detector: what finds faces.

    Returns:
        By preset: frames, missed frames, rows that are no face's, changes of a face's number,
        NME (%), stability and jitter (%, see :mod:`mien.models.face.metrics`), angle between true
        and found rotation (degrees), lag against ``raw`` (ms), and the normalised error squared of
        rotation and translation per degree of freedom, frame by frame averaged.

    Raises:
        InputError: a film cannot be read.
    """
    followed = {name: _Followed() for name in presets}
    trackers: dict[str, FaceTracker] = {}
    for path in paths:
        clip = resized_head(load_clip(path))
        for name, seen in followed.items():
            tracker = trackers.get(name)
            if tracker is None or tracker.camera != clip.pinhole:
                tracker = FaceTracker(
                    bundle, clip.pinhole, smoothing=name, threads=threads, detector=detector
                )
                trackers[name] = tracker
            for follow in (_follow, _hold_still):
                tracker.reset()
                follow(clip, tracker, seen)
            step()
    raw = followed["raw"]
    return {name: _summary(seen, raw) for name, seen in followed.items()}


def _follow(clip: Clip, tracker: FaceTracker, seen: _Followed) -> None:
    rows: list[FaceObservation | None] = []
    number: int | None = None
    for k, image in enumerate(clip.images):
        found = [row for row in tracker.update(image, int(clip.t_ns[k])) if row.observed]
        row = _nearest(found, clip.landmarks[k])
        seen.frames += 1
        seen.extra += len(found) - (row is not None)
        seen.missed += row is None
        rows.append(row)
        if row is not None:
            seen.switched += number is not None and row.track != number
            number = row.track
            _compare(clip, k, row, seen)
    for k in range(1, len(rows)):
        before, after = rows[k - 1], rows[k]
        if before is not None and after is not None:
            pair = np.stack([before.landmarks_px, after.landmarks_px])
            seen.stability.append(metrics.stability_percent(pair, clip.landmarks[k - 1 : k + 1]))
    seen.yaw.append(np.array([np.nan if row is None else row.yaw for row in rows]))
    seen.t_ns.append(clip.t_ns)


def _nearest(rows: list[FaceObservation], marks_px: np.ndarray) -> FaceObservation | None:
    """The row whose landmarks lie within a face's size of the true ones, the nearest."""
    size = float(metrics.box_size_px(marks_px))
    far = [float(np.linalg.norm(row.landmarks_px - marks_px, axis=1).mean()) for row in rows]
    best = int(np.argmin(far)) if far else 0
    return rows[best] if far and far[best] < size else None


def _compare(clip: Clip, k: int, row: FaceObservation, seen: _Followed) -> None:
    found = matrix_from_quaternion(np.array([row.qw, row.qx, row.qy, row.qz]))
    turn = rotation_vector_from_matrix(clip.rotation[k] @ found.T)
    shift = clip.translation_mm[k] - np.array([row.tx, row.ty, row.tz])
    seen.nme.append(float(metrics.nme_percent(row.landmarks_px, clip.landmarks[k])))
    seen.rotation_deg.append(float(np.degrees(np.linalg.norm(turn))))
    if row.pose_variance is not None:
        variance = row.pose_variance.astype(np.float64)
        seen.rotation_nees.append(float(normalised_error_squared(turn, variance[:3])))
        seen.translation_nees.append(float(normalised_error_squared(shift, variance[3:])))


def _hold_still(clip: Clip, tracker: FaceTracker, seen: _Followed) -> None:
    """Follow one frame again and again, with new noise each time."""
    rng = np.random.default_rng(0)
    marks = []
    for k in range(_STILL_FRAMES):
        image = gaussian_noise(clip.images[0], _NOISE_SIGMA, rng)
        row = _nearest(tracker.update(image, k * _FRAME_NS), clip.landmarks[0])
        if row is not None and k >= _SETTLED:
            marks.append(row.landmarks_px)
    if len(marks) >= 2:
        seen.still.append(metrics.still_jitter_percent(np.stack(marks)))


def _summary(seen: _Followed, raw: _Followed) -> dict[str, Any]:
    lags = [
        _lag(own, other, t_ns)
        for own, other, t_ns in zip(seen.yaw, raw.yaw, seen.t_ns, strict=True)
    ]
    known = [lag for lag in lags if lag is not None]
    return {
        "frames": seen.frames,
        "missed": seen.missed,
        "extra": seen.extra,
        "switched": seen.switched,
        "nme": _mean(seen.nme),
        "rotation_deg": _mean(seen.rotation_deg),
        "stability": _mean(seen.stability),
        "still_jitter": _mean(seen.still),
        "lag_ms": float(np.median(known)) if known else None,
        "rotation_nees": _mean(seen.rotation_nees),
        "translation_nees": _mean(seen.translation_nees),
    }


def _lag(own: np.ndarray, raw: np.ndarray, t_ns: np.ndarray) -> float | None:
    """How late one film's yaw is against the unsmoothed one; None where that does not show."""
    both = np.isfinite(own) & np.isfinite(raw)
    own, raw, t_ns = own[both], raw[both], t_ns[both]
    if len(t_ns) < 3 or t_ns[-1] - t_ns[0] < 3 * _LONGEST_LAG_MS * 1e6 or np.ptp(raw) < 5.0:
        return None
    return metrics.lag_ms(own, raw, t_ns, _LONGEST_LAG_MS)


def _mean(values: Sequence[float]) -> float | None:
    return float(np.mean(values)) if values else None


def film_table(figures: dict[str, Any]) -> str:
    """The figures of all presets for people."""
    heads = (
        ("nme", "NME %"),
        ("rotation_deg", "rotation deg"),
        ("stability", "stability %"),
        ("still_jitter", "jitter %"),
        ("lag_ms", "lag ms"),
        ("rotation_nees", "NEES rotation"),
        ("translation_nees", "translation"),
    )
    lines = ["films".ljust(12) + "".join(f"{head:>15}" for _, head in heads)]
    for name, row in figures.items():
        cells = ("-" if row[key] is None else f"{row[key]:.2f}" for key, _ in heads)
        lines.append(name.ljust(12) + "".join(f"{cell:>15}" for cell in cells))
    some = next(iter(figures.values()))
    lines.append(
        f"of {some['frames']} frames missed {some['missed']}; rows that are no face's "
        f"{some['extra']}; changes of number {some['switched']}"
    )
    return "\n".join(lines)
