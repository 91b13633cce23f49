"""Loops of edges in a mesh of quads, what they enclose, and membranes spanned over them."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
from jaxtyping import Float32, Int32
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from scipy.sparse.linalg import spsolve

from ..errors import InputError


class QuadMesh:
    """Neighbours of the vertices of a mesh of quads (a triangle repeats its last vertex)."""

    def __init__(self, quads: Int32[np.ndarray, "F 4"]) -> None:
        self.quads = quads
        self._corners = [list(dict.fromkeys(quad)) for quad in quads.tolist()]
        self._faces: dict[int, set[int]] = defaultdict(set)
        self._beside: dict[int, set[int]] = defaultdict(set)
        for face, corners in enumerate(self._corners):
            for a, b in zip(corners, corners[1:] + corners[:1], strict=True):
                self._faces[a].add(face)
                self._beside[a].add(b)
                self._beside[b].add(a)

    def loop_through(self, vertex: int) -> Int32[np.ndarray, " L"]:
        """The shortest closed loop of edges through a vertex that goes straight on everywhere.

        "Straight on" is to the edge that shares no quad with the one before; it ends at vertices
        that have not four edges.

        Raises:
            InputError: no loop closes.
        """
        found = [self._follow(vertex, towards) for towards in sorted(self._beside[vertex])]
        closed = [loop for loop in found if loop]
        if not closed:
            raise InputError(f"no loop of edges closes through vertex {vertex}")
        return np.array(min(closed, key=len), np.int32)

    def _follow(self, start: int, towards: int) -> list[int]:
        """Vertices of the loop; none where it does not close."""
        loop, before, here = [start], start, towards
        while here != start and len(loop) < len(self._beside):
            loop.append(here)
            beside = self._faces[before] & self._faces[here]
            ahead = [
                v
                for v in self._beside[here]
                if v != before and not any(v in self._corners[face] for face in beside)
            ]
            if len(self._beside[here]) != 4 or len(ahead) != 1:
                return []
            before, here = here, ahead[0]
        return loop if here == start else []

    def enclosed(self, loop: Int32[np.ndarray, " L"], outside: int) -> Int32[np.ndarray, " K"]:
        """Faces on that side of a loop where the vertex ``outside`` is not."""
        pairs = zip(loop.tolist(), np.roll(loop, -1).tolist(), strict=True)
        cut = {frozenset(pair) for pair in pairs}
        edges: dict[frozenset[int], list[int]] = defaultdict(list)
        for face, corners in enumerate(self._corners):
            for a, b in zip(corners, corners[1:] + corners[:1], strict=True):
                edges[frozenset((a, b))].append(face)
        joined = np.array([f for e, f in edges.items() if len(f) == 2 and e not in cut], np.int64)
        n = len(self._corners)
        graph = coo_matrix((np.ones(len(joined)), (joined[:, 0], joined[:, 1])), shape=(n, n))
        label = connected_components(graph, directed=False)[1]
        away = label[next(iter(self._faces[outside]))]
        first, second = loop[0], loop[1]
        beside = self._faces[int(first)] & self._faces[int(second)]
        within = [label[face] for face in beside if label[face] != away]
        if len(within) != 1:
            raise InputError("the loop does not part the mesh")
        return np.flatnonzero(label == within[0]).astype(np.int32)


def membrane_weights(
    quads: Int32[np.ndarray, "F 4"], loop: Int32[np.ndarray, " L"]
) -> tuple[Int32[np.ndarray, " K"], Float32[np.ndarray, "K L"]]:
    """Weights by which a loop carries the vertices that it encloses.

    Each vertex is the mean of its neighbours (Tutte 1963): on a plane loop the result is a flat
    membrane without folds.

    Args:
        quads: the faces that are enclosed.
        loop: their boundary.

    Returns:
        The (K,) vertices within, and for each the weights of the loop's; rows sum to 1.
    """
    ends = np.concatenate([quads, np.roll(quads, -1, axis=1)]).reshape(2, -1)
    ends = np.unique(np.sort(ends[:, ends[0] != ends[1]], axis=0), axis=1)
    used = np.unique(quads)
    inner = np.setdiff1d(used, loop).astype(np.int32)
    place = {int(v): i for i, v in enumerate([*inner, *loop])}
    a, b = (np.array([place[int(v)] for v in side]) for side in ends)
    k = len(inner)
    size = k + len(loop)
    adjacency = coo_matrix((np.ones(len(a)), (a, b)), shape=(size, size)).tocsr()
    adjacency = adjacency + adjacency.T
    degree = np.asarray(adjacency.sum(axis=1)).ravel()
    laplacian = coo_matrix((degree[:k], (np.arange(k), np.arange(k))), shape=(k, k)).tocsc()
    laplacian = laplacian - adjacency[:k, :k]
    weights = spsolve(laplacian.tocsc(), adjacency[:k, k:].toarray())
    return inner, np.asarray(weights, np.float32).reshape(k, len(loop))
