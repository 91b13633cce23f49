"""The picture sheet of the worst cases: truth in green, estimate in red."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from .scores import Scored

TILE_PX: Final = 240
COLUMNS: Final = 6
MARGIN: Final = 0.5
"""Of the box's longer side, left free around it."""
GREEN: Final = (80, 220, 80)
RED: Final = (60, 60, 255)
WHITE: Final = (255, 255, 255)


def worst_cases(
    faces: Sequence[Scored],
    read: Callable[[str], UInt8[np.ndarray, "H W 3"] | None],
    count: int = 24,
) -> UInt8[np.ndarray, "H W 3"]:
    """A grid of the worst faces that are not to be ignored, missed ones first.

    Args:
        faces: scored faces of a set.
        read: the BGR picture of an image's name, None where it cannot be read.
        count: at most so many tiles.
    """
    counted = [face for face in faces if not face.truth.ignore]
    worst = sorted(counted, key=lambda face: (-face.badness, face.image, face.truth.index))[:count]
    tiles = [_tile(face, read(face.image)) for face in worst]
    blank = np.full((TILE_PX, TILE_PX, 3), 32, np.uint8)
    tiles += [blank] * (-len(tiles) % COLUMNS or (COLUMNS if not tiles else 0))
    rows = [np.hstack(tiles[i : i + COLUMNS]) for i in range(0, len(tiles), COLUMNS)]
    return np.vstack(rows)


def _tile(face: Scored, image_bgr: UInt8[np.ndarray, "H W 3"] | None) -> UInt8[np.ndarray, "h w 3"]:
    tile = np.full((TILE_PX, TILE_PX, 3), 32, np.uint8)
    box = face.truth.box_px
    if box is None and face.estimate is not None:
        box = face.estimate.box_px
    if image_bgr is not None:
        if box is None:
            box = np.array([0.0, 0.0, image_bgr.shape[1], image_bgr.shape[0]])
        scale = TILE_PX / (max(float(box[2]), float(box[3]), 1.0) * (1 + 2 * MARGIN))
        shift = TILE_PX / 2 - scale * (box[:2] + box[2:] / 2)
        matrix = np.array([[scale, 0.0, shift[0]], [0.0, scale, shift[1]]])
        flags = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
        tile = cv2.warpAffine(image_bgr, matrix, (TILE_PX, TILE_PX), flags=flags)
        if face.truth.landmarks_px is not None:
            _dots(tile, face.truth.landmarks_px * scale + shift, GREEN)
        elif face.truth.given_box_px is not None:
            _rectangle(tile, box, scale, shift)
        if face.estimate is not None:
            _dots(tile, face.estimate.landmarks_px * scale + shift, RED)
    _caption(tile, face)
    return tile.astype(np.uint8, copy=False)


def _dots(
    tile: np.ndarray, points_px: Float[np.ndarray, "N 2"], colour: tuple[int, int, int]
) -> None:
    for x, y in np.rint(points_px).astype(int):
        cv2.circle(tile, (int(x), int(y)), 2, colour, -1, cv2.LINE_AA)


def _rectangle(
    tile: np.ndarray, box: Float[np.ndarray, " 4"], scale: float, shift: Float[np.ndarray, " 2"]
) -> None:
    low = np.rint(box[:2] * scale + shift).astype(int)
    high = np.rint((box[:2] + box[2:]) * scale + shift).astype(int)
    cv2.rectangle(tile, low.tolist(), high.tolist(), GREEN, 1)


def _caption(tile: np.ndarray, face: Scored) -> None:
    if face.estimate is None:
        figures = "missed"
    else:
        parts = [] if face.nme is None else [f"NME {face.nme:.1f} %"]
        parts += [
            f"{angle} {getattr(face.estimate, f'{angle}_deg'):.0f}"
            f" ({getattr(face.truth, f'{angle}_deg'):.0f})"
            for angle in face.errors
        ]
        figures = ", ".join(parts)
    for text, y in ((figures, 14), (f"{face.image.split('/')[-1]} {face.truth.index}", 232)):
        for colour, width in (((0, 0, 0), 3), (WHITE, 1)):
            cv2.putText(tile, text, (4, y), cv2.FONT_HERSHEY_SIMPLEX, 0.4, colour, width)
