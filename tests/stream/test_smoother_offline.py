"""The smoother that sees the whole track, with filterpy's Rauch-Tung-Striebel as oracle."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import cache

import numpy as np
import pytest
from filterpy.kalman import KalmanFilter
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import expm

from mien.models.face.perspective import PerspectivePose
from mien.models.face.rotation import (
    quaternion_conjugate,
    quaternion_from_rotation_vector,
    quaternion_multiply,
    rotation_vector_from_quaternion,
)
from mien.stream.smoother import (
    FaceMeasurement,
    FaceSmoother,
    FaceState,
    SmoothingConfig,
)
from mien.stream.smoother.bank import BEGUN
from mien.stream.smoother.channels import BLENDSHAPES
from mien.stream.smoother.pose import translation_from_view, view_coordinates
from mien.stream.smoother.smoother import FilterStep

from .measured_faces import NOISE, look, turned

DT = 1 / 30
POSE_AND_EXPRESSION = BLENDSHAPES.start
WHITE, SLOW = 0.5, 0.5  # parts of the stated variance, as the configs below have them
NO_GATE = 1e9
VELOCITY_S, ERROR_S = 0.2, 0.3
SPEED = 0.5
ONE_SPEED, THREE_SPEEDS = (SPEED,) * 3, (0.02, 0.3, 3.0)
Frame = tuple[float, FaceMeasurement | None]
Make = Callable[..., SmoothingConfig]
FilterTrack = Callable[..., tuple[list[FaceState | None], list[FilterStep]]]
SmoothTrack = Callable[..., list[FaceState]]
Near = Callable[..., None]


@cache
def discretised(dt_s: float, slow: float) -> tuple[np.ndarray, np.ndarray]:
    """F and Q of value, velocity and slow error, by van Loan's matrix exponential."""
    A = np.array([[0.0, 1.0, 0.0], [0.0, -1 / VELOCITY_S, 0.0], [0.0, 0.0, -1 / ERROR_S]])
    density = np.diag([0.0, 2 * SPEED**2 / VELOCITY_S, 2 * slow / ERROR_S])
    whole = expm(np.block([[-A, density], [np.zeros((3, 3)), A.T]]) * dt_s)
    F = whole[3:, 3:].T
    return F, F @ whole[:3, 3:]


def oracle(dt_s: np.ndarray, z: np.ndarray, variance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Smoothed values and variances of one channel; NaN where nothing is seen."""
    kalman = KalmanFilter(dim_x=3, dim_z=1)
    w, s = WHITE * variance[0], SLOW * variance[0]
    kalman.x = np.array([[z[0]], [0.0], [0.0]])
    kalman.P = np.array([[w + s, 0.0, -s], [0.0, 0.0, 0.0], [-s, 0.0, s]])
    kalman.H = np.array([[1.0, 0.0, 1.0]])
    xs, Ps, Fs, Qs = [kalman.x], [kalman.P], [np.eye(3)], [np.zeros((3, 3))]
    for k in range(1, len(z)):
        F, Q = discretised(dt_s[k], s)
        kalman.predict(F=F, Q=Q)
        if not math.isnan(z[k]):
            kalman.update(z[k : k + 1, None], R=np.array([[WHITE * variance[k]]]))
            s = SLOW * variance[k]
        for kept, new in zip((xs, Ps, Fs, Qs), (kalman.x, kalman.P, F, Q), strict=True):
            kept.append(new.copy())
    x, P, _, _ = kalman.rts_smoother(np.array(xs), np.array(Ps), np.array(Fs), np.array(Qs))
    return x[:, 0, 0], P[:, 0, 0]


@given(st.integers(0, 999), st.integers(2, 40))
@settings(max_examples=8, deadline=None)
def test_with_one_speed_it_is_filterpys_channel_by_channel(
    make_smoothing: Make,
    filter_track: FilterTrack,
    smooth_track: SmoothTrack,
    seed: int,
    count: int,
) -> None:
    rng = np.random.default_rng(seed)
    dt_s = rng.uniform(0.005, 0.2, count)
    z = np.cumsum(rng.normal(size=(count, 3)) * 0.05, axis=0)
    variance = NOISE**2 * rng.uniform(0.3, 3.0, count)
    seen = rng.random(count) < 0.7
    seen[0] = True
    frames: list[Frame] = [
        (
            dt_s[k],
            look(turned(z[k, 0]), np.array([0.0, 0.0, 6.0 + z[k, 1]]), variance[k],
                 np.full(10, z[k, 2])) if seen[k] else None,
        )
        for k in range(count)
    ]  # fmt: skip
    config = make_smoothing(ONE_SPEED, gate=NO_GATE)
    states = smooth_track(config, filter_track(config, frames)[1])
    z[~seen] = np.nan
    sd = 1e-3 * NOISE
    angle, angle_variance = oracle(dt_s, z[:, 0], variance)
    log_z, depth_variance = oracle(dt_s, z[:, 1], variance)
    expression, _ = oracle(dt_s, z[:, 2], variance)
    vectors = rotation_vector_from_quaternion(np.array([s.pose.quat_wxyz for s in states]))
    views = np.array([view_coordinates(s.pose.translation_mm) for s in states])
    published = np.array([s.pose_variance for s in states])
    np.testing.assert_allclose(vectors[:, 0], angle, atol=sd)
    np.testing.assert_allclose(vectors[:, 1:], 0.0, atol=sd)
    np.testing.assert_allclose(views[:, 2], 6.0 + log_z, atol=sd)
    np.testing.assert_allclose([s.expression[3] for s in states], expression, atol=sd)
    np.testing.assert_allclose(published[:, 0], angle_variance, rtol=2e-3)
    in_mm = depth_variance * np.exp(2 * views[:, 2])
    np.testing.assert_allclose(published[:, 5], in_mm, rtol=2e-3)


def simulated(
    rng: np.random.Generator, count: int
) -> tuple[np.ndarray, np.ndarray, list[FaceMeasurement]]:
    """True rotations (T, 4) and views (T, 3) of the model itself, and measurements of them."""
    variance = NOISE**2
    F, Q = discretised(DT, SLOW * variance)
    root = np.linalg.cholesky(Q)
    x = np.zeros((6, 3))
    x[:, 2] = math.sqrt(SLOW * variance) * rng.normal(size=6)
    quat, quats, views, seen = turned(0.0), [], [], []
    for _ in range(count):
        error = x[:, 2] + math.sqrt(WHITE * variance) * rng.normal(size=6)
        view = x[3:, 0] + [0.0, 0.0, 6.0]
        quats.append(quat)
        views.append(view)
        seen.append(look(quaternion_multiply(turned(*error[:3]), quat), view + error[3:]))
        before = x[:, 0].copy()
        x = x @ F.T + rng.normal(size=(6, 3)) @ root.T
        quat = quaternion_multiply(turned(*(x[:3, 0] - before[:3])), quat)
    return np.array(quats), np.array(views), seen


def errors(quats: np.ndarray, views: np.ndarray, poses: Sequence[PerspectivePose]) -> np.ndarray:
    """(T, 6) true less estimated: rotation about the camera's axes, x, y, z in mm."""
    off = quaternion_multiply(
        quats, quaternion_conjugate(np.array([pose.quat_wxyz for pose in poses]))
    )
    true_mm = np.array([translation_from_view(view) for view in views])
    moved = true_mm - np.array([pose.translation_mm for pose in poses])
    return np.concatenate([rotation_vector_from_quaternion(off), moved], axis=1)


def test_stated_variances_are_true_and_hindsight_beats_the_filter_the_filter_the_raw(
    make_smoothing: Make, filter_track: FilterTrack, smooth_track: SmoothTrack
) -> None:
    quats, views, seen = simulated(np.random.default_rng(0), 1000)
    frames: list[Frame] = [(DT, here) for here in seen]
    on_line, steps = filter_track(make_smoothing(ONE_SPEED, gate=NO_GATE), frames)
    states = [
        [s for s in on_line if s is not None],
        smooth_track(make_smoothing(ONE_SPEED, gate=NO_GATE), steps),
    ]
    squared = [np.mean(errors(quats, views, [here.pose.pose for here in seen]) ** 2, axis=0)]
    for found in states:
        error = errors(quats, views, [state.pose for state in found])
        stated = np.array([state.pose_variance for state in found])
        normalised = np.mean(error**2 / stated, axis=0)
        assert normalised.mean() == pytest.approx(1.0, abs=0.15)
        assert np.abs(normalised - 1.0).max() < 0.4
        squared.append(np.mean(error**2, axis=0))
    raw, causal, hindsight = squared
    assert (causal < 0.95 * raw).all()
    assert (hindsight < 0.95 * causal).all()


def test_it_knows_more_than_the_filter_at_every_step_but_the_last(
    make_smoothing: Make, filter_track: FilterTrack, smooth_track: SmoothTrack
) -> None:
    _, _, seen = simulated(np.random.default_rng(1), 60)
    on_line, steps = filter_track(
        make_smoothing(ONE_SPEED, gate=NO_GATE), [(DT, here) for here in seen]
    )
    states = smooth_track(make_smoothing(ONE_SPEED, gate=NO_GATE), steps)
    for then, state in zip(on_line[:-1], states[:-1], strict=True):
        assert then is not None
        assert (state.pose_variance[:3] < then.pose_variance[:3]).all()


def test_a_nodding_head_is_followed_without_lag(
    make_smoothing: Make, filter_track: FilterTrack, smooth_track: SmoothTrack
) -> None:
    rng = np.random.default_rng(2)
    t = DT * np.arange(300)
    true, rate = 0.3 * np.sin(9.0 * t), 2.7 * np.cos(9.0 * t)
    view = np.array([0.0, 0.0, 6.0])
    frames: list[Frame] = [
        (DT, look(turned(angle + 0.3 * NOISE * rng.normal()), view)) for angle in true
    ]
    on_line, steps = filter_track(make_smoothing(THREE_SPEEDS, gate=NO_GATE), frames)
    lags = []
    for states in (on_line, smooth_track(make_smoothing(THREE_SPEEDS, gate=NO_GATE), steps)):
        quats = np.array([s.pose.quat_wxyz for s in states if s is not None])
        behind = true - rotation_vector_from_quaternion(quats)[:, 0]
        lags.append(float(behind[20:-20] @ rate[20:-20] / (rate[20:-20] @ rate[20:-20])))
    assert abs(lags[1]) < 0.1 * DT
    assert abs(lags[1]) < abs(lags[0])


def test_a_spin_through_full_turns_is_smoothed(
    make_smoothing: Make, filter_track: FilterTrack, smooth_track: SmoothTrack
) -> None:
    frames: list[Frame] = []
    rng = np.random.default_rng(4)
    true = 0.12 * np.arange(150)  # almost three turns
    for angle in true:
        quat = quaternion_multiply(turned(*(NOISE * rng.normal(size=3))), turned(0.0, angle))
        frames.append((DT, look(quat, np.array([0.0, 0.0, 6.0]))))
    config = make_smoothing((0.02, 0.3, 6.0), gate=NO_GATE)
    on_line, steps = filter_track(config, frames)
    views = np.tile([0.0, 0.0, 6.0], (150, 1))
    quats = quaternion_from_rotation_vector(true[:, None] * [0.0, 1.0, 0.0])
    off = [
        errors(quats, views, [s.pose for s in states if s is not None])[10:, :3]
        for states in (on_line, smooth_track(config, steps))
    ]
    assert np.abs(off[1]).max() < 4 * NOISE
    assert np.mean(off[1] ** 2) < np.mean(off[0] ** 2)


def test_what_begins_anew_and_what_was_before_know_nothing_of_each_other(
    make_smoothing: Make, filter_track: FilterTrack, smooth_track: SmoothTrack, expect_near: Near
) -> None:
    config = make_smoothing(ONE_SPEED)
    _, _, seen = simulated(np.random.default_rng(5), 60)
    away = np.array([5.0, 5.0, 3.0])
    frames: list[Frame] = []
    for k, here in enumerate(seen):
        if k < 30:
            frames.append((DT, here))
            continue
        pose = here.pose.pose
        quat = quaternion_multiply(turned(0.0, 2.5), pose.quat_wxyz)
        view = view_coordinates(pose.translation_mm) + away
        frames.append((DT, look(quat, view, expression=np.full(10, 9.0))))
    smoother = FaceSmoother(config)
    jump = 0
    for k, (dt_s, here) in enumerate(frames):
        smoother.predict(dt_s)
        assert here is not None
        smoother.update(here)
        events = smoother.step().events[smoother.tuning.face.group]
        if k > 0 and (events[:POSE_AND_EXPRESSION] == BEGUN).all():
            jump = k
    assert jump == 32
    states = smooth_track(config, filter_track(config, frames)[1])
    # The first frames after the jump were taken for outliers: gaps to the past.
    before = smooth_track(
        config, filter_track(config, [*frames[:30], *[(DT, None)] * (jump - 30)])[1]
    )
    behind = smooth_track(config, filter_track(config, frames[jump:])[1])
    for one, other in zip(states, before + behind, strict=True):
        expect_near(one, other)


def test_frames_before_the_first_face_change_nothing(
    make_smoothing: Make, filter_track: FilterTrack, smooth_track: SmoothTrack, expect_near: Near
) -> None:
    _, _, seen = simulated(np.random.default_rng(6), 20)
    frames: list[Frame] = [(DT, here) for here in seen]
    config = make_smoothing(THREE_SPEEDS, gate=NO_GATE)
    late = smooth_track(config, filter_track(config, [(DT, None), (DT, None), *frames])[1])
    assert len(late) == 22
    for one, other in zip(
        late[2:], smooth_track(config, filter_track(config, frames)[1]), strict=True
    ):
        expect_near(one, other)


def test_an_empty_track_has_no_states_and_one_of_a_step_the_filters(
    make_smoothing: Make, filter_track: FilterTrack, smooth_track: SmoothTrack, expect_near: Near
) -> None:
    assert (
        smooth_track(
            make_smoothing(ONE_SPEED, gate=NO_GATE),
            filter_track(make_smoothing(ONE_SPEED, gate=NO_GATE), [])[1],
        )
        == []
    )
    seen = look(turned(0.1, 0.2), np.array([0.1, 0.0, 6.0]), expression=np.full(10, 0.5))
    on_line, steps = filter_track(make_smoothing(ONE_SPEED, gate=NO_GATE), [(0.0, seen)])
    (state,) = smooth_track(make_smoothing(ONE_SPEED, gate=NO_GATE), steps)
    assert on_line[0] is not None
    expect_near(state, on_line[0])
    assert state.blendshapes is None


def test_blendshapes_come_out_where_they_went_in(
    make_smoothing: Make, filter_track: FilterTrack, smooth_track: SmoothTrack
) -> None:
    rng = np.random.default_rng(7)
    still, view = turned(0.0), np.array([0.0, 0.0, 6.0])
    mean = rng.uniform(0.2, 0.8, 52)
    frames: list[Frame] = [
        (DT, look(still, view, blendshapes=mean + 0.01 * rng.normal(size=52))) for _ in range(30)
    ]
    config = make_smoothing(ONE_SPEED, gate=NO_GATE)
    states = smooth_track(config, filter_track(config, frames)[1])
    for state in states:
        assert state.blendshapes is not None
        np.testing.assert_allclose(state.blendshapes, mean, atol=0.05)
    bare: list[Frame] = [(DT, look(still, view)) for _ in range(30)]
    assert all(
        state.blendshapes is None
        for state in smooth_track(
            make_smoothing(ONE_SPEED, gate=NO_GATE),
            filter_track(make_smoothing(ONE_SPEED, gate=NO_GATE), bare)[1],
        )
    )
