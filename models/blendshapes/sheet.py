"""A sheet of close-ups: each, and beside it the views that a training might see."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from jaxtyping import UInt8

from ..face.morphable import FaceModel
from ..face.views import ViewPlaces
from ..synthetic.closeup_shards import CLOSEUP_HEIGHT, check_face_model, load_shards
from .dataset import LookConfig, ViewSource


def closeup_sheet(
    folder: Path, face_model: Path, count: int = 24, columns: int = 6
) -> UInt8[np.ndarray, "H W 3"]:
    """Pictures of the first finished shard of a folder, BGR; the right eye's view is mirrored.

    Raises:
        InputError: the folder holds no finished shard, or the face model cannot be read.
    """
    check_face_model(folder, face_model)
    shard = load_shards(folder)[0]
    source = ViewSource([shard], ViewPlaces.of(FaceModel.load(face_model)), LookConfig())
    columns = min(columns, len(shard))
    rows = np.arange(min(count, len(shard)) // columns * columns)
    batch = source.batch(rows, np.random.default_rng(0))
    tiles = []
    for row, views in zip(rows, batch.views, strict=True):
        stack = np.concatenate(list(views))
        size = (round(stack.shape[1] * CLOSEUP_HEIGHT / stack.shape[0]), CLOSEUP_HEIGHT)
        tiles.append(np.concatenate([np.asarray(shard.images[row]), cv2.resize(stack, size)], 1))
    return np.concatenate(
        [np.concatenate(tiles[i : i + columns], 1) for i in range(0, len(tiles), columns)]
    )
