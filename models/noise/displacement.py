"""Where each pixel of a picture comes from after a mesh in it moved: a smooth map for cv2.remap.

The displacement of the mesh is rasterised, extended over the background by normalised convolution
(a pyramid of it: blurred displacement over blurred mask, coarse where nothing finer is known) and
faded out.
"""

from __future__ import annotations

from typing import Any, Final, no_type_check

import cv2
import numpy as np
import numpy.typing as npt
from jaxtyping import Bool, Float, Float32, Int32
from numba import njit

from ..render.raster import NOTHING, draw, snap

FAR_MM: Final = 1e5
"""Depth of the head's origin in the z-buffer: nothing is foreshortened there."""
FADE: Final = 0.45
"""Standard deviation of the fading displacement, in sizes of the face."""


def source_map(
    from_px: Float[np.ndarray, "N 2"],
    to_px: Float[np.ndarray, "N 2"],
    depth_mm: Float[np.ndarray, " N"],
    triangles: Int32[np.ndarray, "M 3"],
    background: Float[np.ndarray, "2 3"],
    height: int,
    width: int,
) -> Float32[np.ndarray, "H W 2"]:
    """For each pixel of the new picture, its place (x, y) in the old one.

    Args:
        from_px: vertices in the old picture.
        to_px: vertices in the new picture.
        depth_mm: of the vertices as the new picture shows them, growing away from the viewer, from
            any origin on the head.
        triangles: of the mesh; those that face away in the new picture do not count.
        background: affine map from new to old pixels of what does not move with the mesh.
        height: rows of the new picture.
        width: columns of the new picture.

    Returns:
        Exact on the mesh. Around it the displacement goes on smoothly and fades into
        ``background`` over half a face's size.
    """
    points = np.empty((len(to_px), 3), np.float32)
    points[:, :2] = to_px
    points[:, 2] = depth_mm
    points[:, 2] += np.float32(FAR_MM)
    fixed = np.empty((len(points), 2), np.int32)
    nearness = np.empty(len(points), np.float32)
    snap(points, 1.0, fixed, nearness)
    seen = np.full((height, width), NOTHING, np.float32)
    label = np.empty((height, width), np.int32)
    triangle = np.full((height, width), -1, np.int32)
    corner = np.empty((height, width, 2), np.float32)
    draw(fixed, nearness, triangles, True, 0, seen, label, triangle, corner)
    affine = background.astype(np.float32)
    shift = np.zeros((height, width, 2), np.float32)
    _gather(triangle, corner, triangles, from_px.astype(np.float32), affine, shift)
    mask = triangle >= 0
    if mask.any():
        shift = _extended(shift, mask, float(np.ptp(to_px, axis=0).max()))
    _add_background(shift, affine)
    return shift


def _extended(
    shift: Float32[np.ndarray, "H W 2"], mask: Bool[np.ndarray, "H W"], size_px: float
) -> Float32[np.ndarray, "H W 2"]:
    """The displacement outside of its mask too, faded out; zero ``shift`` outside is expected."""
    height, width = mask.shape
    level = np.empty((height, width, 3), np.float32)
    level[..., :2] = shift
    level[..., 2] = mask
    levels = [level]
    while max(level.shape[:2]) > 2:
        level = np.asarray(cv2.pyrDown(level), np.float32)
        levels.append(level)
    filled = np.zeros((*levels[-1].shape[:2], 2), np.float32)
    for level in reversed(levels):
        rows, columns = level.shape[:2]
        if filled.shape[:2] != (rows, columns):
            filled = np.asarray(cv2.pyrUp(filled, dstsize=(columns, rows)), np.float32)
        _fill(level, filled)
    outside = np.asarray(cv2.distanceTransform((~mask).astype(np.uint8), cv2.DIST_L2, 5))
    _fade(filled, outside.astype(np.float32), np.float32(FADE * size_px))
    return filled


@njit(cache=True, nogil=True)
@no_type_check
def _gather(
    triangle: npt.NDArray[Any],
    corner: npt.NDArray[Any],
    triangles: npt.NDArray[Any],
    source: npt.NDArray[Any],
    affine: npt.NDArray[Any],
    shift: npt.NDArray[Any],
) -> None:
    """Displacement on the mesh: place in the old picture less that of the background."""
    for y in range(triangle.shape[0]):
        for x in range(triangle.shape[1]):
            t = triangle[y, x]
            if t >= 0:
                a, b, c = triangles[t, 0], triangles[t, 1], triangles[t, 2]
                u, v = corner[y, x, 0], corner[y, x, 1]
                w = np.float32(1.0) - u - v
                for i in range(2):
                    place = u * source[a, i] + v * source[b, i] + w * source[c, i]
                    still = affine[i, 0] * x + affine[i, 1] * y + affine[i, 2]
                    shift[y, x, i] = place - still


@njit(cache=True, nogil=True)
@no_type_check
def _fill(level: npt.NDArray[Any], filled: npt.NDArray[Any]) -> None:
    """Write what a level knows over what the coarser ones say, by how much of it is covered."""
    for y in range(level.shape[0]):
        for x in range(level.shape[1]):
            cover = level[y, x, 2]
            if cover > 1e-3:
                share = min(np.float32(1.0), 4.0 * cover)
                for i in range(2):
                    known = level[y, x, i] / cover
                    filled[y, x, i] += share * (known - filled[y, x, i])


@njit(cache=True, nogil=True)
@no_type_check
def _fade(shift: npt.NDArray[Any], outside: npt.NDArray[Any], sigma: float) -> None:
    for y in range(shift.shape[0]):
        for x in range(shift.shape[1]):
            away = outside[y, x]
            if away > 0.0:
                factor = np.exp(np.float32(-0.5) * (away / sigma) ** 2)
                shift[y, x, 0] *= factor
                shift[y, x, 1] *= factor


@njit(cache=True, nogil=True)
@no_type_check
def _add_background(shift: npt.NDArray[Any], affine: npt.NDArray[Any]) -> None:
    for y in range(shift.shape[0]):
        for x in range(shift.shape[1]):
            for i in range(2):
                shift[y, x, i] += affine[i, 0] * x + affine[i, 1] * y + affine[i, 2]
