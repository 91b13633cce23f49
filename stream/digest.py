"""A film's rows in few numbers: curves as least and greatest values, counts, extreme moments.

The memory does not grow with the film: where there are too many bins, each two become one.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final, TypeVar

import numpy as np
from jaxtyping import Float32

from .episodes import BlinkDetector, LostStretches, Stretch, blinking
from .observation import FaceObservation

SERIES: Final = ("yaw", "pitch", "roll", "blink_left", "blink_right", "confidence")
"""The curves: degrees, degrees, degrees, and three from 0 to 1."""
BINS: Final = 16384
"""At most so many bins, over all faces."""
STRETCHES: Final = 500
"""So many of the longest lost stretches are kept; all are counted."""


@dataclass
class TimeBin:
    """Some frames in a row.

    Attributes:
        index: first frame over the width of the bins.
        t_s: of the first frame that has a row.
        seen: frames with an observed face.
        best: least doubt of an observed face here, and its frame.
        worst: greatest doubt of an observed face here, and its frame.
    """

    index: int
    t_s: float
    seen: int = 0
    best: tuple[float, int] = (math.inf, -1)
    worst: tuple[float, int] = (-math.inf, -1)

    def take(self, later: TimeBin) -> None:
        """Become the union of both."""
        self.seen += later.seen
        self.best = min(self.best, later.best)
        self.worst = max(self.worst, later.worst, key=lambda moment: (moment[0], -moment[1]))


@dataclass
class CurveBin:
    """What one face did in some frames.

    Attributes:
        index: as of the :class:`TimeBin`.
        low: least value of each of :data:`SERIES`; NaN where none is known.
        high: greatest value.
        observed: frames in which the face was observed.
    """

    index: int
    low: Float32[np.ndarray, " 6"]
    high: Float32[np.ndarray, " 6"]
    observed: int

    def take(self, later: CurveBin) -> None:
        """Become the union of both."""
        self.low = np.fmin(self.low, later.low)
        self.high = np.fmax(self.high, later.high)
        self.observed += later.observed


@dataclass
class FaceDigest:
    """One track.

    Attributes:
        track: its number.
        rows: frames that have a row.
        observed: of these, the ones in which the face was observed.
        blinks: how many there were.
        curves: its bins, in order.
        first_s: time of the first row.
        last_s: time of the last row.
        observed_s: how long the face was observed.
    """

    track: int
    rows: int = 0
    observed: int = 0
    blinks: int = 0
    curves: list[CurveBin] = field(default_factory=list)
    first_s: float = 0.0
    last_s: float = 0.0
    observed_s: float = 0.0
    _last_frame: int = -2
    _blinking: BlinkDetector = field(default_factory=BlinkDetector)

    def add(self, row: FaceObservation, t_s: float, index: int) -> int:
        """Take the next row; how many bins are new."""
        self.first_s = t_s if not self.rows else self.first_s
        if row.observed and row.frame == self._last_frame + 1:
            self.observed_s += t_s - self.last_s
        self.last_s, self._last_frame = t_s, row.frame
        self.rows += 1
        self.observed += row.observed
        closure = self._blinking.add(row, t_s)
        self.blinks += closure is not None and closure.whole and closure.is_blink()
        eyes = blinking(row) or (math.nan, math.nan)
        confidence = math.nan if row.confidence is None else row.confidence
        values = np.array([row.yaw, row.pitch, row.roll, *eyes, confidence], dtype=np.float32)
        new = CurveBin(index, values, values, int(row.observed))
        if self.curves and self.curves[-1].index == index:
            self.curves[-1].take(new)
            return 0
        self.curves.append(new)
        return 1


@dataclass
class Digest:
    """What a report shows of a film; made by :func:`digest`.

    Attributes:
        rate: frames per second, for what carries no times.
        width: frames a bin.
        frames: how many the film has.
        seconds: how long it is.
        bins: those that have a row, in order.
        faces: by track.
        lost: the longest stretches without an observed face, in order of time.
        n_lost: how many such stretches there are.
        lost_s: how long they are together.
        seen: frames with an observed face.
        worst_confidence: least one of an observed face, None where there is none.
    """

    rate: float
    width: int = 1
    frames: int = 0
    seconds: float = 0.0
    bins: list[TimeBin] = field(default_factory=list)
    faces: dict[int, FaceDigest] = field(default_factory=dict)
    lost: list[Stretch] = field(default_factory=list)
    n_lost: int = 0
    lost_s: float = 0.0
    seen: int = 0
    worst_confidence: float | None = None

    @property
    def blinks_per_minute(self) -> float | None:
        """Over all faces, a minute of observed face; None where there is too little to say so."""
        observed_s = sum(face.observed_s for face in self.faces.values())
        if observed_s < 1.0:
            return None
        return 60.0 * sum(face.blinks for face in self.faces.values()) / observed_s

    @property
    def share(self) -> float:
        """Of the frames, those with an observed face."""
        return self.seen / self.frames if self.frames else 0.0

    def moments(self, count: int, apart_s: float, *, best: bool) -> list[tuple[int, float]]:
        """Frames in which a face is surest or least sure, apart in time, the extreme one first.

        Args:
            count: at most so many.
            apart_s: at least so far from each other.
            best: the surest ones, else the least sure.

        Returns:
            Frame and time of its bin in seconds.
        """
        found = [(bin_.best if best else bin_.worst, bin_.t_s) for bin_ in self.bins if bin_.seen]
        found.sort(key=lambda item: (item[0][0] if best else -item[0][0], item[0][1]))
        chosen: list[tuple[int, float]] = []
        for (_, frame), t_s in found:
            if len(chosen) == count:
                break
            if all(abs(t_s - other) >= apart_s for _, other in chosen):
                chosen.append((frame, t_s))
        return chosen

    def coverage(self, cells: int) -> list[float]:
        """Share of frames with an observed face in equal parts of the film."""
        frames = max(1, self.frames)
        parts = min(cells, frames)
        seen = [0] * parts
        for bin_ in self.bins:
            seen[bin_.index * self.width * parts // frames] += bin_.seen
        first = [-(-part * frames // parts) for part in range(parts + 1)]
        shares = [
            min(1.0, count / (b - a)) for count, a, b in zip(seen, first, first[1:], strict=False)
        ]
        return [shares[cell * parts // cells] for cell in range(cells)]


def doubt(row: FaceObservation) -> float:
    """How unsure a row is: lack of confidence, and deviation of the rotation over 45 degrees."""
    lack = 0.0 if row.confidence is None else 1.0 - row.confidence
    sigma_deg = turn_deviation_deg(row)
    return lack if sigma_deg is None else lack + sigma_deg / 45.0


def turn_deviation_deg(row: FaceObservation) -> float | None:
    """Standard deviation of the angle by which the rotation may be off; None where unknown."""
    if row.pose_variance is None:
        return None
    return math.degrees(math.sqrt(max(0.0, float(row.pose_variance[:3].sum()))))


def digest(
    rows: Iterable[FaceObservation],
    *,
    rate: float | None,
    frames: int | None = None,
    seconds: float | None = None,
    bins: int = BINS,
) -> Digest:
    """Read a film's rows once.

    Args:
        rows: in order of frame and track.
        rate: frames per second; None: 25 is assumed where rows carry no times.
        frames: of the film; None: up to the last row.
        seconds: length of the film; None: up to the last row.
        bins: at most so many are kept.
    """
    result = Digest(rate or 25.0)
    lost = LostStretches(1.0 / result.rate)
    kept: list[tuple[float, int, int, Stretch]] = []

    def lose(stretch: Stretch | None) -> None:
        if stretch is not None:
            result.n_lost += 1
            result.lost_s += stretch.seconds
            # Frames that are given twice make stretches that are alike: the later one goes first.
            heapq.heappush(kept, (stretch.seconds, -stretch.first, -result.n_lost, stretch))
            if len(kept) > STRETCHES:
                heapq.heappop(kept)

    begin_ns: int | None = None
    used, limit, last_seen, last_frame, t_s = 0, bins, -1, -1, 0.0
    for row in rows:
        last_frame = row.frame
        t_ns = row.t_media_ns if row.t_media_ns is not None else row.t_capture_ns
        t_s = row.frame / result.rate
        if t_ns is not None:
            begin_ns = t_ns - round(1e9 * t_s) if begin_ns is None else begin_ns
            t_s = (t_ns - begin_ns) / 1e9
        if row.observed:
            lose(lost.seen(row.frame, t_s))
            if row.confidence is not None:
                worst = result.worst_confidence
                result.worst_confidence = min(1.0 if worst is None else worst, row.confidence)
        used += _note(result, row, t_s, new=row.observed and row.frame != last_seen)
        last_seen = row.frame if row.observed else last_seen
        if used > limit:
            used = _coarsen(result)
            limit = max(bins, 2 * used)  # bins of different faces do not merge
    result.frames = max(last_frame + 1, frames or 0)
    result.seconds = max(t_s + 1.0 / result.rate if last_frame >= 0 else 0.0, seconds or 0.0)
    lose(lost.end(result.frames, result.seconds))
    result.lost = sorted((stretch for *_, stretch in kept), key=lambda stretch: stretch.first)
    return result


def _note(result: Digest, row: FaceObservation, t_s: float, *, new: bool) -> int:
    """Put a row into its bins; how many of them are new."""
    index = row.frame // result.width
    if not result.bins or result.bins[-1].index != index:
        result.bins.append(TimeBin(index, t_s))
    bin_ = result.bins[-1]
    if row.observed:
        moment = doubt(row), row.frame
        bin_.take(TimeBin(index, t_s, int(new), moment, moment))
        result.seen += new
    face = result.faces.setdefault(row.track, FaceDigest(row.track))
    return face.add(row, t_s, index)


def _coarsen(result: Digest) -> int:
    """Make one bin of each two; how many there are now."""
    result.width *= 2
    result.bins = _paired(result.bins)
    for face in result.faces.values():
        face.curves = _paired(face.curves)
    return sum(len(face.curves) for face in result.faces.values())


AnyBin = TypeVar("AnyBin", TimeBin, CurveBin)


def _paired(bins: list[AnyBin]) -> list[AnyBin]:
    merged: list[AnyBin] = []
    for bin_ in bins:
        bin_.index //= 2
        if merged and merged[-1].index == bin_.index:
            merged[-1].take(bin_)
        else:
            merged.append(bin_)
    return merged
