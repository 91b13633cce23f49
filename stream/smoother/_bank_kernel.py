"""Compiled step of the filter bank; imported where it is first needed (numba is slow)."""

from __future__ import annotations

from typing import no_type_check

import numpy as np
from jaxtyping import Float64
from numba import njit


@njit(cache=True)
@no_type_check
def predict_channels(
    x: Float64[np.ndarray, "N 2"],
    P: Float64[np.ndarray, "N 3"],
    density: Float64[np.ndarray, " N"],
    dt_s: float,
) -> None:
    """Constant-velocity prediction in place; P holds (position, both, velocity) variances."""
    for i in range(x.shape[0]):
        q = density[i]
        x[i, 0] += dt_s * x[i, 1]
        P[i, 0] += dt_s * (2.0 * P[i, 1] + dt_s * P[i, 2]) + q * dt_s**3 / 3.0
        P[i, 1] += dt_s * P[i, 2] + q * dt_s**2 / 2.0
        P[i, 2] += q * dt_s


@njit(cache=True)
@no_type_check
def update_channels(
    x: Float64[np.ndarray, "N 2"],
    P: Float64[np.ndarray, "N 3"],
    measured: Float64[np.ndarray, " N"],
    variance: Float64[np.ndarray, " N"],
    gate: float,
) -> None:
    """Kalman update in place of channels whose position is measured.

    Where the squared innovation exceeds ``gate`` times its variance the channel has moved: its
    position's variance is widened until the innovation is explained.
    """
    for i in range(x.shape[0]):
        innovation = measured[i] - x[i, 0]
        S = P[i, 0] + variance[i]
        missing = innovation * innovation / gate - S
        if missing > 0.0:
            P[i, 0] += missing
            S += missing
        gain = P[i, 0] / S
        gain_velocity = P[i, 1] / S
        x[i, 0] += gain * innovation
        x[i, 1] += gain_velocity * innovation
        P[i, 2] -= gain_velocity * P[i, 1]
        P[i, 1] *= 1.0 - gain
        P[i, 0] *= 1.0 - gain
