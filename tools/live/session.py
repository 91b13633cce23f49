"""A live session: the frames of one source to faces, and these to every sink."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack

from ...models.errors import InputError, MienError
from ...stream.frame import Frame
from ...stream.health import Health
from ...stream.latency import LatencyMeter
from ...stream.observation import FaceObservation
from ...stream.sinks.base import Sink
from ...stream.sinks.zeromq_stream import PublishedStream
from ...stream.sources.base import Source, SourceStats
from ...stream.sources.latest import LatestSource
from ...stream.sources.reconnecting import ReconnectingSource
from ...stream.stopwatch import Stopwatch
from ..following import Follower


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
        refused: frames that cannot be followed, and were left out.
        newest: the frame that was followed last, with its rows; None before the first.
        problem: why it ended early; None where it did not.
        complaints: a line for every sink that failed.
        watched: somebody looks at what is followed, also where no sink is left.
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
        self.refused = 0
        self.newest: tuple[Frame, list[FaceObservation]] | None = None
        self.problem: MienError | None = None
        self.complaints: list[str] = []
        self.watched = False
        self._follower = follower
        self._watch = watch
        self._clock = clock
        self._sinks: list[Sink] = []
        self._print: Callable[[FaceObservation], None] | None = None
        self._failure = ""  # what is no fault of a source or sink, for subscribers
        self._stop = threading.Event()
        self._work = threading.Lock()  # of the sinks, and of what follows
        self._begun = False
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
        """Close everything, with nothing followed; no effect once :meth:`run` has begun."""
        if self._begin():
            with self._things:
                self._close_sinks(finished=False)

    def run(self) -> None:
        """Follow until the source ends or fails, or :meth:`stop` is called; close everything.

        What came before a failure is good: files are closed, not removed, whatever the failure.
        """
        if not self._begin():
            return
        with self._things:
            try:
                for frame in self.source:
                    with self._work:
                        if self._stop.is_set():
                            break
                        self._take(frame)
            except MienError as error:
                self.problem = error
            except BaseException as fault:
                self._failure = f"{type(fault).__name__}: {fault}"
                raise
            finally:
                with self._work:
                    self._close_sinks()

    def stop(self) -> None:
        """End after the frame that is being followed; may be called from any thread."""
        self._stop.set()
        if isinstance(self.source, (LatestSource, ReconnectingSource)):
            # Only these are read in a thread of their own: closing another would crash its reader.
            self.source.close()

    def leave(self, timeout_s: float) -> None:
        """Close the sinks of a stopped session that still waits for its source.

        Its thread closes the source when the call that it is stuck in returns: nobody else may.

        Args:
            timeout_s: how long to wait for the frame that is being followed, or for the thread to
                close the sinks itself.
        """
        self._stop.set()
        if self._work.acquire(timeout=timeout_s):
            try:
                self._close_sinks()
            finally:
                self._work.release()

    def health(self) -> Health:
        """How it goes, for status messages; may be called from any thread."""
        stats = self.source.stats
        return Health(
            latency_ms=self.meter.latency_ms(),
            latency_99_ms=self.meter.latency_ms(0.99),
            drops=self._drops(),
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
        lost = sum(self._drops().values())
        return f"{self.name}: {self.meter.rate(now_ns):.0f}/s, {total} ({work}), lost {lost}"

    def summary(self) -> str:
        """What it came to, in a line."""
        stages = ", ".join(f"{name} {ms:.2f}" for name, ms in self.meter.latency_ms().items())
        lost = ", ".join(f"{name} {count}" for name, count in self._drops().items())
        again = self.source.stats.reconnects
        return (
            f"{self.meter.frames} frames, {self.with_faces} with a face, "
            f"{self.meter.mean_rate():.1f} a second; median ms: {stages or '-'}; lost: {lost}"
            + (f"; reconnected {again} times" if again else "")
        )

    def _drops(self) -> dict[str, int]:
        lost = drops(self.source.stats)
        return {**lost, "refused": self.refused} if self.refused else lost

    def _take(self, frame: Frame) -> None:
        taken_ns = self._clock()
        try:
            rows = self._follower.follow(frame)
        except InputError as error:  # such as a picture of a shape that the camera does not have
            self._refuse(error)
            return
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

    def _refuse(self, error: InputError) -> None:
        """Leave a frame out; hours of others may follow."""
        self.refused += 1
        if self.refused == 1:
            self.complaints.append(str(error))
            print(f"mien: {error}; {self.name} leaves out such frames", file=sys.stderr)

    def _write(self, frame: Frame, rows: Sequence[FaceObservation]) -> None:
        for sink in tuple(self._sinks):
            try:
                sink.write(frame, rows)
            except MienError as error:
                self._leave_out(sink, error)

    def _leave_out(self, sink: Sink, error: MienError) -> None:
        self._sinks.remove(sink)
        sink.abort()
        if not self._sinks and not self.watched:
            raise error
        self.complaints.append(str(error))
        print(f"mien: {error}; {self.name} goes on without it", file=sys.stderr)

    def _begin(self) -> bool:
        """Whether nobody has run or given up the session before."""
        with self._work:
            first, self._begun = not self._begun, True
        return first

    def _close_sinks(self, finished: bool = True) -> None:
        """Close every sink, whatever becomes of the others; with the lock held."""
        sinks, self._sinks = self._sinks, []
        with ExitStack() as closing:
            for sink in reversed(sinks):
                closing.callback(self._close, sink, finished)

    def _close(self, sink: Sink, finished: bool) -> None:
        failure = self._failure if self.problem is None else str(self.problem)
        try:
            if failure and isinstance(sink, PublishedStream):
                sink.fail(failure)
            if finished:
                sink.close()
            else:
                sink.abort()
        except MienError as error:
            self.complaints.append(str(error))
            print(f"mien: {error}", file=sys.stderr)
