"""A head as a distance in each direction: what hats, hoods, masks and hands rest on."""

from __future__ import annotations

import cv2
import numpy as np
from jaxtyping import Float, Float32, Int32

from ..render.raster import vertex_normals

CENTRE = np.array([0.0, 12.0, 92.0], np.float32)
"""Where directions start, head frame, mm: between the ears."""
_ROWS, _COLUMNS = 36, 72
_NEIGHBOURS = 5
_LOWEST_Y = 150.0

Table = Float32[np.ndarray, "36 72"]


def directions(
    azimuth: Float[np.ndarray, "*S"], elevation: Float[np.ndarray, "*S"]
) -> Float32[np.ndarray, "*S 3"]:
    """Unit vectors: azimuth 0 is where the face looks, positive to the picture's right; degrees."""
    a, e = np.radians(azimuth), np.radians(elevation)
    away = [np.cos(e) * np.sin(a), -np.sin(e), -np.cos(e) * np.cos(a)]
    return np.stack(away, -1).astype(np.float32)


class HeadMap:
    """Measures heads of one topology.

    Args:
        reference: (V, 3) an average head, head frame, mm.
        skin: (M, 3) triangles of its skin.
    """

    def __init__(
        self, reference: Float32[np.ndarray, "V 3"], skin: Int32[np.ndarray, "M 3"]
    ) -> None:
        away = reference - CENTRE
        away /= np.linalg.norm(away, axis=1, keepdims=True)
        outwards = (vertex_normals(reference, skin) * away).sum(1) > 0.1
        kept = np.unique(skin)
        kept = kept[outwards[kept] & (reference[kept, 1] < _LOWEST_Y)]
        column, row = np.meshgrid(np.arange(_COLUMNS), np.arange(_ROWS))
        grid = directions((column + 0.5) * 5.0 - 180, 87.5 - row * 5.0).reshape(-1, 3)
        near = grid @ away[kept].T
        index = np.argpartition(-near, _NEIGHBOURS, axis=1)[:, :_NEIGHBOURS]
        weights = np.exp((np.take_along_axis(near, index, 1) - near.max(1, keepdims=True)) * 600)
        self._index = kept[index]
        self._weights = (weights / weights.sum(1, keepdims=True)).astype(np.float32)

    def measure(self, head: Float32[np.ndarray, "V 3"], tight: bool = False) -> Table:
        """Distance of a head's surface from :data:`CENTRE` in each direction, mm.

        Unless ``tight``, ears and other small features are bridged as cloth bridges them.
        """
        radius = np.linalg.norm(head[self._index] - CENTRE, axis=2)
        table = (radius * self._weights).sum(1).reshape(_ROWS, _COLUMNS).astype(np.float32)
        if tight:
            return table
        padded = np.pad(table, ((4, 4), (4, 4)), "wrap")
        padded[:4], padded[-4:] = padded[4], padded[-5]
        bridged = cv2.erode(cv2.dilate(padded, np.ones((5, 5))), np.ones((3, 3)))
        return cv2.GaussianBlur(np.asarray(bridged, np.float32), (0, 0), 1.2)[4:-4, 4:-4].copy()


def reach(table: Table, towards: Float[np.ndarray, "*S 3"]) -> Float32[np.ndarray, "*S"]:
    """Distance of the surface along unit vectors, mm."""
    azimuth = np.degrees(np.arctan2(towards[..., 0], -towards[..., 2]))
    elevation = np.degrees(np.arcsin(np.clip(-towards[..., 1], -1, 1)))
    x = ((azimuth + 180) / 5.0 - 0.5).astype(np.float32).reshape(-1, 1)
    y = np.clip((87.5 - elevation) / 5.0, 0, _ROWS - 1).astype(np.float32).reshape(-1, 1)
    wide = np.concatenate([table[:, -1:], table, table[:, :1]], 1)
    found = cv2.remap(wide, x + 1, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(found, np.float32).reshape(azimuth.shape)


def over(
    table: Table, towards: Float[np.ndarray, "*S 3"], lift: float | Float[np.ndarray, ...]
) -> Float32[np.ndarray, "*S 3"]:
    """Points of the head frame that lie ``lift`` mm over the surface along unit vectors.

    ``lift`` is broadcast over the vectors.
    """
    distance = reach(table, towards) + lift
    return (CENTRE + towards * distance[..., None]).astype(np.float32)
