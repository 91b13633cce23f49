"""Blinks of real people: frames that were looked at, and hand-placed lids.

The frames of each clip were looked at one by one, as pictures of the eyes: *closed* are those in
which no iris shows, *open* those in which it plainly does; what is between is left out.
"""

from __future__ import annotations

import json
from itertools import islice
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from mien.models.face.agreement import roc_area
from mien.models.face.bundle import Bundle
from mien.models.face.crop import crop_from_landmarks
from mien.models.face.names import BLENDSHAPE_INDEX
from mien.stream import FaceTracker
from mien.stream.fit import FaceFitter

BLINKS = (BLENDSHAPE_INDEX["eyeBlinkRight"], BLENDSHAPE_INDEX["eyeBlinkLeft"])
CLIPS = {
    "cap13_edit2.mp4": ([98, 99, 100, 101], [*range(10, 51), *range(68, 92)]),
    "carphone_pristine.mp4": (
        [42, 92, 112, 113],
        [*range(40), *range(45, 90), *range(96, 110), *range(115, 120)],
    ),
    "grid_GRID_bbaf2n.mpg": ([43, 44, 51, 52, 53], [*range(41), *range(62, 75)]),
    "grid_GRID_brbk7n.mpg": ([21, 22], [*range(19), *range(25, 75)]),
    "grid_GRID_lbax4n.mpg": ([27, 28, 29, 30], [*range(26), *range(45, 75)]),
}
"""Name: frames with closed eyes, frames with open eyes."""


def lids(path: Path, last: int) -> dict[int, tuple[float, float]]:
    """eyeBlinkRight and eyeBlinkLeft of every frame in which the face was seen, unsmoothed."""
    tracker = FaceTracker(smoothing="raw")
    found = {}
    with av.open(str(path)) as clip:
        for k, frame in enumerate(islice(clip.decode(video=0), last + 1)):
            image = frame.to_ndarray(format="bgr24")
            rows = [row for row in tracker.update(image, k * 40_000_000) if row.observed]
            if rows and rows[0].blendshapes is not None:
                right, left = (float(rows[0].blendshapes[i]) for i in BLINKS)
                found[k] = (right, left)
    return found


@pytest.mark.parametrize("name", list(CLIPS))
def test_a_real_blink_crosses_a_half_and_open_eyes_do_not(eval_dir: Path, name: str) -> None:
    path = eval_dir / "video" / name
    if not path.is_file():
        pytest.skip(f"{path} is not there")
    closed, opened = CLIPS[name]
    found = lids(path, max(*closed, *opened))
    assert set(closed) | set(opened) <= found.keys()
    for k in closed:
        assert np.mean(found[k]) >= 0.5, (k, found[k])
    high = [k for k in opened if np.mean(found[k]) >= 0.5]
    assert len(high) <= 0.02 * len(opened), high


def opening(lid_px: np.ndarray) -> float:
    """Height of an eye over its width, from its six landmarks."""
    height = np.linalg.norm(lid_px[1] - lid_px[5]) + np.linalg.norm(lid_px[2] - lid_px[4])
    return float(height / (2 * np.linalg.norm(lid_px[0] - lid_px[3])))


def test_closed_eyes_of_helen_are_told_from_open_ones(eval_dir: Path) -> None:
    """Even lines only: closed where the hand-placed lids touch, open over a fifth of the width."""
    lines = (eval_dir / "helen" / "labels.jsonl").read_text(encoding="utf-8").splitlines()[::2]
    bundle = Bundle.default()
    fitter = FaceFitter.of_bundle(bundle)
    scores, closed = [], []
    opened = 0
    for entry in map(json.loads, lines):
        marks = np.array(entry["faces"][0]["landmarks"], np.float64)
        openings = [opening(marks[36:42]), opening(marks[42:48])]
        shut = max(openings) < 0.05
        opened += not shut
        if not shut and (min(openings) < 0.2 or opened > 40):
            continue
        image = cv2.imread(str(eval_dir / "helen" / entry["image"]))
        assert image is not None
        (seen,) = fitter.look(np.asarray(image, np.uint8), [crop_from_landmarks(marks)])
        assert seen is not None
        assert seen.blendshapes is not None
        scores += [float(seen.blendshapes[i]) for i in BLINKS]
        closed += [shut, shut]
    said, true = np.array(scores), np.array(closed)
    assert true.sum() >= 6
    assert roc_area(said, true) > 0.95
    # Six eyes of three children who laugh or squint; one of them reads 0.37.
    assert (said[true] >= 0.5).mean() >= 0.6, said[true]
    assert (said[~true] >= 0.5).mean() < 0.1
