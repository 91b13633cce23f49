"""What does a tracked frame cost, stage by stage, and against the network alone?

    python bench/tracked_frame.py [VIDEO] [--bundle DIR] [--threads 1] [--json FILE]

Decoding is excluded. The floor is the same network run by onnxruntime on the same crops.
"""

from __future__ import annotations

import argparse
import platform
import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from importlib.metadata import version
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from figures import add_json_option, system, write_figures

from mien.models.face.bundle import Bundle
from mien.stream import FaceTracker, Frame, fit, tracker
from mien.stream.displacement import DisplacementMeter
from mien.stream.messages import encode, pose_message
from mien.stream.regression import Regressor
from mien.stream.sinks.base import Recording
from mien.stream.sinks.zeromq import ZeroMQPublisher
from mien.stream.smoother import FaceSmoother
from mien.stream.sources import open_source

WARM_UP = 30
SIZE = (640, 480)
STAGES = ("crop", "regress", "near", "fit", "compare", "smooth", "encode", "publish")


class Stopwatch:
    """Adds up the time spent in named stages of each frame."""

    def __init__(self) -> None:
        self.frames: dict[str, list[float]] = defaultdict(list)
        self._now: dict[str, float] = defaultdict(float)

    def around(self, stage: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*args: Any, **kwargs: Any) -> Any:
            start = time.perf_counter()
            try:
                return function(*args, **kwargs)
            finally:
                self._now[stage] += time.perf_counter() - start

        return timed

    def frame_done(self) -> None:
        for stage, seconds in self._now.items():
            self.frames[stage].append(seconds * 1e3)
        self._now.clear()


def read_frames(path: Path, most: int) -> list[Frame]:
    """The first frames of a video at 640 x 480, cut to that shape where needed."""
    frames = []
    with open_source(path) as source:
        for frame in source:
            height, width = frame.image_bgr.shape[:2]
            cut_w, cut_h = min(width, height * 4 // 3), min(height, width * 3 // 4)
            x, y = (width - cut_w) // 2, (height - cut_h) // 2
            image = cv2.resize(frame.image_bgr[y : y + cut_h, x : x + cut_w], SIZE)
            frames.append(
                Frame(np.asarray(image, np.uint8), frame.index, frame.t_media_ns, None, "bench")
            )
            if len(frames) == most:
                break
    return frames


def demo_video() -> AbstractContextManager[Path]:
    """The clip that mien ships."""
    from mien.tools.demo import demo_clip

    return demo_clip()


def instrument(watch: Stopwatch, following: FaceTracker) -> None:
    """Put the stopwatch around the stages of one tracker, and of the classes it makes."""
    fitter = following._fitter
    fit.extract = watch.around("crop", fit.extract)
    regressor = fitter._regressor
    regressor.run = watch.around("regress", regressor.run)
    if fitter._blendshapes is not None:
        fitter._blendshapes.read = watch.around("near", fitter._blendshapes.read)
    for name in ("_candidate", "measure", "landmarks_px"):
        setattr(fitter, name, watch.around("fit", getattr(fitter, name)))
    for name in ("predict", "update", "update_shape", "state"):
        setattr(FaceSmoother, name, watch.around("smooth", getattr(FaceSmoother, name)))
    compared = DisplacementMeter.compare
    DisplacementMeter.compare = watch.around("compare", compared)
    tracker.row_of = watch.around("encode", tracker.row_of)


def measure(frames: list[Frame], bundle: Bundle, threads: int, staged: bool) -> Stopwatch:
    """Follow the face through the frames, as ``mien track --publish`` does."""
    watch = Stopwatch()
    following = FaceTracker(bundle, threads=threads)
    if staged:
        instrument(watch, following)
    encode_row = watch.around(
        "encode", lambda row: encode(pose_message(row, seq=0, t_publish_ns=0))
    )
    recording = Recording(source="bench", rate=None, width=SIZE[0], height=SIZE[1])
    with ZeroMQPublisher("tcp://127.0.0.1:*") as publisher:
        publish = watch.around("publish", publisher.add("main", recording).write)
        for i, frame in enumerate(frames):
            start = time.perf_counter()
            rows = following.track(frame)
            publish(frame, rows)
            total = time.perf_counter() - start
            for row in rows:
                encode_row(row)
            if i >= WARM_UP and rows and rows[0].observed:
                watch._now["total"] = total
                watch.frame_done()
            else:
                watch._now.clear()
    return watch


def floor(bundle: Bundle, threads: int, rounds: int = 300) -> list[float]:
    """The network alone, one crop at a time."""
    regressor = Regressor(bundle.regressor_path, threads)
    crop = np.random.default_rng(0).integers(0, 255, (1, 120, 120, 3), dtype=np.uint8)
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        regressor.run(crop)
        times.append((time.perf_counter() - start) * 1e3)
    return times[WARM_UP:]


def line(name: str, times: list[float]) -> str:
    return f"{name:<22}{np.median(times):>9.3f}{np.percentile(times, 99):>9.3f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("video", nargs="?", type=Path)
    parser.add_argument("--bundle", type=Path)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--frames", type=int, default=400)
    add_json_option(parser)
    options = parser.parse_args()
    cv2.setNumThreads(options.threads)
    bundle = Bundle.load(options.bundle) if options.bundle else Bundle.default()
    with demo_video() if options.video is None else nullcontext(options.video) as path:
        frames = read_frames(path, options.frames)
    plain = measure(frames, bundle, options.threads, staged=False)
    staged = measure(frames, bundle, options.threads, staged=True)
    alone = floor(bundle, options.threads)
    packages = ("numpy", "opencv-python", "onnxruntime", "numba", "filterpy", "pyzmq")
    print(
        f"{system()}, {platform.processor() or platform.machine()}, "
        f"Python {platform.python_version()}, {options.threads} thread(s)"
    )
    print(", ".join(f"{name} {version(name)}" for name in packages))
    print(
        f"{bundle.name} {bundle.version}; {len(plain.frames['total'])} tracked frames of "
        f"{SIZE[0]}x{SIZE[1]}\n"
    )
    print(f"{'ms':<22}{'median':>9}{'99th':>9}")
    for stage in STAGES:
        print(line(stage, staged.frames[stage]))
    print(line("whole frame", plain.frames["total"]))
    print(line("network alone (floor)", alone))
    print(f"whole / floor {np.median(plain.frames['total']) / np.median(alone):.2f}")
    times = {stage: staged.frames[stage] for stage in STAGES}
    times |= {"whole": plain.frames["total"], "floor": alone}
    quantiles = {name: np.percentile(values, [50, 99]) for name, values in times.items()}
    write_figures(options.json, {"median_and_99th_ms": quantiles})


if __name__ == "__main__":
    main()
