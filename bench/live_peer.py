"""MediaPipe's side of ``face_work.py`` and ``live.py``; runs in a Python that has mediapipe.

With ``--frames`` (raw RGB, 640x480) a line ``BEGIN COUNT`` on standard input is answered with what
each frame of that block took, as a line of JSON. With ``--url`` it follows a motion JPEG stream,
the newest frame at a time, and writes a line of JSON a frame. Needs numpy, OpenCV and mediapipe.
"""

from __future__ import annotations

import argparse
import json
import sys
import threading
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import cv2
import mediapipe as mp  # pyright: ignore[reportMissingImports] - of another environment
import numpy as np
from live_measures import fold, multipart_pictures
from mediapipe.tasks.python import (  # pyright: ignore[reportMissingImports]
    BaseOptions,
    vision,
)

WIDTH, HEIGHT = 640, 480
RATE = 30.0


def open_landmarker(task: Path) -> Any:
    """One face, with blendshapes, video mode, CPU."""
    return vision.FaceLandmarker.create_from_options(
        vision.FaceLandmarkerOptions(
            base_options=BaseOptions(model_asset_path=str(task)),
            running_mode=vision.RunningMode.VIDEO,
            num_faces=1,
            output_face_blendshapes=True,
        )
    )


def blocks(landmarker: Any, frames: np.ndarray) -> None:
    """Answer requests for blocks until standard input ends."""
    images = [picture(one) for one in frames]
    for line in sys.stdin:
        begin, count = map(int, line.split())
        took, seen = [], 0
        for i in range(begin, begin + count):
            image = images[fold(i, len(images))]
            start = time.perf_counter_ns()
            result = landmarker.detect_for_video(image, round(i * 1000 / RATE))
            took.append((time.perf_counter_ns() - start) * 1e-6)
            seen += bool(result.face_landmarks and result.face_blendshapes)
        answer({"took_ms": took, "seen": seen})


def follow(landmarker: Any, url: str, out: Path) -> None:
    """Follow a stream for ever; a thread reads and decodes, only the newest frame is kept."""
    newest: list[tuple[int, int, np.ndarray]] = []
    changed = threading.Condition()

    def read() -> None:
        for index, data in enumerate(multipart_pictures(url)):
            arrival_ns = time.perf_counter_ns()
            image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)
            if image is None:
                continue
            with changed:
                newest[:] = [(index, arrival_ns, image)]
                changed.notify()

    threading.Thread(target=read, daemon=True).start()
    with out.open("w", buffering=1) as file:
        while True:
            with changed:
                changed.wait_for(lambda: newest)
                ((index, arrival_ns, image),) = newest
                newest.clear()
            result = landmarker.detect_for_video(picture(image), arrival_ns // 1_000_000)
            row = {
                "frame": index,
                "t_arrival_ns": arrival_ns,
                "t_done_ns": time.perf_counter_ns(),
                "faces": len(result.face_landmarks),
            }
            file.write(json.dumps(row) + "\n")


def picture(image_rgb: np.ndarray) -> Any:
    return mp.Image(image_format=mp.ImageFormat.SRGB, data=np.ascontiguousarray(image_rgb))


def answer(what: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--task", type=Path, required=True)
    parser.add_argument("--frames", type=Path, help="raw RGB, 640x480")
    parser.add_argument("--count", type=int, help="of the frames")
    parser.add_argument("--url", help="http:// motion JPEG to follow")
    parser.add_argument("--out", type=Path, help="file for what was followed")
    options = parser.parse_args()
    with open_landmarker(options.task) as landmarker:
        if options.url is not None:
            follow(landmarker, options.url, options.out)
            return
        shape = (options.count, HEIGHT, WIDTH, 3)
        frames = np.memmap(options.frames, np.uint8, "r", shape=shape)
        answer({"mediapipe": version("mediapipe")})
        blocks(landmarker, frames)


if __name__ == "__main__":
    main()
