"""A contact sheet of training pictures, half of them with their landmarks drawn."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from jaxtyping import UInt8

from ..errors import InputError
from .shards import ShardMeta, load_shard


def contact_sheet(folder: Path, count: int = 60, columns: int = 10) -> UInt8[np.ndarray, "H W 3"]:
    """Pictures of the first finished shard of a folder, BGR.

    Raises:
        InputError: the folder holds no finished shard, or a damaged one.
    """
    shards = sorted(folder.glob("shard-[0-9][0-9][0-9][0-9][0-9].npz"))
    if not shards:
        raise InputError(f"{folder}: no finished shard (shard-*.npz) in it")
    shard = load_shard(folder, int(shards[0].stem[6:]), ShardMeta.load(folder))
    images, points, presence = shard.images, shard.labels.points[:, :68], shard.labels.presence
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
