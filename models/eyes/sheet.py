"""A sheet of rendered eyes: each picture, and under it the views that a training might see."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from jaxtyping import UInt8

from ..face.eye_views import EyePlaces
from ..face.morphable import FaceModel
from ..synthetic.eye_shards import STRIP_WIDTH, check_face_model, load_shards
from .dataset import EyeSource, LookConfig


def eyes_sheet(
    folder: Path, face_model: Path, count: int = 24, columns: int = 6
) -> UInt8[np.ndarray, "H W 3"]:
    """Pictures of the first finished shard of a folder, BGR; the right eye's view is mirrored.

    Raises:
        InputError: the folder holds no finished shard, or the face model cannot be read.
    """
    check_face_model(folder, face_model)
    shard = load_shards(folder)[0]
    source = EyeSource([shard], EyePlaces.of(FaceModel.load(face_model)), LookConfig())
    columns = min(columns, len(shard))
    rows = np.arange(min(count, len(shard)) // columns * columns)
    batch = source.batch(rows, np.random.default_rng(0))
    tiles = []
    for row, views in zip(rows, batch.eyes, strict=True):
        both = np.concatenate(list(views), 1)
        size = (STRIP_WIDTH, round(both.shape[0] * STRIP_WIDTH / both.shape[1]))
        tiles.append(np.concatenate([np.asarray(shard.images[row]), cv2.resize(both, size)]))
    return np.concatenate(
        [np.concatenate(tiles[i : i + columns], 1) for i in range(0, len(tiles), columns)]
    )
