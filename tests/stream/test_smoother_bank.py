"""The compiled bank of filters, with filterpy's as oracle."""

from __future__ import annotations

import numpy as np
import pytest
from filterpy.kalman import KalmanFilter
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import expm

from mien.models.face.rotation import quaternion_from_rotation_vector
from mien.stream.smoother.bank import BEGUN, CORRECTED, PREDICTED, ChannelBank, Measured, Motion
from mien.stream.smoother.tuning import BankTuning

GROUP = np.array([0, 0, 0, 1, 1])
CHANNELS = len(GROUP)
DT = 1 / 30
ODD_STEPS = (0.0, 1e-9, 1e-4, 1 / 240, 1 / 30, 0.3, 7.0, 3600.0)


def bank_of(
    speeds: tuple[float, ...],
    *,
    gate: float = 1e9,
    patience_s: float = 0.1,
    velocity_s: tuple[float, float] = (0.2, 0.7),
    error_s: tuple[float, float] = (0.1, 2.0),
    rotates: bool = False,
) -> ChannelBank:
    """Two groups, of three and two channels, whose modes have these speeds (deviations)."""
    nothing = np.zeros((CHANNELS, 7))
    variances, usual = np.tile(np.array(speeds) ** 2, (2, 1)), np.tile([0.6, 0.3, 0.1], (2, 1))
    tuning = BankTuning(
        group=GROUP, modes=np.array([0, 1]), white=nothing, slow=nothing,
        error_share=np.ones(CHANNELS), error_ratio=np.full(CHANNELS, 1e9),
        error_s=np.array(error_s), speeds=variances,
        velocity_s=np.array(velocity_s), usual=usual, forget_s=np.array([0.3, 0.5]),
        evidence=np.ones(2),
    )  # fmt: skip
    return ChannelBank(tuning, Motion(variances, usual, gate, patience_s), rotates)


def measured(values: np.ndarray, white: float = 0.1, slow: float = 0.2) -> Measured:
    """Values with equal errors; the first three are a rotation vector too."""
    errors = np.full(CHANNELS, white), np.full(CHANNELS, slow)
    return Measured(values, *errors, quaternion_from_rotation_vector(values[:3]))


def covariance(P: np.ndarray) -> np.ndarray:
    """(N, 3, 3) from the bank's (xx, xv, vv, xc, vc, cc)."""
    return P[:, [[0, 1, 3], [1, 2, 4], [3, 4, 5]]]


def discretised(
    dt_s: float, speed: float, velocity_s: float, error_s: float
) -> tuple[np.ndarray, np.ndarray]:
    """F and Q of value, velocity and slow error, by van Loan's matrix exponential.

    Q is for a slow error of variance 1.
    """
    A = np.array([[0.0, 1.0, 0.0], [0.0, -1 / velocity_s, 0.0], [0.0, 0.0, -1 / error_s]])
    density = np.diag([0.0, 2 * speed**2 / velocity_s, 2 / error_s])
    whole = expm(np.block([[-A, density], [np.zeros((3, 3)), A.T]]) * dt_s)
    F = whole[3:, 3:].T
    return F, F @ whole[:3, 3:]


@given(
    st.lists(st.tuples(st.floats(0.002, 0.4), st.booleans()), min_size=1, max_size=25),
    st.integers(0, 999),
)
@settings(max_examples=15, deadline=None)
def test_with_one_speed_the_bank_is_filterpy_channel_by_channel(
    frames: list[tuple[float, bool]], seed: int
) -> None:
    rng = np.random.default_rng(seed)
    velocity_s, error_s = ((a, b) for a, b in rng.uniform(0.05, 1.5, (2, 2)))
    bank = bank_of((0.8,) * 3, velocity_s=velocity_s, error_s=error_s)

    def look() -> Measured:
        """Errors differ by channel, and from frame to frame."""
        white, slow = rng.uniform(0.01, 1.0, (2, CHANNELS))
        return Measured(rng.normal(size=CHANNELS), white, slow)

    first = look()
    bank.begin(first)
    oracles = []
    for i in range(CHANNELS):
        oracle = KalmanFilter(dim_x=3, dim_z=1)
        oracle.x = np.array([[first.values[i]], [0.0], [0.0]])
        w, s = first.white[i], first.slow[i]
        oracle.P = np.array([[w + s, 0.0, -s], [0.0, 0.0, 0.0], [-s, 0.0, s]])
        oracle.H = np.array([[1.0, 0.0, 1.0]])
        oracles.append(oracle)
    slow = first.slow
    for dt_s, seen in frames:
        bank.predict(dt_s)
        laws = [discretised(dt_s, 0.8, velocity_s[g], error_s[g]) for g in (0, 1)]
        for i, oracle in enumerate(oracles):
            F, Q = laws[GROUP[i]]
            oracle.predict(F=F, Q=Q * np.outer([1, 1, slow[i]], [1, 1, 1]))
        if seen:
            new = look()
            bank.update(new)
            slow = new.slow
            for i, oracle in enumerate(oracles):
                oracle.update(new.values[i : i + 1, None], R=new.white[i : i + 1, None])
        else:
            bank.finish()
        np.testing.assert_allclose(
            bank.x, np.array([oracle.x[:, 0] for oracle in oracles]), rtol=1e-7, atol=1e-9
        )
        np.testing.assert_allclose(
            covariance(bank.P), np.array([oracle.P for oracle in oracles]), rtol=1e-7, atol=1e-9
        )


@given(st.floats(0.002, 3.0), st.integers(2, 9), st.integers(0, 999))
@settings(max_examples=25, deadline=None)
def test_one_long_step_is_many_short_ones(dt_s: float, parts: int, seed: int) -> None:
    """Means and shares always; covariances where the modes do not change the speed."""
    rng = np.random.default_rng(seed)
    frames = rng.normal(size=(6, CHANNELS))
    for speeds in ((0.1, 1.0, 9.0), (1.0, 1.0, 1.0)):
        whole, cut = bank_of(speeds), bank_of(speeds)
        for bank in (whole, cut):
            bank.begin(measured(frames[0]))
            for values in frames[1:]:
                bank.predict(DT)
                bank.update(measured(values))
        whole.predict(dt_s)
        whole.finish()
        for _ in range(parts):
            cut.predict(dt_s / parts)
            cut.finish()
        np.testing.assert_allclose(cut.x, whole.x, rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(cut.shares, whole.shares, atol=1e-7)
        if len(set(speeds)) == 1:
            np.testing.assert_allclose(cut.P, whole.P, rtol=1e-9, atol=1e-12)


def test_a_gap_that_begins_in_the_usual_modes_ends_as_one_step_or_many() -> None:
    whole, cut = bank_of((0.1, 1.0, 9.0)), bank_of((0.1, 1.0, 9.0))
    for bank, parts in ((whole, 1), (cut, 20)):
        bank.begin(measured(np.ones(CHANNELS)))
        for _ in range(parts):
            bank.predict(2.0 / parts)
            bank.finish()
    np.testing.assert_allclose(cut.P, whole.P, rtol=1e-6, atol=1e-12)


@given(
    st.lists(
        st.tuples(st.sampled_from(ODD_STEPS), st.sampled_from(("seen", "missed", "wild"))),
        min_size=1,
        max_size=40,
    ),
    st.integers(0, 999),
)
@settings(max_examples=40, deadline=None)
def test_whatever_the_clock_does_covariances_stay_covariances(
    frames: list[tuple[float, str]], seed: int
) -> None:
    rng = np.random.default_rng(seed)
    bank = bank_of((0.01, 1.0, 9.0), gate=15.0, rotates=True)
    bank.begin(measured(np.zeros(CHANNELS), white=1e-6, slow=1e-3))
    for dt_s, kind in frames:
        bank.predict(dt_s)
        if kind == "missed":
            bank.finish()
        else:
            size = 50.0 if kind == "wild" else 0.03
            bank.update(measured(size * rng.normal(size=CHANNELS), white=1e-6, slow=1e-3))
        assert np.isfinite(bank.x).all()
        assert np.isfinite(bank.quat_wxyz).all()
        assert (bank.variances > 0.0).all()
        whole = covariance(bank.P)
        scale = np.sqrt(np.maximum(np.diagonal(whole, axis1=1, axis2=2), 1e-12))
        assert (np.linalg.eigvalsh(whole / (scale[:, None] * scale[:, :, None])) > -1e-7).all()
        assert (bank.shares >= 0.0).all()
        np.testing.assert_allclose(bank.shares.sum(axis=1), 1.0)


def test_to_look_at_the_variances_changes_nothing() -> None:
    """A tracker asks where a face is predicted to be before it looks there."""
    rng = np.random.default_rng(2)
    idle, asked = bank_of((0.01, 1.0, 9.0), gate=10.0), bank_of((0.01, 1.0, 9.0), gate=10.0)
    for bank in (idle, asked):
        bank.begin(measured(np.zeros(CHANNELS)))
    for frame in range(20):
        seen = measured(rng.normal(size=CHANNELS) * (90.0 if frame == 15 else 0.3))
        for bank in (idle, asked):
            bank.predict(DT)
            if bank is asked:
                assert (bank.variances > 0.0).all()
            bank.update(seen)
        np.testing.assert_array_equal(asked.events, idle.events)
        np.testing.assert_allclose(asked.x, idle.x)
        np.testing.assert_allclose(asked.P, idle.P)
        np.testing.assert_allclose(asked.shares, idle.shares)


def test_the_variance_that_is_predicted_is_the_one_that_a_missed_frame_leaves() -> None:
    bank = bank_of((0.01, 1.0, 9.0))
    bank.begin(measured(np.zeros(CHANNELS)))
    bank.predict(0.2)
    predicted = bank.variances
    bank.finish()
    np.testing.assert_allclose(bank.variances, predicted, rtol=1e-6)
    np.testing.assert_allclose(bank.P[:, 0], predicted, rtol=1e-6)


def test_a_first_look_is_drawn_to_what_was_expected_however_long_it_was_waited_for() -> None:
    for waited_s in (0.0, 1.0, 100.0):
        bank = bank_of((0.01, 1.0, 9.0), gate=20.0)
        bank.predict(waited_s)
        bank.expect(1.0, np.full(CHANNELS, 0.5))
        bank.update(measured(np.full(CHANNELS, 4.0), white=0.5, slow=0.5))
        np.testing.assert_allclose(bank.values, 2.0)
        np.testing.assert_allclose(bank.variances, 0.5)


def test_events_tell_what_became_of_each_group() -> None:
    bank = bank_of((0.01, 0.1, 1.0), gate=10.0, patience_s=0.03)
    bank.begin(measured(np.zeros(CHANNELS)))
    assert bank.events.tolist() == [BEGUN, BEGUN]
    bank.predict(DT)
    assert bank.events.tolist() == [PREDICTED, PREDICTED]
    bank.update(measured(np.zeros(CHANNELS)))
    assert bank.events.tolist() == [CORRECTED, CORRECTED]
    far = measured(np.array([0.0, 0.0, 0.0, 90.0, 90.0]))
    expected = (PREDICTED, BEGUN, CORRECTED)  # an outlier; a jump; and the face is where it is
    for event in expected:
        bank.predict(DT)
        bank.update(far)
        assert bank.events.tolist() == [CORRECTED, event]
    assert bank.values[3:] == pytest.approx(90.0)
