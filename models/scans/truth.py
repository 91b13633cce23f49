"""The true face over the box: signed distance and colour of the closed head."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float32, Int32, UInt8

from ._grid_kernels import nearest_triangles, winding
from .box import FaceBox
from .colours import Paint


@runtime_checkable
class Solids(Protocol):
    """A head as the union of closed meshes."""

    @property
    def triangles(self) -> Int32[np.ndarray, "M 3"]:
        """Of all solids, counter-clockwise from outside."""
        ...

    @property
    def parts(self) -> Iterable[Iterable[int]]:
        """First triangle of each solid, and the first after it."""
        ...


class TruthGrids:
    """Fills grids; keeps its buffers from one face to the next."""

    def __init__(self, box: FaceBox, closed: Solids) -> None:
        self.box = box
        self._closed = closed
        self._turns = np.empty(box.shape, np.int16)
        self._squared = np.empty(box.shape, np.float32)
        self._nearest = np.empty(box.shape, np.int32)
        self._weights = np.empty((*box.shape, 2), np.float32)
        self._centres = box.centres()

    def fill(
        self, placed: Float32[np.ndarray, "V 3"], paint: Paint
    ) -> tuple[Float32[np.ndarray, "N N N"], UInt8[np.ndarray, "N N N 3"]]:
        """Signed distance (mm, negative inside, truncated) and colour (sRGB) of a face.

        The head is the union of solids: the distance is the least of theirs, exact outside.
        Colours are those of the nearest point of the surface, 0 beyond the truncation.

        Args:
            placed: (V, 3) vertices of the closed head, head frame, mm.
            paint: its colours.
        """
        sdf, nearest, weights = self.distance(placed)
        colour = np.zeros((*self.box.shape, 3), np.uint8)
        near = nearest >= 0
        which = nearest[near]
        chosen = np.ascontiguousarray(weights[near])
        corners = placed[self._closed.triangles[which]]
        v, w = chosen[:, :1], chosen[:, 1:]
        points = corners[:, 0] * (1 - v - w) + corners[:, 1] * v + corners[:, 2] * w
        size = float(self.box.edges.min())
        colour[near] = paint.at(points, self._closed.triangles, which, chosen, size)
        return sdf, colour

    def distance(
        self, placed: Float32[np.ndarray, "V 3"]
    ) -> tuple[
        Float32[np.ndarray, "N N N"], Int32[np.ndarray, "N N N"], Float32[np.ndarray, "N N N 2"]
    ]:
        """Signed distance, nearest triangle (-1: none) and weights of its later corners."""
        box = self.box
        placed = np.ascontiguousarray(placed, np.float32)
        index = box.index_from_mm(placed)
        sdf = np.full(box.shape, np.float32(box.truncation))
        nearest = np.full(box.shape, -1, np.int32)
        weights = np.zeros((*box.shape, 2), np.float32)
        for start, end in self._closed.parts:
            part = self._closed.triangles[start:end]
            winding(index, part, self._turns)
            nearest_triangles(
                placed, part, box.first, box.edges, box.truncation, self._squared, self._nearest,
                self._weights,
            )  # fmt: skip
            signed = np.sqrt(self._squared)
            np.negative(signed, out=signed, where=self._turns > 0)
            first = signed < sdf
            sdf[first] = signed[first]
            nearest[first] = np.where(self._nearest[first] >= 0, self._nearest[first] + start, -1)
            weights[first] = self._weights[first]
        return sdf, nearest, weights
