"""Which faces does each detector find, by their size, the regressor confirming?

python bench/detector_recall.py SET [SET ...] [--clips FOLDER] [--bundle DIR] [--lines even]

Every labelled picture is searched as it is, and reduced to a half and a quarter; a face counts in
the row of its size in the picture that was searched. Of clips, which have no labels, every tenth
frame of every file is searched in both sizes, and what one detector finds is compared with what the
other finds. Both detectors' boxes are looked at twice and confirmed by the same regressor, so that
false detections are what a user would see.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from jaxtyping import Float64, UInt8

from mien.models.errors import BundleError
from mien.models.face.bundle import Bundle
from mien.models.face.crop import tight_box
from mien.stream import FaceTracker
from mien.stream.detector.choice import check_detector
from mien.stream.detector.protocol import overlap
from mien.stream.detector_names import DetectorName
from mien.stream.sources.opening import open_source
from mien.tools.evaluate.command import read_image
from mien.tools.evaluate.estimator import Estimator
from mien.tools.evaluate.labels import LabelledImage, TrueFace, read_labels

DETECTORS: Final[tuple[DetectorName, ...]] = ("own", "centerface")
SCALES: Final = (1.0, 0.5, 0.25)
SIZES: Final = (0.0, 16.0, 24.0, 48.0, 96.0, float("inf"))
"""Edges of the rows: longer side of the landmarks' or the drawn box, px."""
EVERY: Final = 10
SAME: Final = 0.3
"""Intersection over union from which two detections are of one face."""

Picture = UInt8[np.ndarray, "H W 3"]


@dataclass
class Count:
    """What one detector made of one set.

    Attributes:
        found: faces found, by row.
        false: boxes that are no labelled face's.
    """

    found: Float64[np.ndarray, " rows"] = field(default_factory=lambda: np.zeros(len(SIZES) - 1))
    false: int = 0


def reduced(image: Picture, scale: float) -> Picture:
    """A picture at a share of its size."""
    if scale == 1.0:
        return image
    size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)


def reduced_face(face: TrueFace, scale: float) -> TrueFace:
    """Where a face lies in the reduced picture; pixel centres are at integers in both."""
    marks, box = face.landmarks_px, face.given_box_px
    if marks is not None:
        marks = (marks + 0.5) * scale - 0.5
    if box is not None:
        box = np.concatenate([(box[:2] + 0.5) * scale - 0.5, box[2:] * scale])
    return replace(face, landmarks_px=marks, given_box_px=box)


def row_of(face: TrueFace) -> int | None:
    """The row of a face that counts and whose place is known."""
    if face.ignore or face.box_px is None:
        return None
    return max(0, int(np.searchsorted(SIZES, float(face.box_px[2:].max()), "right")) - 1)


def print_set(images: Sequence[LabelledImage], name: str, bundle: Bundle) -> None:
    """Recall of both detectors on a labelled set, by size."""
    estimators = {which: Estimator(bundle, "60", 1, which) for which in DETECTORS}
    there = np.zeros(len(SIZES) - 1)
    counts = {which: Count() for which in DETECTORS}
    for image in images:
        whole = read_image(image.path)
        if whole is None:
            raise SystemExit(f"{image.path}: not a readable picture")
        for scale in SCALES:
            picture = reduced(whole, scale)
            faces = [reduced_face(face, scale) for face in image.faces]
            rows = [row_of(face) for face in faces]
            for row in rows:
                if row is not None:
                    there[row] += 1
            for which, estimator in estimators.items():
                estimates, false = estimator.detected(picture, faces)
                counts[which].false += len(false)
                for row, estimate in zip(rows, estimates, strict=True):
                    if row is not None and estimate is not None:
                        counts[which].found[row] += 1
    print(f"\n{name} at {SCALES}: of how many faces of a size each finds how many")
    for row, (low, high) in enumerate(pairwise(SIZES)):
        if there[row]:
            said = ", ".join(f"{which} {counts[which].found[row]:.0f}" for which in DETECTORS)
            print(f"  {low:3.0f} to {high:3.0f} px: {there[row]:4.0f} faces: {said}")
    print("  no labelled face's: " + ", ".join(f"{w} {c.false}" for w, c in counts.items()))


def frames(clip: Path) -> Iterator[Picture]:
    """Every tenth frame of a clip, whole and halved."""
    with open_source(clip) as source:
        for number, frame in enumerate(source):
            if number % EVERY == 0:
                for scale in SCALES[:2]:
                    yield reduced(frame.image_bgr, scale)


def print_clip(clip: Path, bundle: Bundle) -> None:
    """How far two detectors agree on the frames of a clip."""
    trackers = {w: FaceTracker(bundle, max_faces=20, detector=w) for w in DETECTORS}
    both, only, pictures = 0, dict.fromkeys(DETECTORS, 0), 0
    for picture in frames(clip):
        pictures += 1
        boxes = {
            which: np.array(
                [tight_box(row.landmarks_px) for row in tracker.fit(picture)], np.float32
            )
            for which, tracker in trackers.items()
        }
        mine, theirs = (boxes[which].reshape(-1, 4) for which in DETECTORS)
        shared = sum(bool((overlap(box, theirs) >= SAME).any()) for box in mine)
        both += shared
        only["own"] += len(mine) - shared
        only["centerface"] += len(theirs) - shared
    said = ", ".join(f"by {which} alone {number}" for which, number in only.items())
    print(f"  {clip.name}: {pictures} pictures, by both {both}, {said}")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("sets", nargs="+", type=Path)
    parser.add_argument("--clips", type=Path)
    parser.add_argument("--bundle", type=Path)
    parser.add_argument("--lines", choices=("all", "even", "odd"), default="all")
    options = parser.parse_args()
    try:
        for name in DETECTORS:
            check_detector(name)
    except BundleError as error:
        parser.error(str(error))
    bundle = Bundle.load(options.bundle) if options.bundle else Bundle.default()
    for folder in options.sets:
        print_set(read_labels(folder, options.lines), folder.name, bundle)
    if options.clips is not None:
        print("\nframes of clips")
        for clip in sorted(path for path in options.clips.iterdir() if path.is_file()):
            print_clip(clip, bundle)


if __name__ == "__main__":
    main()
