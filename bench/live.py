"""How long from capture to a subscriber in another process, and what does it cost?

    python bench/live.py [VIDEO] [--seconds 60] [--rates 30 60] [--repeat 1] [--peer-python PATH]
        [--json FILE]

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
import sys
import tempfile
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from figures import add_json_option, system, write_figures
from live_measures import (
    command_line,
    quantiles,
    write_section,
)
from live_runs import (
    SETTLE_S,
    TASK,
    Live,
    Watch,
    only_decode,
    run_decoder,
    run_mien,
    run_peer,
)

STAGES = ("capture", "decode", "wait", "detect", "regress", "fit", "smooth", "publish", "total")
PACKAGES = ("av", "numpy", "onnxruntime", "opencv-python", "pyzmq")


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
        f"`{command_line()}`; {system()}, {os.cpu_count()} cores, load {load} at the "
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


def figures(
    runs: Sequence[tuple[Live, Watch]], peers: Sequence[tuple[float, np.ndarray, Watch]]
) -> dict[str, Any]:
    """Of every run, and of MediaPipe's."""
    mien = [
        {
            "rate": run.rate,
            "median_99th_max_ms": quantiles(run.latency_ms),
            "stages_median_and_99th_ms": {
                name: run.stages[name] for name in STAGES if name in run.stages
            },
            "lost": run.lost,
            "core_besides_decoding": run.usage.core_share - decoding.core_share,
            "cores_overbooked": run.pressure,
        }
        for run, decoding in runs
    ]
    theirs = [
        {"rate": rate, "median_99th_max_ms": quantiles(late), "core": usage.core_share}
        for rate, late, usage in peers
    ]
    return {"runs": mien, "mediapipe": theirs}


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
    add_json_option(parser)
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
    write_figures(options.json, figures(runs, peers))
    summary = [round(value, 3) for run, _ in runs for value in quantiles(run.latency_ms)]
    print(json.dumps({"median, 99th, max of each run": summary}), file=sys.stderr)


if __name__ == "__main__":
    main()
