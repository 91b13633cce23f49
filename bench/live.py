"""How long from capture to a subscriber in another process, and what does it cost?

    python bench/live.py [VIDEO] [--seconds 60] [--rates 30 60] [--repeat 1] [--peer-python PATH]

Four programs: ``live_server.py`` serves a clip with a moving face as an HTTP camera of 640x480,
``mien track`` follows and publishes, ``live_subscriber.py`` notes arrivals, this one watches.
Capture is a frame's due time in the server; all read the machine's monotonic clock. The k-th
frame of the tracker is the k-th that the server sent on its only connection; times of capture
must agree.

After it the same stream is read by a program that only decodes it as ``mien track`` does: what
that uses of a core is taken off. With ``--peer-python`` (a Python that has mediapipe) MediaPipe's
Face Landmarker then follows the same stream; its results need not leave its process.

``--out`` puts the tables into a Markdown file, in place of those of its last run; ``--samples``
keeps the raw samples.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from live_measures import (
    HERE,
    Grid,
    Running,
    Stage,
    Usage,
    command_line,
    free_endpoint,
    identify,
    quantiles,
    slope_mb_per_hour,
    start_server,
    start_subscriber,
    start_tracker,
    tail,
    write_section,
)

TASK = HERE.parents[1] / "shared" / "peers" / "face_landmarker.task"
SETTLE_S = 5.0  # not counted after the first frame: probing, the first detection
FIRST_MINUTE_S = 60.0
STAGES = ("capture", "decode", "wait", "detect", "regress", "fit", "smooth", "publish", "total")
PACKAGES = ("av", "numpy", "onnxruntime", "opencv-python", "pyzmq")


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
        reader = stage.start("reader", [sys.executable, Path(__file__), "--only-decode", url])
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


def latency_table(runs: Sequence[Live]) -> list[str]:
    """A line a run."""
    lines = [
        "| fps | median ms | 99th ms | max ms | frames | lost | with a face | cores overbooked |",
        "|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for run in runs:
        middle, high, most = quantiles(run.latency_ms)
        share = 100.0 * len(run.latency_ms) / len(run.due_ms)
        lines.append(
            f"| {run.rate:g} | {middle:.2f} | {high:.2f} | {most:.1f} | {run.expected} "
            f"| {100 * run.lost:.2f} % | {share:.1f} % | {100 * run.pressure:.0f} % of the time |"
        )
    return lines


def stage_table(run: Live) -> list[str]:
    """Where the latency of a run comes from."""
    capture, publish, pose = run.due_ms[:, 0], run.due_ms[:, 1], run.due_ms[:, 2]
    seen = np.isfinite(pose)
    measured = {
        "due to the server's first byte": run.left_ms,
        "due to the tracker's own time of capture": capture,
        "time of capture to published": (publish - capture)[seen],
        "published to received and checked": (pose - publish)[seen],
        "**due to received**": pose[seen],
    }
    lines = [f"| stage, {run.rate:g} fps | median ms | 99th ms | max ms |", "|---|---:|---:|---:|"]
    for name, values in measured.items():
        middle, high, most = quantiles(values)
        lines.append(f"| {name} | {middle:.2f} | {high:.2f} | {most:.1f} |")
    known = sorted(run.stages, key=lambda name: STAGES.index(name) if name in STAGES else -1)
    for name in known:
        middle, high = run.stages[name]
        shown = "-" if np.isnan(high) else f"{high:.2f}"
        lines.append(f"| by its own account: {name} | {middle:.2f} | {shown} | |")
    return lines


def usage_table(runs: Sequence[tuple[Live, Watch]]) -> list[str]:
    lines = [
        "| fps | core, all | core, decoding alone | core, besides | resident MB, end "
        "| MB an hour | handles | threads | dropped by the tracker |",
        "|---:|---:|---:|---:|---:|---:|---:|---:|---|",
    ]
    for run, decoding in runs:
        slope, after = run.usage.slope()
        first, last = run.usage.usages[0], run.usage.usages[-1]
        dropped = ", ".join(f"{name} {n}" for name, n in run.status["drops"].items())
        lines.append(
            f"| {run.rate:g} | {100 * run.usage.core_share:.1f} % "
            f"| {100 * decoding.core_share:.1f} % "
            f"| {100 * (run.usage.core_share - decoding.core_share):.1f} % | {last.rss_mb:.0f} "
            f"| {slope:+.2f} (after {after:.0f} s) | {first.handles} to {last.handles} "
            f"| {first.threads} to {last.threads} | {dropped} |"
        )
    return lines


def growth_table(runs: Sequence[Live], parts: int = 10) -> list[str]:
    """The median and 99th percentile over time: whether latency grows."""
    lines = [
        f"| fps | {' | '.join(f'part {i + 1}' for i in range(parts))} |",
        f"|---:|{'---:|' * parts}",
    ]
    for run in runs:
        pieces = np.array_split(run.latency_ms, parts)
        cells = [f"{quantiles(one)[0]:.2f} / {quantiles(one)[1]:.1f}" for one in pieces]
        lines.append(f"| {run.rate:g} | {' | '.join(cells)} |")
    return lines


def peer_table(peers: Sequence[tuple[float, np.ndarray, Watch]]) -> list[str]:
    lines = [
        "| MediaPipe, fps | median ms | 99th ms | max ms | core, all | resident MB |",
        "|---:|---:|---:|---:|---:|---:|",
    ]
    for rate, latency_ms, usage in peers:
        middle, high, most = quantiles(latency_ms)
        lines.append(
            f"| {rate:g} | {middle:.2f} | {high:.2f} | {most:.1f} "
            f"| {100 * usage.core_share:.1f} % | {usage.usages[-1].rss_mb:.0f} |"
        )
    return lines


def about_run(options: argparse.Namespace) -> str:
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    packages = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    return (
        f"`{command_line()}`; {platform.platform()}, {os.cpu_count()} cores, load {load} at the "
        f"start; Python {platform.python_version()}, {packages}; {options.seconds:g} s a run, "
        f"{SETTLE_S:g} s after the first frame not counted."
    )


def report(
    options: argparse.Namespace,
    about: str,
    runs: Sequence[tuple[Live, Watch]],
    peers: Sequence[tuple[float, np.ndarray, Watch]],
) -> str:
    lives = [run for run, _ in runs]
    text = ["### Capture to a subscriber in another process", "", about, ""]
    text += latency_table(lives)
    for run in {run.rate: run for run in lives}.values():  # the last of each rate
        text += ["", *stage_table(run)]
    text += ["", "What `mien track` uses:", "", *usage_table(runs)]
    if options.seconds >= 60:
        text += ["", "Median / 99th ms over tenths of each run:", "", *growth_table(lives)]
    if peers:
        text += ["", "The same stream followed by MediaPipe, to its result in its own process:"]
        text += ["", *peer_table(peers)]
    return "\n".join(text)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("video", nargs="?", type=Path, help="default: the demo's clip")
    parser.add_argument("--seconds", type=float, default=60.0, help="of each run")
    parser.add_argument("--rates", type=float, nargs="+", default=[30.0])
    parser.add_argument("--repeat", type=int, default=1)
    parser.add_argument("--peer-python", type=Path, help="a Python that has mediapipe")
    parser.add_argument("--task", type=Path, default=TASK, help="MediaPipe's model bundle")
    parser.add_argument("--track", nargs="*", default=[], help="more options of mien track")
    parser.add_argument("--out", type=Path, help="file that takes the tables, Markdown")
    parser.add_argument("--samples", type=Path, help="folder that takes what was received")
    parser.add_argument("--only-decode", metavar="URL", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.only_decode is not None:
        only_decode(options.only_decode)
        return
    about = about_run(options)
    runs: list[tuple[Live, Watch]] = []
    peers: list[tuple[float, np.ndarray, Watch]] = []
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        for number in range(options.repeat):
            for rate in options.rates:
                live = run_mien(options, rate, folder)
                runs.append((live, run_decoder(options, rate, folder)))
                if options.samples is not None:
                    options.samples.mkdir(parents=True, exist_ok=True)
                    name = f"received-{rate:g}-{number}.jsonl"
                    shutil.copyfile(folder / "received.jsonl", options.samples / name)
                print("\n".join(latency_table([live])), flush=True)
                if options.peer_python is not None and options.task.exists():
                    peers.append((rate, *run_peer(options, rate, folder)))
    text = report(options, about, runs, peers)
    print(text)
    if options.out is not None:
        write_section(options.out, text)
    summary = [round(value, 3) for run, _ in runs for value in quantiles(run.latency_ms)]
    print(json.dumps({"median, 99th, max of each run": summary}), file=sys.stderr)


if __name__ == "__main__":
    main()
