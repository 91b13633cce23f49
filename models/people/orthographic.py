"""Parallel pictures of surfaces: a pinhole so far away that its rays are parallel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Float, Float32

from ..face.camera import Camera
from ..render.scene import Picture, render
from ..render.surface import Lights, Surface

DISTANCE_MM = 1.0e5
"""To the middle of the cube. Rays lean by 0.002 at most and float32 depths hold 0.01 mm."""


def into_view(
    surface: Surface, cube_from_subject: Float[np.ndarray, "3 4"], cube_mm: float
) -> Surface:
    """A surface of the subject, placed before the camera of :func:`parallel_camera`."""
    linear = (cube_from_subject[:, :3] * (cube_mm / 2)).astype(np.float64)
    offset = cube_from_subject[:, 3] * (cube_mm / 2) + [0.0, 0.0, DISTANCE_MM]
    placed = surface.vertices.astype(np.float64) @ linear.T + offset
    # Undo the pinhole's convergence about the middle's depth, exactly.
    placed[:, :2] *= placed[:, 2:] / DISTANCE_MM
    normals = surface.normals
    if normals is not None:
        normals = np.ascontiguousarray(normals @ linear.T.astype(np.float32))
    return replace(surface, vertices=placed.astype(np.float32), normals=normals)


def parallel_camera(size: int, cube_mm: float) -> Camera:
    """The camera of which a picture of ``size`` px shows the cube [-1, 1]."""
    focal = size * DISTANCE_MM / cube_mm
    middle = (size - 1) / 2
    return Camera(focal, focal, middle, middle, size, size)


def photograph(
    surfaces: Sequence[Surface],
    cube_from_subject: Float[np.ndarray, "3 4"],
    cube_mm: float,
    size: int,
    lights: Lights,
    background: Float32[np.ndarray, "S S 3"],
) -> Picture:
    """A parallel picture (linear light) of surfaces given in the subject frame, mm."""
    placed = [into_view(surface, cube_from_subject, cube_mm) for surface in surfaces]
    return render(placed, parallel_camera(size, cube_mm), lights, background)
