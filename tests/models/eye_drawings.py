"""Pictures of drawn eyes whose lids and gaze are known, as shards of the eyes' training."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from mien.models.face.bundle import Bundle
from mien.models.face.eye_views import EYE_COLUMNS, EYE_UNITS, EyePlaces
from mien.models.synthetic.eye_shards import (
    STRIP_HEIGHT,
    STRIP_PX_PER_MM,
    STRIP_WIDTH,
    EyeLabels,
    face_model_number,
    save_meta,
    save_shard,
)

BLINK, OUT, IN = (EYE_UNITS.index(name) for name in ("eyeBlink", "eyeLookOut", "eyeLookIn"))


def drawn(places: EyePlaces, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A frontal face's eyes: the picture, its pose, and the 52 blendshapes."""
    pose = np.eye(3, 4, dtype=np.float32) * np.float32(STRIP_PX_PER_MM)
    pose[:2, 3] = (STRIP_WIDTH - 1) / 2, (STRIP_HEIGHT - 1) / 2
    pose[:2, 3] -= STRIP_PX_PER_MM * places.mean.mean(0)[:2]
    image = np.full((STRIP_HEIGHT, STRIP_WIDTH, 3), (120, 150, 190), np.uint8)
    values = np.zeros(52, np.float32)
    to_left = rng.uniform(-1, 1)
    for eye, out in enumerate((to_left, -to_left)):
        closed = rng.random() < 0.4
        columns = EYE_COLUMNS[eye]
        values[columns[BLINK]] = 1.0 if closed else 0.0
        values[columns[OUT]], values[columns[IN]] = max(out, 0), max(-out, 0)
        x, y = (pose[:2, :3] @ places.mean[eye] + pose[:2, 3]).tolist()
        at, half = (round(x), round(y)), (24, 1 if closed else 11)
        cv2.ellipse(image, at, half, 0, 0, 360, (240, 240, 240), -1)
        if not closed:
            cv2.circle(image, (round(x + 12 * to_left), round(y)), 9, (30, 40, 60), -1)
    noise = rng.normal(0, 4, image.shape)
    return np.clip(image + noise, 0, 255).astype(np.uint8), pose, values


def write_drawings(folder: Path, places: EyePlaces, shards: int, each: int) -> None:
    """A folder of such shards."""
    folder.mkdir(parents=True)
    made_with = face_model_number(Bundle.default().folder / "face_model.npz")
    save_meta(folder, {"seed": 0, "shard_size": each, "assets": 0, "face_model": made_with})
    for number in range(shards):
        rng = np.random.default_rng(number)
        images, poses, values = zip(*(drawn(places, rng) for _ in range(each)), strict=True)
        shape = np.zeros((each, 40), np.float32)
        save_shard(
            folder, number, np.stack(images), EyeLabels(np.stack(poses), shape, np.stack(values))
        )
