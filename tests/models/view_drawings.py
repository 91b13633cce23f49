"""Drawn faces whose lids, gaze and mouth are known, as shards of the blendshapes' training."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from mien.models.face.bundle import Bundle
from mien.models.face.names import BLENDSHAPE_INDEX
from mien.models.face.views import MOUTH, ViewPlaces
from mien.models.synthetic.closeup_shards import (
    CLOSEUP_HEIGHT,
    CLOSEUP_PX_PER_MM,
    CLOSEUP_WIDTH,
    CloseupLabels,
    face_model_number,
    save_meta,
    save_shard,
)

BLINK, OUT, IN = (
    [BLENDSHAPE_INDEX[name + side] for side in ("Left", "Right")]
    for name in ("eyeBlink", "eyeLookOut", "eyeLookIn")
)
"""Columns of the left and the right eye."""
JAW, TO_LEFT, TO_RIGHT = (BLENDSHAPE_INDEX[n] for n in ("jawOpen", "mouthLeft", "mouthRight"))


def drawn(
    places: ViewPlaces, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A frontal face's eyes and mouth: the picture, its pose, and the 52 blendshapes."""
    pose = np.eye(3, 4, dtype=np.float32) * np.float32(CLOSEUP_PX_PER_MM)
    pose[:2, 3] = (CLOSEUP_WIDTH - 1) / 2, (CLOSEUP_HEIGHT - 1) / 2
    middle = (places.mean[:MOUTH].mean(0) + places.mean[MOUTH]) / 2
    pose[:2, 3] -= CLOSEUP_PX_PER_MM * middle[:2]
    image = np.full((CLOSEUP_HEIGHT, CLOSEUP_WIDTH, 3), (120, 150, 190), np.uint8)
    values = np.zeros(52, np.float32)
    to_left = rng.uniform(-1, 1)
    for eye, out in enumerate((to_left, -to_left)):
        closed = rng.random() < 0.4
        values[BLINK[eye]] = 1.0 if closed else 0.0
        values[OUT[eye]], values[IN[eye]] = max(out, 0), max(-out, 0)
        x, y = (pose[:2, :3] @ places.mean[eye] + pose[:2, 3]).tolist()
        at, half = (round(x), round(y)), (22, 1 if closed else 10)
        cv2.ellipse(image, at, half, 0, 0, 360, (240, 240, 240), -1)
        if not closed:
            cv2.circle(image, (round(x + 11 * to_left), round(y)), 8, (30, 40, 60), -1)
    values[JAW], aside = rng.uniform(0, 1), rng.uniform(-1, 1)
    values[TO_LEFT], values[TO_RIGHT] = max(aside, 0), max(-aside, 0)
    x, y = (pose[:2, :3] @ places.mean[MOUTH] + pose[:2, 3]).tolist()
    half = (30, round(4 + 24 * float(values[JAW])))
    cv2.ellipse(image, (round(x + 16 * aside), round(y)), half, 0, 0, 360, (40, 30, 90), -1)
    noise = rng.normal(0, 4, image.shape)
    return np.clip(image + noise, 0, 255).astype(np.uint8), pose, values


def write_drawings(folder: Path, places: ViewPlaces, shards: int, each: int) -> None:
    """A folder of such shards."""
    folder.mkdir(parents=True)
    made_with = face_model_number(Bundle.default().folder / "face_model.npz")
    save_meta(folder, {"seed": 0, "shard_size": each, "assets": 0, "face_model": made_with})
    for number in range(shards):
        rng = np.random.default_rng(number)
        images, poses, values = zip(*(drawn(places, rng) for _ in range(each)), strict=True)
        shape = np.zeros((each, 40), np.float32)
        save_shard(
            folder,
            number,
            np.stack(images),
            CloseupLabels(np.stack(poses), shape, np.stack(values)),
        )
