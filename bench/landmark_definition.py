"""Where do hand-placed landmarks lie on the mesh? Proposes vertices from the even lines of a set.

python bench/landmark_definition.py SET [SET ...]. For near-frontal faces the distance from mien's
landmark to the hand-placed one is carried into the head frame (mm); its median, made symmetrical,
is printed a landmark, with the vertex that would be nearest. Only even lines are read, so that odd
ones remain for reporting. The proposals are a help, the choice is made by hand: the mesh is coarse
on the jaw, lids stay as they are (there the median tells of the regressor's habits, not of the
definition), and inner lips may only slide along the lips' rim.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import cv2
import numpy as np

from mien.models.face.bundle import Bundle
from mien.models.face.crop import crop_from_landmarks
from mien.models.face.morphable import FaceModel
from mien.models.face.names import LANDMARK_MIRROR
from mien.stream.fit import FaceFitter

FRONTAL_DEG = 20.0
FIXED = {*range(37, 39), *range(40, 42), *range(43, 45), *range(46, 48)}


def residuals(folder: Path, fitter: FaceFitter) -> list[np.ndarray]:
    """(68, 2) hand-placed minus mien's, head frame x and y, mm, of each near-frontal face."""
    found = []
    for line in (folder / "labels.jsonl").read_text().splitlines()[::2]:
        entry = json.loads(line)
        image = cv2.imread(str(folder / entry["image"]))
        for face in entry["faces"]:
            if image is None or "landmarks" not in face or face.get("ignore"):
                continue
            true = np.array(face["landmarks"], float)
            (seen,) = fitter.look(image, [crop_from_landmarks(true)])
            if seen is None:
                continue
            scale = np.linalg.norm(seen.orthography[0, :3])
            rotation = seen.orthography[:, :3] / scale
            if np.degrees(np.arccos(np.clip(rotation[2, 2], -1, 1))) > FRONTAL_DEG:
                continue
            px_per_mm = scale * seen.crop.side / 120
            flat = np.c_[(true - seen.landmarks_px) / px_per_mm, np.zeros(68)]
            found.append((flat @ rotation)[:, :2])
    return found


def propose(model: FaceModel, offset: np.ndarray) -> list[tuple[int, int, np.ndarray]]:
    """(landmark, vertex, head-frame position) nearest to each shifted landmark."""
    proposals = []
    for k in range(68):
        at = model.mean[model.landmark_vertices[k]]
        goal = at[:2] + offset[k]
        # Depth counts a little, so that a point stays on its side of a fold.
        cost = np.hypot(*(model.mean[:, :2] - goal).T) + 0.3 * np.abs(model.mean[:, 2] - at[2])
        best = int(cost.argmin())
        proposals.append((k, best, model.mean[best]))
    return proposals


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sets", nargs="+", type=Path)
    sets = parser.parse_args().sets
    bundle = Bundle.default()
    model = bundle.face_model
    fitter = FaceFitter.of_bundle(bundle)
    every = np.array([r for folder in sets for r in residuals(folder, fitter)])
    median = np.median(every, 0)
    offset = (median + median[list(LANDMARK_MIRROR)] * [-1, 1]) / 2
    print(f"{len(every)} faces within {FRONTAL_DEG:.0f} degrees of frontal")
    print("landmark   dx mm   dy mm   vertex -> nearest (base mesh)")
    with np.load(bundle.folder / "face_model.npz", allow_pickle=False) as archive:
        base = archive["base_vertices"]
    for k, best, _ in propose(model, offset):
        now = model.landmark_vertices[k]
        note = "" if k not in FIXED else "   (kept)"
        print(f"{k:8d} {offset[k, 0]:7.1f} {offset[k, 1]:7.1f}   {base[now]} -> {base[best]}{note}")


if __name__ == "__main__":
    main()
