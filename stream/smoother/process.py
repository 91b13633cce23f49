"""The motion that all filters here assume: a velocity pushed about by white noise."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float64

Vector = Float64[np.ndarray, " N"]


def transition(count: int, dt_s: float) -> Float64[np.ndarray, "N2 N2"]:
    """F for ``count`` positions followed by their velocities."""
    F = np.eye(2 * count)
    F[range(count), range(count, 2 * count)] = dt_s
    return F


def process_noise(density: Vector, dt_s: float) -> Float64[np.ndarray, "N2 N2"]:
    """Q for positions followed by their velocities.

    Args:
        density: (n,) of the white noise on each velocity, unit^2/s^3.
        dt_s: step, s.
    """
    n = len(density)
    Q = np.zeros((2 * n, 2 * n))
    i, j = np.arange(n), np.arange(n, 2 * n)
    Q[i, i] = density * dt_s**3 / 3.0
    Q[i, j] = Q[j, i] = density * dt_s**2 / 2.0
    Q[j, j] = density * dt_s
    return Q
