"""Contact sheets of the avatar's training data: slices, surfaces, pictures, scans."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import cv2
import numpy as np
from jaxtyping import Float32, UInt8

from ..archives import fitted, read_npz
from ..errors import InputError
from ..mesh.turntable import view
from .box import HIGH_MM, LOW_MM
from .generate import person_path
from .surface import surface_of_box

_TILE = 150
_GREY = 96
_ARRAYS: Final = {
    "sdf": (np.float16, "E N N N"), "colour": (np.uint8, "E N N N 3"),
    "views": (np.uint8, "E C H W 4"), "scan_sdf": (np.float16, "K N N N"),
    "scan_seen": (np.uint8, "K N N N"), "scan_colour": (np.uint8, "K N N N 3"),
}  # fmt: skip


def scans_sheet(folder: Path, number: int, columns: int = 8) -> UInt8[np.ndarray, "H W 3"]:
    """A sheet (BGR) of one person: a column an expression, then simulated scans.

    Rows: the surface of the grid with its colours and as clay, a turned view, slices x = 0 and
    y = 75 mm of the signed distance, a training picture.

    Raises:
        InputError: the person's file cannot be read.
    """
    path = person_path(folder, number)
    try:
        arrays = fitted(read_npz(path, list(_ARRAYS)), _ARRAYS)
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: not a person of mien synthesize scans: {error}") from error
    sdf, colour = arrays["sdf"].astype(np.float32), arrays["colour"]
    shown = range(min(columns, len(sdf)))
    true = [
        [*_faces(sdf[e], colour[e]), *_slices(sdf[e]), _tile(arrays["views"][e, 1, ..., :3])]
        for e in shown
    ]
    scans = []
    for scan, seen, light in zip(
        arrays["scan_sdf"], arrays["scan_seen"], arrays["scan_colour"], strict=True
    ):
        values = np.where(seen > 0, scan.astype(np.float32), np.nan)
        known = np.where(seen > 0, scan, -np.abs(scan).max()).astype(np.float32)
        near = _tile(light[:, :, :, ::-1].max(axis=2).transpose(1, 0, 2))
        scans.append([*_faces(known, light), *_slices(values), near])
    return np.hstack([np.vstack(column) for column in true + scans])


def _faces(
    sdf: Float32[np.ndarray, "N N N"], colour: UInt8[np.ndarray, "N N N 3"]
) -> list[UInt8[np.ndarray, "S S 3"]]:
    mesh = surface_of_box(sdf, colour)
    pictures = [view(mesh, _TILE), view(mesh, _TILE, clay=True), view(mesh, _TILE, 35.0, clay=True)]
    return [np.asarray(p, np.uint8) for p in pictures]


def _slices(sdf: Float32[np.ndarray, "N N N"]) -> list[UInt8[np.ndarray, "S S 3"]]:
    """Sagittal and horizontal slices: inside blue, outside red, unknown grey."""
    n = len(sdf)
    row = int((75 - LOW_MM[1]) / (HIGH_MM[1] - LOW_MM[1]) * n)
    return [_signed(sdf[n // 2]), _signed(sdf[:, row].T)]


def _signed(values: Float32[np.ndarray, "N M"]) -> UInt8[np.ndarray, "S S 3"]:
    reach = max(float(np.nanmax(np.abs(values), initial=1e-3)), 1e-3)
    strength = np.abs(values) / reach
    image = np.full((*values.shape, 3), float(_GREY))
    fade = 255 * (1 - strength)
    image[..., 0] = np.where(values < 0, 255, fade)
    image[..., 1] = fade
    image[..., 2] = np.where(values < 0, fade, 255)
    image[np.isnan(values)] = _GREY
    return _tile(image.astype(np.uint8))


def _tile(image: UInt8[np.ndarray, "H W 3"]) -> UInt8[np.ndarray, "S S 3"]:
    small = np.ascontiguousarray(image)
    return np.asarray(cv2.resize(small, (_TILE, _TILE), interpolation=cv2.INTER_NEAREST), np.uint8)
