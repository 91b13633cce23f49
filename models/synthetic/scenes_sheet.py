"""A sheet of composed scenes with the faces that count (green) and that do not (red)."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from jaxtyping import UInt8

from .scenes_bank import CutOutFolder
from .scenes_compose import Composer, Scene
from .scenes_ground import Grounds

_SIZE = 224


def scenes_sheet(folder: Path, count: int = 24, columns: int = 8) -> UInt8[np.ndarray, "H W 3"]:
    """Scenes of the first finished shard of a folder, BGR.

    Raises:
        InputError: the folder holds no finished shard.
    """
    shards = CutOutFolder(folder, validation=0).training[:1]
    composer = Composer(shards, Grounds(0, count=40))
    scenes = [composer.compose(np.random.default_rng([0, i]), _SIZE, _SIZE) for i in range(count)]
    tiles = [_marked(scene) for scene in scenes]
    rows = [np.concatenate(tiles[i : i + columns], 1) for i in range(0, count, columns)]
    return np.concatenate(rows)


def _marked(scene: Scene) -> UInt8[np.ndarray, "H W 3"]:
    image = scene.image.copy()
    for (x, y, w, h), counted in zip(scene.boxes.tolist(), scene.counted.tolist(), strict=True):
        colour = (0, 255, 0) if counted else (0, 0, 255)
        low, high = (round(x), round(y)), (round(x + w), round(y + h))
        cv2.rectangle(image, low, high, colour, 1)
    return image
