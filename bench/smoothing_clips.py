"""Smoothing on real clips, which have no truth: steadiness where the face holds still, and lag.

Both are against the unsmoothed landmarks, and say nothing of accuracy. Heads that
hold still move a little: how much of the jitter is the picture's own motion, optical flow says.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from smoothing_flow import carried
from smoothing_measures import (
    DELAYS_MS,
    DelayedTruth,
    Estimate,
    least_cost_ms,
    moving_mean,
    second_differences,
    stretches,
)
from smoothing_methods import Measured, Method, raw

from mien.models.face.metrics import box_size_px

STILL_S = 0.7
STILL_SPEED = 0.06
"""Box sizes a second: rms speed of the low-passed landmarks below which a face holds still."""
LOW_PASS_S = 0.4
RIGID = [*range(27, 36), 36, 39, 42, 45]
"""Nose and eye corners: what neither speech nor blinks move, where a head is still."""
VIDEO_ENDINGS = (".mp4", ".mpg", ".mov", ".mkv", ".webm", ".avi")


@dataclass(frozen=True)
class Clip:
    """A real clip, followed.

    Attributes:
        name: of the file.
        measured: the recording.
        marks: (T, 136) unsmoothed landmarks in percent of the box; NaN where there is no face.
        own: (T, 26) where the picture itself carries the rigid points in still stretches, in
            percent of the box; NaN elsewhere.
        still: frames of each still stretch.
        longest: the longest stretch with a face.
    """

    name: str
    measured: Measured
    marks: np.ndarray
    own: np.ndarray
    t_s: np.ndarray
    still: list[np.ndarray]
    longest: np.ndarray

    @classmethod
    def of(cls, path: Path, measured: Measured) -> Clip | None:
        """Of a video and what was measured in it; None where no face is seen for two seconds."""
        t_s = (measured.video.t_ns - measured.video.t_ns[0]) * 1e-9
        runs = stretches(measured.seen, t_s, 0.0, 2.0)
        if not runs:
            return None
        unsmoothed = Estimate.of(raw(measured), measured)
        marks = _percent(unsmoothed)
        still = np.zeros(len(t_s), bool)
        for run in runs:
            # Twice, so that little of the noise is left in the speed.
            slow = moving_mean(moving_mean(marks[run], t_s[run], LOW_PASS_S), t_s[run], LOW_PASS_S)
            speed = np.gradient(slow, t_s[run], axis=0)
            still[run] = np.sqrt((speed**2).sum(axis=1) / 68.0) < 100.0 * STILL_SPEED
        quiet = stretches(still, t_s, 0.0, STILL_S)
        own = carried(path, unsmoothed.landmarks, RIGID, quiet).reshape(len(t_s), -1)
        own *= 100.0 / float(np.nanmedian(box_size_px(unsmoothed.landmarks)))
        return cls(path.name, measured, marks, own, t_s, quiet, max(runs, key=len))

    @property
    def still_frames(self) -> int:
        return sum(map(len, self.still))


@dataclass(frozen=True)
class ClipRow:
    """Figures of a method on one clip, or on all.

    Attributes:
        jitter: percent of the box, from second differences in still stretches, of all landmarks:
            a speaking mouth's own movement is in it.
        rigid: the same of nose and eye corners alone.
        beside: the same, of their motion beside the picture's own.
        wobble: percent of the box, about the one-second moving mean in still stretches.
        lag_ms: of the landmarks' middle behind raw's.
    """

    jitter: float
    rigid: float
    beside: float
    wobble: float
    lag_ms: float


def compare(clips: Sequence[Clip], methods: Mapping[str, Method]) -> dict[str, dict[str, ClipRow]]:
    """Figures by method and clip; ``all`` pools the clips, each frame with the same weight."""
    rows: dict[str, dict[str, ClipRow]] = {}
    for name, method in methods.items():
        pooled: list[tuple[np.ndarray, ...]] = []
        costs = np.zeros(len(DELAYS_MS))
        rows[name] = {}
        for clip in clips:
            marks = _percent(Estimate.of(method(clip.measured), clip.measured))
            parts = [_unsteadiness(marks[run], clip.own[run], clip.t_s[run]) for run in clip.still]
            t_s, run = clip.t_s, clip.longest
            delayed = DelayedTruth(_middle(clip.marks[run]), t_s[run], np.ones(len(run), bool))
            cost = delayed.cost(_middle(marks[run]))
            rows[name][clip.name] = _row(parts, cost)
            pooled += parts
            costs += cost
        rows[name]["all"] = _row(pooled, costs)
    return rows


def clip_paths(folder: Path) -> list[Path]:
    """The videos of a folder."""
    return sorted(p for p in folder.iterdir() if p.suffix.lower() in VIDEO_ENDINGS)


def clip_lines(clips: Sequence[Clip], rows: Mapping[str, Mapping[str, ClipRow]]) -> list[str]:
    """The Markdown table: each method against ``raw``, which must be among them."""
    names = [clip.name for clip in clips] + ["all"]
    frames = {clip.name: clip.still_frames for clip in clips}
    frames["all"] = sum(frames.values())
    others = [name for name in rows if name != "raw"]
    lines = [
        "| clip | still frames | raw: jitter, of rigid points, beside the picture, wobble (%) | "
        + " | ".join(
            f"{name}: jitter, of rigid points, beside the picture, wobble, lag ms"
            for name in others
        )
        + " |",
        "|---|---:|---:|" + "---:|" * len(others),
    ]
    for name in names:
        own = rows["raw"][name]
        figures = f"{own.jitter:.3f}, {own.rigid:.3f}, {own.beside:.3f}, {own.wobble:.3f}"
        cells = [name, str(frames[name]), figures]
        for other in others:
            row = rows[other][name]
            cells.append(
                f"{row.jitter / own.jitter:.2f}, {row.rigid / own.rigid:.2f}, "
                f"{row.beside / own.beside:.2f}, {row.wobble / own.wobble:.2f}, {row.lag_ms:.0f}"
            )
        lines.append("| " + " | ".join(cells).replace("nan", "-") + " |")
    return lines


def _percent(estimate: Estimate) -> np.ndarray:
    """(T, 136) landmarks in percent of the median box."""
    size = float(np.nanmedian(box_size_px(estimate.landmarks)))
    return 100.0 * estimate.landmarks.reshape(len(estimate.landmarks), -1) / size


def _middle(marks: np.ndarray) -> np.ndarray:
    return marks.reshape(len(marks), 68, 2).mean(axis=1)


def own_share(clips: Sequence[Clip]) -> float:
    """Jitter of the picture's own motion over that of the unsmoothed rigid points, all clips."""
    runs = [(clip, run) for clip in clips for run in clip.still]
    own = np.concatenate([second_differences(clip.own[run]) for clip, run in runs])
    raw_marks = [clip.marks[run].reshape(len(run), 68, 2)[:, RIGID] for clip, run in runs]
    rigid = np.concatenate([second_differences(m.reshape(len(m), -1)) for m in raw_marks])
    return float(np.sqrt((own**2).mean() / (rigid**2).mean()))


def _unsteadiness(marks: np.ndarray, own: np.ndarray, t_s: np.ndarray) -> tuple[np.ndarray, ...]:
    """Squared figures of a still stretch by frame: jitter, of the rigid points, beside the
    picture's own motion, and wobble."""
    points = marks.reshape(len(marks), 68, 2)
    rigid = points[:, RIGID].reshape(len(marks), -1)
    return (
        (second_differences(marks) ** 2).sum(axis=1) / 68.0,
        (second_differences(rigid) ** 2).sum(axis=1) / len(RIGID),
        (second_differences(rigid - own) ** 2).sum(axis=1) / len(RIGID),
        ((marks - moving_mean(marks, t_s)) ** 2).sum(axis=1) / 68.0,
    )


def _row(parts: Sequence[tuple[np.ndarray, ...]], cost: np.ndarray) -> ClipRow:
    lag_ms = least_cost_ms(cost)
    if not parts:
        return ClipRow(np.nan, np.nan, np.nan, np.nan, lag_ms)
    jitter, rigid, beside, wobble = (
        float(np.sqrt(np.concatenate(series).mean())) for series in zip(*parts, strict=True)
    )
    return ClipRow(jitter, rigid, beside, wobble, lag_ms)
