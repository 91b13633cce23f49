"""The box around a face into which scans are fused, and the grids of cells over it.

The box is fixed to the head frame of the NEUTRAL face (origin at the sellion, x to the picture's
right, y down, z into the head, mm): 18 x 18 x 14 cm. Grids are cubic in cells (N, N, N), hold
values at the CENTRES of cells, and are indexed ``[x, y, z]``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Float32

from ..errors import InputError

LOW_MM = (-90.0, -60.0, -35.0)
HIGH_MM = (90.0, 120.0, 105.0)
TRUNCATION_CELLS = 3.0
"""Signed distances are cut off at so many of the widest edges of a cell."""


@dataclass(frozen=True)
class FaceBox:
    """A grid of ``cells`` cells along each side of the box.

    Attributes:
        cells: N; 32 by default, 64 for the larger networks.
    """

    cells: int = 32

    def __post_init__(self) -> None:
        if self.cells < 4:
            raise InputError(f"face box: {self.cells} cells, expected 4 or more")

    @property
    def shape(self) -> tuple[int, int, int]:
        """Of a grid of numbers."""
        return (self.cells, self.cells, self.cells)

    @property
    def low(self) -> Float32[np.ndarray, " 3"]:
        """Lower corner of the box, mm."""
        return np.array(LOW_MM, np.float32)

    @property
    def high(self) -> Float32[np.ndarray, " 3"]:
        """Upper corner of the box, mm."""
        return np.array(HIGH_MM, np.float32)

    @property
    def edges(self) -> Float32[np.ndarray, " 3"]:
        """Edges of a cell, mm."""
        return (self.high - self.low) / np.float32(self.cells)

    @property
    def first(self) -> Float32[np.ndarray, " 3"]:
        """Centre of cell (0, 0, 0), mm."""
        return self.low + self.edges / 2

    @property
    def last(self) -> Float32[np.ndarray, " 3"]:
        """Centre of the last cell, mm."""
        return self.high - self.edges / 2

    @property
    def truncation(self) -> float:
        """Where signed distances are cut off, mm: three of the widest edges of a cell."""
        return TRUNCATION_CELLS * float(self.edges.max())

    def centres(self) -> Float32[np.ndarray, "N N N 3"]:
        """Centres of all cells, mm."""
        axes = [
            low + step * (np.arange(self.cells, dtype=np.float32) + np.float32(0.5))
            for low, step in zip(self.low, self.edges, strict=True)
        ]
        return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)

    def index_from_mm(self, points: Float[np.ndarray, "*P 3"]) -> Float32[np.ndarray, "*P 3"]:
        """Places in cells: the centre of cell (i, j, k) is at (i, j, k)."""
        return ((points - self.first) / self.edges).astype(np.float32)

    def mm_from_index(self, index: Float[np.ndarray, "*P 3"]) -> Float32[np.ndarray, "*P 3"]:
        """The inverse of :meth:`index_from_mm`."""
        return (index * self.edges + self.first).astype(np.float32)

    def contains(self, points: Float[np.ndarray, "*P 3"]) -> Bool[np.ndarray, " *P"]:
        """Which points lie in the box."""
        return np.asarray(((points >= self.low) & (points <= self.high)).all(axis=-1))
