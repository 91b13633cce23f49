"""Compiled steps of the filter bank; imported where they are first needed (numba is slow).

Each channel has three states: its value x, its velocity v, and the slow error c of what measures
it; P holds their covariance as (xx, xv, vv, xc, vc, cc). A measurement is z = x + c + w. Velocities
die down with a time constant and are pushed about by noise (an Ornstein-Uhlenbeck process), c is a
first-order autoregressive process; both are discretised exactly, so that one long step is many
short ones.
"""

from __future__ import annotations

import math
from typing import no_type_check

import numpy as np
from jaxtyping import Bool, Float64, Int64
from numba import njit

States = Float64[np.ndarray, "N 3"]
Covariances = Float64[np.ndarray, "N 6"]
Channels = Float64[np.ndarray, " N"]
ByGroup = Float64[np.ndarray, " G"]
ByMode = Float64[np.ndarray, "G M"]


@njit(cache=True, error_model="numpy")
@no_type_check
def multiply(
    a: Float64[np.ndarray, " 4"], b: Float64[np.ndarray, " 4"]
) -> Float64[np.ndarray, " 4"]:
    """Product of two unit quaternions, normalised, w >= 0."""
    c = np.empty(4)
    c[0] = a[0] * b[0] - a[1] * b[1] - a[2] * b[2] - a[3] * b[3]
    c[1] = a[0] * b[1] + a[1] * b[0] + a[2] * b[3] - a[3] * b[2]
    c[2] = a[0] * b[2] - a[1] * b[3] + a[2] * b[0] + a[3] * b[1]
    c[3] = a[0] * b[3] + a[1] * b[2] - a[2] * b[1] + a[3] * b[0]
    length = math.sqrt(c[0] ** 2 + c[1] ** 2 + c[2] ** 2 + c[3] ** 2)
    return c / (length if c[0] >= 0.0 else -length)


@njit(cache=True, error_model="numpy")
@no_type_check
def exponential(x: float, y: float, z: float) -> Float64[np.ndarray, " 4"]:
    """Unit quaternion of a rotation vector."""
    angle = math.sqrt(x * x + y * y + z * z)
    factor = 0.5 - angle * angle / 48.0 if angle < 1e-4 else math.sin(0.5 * angle) / angle
    return np.array([math.cos(0.5 * angle), factor * x, factor * y, factor * z])


@njit(cache=True, error_model="numpy")
@no_type_check
def difference(
    a: Float64[np.ndarray, " 4"], b: Float64[np.ndarray, " 4"]
) -> Float64[np.ndarray, " 3"]:
    """Rotation vector of ``a b^-1``: what leads from b to a, in the outer frame."""
    d = multiply(a, np.array([b[0], -b[1], -b[2], -b[3]]))
    sine = math.sqrt(d[1] ** 2 + d[2] ** 2 + d[3] ** 2)
    factor = 2.0 if sine < 1e-9 else 2.0 * math.atan2(sine, d[0]) / sine
    return factor * d[1:]


@njit(cache=True, error_model="numpy")
@no_type_check
def begin(x: States, P: Covariances, z: Channels, white: Channels, slow: Channels) -> None:
    """Start at one measurement, of which nothing was known before."""
    for i in range(x.shape[0]):
        begin_channel(x, P, i, z[i], white[i], slow[i])


@njit(cache=True, error_model="numpy")
@no_type_check
def begin_channel(x: States, P: Covariances, i: int, z: float, white: float, slow: float) -> None:
    x[i, 0], x[i, 1], x[i, 2] = z, 0.0, 0.0
    # The value's error is minus that of the measurement, the slow part of which goes on.
    P[i, 0], P[i, 1], P[i, 2] = white + slow, 0.0, 0.0
    P[i, 3], P[i, 4], P[i, 5] = -slow, 0.0, slow


@njit(cache=True, error_model="numpy")
@no_type_check
def decay_of(velocity_s: float, error_s: float, dt_s: float) -> tuple[float, float, float]:
    """What is left of a velocity, what it carried the value on by, what is left of an error."""
    a = math.exp(-dt_s / velocity_s)
    return a, velocity_s * (1.0 - a), math.exp(-dt_s / error_s)


@njit(cache=True, error_model="numpy")
@no_type_check
def noise_of(velocity_s: float, dt_s: float) -> tuple[float, float, float]:
    """Covariance (xx, xv, vv) that a step adds where velocities have unit variance."""
    tau, a = velocity_s, math.exp(-dt_s / velocity_s)
    xx = tau * tau * (2.0 * dt_s / tau - 3.0 + 4.0 * a - a * a)
    return max(0.0, xx), tau * (1.0 - a) ** 2, 1.0 - a * a


@njit(cache=True, error_model="numpy")
@no_type_check
def predict(
    x: States,
    P: Covariances,
    unit_noise: Float64[np.ndarray, "G 3"],
    slow: Channels,
    group: Int64[np.ndarray, " N"],
    velocity_s: ByGroup,
    error_s: ByGroup,
    dt_s: float,
) -> None:
    """Move on, in place, without the noise of the motion: how much depends on the mode.

    ``unit_noise`` takes up its covariance (xx, xv, vv) for a velocity of unit variance.
    """
    decay = np.empty((velocity_s.shape[0], 3))
    for g in range(velocity_s.shape[0]):
        decay[g, 0], decay[g, 1], decay[g, 2] = decay_of(velocity_s[g], error_s[g], dt_s)
        unit_noise[g, 0], unit_noise[g, 1], unit_noise[g, 2] = noise_of(velocity_s[g], dt_s)
    for i in range(x.shape[0]):
        g = group[i]
        a, k, phi = decay[g, 0], decay[g, 1], decay[g, 2]
        xx, xv, vv, xc, vc, cc = P[i]
        x[i, 0] += k * x[i, 1]
        x[i, 1] *= a
        x[i, 2] *= phi
        P[i, 0] = xx + k * (2.0 * xv + k * vv)
        P[i, 1] = a * (xv + k * vv)
        P[i, 2] = a * a * vv
        P[i, 3] = phi * (xc + k * vc)
        P[i, 4] = a * phi * vc
        P[i, 5] = phi * phi * cc + slow[i] * (1.0 - phi * phi)


@njit(cache=True, error_model="numpy")
@no_type_check
def forget_modes(shares: ByMode, usual: ByMode, forget_s: ByGroup, dt_s: float) -> None:
    """Probabilities of the modes drift towards the usual ones, in place."""
    for h in range(shares.shape[0]):
        stays = math.exp(-dt_s / forget_s[h])
        for m in range(shares.shape[1]):
            shares[h, m] = usual[h, m] + (shares[h, m] - usual[h, m]) * stays


@njit(cache=True, error_model="numpy")
@no_type_check
def settle(
    P: Covariances,
    unit_noise: Float64[np.ndarray, "G 3"],
    speed: ByGroup,
    group: Int64[np.ndarray, " N"],
) -> None:
    """Add the noise of a motion whose velocities have these variances."""
    for i in range(P.shape[0]):
        g = group[i]
        for k in range(3):
            P[i, k] += speed[g] * unit_noise[g, k]


@njit(cache=True, error_model="numpy")
@no_type_check
def weigh_modes(
    log_likelihood: ByMode,
    distance: ByGroup,
    innovation: Channels,
    P: Covariances,
    unit_noise: Float64[np.ndarray, "G 3"],
    white: Channels,
    speeds: ByMode,
    group: Int64[np.ndarray, " N"],
) -> None:
    """How well each mode explains the innovations, and how far off the fastest leaves them.

    ``distance`` takes up the squared Mahalanobis distance a channel under the last mode.
    """
    log_likelihood[:] = 0.0
    distance[:] = 0.0
    counts = np.zeros(distance.shape[0])
    last = speeds.shape[1] - 1
    for i in range(innovation.shape[0]):
        g = group[i]
        counts[g] += 1.0
        base = P[i, 0] + 2.0 * P[i, 3] + P[i, 5] + white[i]
        squared = innovation[i] ** 2
        for m in range(last + 1):
            S = base + speeds[g, m] * unit_noise[g, 0]
            log_likelihood[g, m] -= 0.5 * (math.log(S) + squared / S)
        distance[g] += squared / S
    for g in range(distance.shape[0]):
        distance[g] /= max(counts[g], 1.0)


@njit(cache=True, error_model="numpy")
@no_type_check
def choose_modes(
    shares: ByMode,
    likelihood: ByMode,
    log_likelihood: ByMode,
    modes: Int64[np.ndarray, " G"],
    evidence: ByGroup,
    speeds: ByMode,
    speed: ByGroup,
) -> None:
    """Bayes' rule in place, and the velocity variance of each group that is then expected.

    ``likelihood`` takes up what the groups of each set of modes say together.
    """
    likelihood[:] = 0.0
    for g in range(modes.shape[0]):
        h = modes[g]
        for m in range(shares.shape[1]):
            likelihood[h, m] += evidence[h] * log_likelihood[g, m]
    for h in range(shares.shape[0]):
        best = likelihood[h].max()
        total = 0.0
        for m in range(shares.shape[1]):
            shares[h, m] = shares[h, m] * math.exp(likelihood[h, m] - best) + 1e-9
            total += shares[h, m]
        for m in range(shares.shape[1]):
            shares[h, m] /= total
    for g in range(modes.shape[0]):
        speed[g] = 0.0
        for m in range(shares.shape[1]):
            speed[g] += shares[modes[g], m] * speeds[g, m]


@njit(cache=True, error_model="numpy")
@no_type_check
def take_in(
    x: Float64[np.ndarray, " 3"],
    P: Float64[np.ndarray, " 6"],
    u0: float,
    u1: float,
    u2: float,
    S: float,
    innovation: float,
) -> None:
    """The Kalman update of one channel, in place, by one number of variance ``S``.

    ``u`` is the covariance of (x, v, c) with it.
    """
    x[0] += u0 / S * innovation
    x[1] += u1 / S * innovation
    x[2] += u2 / S * innovation
    P[0] -= u0 * u0 / S
    P[1] -= u0 * u1 / S
    P[2] -= u1 * u1 / S
    P[3] -= u0 * u2 / S
    P[4] -= u1 * u2 / S
    P[5] -= u2 * u2 / S


@njit(cache=True, error_model="numpy")
@no_type_check
def correct_channel(x: States, P: Covariances, i: int, innovation: float, white: float) -> None:
    """The Kalman update of one channel, of which value and slow error are seen together."""
    hx, hv, hc = P[i, 0] + P[i, 3], P[i, 1] + P[i, 4], P[i, 3] + P[i, 5]
    take_in(x[i], P[i], hx, hv, hc, hx + hc + white, innovation)


@njit(cache=True, error_model="numpy")
@no_type_check
def correct(
    x: States,
    P: Covariances,
    innovation: Channels,
    white: Channels,
    slow: Channels,
    group: Int64[np.ndarray, " N"],
    refused: Bool[np.ndarray, " G"],
    jumped: Bool[np.ndarray, " G"],
) -> None:
    """The Kalman update, in place; refused groups are left alone, jumped ones begin anew."""
    for i in range(x.shape[0]):
        g = group[i]
        if refused[g]:
            continue
        if jumped[g]:
            begin_channel(x, P, i, x[i, 0] + x[i, 2] + innovation[i], white[i], slow[i])
            continue
        correct_channel(x, P, i, innovation[i], white[i])


@njit(cache=True, error_model="numpy")
@no_type_check
def absorb(reference: Float64[np.ndarray, " 4"], x: States) -> None:
    """The first three values are a rotation vector: the reference takes it up, in place."""
    turned = multiply(exponential(x[0, 0], x[1, 0], x[2, 0]), reference)
    for k in range(4):  # numba takes seconds to compile an assignment of arrays
        reference[k] = turned[k]
    for i in range(3):
        x[i, 0] = 0.0


@njit(cache=True, error_model="numpy")
@no_type_check
def error_variances(
    stated: Channels,
    conditions: Float64[np.ndarray, " F"],
    lowest: Float64[np.ndarray, " F"],
    highest: Float64[np.ndarray, " F"],
    white_law: Float64[np.ndarray, "N A"],
    slow_law: Float64[np.ndarray, "N A"],
    error_share: Channels,
    error_ratio: Channels,
    white: Channels,
    passing: Channels,
    lasting: Channels,
) -> None:
    """Evaluate the error laws (level, weight of what is stated, weights of the conditions).

    Conditions count as far as they were measured, unknown ones (NaN) as the middle.
    """
    seen = np.empty(conditions.shape[0])
    for f in range(seen.shape[0]):
        value = conditions[f]
        if math.isnan(value):
            value = 0.5 * (lowest[f] + highest[f])
        seen[f] = min(max(value, lowest[f]), highest[f])
    for i in range(stated.shape[0]):
        a = white_law[i, 0] + white_law[i, 1] * stated[i]
        b = slow_law[i, 0] + slow_law[i, 1] * stated[i]
        for f in range(seen.shape[0]):
            a += white_law[i, 2 + f] * seen[f]
            b += slow_law[i, 2 + f] * seen[f]
        white[i] = math.exp(a)
        whole = math.exp(b)
        # Where measurements are quiet, what lasts is quiet too: it does not wander by itself.
        passing[i] = min(error_share[i] * whole, error_ratio[i] * white[i])
        lasting[i] = whole - passing[i]


@njit(cache=True, error_model="numpy")
@no_type_check
def restlessness(
    quat: Float64[np.ndarray, " 4"],
    view: Float64[np.ndarray, " 3"],
    last_quat: Float64[np.ndarray, " 4"],
    last_view: Float64[np.ndarray, " 3"],
    last_step: Float64[np.ndarray, " 6"],
    variance: Float64[np.ndarray, " 6"],
    ratio: float,
) -> float:
    """Mean squared change of a pose's velocity, over what errors make of it; moves ``last_*`` on.

    ``ratio`` is this step's duration over the last one's, r: with independent errors of variance v
    ``step - r last`` has the variance ``2 v (1 + r + r^2)``, 6 v where steps are alike.
    """
    turned = difference(quat, last_quat)
    total = 0.0
    for k in range(6):
        step = turned[k] if k < 3 else view[k - 3] - last_view[k - 3]
        total += (step - ratio * last_step[k]) ** 2 / variance[k]
        last_step[k] = step
    for k in range(4):
        last_quat[k] = quat[k]
    for k in range(3):
        last_view[k] = view[k]
    return total / (12.0 * (1.0 + ratio + ratio * ratio))
