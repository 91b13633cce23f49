"""A triangle mesh, and what can be said of it without another one."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float, Float32, Int32, UInt8

from ..errors import InputError
from ..render.raster import vertex_normals


@dataclass(frozen=True)
class TriangleMesh:
    """Vertices and the triangles between them.

    Attributes:
        vertices: (V, 3) mm, unless said.
        triangles: (M, 3) vertex indices, counter-clockwise seen from outside.
        colours: (V, 3) sRGB bytes, red first; None when there are none.

    Raises:
        InputError: a triangle names a vertex that is not there, or colours are not one a vertex.
    """

    vertices: Float32[np.ndarray, "V 3"]
    triangles: Int32[np.ndarray, "M 3"]
    colours: UInt8[np.ndarray, "V 3"] | None = None

    def __post_init__(self) -> None:
        count = len(self.vertices)
        if len(self.triangles) and not 0 <= self.triangles.min() <= self.triangles.max() < count:
            raise InputError(f"mesh: triangles point outside the {count} vertices")
        if self.colours is not None and len(self.colours) != count:
            raise InputError(f"mesh: {len(self.colours)} colours for {count} vertices")

    @cached_property
    def corners(self) -> Float32[np.ndarray, "M 3 3"]:
        """(M, 3, 3) the places of the triangles' corners."""
        return self.vertices[self.triangles]

    def vertex_normals(self) -> Float32[np.ndarray, "V 3"]:
        """(V, 3) unit, outwards, averaged by area; zero at vertices of no triangle."""
        return vertex_normals(
            np.ascontiguousarray(self.vertices), np.ascontiguousarray(self.triangles)
        )

    def triangle_areas(self) -> Float32[np.ndarray, " M"]:
        """(M,) area of each triangle, in the square of the vertices' unit."""
        return np.linalg.norm(self._crosses(), axis=1) / np.float32(2)

    def triangle_normals(self) -> Float32[np.ndarray, "M 3"]:
        """(M, 3) unit, outwards; zero for triangles without area."""
        crosses = self._crosses()
        lengths = np.linalg.norm(crosses, axis=1, keepdims=True)
        return np.divide(crosses, lengths, out=np.zeros_like(crosses), where=lengths > 0)

    def area(self) -> float:
        """Of all triangles, in the square of the vertices' unit."""
        return float(self.triangle_areas().sum(dtype=np.float64))

    def volume(self) -> float:
        """Enclosed by a closed mesh, in the cube of the vertices' unit; negative if inside out."""
        a, b, c = np.moveaxis(self.corners.astype(np.float64), 1, 0)
        return float(np.einsum("ij,ij->", a, np.cross(b, c)) / 6)

    def bounds(self) -> tuple[Float32[np.ndarray, " 3"], Float32[np.ndarray, " 3"]]:
        """The lowest and the highest coordinates of the vertices.

        Raises:
            InputError: there are no vertices.
        """
        if not len(self.vertices):
            raise InputError("mesh: no vertices, so no bounds")
        return self.vertices.min(axis=0), self.vertices.max(axis=0)

    def transformed(
        self,
        matrix: Float[np.ndarray, "4 4"] | Float[np.ndarray, "3 4"] | Float[np.ndarray, "3 3"],
    ) -> TriangleMesh:
        """The mesh with vertices ``matrix @ (x, y, z, 1)``; triangles keep facing outwards.

        Args:
            matrix: (3, 3) linear, or (3, 4) or (4, 4) affine; the last row is not looked at.
        """
        linear = matrix[:3, :3].astype(np.float64)
        offset = matrix[:3, 3] if matrix.shape[1] == 4 else np.zeros(3)
        vertices = (self.vertices @ linear.T + offset).astype(np.float32)
        mirrored = np.linalg.det(linear) < 0
        triangles = np.ascontiguousarray(self.triangles[:, ::-1]) if mirrored else self.triangles
        return TriangleMesh(vertices, triangles, self.colours)

    def is_watertight(self) -> bool:
        """Whether each edge joins exactly two triangles, that follow it in opposite directions."""
        if not len(self.triangles):
            return False
        ends = self._edges().astype(np.int64)
        count = len(self.vertices)
        forward = np.sort(ends[:, 0] * count + ends[:, 1])
        backward = np.sort(ends[:, 1] * count + ends[:, 0])
        once = not (forward[1:] == forward[:-1]).any()
        return once and bool((forward == backward).all()) and not (ends[:, 0] == ends[:, 1]).any()

    def components(self) -> list[TriangleMesh]:
        """Its connected pieces, each with its own vertices, the one of most area first.

        Triangles that share a vertex are connected. Vertices of no triangle are left out.
        """
        from scipy.sparse import coo_array
        from scipy.sparse.csgraph import connected_components

        if not len(self.triangles):
            return []
        count = len(self.vertices)
        ends = self._edges()
        links = coo_array((np.ones(len(ends), np.int8), (ends[:, 0], ends[:, 1])), (count, count))
        _, piece_of_vertex = connected_components(links, directed=False)
        piece = piece_of_vertex[self.triangles[:, 0]]
        areas = np.bincount(piece, self.triangle_areas())
        sizes = np.bincount(piece)
        order = [int(k) for k in np.argsort(-areas, kind="stable") if sizes[k]]
        return [self._kept(piece == k) for k in order]

    def largest_component(self) -> TriangleMesh:
        """The connected piece of most area.

        Raises:
            InputError: there are no triangles.
        """
        pieces = self.components()
        if not pieces:
            raise InputError("mesh: no triangles, so no largest component")
        return pieces[0]

    def _kept(self, triangles: np.ndarray) -> TriangleMesh:
        """Some triangles (a mask) and the vertices they use."""
        used, flat = np.unique(self.triangles[triangles], return_inverse=True)
        colours = None if self.colours is None else self.colours[used]
        return TriangleMesh(self.vertices[used], flat.reshape(-1, 3).astype(np.int32), colours)

    def _edges(self) -> Int32[np.ndarray, "E 2"]:
        """The directed edges of all triangles."""
        t = self.triangles
        return np.concatenate([t[:, [0, 1]], t[:, [1, 2]], t[:, [2, 0]]])

    def _crosses(self) -> Float32[np.ndarray, "M 3"]:
        corners = self.corners
        return np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
