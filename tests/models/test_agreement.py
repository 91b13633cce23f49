"""Agreement of values with the truth, against plain formulas and brute force."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mien.models.errors import InputError
from mien.models.face.agreement import (
    angle_between_gazes_deg,
    confusion,
    correlations,
    normalised_error_squared,
    roc_area,
)


def test_correlations_are_pearsons() -> None:
    rng = np.random.default_rng(0)
    true = rng.normal(size=(50, 3))
    predicted = true * [2.0, -1.0, 0.0] + rng.normal(size=(50, 3)) * [0.5, 0.5, 0.0] + 4.0
    found = correlations(predicted, true)
    for column in (0, 1):
        expected = np.corrcoef(predicted[:, column], true[:, column])[0, 1]
        assert found[column] == pytest.approx(expected)
    assert np.isnan(found[2])  # it never varies


def test_confusion_counts() -> None:
    said = np.array([True, True, False, False, True])
    true = np.array([True, False, True, False, True])
    counts = confusion(said, true)
    assert (counts.true_positive, counts.false_positive) == (2, 1)
    assert (counts.false_negative, counts.true_negative) == (1, 1)
    assert counts.recall == counts.precision == pytest.approx(2 / 3)
    assert counts.false_alarm_rate == pytest.approx(1 / 2)
    assert np.isnan(confusion(~true & said, np.zeros(5, bool)).recall)


@given(st.integers(0, 1000), st.integers(1, 12), st.integers(1, 12))
@settings(max_examples=40, deadline=None)
def test_roc_area_is_the_chance_of_the_right_order(seed: int, yes: int, no: int) -> None:
    rng = np.random.default_rng(seed)
    scores = rng.integers(0, 6, yes + no).astype(np.float64)
    true = np.arange(yes + no) < yes
    pairs = [np.sign(a - b) / 2 + 0.5 for a in scores[true] for b in scores[~true]]
    assert roc_area(scores, true) == pytest.approx(np.mean(pairs))


def test_roc_area_needs_both_kinds() -> None:
    with pytest.raises(InputError, match="needs true ones and others"):
        roc_area(np.array([0.1, 0.2]), np.array([True, True]))


def test_errors_of_the_stated_variance_average_one() -> None:
    rng = np.random.default_rng(1)
    variance = rng.uniform(0.1, 9.0, (20_000, 3))
    error = rng.normal(size=variance.shape) * np.sqrt(variance)
    assert normalised_error_squared(error, variance).mean() == pytest.approx(1.0, abs=0.03)
    assert normalised_error_squared(2 * error, variance).mean() == pytest.approx(4.0, abs=0.12)
    with pytest.raises(InputError, match="not positive"):
        normalised_error_squared(error, variance * 0)


@pytest.mark.parametrize(
    ("one", "other", "angle"),
    [((0, 0), (10, 0), 10), ((0, 0), (0, -7), 7), ((30, 20), (30, 20), 0), ((90, 0), (0, 0), 90)],
)
def test_angle_between_gazes(one: tuple[int, int], other: tuple[int, int], angle: float) -> None:
    found = angle_between_gazes_deg(np.array(one, float), np.array(other, float))
    assert float(found) == pytest.approx(angle, abs=1e-5)
