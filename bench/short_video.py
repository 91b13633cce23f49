"""What does a frame of a short video cost, part by part, and against one without profiling?

    python bench/short_video.py

A training picture of 144 px under the paper's noise, on one core. Times are of the processor, so
that other work on the machine counts little; the ratio is against warping the same picture by a
similarity and adding the same noise and blur, which is what a frame without profiling would cost.
"""

from __future__ import annotations

import platform
import time
from collections.abc import Callable
from importlib import resources
from pathlib import Path

import cv2
import numpy as np

from mien.models.face.camera import Camera
from mien.models.face.morphable import FaceModel
from mien.models.face.rotation import matrix_from_yaw_pitch_roll
from mien.models.noise.placed_face import LabelledFaces, PlacedFace
from mien.models.noise.video import VideoNoise, degraded, moved_picture, short_video, similarity

SIZE, ROUNDS = 144, 60


def measured(name: str, work: Callable[[], object], frames: int = 1) -> float:
    """Median milliseconds a frame."""
    work()
    times = []
    for _ in range(ROUNDS):
        begin = time.process_time_ns()
        work()
        times.append((time.process_time_ns() - begin) / 1e6 / frames)
    median, slow = np.median(times), np.percentile(times, 99)
    print(f"{name:34s} median {median:6.2f} ms   99th percentile {slow:6.2f} ms")
    return float(median)


def main() -> None:
    cv2.setNumThreads(1)
    path = Path(str(resources.files("mien.models.weights.default"))) / "face_model.npz"
    model = FaceModel.load(path)
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)
    rotation = matrix_from_yaw_pitch_roll(np.array([20.0, -5.0, 5.0]))
    camera = Camera(420.0, 420.0, 71.5, 62.0, SIZE, SIZE)
    place = np.array([0.0, 0.0, 700.0])
    face = PlacedFace.perspective(model.mean, model.triangles, rotation, place, camera)
    points = [*model.landmark_vertices.tolist(), *range(0, len(model.mean), 15)]
    labelled = LabelledFaces(model, points)
    labels = np.zeros(40, np.float32), np.zeros(52, np.float32), face.pose, face.pixels[points]
    affine = similarity(1.03, 2.0, np.array([3.0, -2.0]), np.array([71.5, 71.5]))
    turn = matrix_from_yaw_pitch_roll(np.array([4.0, -3.0, 0.0]))
    config = VideoNoise()
    print(f"{platform.machine()}, opencv {cv2.__version__}, {SIZE} px, {len(model.mean)} vertices")
    measured("placed face of labels, once a video", lambda: labelled.place(*labels))
    measured("turn and similarity (profiling)", lambda: moved_picture(image, face, turn, affine))
    flat = measured("similarity alone", lambda: moved_picture(image, None, turn, affine))
    noise = measured("noise and motion blur", lambda: degraded(image, config, rng))
    whole = measured(
        "a frame of a short video", lambda: short_video(image, face, config, rng), config.frames
    )
    print(f"a frame is {whole / (flat + noise):.1f} times one without profiling")


if __name__ == "__main__":
    main()
