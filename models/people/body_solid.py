"""The true solid of a dressed body, and what of its surroundings is dark."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32
from scipy import ndimage

from ..mesh.marching import surface_of_grid
from ..mesh.triangle_mesh import TriangleMesh
from .fields import (
    Grid,
    Mesh,
    Values,
    closing,
    distance_to_set,
    distance_to_sheets,
    lower,
    signed_distance_to,
)

CELL_MM = 5.5
"""Of the grid that a body's true surface is drawn from."""
_BAND = 2.2
_AROUND = 3.0


@dataclass(frozen=True)
class Sheets:
    """Thin surfaces that are to become solid.

    Attributes:
        meshes: their geometry.
        cell: of the grid that they are filled on, mm.
        thickness: by which they grow to each side, mm.
        radius: balls smaller than this do not get between them and what they lie on, mm.
        spared: (low, high) corners of a box that is thickened and not filled; None for none.
    """

    meshes: Sequence[Mesh]
    cell: float
    thickness: float
    radius: float
    spared: tuple[np.ndarray, np.ndarray] | None = None


def filled(solid: Sequence[Mesh], sheets: Sheets) -> tuple[Grid, Values]:
    """Sheets made solid together with what they enclose over closed meshes."""
    points = np.concatenate([vertices for vertices, _ in sheets.meshes]).astype(np.float64)
    margin = sheets.radius + 3 * sheets.cell
    grid = Grid.around(points.min(0) - margin, points.max(0) + margin, sheets.cell)
    reach = sheets.radius + 2 * sheets.cell
    thick = distance_to_sheets(grid, sheets.meshes, reach + sheets.thickness)
    thick -= np.float32(sheets.thickness)
    together = np.minimum(thick, signed_distance_to(grid, solid, reach))
    fill = closing(together, sheets.cell, sheets.radius)
    cells = int(np.ceil(2 * sheets.radius / sheets.cell))
    near = distance_to_set(thick < 0, cells) <= cells
    if sheets.spared is not None:
        near[grid.slices(*sheets.spared)] = False
    fill[~near] = np.float32(sheets.radius)
    return grid, np.minimum(thick, fill)


def thickened(solid: Sequence[Mesh], sheets: Sheets) -> Mesh:
    """:func:`filled` as a closed mesh."""
    grid, values = filled(solid, sheets)
    values = ndimage.gaussian_filter(values, 0.6)
    mesh = surface_of_grid(values, 0.0, grid.low, grid.high, inside_above=False)
    return mesh.vertices, mesh.triangles


@dataclass(frozen=True)
class BodySolid:
    """What is true of a dressed body.

    Attributes:
        mesh: the one closed surface, subject frame, mm.
        occlusion: share of the light from around that arrives at each of its vertices.
    """

    mesh: TriangleMesh
    occlusion: Float32[np.ndarray, " V"]


def unite(closed: Sequence[Mesh], sheets: Sheets | None = None, cell: float = CELL_MM) -> BodySolid:
    """One surface around closed meshes, which may cut each other, and sheets with what they hold.

    Args:
        closed: subject frame, mm.
        sheets: clothes.
        cell: of the grid, mm.
    """
    every = np.concatenate([vertices for vertices, _ in closed]).astype(np.float64)
    low, high = every.min(0), every.max(0)
    cloth = None
    if sheets is not None:
        cloth = filled(closed, sheets)
        points = np.concatenate([vertices for vertices, _ in sheets.meshes])
        low, high = np.minimum(low, points.min(0)), np.maximum(high, points.max(0))
    margin = _AROUND * cell + (0 if sheets is None else sheets.thickness)
    grid = Grid.around(low - margin, high + margin, cell)
    field = signed_distance_to(grid, closed, _BAND * cell)
    if cloth is not None:
        lower(grid, field, *cloth)
    _settle(field, cell)
    mesh = surface_of_grid(field, 0.0, grid.low, grid.high, inside_above=False)
    mesh = mesh.largest_component()
    return BodySolid(mesh, _occlusion(grid, field, mesh))


def _settle(field: Values, cell: float) -> None:
    """Leave out islands and fill voids that are closed."""
    labels = np.empty(field.shape, np.int32)
    ndimage.label(field < 0, output=labels)
    sizes = np.bincount(labels.reshape(-1))
    sizes[0] = 0
    field[(labels > 0) & (labels != sizes.argmax())] = np.float32(cell)
    ndimage.label(field >= 0, output=labels)
    field[(labels > 0) & (labels != labels[0, 0, 0])] = np.float32(-0.3 * cell)


def _occlusion(grid: Grid, field: Values, mesh: TriangleMesh) -> Float32[np.ndarray, " V"]:
    """From how much of the neighbourhood is solid: half of it where the surface is flat."""
    step = 2
    solid = (field[::step, ::step, ::step] < 0).astype(np.float32)
    wide = ndimage.gaussian_filter(solid, 4.0, truncate=2.5)
    places = ((mesh.vertices - grid.low) / (grid.cell * step)).T
    share = ndimage.map_coordinates(wide, places, order=1, mode="nearest")
    return np.clip(1.45 - 1.2 * share, 0.35, 1.0).astype(np.float32)
