"""Measures against hand-made cases and against the laws that they must keep."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mien.models.errors import InputError
from mien.models.face import metrics


def face(width: float = 100.0, height: float = 100.0) -> np.ndarray:
    """68 points, their tight box (0, 0, width, height)."""
    points = np.random.default_rng(0).uniform(0.2, 0.8, (68, 2))
    points[0], points[1] = (0.0, 0.0), (1.0, 1.0)
    return points * (width, height)


def test_nme_of_a_shift_is_the_shift_over_the_box() -> None:
    truth = face(200.0, 50.0)
    assert metrics.nme_percent(truth + np.array([3.0, 4.0]), truth) == pytest.approx(5.0)


def test_nme_without_jaw_ignores_the_jaw_but_keeps_its_box() -> None:
    truth = face()
    predicted = truth.copy()
    predicted[:17] += 50.0
    assert metrics.nme_percent(predicted, truth, jaw=False) == 0.0
    predicted = truth.copy()
    predicted[17:] += (3.0, 4.0)
    assert metrics.nme_percent(predicted, truth, jaw=False) == pytest.approx(5.0)
    assert metrics.nme_percent(predicted, truth) == pytest.approx(5.0 * 51 / 68)


@given(st.floats(0.1, 50), st.floats(-500, 500), st.integers(0, 1000))
@settings(max_examples=30, deadline=None)
def test_nme_is_free_of_scale_and_place(scale: float, shift: float, seed: int) -> None:
    truth = face()
    predicted = truth + np.random.default_rng(seed).normal(0, 3, (68, 2))
    batch = metrics.nme_percent(np.stack([predicted] * 2), np.stack([truth] * 2))
    assert batch[0] == batch[1] == pytest.approx(float(metrics.nme_percent(predicted, truth)))
    moved = metrics.nme_percent(predicted * scale + shift, truth * scale + shift)
    assert moved == pytest.approx(batch[0], rel=1e-6)


def test_nme_of_points_in_one_place_is_refused() -> None:
    with pytest.raises(InputError, match="empty"):
        metrics.nme_percent(np.zeros((68, 2)), np.zeros((68, 2)))


def test_yaw_bins_and_their_mean() -> None:
    bins = metrics.mean_by_yaw(
        np.array([1.0, 3.0, 4.0, 9.0, 100.0]), np.array([0.0, -30.0, 30.1, -90.0, 91.0])
    )
    assert bins.means == (2.0, 4.0, 9.0)
    assert bins.counts == (2, 1, 1)
    assert bins.mean == pytest.approx(5.0)
    assert metrics.mean_by_yaw(np.array([1.0]), np.array([0.0])).mean is None


@given(st.floats(-360, 360), st.floats(-360, 360))
def test_angle_error_goes_the_short_way(a: float, b: float) -> None:
    error = float(metrics.angle_error_deg(np.array(a), np.array(b)))
    turn = np.exp(1j * np.deg2rad([a, b]))
    assert 0.0 <= error <= 180.0
    assert np.deg2rad(error) == pytest.approx(abs(np.angle(turn[0] / turn[1])), abs=1e-6)


def boxes(*rows: tuple[float, float, float, float]) -> np.ndarray:
    return np.array(rows, dtype=np.float64).reshape(-1, 4)


def test_overlap_by_hand() -> None:
    overlap = metrics.overlaps(boxes((0, 0, 2, 2)), boxes((1, 1, 2, 2), (0, 0, 2, 2), (5, 5, 1, 1)))
    np.testing.assert_allclose(overlap, [[1 / 7, 1.0, 0.0]])


def test_each_detection_serves_one_face_and_the_best_first() -> None:
    truth = boxes((0, 0, 10, 10), (4, 0, 10, 10))
    matching = metrics.match(boxes((4, 0, 10, 10)), truth)
    assert dict(matching.pairs) == {1: 0}
    assert matching.missed == (0,)
    assert matching.false == ()


def test_two_detections_on_one_face_are_one_too_many() -> None:
    matching = metrics.match(boxes((0, 0, 10, 10), (1, 0, 10, 10)), boxes((0, 0, 10, 10)))
    assert dict(matching.pairs) == {0: 0}
    assert matching.false == (1,)


def test_faces_to_ignore_are_neither_missed_nor_make_detections_false() -> None:
    truth = boxes((0, 0, 10, 10), (100, 0, 30, 30))
    ignore = [False, True]
    assert metrics.match(boxes(), truth, ignore).missed == (0,)
    inside = metrics.match(boxes((105, 5, 5, 5), (50, 50, 5, 5)), truth, ignore)
    assert inside.false == (1,)


def test_no_face_and_no_detection() -> None:
    assert metrics.match(boxes(), boxes()) == metrics.Matching()
    assert metrics.match(boxes((0, 0, 1, 1)), boxes()).false == (0,)


def test_jitter_of_a_still_face_is_its_noise() -> None:
    rng = np.random.default_rng(3)
    still = face() + rng.normal(0, 1.0, (400, 68, 2))
    expected = 100.0 * np.sqrt(2.0) / 100.0
    assert metrics.still_jitter_percent(still) == pytest.approx(expected, rel=0.03)


def test_stability_counts_only_relative_motion() -> None:
    truth = face() + np.arange(10)[:, None, None] * 5.0
    assert metrics.stability_percent(truth + 7.0, truth) == pytest.approx(0.0, abs=1e-9)
    jumping = truth + (np.arange(10) % 2)[:, None, None] * np.array([3.0, 4.0])
    assert metrics.stability_percent(jumping, truth) == pytest.approx(5.0)


@given(st.floats(-100, 100))
@settings(max_examples=20, deadline=None)
def test_lag_of_a_delayed_signal(delay_ms: float) -> None:
    t_ns = np.cumsum(np.random.default_rng(1).integers(20, 50, 200) * 1_000_000)
    time_s = t_ns * 1e-9

    def signal(t: np.ndarray) -> np.ndarray:
        return np.sin(2.0 * t) + 0.5 * np.sin(5.0 * t)

    found = metrics.lag_ms(signal(time_s - delay_ms * 1e-3), signal(time_s), t_ns)
    assert found == pytest.approx(delay_ms, abs=1.0)


def test_lag_needs_time_and_motion() -> None:
    t_ns = np.arange(10) * 10_000_000
    with pytest.raises(InputError, match="moving signal"):
        metrics.lag_ms(np.zeros(10), np.zeros(10), t_ns)
