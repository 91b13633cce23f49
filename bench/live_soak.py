"""Does live tracking stay as it is for hours, and come back from whatever happens?

    python bench/live_soak.py [VIDEO] [--seconds 3600] [--rate 30] [--faults] [--seed 0]

As ``live.py``: a served clip, ``mien track``, a subscriber, each a process. Every few seconds it
notes the tracker's resident memory, open handles and threads, and the latency of the frames since,
into ``live_soak.csv``; ``live_soak.png`` is the picture, ``--tables FILE.md`` takes the tables.

With ``--faults`` something happens every 10 to 40 seconds, by chance from the seed: the server is
killed and started again, stalls, breaks the connection off; a crowd of subscribers comes and goes;
a subscriber is stopped and goes on; garbage is sent to both sockets.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import platform
import random
import signal
import socket
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from figures import system
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
    write_section,
)

from mien.stream.subscriber import PoseSubscriber

COLUMNS: tuple[str, ...] = (
    "t_s", "frames", "median_ms", "p99_ms", "max_ms", "rss_mb", "handles", "threads", "core",
    "state", "lost", "event",
)  # fmt: skip
FIRST_MINUTE_S = 60.0


@dataclass
class Event:
    """Something that was done to the tracker, and when all was well again.

    Attributes:
        kind: what.
        begin_s: since the start of the soak.
        over_s: when the cause was gone.
        again_s: when the first frame after that was received; None: not yet.
    """

    kind: str
    begin_s: float
    over_s: float
    again_s: float | None = None


@dataclass
class Tail:
    """Reads a growing file of JSON lines."""

    path: Path
    _at: int = 0

    def read(self) -> list[dict[str, Any]]:
        with self.path.open("rb") as file:
            file.seek(self._at)
            data = file.read()
        whole = data[: data.rfind(b"\n") + 1]
        self._at += len(whole)
        return [json.loads(line) for line in whole.splitlines()]


@dataclass
class Soak:
    """The programs, and what happens to them."""

    stage: Stage
    options: argparse.Namespace
    folder: Path
    chance: random.Random
    begin_s: float = field(default_factory=time.perf_counter)
    events: list[Event] = field(default_factory=list)
    samples: list[dict[str, Any]] = field(default_factory=list)
    _later: list[tuple[float, Callable[[], None]]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._clip = [] if self.options.video is None else [self.options.video.resolve()]
        self.server = start_server(self.stage, self.options.rate, *self._clip)
        self.port = int(self.server.about["port"])
        self.grid = Grid(int(self.server.about["epoch_ns"]), self.options.rate)
        self.endpoint = free_endpoint()
        self.subscriber = start_subscriber(self.stage, self.endpoint, self.folder / "main.jsonl")
        self.other = start_subscriber(self.stage, self.endpoint, self.folder / "other.jsonl")
        url = f"http://127.0.0.1:{self.port}/"
        self.tracker = start_tracker(self.stage, url, self.endpoint, *self.options.track)

    @property
    def now_s(self) -> float:
        return time.perf_counter() - self.begin_s

    def run(self) -> str:
        """Until the time is over; returns why it ended before, or nothing."""
        tail = Tail(self.folder / "main.jsonl")
        next_fault_s = 20.0 + self.chance.uniform(10, 40)
        next_sample_s = self.options.sample
        before = (self.now_s, Usage.of(self.tracker.process.pid))
        while self.now_s < self.options.seconds:
            time.sleep(0.1)
            self._do_what_is_due()
            if not self.tracker.alive:
                return f"mien track ended after {self.now_s:.0f} s:\n{self.tracker.last_words()}"
            if self.options.faults and self.now_s >= next_fault_s:
                over_s = self._fault()
                next_fault_s = over_s + self.chance.uniform(10, 40)
            if self.now_s >= next_sample_s:
                next_sample_s += self.options.sample
                usage = Usage.of(self.tracker.process.pid)
                self._sample(tail.read(), before, (self.now_s, usage))
                before = (self.now_s, usage)
        return ""

    def _sample(
        self,
        rows: list[dict[str, Any]],
        before: tuple[float, Usage],
        now: tuple[float, Usage],
    ) -> None:
        frames = [row for row in rows if "frame" in row]
        states = [row for row in rows if "state" in row]
        index, captured = (
            np.array([row[name] for row in frames], np.int64) for name in ("frame", "t_capture_ns")
        )
        got = np.array([row["t_pose_ns"] or row["t_frame_ns"] for row in frames], np.int64)
        # A new connection can only be there after a fault.
        several = any(event.over_s > before[0] - 30.0 for event in self.events)
        number = identify(self.grid, index, captured, connections=several)
        latency_ms = (got - self.grid.due_ns(number)) * 1e-6
        middle, high, most = quantiles(latency_ms)
        got_s = got * 1e-9 - self.begin_s
        for event in self.events:
            after = got_s[got_s > event.over_s]
            if event.again_s is None and len(after):
                event.again_s = float(after[0])
        recent = [event.kind for event in self.events if event.begin_s > before[0]]
        (t_before_s, used), (t_s, usage) = before, now
        self.samples.append(
            {
                "t_s": round(t_s, 1),
                "frames": len(frames),
                "median_ms": round(middle, 3),
                "p99_ms": round(high, 3),
                "max_ms": round(most, 3),
                "rss_mb": round(usage.rss_mb, 3),
                "handles": usage.handles,
                "threads": usage.threads,
                "core": round((usage.cpu_s - used.cpu_s) / (t_s - t_before_s), 4),
                "state": states[-1]["state"] if states else "",
                "lost": states[-1]["lost"] if states else 0,
                "event": " ".join(recent),
            }
        )

    # -- what happens ------------------------------------------------------------------------

    def _fault(self) -> float:
        """Do something; returns when its cause is gone."""
        kind = self.chance.choice(("kill", "stall", "close", "crowd", "stop", "garbage"))
        begin_s = self.now_s
        over_s = {
            "kill": self._kill,
            "stall": self._stall,
            "close": self._close,
            "crowd": self._crowd,
            "stop": self._stop,
            "garbage": self._garbage,
        }[kind]()
        self.events.append(Event(kind, begin_s, over_s))
        return over_s

    def _kill(self) -> float:
        self.server.process.kill()
        self.server.process.wait()
        time.sleep(self.chance.uniform(0.2, 8.0))
        place = ("--port", str(self.port), "--epoch-ns", str(self.grid.epoch_ns))
        self.server = start_server(self.stage, self.options.rate, *self._clip, *place)
        return self.now_s

    def _stall(self) -> float:
        seconds = self.chance.uniform(0.3, 15.0)
        self.server.tell(f"stall {seconds:.3f}")
        return self.now_s + seconds

    def _close(self) -> float:
        self.server.tell("close")
        return self.now_s

    def _crowd(self) -> float:
        crowd = [PoseSubscriber(self.endpoint) for _ in range(self.chance.randint(5, 40))]
        for one in crowd:
            one.receive(0.05)
        for one in crowd:
            one.close()
        return self.now_s

    def _stop(self) -> float:
        seconds = self.chance.uniform(2.0, 30.0)
        other = self.other
        other.process.send_signal(signal.SIGSTOP)
        self._later.append(
            (self.now_s + seconds, lambda: other.process.send_signal(signal.SIGCONT))
        )
        return self.now_s + seconds

    def _garbage(self) -> float:
        port = int(self.endpoint.rpartition(":")[2])
        for target in (port, port + 1):
            try:
                with socket.create_connection(("127.0.0.1", target), 2.0) as connection:
                    connection.sendall(self.chance.randbytes(self.chance.randint(1, 60_000)))
            except OSError:
                pass  # it hung up on us, as it may
        return self.now_s

    def _do_what_is_due(self) -> None:
        due = [action for at_s, action in self._later if at_s <= self.now_s]
        self._later = [later for later in self._later if later[0] > self.now_s]
        for action in due:
            action()


def report(soak: Soak, options: argparse.Namespace, ended: str, about: str) -> str:
    """What it came to, Markdown."""
    samples = [s for s in soak.samples if s["t_s"] >= FIRST_MINUTE_S] or soak.samples
    column = {name: np.array([s[name] for s in samples]) for name in COLUMNS[:9]}
    calm = np.array([not s["event"] and s["frames"] > 0 for s in samples])
    thirds = np.array_split(np.flatnonzero(calm), 3)
    slope = slope_mb_per_hour(column["t_s"].tolist(), column["rss_mb"].tolist())
    half = len(samples) // 2
    late = slope_mb_per_hour(column["t_s"][half:].tolist(), column["rss_mb"][half:].tolist())
    first, last = samples[0], samples[-1]
    over = [f"{np.median(column['median_ms'][t]):.2f}" for t in thirds if len(t)]
    highs = [f"{np.median(column['p99_ms'][t]):.1f}" for t in thirds if len(t)]
    lines = [
        f"### {'A soak with faults' if options.faults else 'A quiet soak'}",
        "",
        about,
        "",
        *([f"**It ended early**: {ended}", ""] if ended else []),
        "| measured after the first minute | |",
        "|---|---:|",
        f"| resident memory, MB | {first['rss_mb']:.1f} to {last['rss_mb']:.1f} |",
        f"| slope of it, MB an hour | {slope:+.2f} |",
        f"| slope over the second half, MB an hour | {late:+.2f} |",
        f"| handles | {first['handles']} to {last['handles']}, most {column['handles'].max()} |",
        f"| threads | {first['threads']} to {last['threads']}, most {column['threads'].max()} |",
        f"| latency by thirds, median of medians, ms | {', '.join(over)} |",
        f"| latency by thirds, median of 99th percentiles, ms | {', '.join(highs)} |",
        f"| frames received | {int(column['frames'].sum())} |",
        f"| messages lost on the wire | {last['lost']} |",
        f"| of a core, decoding included | {100 * column['core'].mean():.1f} % |",
    ]
    if options.faults:
        lines += ["", "| fault | times | frames again after, median s | longest s |"]
        lines += ["|---|---:|---:|---:|"]
        for kind, count in sorted(Counter(event.kind for event in soak.events).items()):
            back = [
                event.again_s - event.over_s
                for event in soak.events
                if event.kind == kind and event.again_s is not None
            ]
            middle, longest = (np.median(back), np.max(back)) if back else (np.nan, np.nan)
            lines.append(f"| {kind} | {count} | {middle:.2f} | {longest:.2f} |")
    return "\n".join(lines)


def picture(soak: Soak, path: Path) -> None:
    """Latency, memory, handles and rate over time; faults as lines."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    minutes = np.array([s["t_s"] for s in soak.samples]) / 60.0
    figure, axes = plt.subplots(4, 1, figsize=(9, 9), sharex=True, layout="constrained")
    axes[0].plot(minutes, [s["median_ms"] for s in soak.samples], label="median")
    axes[0].plot(minutes, [s["p99_ms"] for s in soak.samples], label="99th percentile", lw=0.8)
    axes[0].set(ylabel="capture to received, ms", yscale="log")
    axes[0].legend(loc="upper right")
    axes[1].plot(minutes, [s["rss_mb"] for s in soak.samples])
    axes[1].set(ylabel="resident memory, MB")
    axes[2].plot(minutes, [s["handles"] for s in soak.samples], label="handles")
    axes[2].plot(minutes, [s["threads"] for s in soak.samples], label="threads")
    axes[2].set(ylabel="count")
    axes[2].legend(loc="upper right")
    lengths = np.diff([0.0, *(s["t_s"] for s in soak.samples)])
    rate = [s["frames"] / long for s, long in zip(soak.samples, lengths, strict=True)]
    axes[3].plot(minutes, rate, label="frames received a second")
    axes[3].plot(minutes, [100 * s["core"] for s in soak.samples], label="% of a core", lw=0.8)
    axes[3].set(ylabel="rate, use", xlabel="minutes")
    axes[3].legend(loc="upper right")
    kinds = sorted({event.kind for event in soak.events})
    for event in soak.events:
        for axis in axes:
            axis.axvline(event.begin_s / 60, color=f"C{4 + kinds.index(event.kind)}", lw=0.5)
    for number, kind in enumerate(kinds):
        axes[0].plot([], [], color=f"C{4 + number}", label=kind)
    if kinds:
        axes[0].legend(loc="upper right", ncols=4, fontsize="small")
    figure.savefig(path, dpi=110)
    plt.close(figure)


def write_samples(samples: list[dict[str, Any]], path: Path) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(samples)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("video", nargs="?", type=Path, help="default: the demo's clip")
    parser.add_argument("--seconds", type=float, default=3600.0)
    parser.add_argument("--rate", type=float, default=30.0)
    parser.add_argument("--faults", action="store_true")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--sample", type=float, default=5.0, help="seconds between samples")
    parser.add_argument("--track", nargs="*", default=[], help="more options of mien track")
    parser.add_argument("--tables", type=Path, help="Markdown file that takes the tables")
    parser.add_argument("--out", type=Path, default=HERE / "live_soak", help="without ending")
    options = parser.parse_args()
    about = (
        f"`{command_line()}`; {system()}, {os.cpu_count()} cores, load "
        f"{os.getloadavg()[0]:.1f} at the start; Python {platform.python_version()}; "
        f"{options.rate:g} fps, seed {options.seed}, {options.seconds:g} s."
    )
    with tempfile.TemporaryDirectory() as place, Stage(Path(place)) as stage:
        soak = Soak(stage, options, Path(place), random.Random(options.seed))
        wait_for_frames(soak.folder / "main.jsonl", soak.tracker)
        soak.begin_s = time.perf_counter()
        try:
            ended = soak.run()
        except KeyboardInterrupt:
            ended = f"interrupted after {soak.now_s:.0f} s"
    if not soak.samples:
        raise SystemExit(ended or "too short for a sample")
    text = report(soak, options, ended, about)
    print(text)
    write_samples(soak.samples, options.out.with_suffix(".csv"))
    if options.tables is not None:
        write_section(options.tables, text)
    picture(soak, options.out.with_suffix(".png"))
    sys.exit(1 if ended else 0)


def wait_for_frames(path: Path, tracker: Running, seconds: float = 60.0) -> None:
    deadline_s = time.perf_counter() + seconds
    while not (path.exists() and path.stat().st_size):
        if not tracker.alive or time.perf_counter() > deadline_s:
            raise SystemExit(f"mien track does not begin:\n{tracker.last_words()}")
        time.sleep(0.1)


if __name__ == "__main__":
    main()
