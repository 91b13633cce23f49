"""Heads as triangle meshes: density on a grid, marching cubes, colours from the field."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Final

import numpy as np
import torch
from jaxtyping import Float, Float32

from ..errors import InputError
from ..face.eg3d_camera import UNIT_MM
from ..mesh.marching import surface_of_grid
from ..mesh.triangle_mesh import TriangleMesh
from .generator import Generator, Planes
from .limits import LEAST_CELLS

LEVEL: Final = 10.0
"""Density, a world unit, of the surface."""
_SHARE: Final = 0.94
"""Of the box that the grid covers, around its centre; at the very border is fog."""
_POINTS: Final = 1 << 17
"""Asked at once."""
_Field = Callable[[Float[torch.Tensor, "1 p 3"]], Float[torch.Tensor, "1 p k"]]


def head_mesh(
    generator: Generator,
    planes: Planes,
    cells: int = 128,
    level: float = LEVEL,
    millimetres: float = UNIT_MM,
) -> TriangleMesh:
    """The surface of one head, closed, with colours; mm, axes of the world (y up, z to the front).

    Args:
        generator: whose field.
        planes: of one head.
        cells: values along each axis of the grid.
        level: density of the surface.
        millimetres: in a world unit; 1 for world units.

    Raises:
        InputError: planes of several heads, an impossible grid, or no density of that level.
    """
    if len(planes.w) != 1:
        raise InputError(f"mesh of {len(planes.w)} heads, expected one")
    if cells < LEAST_CELLS:
        raise InputError(f"mesh: {cells} cells, expected {LEAST_CELLS} or more")
    half = _SHARE * generator.config.box / 2
    low, high = (-half, -half, -half), (half, half, half)
    mesh = surface_of_grid(density_grid(generator, planes, cells, half), level, low, high, True)
    if not len(mesh.triangles):
        raise InputError(
            f"mesh: nowhere is the density {level:g}; a lower level may have a surface"
        )
    mesh = mesh.largest_component()
    colours = _ask(lambda points: generator.colours(planes, points), mesh.vertices, planes.w.device)
    bytes_ = np.rint(np.clip(colours, 0, 1) * 255).astype(np.uint8)
    return replace(mesh, vertices=mesh.vertices * np.float32(millimetres), colours=bytes_)


def density_grid(
    generator: Generator, planes: Planes, cells: int, half: float
) -> Float32[np.ndarray, "n n n"]:
    """Density at the corners of a cubic grid around the origin, indices (x, y, z).

    Args:
        generator: whose field.
        planes: of one head.
        cells: values along each axis.
        half: reach of the grid along each axis, world units.
    """
    axis = np.linspace(-half, half, cells, dtype=np.float32)
    points = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1).reshape(-1, 3)
    values = _ask(lambda some: generator.density(planes, some)[..., None], points, planes.w.device)
    return values.reshape(cells, cells, cells)


@torch.no_grad()
def _ask(
    field: _Field, points: Float32[np.ndarray, "p 3"], device: torch.device
) -> Float32[np.ndarray, "p k"]:
    parts = [
        field(torch.from_numpy(points[None, i : i + _POINTS]).to(device))[0].float().cpu().numpy()
        for i in range(0, len(points), _POINTS)
    ]
    return np.concatenate(parts)
