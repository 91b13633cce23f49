"""A live session: frames to faces to sinks, and a line that says how it goes."""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Final, TextIO

from ..stream.frame import Frame
from ..stream.observation import FaceObservation
from ..stream.sinks.base import Sink
from ..stream.sinks.zeromq import ZeroMQPublisher
from ..stream.sources.base import Source, SourceStats
from .following import Follower

_WINDOW: Final = 120
"""Frames that medians are taken of."""
_SECOND_NS: Final = 1_000_000_000


class Meter:
    """Rate, latency and drops of a live session.

    Attributes:
        frames: seen so far.
        with_faces: of these, the ones with an observed face.
    """

    def __init__(self) -> None:
        self.frames = 0
        self.with_faces = 0
        self._begin_ns: int | None = None
        self._end_ns = 0
        self._recent_ns: deque[int] = deque(maxlen=1000)
        self._stages: dict[str, deque[float]] = {}

    def frame(self, done_ns: int, rows: Sequence[FaceObservation]) -> None:
        """Count a frame that was finished at a time, ns."""
        self.frames += 1
        self.with_faces += any(row.observed for row in rows)
        self._begin_ns = done_ns if self._begin_ns is None else self._begin_ns
        self._end_ns = done_ns
        self._recent_ns.append(done_ns)

    def stage(self, name: str, took_ns: int) -> None:
        """Note how long a stage took, ns."""
        self._stages.setdefault(name, deque(maxlen=_WINDOW)).append(took_ns * 1e-6)

    def rate(self, now_ns: int) -> float:
        """Frames in the last second."""
        return float(sum(now_ns - done <= _SECOND_NS for done in self._recent_ns))

    def latency_ms(self) -> dict[str, float]:
        """Median by stage over the last frames, ms."""
        return {name: round(median(values), 3) for name, values in self._stages.items()}

    def mean_rate(self) -> float:
        """Frames per second from the first to the last."""
        span_ns = self._end_ns - (self._begin_ns or 0)
        return (self.frames - 1) * 1e9 / span_ns if self.frames > 1 and span_ns else 0.0


def drops(stats: SourceStats) -> dict[str, int]:
    """Frames lost so far, by place."""
    return {"replaced": stats.dropped, "stale": stats.stale, "damaged": stats.decode_errors}


@dataclass
class Session:
    """One source followed until it ends.

    Attributes:
        source: where frames come from.
        follower: finds the faces.
        sinks: take every frame, in this order.
        publisher: one of the sinks, which is told rate and latency; None: nothing is published.
        show: called with every frame, returns False to end; None: nothing is shown.
        print_row: called with every face; None: nothing is printed.
        clock: nanoseconds, that of the source's capture times.
        line: where the status line goes where it is a terminal.
    """

    source: Source
    follower: Follower
    sinks: Sequence[Sink]
    publisher: ZeroMQPublisher | None = None
    show: Callable[[Frame, Sequence[FaceObservation]], bool] | None = None
    print_row: Callable[[FaceObservation], None] | None = None
    clock: Callable[[], int] = time.perf_counter_ns
    line: TextIO = sys.stderr
    meter: Meter = field(default_factory=Meter)
    _told_ns: int = 0

    def run(self) -> None:
        """Follow until the source ends or the user closes the preview.

        Raises:
            SourceError: the source failed.
            OutputError: a sink failed.
        """
        for frame in self.source:
            begin_ns = self.clock()
            rows = self.follower.follow(frame)
            tracked_ns = self.clock()
            for sink in self.sinks:
                sink.write(frame, rows)
            done_ns = self.clock()
            self.meter.stage("track", tracked_ns - begin_ns)
            self.meter.stage("write", done_ns - tracked_ns)
            if frame.t_capture_ns is not None:
                self.meter.stage("total", done_ns - frame.t_capture_ns)
            self.meter.frame(done_ns, rows)
            if self.print_row is not None:
                for row in rows:
                    self.print_row(row)
            if done_ns - self._told_ns >= _SECOND_NS:
                self._told_ns = done_ns
                self._tell(done_ns)
            if self.show is not None and not self.show(frame, rows):
                break

    def failed(self) -> None:
        """Say to subscribers that the source broke off."""
        if self.publisher is not None:
            self.publisher.update_status(source_state="failed")

    def summary(self) -> str:
        """What the session came to, in a line."""
        stages = ", ".join(f"{name} {ms:.2f}" for name, ms in self.meter.latency_ms().items())
        lost = ", ".join(f"{name} {count}" for name, count in drops(self.source.stats).items())
        return (
            f"{self.meter.frames} frames, {self.meter.with_faces} with a face, "
            f"{self.meter.mean_rate():.1f} a second; median ms: {stages or '-'}; lost: {lost}"
        )

    def _tell(self, now_ns: int) -> None:
        latency_ms, lost = self.meter.latency_ms(), drops(self.source.stats)
        if self.publisher is not None:
            self.publisher.update_status(latency_ms=latency_ms, drops=lost)
        if self.line.isatty():
            total = latency_ms.get("total", latency_ms["track"])
            text = (
                f"{self.meter.rate(now_ns):5.1f} frames/s  latency {total:6.1f} ms  "
                f"lost {sum(lost.values())}"
            )
            self.line.write(f"\r{text}\x1b[K")
            self.line.flush()
