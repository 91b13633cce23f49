"""The picture beside its reconstruction: crop, mask, normals, and the mesh from four sides."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import cv2
import numpy as np
from jaxtyping import Float32, UInt8

if TYPE_CHECKING:
    from ...models.mesh.triangle_mesh import TriangleMesh
    from ...models.pifuhd.reconstruct import Reconstruction

TILE_PX: Final = 256
_GAP: Final = 6
_CAPTION: Final = 20
_PAPER: Final = (30, 27, 25)
_INK: Final = (232, 230, 228)
_OUT: Final = (150, 90, 150)


def reconstruction_sheet(
    result: Reconstruction, upright: TriangleMesh, title: str
) -> UInt8[np.ndarray, "H W 3"]:
    """A sheet of two rows of tiles, and what is to be known in words.

    Args:
        result: of which the crop, the mask and the normals are shown.
        upright: its mesh, as it is to be drawn: the viewer looks along +z.
        title: of the sheet.
    """
    from ...models.mesh.turntable import view

    crop = result.crop.image_bgr
    alpha = result.segmentation.alpha[..., None] / 255.0
    masked = (crop * alpha + (1 - alpha) * (0.3 * crop + 0.7 * np.array(_OUT))).astype(np.uint8)
    quality = f"mask, quality {result.segmentation.quality:.2f}"
    first: list[tuple[str, np.ndarray]] = [("input", crop), (quality, masked)]
    for name, normals in (("front normals", result.seen.front), ("back normals", result.seen.back)):
        first.append((name, _colours(normals)))
    first.append(("shape", view(upright, TILE_PX, 0.0, clay=True)))
    turns = (("front", 0.0), ("left", 60.0), ("side", 90.0), ("other side", -90.0), ("back", 180.0))
    second = [(name, view(upright, TILE_PX, yaw)) for name, yaw in turns]
    rows = [np.hstack([_tile(*one) for one in tiles]) for tiles in (first, second)]
    lines = [title, *result.remarks]
    sheet = np.vstack([_text(lines, rows[0].shape[1]), *rows])
    return np.asarray(sheet, dtype=np.uint8)


def _colours(normals: Float32[np.ndarray, "N N 3"] | None) -> UInt8[np.ndarray, "N N 3"]:
    """Normals as they are usually shown: x red, y green, z blue."""
    if normals is None:
        return np.full((TILE_PX, TILE_PX, 3), _PAPER, np.uint8)
    length = np.linalg.norm(normals, axis=2, keepdims=True)
    shown = np.clip((normals[..., ::-1] + 1.0) * 127.5, 0, 255) * np.clip(2 * length - 0.5, 0, 1)
    return shown.astype(np.uint8)


def _tile(name: str, image: UInt8[np.ndarray, "h w 3"]) -> UInt8[np.ndarray, "H W 3"]:
    canvas = np.full((TILE_PX + _CAPTION, TILE_PX + _GAP, 3), _PAPER, np.uint8)
    kind = cv2.INTER_AREA if len(image) > TILE_PX else cv2.INTER_LINEAR
    canvas[:TILE_PX, _GAP // 2 : _GAP // 2 + TILE_PX] = cv2.resize(
        image, (TILE_PX, TILE_PX), interpolation=kind
    )
    _write(canvas, name, (_GAP // 2 + 2, TILE_PX + 14))
    return canvas


def _text(lines: list[str], width: int) -> UInt8[np.ndarray, "H W 3"]:
    canvas = np.full((18 * len(lines) + 10, width, 3), _PAPER, np.uint8)
    for number, line in enumerate(lines):
        _write(canvas, line, (6, 18 * number + 18))
    return canvas


def _write(canvas: np.ndarray, words: str, at: tuple[int, int]) -> None:
    # The letters of OpenCV are those of ASCII.
    plain = words.encode("ascii", "replace").decode()
    cv2.putText(canvas, plain, at, cv2.FONT_HERSHEY_SIMPLEX, 0.42, _INK, 1, cv2.LINE_AA)
