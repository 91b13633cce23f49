"""The runs of ``live.py`` on one stream: mien, a program that only decodes, and MediaPipe."""

from __future__ import annotations

import argparse
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from live_measures import (
    HERE,
    Grid,
    Running,
    Stage,
    Usage,
    free_endpoint,
    identify,
    slope_mb_per_hour,
    start_server,
    start_subscriber,
    start_tracker,
    tail,
)

TASK = HERE.parents[1] / "shared" / "peers" / "face_landmarker.task"
SETTLE_S = 5.0  # not counted after the first frame: probing, the first detection
FIRST_MINUTE_S = 60.0


@dataclass
class Watch:
    """What a process used while it was watched.

    Attributes:
        t_s: of the samples, since the first.
        usages: at these.
    """

    t_s: list[float] = field(default_factory=list)
    usages: list[Usage] = field(default_factory=list)

    @property
    def core_share(self) -> float:
        """CPU time over time, 1 for a whole core."""
        return (self.usages[-1].cpu_s - self.usages[0].cpu_s) / (self.t_s[-1] - self.t_s[0])

    def slope(self) -> tuple[float, float]:
        """Of resident memory, MB an hour, and from when on (s): after the first minute."""
        after = FIRST_MINUTE_S if self.t_s[-1] >= 1.5 * FIRST_MINUTE_S else self.t_s[-1] / 3
        kept = [(t, u.rss_mb) for t, u in zip(self.t_s, self.usages, strict=True) if t >= after]
        return slope_mb_per_hour(*zip(*kept, strict=True)), after


def watch(running: Running, seconds: float, others: Sequence[Running] = ()) -> Watch:
    """Sample a process every second.

    Raises:
        SystemExit: it, or one of the others, ended.
    """
    seen = Watch()
    begin_s = time.perf_counter()
    while (now_s := time.perf_counter() - begin_s) < seconds or len(seen.t_s) < 2:
        for one in (running, *others):
            if not one.alive:
                raise SystemExit(f"{one.said.stem} ended:\n{one.last_words()}")
        seen.t_s.append(now_s)
        seen.usages.append(Usage.of(running.process.pid))
        time.sleep(max(0.05, min(1.0, seconds - now_s)))
    return seen


@dataclass
class Live:
    """One run of ``mien track``.

    Attributes:
        due_ms: (N, 4) of each frame received: when the tracker says it was captured, published,
            its pose and its frame message received; since its due time. NaN without a face.
        expected: frames on the grid between the first and the last received.
        status: the last status message.
        left_ms: (K,) when the server began to send each frame, since its due time.
        usage: of ``mien track``.
        pressure: share of the time in which some program of the machine waited for a core.
    """

    rate: float
    due_ms: np.ndarray
    number: np.ndarray
    expected: int
    status: dict[str, Any]
    stages: dict[str, tuple[float, float]]
    left_ms: np.ndarray
    usage: Watch
    pressure: float

    @property
    def latency_ms(self) -> np.ndarray:
        """Capture to received, of frames with a face."""
        values = self.due_ms[:, 2]
        return values[np.isfinite(values)]

    @property
    def lost(self) -> float:
        return 1.0 - len(np.unique(self.number)) / self.expected


def run_mien(options: argparse.Namespace, rate: float, folder: Path) -> Live:
    """The three processes, for the time asked for."""
    out, log = folder / "received.jsonl", folder / "sent.npy"
    out.unlink(missing_ok=True)
    with Stage(folder) as stage:
        server = start_server(stage, rate, *clip(options), "--log", log)
        endpoint = free_endpoint()
        subscriber = start_subscriber(stage, endpoint, out)
        url = f"http://127.0.0.1:{server.about['port']}/"
        tracker = start_tracker(stage, url, endpoint, *options.track)
        wait_for(lambda: len(tail(out)) > 3, tracker, 60.0)
        time.sleep(SETTLE_S)
        begin_ns, waited_s = time.perf_counter_ns(), waited()
        usage = watch(tracker, options.seconds, (server, subscriber))
        end_ns = time.perf_counter_ns()
        pressure = (waited() - waited_s) / ((end_ns - begin_ns) * 1e-9)
        subscriber.stop(signal.SIGTERM)
        tracker.stop(signal.SIGINT)
        server.stop(signal.SIGTERM)
    rows = tail(out)
    frames = [row for row in rows if "frame" in row]
    statuses = [row for row in rows if "state" in row and begin_ns <= row["t_receive_ns"] <= end_ns]
    grid = Grid(server.about["epoch_ns"], rate)
    sent = np.load(log)
    frames, number = in_order(grid, sent, frames)
    due_ns = grid.due_ns(number)
    kept = (due_ns >= begin_ns) & (due_ns < end_ns)
    times = [
        [row[name] or np.nan for name in ("t_capture_ns", "t_publish_ns", "t_pose_ns")]
        + [row["t_frame_ns"]]
        for row in frames
    ]
    # Differences to the epoch first: float64 has no room for nanoseconds of weeks.
    since = np.array(
        [[np.nan if np.isnan(t) else (int(t) - grid.epoch_ns) * 1e-6 for t in row] for row in times]
    )
    due_ms = since - ((due_ns - grid.epoch_ns) * 1e-6)[:, None]
    sent = sent[(sent[:, 3] >= begin_ns) & (sent[:, 3] < end_ns)]
    stages = {
        name: (
            float(np.median([s["latency_ms"][name] for s in statuses if name in s["latency_ms"]])),
            float(np.median([s["latency_99_ms"].get(name, np.nan) for s in statuses] or [np.nan])),
        )
        for name in (statuses[-1]["latency_ms"] if statuses else {})
    }
    number = number[kept]
    return Live(
        rate=rate,
        due_ms=due_ms[kept],
        number=number,
        expected=int(number[-1] - number[0] + 1),
        status=statuses[-1] if statuses else {"drops": {}, "lost": 0},
        stages=stages,
        left_ms=(sent[:, 2] - grid.due_ns(sent[:, 1])) * 1e-6,
        usage=usage,
        pressure=pressure,
    )


def waited() -> float:
    """Seconds in which some program waited for a core, since the machine started."""
    place = Path("/proc/pressure/cpu")
    text = place.read_text() if place.exists() else ""
    return float(text.split("total=")[1].split()[0]) * 1e-6 if text else float("nan")


def in_order(
    grid: Grid, sent: np.ndarray, frames: list[dict[str, Any]]
) -> tuple[list[dict[str, Any]], np.ndarray]:
    """Messages and the number on the grid of each: frame k of a connection is the k-th sent on it.

    Raises:
        SystemExit: that cannot be: there were other connections, or the tracker's times of capture
            are not those of such frames.
    """
    if len(np.unique(sent[:, 0])) != 1:
        raise SystemExit("the tracker connected more than once: which frame is which is not known")
    frames = [row for row in frames if row["frame"] < len(sent)]
    number = sent[[row["frame"] for row in frames], 1]
    captured = np.array([row["t_capture_ns"] for row in frames], np.int64)
    late = grid.number(captured) - number  # whole periods
    if np.median(late) != 0 or np.mean(late < 0) > 0.01:
        raise SystemExit(f"times of capture are {np.median(late):g} frames off")
    return frames, number


def run_decoder(options: argparse.Namespace, rate: float, folder: Path) -> Watch:
    """What reading the stream alone uses."""
    with Stage(folder) as stage:
        server = start_server(stage, rate, *clip(options))
        url = f"http://127.0.0.1:{server.about['port']}/"
        reader = stage.start("reader", [sys.executable, HERE / "live.py", "--only-decode", url])
        time.sleep(SETTLE_S)
        return watch(reader, max(20.0, options.seconds / 5), (server,))


def only_decode(url: str) -> None:
    """Read a stream as ``mien track`` does, and do nothing with it."""
    from mien.stream.sources.opening import SourceOptions, open_source

    with open_source(url, SourceOptions()) as source:
        for _ in source:
            pass


def run_peer(options: argparse.Namespace, rate: float, folder: Path) -> tuple[np.ndarray, Watch]:
    """MediaPipe on the same stream: latency of its results (ms since due), and what it uses."""
    out = folder / "peer.jsonl"
    out.unlink(missing_ok=True)
    with Stage(folder) as stage:
        server = start_server(stage, rate, *clip(options))
        url = f"http://127.0.0.1:{server.about['port']}/"
        command = [HERE / "live_peer.py", "--task", options.task, "--url", url, "--out", out]
        peer = stage.start("peer", [options.peer_python, *command])
        wait_for(lambda: len(tail(out)) > 3, peer, 60.0)
        time.sleep(SETTLE_S)
        begin_ns = time.perf_counter_ns()
        usage = watch(peer, options.seconds, (server,))
        end_ns = time.perf_counter_ns()
    rows = tail(out)
    grid = Grid(server.about["epoch_ns"], rate)
    columns = ("frame", "t_arrival_ns", "t_done_ns")
    index, arrived, done = (np.array([row[name] for row in rows], np.int64) for name in columns)
    due_ns = grid.due_ns(identify(grid, index, arrived))
    kept = (due_ns >= begin_ns) & (due_ns < end_ns)
    return (done - due_ns)[kept] * 1e-6, usage


def wait_for(condition: Any, running: Running, seconds: float) -> None:
    deadline_s = time.perf_counter() + seconds
    while not condition():
        if not running.alive or time.perf_counter() > deadline_s:
            raise SystemExit(f"{running.said.stem} does not begin:\n{running.last_words()}")
        time.sleep(0.1)


def clip(options: argparse.Namespace) -> list[str]:
    return [] if options.video is None else [str(options.video.resolve())]
