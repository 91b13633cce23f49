"""The segmentation of least cost: colours on either side, and a boundary that keeps to edges."""

from __future__ import annotations

from typing import Any, no_type_check

import cv2
import numpy as np
import numpy.typing as npt
from jaxtyping import Float32, UInt8
from numba import njit

Array = npt.NDArray[Any]


def edge_weights(image: UInt8[np.ndarray, "S S 3"]) -> Float32[np.ndarray, "2 S S"]:
    """What a boundary to the next pixel to the right, and below, costs: little across an edge."""
    lab = cv2.cvtColor(cv2.GaussianBlur(image, (0, 0), 0.7), cv2.COLOR_BGR2LAB).astype(np.float32)
    weights = np.ones((2, *lab.shape[:2]), np.float32)
    across = np.square(np.diff(lab, axis=1)).sum(axis=2)
    down = np.square(np.diff(lab, axis=0)).sum(axis=2)
    scale = 2.0 * (float(across.mean() + down.mean()) / 2.0 + 1e-3)
    weights[0, :, :-1] = 0.04 + 0.96 * np.exp(-across / scale)
    weights[1, :-1] = 0.04 + 0.96 * np.exp(-down / scale)
    return weights


def minimal_cut(
    cost: Float32[np.ndarray, "S S"],
    weights: Float32[np.ndarray, "2 S S"],
    steps: int = 250,
) -> Float32[np.ndarray, "S S"]:
    """The share of foreground ``u`` in [0, 1] that minimises ``sum cost u + sum weights |grad u|``.

    This is the minimal cut in its convex form (Chan, Esedoglu and Nikolova, 2006): any threshold of
    it is a segmentation of least cost. Solved by the primal-dual method of Chambolle and Pock, 2011
    (steps 1/sqrt(8) on both sides).

    Args:
        cost: of a pixel as foreground, negative where it is likely to be.
        weights: of a boundary, see :func:`edge_weights`.
        steps: of the method.
    """
    u = (cost < 0).astype(np.float32)
    _solve(cost, weights, u, steps)
    return u


@njit(cache=True, nogil=True)
@no_type_check
def _solve(cost: Array, weights: Array, u: Array, steps: int) -> None:
    height, width = cost.shape
    tau = np.float32(0.35)
    right = np.zeros((height, width), np.float32)
    below = np.zeros((height, width), np.float32)
    over = u.copy()
    for _ in range(steps):
        for y in range(height):
            for x in range(width):
                if x + 1 < width:
                    p = right[y, x] + tau * (over[y, x + 1] - over[y, x])
                    w = weights[0, y, x]
                    right[y, x] = min(w, max(-w, p))
                if y + 1 < height:
                    p = below[y, x] + tau * (over[y + 1, x] - over[y, x])
                    w = weights[1, y, x]
                    below[y, x] = min(w, max(-w, p))
        for y in range(height):
            for x in range(width):
                spread = right[y, x] + below[y, x]
                if x > 0:
                    spread -= right[y, x - 1]
                if y > 0:
                    spread -= below[y - 1, x]
                new = u[y, x] + tau * (spread - cost[y, x])
                new = min(np.float32(1.0), max(np.float32(0.0), new))
                over[y, x] = np.float32(2.0) * new - u[y, x]
                u[y, x] = new
