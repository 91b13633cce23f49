"""A few weighted points that stand for all vertices of the face model in sums over them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Float64

from .morphable import FaceModel, LinearPoints

_ROUNDS = 8  # of Lloyd's algorithm; the clusters need only be compact, not best


@dataclass(frozen=True)
class Quadrature:
    """Clusters of neighbouring vertices: their mean points, as a linear model, and their sizes.

    A cluster's mean is itself linear in shape and blendshapes, so sums of smooth functions over the
    vertices are met to second order in the clusters' radius (about 6 mm).

    Attributes:
        points: (K) mean points.
        weights: (K,) shares of the vertices, summing to 1.
    """

    points: LinearPoints
    weights: Float64[np.ndarray, " K"]

    @classmethod
    def of(cls, model: FaceModel, count: int = 128) -> Quadrature:
        """Cluster the mean face's vertices; the same model gives the same clusters."""
        count = min(count, len(model.mean))
        labels = _cluster(model.mean, count)
        sizes = np.bincount(labels, minlength=count)
        kept = np.flatnonzero(sizes)
        member = (labels[None, :] == kept[:, None]) / sizes[kept, None]
        member = member.astype(np.float32)
        points = LinearPoints(
            mean=member @ model.mean,
            shape_basis=member @ model.shape_basis,
            expression_basis=member @ model.expression_basis,
            blendshape_basis=member @ model.blendshape_basis,
        )
        return cls(points, sizes[kept] / len(labels))


def _cluster(vertices: Float32[np.ndarray, "N 3"], count: int) -> np.ndarray:
    """(N,) index of the cluster of each vertex."""
    centres = vertices[np.linspace(0, len(vertices) - 1, count).round().astype(int)]
    labels = np.zeros(len(vertices), dtype=np.intp)
    for _ in range(_ROUNDS):
        # |v - c|^2 without |v|^2, which is the same for all centres.
        distance = np.sum(centres**2, axis=1)[None, :] - 2.0 * vertices @ centres.T
        labels = np.argmin(distance, axis=1)
        sizes = np.bincount(labels, minlength=count)
        sums = np.stack(
            [np.bincount(labels, vertices[:, a], minlength=count) for a in range(3)], axis=1
        )
        filled = sizes > 0
        centres = np.where(filled[:, None], sums / np.maximum(sizes, 1)[:, None], centres)
    return labels
