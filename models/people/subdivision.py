"""Loop subdivision of closed triangle meshes, as a matrix that is made once a topology."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float32, Int32
from scipy import sparse

from ..errors import InputError


@dataclass(frozen=True)
class Subdivision:
    """One step of Loop's scheme (1987) with Warren's weights; each triangle becomes four.

    Attributes:
        weights: (W, V) sparse; new vertices are ``weights @ vertices``.
        midpoints: (W, V) sparse; attributes of vertices, interpolated without smoothing.
        triangles: (4 M, 3); those of triangle t are 4 t to 4 t + 3.
    """

    weights: sparse.csr_array
    midpoints: sparse.csr_array
    triangles: Int32[np.ndarray, "N 3"]

    @classmethod
    def of(cls, triangles: Int32[np.ndarray, "M 3"], count: int) -> Subdivision:
        """Prepare a closed topology of ``count`` vertices.

        Raises:
            InputError: an edge does not join exactly two triangles.
        """
        t = triangles.astype(np.int64)
        directed = np.stack([t[:, [0, 1]], t[:, [1, 2]], t[:, [2, 0]]], 1)
        ends = np.sort(directed.reshape(-1, 2), axis=1)
        keys, edge = np.unique(ends[:, 0] * count + ends[:, 1], return_inverse=True)
        if (np.bincount(edge) != 2).any():
            raise InputError("subdivision: an edge does not join exactly two triangles")
        a, b = keys // count, keys % count
        n = len(keys)
        opposite = np.stack([t[:, 2], t[:, 0], t[:, 1]], 1).reshape(-1)
        near, far = 3 / 8, 1 / 8
        rows = np.concatenate([np.arange(n), np.arange(n), edge])
        columns = np.concatenate([a, b, opposite])
        values = np.concatenate([np.full(2 * n, near), np.full(3 * len(t), far)])
        odd = sparse.csr_array((values, (rows, columns)), (n, count))
        around = sparse.csr_array(
            (np.ones(2 * n), (np.concatenate([a, b]), np.concatenate([b, a]))), (count, count)
        )
        valence = np.asarray(around.sum(axis=1)).reshape(-1)
        beta = np.where(valence == 3, 3 / 16, 3 / (8 * np.maximum(valence, 1)))
        used = valence > 0
        even = sparse.diags_array(beta * used) @ around
        even = even + sparse.diags_array(np.where(used, 1 - valence * beta, 1.0))
        halves = sparse.csr_array(
            (np.full(2 * n, 0.5), (np.tile(np.arange(n), 2), np.concatenate([a, b]))), (n, count)
        )
        kept = sparse.eye_array(count, format="csr")
        m = (count + edge).reshape(-1, 3)
        quarters = np.stack(
            [
                np.stack([t[:, 0], m[:, 0], m[:, 2]], 1),
                np.stack([t[:, 1], m[:, 1], m[:, 0]], 1),
                np.stack([t[:, 2], m[:, 2], m[:, 1]], 1),
                m,
            ],
            1,
        )
        return cls(
            sparse.csr_array(sparse.vstack([even, odd])),
            sparse.csr_array(sparse.vstack([kept, halves])),
            np.ascontiguousarray(quarters.reshape(-1, 3).astype(np.int32)),
        )

    def points(self, vertices: Float[np.ndarray, "V 3"]) -> Float32[np.ndarray, "W 3"]:
        """The smoothed new vertices."""
        return np.asarray(self.weights @ vertices, np.float32)

    def attribute(self, values: Float[np.ndarray, " *V"]) -> Float32[np.ndarray, " *W"]:
        """What is known at the vertices, at the new ones."""
        return np.asarray(self.midpoints @ values, np.float32)


def split_corners(uv: Float32[np.ndarray, "M 3 2"]) -> Float32[np.ndarray, "N 3 2"]:
    """Texture coordinates of the corners of the four parts of each triangle."""
    a, b, c = uv[:, 0], uv[:, 1], uv[:, 2]
    ab, bc, ca = (a + b) / 2, (b + c) / 2, (c + a) / 2
    parts = [
        np.stack([a, ab, ca], 1),
        np.stack([b, bc, ab], 1),
        np.stack([c, ca, bc], 1),
        np.stack([ab, bc, ca], 1),
    ]
    return np.ascontiguousarray(np.stack(parts, 1).reshape(-1, 3, 2))
