"""A sheet of synthetic subjects to look at."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
import numpy.typing as npt
from jaxtyping import UInt8

from ..archives import fitted, read_npz
from ..errors import InputError
from .record import subject_path

Array = npt.NDArray[Any]
_ARRAYS: Final = {
    "images": (np.uint8, "V S S 3"), "mask": (np.uint8, "V S S"), "front": (np.int8, "V S S 3"),
    "back": (np.int8, "V S S 3"),
}  # fmt: skip


def people_sheet(
    folder: Path, first: int, count: int, views: int = 3
) -> UInt8[np.ndarray, "H W 3"]:
    """Pictures with the outline of the mask, front and back normals; a subject a row (BGR).

    Raises:
        InputError: a subject is not there, or damaged.
    """
    rows = [_row(subject_path(folder, number), views) for number in range(first, first + count)]
    return np.concatenate(rows)


def _row(path: Path, views: int) -> UInt8[np.ndarray, "S W 3"]:
    try:
        found = fitted(read_npz(path, list(_ARRAYS)), _ARRAYS)
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: no synthetic subject: {error}") from error
    tiles: list[Array] = []
    arrays = [found[name][:views] for name in _ARRAYS]
    for image, mask, front, back in zip(*arrays, strict=True):
        tiles += [_outlined(image, mask), _coloured(front, mask), _coloured(back, mask)]
    return np.concatenate(tiles, axis=1).astype(np.uint8)


def _outlined(image: Array, mask: Array) -> Array:
    inner = np.asarray(cv2.erode(mask, np.ones((3, 3), np.uint8)))
    drawn = image.copy()
    drawn[(mask > 127) & (inner <= 127)] = (0, 0, 255)
    return drawn


def _coloured(normals: Array, mask: Array) -> Array:
    shown = (normals[..., ::-1].astype(np.float32) / 254 + 0.5) * 255
    shown[mask <= 127] = 0
    return shown.astype(np.uint8)
