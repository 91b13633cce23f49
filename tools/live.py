"""A live session: the frames of one source to faces, and these to every sink."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack

from ..models.errors import MienError, OutputError, SourceError
from ..stream.frame import Frame
from ..stream.health import Health
from ..stream.latency import LatencyMeter
from ..stream.observation import FaceObservation
from ..stream.sinks.base import Sink
from ..stream.sinks.zeromq_stream import PublishedStream
from ..stream.sources.base import Source, SourceStats
from ..stream.sources.latest import LatestSource
from ..stream.sources.reconnecting import ReconnectingSource
from ..stream.stopwatch import Stopwatch
from .following import Follower


def drops(stats: SourceStats) -> dict[str, int]:
    """Frames lost so far, by place."""
    return {"replaced": stats.dropped, "stale": stats.stale, "damaged": stats.decode_errors}


class Session:
    """One source followed until it ends, is stopped or fails; runs in any thread.

    Sinks take every frame in the order in which they were added, the quickest to be heard first. A
    sink that fails is reported and left out; the others go on.

    Attributes:
        name: of the stream.
        source: where frames come from.
        meter: rate and latency.
        with_faces: frames with an observed face so far.
        newest: the frame that was followed last, with its rows; None before the first.
        problem: why it ended early; None where it did not.
        complaints: a line for every sink that failed.
    """

    def __init__(
        self,
        name: str,
        source: Source,
        follower: Follower,
        watch: Stopwatch,
        clock: Callable[[], int] = time.perf_counter_ns,
    ) -> None:
        """Take over a source, which is closed with the session.

        Args:
            name: of the stream.
            source: where frames come from.
            follower: finds the faces.
            watch: the follower's stopwatch.
            clock: nanoseconds, that of the source's capture times.
        """
        self.name = name
        self.source = source
        self.meter = LatencyMeter()
        self.with_faces = 0
        self.newest: tuple[Frame, list[FaceObservation]] | None = None
        self.problem: MienError | None = None
        self.complaints: list[str] = []
        self._follower = follower
        self._watch = watch
        self._clock = clock
        self._sinks: list[Sink] = []
        self._print: Callable[[FaceObservation], None] | None = None
        self._stop = threading.Event()
        self._things = ExitStack()
        self._things.callback(follower.close)
        self._things.enter_context(source)

    def add(self, sink: Sink) -> None:
        """Let a sink take every frame, in addition to the others; it is closed with the session."""
        self._sinks.append(sink)

    def print_with(self, print_row: Callable[[FaceObservation], None]) -> None:
        """Print every face with this."""
        self._print = print_row

    def give_up(self) -> None:
        """Close everything, with nothing followed; no effect after :meth:`run`."""
        self._close(finished=False)

    def run(self) -> None:
        """Follow until the source ends or fails, or :meth:`stop` is called; close everything."""
        finished = False
        try:
            for frame in self.source:
                if self._stop.is_set():
                    break
                self._take(frame)
            finished = True
        except (SourceError, OutputError) as error:
            self.problem = error
            finished = True  # what came before is good: files are closed, not removed
        finally:
            self._close(finished)

    def stop(self) -> None:
        """End after the frame that is being followed; may be called from any thread."""
        self._stop.set()
        if isinstance(self.source, (LatestSource, ReconnectingSource)):
            # Only these are read in a thread of their own: closing another would crash its reader.
            self.source.close()

    def health(self) -> Health:
        """How it goes, for status messages; may be called from any thread."""
        stats = self.source.stats
        return Health(
            latency_ms=self.meter.latency_ms(),
            latency_99_ms=self.meter.latency_ms(0.99),
            drops=drops(stats),
            state=stats.state,
            detail=stats.detail,
        )

    def line(self, now_ns: int) -> str:
        """How it goes, in a few words."""
        stats, latency = self.source.stats, self.meter.latency_ms()
        if stats.state == "reconnecting":
            return f"{self.name}: reconnecting ({stats.detail})"
        total = f"{latency['total']:.1f} ms" if latency else "-"
        work = ", ".join(f"{stage} {ms:.1f}" for stage, ms in latency.items() if stage != "total")
        lost = sum(drops(stats).values())
        return f"{self.name}: {self.meter.rate(now_ns):.0f}/s, {total} ({work}), lost {lost}"

    def summary(self) -> str:
        """What it came to, in a line."""
        stages = ", ".join(f"{name} {ms:.2f}" for name, ms in self.meter.latency_ms().items())
        lost = ", ".join(f"{name} {count}" for name, count in drops(self.source.stats).items())
        again = self.source.stats.reconnects
        return (
            f"{self.meter.frames} frames, {self.with_faces} with a face, "
            f"{self.meter.mean_rate():.1f} a second; median ms: {stages or '-'}; lost: {lost}"
            + (f"; reconnected {again} times" if again else "")
        )

    def _take(self, frame: Frame) -> None:
        taken_ns = self._clock()
        rows = self._follower.follow(frame)
        spent_ns = dict(self._watch.spent_ns)
        tracked_ns = self._clock()
        self._write(frame, rows)
        done_ns = self._clock()
        spent_ns["publish"] = done_ns - tracked_ns
        self.meter.take(frame, taken_ns, spent_ns, done_ns)
        self.with_faces += any(row.observed for row in rows)
        self.newest = (frame, rows)
        if self._print is not None:
            for row in rows:
                self._print(row)

    def _write(self, frame: Frame, rows: Sequence[FaceObservation]) -> None:
        for sink in tuple(self._sinks):
            try:
                sink.write(frame, rows)
            except OutputError as error:
                self._leave_out(sink, error)

    def _leave_out(self, sink: Sink, error: OutputError) -> None:
        self._sinks.remove(sink)
        sink.abort()
        if not self._sinks:
            raise error
        self.complaints.append(str(error))
        print(f"mien: {error}; {self.name} goes on without it", file=sys.stderr)

    def _close(self, finished: bool) -> None:
        sinks, self._sinks = self._sinks, []
        with self._things:
            for sink in sinks:
                try:
                    if self.problem is not None and isinstance(sink, PublishedStream):
                        sink.fail(str(self.problem))
                    if finished:
                        sink.close()
                    else:
                        sink.abort()
                except OutputError as error:
                    self.complaints.append(str(error))
                    print(f"mien: {error}", file=sys.stderr)
