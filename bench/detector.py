"""How long does mien's own detector take against CenterFace, side by side in one process?

python bench/detector.py [DETECTOR.onnx]

Both look once at the same random picture at 320 px, one thread each, in turn; the ratio is the
figure that holds on other machines.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import numpy as np

from mien.models.face.bundle import Bundle
from mien.stream.detector import CenterFaceDetector, OwnDetector

ROUNDS = 60


def measured(looks: Mapping[str, Callable[[], object]]) -> dict[str, np.ndarray]:
    """Seconds of each look in each round, in turn."""
    seconds: dict[str, list[float]] = {name: [] for name in looks}
    for number in range(ROUNDS + 3):
        for name, look in looks.items():
            start = time.perf_counter()
            look()
            if number >= 3:
                seconds[name].append(time.perf_counter() - start)
    return {name: np.array(values) for name, values in seconds.items()}


def main() -> None:
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else Bundle.default().detector_path
    if path is None:
        sys.exit("the shipped bundle has no detector; name one: python bench/detector.py FILE.onnx")
    own, centerface = OwnDetector(path), CenterFaceDetector()
    for height, width in ((240, 320), (480, 640)):
        image = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
        looks = {
            "own": partial(own._look, image, 320),
            "centerface": partial(centerface._look, image, 320, 0.5),
        }
        seconds = measured(looks)
        for name, values in seconds.items():
            median, late = 1e3 * np.median(values), 1e3 * np.percentile(values, 99)
            least = 1e3 * values.min()
            print(
                f"{width} x {height} at 320 px, {name:10s} median {median:6.2f} ms, "
                f"99th percentile {late:6.2f}, least {least:6.2f}"
            )
        ratio = np.median(seconds["own"] / seconds["centerface"])
        print(f"{width} x {height}: own takes {ratio:.2f} of CenterFace's time")


if __name__ == "__main__":
    main()
