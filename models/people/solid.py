"""The true solid of a dressed head: head, hair and clothes as one watertight surface."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float
from scipy import ndimage

from ..mesh.marching import surface_of_grid
from ..mesh.triangle_mesh import TriangleMesh
from ..render.surface import Surface
from .dressed import DressedHead
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

CELL_MM = 2.2
"""Of the grid that the true surface is drawn from."""
_BAND_MM = 4.6
_OUTSIDE = np.float32(_BAND_MM)
_FACE_LOW, _FACE_HIGH = np.array([-52.0, -24.0, -60.0]), np.array([52.0, 118.0, 62.0])
"""The part of the face that hair does not fill, head frame: it hangs before it."""
_CREVICES_LOW, _CREVICES_HIGH = np.array([-62.0, -32.0, -45.0]), np.array([62.0, 112.0, 110.0])
"""Where lids, nostrils and lips leave crevices."""
_PROUD_MM = 0.4
"""Painted hair that stands farther out of the solid than this is cut: tips too thin for it."""
_CREVICE_MM = 2.0
"""Radius of a ball that does not get into them."""


@dataclass(frozen=True)
class Padding:
    """How sheets become solid.

    Attributes:
        cell: of the grid that they are filled on, mm.
        thickness: by which sheets grow to each side, mm.
        radius: balls smaller than this do not get between them, or between them and the head, mm.
        spares_face: what lies before the face is thickened, and not filled.
        smoothing: deviation of a blur of the distances, in cells; 0 for none.
    """

    cell: float
    thickness: float
    radius: float
    spares_face: bool
    smoothing: float = 0.0


HAIR = Padding(2.8, 2.1, 9.0, True, 0.6)
BEARD = Padding(2.2, 1.4, 4.0, False)
CLOTH = Padding(3.0, 1.9, 6.0, True)
HOOD = Padding(3.0, 1.9, 14.0, True)
MOUTH = Padding(2.2, 1.4, 2.6, False)


@dataclass(frozen=True)
class Solid:
    """What is true of a dressed head.

    Attributes:
        mesh: the one closed surface, head frame, mm, cut off at the box.
        under_hair: surface just below that of filled hair: the dark ground between its locks.
        grid: where ``field`` is known.
        field: distance from the solid's surface, mm, negative inside, cut off outside.
    """

    mesh: TriangleMesh
    under_hair: TriangleMesh | None
    grid: Grid
    field: Values

    def holds(self, surface: Surface) -> Surface | None:
        """The part of a surface that does not stand out of the solid; None if there is none."""
        places = ((surface.vertices - self.grid.low) / self.grid.cell).T
        above = ndimage.map_coordinates(self.field, places, order=1, mode="nearest")
        kept = above[surface.triangles].mean(1) <= _PROUD_MM
        if not kept.any():
            return None
        uv = None if surface.uv is None else np.ascontiguousarray(surface.uv[kept])
        return replace(surface, triangles=np.ascontiguousarray(surface.triangles[kept]), uv=uv)


def meshes(surfaces: Sequence[Surface]) -> list[Mesh]:
    """The geometry of surfaces."""
    return [(s.vertices, s.triangles) for s in surfaces]


def _filled(
    solid: Mesh,
    sheets: Sequence[Mesh],
    padding: Padding,
    low: Float[np.ndarray, " 3"],
    high: Float[np.ndarray, " 3"],
) -> tuple[Grid, Values] | None:
    """Sheets made solid together with what they enclose."""
    points = np.concatenate([vertices for vertices, _ in sheets])
    margin = padding.radius + 3 * padding.cell
    # Beyond the box too, where the ball must get by.
    low = np.maximum(points.min(0) - margin, low - margin)
    high = np.minimum(points.max(0) + margin, high + margin)
    if (high <= low).any():
        return None
    grid = Grid.around(low, high, padding.cell)
    reach = padding.radius + 2 * padding.cell
    thick = distance_to_sheets(grid, sheets, reach + padding.thickness) - padding.thickness
    together = np.minimum(thick, signed_distance_to(grid, [solid], reach))
    fill = closing(together, padding.cell, padding.radius)
    far = int(np.ceil(2 * padding.radius / padding.cell))
    near = distance_to_set(thick < 0, far) <= far
    if padding.spares_face:
        near[grid.slices(_FACE_LOW, _FACE_HIGH)] = False
    fill[~near] = _OUTSIDE
    filled = np.minimum(thick, fill)
    if padding.smoothing:
        filled = ndimage.gaussian_filter(filled, padding.smoothing)
    return grid, filled.astype(np.float32)


def solidify(
    head: DressedHead, low: Float[np.ndarray, " 3"], high: Float[np.ndarray, " 3"]
) -> Solid:
    """Unite all that is solid within a box (mm, head frame)."""
    points, _ = head.closed
    sheets = [s.vertices for s in (*head.hair, *head.beard, *head.cloth, *head.hood)]
    every = np.concatenate([points, *sheets])
    low = np.maximum(low, every.min(0) - 3 * CELL_MM)
    high = np.minimum(high, every.max(0) + 3 * CELL_MM)
    grid = Grid.around(low, high, CELL_MM)
    field = signed_distance_to(grid, [head.closed], _BAND_MM)
    _add_balls(grid, field, head)
    _close_crevices(grid, field)
    under: TriangleMesh | None = None
    for surfaces, padding in (
        (head.mouth, MOUTH), (head.beard, BEARD), (head.cloth, CLOTH), (head.hood, HOOD),
        (head.hair, HAIR),
    ):  # fmt: skip
        if not surfaces:
            continue
        made = _filled(head.coarse, meshes(surfaces), padding, grid.low, grid.high)
        if made is None:
            continue
        lower(grid, field, made[0], made[1])
        if padding is HAIR:
            under = _below(made[0], made[1], padding)
    _drop_islands(field)
    mesh = surface_of_grid(field, 0.0, grid.low, grid.high, inside_above=False)
    return Solid(mesh.largest_component(), under, grid, field)


def _add_balls(grid: Grid, field: Values, head: DressedHead) -> None:
    for centre, radius in head.balls:
        box = grid.slices(centre - radius - _BAND_MM, centre + radius + _BAND_MM)
        x, y, z = grid.coordinates()
        dx, dy, dz = x[box[0]] - centre[0], y[:, box[1]] - centre[1], z[:, :, box[2]] - centre[2]
        ball = np.sqrt(dx * dx + dy * dy + dz * dz) - radius
        field[box] = np.minimum(field[box], ball)


def _close_crevices(grid: Grid, field: Values) -> None:
    margin = 4 * grid.cell
    wide = grid.slices(_CREVICES_LOW - margin, _CREVICES_HIGH + margin)
    box = grid.slices(_CREVICES_LOW, _CREVICES_HIGH)
    if min(s.stop - s.start for s in wide) < 2:
        return
    # Beyond the wide box nothing is known: what is closed near its border is not taken.
    closed = closing(field[wide], grid.cell, _CREVICE_MM)
    inner = tuple(
        slice(b.start - w.start, b.stop - w.start) for b, w in zip(box, wide, strict=True)
    )
    field[box] = np.minimum(field[box], closed[inner])


def _drop_islands(field: Values) -> None:
    """Leave out pieces, such as locks that hang free, that do not join the largest one."""
    labels = np.empty(field.shape, np.int32)
    ndimage.label(field < 0, output=labels)
    sizes = np.bincount(labels.reshape(-1))
    sizes[0] = 0
    if len(sizes) > 2:
        field[(labels > 0) & (labels != sizes.argmax())] = _OUTSIDE


def _below(grid: Grid, hair: Values, padding: Padding) -> TriangleMesh | None:
    """The surface of filled hair, lowered by a little more than its sheets' thickness."""
    deeper = hair + np.float32(padding.thickness + 0.6)
    mesh = surface_of_grid(deeper, 0.0, grid.low, grid.high, inside_above=False)
    return mesh if len(mesh.triangles) else None
