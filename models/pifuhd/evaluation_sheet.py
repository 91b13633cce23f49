"""A picture of held-out people: what was seen, what is true, and what was reconstructed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import cv2
import numpy as np
from jaxtyping import Float32, UInt8

from ..mesh.triangle_mesh import TriangleMesh
from ..mesh.turntable import view
from .evaluation import Evaluated, Row

TILE: Final = 152
"""Pixels across a tile."""
TURNS: Final = (0.0, 90.0, 180.0)
"""Of the meshes: from the front, from the side, from behind."""
_CAPTION: Final = 18
_SPHERE: Final = ((0.0, 0.0, 0.0), 1.2)
"""What the pictures of meshes show: the cube."""
_BLANK: Final = 210


def case_strip(evaluated: Evaluated, row: Row = "full") -> UInt8[np.ndarray, "H W 3"]:
    """One line of the sheet, BGR: the picture, drawn normals, truth and reconstruction.

    Args:
        evaluated: the case.
        row: which reconstruction is shown.
    """
    case = evaluated.case
    shown = np.where(case.mask[..., None], case.picture, case.picture // 3).astype(np.uint8)
    tiles = [_sized(shown)]
    if evaluated.drawn is not None:
        tiles += [_sized(_normal_colours(part)) for part in evaluated.drawn]
    tiles += [_drawn(_cut(case.truth), turn) for turn in TURNS]
    tiles += [_drawn(evaluated.meshes.get(row), turn) for turn in TURNS]
    figures = evaluated.figures.get(row)
    text = f"subject {case.subject}, view {case.view}"
    if figures is not None:
        text += (
            f": IoU {figures.iou:.3f}, Chamfer {figures.chamfer_mm:.1f} mm"
            f" ({figures.chamfer_percent:.2f} %), back {figures.back_chamfer_mm:.1f} mm"
        )
    strip = np.concatenate(tiles, axis=1)
    return np.concatenate([_line(text, strip.shape[1]), strip])


def sheet(
    strips: Sequence[UInt8[np.ndarray, "h W 3"]], has_normals: bool
) -> UInt8[np.ndarray, "H W 3"]:
    """Strips of cases under a line that names the columns."""
    names = ["seen", *(["front normals", "back normals"] if has_normals else [])]
    names += [f"{what}, {side}" for what in ("true", "made") for side in ("front", "side", "back")]
    heading = np.concatenate([_line(name, TILE) for name in names], axis=1)
    return np.concatenate([heading, *strips])


def chosen(scores: Sequence[float], count: int) -> list[int]:
    """Places of a few cases: from the best to the worst, evenly; both ends are among them."""
    order = np.argsort(-np.nan_to_num(np.asarray(scores, np.float64), nan=-1.0), kind="stable")
    if len(order) <= count:
        return [int(place) for place in order]
    return [int(order[round(p)]) for p in np.linspace(0, len(order) - 1, count)]


def _drawn(mesh: TriangleMesh | None, turn: float) -> UInt8[np.ndarray, "t t 3"]:
    if mesh is None or not len(mesh.triangles):
        return np.full((TILE, TILE, 3), _BLANK, np.uint8)
    return view(mesh, TILE, turn, clay=True, sphere=_SPHERE)


def _cut(mesh: TriangleMesh) -> TriangleMesh:
    """Without the triangles beyond the cube."""
    kept = (np.abs(mesh.corners.mean(axis=1)) <= 1).all(axis=1)
    return TriangleMesh(mesh.vertices, np.ascontiguousarray(mesh.triangles[kept]))


def _sized(picture: UInt8[np.ndarray, "s t 3"]) -> UInt8[np.ndarray, "u u 3"]:
    kind = cv2.INTER_AREA if len(picture) > TILE else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(picture, (TILE, TILE), interpolation=kind), np.uint8)


def _normal_colours(normals: Float32[np.ndarray, "s t 3"]) -> UInt8[np.ndarray, "s t 3"]:
    """x in red, y in green, z in blue, as usual; BGR."""
    scaled = np.clip(127.5 * (normals + 1), 0, 255).astype(np.uint8)
    return np.ascontiguousarray(scaled[..., ::-1])


def _line(text: str, width: int) -> UInt8[np.ndarray, "h w 3"]:
    line = np.full((_CAPTION, width, 3), 245, np.uint8)
    font = cv2.FONT_HERSHEY_SIMPLEX
    cv2.putText(line, text, (4, 13), font, 0.38, (30, 30, 30), 1, cv2.LINE_AA)
    return line
