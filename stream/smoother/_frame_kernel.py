"""Compiled steps of a frame, each in one call; imported where they are first needed.

Between two runs of a network everything else has left the processor's caches: what counts is how
few pieces of code a frame goes through. Results go into arrays that are given.
"""

from __future__ import annotations

import math
from typing import no_type_check

import numpy as np
from numba import njit

from ._displacement_kernel import agrees, displace, innovations, remember, weigh
from ._kernel import (
    absorb,
    choose_modes,
    correct,
    decay_of,
    difference,
    error_variances,
    forget_modes,
    predict,
    settle,
    weigh_modes,
)

_DENIED = 3.0  # times the gate: a displacement is wrong rather than the measurements


@njit(cache=True, error_model="numpy")
@no_type_check
def advance(
    x, P, unit_noise, slow, group, velocity_s, error_s, shares, usual, forget_s, modes, evidence,
    speeds, speed, likelihood, events, reference, rotates, pending, earlier, earlier_quat, dt_s,
):  # fmt: skip
    """Settle what is pending, move on, forget the modes and absorb the rotation, in place."""
    if pending:
        choose_modes(shares, likelihood, np.zeros(speeds.shape), modes, evidence, speeds, speed)
        settle(P, unit_noise, speed, group)
    remember(x, P, reference, earlier, earlier_quat)
    predict(x, P, unit_noise, slow, group, velocity_s, error_s, dt_s)
    forget_modes(shares, usual, forget_s, dt_s)
    if rotates:
        absorb(reference, x)
    for h in range(likelihood.shape[0]):
        for m in range(likelihood.shape[1]):
            likelihood[h, m] = 0.0
    for g in range(events.shape[0]):
        events[g] = 0


@njit(cache=True, error_model="numpy")
@no_type_check
def present(x, P, unit_noise, shares, modes, speeds, group, pending, lasting, size_variance, out):
    """Values, position (mm), and the pose's variance with that of the position in mm^2.

    Blendshapes are told within their limits.
    """
    values, place, variance = out[9:], out[:3], out[3:9]
    for i in range(x.shape[0]):
        values[i] = x[i, 0] if i < 16 else min(max(x[i, 0], 0.0), 1.0)
    for i in range(6):
        variance[i] = P[i, 0] + lasting[i]
        if pending:
            g, speed = group[i], 0.0
            for m in range(speeds.shape[1]):
                speed += shares[modes[g], m] * speeds[g, m]
            variance[i] += speed * unit_noise[g, 0]
    z = math.exp(values[5])
    place[0], place[1], place[2] = values[3] * z, values[4] * z, z
    in_mm(place, variance, size_variance)


@njit(cache=True, error_model="numpy")
@no_type_check
def in_mm(place, variance, size_variance):
    """Variance of direction and log distance to that of the position, in place."""
    x, y, z = place[0], place[1], place[2]
    scaled = variance[5] + size_variance
    variance[3] = variance[3] * z * z + x * x * scaled
    variance[4] = variance[4] * z * z + y * y * scaled
    variance[5] = z * z * scaled


@njit(cache=True, error_model="numpy")
@no_type_check
def channels(
    translation, expression, blendshapes, pose_variance, expression_variance, has, values, stated
):
    """Values of the 68 channels and the log-variances stated of them."""
    values[:3] = 0.0
    z = translation[2]
    values[3], values[4], values[5] = translation[0] / z, translation[1] / z, math.log(z)
    for i in range(6):
        stated[i] = math.log(max(pose_variance[i], 1e-12))
    for i in range(10):
        values[6 + i] = expression[i]
        stated[6 + i] = math.log(max(expression_variance[i], 1e-12))
    for i in range(52):
        value = blendshapes[i] if has else 0.0
        values[16 + i] = value
        stated[16 + i] = math.log(max(value * (1.0 - value), 0.0) + 0.02)


@njit(cache=True, error_model="numpy")
@no_type_check
def update(
    x, P, reference, rotates, quat, values, white, slow, unit_noise, group, modes, evidence,
    velocity_s, error_s, speeds, shares, likelihood, speed, outlying_s, events, gate, patience_s,
    dt_s, displaced, by, variance, noise, earlier, earlier_quat,
):  # fmt: skip
    """A measurement at the time predicted to: weigh the modes, settle the noise, correct.

    Everything in place. A group that even the fastest mode leaves farther off than ``gate`` is
    refused until it has been so for longer than ``patience_s``; then it begins anew. Where the
    pose was ``displaced``, that tells of the modes too, and is taken in before the measurement.

    Returns:
        Whether the displacement was taken in.
    """
    groups = speeds.shape[0]
    innovation = values - x[:, 0]
    if rotates:
        innovation[:3] = difference(quat, reference)
    innovation -= x[:, 2]
    said, distance = np.empty(speeds.shape), np.empty(groups)
    weigh_modes(said, distance, innovation, P, unit_noise, white, speeds, group)
    refused, jumped = np.zeros(groups, np.bool_), np.zeros(groups, np.bool_)
    for g in range(groups):
        events[g] = 1
        if distance[g] > gate:
            # The first frame of its kind is an outlier for no time yet, whatever the frame rate.
            outlying_s[g] = 0.0 if outlying_s[g] < 0.0 else outlying_s[g] + dt_s
            said[g] = 0.0
            jumped[g] = outlying_s[g] > patience_s
            refused[g] = not jumped[g]
            events[g] = 2 if jumped[g] else 0
        if not refused[g]:
            outlying_s[g] = -1.0
    if displaced:
        farther, decay = np.empty(6), np.empty((3, 3))
        for g in range(3):
            decay[g, 0], decay[g, 1], decay[g, 2] = decay_of(velocity_s[g], error_s[g], dt_s)
        innovations(by, x, reference, earlier, earlier_quat, farther)
        displaced = weigh(
            said, farther, variance, noise, P, earlier, unit_noise, speeds, group, decay, gate
        )
    choose_modes(shares, likelihood, said, modes, evidence, speeds, speed)
    settle(P, unit_noise, speed, group)
    if displaced:
        displace(x, P, farther, variance, earlier, group, decay)
        absorb(reference, x)
        innovation[:3] = difference(quat, reference)
        for i in range(6):
            innovation[i] = (innovation[i] if i < 3 else values[i] - x[i, 0]) - x[i, 2]
    correct(x, P, innovation, white, slow, group, refused, jumped)
    if rotates:
        absorb(reference, x)
    return displaced


@njit(cache=True, error_model="numpy")
@no_type_check
def see(
    x, P, reference, rotates, quat, values, stated, logarithms, conditions, lowest, highest,
    white_law, slow_law, error_share, error_ratio, errors, unit_noise, group, modes, evidence,
    velocity_s, error_s, speeds, shares, likelihood, speed, outlying_s, events, gate, patience_s,
    dt_s, displaced, by, variance, noise, earlier, earlier_quat, last, last_quat,
):  # fmt: skip
    """:func:`error_variances` into the rows of ``errors``, then :func:`update`.

    ``last`` holds values and new errors' variances of the last measurement, and takes up this one's
    (so does ``last_quat``). A displacement that contradicts both is left alone.
    """
    if not logarithms:
        for i in range(stated.shape[0]):
            errors[0, i] = math.log(max(stated[i], 1e-12))
        stated = errors[0].copy()
    white, passing, lasting = errors[0], errors[1], errors[2]
    error_variances(
        stated, conditions, lowest, highest, white_law, slow_law, error_share, error_ratio, white,
        passing, lasting,
    )  # fmt: skip
    if displaced:
        displaced = agrees(
            by, noise, quat, values, white, last_quat, last[0], last[1], group, _DENIED * gate
        )
    displaced = update(
        x, P, reference, rotates, quat, values, white, passing, unit_noise, group, modes, evidence,
        velocity_s, error_s, speeds, shares, likelihood, speed, outlying_s, events, gate,
        patience_s, dt_s, displaced, by, variance, noise, earlier, earlier_quat,
    )  # fmt: skip
    for i in range(last.shape[1]):
        last[0, i], last[1, i] = values[i], white[i]
    for k in range(4):
        last_quat[k] = quat[k]
    return displaced
