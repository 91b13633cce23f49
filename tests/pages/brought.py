"""What the pages tell a reader to bring: a clip, photos, labelled sets."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from mien.stream import FaceTracker
from mien.stream.sources.opening import open_source
from mien.tools.demo import demo_clip

_EVERY = 4
"""Of the demo clip's pictures every fourth: 45 of 480 px."""
_LIVE_S = 6


def bring(folder: Path, make_video: Callable[..., Path]) -> None:
    """Write ``talk.mp4``, ``photo.jpg`` and what else pages name into a reader's folder."""
    with demo_clip() as path, open_source(path) as source:
        pictures = [frame.image_bgr for frame in source if frame.index % _EVERY == 0]
    small = [np.asarray(cv2.resize(one, (320, 320)), np.uint8) for one in pictures]
    make_video(folder / "talk.mp4", small)
    loop = [*small, *reversed(small)]
    make_video(folder / "camera.mp4", (loop * _LIVE_S)[: 25 * _LIVE_S])
    cv2.imwrite(str(folder / "photo.jpg"), pictures[0])
    (folder / "photos").mkdir()
    shutil.copy(folder / "photo.jpg", folder / "photos/anna.jpg")
    for tree in ("interviews", "data/interviews"):
        for name in ("anna/1.mp4", "ben/1.mp4"):
            (folder / tree / name).parent.mkdir(parents=True)
            shutil.copy(folder / "talk.mp4", folder / tree / name)
    for name in ("helen", "dlib", "pointing04", "noface"):
        _labelled(folder / name, pictures[0], face=name != "noface")


def _labelled(folder: Path, picture: np.ndarray, *, face: bool) -> None:
    """A set of two pictures, labelled with mien's own fit."""
    folder.mkdir()
    faces = []
    if face:
        (fit,) = FaceTracker().fit(picture)
        box = [fit.box_x, fit.box_y, fit.box_w, fit.box_h]
        points = np.reshape(fit.landmarks, (68, 2)).tolist()
        faces = [{"box": box, "landmarks": points, "yaw": fit.yaw, "pitch": fit.pitch}]
    else:
        picture = np.full_like(picture, 90)
    lines = []
    for number in range(2):
        cv2.imwrite(str(folder / f"{number}.png"), picture)
        lines.append(json.dumps({"image": f"{number}.png", "faces": faces}))
    (folder / "labels.jsonl").write_text("\n".join(lines) + "\n")
