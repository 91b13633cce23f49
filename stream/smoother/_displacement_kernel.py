"""Compiled steps that take in by how much a pose moved since the frame before.

A displacement y = x_t - x_(t-1) + e of the values of the first six channels is a measurement of two
states at once. With C the covariance of the state now with the value then, its innovation has the
variance ``S = P_xx - 2 C_x + P_xx(then) + q`` and the gain ``(P_x - C) / S``.
"""

from __future__ import annotations

import math
from typing import no_type_check

import numpy as np
from numba import njit

from ._kernel import difference, exponential, multiply, take_in

_POSE = 6  # channels


@njit(cache=True, error_model="numpy")
@no_type_check
def weighted(by, variance, gain, factor, by_motion, group, taken):
    """How a displacement counts, into the rows of ``taken``: values, variances, those of its noise.

    See :class:`.displacement_tuning.DisplacementTuning` for ``gain``, ``factor``, ``by_motion``.
    """
    squared = np.zeros(by_motion.shape[1])
    for i in range(_POSE):
        taken[0, i] = gain[i] * by[i]
        squared[group[i]] += taken[0, i] ** 2
    for i in range(_POSE):
        g = group[i]
        taken[2, i] = factor[i] * variance[i]
        taken[1, i] = taken[2, i] + by_motion[0, g] * squared[g] + by_motion[1, g] * squared[0]


@njit(cache=True, error_model="numpy")
@no_type_check
def remember(x, P, reference, earlier, earlier_quat):
    """Keep what a displacement that is to come will be measured from: values and covariances.

    A row of ``earlier`` takes up x, xx, xv, xc; it has none where displacements do not count.
    """
    for i in range(earlier.shape[0]):
        earlier[i, 0], earlier[i, 1], earlier[i, 2], earlier[i, 3] = (
            x[i, 0], P[i, 0], P[i, 1], P[i, 3],
        )  # fmt: skip
    for k in range(4):
        earlier_quat[k] = reference[k]


@njit(cache=True, error_model="numpy")
@no_type_check
def covariances_then(earlier, decay):
    """Of the predicted (x, v, c) with the value that it was predicted from."""
    return (
        earlier[1] + decay[1] * earlier[2],
        decay[0] * earlier[2],
        decay[2] * earlier[3],
    )


@njit(cache=True, error_model="numpy")
@no_type_check
def innovations(by, x, reference, earlier, earlier_quat, innovation):
    """How much farther the pose went than predicted."""
    target = multiply(exponential(by[0], by[1], by[2]), earlier_quat)
    turned = difference(target, reference)
    for i in range(_POSE):
        moved = turned[i] if i < 3 else by[i] - (x[i, 0] - earlier[i, 0])
        innovation[i] = moved - (x[i, 0] if i < 3 else 0.0)


@njit(cache=True, error_model="numpy")
@no_type_check
def agrees(by, noise, quat, values, white, last_quat, last_values, last_white, group, gate):
    """Whether it is what two measurements that follow each other say, as far as these are true.

    Its variance is that of its noise: one that is far off must not excuse itself by its size.
    """
    turned = difference(quat, last_quat)
    for g in range(group[_POSE - 1] + 1):
        total, count = 0.0, 0.0
        for i in range(_POSE):
            if group[i] == g:
                moved = turned[i] if i < 3 else values[i] - last_values[i]
                off = by[i] - moved
                total += off * off / (noise[i] + white[i] + last_white[i])
                count += 1.0
        if not total <= gate * count:
            return False
    return True


@njit(cache=True, error_model="numpy")
@no_type_check
def weigh(said, innovation, variance, noise, P, earlier, unit_noise, speeds, group, decay, gate):
    """How well each mode explains the innovations, on top of what ``said`` holds of the modes.

    Innovations of measurement and displacement count as independent, which they are but nearly:
    both hold the error of the prediction.

    False, and nothing is changed, where even the fastest leaves a group farther off than ``gate``.
    """
    last = speeds.shape[1] - 1
    found = np.zeros((group[_POSE - 1] + 1, last + 1))
    distance, count = np.zeros(found.shape[0]), np.zeros(found.shape[0])
    for i in range(_POSE):
        g = group[i]
        then = covariances_then(earlier[i], decay[g])
        base = P[i, 0] - 2.0 * then[0] + earlier[i, 1] + variance[i]
        squared = innovation[i] ** 2
        for m in range(last + 1):
            S = base + speeds[g, m] * unit_noise[g, 0]
            found[g, m] -= 0.5 * (math.log(S) + squared / S)
        distance[g] += squared / (S - variance[i] + noise[i])
        count[g] += 1.0
    for g in range(found.shape[0]):
        if not distance[g] <= gate * count[g]:
            return False
    for g in range(found.shape[0]):
        for m in range(last + 1):
            said[g, m] += found[g, m]
    return True


@njit(cache=True, error_model="numpy")
@no_type_check
def displace(x, P, innovation, variance, earlier, group, decay):
    """The Kalman update by a displacement, in place; the noise of the motion is in P."""
    for i in range(_POSE):
        then = covariances_then(earlier[i], decay[group[i]])
        u0, u1, u2 = P[i, 0] - then[0], P[i, 1] - then[1], P[i, 3] - then[2]
        S = u0 - then[0] + earlier[i, 1] + variance[i]
        take_in(x[i], P[i], u0, u1, u2, S, innovation[i])
