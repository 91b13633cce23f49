"""A contact sheet of training pictures, half of them with their landmarks drawn."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from jaxtyping import UInt8

from ..errors import InputError


def contact_sheet(folder: Path, count: int = 60, columns: int = 10) -> UInt8[np.ndarray, "H W 3"]:
    """Pictures of the first finished shard of a folder, BGR.

    Raises:
        InputError: the folder holds no finished shard.
    """
    shards = sorted(folder.glob("shard-*.npz"))
    if not shards:
        raise InputError(f"{folder}: no finished shard (shard-*.npz) in it")
    images = np.load(shards[0].with_suffix(".images.npy"), mmap_mode="r", allow_pickle=False)
    with np.load(shards[0], allow_pickle=False) as labels:
        points, presence = labels["points"][:, :68], labels["presence"]
    tiles = []
    for i in range(min(count, len(images) // columns * columns)):
        tile = np.array(images[i])
        if i % 2 and presence[i] > 0:
            for point in points[i]:
                at = tuple(np.round(point * 8).astype(int).tolist())
                cv2.circle(tile, at, 6, (0, 255, 0), -1, cv2.LINE_AA, 3)
        tiles.append(tile)
    rows = [np.concatenate(tiles[i : i + columns], 1) for i in range(0, len(tiles), columns)]
    return np.concatenate(rows)
