"""Where is the regressor wrong on real faces? The worst and the middle of a set, as outlines.

    python bench/outlines.py SET [--count 8] [--json FILE.json] [--sheet FILE.jpg]

SET is a labelled folder (tools/evaluate/labels.py). The regressor sees the true boxes, as with
``mien evaluate --use-boxes``, whose ``--json`` may be given instead of measuring again. Truth is
green, the estimate red; upper row the worst faces, lower row those about the median. Outlines
only: the pictures of an evaluation set are not ours to print.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import cv2
import numpy as np

TILE = 200
RUNS = (
    (0, 17),  # jaw
    (17, 22),
    (22, 27),
    (27, 31),
    (31, 36),
    (36, 42),
    (42, 48),
    (48, 60),
    (60, 68),
)
CLOSED = (36, 42, 48, 60)
GREEN, RED, GREY = (60, 140, 20), (40, 40, 220), (90, 90, 90)


def pairs(labels: Path, found: Path) -> list[tuple[float, np.ndarray, np.ndarray]]:
    """NME in %, true and estimated landmarks of each face that has both, worst first."""
    truth = {}
    for line in (labels / "labels.jsonl").read_text(encoding="utf-8").splitlines():
        entry = json.loads(line)
        for index, face in enumerate(entry["faces"]):
            truth[entry["image"], index] = face.get("landmarks")
    faces = []
    for face in json.loads(found.read_text(encoding="utf-8"))["faces"]:
        true = truth.get((face["image"], face["index"]))
        if true is None or not face["found"]:
            continue
        right, said = np.array(true, float), np.array(face["landmarks"], float)
        side = np.sqrt(np.prod(np.ptp(right, axis=0)))
        error = float(np.linalg.norm(said - right, axis=1).mean() / side * 100)
        faces.append((error, right, said))
    return sorted(faces, key=lambda face: -face[0])


def tile(error: float, right: np.ndarray, said: np.ndarray) -> np.ndarray:
    """One face: both outlines, and the error."""
    picture = np.full((TILE, TILE, 3), 250, np.uint8)
    both = np.concatenate([right, said])
    scale = (TILE - 50) / np.ptp(both, axis=0).max()
    middle = (both.min(axis=0) + both.max(axis=0)) / 2
    for points, colour in ((right, GREEN), (said, RED)):
        placed = ((points - middle) * scale + (TILE / 2, TILE / 2 + 8)) * 16
        for first, last in RUNS:
            line = placed[first:last].round().astype(np.int32)
            cv2.polylines(picture, [line], first in CLOSED, colour, 1, cv2.LINE_AA, 4)
    cv2.putText(picture, f"{error:.1f} %", (6, 16), cv2.FONT_HERSHEY_SIMPLEX, 0.45, GREY, 1, 16)
    return picture


def sheet(faces: list[tuple[float, np.ndarray, np.ndarray]], count: int) -> np.ndarray:
    """The worst in the upper row, those about the median in the lower."""
    begin = max(0, len(faces) // 2 - count // 2)
    rows = (faces[:count], faces[begin : begin + count])
    return np.vstack([np.hstack([tile(*face) for face in row]) for row in rows])


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("set", type=Path)
    parser.add_argument("--count", type=int, default=8)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--sheet", type=Path, default=Path("outlines.jpg"))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = options.json or Path(folder) / "found.json"
        if options.json is None:
            evaluate = "import sys; from mien.tools.cli import main; sys.exit(main())"
            words = ["evaluate", str(options.set), "--use-boxes", "--json", str(found)]
            subprocess.run([sys.executable, "-c", evaluate, *words], check=True)
        faces = pairs(options.set, found)
    if len(faces) < 2 * options.count:
        print(f"{options.set}: {len(faces)} faces with landmarks, two rows need more")
        return 1
    cv2.imwrite(str(options.sheet), sheet(faces, options.count), [cv2.IMWRITE_JPEG_QUALITY, 90])
    print(f"wrote {options.sheet}: {faces[0][0]:.2f} % at worst, of {len(faces)} faces")
    return 0


if __name__ == "__main__":
    sys.exit(main())
