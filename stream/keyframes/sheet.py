"""The contact sheet: the aligned crops with what they scored."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import cv2
import numpy as np
from jaxtyping import UInt8

from .folder import FolderFacts, Keyframe

TILE_PX: Final = 224
COLUMNS: Final = 6
_BAR_PX: Final = 13
_GAP: Final = 10
_HEAD: Final = 46
_PAPER: Final = (30, 27, 25)
_INK: Final = (232, 230, 228)
_SOFT: Final = (160, 154, 150)
_FULL: Final = (190, 150, 80)
_EMPTY: Final = (58, 54, 50)


def tile(
    crop_bgr: UInt8[np.ndarray, "S S 3"], keyframe: Keyframe, rank: int
) -> UInt8[np.ndarray, "H W 3"]:
    """One crop with its frame, angles, score and parts."""
    parts = [(name, value) for name, value in keyframe.parts.items() if name != "variety"]
    height = TILE_PX + 44 + _BAR_PX * len(parts)
    canvas = np.full((height, TILE_PX, 3), _PAPER, dtype=np.uint8)
    kind = cv2.INTER_AREA if len(crop_bgr) > TILE_PX else cv2.INTER_LINEAR
    canvas[:TILE_PX] = cv2.resize(crop_bgr, (TILE_PX, TILE_PX), interpolation=kind)
    when = "" if keyframe.t_media_ns is None else f"  {keyframe.t_media_ns / 1e9:.2f} s"
    _write(canvas, f"{rank + 1}  frame {keyframe.frame}{when}", (2, TILE_PX + 16), _INK)
    row = keyframe.row
    angles = f"y {row.yaw:+z.0f} p {row.pitch:+z.0f} r {row.roll:+z.0f}   {keyframe.score:.3f}"
    _write(canvas, angles, (2, TILE_PX + 33), _SOFT)
    for i, (name, value) in enumerate(parts):
        y = TILE_PX + 42 + _BAR_PX * i
        _write(canvas, name, (2, y + 9), _SOFT, 0.34)
        left, right = 76, TILE_PX - 4
        cv2.rectangle(canvas, (left, y + 2), (right, y + 8), _EMPTY, -1)
        end = left + round(float(np.clip(value, 0.0, 1.0)) * (right - left))
        if end > left:
            cv2.rectangle(canvas, (left, y + 2), (end, y + 8), _FULL, -1)
    return canvas


def contact_sheet(
    tiles: Sequence[UInt8[np.ndarray, "H W 3"]], facts: FolderFacts
) -> UInt8[np.ndarray, "H2 W2 3"]:
    """All tiles in a grid, in the order in which they were chosen."""
    height = max((len(one) for one in tiles), default=40)
    columns = max(2, min(COLUMNS, len(tiles)))
    lines = max(1, -(-len(tiles) // columns))
    width = columns * (TILE_PX + _GAP) + _GAP
    sheet = np.full((_HEAD + lines * (height + _GAP), width, 3), _PAPER, dtype=np.uint8)
    # The letters of OpenCV are those of ASCII.
    name = facts.source.encode("ascii", "replace").decode()
    title = f"{name}: {facts.request.get('for', 'key frames')}"
    _write(sheet, title, (_GAP, 20), _INK, 0.5)
    count = f"{len(tiles)} of {facts.candidates} frames with a face"
    _write(sheet, count, (_GAP, 38), _SOFT)
    for i, one in enumerate(tiles):
        y = _HEAD + i // columns * (height + _GAP)
        x = _GAP + i % columns * (TILE_PX + _GAP)
        sheet[y : y + len(one), x : x + TILE_PX] = one
    return sheet


def _write(
    canvas: np.ndarray,
    words: str,
    at: tuple[int, int],
    color: tuple[int, int, int],
    size: float = 0.42,
) -> None:
    cv2.putText(canvas, words, at, cv2.FONT_HERSHEY_SIMPLEX, size, color, 1, cv2.LINE_AA)
