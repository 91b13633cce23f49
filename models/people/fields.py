"""Solids as distances on a grid: of closed meshes, of thickened sheets, and what they enclose."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Float32, Int32
from scipy import ndimage

from ._fields_kernel import crossings, lower_by, splat

Mesh = tuple[Float32[np.ndarray, "_ 3"], Int32[np.ndarray, "_ 3"]]
"""Vertices, mm, and triangles, counter-clockwise seen from outside."""
Values = Float32[np.ndarray, "X Y Z"]


@dataclass(frozen=True)
class Grid:
    """Points ``low + cell * (i, j, k)``, mm.

    Attributes:
        low: (3,) float64 first point.
        cell: distance of neighbours.
        size: points along x, y, z.
    """

    low: Float[np.ndarray, " 3"]
    cell: float
    size: tuple[int, int, int]

    @classmethod
    def around(
        cls, low: Float[np.ndarray, " 3"], high: Float[np.ndarray, " 3"], cell: float
    ) -> Grid:
        """The grid from ``low`` to just beyond ``high``."""
        x, y, z = (int(n) for n in np.ceil((high - low) / cell).astype(int) + 1)
        return cls(np.asarray(low, np.float64), cell, (max(x, 2), max(y, 2), max(z, 2)))

    @property
    def high(self) -> Float[np.ndarray, " 3"]:
        """Last point, mm."""
        return self.low + self.cell * (np.array(self.size) - 1)

    def slices(
        self, low: Float[np.ndarray, " 3"], high: Float[np.ndarray, " 3"]
    ) -> tuple[slice, slice, slice]:
        """Where the grid's points lie within a box, mm."""
        first = np.clip(np.ceil((low - self.low) / self.cell), 0, self.size).astype(int)
        last = np.clip(np.floor((high - self.low) / self.cell) + 1, 0, self.size).astype(int)
        x, y, z = (slice(int(a), int(b)) for a, b in zip(first, last, strict=True))
        return x, y, z

    def coordinates(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """x, y, z of the points, each to be broadcast to (X, Y, Z)."""
        x, y, z = (
            (self.low[k] + self.cell * np.arange(self.size[k])).astype(np.float32) for k in range(3)
        )
        return x[:, None, None], y[None, :, None], z[None, None, :]


def distance_to_sheets(grid: Grid, sheets: Sequence[Mesh], band: float) -> Values:
    """Distance of each grid point from triangles, mm; ``band`` where it is more."""
    squared = np.full(grid.size, band * band, np.float32)
    for vertices, triangles in sheets:
        splat(vertices, triangles, grid.low, grid.cell, band, squared)
    return np.sqrt(squared)


def signed_distance_to(grid: Grid, closed: Sequence[Mesh], band: float) -> Values:
    """Distance from closed meshes, negative inside their union, within +-``band`` mm.

    Inside is where the winding number is positive, so meshes may cut through themselves.
    """
    distance = distance_to_sheets(grid, closed, band)
    winding = np.zeros(grid.size, np.int8)
    for vertices, triangles in closed:
        crossings(vertices, triangles, grid.low, grid.cell, winding)
    np.cumsum(winding, axis=2, dtype=np.int8, out=winding)
    np.negative(distance, out=distance, where=winding > 0)
    return distance


def lower(
    grid: Grid, values: Values, other: Grid, other_values: Float32[np.ndarray, "I J K"]
) -> None:
    """Unite in place: the lower of two fields, the other one interpolated where it reaches."""
    lower_by(other_values, other.low, other.cell, grid.low, grid.cell, values)


def distance_to_set(inside: Bool[np.ndarray, "X Y Z"], cells: int) -> Values:
    """Distance in cells to the nearest point of a set, Euclidean; at most ``cells`` + 1."""
    most = np.int16((cells + 1) ** 2)
    squared = np.where(inside, np.int16(0), most)
    for axis in range(3):
        found = squared.copy()
        for step in range(1, cells + 1):
            cost = np.int16(step * step)
            near, far = [slice(None)] * 3, [slice(None)] * 3
            near[axis], far[axis] = slice(None, -step), slice(step, None)
            for to, source in ((tuple(near), tuple(far)), (tuple(far), tuple(near))):
                np.minimum(found[to], squared[source] + cost, out=found[to])
        squared = found
    return np.sqrt(squared.astype(np.float32))


def closing(values: Values, cell: float, radius: float) -> Values:
    """The field of what a ball of ``radius`` mm from outside cannot reach; negative there.

    Of a solid given by its distance ``values`` (reaching beyond ``radius``). It is positive by
    about a cell at surfaces that the ball touches, so that uniting it with the solid changes
    nothing but crevices, gaps and closed voids.
    """
    free = values > radius
    labels = np.empty(free.shape, np.int32)
    count = int(np.asarray(ndimage.label(free, output=labels)))
    if count:
        rim = [labels[0], labels[-1], labels[:, 0], labels[:, -1], labels[..., 0], labels[..., -1]]
        outer = np.zeros(count + 1, bool)
        for side in rim:
            outer[np.unique(side)] = True
        outer[0] = False
        free = outer[labels]
    away = distance_to_set(free, int(np.ceil(radius / cell)) + 2)
    return (radius + cell - cell * away).astype(np.float32)
