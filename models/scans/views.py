"""Small pictures of the true face as its grid shows it: colours without light, the box's part."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, no_type_check

import numpy as np
import numpy.typing as npt
from jaxtyping import Float32, Float64, Int32, UInt8
from numba import njit

from ..face.rotation import matrix_from_yaw_pitch_roll
from ..render.raster import rasterise
from .box import HIGH_MM, LOW_MM, FaceBox
from .colours import Paint

Array = npt.NDArray[Any]
SIZE: Final = 64
_DISTANCE_MM: Final = 700.0
_WIDTH_MM: Final = 215.0
"""What the picture shows at the box's centre."""
_FINE: Final = 2
_STEPS: Final = 96


def view_camera(yaw_deg: float, pitch_deg: float, size: int = SIZE) -> Float64[np.ndarray, "3 4"]:
    """A camera that looks at the box's centre: pixels (times depth) from mm of the head frame.

    Args:
        yaw_deg, pitch_deg: of the head as the camera sees it, as everywhere in mien.
        size: of the picture, px.
    """
    centre = (np.array(LOW_MM) + np.array(HIGH_MM)) / 2
    rotation = matrix_from_yaw_pitch_roll(np.array([yaw_deg, pitch_deg, 0.0]))
    translation = np.array([0.0, 0.0, _DISTANCE_MM]) - rotation @ centre
    focal = size * _DISTANCE_MM / _WIDTH_MM
    middle = (size - 1) / 2
    lens = np.array([[focal, 0, middle], [0, focal, middle], [0, 0, 1.0]])
    return lens @ np.column_stack([rotation, translation])


@dataclass(frozen=True)
class Seen:
    """What a camera sees of the closed head at each pixel.

    Attributes:
        which: (H, W) triangle, -1 where none.
        weights: (H, W, 2) of its second and third corner.
        points: (H, W, 3) place, head frame, mm; 0 where none.
        depth: (H, W) mm along the camera's axis, inf where none.
    """

    which: Int32[np.ndarray, "H W"]
    weights: Float32[np.ndarray, "H W 2"]
    points: Float32[np.ndarray, "H W 3"]
    depth: Float32[np.ndarray, "H W"]


def look(
    placed: Float32[np.ndarray, "V 3"],
    triangles: Int32[np.ndarray, "M 3"],
    camera: Float64[np.ndarray, "3 4"],
    height: int,
    width: int,
) -> Seen:
    """Draw the closed head; ``camera`` maps mm of the head frame to pixels times depth."""
    projected = placed.astype(np.float64) @ camera[:, :3].T + camera[:, 3]
    depth = np.maximum(projected[:, 2], 1e-3)
    px = np.column_stack([projected[:, :2] / depth[:, None], projected[:, 2]])
    drawn = rasterise(px.astype(np.float32), triangles, height, width, cull_back=True)
    hit = drawn.triangle >= 0
    points = np.zeros((height, width, 3), np.float32)
    corners = placed[triangles[drawn.triangle[hit]]]
    points[hit] = np.einsum("pkc,pk->pc", corners, drawn.barycentric[hit])
    weights = np.ascontiguousarray(drawn.barycentric[..., 1:])
    return Seen(drawn.triangle, weights, points, drawn.depth)


def render_view(
    placed: Float32[np.ndarray, "V 3"],
    triangles: Int32[np.ndarray, "M 3"],
    paint: Paint,
    sdf: Float32[np.ndarray, "N N N"],
    camera: Float64[np.ndarray, "3 4"],
    size: int = SIZE,
) -> UInt8[np.ndarray, "S S 4"]:
    """Picture (BGR) and mask of what lies in the box.

    Where the box cuts the head the cut is a surface too: its pixels have the colour of the head
    before it.

    Args:
        placed: (V, 3) vertices of the closed head, mm.
        triangles: its triangles.
        paint: its colours.
        sdf: its signed distance.
        camera: of :func:`view_camera` with the same size.
        size: px.
    """
    large = size * _FINE
    # A pixel's centre of the small picture is between those of the large one.
    grow = np.array([[_FINE, 0, (_FINE - 1) / 2], [0, _FINE, (_FINE - 1) / 2], [0, 0, 1.0]])
    seen = look(placed, triangles, grow @ camera, large, large)
    hit = seen.which >= 0
    box = FaceBox(len(sdf))
    shown = hit & box.contains(seen.points)
    other = hit & ~shown
    if other.any():
        centre = -np.linalg.solve(camera[:, :3], camera[:, 3])
        shown[other] = _meets(
            sdf, centre.astype(np.float32), seen.points[other], box.low, box.high, box.edges
        )
    picture = np.zeros((large, large, 4), np.float32)
    colour = paint.at(
        seen.points[shown], triangles, seen.which[shown], np.ascontiguousarray(seen.weights[shown]),
        _WIDTH_MM / large,
    )  # fmt: skip
    picture[shown, :3] = colour[:, ::-1]
    picture[shown, 3] = 255
    small = picture.reshape(size, _FINE, size, _FINE, 4).mean(axis=(1, 3))
    return np.rint(small).astype(np.uint8)


@njit(cache=True, nogil=True)
@no_type_check
def _meets(
    sdf: Array, centre: Array, through: Array, low: Array, high: Array, edges: Array
) -> Array:
    """Whether rays from a camera through points meet the solid within the box."""
    n = sdf.shape[0]
    out = np.zeros(len(through), np.bool_)
    for r in range(len(through)):
        start, end = 0.0, 4.0
        for c in range(3):
            d = through[r, c] - centre[c]
            if abs(d) < 1e-9:
                continue
            a, b = (low[c] - centre[c]) / d, (high[c] - centre[c]) / d
            start, end = max(start, min(a, b)), min(end, max(a, b))
        if start >= end:
            continue
        for s in range(_STEPS):
            t = start + (end - start) * (s + 0.5) / _STEPS
            i = int((centre[0] + t * (through[r, 0] - centre[0]) - low[0]) / edges[0])
            j = int((centre[1] + t * (through[r, 1] - centre[1]) - low[1]) / edges[1])
            k = int((centre[2] + t * (through[r, 2] - centre[2]) - low[2]) / edges[2])
            if sdf[min(max(i, 0), n - 1), min(max(j, 0), n - 1), min(max(k, 0), n - 1)] < 0:
                out[r] = True
                break
    return out
