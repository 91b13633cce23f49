"""How fast is ``mien annotate``, against decoding alone, MediaPipe and a serial loop?

    python bench/annotate.py [VIDEO] [--seconds 180] [--repeats 5] [--peer-python PATH]
        [--json FILE]

The clip that mien ships (or VIDEO) is made into one of 640x480 of several minutes and one of 1080p,
H.264 as x264 makes it by default. Whole commands are measured, each a process of its own, in turns:

* mien: ``mien annotate`` with one and with two threads, two passes, Parquet;
* decoding: every frame decoded and converted to BGR with the same threads, nothing else;
* the serial loop: a frame decoded, cut about the last landmarks, read by our network, and 68 points
  made of its parameters, as 3DDFA_V2 goes about it; no pose in space, no filter, no file;
* MediaPipe's Face Landmarker with blendshapes in video mode, on frames of OpenCV's reader.

Workers: four copies of the clip by one worker and by two, each with one thread; and the serial loop
in one process and in two at once, which says what the machine's second core is worth to such work.

Ratios are of frames a second within a repetition, in which all take their turn; their quartiles say
how sure they are. Processor time is told beside them, what it takes to begin apart from that of a
frame: it says what a busy machine hides. ``--json`` also has ratios without what it takes to begin.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import av
import numpy as np
from annotate_clips import make_clip
from figures import add_json_option, system, write_figures

MIEN = Path(sys.executable).parent / "mien"
CHILD = Path(__file__).with_name("annotate_child.py")
TASK = Path(__file__).parents[2] / "shared" / "peers" / "face_landmarker.task"
Command = list[str | Path]
PAIRS = tuple(
    (f"mien, {threads}", theirs)
    for threads in (1, 2)
    for theirs in (f"decoding, {threads}", f"serial loop, {threads}", "MediaPipe")
)


@dataclass
class Contestant:
    """A command that goes through a clip.

    Attributes:
        name: for the table.
        command: what is run.
        frames: that it goes through.
        wall_s: of each repetition.
        cpu_s: of each repetition, user and system, its children's too.
    """

    name: str
    command: Callable[[], Command]
    frames: int
    wall_s: list[float] = field(default_factory=list)
    cpu_s: list[float] = field(default_factory=list)

    def run(self) -> None:
        """Once more; what cannot run ends the bench."""
        begin = time.perf_counter()
        command = self.command()
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        assert process.stdout is not None
        told = process.stdout.read()
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        self.wall_s.append(time.perf_counter() - begin)
        self.cpu_s.append(used.ru_utime + used.ru_stime)
        if process.returncode:
            raise SystemExit(f"{self.name} ended with status {process.returncode}:\n{told}")

    @property
    def rates(self) -> np.ndarray:
        """Frames a second, by repetition."""
        return self.frames / np.array(self.wall_s)


class Bench:
    """All commands on one size of picture, on a long clip and on a short one.

    The short one says what it costs to begin.
    """

    def __init__(self, long: Path, short: Path, options: argparse.Namespace, place: Path) -> None:
        self._options, self._out = options, place / "out"
        with av.open(str(long)) as container:
            self.bit_rate = container.bit_rate
        self.long, self.short = self._all(long), self._all(short)

    def _all(self, clip: Path) -> list[Contestant]:
        with av.open(str(clip)) as container:
            frames = container.streams.video[0].frames
        commands: dict[str, Callable[[], Command]] = {}
        for threads in (1, 2):
            commands[f"decoding, {threads}"] = self._child(sys.executable, "decode", clip, threads)
            commands[f"mien, {threads}"] = self._mien(clip, threads)
            commands[f"serial loop, {threads}"] = self._child(sys.executable, "loop", clip, threads)
        peer = self._options.peer_python
        if peer is not None:
            commands["MediaPipe"] = self._child(peer, "mediapipe", clip, 1)
        return [Contestant(name, command, frames) for name, command in commands.items()]

    def _child(
        self, python: str | Path, what: str, clip: Path, threads: int
    ) -> Callable[..., Command]:
        return lambda: [python, CHILD, what, clip, str(threads), self._options.task]

    def _mien(self, clip: Path, threads: int) -> Callable[[], Command]:
        def command() -> Command:
            shutil.rmtree(self._out, ignore_errors=True)
            return [MIEN, "annotate", clip, "--out", self._out, "--threads", str(threads)]

        return command

    def run(self, repeats: int) -> None:
        """Let them take turns; who begins moves on."""
        for number in range(repeats):
            turn = number % len(self.long)
            pairs = list(zip(self.long, self.short, strict=True))
            for long, short in pairs[turn:] + pairs[:turn]:
                long.run()
                short.run()
                print(f"{number + 1}: {long.name} {long.rates[-1]:.0f} frames/s", file=sys.stderr)

    def report(self) -> str:
        lines = [
            "| threads | frames/s (median) | over decoding's | CPU s to begin | CPU ms a frame |",
            "|---|---:|---:|---:|---:|",
        ]
        by_name = {one.name: one for one in self.long}
        each_ms: dict[str, float] = {}
        for one, short in zip(self.long, self.short, strict=True):
            floor = by_name[f"decoding, {one.name[-1] if one.name[-1].isdigit() else 1}"]
            spent_s = np.median(one.cpu_s) - np.median(short.cpu_s)
            each_ms[one.name] = float(spent_s) / (one.frames - short.frames) * 1e3
            begin_s = np.median(short.cpu_s) - short.frames * each_ms[one.name] / 1e3
            lines.append(
                f"| {one.name} | {np.median(one.rates):.0f} | {quartiles(one.rates / floor.rates)} "
                f"| {begin_s:.2f} | {each_ms[one.name]:.3f} |"
            )
        for ours, theirs in PAIRS:
            if theirs in by_name:
                wall = quartiles(by_name[ours].rates / by_name[theirs].rates)
                less = each_ms[theirs] / each_ms[ours]
                lines.append(
                    f"\n{ours} over {theirs}: {wall}; by processor time a frame {less:.2f}"
                )
        return "\n".join(lines)

    def figures(self) -> dict[str, Any]:
        """Rates, and ratios of rates: of whole commands, and from their first frame on."""
        whole = {one.name: one.rates for one in self.long}
        begun = {
            one.name: once_begun(one, short)
            for one, short in zip(self.long, self.short, strict=True)
        }
        pairs = [(ours, theirs) for ours, theirs in PAIRS if theirs in whole]

        def ratios(rates: dict[str, np.ndarray]) -> dict[str, float]:
            return {f"{a} over {b}": float(np.median(rates[a] / rates[b])) for a, b in pairs}

        return {
            "frames_a_second": {name: np.median(rates) for name, rates in begun.items()},
            "ratios": ratios(whole),
            "ratios_once_begun": ratios(begun),
        }


def quartiles(values: np.ndarray) -> str:
    low, middle, high = np.percentile(values, (25, 50, 75))
    return f"{middle:.2f} ({low:.2f} to {high:.2f})"


def workers(
    clips: Sequence[Path], frames: Sequence[int], place: Path, repeats: int
) -> tuple[str, dict[str, float]]:
    """Four copies of a clip by one worker, and by two, in turns; in words, and the ratios.

    Beside them the serial loop, once and twice at once.

    Args:
        clips: a long one and a short one.
        frames: of each.
        place: for what is written.
        repeats: of all.
    """
    pairs: dict[str, list[Contestant]] = {}
    for clip, count in zip(clips, frames, strict=True):
        films = place / f"{clip.stem}-films"
        films.mkdir()
        for name in "abcd":
            shutil.copy(clip, films / f"{name}.mp4")
        for name, command, copies in (
            ("one worker", annotating(films, place / "films-out", 1), 4),
            ("two workers", annotating(films, place / "films-out", 2), 4),
            ("one loop", looping("loop", clip), 1),
            ("two loops", looping("twice", clip), 2),
        ):
            pairs.setdefault(name, []).append(Contestant(name, command, copies * count))
    for _ in range(repeats):
        for long, short in pairs.values():
            long.run()
            short.run()
    rates = {name: once_begun(long, short) for name, (long, short) in pairs.items()}
    (one, _), (two, _) = pairs["one worker"], pairs["two workers"]
    text = (
        f"Two workers with one thread each over one: {quartiles(two.rates / one.rates)}, "
        f"{np.median(two.rates):.0f} and {np.median(one.rates):.0f} frames/s; processor time "
        f"{quartiles(np.array(one.cpu_s) / np.array(two.cpu_s))}. Once begun: "
        f"{quartiles(rates['two workers'] / rates['one worker'])}; two serial loops at once over "
        f"one: {quartiles(rates['two loops'] / rates['one loop'])}"
    )
    ratios = {
        "two workers over one": float(np.median(two.rates / one.rates)),
        "two workers over one, once begun": float(
            np.median(rates["two workers"] / rates["one worker"])
        ),
        "two loops over one, once begun": float(np.median(rates["two loops"] / rates["one loop"])),
    }
    return text, ratios


def annotating(films: Path, out: Path, count: int) -> Callable[[], Command]:
    """A folder annotated by so many workers of one thread."""

    def command() -> Command:
        shutil.rmtree(out, ignore_errors=True)
        several: Command = ["--workers", str(count), "--threads", "1"]
        return [MIEN, "annotate", films, "--out", out, *several]

    return command


def looping(mode: str, clip: Path) -> Callable[[], Command]:
    """The serial loop, once or twice at once."""
    return lambda: [sys.executable, CHILD, mode, clip, "1"]


def once_begun(long: Contestant, short: Contestant) -> np.ndarray:
    """Frames a second of each repetition, without what it takes to begin."""
    return (long.frames - short.frames) / (np.array(long.wall_s) - np.array(short.wall_s))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("video", nargs="?", type=Path)
    parser.add_argument("--seconds", type=float, default=180.0, help="of the 640x480 clip")
    parser.add_argument("--seconds-1080p", type=float, default=43.0)
    parser.add_argument("--crf", type=int, default=23, help="x264's quality; 18 is a camera's")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--peer-python", type=Path, help="a Python that has mediapipe")
    parser.add_argument("--task", type=Path, default=TASK, help="MediaPipe's model")
    add_json_option(parser)
    options = parser.parse_args()
    packages = ("av", "numpy", "onnxruntime", "opencv-python", "numba", "pyarrow")
    load = os.getloadavg()[0]
    print(
        f"{system()}, {platform.processor() or platform.machine()}, "
        f"{os.cpu_count()} cores (load {load:.1f} at the beginning), "
        f"Python {platform.python_version()}, "
        + ", ".join(f"{name} {version(name)}" for name in packages)
    )
    figures: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        for size, seconds in (
            ((640, 480), options.seconds),
            ((1920, 1080), options.seconds_1080p),
        ):
            name = f"{size[0]}x{size[1]}"
            count = round(25 * seconds)
            clip = make_clip(place / f"{name}.mp4", options.video, size, count, options.crf)
            short = make_clip(place / f"{name}-short.mp4", options.video, size, 30, options.crf)
            bench = Bench(clip, short, options, place)
            bench.run(options.repeats)
            frames = bench.long[0].frames
            print(f"\n{name}, {frames} frames, {bench.bit_rate / 1e6:.2f} Mbit/s\n")
            print(bench.report(), flush=True)
            figures[name] = bench.figures()
            if size == (640, 480):
                lengths = frames, bench.short[0].frames
                told, ratios = workers((clip, short), lengths, place, max(1, options.repeats // 2))
                figures |= ratios
                print("\n" + told, flush=True)
    write_figures(options.json, figures)


if __name__ == "__main__":
    main()
