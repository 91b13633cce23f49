"""What does following a face cost a frame, against MediaPipe and against the barest loop?

    python bench/face_work.py [VIDEO] [--peer-python PATH] [--task FILE] [--core 0] [--blocks 40]
        [--rival DIR] [--json FILE]

They take turns over the same decoded 640 x 480 frames, a block of frames each, pinned to one core:

* mien: ``FaceTracker.update``, one thread, smoothing and all;
* the bare loop, with the steps of 3DDFA_V2 once it has a face: box about the last landmarks, the
  part of the picture under it, 120 x 120 of that, the same network in onnxruntime, 68 points from
  its shape and expression; no check, no pose in space, no filter, no row;
* MediaPipe's Face Landmarker with blendshapes in video mode, in a Python of its own
  (``--peer-python``: one that has the package mediapipe). Its input is converted beforehand;
* mien with another bundle (``--rival``), such as one of your own 3DDFA_V2 files.

Ratios are of medians within a block, so that a busy machine slows both sides of each alike; their
quartiles over the blocks say how sure they are.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import subprocess
import tempfile
import time
from contextlib import nullcontext
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from types import TracebackType
from typing import Any

import cv2
import numpy as np
from figures import add_json_option, system, write_figures
from live_measures import command_line, fold, write_section
from tracked_frame import demo_video, read_frames

from mien.models.face.bundle import Bundle
from mien.models.face.crop import CROP_SIZE
from mien.models.face.names import N_EXPRESSION, N_POSE, N_SHAPE
from mien.stream import FaceTracker
from mien.stream.onnx_session import open_session

TASK = Path(__file__).parents[2] / "shared" / "peers" / "face_landmarker.task"
PEER = Path(__file__).with_name("live_peer.py")
RATE = 30.0
WARM_UP_BLOCKS = 2
WANTED = {"MediaPipe": "1/3", "bare loop": "1.3"}
RIVAL = "other bundle"


class Mien:
    """The tracker, as a program would use it."""

    def __init__(self, bundle: Bundle, frames: list[np.ndarray], name: str = "mien") -> None:
        self.name = name
        self._tracker = FaceTracker(bundle, threads=1)
        self._frames = frames

    def block(self, begin: int, count: int) -> tuple[list[float], int]:
        """Milliseconds a frame, and how many frames had a face."""
        took, seen = [], 0
        for i in range(begin, begin + count):
            image = self._frames[fold(i, len(self._frames))]
            start = time.perf_counter_ns()
            rows = self._tracker.update(image, round(i * 1e9 / RATE))
            took.append((time.perf_counter_ns() - start) * 1e-6)
            seen += bool(rows and rows[0].observed)
        return took, seen


class Bare:
    """Crop, network, sparse reconstruction, nothing else."""

    name = "bare loop"

    def __init__(self, bundle: Bundle, frames: list[np.ndarray]) -> None:
        self._session = open_session(bundle.regressor_path, 1)
        points = bundle.face_model.landmarks()
        self._mean = points.mean.reshape(-1)
        self._shape = points.shape_basis.reshape(N_SHAPE, -1)
        self._expression = points.expression_basis.reshape(N_EXPRESSION, -1)
        self._frames = frames
        row = FaceTracker(bundle).fit(frames[0])[0]
        self._first = row.landmarks.reshape(-1, 2)
        self._marks = self._first

    def block(self, begin: int, count: int) -> tuple[list[float], int]:
        took, seen = [], 0
        for i in range(begin, begin + count):
            image = self._frames[fold(i, len(self._frames))]
            start = time.perf_counter_ns()
            self._marks = self._step(image, self._marks)
            took.append((time.perf_counter_ns() - start) * 1e-6)
            seen += bool(np.ptp(self._marks[:, 0]) > 20)
        return took, seen

    def _step(self, image: np.ndarray, marks: np.ndarray) -> np.ndarray:
        low, high = marks[:, :2].min(axis=0), marks[:, :2].max(axis=0)
        side = math.sqrt(2.0) * float((high - low).max())
        x0, y0 = ((low + high) / 2 - side / 2).tolist()
        left, top, n = round(x0), round(y0), round(side)
        height, width = image.shape[:2]
        # A part with room for what lies outside of the picture, as there.
        part = np.zeros((n, n, 3), np.uint8)
        x1, y1, x2, y2 = max(left, 0), max(top, 0), min(left + n, width), min(top + n, height)
        part[y1 - top : y2 - top, x1 - left : x2 - left] = image[y1:y2, x1:x2]
        crop = cv2.resize(part, (CROP_SIZE, CROP_SIZE), interpolation=cv2.INTER_LINEAR)
        said = self._session.run(None, {"crops": crop[None]})
        params = np.asarray(said[0])[0]
        matrix = params[:N_POSE].reshape(3, 4)
        flat = (
            self._mean
            + params[N_POSE:-N_EXPRESSION] @ self._shape
            + params[-N_EXPRESSION:] @ self._expression
        )
        points = flat.reshape(-1, 3) @ matrix[:, :3].T + matrix[:, 3]
        points[:, :2] = (points[:, :2] + 0.5) * (n / CROP_SIZE) + np.array([left, top]) - 0.5
        points[:, 2] *= n / CROP_SIZE
        return points


class Peer:
    """MediaPipe in a process of its own, asked for a block at a time."""

    name = "MediaPipe"

    def __init__(self, python: Path, task: Path, frames: Path, shape: tuple[int, ...]) -> None:
        self._process = subprocess.Popen(
            [python, PEER, "--task", task, "--frames", frames, "--count", str(shape[0])],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self.about = self._ask()

    def block(self, begin: int, count: int) -> tuple[list[float], int]:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{begin} {count}\n")
        self._process.stdin.flush()
        answer = self._ask()
        return answer["took_ms"], answer["seen"]

    def _ask(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"{PEER.name} ended with status {self._process.wait()}")
        return json.loads(line)

    def __enter__(self) -> Peer:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._process.terminate()
        self._process.wait()


@dataclass
class Result:
    """What one of them took."""

    blocks: list[list[float]] = field(default_factory=list)
    seen: int = 0

    @property
    def times(self) -> np.ndarray:
        return np.concatenate([np.asarray(block) for block in self.blocks])

    @property
    def medians(self) -> np.ndarray:
        return np.array([np.median(block) for block in self.blocks])


def run(contestants: list[Mien | Bare | Peer], blocks: int, size: int) -> dict[str, Result]:
    """Let them take turns; who begins moves on from block to block."""
    results = {one.name: Result() for one in contestants}
    for block in range(WARM_UP_BLOCKS + blocks):
        turn = block % len(contestants)
        for one in contestants[turn:] + contestants[:turn]:
            took, seen = one.block(block * size, size)
            if block >= WARM_UP_BLOCKS:
                results[one.name].blocks.append(took)
                results[one.name].seen += seen
    return results


def report(results: dict[str, Result]) -> str:
    lines = [
        "| | median ms | 99th ms | max ms | frames with a face |",
        "|---|---:|---:|---:|---:|",
    ]
    for name, result in results.items():
        middle, high = np.percentile(result.times, [50, 99])
        lines.append(
            f"| {name} | {middle:.3f} | {high:.3f} | {result.times.max():.2f} "
            f"| {100 * result.seen / len(result.times):.1f} % |"
        )
    lines += ["", "| ratio | median | quartiles over blocks | wanted |", "|---|---:|---:|---:|"]
    for name, (low, middle, high) in ratios(results).items():
        wanted = f"at most {WANTED[name]}" if name in WANTED else ""
        lines.append(f"| mien / {name} | {middle:.3f} | {low:.3f} to {high:.3f} | {wanted} |")
    return "\n".join(lines)


def ratios(results: dict[str, Result]) -> dict[str, np.ndarray]:
    """Quartiles over the blocks of mien's time over that of each of the others."""
    return {
        name: np.percentile(results["mien"].medians / result.medians, [25, 50, 75])
        for name, result in results.items()
        if name != "mien"
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("video", nargs="?", type=Path, help="default: the demo's clip")
    parser.add_argument("--peer-python", type=Path, help="a Python that has mediapipe")
    parser.add_argument("--task", type=Path, default=TASK, help="MediaPipe's model bundle")
    parser.add_argument("--bundle", type=Path)
    parser.add_argument("--rival", type=Path, help="bundle that takes its turn too")
    parser.add_argument("--core", type=int, default=0, help="to pin all to; -1: none")
    parser.add_argument("--blocks", type=int, default=40)
    parser.add_argument("--block", type=int, default=50, help="frames in a block")
    parser.add_argument("--frames", type=int, default=180, help="of the clip, gone to and fro")
    parser.add_argument("--out", type=Path, help="file that takes the tables, Markdown")
    add_json_option(parser)
    options = parser.parse_args()
    if options.core >= 0:
        os.sched_setaffinity(0, {options.core})  # inherited by the peer
    cv2.setNumThreads(1)
    bundle = Bundle.load(options.bundle) if options.bundle else Bundle.default()
    with demo_video() if options.video is None else nullcontext(options.video) as path:
        frames = [frame.image_bgr for frame in read_frames(path, options.frames)]
    mine: list[Mien | Bare | Peer] = [Mien(bundle, frames), Bare(bundle, frames)]
    if options.rival is not None:
        mine.append(Mien(Bundle.load(options.rival), frames, RIVAL))
    text = [
        "### Work a frame",
        "",
        f"`{command_line()}`; {system()}, "
        f"{os.cpu_count()} cores, one used; load {os.getloadavg()[0]:.1f} at the start; Python "
        f"{platform.python_version()}, onnxruntime {version('onnxruntime')}, numpy "
        f"{version('numpy')}; bundle {bundle.version}; {options.blocks} blocks of {options.block} "
        "frames of 640x480 each, in turn.",
        "",
    ]
    if options.peer_python is None or not options.task.exists():
        why = "--peer-python is not given" if options.peer_python is None else "no model bundle"
        text += [f"MediaPipe left out: {why}.", ""]
        results = run(mine, options.blocks, options.block)
    else:
        with tempfile.TemporaryDirectory() as folder:
            place = Path(folder) / "frames.rgb"
            np.stack(frames)[..., ::-1].tofile(place)
            shape = (len(frames), *frames[0].shape)
            with Peer(options.peer_python, options.task, place, shape) as peer:
                text += [f"MediaPipe {peer.about['mediapipe']}.", ""]
                results = run([*mine, peer], options.blocks, options.block)
    text.append(report(results))
    print("\n".join(text))
    if options.out is not None:
        write_section(options.out, "\n".join(text))
    quantiles = {name: np.percentile(one.times, [50, 99]) for name, one in results.items()}
    write_figures(
        options.json, {"median_and_99th_ms": quantiles, "quartiles_of_ratio": ratios(results)}
    )


if __name__ == "__main__":
    main()
