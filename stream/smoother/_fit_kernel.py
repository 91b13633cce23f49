"""Compiled likelihood of measured sequences, for fitting how faces move."""

from __future__ import annotations

import math
from typing import no_type_check

import numpy as np
from jaxtyping import Bool, Float64, Int64
from numba import njit

from ._kernel import (
    absorb,
    begin,
    choose_modes,
    correct,
    difference,
    forget_modes,
    predict,
    settle,
    weigh_modes,
)


@njit(cache=True)
@no_type_check
def log_likelihood(
    rotates: bool,
    dt_s: Float64[np.ndarray, " T"],
    first: Bool[np.ndarray, " T"],
    quats: Float64[np.ndarray, "T 4"],
    values: Float64[np.ndarray, "T N"],
    white: Float64[np.ndarray, "T N"],
    slow: Float64[np.ndarray, "T N"],
    group: Int64[np.ndarray, " N"],
    error_s: Float64[np.ndarray, " G"],
    speeds: Float64[np.ndarray, "G M"],
    velocity_s: Float64[np.ndarray, " G"],
    usual: Float64[np.ndarray, "1 M"],
    forget_s: float,
    evidence: float,
    most: float,
) -> float:
    """Sum of the log-densities of the innovations of the channels that share a set of modes.

    ``first`` marks where a sequence begins. Innovations that are farther than ``most`` squared
    Mahalanobis units a channel under the fastest mode count as so far: outliers tell nothing.
    """
    channels, groups = values.shape[1], speeds.shape[0]
    x, P = np.zeros((channels, 3)), np.zeros((channels, 6))
    quat = np.array([1.0, 0.0, 0.0, 0.0])
    noise, shares = np.zeros((groups, 3)), usual.copy()
    said, likelihood = np.zeros(speeds.shape), np.zeros(usual.shape)
    distance, speed = np.zeros(groups), np.zeros(groups)
    modes, forget, weight = np.zeros(groups, np.int64), np.array([forget_s]), np.array([evidence])
    no = np.zeros(groups, np.bool_)
    counts = np.zeros(groups)
    for i in range(channels):
        counts[group[i]] += 1.0
    before = np.zeros(channels)
    total = 0.0
    for t in range(dt_s.shape[0]):
        if first[t]:
            begin(x, P, values[t], white[t], slow[t])
            if rotates:
                x[:3, 0] = 0.0
                quat[:] = quats[t]
            shares[:] = usual
            before = slow[t]
            continue
        predict(x, P, noise, before, group, velocity_s, error_s, dt_s[t])
        forget_modes(shares, usual, forget, dt_s[t])
        innovation = values[t] - x[:, 0]
        if rotates:
            absorb(quat, x)
            innovation[:3] = difference(quats[t], quat)
        innovation -= x[:, 2]
        weigh_modes(said, distance, innovation, P, noise, white[t], speeds, group)
        usually = shares.copy()
        choose_modes(shares, likelihood, said, modes, weight, speeds, speed)
        best = likelihood.max()
        density = 0.0
        for m in range(usual.shape[1]):
            density += usually[0, m] * math.exp(likelihood[0, m] - best)
        least = 0.0
        for g in range(groups):
            least += said[g, -1] + 0.5 * counts[g] * (distance[g] - most)
        total += max(best + math.log(density), evidence * least)
        settle(P, noise, speed, group)
        correct(x, P, innovation, white[t], slow[t], group, no, no)
        if rotates:
            absorb(quat, x)
        before = slow[t]
    return total
