"""What the maps should be for a scene."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float32, UInt8

from ..synthetic.scenes_compose import Scene
from .network import STRIDE

_SPREAD = 0.1
"""Standard deviation of a face's peak over the side of its box."""
_LEAST_SPREAD = 0.5
"""The same in cells, at least."""
_NEAR = 0.5
"""Height of the peak from which a cell learns the box."""


class DetectorBatch(NamedTuple):
    """B pictures of one size and their maps of h x w cells, h = H / 4, w = W / 4.

    Attributes:
        pictures: (B, H, W, 3) BGR.
        heat: (B, 1, h, w) 1 in the cell with a face's middle, falling off around it.
        free: (B, 1, h, w) false where a face lies that counts neither way.
        box: (B, 4, h, w) as :class:`.network.DetectorOutput`, where ``weight`` is positive.
        weight: (B, 1, h, w) of each cell for the box; 1 in all a face.
    """

    pictures: UInt8[np.ndarray, "B H W 3"]
    heat: Float32[np.ndarray, "B 1 h w"]
    free: Bool[np.ndarray, "B 1 h w"]
    box: Float32[np.ndarray, "B 4 h w"]
    weight: Float32[np.ndarray, "B 1 h w"]


def cells_of(boxes: Float32[np.ndarray, "K 4"]) -> Float32[np.ndarray, "K 4"]:
    """Boxes x, y, w, h in px as middle (down, right) and size (height, width) in cells.

    Pixel centres are at integers, so cell 0 covers -0.5 to 3.5 px and its middle is at 1.5 px; the
    middle of cell (i, j) is at (i, j) here.
    """
    x, y, w, h = boxes.T
    middle = [(y + h / 2 - 1.5) / STRIDE, (x + w / 2 - 1.5) / STRIDE]
    return np.stack([*middle, h / STRIDE, w / STRIDE], 1).astype(np.float32)


def batch_of(scenes: Sequence[Scene]) -> DetectorBatch:
    """Pictures and maps of scenes of one size."""
    height, width = (side // STRIDE for side in scenes[0].image.shape[:2])
    count = len(scenes)
    batch = DetectorBatch(
        pictures=np.stack([scene.image for scene in scenes]),
        heat=np.zeros((count, 1, height, width), np.float32),
        free=np.ones((count, 1, height, width), bool),
        box=np.zeros((count, 4, height, width), np.float32),
        weight=np.zeros((count, 1, height, width), np.float32),
    )
    for i, scene in enumerate(scenes):
        for face, counted in zip(cells_of(scene.boxes), scene.counted, strict=True):
            if counted:
                _add_face(batch, i, face)
            else:
                _set_aside(batch, i, face)
    return batch


def mirrored(batch: DetectorBatch) -> DetectorBatch:
    """The same scenes seen in a mirror."""
    box = batch.box[..., ::-1].copy()
    box[:, 1] *= -1
    return DetectorBatch(
        pictures=batch.pictures[:, :, ::-1].copy(),
        heat=batch.heat[..., ::-1].copy(),
        free=batch.free[..., ::-1].copy(),
        box=box,
        weight=batch.weight[..., ::-1].copy(),
    )


def _set_aside(batch: DetectorBatch, i: int, face: Float32[np.ndarray, " 4"]) -> None:
    low = np.maximum(np.floor(face[:2] - face[2:] / 2), 0).astype(int)
    high = np.maximum(np.ceil(face[:2] + face[2:] / 2) + 1, 0).astype(int)
    batch.free[i, 0, low[0] : high[0], low[1] : high[1]] = False


def _add_face(batch: DetectorBatch, i: int, face: Float32[np.ndarray, " 4"]) -> None:
    height, width = batch.heat.shape[2:]
    spread = np.maximum(_SPREAD * face[2:], _LEAST_SPREAD)
    peak = np.clip(np.round(face[:2]), 0, (height - 1, width - 1)).astype(int)
    reach = np.ceil(3 * spread).astype(int)
    low, high = np.maximum(peak - reach, 0), np.minimum(peak + reach + 1, (height, width))
    rows, columns = np.arange(low[0], high[0]), np.arange(low[1], high[1])
    falls = [
        np.exp(-(((cells - middle) / s) ** 2) / 2)
        for cells, middle, s in zip((rows, columns), peak, spread, strict=True)
    ]
    bump = np.outer(*falls).astype(np.float32)
    window = (i, slice(None), slice(low[0], high[0]), slice(low[1], high[1]))
    heat, weight, box = batch.heat[window], batch.weight[window], batch.box[window]
    np.maximum(heat[0], bump, out=heat[0])
    own = np.where(bump >= _NEAR, bump, 0)
    own /= own.sum()
    # Where two faces meet, the smaller one, whose weight a cell is larger, has the cell.
    mine = own > weight[0]
    weight[0][mine] = own[mine]
    targets = (
        np.broadcast_to(face[0] - rows[:, None], bump.shape),
        np.broadcast_to(face[1] - columns[None], bump.shape),
        np.full(bump.shape, np.log(face[2])),
        np.full(bump.shape, np.log(face[3])),
    )
    for channel, values in zip(box, targets, strict=True):
        channel[mine] = values[mine]
