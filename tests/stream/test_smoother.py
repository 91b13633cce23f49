"""Laws of the filters, with filterpy's as oracle for the compiled bank."""

import math
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from filterpy.kalman import KalmanFilter
from hypothesis import given, settings
from hypothesis import strategies as st

from mien.models.errors import InputError
from mien.models.face.names import BLENDSHAPE_NAMES
from mien.models.face.perspective import PerspectivePose
from mien.models.face.rotation import (
    angle_between_deg,
    matrix_from_rotation_vector,
    quaternion_from_matrix,
)
from mien.stream.smoother import (
    PRESETS,
    FaceMeasurement,
    FaceSmoother,
    PoseMeasurement,
    SmoothingConfig,
    resolve_smoothing,
)
from mien.stream.smoother.bank import ChannelBank
from mien.stream.smoother.identity import IdentityFilter
from mien.stream.smoother.pose import PoseFilter, translation_variance
from mien.stream.smoother.process import process_noise, transition

VARIANCE = np.array([1e-4, 1e-4, 1e-4, 1e-6, 1e-6, 1e-4])
BLINK = BLENDSHAPE_NAMES.index("eyeBlinkLeft")
BROW = BLENDSHAPE_NAMES.index("browInnerUp")


def pose_at(rotation_rad: np.ndarray, translation_mm: np.ndarray) -> PerspectivePose:
    return PerspectivePose(
        quaternion_from_matrix(matrix_from_rotation_vector(rotation_rad)), translation_mm
    )


def measurement(pose: PerspectivePose, blendshapes: np.ndarray | None = None) -> FaceMeasurement:
    return FaceMeasurement(
        pose=PoseMeasurement(pose, VARIANCE),
        expression=np.zeros(10),
        expression_variance=np.full(10, 0.01),
        blendshapes=np.zeros(52) if blendshapes is None else blendshapes,
    )


@given(st.lists(st.floats(0.001, 0.2), min_size=1, max_size=30), st.integers(0, 999))
@settings(max_examples=25, deadline=None)
def test_the_bank_is_filterpy_channel_by_channel(steps: list[float], seed: int) -> None:
    rng = np.random.default_rng(seed)
    density, first, variance = rng.uniform(0.1, 100, 5), rng.normal(size=5), rng.uniform(0.01, 1, 5)
    bank = ChannelBank(density, first, variance)
    oracles = []
    for i in range(5):
        oracle = KalmanFilter(dim_x=2, dim_z=1)
        oracle.x = np.array([[first[i]], [0.0]])
        oracle.P = np.diag([variance[i], 4.0])
        oracle.H = np.array([[1.0, 0.0]])
        oracles.append(oracle)
    for step, dt in enumerate(steps):
        seen = rng.normal(size=5)
        bank.predict(dt)
        for i, oracle in enumerate(oracles):
            oracle.predict(F=transition(1, dt), Q=process_noise(density[i : i + 1], dt))
        if step % 3 != 2:  # every third frame is missing
            bank.update(seen, variance)
            for i, oracle in enumerate(oracles):
                oracle.update(np.array([[seen[i]]]), R=np.array([[variance[i]]]))
        for i, oracle in enumerate(oracles):
            assert bank.values[i] == pytest.approx(oracle.x[0, 0], rel=1e-9, abs=1e-9)
            assert bank.variances[i] == pytest.approx(oracle.P[0, 0], rel=1e-9)


@given(st.floats(1e-3, 0.5), st.integers(1, 6))
def test_one_long_step_is_many_short_ones(dt: float, parts: int) -> None:
    density = np.array([2.0, 0.3])
    P = np.diag([1.0, 2.0, 3.0, 4.0])
    whole = transition(2, dt) @ P @ transition(2, dt).T + process_noise(density, dt)
    F, Q = transition(2, dt / parts), process_noise(density, dt / parts)
    for _ in range(parts):
        P = F @ P @ F.T + Q
    np.testing.assert_allclose(P, whole, rtol=1e-9)


def test_a_still_face_comes_to_rest_at_its_pose() -> None:
    rng = np.random.default_rng(0)
    config = replace(PRESETS["steady"], correlated_share=0.01)
    true = pose_at(np.array([0.2, -0.4, 0.1]), np.array([50.0, -30.0, 700.0]))
    errors, raw = [], []
    smoother: PoseFilter | None = None
    for _ in range(200):
        noise = rng.normal(size=6) * np.sqrt(VARIANCE)
        turned = matrix_from_rotation_vector(noise[:3]) @ true.rotation
        depth = 700.0 * math.exp(noise[5])
        moved = np.array([50 / 700 + noise[3], -30 / 700 + noise[4], 1.0]) * depth
        measured = PoseMeasurement(PerspectivePose(quaternion_from_matrix(turned), moved), VARIANCE)
        if smoother is None:
            smoother = PoseFilter(config, measured)
        else:
            smoother.predict(1 / 30)
            smoother.update(measured)
        errors.append(float(angle_between_deg(smoother.pose.rotation, true.rotation)))
        raw.append(float(angle_between_deg(turned, true.rotation)))
    assert np.mean(errors[50:]) < 0.75 * np.mean(raw[50:])
    assert smoother is not None
    np.testing.assert_allclose(smoother.pose.translation_mm, true.translation_mm, rtol=0.03)


def test_a_steady_turn_is_followed_without_lag_past_half_a_turn() -> None:
    """The reference is moved every step, so the tangent space never ends."""
    rate = np.array([0.3, 2.0, -0.2])
    smoother: PoseFilter | None = None
    for frame in range(120):
        R = matrix_from_rotation_vector(rate * (frame / 30))
        measured = PoseMeasurement(
            PerspectivePose(quaternion_from_matrix(R), np.array([0.0, 0.0, 600.0])), VARIANCE
        )
        if smoother is None:
            smoother = PoseFilter(SmoothingConfig(), measured)
            continue
        smoother.predict(1 / 30)
        if frame > 60:
            assert float(angle_between_deg(smoother.pose.rotation, R)) < 0.2
        smoother.update(measured)
    assert smoother is not None
    np.testing.assert_allclose(smoother.velocity[:3], rate, atol=0.05)


def test_the_filter_turns_with_the_camera() -> None:
    """Turning everything about the line of sight turns the estimate and nothing else."""
    rng = np.random.default_rng(4)
    about_z = np.array([0.0, 0.0, 0.7])
    turn = matrix_from_rotation_vector(about_z)
    filters: list[PoseFilter | None] = [None, None]
    variance = np.array([1e-4, 1e-4, 1e-4, 1e-6, 1e-6, 1e-4])
    for _ in range(20):
        R = matrix_from_rotation_vector(rng.normal(size=3) * 0.05)
        t = np.array([10.0, 20.0, 600.0]) + rng.normal(size=3)
        for k, G in enumerate((np.eye(3), turn)):
            measured = PoseMeasurement(
                PerspectivePose(quaternion_from_matrix(G @ R), G @ t), variance
            )
            present = filters[k]
            if present is None:
                filters[k] = PoseFilter(replace(SmoothingConfig(), gate=1e9), measured)
            else:
                present.predict(0.04)
                present.update(measured)
    plain, turned = filters
    assert plain is not None
    assert turned is not None
    np.testing.assert_allclose(turned.pose.rotation, turn @ plain.pose.rotation, atol=1e-9)
    np.testing.assert_allclose(
        turned.pose.translation_mm, turn @ plain.pose.translation_mm, atol=1e-6
    )


@pytest.mark.parametrize("rate", [24, 30, 60])
@pytest.mark.parametrize("preset", ["raw", "responsive", "steady"])
def test_a_blink_of_a_tenth_of_a_second_survives(preset: str, rate: int) -> None:
    smoother = FaceSmoother(PRESETS[preset])
    pose = pose_at(np.zeros(3), np.array([0.0, 0.0, 600.0]))
    rng = np.random.default_rng(1)
    peaks = []
    for frame in range(3 * rate):
        t = frame / rate - 1.5
        lids = np.clip(rng.normal(0.05, 0.03, 52), 0, 1)
        lids[BLINK] = max(lids[BLINK], 1.0 - abs(t) / 0.06)  # 120 ms from open to open
        smoother.predict(1 / rate)
        smoother.update(measurement(pose, lids))
        state = smoother.state(0.0)
        assert state is not None
        assert state.blendshapes is not None
        peaks.append((lids[BLINK], state.blendshapes[BLINK]))
    measured, smoothed = np.array(peaks).max(axis=0)
    assert smoothed > 0.85 * measured


@pytest.mark.parametrize("preset", ["responsive", "steady"])
def test_noise_on_a_still_brow_is_reduced(preset: str) -> None:
    smoother = FaceSmoother(PRESETS[preset])
    pose = pose_at(np.zeros(3), np.array([0.0, 0.0, 600.0]))
    rng = np.random.default_rng(1)
    values = []
    for _ in range(150):
        noisy = np.full(52, 0.4) + rng.normal(0, 0.05, 52)
        smoother.predict(1 / 30)
        smoother.update(measurement(pose, noisy))
        state = smoother.state(0.0)
        assert state is not None
        assert state.blendshapes is not None
        values.append(state.blendshapes[BROW])
    assert np.std(values[30:]) < 0.9 * 0.05


def test_raw_publishes_the_measurement() -> None:
    smoother = FaceSmoother(PRESETS["raw"])
    rng = np.random.default_rng(2)
    for _ in range(5):
        pose = pose_at(rng.normal(size=3) * 0.3, np.array([0.0, 10.0, 500.0]))
        blendshapes = rng.uniform(size=52)
        smoother.predict(0.03)
        shape = rng.normal(size=40)
        np.testing.assert_array_equal(smoother.update_shape(shape, np.ones(40)), shape)
        smoother.update(measurement(pose, blendshapes))
        state = smoother.state(0.0)
        assert state is not None
        np.testing.assert_array_equal(state.pose.quat_wxyz, pose.quat_wxyz)
        np.testing.assert_array_equal(state.blendshapes, blendshapes)
        np.testing.assert_array_equal(state.shape, shape)


def test_missing_frames_are_predictions_that_calm_down() -> None:
    smoother = FaceSmoother(SmoothingConfig())
    for frame in range(30):
        smoother.predict(1 / 30)
        smoother.update(measurement(pose_at(np.zeros(3), np.array([10.0 * frame, 0.0, 600.0]))))
    before = smoother.state(0.0)
    xs, variances = [], []
    for _ in range(15):
        smoother.predict(1 / 30)
        smoother.miss()
        state = smoother.state(0.0)
        assert state is not None
        xs.append(state.pose.translation_mm[0])
        variances.append(state.pose_variance)
    assert before is not None
    steps = np.diff(np.array([before.pose.translation_mm[0], *xs], np.float64))
    assert steps[0] == pytest.approx(10.0, rel=0.1), "it goes on as it went"
    assert all(later < earlier for earlier, later in pairwise(steps)), "and slows"
    growing = np.array(variances, dtype=np.float64)
    assert np.all(growing[1:] > growing[:-1]), "and grows uncertain"


def test_no_state_before_the_first_face_and_no_step_back() -> None:
    smoother = FaceSmoother(SmoothingConfig())
    smoother.predict(0.1)
    smoother.miss()
    assert smoother.state(0.0) is None
    pose = pose_at(np.zeros(3), np.array([0.0, 0.0, 600.0]))
    smoother.update(measurement(pose))
    smoother.predict(-5.0)
    state = smoother.state(0.0)
    assert state is not None
    np.testing.assert_allclose(state.pose.translation_mm, pose.translation_mm)


def test_identity_averages_weighs_and_begins_at_the_mean() -> None:
    rng = np.random.default_rng(0)
    true = rng.normal(size=40)
    identity = IdentityFilter(SmoothingConfig(), 40)
    identity.update(true, np.full(40, 3.0))
    np.testing.assert_allclose(identity.shape, true / 4.0)
    for _ in range(300):
        identity.predict(1 / 30)
        identity.update(true + rng.normal(size=40) * 0.5, np.full(40, 0.25))
    assert np.abs(identity.shape - true).max() < 0.2
    before = identity.shape
    identity.update(true + 100.0, np.full(40, 1e6))
    assert np.abs(identity.shape - before).max() < 0.01
    identity.predict(1e9)
    np.testing.assert_array_equal(identity.variance, 1.0)


def test_the_unknown_size_of_the_head_stays_in_the_variance() -> None:
    variance = np.array([1e-4, 1e-4, 1e-4, 1e-6, 2e-6, 1e-6])
    t = np.array([100.0, -50.0, 800.0])
    known = translation_variance(t, variance, 0.0)
    unknown = translation_variance(t, variance, 0.045)
    np.testing.assert_allclose(unknown - known, (0.045 * t) ** 2)
    np.testing.assert_allclose(known[2], 800.0**2 * 1e-6)
    # The same by sampling.
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(200_000, 3)) * np.sqrt(variance[3:])
    z = 800.0 * np.exp(noise[:, 2]) * (1 + 0.045 * rng.normal(size=200_000))
    samples = np.stack([(0.125 + noise[:, 0]) * z, (-0.0625 + noise[:, 1]) * z, z], axis=1)
    np.testing.assert_allclose(samples.var(axis=0), unknown, rtol=0.03)


def test_settings_come_from_presets_and_files(tmp_path: Path) -> None:
    assert resolve_smoothing("steady") is PRESETS["steady"]
    config = SmoothingConfig(gate=5.0)
    assert resolve_smoothing(config) is config
    path = tmp_path / "mine.toml"
    path.write_text('preset = "steady"\ngate = 4.0\n')
    assert resolve_smoothing(str(path)) == replace(PRESETS["steady"], gate=4.0)


@pytest.mark.parametrize(
    "text",
    [
        "gaet = 4.0",
        "gate = -1.0",
        "gate = true",
        "preset = 'fast'",
        "gate = ",
        "publish_raw = 1",
        "correlated_share = 1.5",
        "gate = nan",
    ],
)
def test_wrong_settings_are_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(InputError, match=r"mine\.toml"):
        resolve_smoothing(path)
    with pytest.raises(InputError, match="neither a preset"):
        resolve_smoothing("fast")
