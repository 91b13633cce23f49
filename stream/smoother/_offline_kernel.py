"""Compiled passes of the off-line smoother over a stretch of steps of one bank."""

from __future__ import annotations

import math
from typing import no_type_check

import numpy as np
from jaxtyping import Float64, Int64, UInt8
from numba import njit

from ._displacement_kernel import displace, innovations, remember
from ._kernel import (
    absorb,
    begin_channel,
    correct_channel,
    decay_of,
    difference,
    exponential,
    multiply,
    noise_of,
    predict,
    settle,
    take_in,
)

Channels = Float64[np.ndarray, "T N"]
ByGroup = Float64[np.ndarray, "T G"]
ByMode = Float64[np.ndarray, "T G M"]


@njit(cache=True)
@no_type_check
def modes_backward(
    shares: ByMode,
    likelihood: ByMode,
    dt_s: Float64[np.ndarray, " T"],
    usual: Float64[np.ndarray, "G M"],
    forget_s: Float64[np.ndarray, " H"],
    beyond: Float64[np.ndarray, "G M"],
) -> None:
    """Smooth the filtered mode probabilities, in place (the backward pass of a Markov chain).

    ``beyond`` is what the steps after this stretch say of the modes at its end, and takes up what
    they and the stretch say of those just before it.
    """
    ahead = np.empty(shares.shape[2])
    for t in range(shares.shape[0] - 1, -1, -1):
        for g in range(shares.shape[1]):
            total = 0.0
            best = likelihood[t, g, 0]
            for m in range(1, shares.shape[2]):
                best = max(best, likelihood[t, g, m])
            mean = 0.0
            for m in range(shares.shape[2]):
                ahead[m] = beyond[g, m] * math.exp(likelihood[t, g, m] - best)
                mean += usual[g, m] * ahead[m]
                shares[t, g, m] *= beyond[g, m]
                total += shares[t, g, m]
            stays = math.exp(-dt_s[t] / forget_s[g])
            largest = 0.0
            for m in range(shares.shape[2]):
                shares[t, g, m] /= total
                beyond[g, m] = stays * ahead[m] + (1.0 - stays) * mean
                largest = max(largest, beyond[g, m])
            for m in range(shares.shape[2]):
                beyond[g, m] /= largest


@njit(cache=True)
@no_type_check
def forward(
    x: Float64[np.ndarray, "N 3"],
    P: Float64[np.ndarray, "N 6"],
    quat: Float64[np.ndarray, " 4"],
    slow_before: Float64[np.ndarray, " N"],
    rotates: bool,
    dt_s: Float64[np.ndarray, " T"],
    events: UInt8[np.ndarray, "T G"],
    values: Channels,
    quats: Float64[np.ndarray, "T 4"],
    white: Channels,
    slow: Channels,
    speeds: ByGroup,
    by: Float64[np.ndarray, "T 6"],
    by_variance: Float64[np.ndarray, "T 6"],
    group: Int64[np.ndarray, " N"],
    velocity_s: Float64[np.ndarray, " G"],
    error_s: Float64[np.ndarray, " G"],
    all_x: Float64[np.ndarray, "T N 3"],
    all_P: Float64[np.ndarray, "T N 6"],
    all_quats: Float64[np.ndarray, "T 4"],
) -> None:
    """Filter a stretch with given velocity variances; the state goes on from ``x, P, quat``."""
    groups = speeds.shape[1]
    noise = np.zeros((groups, 3))
    earlier, earlier_quat = np.empty((6, 4)), np.empty(4)
    farther, decay = np.empty(6), np.empty((3, 3))
    for t in range(dt_s.shape[0]):
        displaced = rotates and by_variance[t, 0] > 0.0
        if displaced:
            remember(x, P, quat, earlier, earlier_quat)
        predict(x, P, noise, slow_before, group, velocity_s, error_s, dt_s[t])
        settle(P, noise, speeds[t], group)
        if rotates:
            absorb(quat, x)
        if displaced:
            for g in range(3):
                decay[g, 0], decay[g, 1], decay[g, 2] = decay_of(velocity_s[g], error_s[g], dt_s[t])
            innovations(by[t], x, quat, earlier, earlier_quat, farther)
            displace(x, P, farther, by_variance[t], earlier, group, decay)
            absorb(quat, x)
        if rotates:
            turned = difference(quats[t], quat)
        for i in range(x.shape[0]):
            event = events[t, group[i]]
            if event == 0:
                continue
            innovation = turned[i] if rotates and i < 3 else values[t, i] - x[i, 0]
            if event == 2:
                begin_channel(x, P, i, x[i, 0] + innovation, white[t, i], slow[t, i])
                continue
            correct_channel(x, P, i, innovation - x[i, 2], white[t, i])
        if rotates:
            absorb(quat, x)
        for i in range(x.shape[0]):
            slow_before[i] = slow[t, i]
        copy_state(x, P, quat, all_x[t], all_P[t], all_quats[t])


@njit(cache=True)
@no_type_check
def backward(
    all_x: Float64[np.ndarray, "T N 3"],
    all_P: Float64[np.ndarray, "T N 6"],
    all_quats: Float64[np.ndarray, "T 4"],
    next_x: Float64[np.ndarray, "N 3"],
    next_P: Float64[np.ndarray, "N 6"],
    next_quat: Float64[np.ndarray, " 4"],
    rotates: bool,
    dt_s: Float64[np.ndarray, " T"],
    events: UInt8[np.ndarray, "T G"],
    slow: Channels,
    speeds: ByGroup,
    by: Float64[np.ndarray, "T 6"],
    by_variance: Float64[np.ndarray, "T 6"],
    group: Int64[np.ndarray, " N"],
    velocity_s: Float64[np.ndarray, " G"],
    error_s: Float64[np.ndarray, " G"],
) -> None:
    """Rauch-Tung-Striebel, in place, from what is known of the step after the stretch.

    ``dt_s``, ``events``, ``speeds`` and displacements are of the step that follows each of the
    stretch's; ``slow`` is of the stretch's own. ``next_*`` take up the stretch's first state.
    """
    groups = speeds.shape[1]
    decay, noise = np.empty((groups, 3)), np.empty((groups, 3))
    turned = np.zeros(3)
    for t in range(all_x.shape[0] - 1, -1, -1):
        for g in range(groups):
            decay[g, 0], decay[g, 1], decay[g, 2] = decay_of(velocity_s[g], error_s[g], dt_s[t])
            unit = noise_of(velocity_s[g], dt_s[t])
            for k in range(3):
                noise[g, k] = speeds[t, g] * unit[k]
        if rotates:
            k = decay[group[0], 1]
            moved = multiply(
                exponential(k * all_x[t, 0, 1], k * all_x[t, 1, 1], k * all_x[t, 2, 1]),
                all_quats[t],
            )
            turned = difference(next_quat, moved)
        displaced = rotates and by_variance[t, 0] > 0.0
        for i in range(all_x.shape[1]):
            g = group[i]
            if events[t, g] == 2:  # what came after began anew and knows nothing of this
                continue
            turns = rotates and i < 3
            off = turned[i] if turns else 0.0
            variance, farther = 0.0, 0.0
            if displaced and i < 6:
                variance, farther = by_variance[t, i], by[t, i] - decay[g, 1] * all_x[t, i, 1]
            backward_channel(
                all_x[t, i], all_P[t, i], next_x[i], next_P[i], decay[g], noise[g], slow[t, i],
                turns, off, variance, farther,
            )  # fmt: skip
        if rotates:
            absorb(all_quats[t], all_x[t])
        copy_state(all_x[t], all_P[t], all_quats[t], next_x, next_P, next_quat)


@njit(cache=True)
@no_type_check
def copy_state(
    x: Float64[np.ndarray, "N 3"],
    P: Float64[np.ndarray, "N 6"],
    quat: Float64[np.ndarray, " 4"],
    to_x: Float64[np.ndarray, "N 3"],
    to_P: Float64[np.ndarray, "N 6"],
    to_quat: Float64[np.ndarray, " 4"],
) -> None:
    """Element by element: where arrays are assigned, numba compiles for seconds longer."""
    for i in range(4):
        to_quat[i] = quat[i]
    for i in range(x.shape[0]):
        for k in range(3):
            to_x[i, k] = x[i, k]
        for k in range(6):
            to_P[i, k] = P[i, k]


@njit(cache=True)
@no_type_check
def backward_channel(
    x: Float64[np.ndarray, " 3"],
    P: Float64[np.ndarray, " 6"],
    next_x: Float64[np.ndarray, " 3"],
    next_P: Float64[np.ndarray, " 6"],
    decay: Float64[np.ndarray, " 3"],
    noise: Float64[np.ndarray, " 3"],
    slow: float,
    turns: bool,
    turned: float,
    variance: float,
    farther: float,
) -> None:
    """One channel's step back, in place: ``x += C (x_next - F x)``, ``P += C (P_next - P_p) C^T``.

    Written out in scalars, which compiles in a fraction of the time of matrices and runs faster.
    ``decay`` holds a, tau (1 - a) and phi of the transition F, ``noise`` (xx, xv, vv) of its noise.
    Of a rotation, ``turned`` is how far the next value is off the predicted one. A displacement
    with a ``variance``, by which the value went ``farther`` than predicted, is taken in before.
    """
    a, k, phi = decay[0], decay[1], decay[2]
    xx, xv, vv, xc, vc, cc = P[0], P[1], P[2], P[3], P[4], P[5]
    ahead = (x[0] + k * x[1], a * x[1], phi * x[2])
    # F P, and of P_p = F P F^T + Q the lower half.
    f00, f01, f02 = xx + k * xv, xv + k * vv, xc + k * vc
    f10, f11, f12 = a * xv, a * vv, a * vc
    f20, f21, f22 = phi * xc, phi * vc, phi * cc
    p00 = f00 + k * f01 + noise[0]
    p10 = f10 + k * f11 + noise[1]
    p11 = a * f11 + noise[2]
    p20 = f20 + k * f21
    p21 = a * f21
    p22 = phi * f22 + slow * (1.0 - phi * phi)
    added = (0.0, 0.0, 0.0)  # to the prediction, by a displacement
    if variance > 0.0:
        f = (f00, f01, f02, f10, f11, f12, f20, f21, f22)
        f, p, added = displaced(x, P, f, (p00, p10, p11, p20, p21, p22), variance, farther)
        f00, f01, f02, f10, f11, f12, f20, f21, f22 = f
        p00, p10, p11, p20, p21, p22 = p
    # Its Cholesky factor; a state that is known for certain has no variance left to divide by.
    l00 = math.sqrt(max(p00, 1e-14 * p00 + 1e-30))
    l10, l20 = p10 / l00, p20 / l00
    l11 = math.sqrt(max(p11 - l10 * l10, 1e-14 * p11 + 1e-30))
    l21 = (p21 - l20 * l10) / l11
    l22 = math.sqrt(max(p22 - l20 * l20 - l21 * l21, 1e-14 * p22 + 1e-30))
    factor = (l00, l10, l11, l20, l21, l22)
    # The gain C = (P_p^-1 F P)^T, row by row.
    c00, c01, c02 = solve(factor, f00, f10, f20)
    c10, c11, c12 = solve(factor, f01, f11, f21)
    c20, c21, c22 = solve(factor, f02, f12, f22)
    o0 = (turned if turns else next_x[0] - ahead[0]) - added[0]
    o1, o2 = next_x[1] - ahead[1] - added[1], next_x[2] - ahead[2] - added[2]
    x[0] += c00 * o0 + c01 * o1 + c02 * o2
    x[1] += c10 * o0 + c11 * o1 + c12 * o2
    x[2] += c20 * o0 + c21 * o1 + c22 * o2
    d00, d10, d11 = next_P[0] - p00, next_P[1] - p10, next_P[2] - p11
    d20, d21, d22 = next_P[3] - p20, next_P[4] - p21, next_P[5] - p22
    e00, e01, e02 = (
        c00 * d00 + c01 * d10 + c02 * d20,
        c00 * d10 + c01 * d11 + c02 * d21,
        c00 * d20 + c01 * d21 + c02 * d22,
    )
    e10, e11, e12 = (
        c10 * d00 + c11 * d10 + c12 * d20,
        c10 * d10 + c11 * d11 + c12 * d21,
        c10 * d20 + c11 * d21 + c12 * d22,
    )
    e20, e21, e22 = (
        c20 * d00 + c21 * d10 + c22 * d20,
        c20 * d10 + c21 * d11 + c22 * d21,
        c20 * d20 + c21 * d21 + c22 * d22,
    )
    P[0] += e00 * c00 + e01 * c01 + e02 * c02
    P[1] += e00 * c10 + e01 * c11 + e02 * c12
    P[2] += e10 * c10 + e11 * c11 + e12 * c12
    P[3] += e00 * c20 + e01 * c21 + e02 * c22
    P[4] += e10 * c20 + e11 * c21 + e12 * c22
    P[5] += e20 * c20 + e21 * c21 + e22 * c22


@njit(cache=True)
@no_type_check
def displaced(x, P, f, p, variance, farther):
    """Takes a displacement into a state (in place) and into the prediction made of it, alike.

    With u and w their covariances with it and S its own variance, ``P -= u u^T / S``,
    ``P_p -= w w^T / S``, ``F P -= w u^T / S``. Returns F P, P_p and what the prediction moves by.
    """
    f00, f01, f02, f10, f11, f12, f20, f21, f22 = f
    p00, p10, p11, p20, p21, p22 = p
    u0, u1, u2 = f00 - P[0], f01 - P[1], f02 - P[3]
    w0, w1, w2 = p00 - f00, p10 - f10, p20 - f20
    S = w0 - u0 + variance
    f = (
        f00 - w0 * u0 / S, f01 - w0 * u1 / S, f02 - w0 * u2 / S,
        f10 - w1 * u0 / S, f11 - w1 * u1 / S, f12 - w1 * u2 / S,
        f20 - w2 * u0 / S, f21 - w2 * u1 / S, f22 - w2 * u2 / S,
    )  # fmt: skip
    p = (
        p00 - w0 * w0 / S, p10 - w0 * w1 / S, p11 - w1 * w1 / S,
        p20 - w0 * w2 / S, p21 - w1 * w2 / S, p22 - w2 * w2 / S,
    )  # fmt: skip
    take_in(x, P, u0, u1, u2, S, farther)
    return f, p, (w0 / S * farther, w1 / S * farther, w2 / S * farther)


@njit(cache=True)
@no_type_check
def solve(
    factor: tuple[float, float, float, float, float, float], b0: float, b1: float, b2: float
) -> tuple[float, float, float]:
    """``(L L^T)^-1 b`` of a lower factor (00, 10, 11, 20, 21, 22)."""
    l00, l10, l11, l20, l21, l22 = factor
    y0 = b0 / l00
    y1 = (b1 - l10 * y0) / l11
    y2 = (b2 - l20 * y0 - l21 * y1) / l22
    z2 = y2 / l22
    z1 = (y1 - l21 * z2) / l11
    return (y0 - l10 * z1 - l20 * z2) / l00, z1, z2
