"""What a smoother's tuning is fitted with: laws of errors, speeds of motion, unrest."""

from __future__ import annotations

import math

import numpy as np
import pytest
from filterpy.kalman import KalmanFilter
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import expm

from mien.models.errors import InputError
from mien.models.face.perspective import PerspectivePose
from mien.models.face.rotation import quaternion_from_rotation_vector, quaternion_multiply
from mien.stream.smoother import PoseMeasurement
from mien.stream.smoother.channels import (
    BLENDSHAPES,
    GROUPS,
    MODES_OF,
    N_CHANNELS,
    ROTATION,
    SHAPE_GROUPS,
)
from mien.stream.smoother.error_fit import (
    MeasuredErrors,
    condition_range,
    correlate,
    fit_errors,
    variances,
)
from mien.stream.smoother.motion_fit import (
    MeasuredSequence,
    Trajectory,
    fit_motion,
    measure_trajectories,
)
from mien.stream.smoother.pose import translation_from_view
from mien.stream.smoother.tuning import (
    CONDITIONS,
    ErrorLaw,
    GroupTuning,
    ModeTuning,
    Tuning,
    channels_of,
)
from mien.stream.smoother.unrest import Unrest

DT = 1 / 30
FIGURES = len(CONDITIONS)


def lasting(
    rng: np.random.Generator, variance: np.ndarray, error_s: float, dt_s: float = DT
) -> np.ndarray:
    """First-order autoregressive errors (V, T, N) of these variances."""
    keeps = math.exp(-dt_s / error_s)
    unit = rng.normal(size=variance.shape)
    for t in range(1, variance.shape[1]):
        unit[:, t] = keeps * unit[:, t - 1] + math.sqrt(1.0 - keeps**2) * unit[:, t]
    return np.sqrt(variance) * unit


@pytest.mark.parametrize(("error_s", "slow"), [(0.1, 2.0), (0.4, 2.0), (0.2, 0.5)])
def test_the_variogram_tells_new_errors_from_lasting_ones(error_s: float, slow: float) -> None:
    rng = np.random.default_rng(0)
    shape = (400, 60, 3)
    scale = np.array([1e-3, 1.0, 50.0])  # units do not matter
    error = scale * (rng.normal(size=shape) + lasting(rng, np.full(shape, slow), error_s))
    found = correlate(error, DT)
    changes = slow * (1.0 - math.exp(-DT / error_s))
    assert found.white == pytest.approx(1.0 / (1.0 + changes), abs=0.05)
    assert found.error_s == pytest.approx(error_s, rel=0.25)
    assert found.passing == pytest.approx(slow, rel=0.2)


def test_errors_that_are_new_in_every_frame_do_not_last() -> None:
    found = correlate(np.random.default_rng(1).normal(size=(300, 40, 2)), DT)
    assert found.white > 0.9


@pytest.mark.parametrize("weigh_stated", [True, False])
def test_the_laws_that_errors_were_made_by_are_found(weigh_stated: bool) -> None:
    rng = np.random.default_rng(2)
    videos, frames, channels = 500, 16, 3
    conditions = rng.normal(size=(videos, 1, FIGURES)) * np.ones((1, frames, 1))
    stated = -5.0 + 0.7 * rng.normal(size=(videos, 1, channels)) * np.ones((1, frames, 1))
    weight = 0.6 if weigh_stated else 1.0
    white = ErrorLaw((0.0, 0.5, -0.5), weight, (0.5, -0.4, 0.0, 0.2, 0.3))
    slow = ErrorLaw((1.5, 1.0, 1.2), weight, (-0.3, 0.0, 0.4, 0.3, -0.2))
    new = np.sqrt(variances(white, stated, conditions)) * rng.normal(size=stated.shape)
    share = 0.1  # few: the weights of new errors are read off changes, which are of both
    whole = variances(slow, stated, conditions)
    passing = lasting(rng, share * whole, 0.15)
    stays = np.sqrt((1.0 - share) * whole) * rng.normal(size=(videos, 1, channels))
    absolute = np.arange(videos) < 400
    stays[~absolute] *= 7.0  # what is not known of photographs does not count
    errors = MeasuredErrors(new + passing + stays, stated, conditions, absolute)
    found_white, found_slow, lasts = fit_errors(errors, DT, weigh_stated)
    np.testing.assert_allclose(found_white.conditions, white.conditions, atol=0.15)
    np.testing.assert_allclose(found_slow.conditions, slow.conditions, atol=0.2)
    if weigh_stated:
        assert found_white.stated == pytest.approx(weight, abs=0.1)
        assert found_slow.stated == pytest.approx(weight, abs=0.2)
    else:
        assert found_white.stated == found_slow.stated == 1.0
    for found, true in ((found_white, white), (found_slow, slow)):
        ratio = np.log(variances(found, stated, conditions) / variances(true, stated, conditions))
        assert abs(ratio.mean()) < 0.25
    assert 0.05 < lasts.error_s < 0.5
    ratio = float(np.mean(passing**2) / np.mean(new**2))
    assert lasts.passing == pytest.approx(ratio, rel=0.5)


@pytest.mark.parametrize(("videos", "frames", "exact"), [(7, 9, True), (9, 3, True), (9, 9, False)])
def test_too_few_errors_are_refused(videos: int, frames: int, exact: bool) -> None:
    zeros = np.zeros((videos, frames, 2))
    conditions = np.zeros((videos, frames, FIGURES))
    errors = MeasuredErrors(zeros, zeros, conditions, np.full(videos, exact))
    with pytest.raises(InputError, match=f"{videos} videos of {frames} frames"):
        fit_errors(errors, DT, True)


def test_conditions_are_known_between_their_extremes() -> None:
    rows = np.linspace(0.0, 100.0, 101)[:, None] * np.arange(1.0, 1.0 + FIGURES)
    low, high = condition_range([rows[:50, None], rows[50:, None]])
    np.testing.assert_allclose(low, np.arange(1.0, 1.0 + FIGURES))
    np.testing.assert_allclose(high, 99.0 * np.arange(1.0, 1.0 + FIGURES))


def tuned(speeds: tuple[float, ...]) -> Tuning:
    """All groups alike: new errors of variance 0.01, lasting ones of 0.02 of which half stays."""
    white, slow = (math.log(variance) for variance in (0.01, 0.02))
    groups = {}
    for name in (*GROUPS, *SHAPE_GROUPS):
        count = len(channels_of(name))
        new, old = (ErrorLaw((level,) * count, 0.0, (0.0,) * FIGURES) for level in (white, slow))
        groups[name] = GroupTuning(new, old, 0.3, 0.5, 1e9, speeds, 0.2)
    modes = {name: ModeTuning((0.4, 0.3, 0.3), 0.5, 1.0) for name in set(MODES_OF.values())}
    return Tuning(groups, modes, (-1.0,) * FIGURES, (1.0,) * FIGURES)


def log_likelihood(
    name: str, tuning: Tuning, measured: MeasuredSequence, most: float = math.inf
) -> float:
    """Of one group's channels."""
    from mien.stream.smoother import _fit_kernel

    group, modes, channels = tuning.groups[name], tuning.modes[MODES_OF[name]], channels_of(name)
    values, white, slow = (
        np.ascontiguousarray(part[:, channels])
        for part in (measured.values, measured.white, measured.slow)
    )
    return _fit_kernel.log_likelihood(
        name == "rotation", measured.dt_s, measured.first, measured.quats, values, white, slow,
        np.zeros(len(channels), np.int64), np.array([group.error_s]),
        np.array([group.speeds]) ** 2, np.array([group.velocity_s]), np.array([modes.usual]),
        modes.forget_s, modes.evidence, most,
    )  # fmt: skip


def test_with_one_speed_the_likelihood_is_filterpys() -> None:
    rng = np.random.default_rng(3)
    count, speed, velocity_s, error_s = 60, 0.7, 0.2, 0.3
    first = np.isin(np.arange(count), [0, 25, 26])
    dt_s = np.where(first, 0.0, rng.uniform(0.01, 0.1, count))
    z = np.cumsum(0.1 * rng.normal(size=(count, N_CHANNELS)), axis=0)
    white, slow = rng.uniform(0.005, 0.05, (2, count, N_CHANNELS))
    quats = np.tile([1.0, 0.0, 0.0, 0.0], (count, 1))
    measured = MeasuredSequence(dt_s, first, quats, z, white, slow)
    found = log_likelihood("brows", tuned((speed,) * 3), measured)
    expected = 0.0
    A = np.array([[0.0, 1.0, 0.0], [0.0, -1 / velocity_s, 0.0], [0.0, 0.0, -1 / error_s]])
    density = np.diag([0.0, 2 * speed**2 / velocity_s, 2 / error_s])
    van_loan = np.block([[-A, density], [np.zeros((3, 3)), A.T]])
    wholes = [expm(van_loan * dt) for dt in dt_s]
    for i in channels_of("brows"):
        kalman = KalmanFilter(dim_x=3, dim_z=1)
        kalman.H = np.array([[1.0, 0.0, 1.0]])
        for t in range(count):
            w, s = white[t, i], slow[t, i]
            if first[t]:
                kalman.x = np.array([[z[t, i]], [0.0], [0.0]])
                kalman.P = np.array([[w + s, 0.0, -s], [0.0, 0.0, 0.0], [-s, 0.0, s]])
                continue
            F = wholes[t][3:, 3:].T
            Q = F @ wholes[t][:3, 3:]
            Q[2, 2] *= slow[t - 1, i]
            kalman.predict(F=F, Q=Q)
            kalman.update(z[t : t + 1, i, None], R=np.array([[w]]))
            expected += kalman.log_likelihood + 0.5 * math.log(2 * math.pi)  # a constant left out
    assert found == pytest.approx(expected, rel=1e-6)


def test_an_outlier_tells_no_more_than_so_much() -> None:
    rng = np.random.default_rng(4)
    still = np.zeros((1, 40, N_CHANNELS))
    path = Trajectory(DT, np.tile([1.0, 0.0, 0.0, 0.0], (40, 1)), still[0])
    stated, conditions = np.zeros((1, N_CHANNELS)), np.zeros((1, FIGURES))
    tuning = tuned((0.1, 0.5, 2.0))
    measured = measure_trajectories([path], stated, conditions, tuning, rng)
    found = []
    for far in (1e2, 1e4):
        values = measured.values.copy()
        values[-1] += far
        wild = MeasuredSequence(
            measured.dt_s, measured.first, measured.quats, values, measured.white, measured.slow
        )
        found.append(log_likelihood("mouth", tuning, wild, most=12.0))
    assert found[0] == pytest.approx(found[1])
    assert found[0] < log_likelihood("mouth", tuning, measured, most=12.0)


def moving(rng: np.random.Generator, count: int, slow: float, fast: float) -> Trajectory:
    """All channels at one speed of an Ornstein-Uhlenbeck process, or the other, half a second."""
    speed = np.where((np.arange(count) // 15) % 2, fast, slow)
    keeps = math.exp(-DT / 0.2)
    v = np.zeros((count, N_CHANNELS))
    for t in range(1, count):
        new = speed[t] * math.sqrt(1.0 - keeps**2) * rng.normal(size=N_CHANNELS)
        v[t] = keeps * v[t - 1] + new
    values = np.cumsum(v, axis=0) * DT
    quats = [np.array([1.0, 0.0, 0.0, 0.0])]
    for step in np.diff(values[:, ROTATION], axis=0):
        quats.append(quaternion_multiply(quaternion_from_rotation_vector(step), quats[-1]))
    return Trajectory(DT, np.array(quats), values)


@pytest.mark.parametrize("name", ["expression", "head"])
def test_motion_is_fitted_by_its_likelihood(name: str) -> None:
    rng = np.random.default_rng(5)
    paths = [moving(rng, 300, 0.05, 4.0) for _ in range(3)]
    start = tuned((0.3, 0.6, 1.2))
    stated, conditions = np.zeros((1, N_CHANNELS)), np.zeros((1, FIGURES))
    measured = measure_trajectories(paths, stated, conditions, start, rng)
    fitted = fit_motion(name, start, measured)
    groups = [group for group in GROUPS if MODES_OF[group] == name]
    better = [
        log_likelihood(group, fitted, measured, 12.0) - log_likelihood(group, start, measured, 12.0)
        for group in groups
    ]
    assert sum(better) > 100.0
    for group in groups:
        speeds = np.array(fitted.groups[group].speeds)
        assert (np.diff(speeds) > 0.0).all()
        assert speeds[-1] > 2.0
        assert fitted.groups[group].white == start.groups[group].white
    assert sum(fitted.modes[name].usual) == pytest.approx(1.0)
    assert {g: fitted.groups[g] for g in fitted.groups if g not in groups} == {
        g: start.groups[g] for g in start.groups if g not in groups
    }
    assert {m: fitted.modes[m] for m in fitted.modes if m != name} == {
        m: start.modes[m] for m in start.modes if m != name
    }


def test_trajectories_are_measured_with_the_laws_errors() -> None:
    rng = np.random.default_rng(6)
    path = Trajectory(DT, np.tile([1.0, 0.0, 0.0, 0.0], (400, 1)), np.full((400, N_CHANNELS), 0.5))
    stated, conditions = np.zeros((2, N_CHANNELS)), np.zeros((2, FIGURES))
    tuning = tuned((0.1, 0.5, 2.0))
    measured = measure_trajectories([path, path], stated, conditions, tuning, rng)
    assert np.flatnonzero(measured.first).tolist() == [0, 400]
    np.testing.assert_array_equal(measured.dt_s[measured.first], 0.0)
    np.testing.assert_allclose(measured.dt_s[~measured.first], DT)
    np.testing.assert_allclose(measured.white, 0.01)
    np.testing.assert_allclose(measured.slow, 0.01)  # the half that passes
    error = (measured.values - 0.5)[:, BLENDSHAPES]
    assert np.mean(error**2) == pytest.approx(0.02, rel=0.1)
    found = correlate(error.reshape(2, 400, -1), DT)
    assert found.error_s == pytest.approx(0.3, rel=0.3)
    angle = 2.0 * np.arccos(np.minimum(measured.quats[:, 0], 1.0))
    assert np.mean(angle**2) == pytest.approx(3 * 0.02, rel=0.3)


def pose(motion: np.ndarray, noise: np.ndarray, variance: np.ndarray) -> PoseMeasurement:
    """Six coordinates: rotation about fixed axes, and the view."""
    quat = quaternion_multiply(
        quaternion_from_rotation_vector(noise[:3]), quaternion_from_rotation_vector(motion[:3])
    )
    view = motion[3:] + noise[3:] + [0.0, 0.0, 6.0]
    return PoseMeasurement(PerspectivePose(quat, translation_from_view(view)), variance)


STATED = np.array([1e-4, 2e-4, 3e-4, 1e-6, 2e-6, 1e-4])


def unrest_of(
    motion: np.ndarray, factor: float = 1.0, seed: int = 7, dt_s: np.ndarray | None = None
) -> np.ndarray:
    """Logarithms at each frame of a motion (T, 6) whose errors are so much larger than stated.

    ``dt_s`` is how long after the frame before each is; a thirtieth of a second where not given.
    """
    rng = np.random.default_rng(seed)
    steps = np.full(len(motion), DT) if dt_s is None else dt_s
    unrest = Unrest()
    noise = factor * np.sqrt(STATED) * rng.normal(size=motion.shape)
    return np.array(
        [
            unrest.update(pose(at, off, STATED), float(step))
            for at, off, step in zip(motion, noise, steps, strict=True)
        ]
    )


def test_unrest_is_how_much_larger_errors_are_than_stated() -> None:
    still = np.zeros((400, 6))
    assert np.mean(unrest_of(still)[50:]) == pytest.approx(0.0, abs=0.25)
    assert np.mean(unrest_of(still, 3.0)[50:]) == pytest.approx(math.log(9.0), abs=0.25)
    assert np.mean(unrest_of(still, 0.2)[50:]) == pytest.approx(math.log(0.04), abs=0.25)


def test_a_steady_motion_is_no_unrest() -> None:
    rate = np.array([0.05, 0.0, 0.0, 0.01, -0.02, 0.01])
    moved = np.arange(200)[:, None] * rate
    still = unrest_of(np.zeros((200, 6)))
    np.testing.assert_allclose(unrest_of(moved)[20:], still[20:], atol=0.1)


@given(st.integers(0, 999), st.sampled_from((1 / 60, DT, 1 / 15)))
@settings(max_examples=10, deadline=None)
def test_a_steady_turn_is_no_unrest_however_long_frames_take(seed: int, dt_s: float) -> None:
    rng = np.random.default_rng(seed)
    steps = dt_s * rng.uniform(0.5, 1.5, 120)
    axis = rng.normal(size=3)
    turn = np.concatenate([3.0 * axis / np.linalg.norm(axis), np.zeros(3)])  # rad/s
    moved = np.cumsum(steps)[:, None] * turn
    still = unrest_of(np.zeros((120, 6)), seed=seed, dt_s=steps)
    off = unrest_of(moved, seed=seed, dt_s=steps) - still
    # On the mean: errors turn with the head, and the median steps from one of them to the next.
    assert np.abs(off[20:]).mean() < 0.06
    assert abs(off[20:].mean()) < 0.04


def test_frames_of_any_duration_are_as_restless_as_they_are_stated() -> None:
    steps = DT * np.random.default_rng(9).uniform(0.3, 1.7, 400)
    found = unrest_of(np.zeros((400, 6)), dt_s=steps)
    assert np.mean(found[50:]) == pytest.approx(0.0, abs=0.25)


def test_a_frame_at_the_same_time_says_nothing_new() -> None:
    rng = np.random.default_rng(10)
    steps = np.full(60, DT)
    again = np.sort(rng.choice(np.arange(5, 60), 20, replace=False))
    unrest, twin = Unrest(), Unrest()
    for frame, step in enumerate(steps):
        seen = pose(np.zeros(6), np.sqrt(STATED) * rng.normal(size=6), STATED)
        expected = twin.update(seen, step)
        np.testing.assert_equal(unrest.update(seen, step), expected)
        if frame in again:
            wild = pose(rng.normal(size=6), np.zeros(6), STATED)
            np.testing.assert_equal(unrest.update(wild, 0.0), expected)


def test_a_burst_of_motion_is_hardly_unrest_and_soon_forgotten() -> None:
    jerk = np.zeros((120, 6))
    jerk[60:63] = 0.4
    jerk[63:] = 0.1
    still, moved = unrest_of(np.zeros((120, 6))), unrest_of(jerk)
    np.testing.assert_array_equal(moved[5:60], still[5:60])
    assert (moved[60:] - still[60:]).max() < 1.5, "a factor of thousands, but for a few frames"
    np.testing.assert_allclose(moved[85:], still[85:], atol=1e-6)


def test_unrest_is_unknown_at_the_beginning_and_knows_nothing_of_pauses() -> None:
    found = unrest_of(np.zeros((20, 6)))
    assert np.isnan(found[:3]).all()
    assert np.isfinite(found[10:]).all()
    assert math.isnan(Unrest().log)
    rng = np.random.default_rng(8)
    unrest = Unrest()
    for _ in range(60):
        for dt_s, at in ((2.0, rng.normal(size=6)), (DT, np.zeros(6))):
            unrest.update(pose(at, np.zeros(6), STATED), dt_s)
    assert math.isnan(unrest.log), "no three poses in a row"
