"""Depth maps of people's true front and back, which surfaces are learnt from."""

from __future__ import annotations

from typing import Any, Final

import cv2
import numpy as np
from jaxtyping import Float16, Float32

from ..mesh.triangle_mesh import TriangleMesh
from ..render.raster import rasterise
from .augment import Placement
from .cases import true_surface
from .dataset import PeopleFolder

_SIZE: Final = 128
"""Pixels across the maps that are drawn; the small presets learn from half as many."""
_AWAY: Final = 100.0
"""To the cube's middle, halves of its side: the rasteriser wants depths in front of a camera."""
_KNOWN: Final = 0.3
"""Share of a pixel that must lie on the person for its depth to be learnt: limbs are thin."""


class DepthMaps:
    """Depths of people's front and back, drawn when they are first asked for.

    Args:
        folder: of people with their true surfaces.
    """

    def __init__(self, folder: PeopleFolder) -> None:
        self._folder = folder
        self._drawn: dict[int, Float16[np.ndarray, "V 2 D D"]] = {}

    def placed(
        self, number: int, view: int, placement: Placement, size: int
    ) -> Float32[np.ndarray, "2 W W"]:
        """Depth of the first and of the last surface along each pixel's ray, in the crop's cube.

        NaN where there is none.

        Args:
            number: of the subject.
            view: of that subject.
            placement: where the original lies in the crop.
            size: pixels across the maps.

        Raises:
            InputError: the subject has no true surface.
        """
        maps = self._of(number)[view].astype(np.float32)
        onto = placement.pixels(_SIZE, size)
        there = np.isfinite(maps[0])
        share = _moved(there.astype(np.float32), onto, size)
        placed = [_moved(np.where(there, m, 0.0), onto, size) for m in maps]
        depth = placement.scale * np.stack(placed) / np.maximum(share, _KNOWN)
        # Beyond the cube nothing is inside, wherever the surface lies.
        return np.where(share >= _KNOWN, depth.clip(-1, 1), np.nan).astype(np.float32)

    def _of(self, number: int) -> Float16[np.ndarray, "V 2 D D"]:
        if number not in self._drawn:
            surface, _ = true_surface(self._folder, number)
            subject = (self._folder.training | self._folder.held_out)[number]
            views = [surface.transformed(np.asarray(c)) for c in subject.cube_from_subject]
            maps = np.stack([front_and_back(view, _SIZE) for view in views])
            self._drawn[number] = maps.clip(-2, 2).astype(np.float16)
        return self._drawn[number]


def front_and_back(surface: TriangleMesh, size: int) -> Float32[np.ndarray, "2 D D"]:
    """Depths of the first and last surface along each pixel's ray; NaN where there is none.

    Args:
        surface: in the cube's coordinates.
        size: pixels across the maps.
    """
    vertices = surface.vertices.astype(np.float64)
    pixels = ((vertices[:, :2] + 1) * size - 1) / 2
    maps = []
    for sign in (1.0, -1.0):  # the last surface is the first one of the cube turned inside out
        points = np.c_[pixels, _AWAY + sign * vertices[:, 2]].astype(np.float32)
        depth = rasterise(points, surface.triangles, size, size).depth
        maps.append(np.where(np.isfinite(depth), sign * (depth - _AWAY), np.nan))
    return np.stack(maps).astype(np.float32)


def _moved(values: Any, onto: Any, size: int) -> Any:
    return cv2.warpAffine(
        np.asarray(values, np.float32), onto, (size, size), flags=cv2.INTER_LINEAR
    )
