"""Turns of a head by marked points alone: known ones are found again."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("scipy", reason="bundle adjustment (extra: heavy)")
from scipy.spatial.transform import Rotation

BENCH = Path(__file__).resolve().parents[2] / "bench"

sys.path.insert(0, str(BENCH))  # the bench is no package
try:
    turned_head = importlib.import_module("turned_head")
finally:
    sys.path.remove(str(BENCH))

TURNS_DEG = np.array([0.0, 24.0, 41.0, 52.0, 63.0])
LABELS_DEG = np.array([0.0, 30.0, 60.0, 75.0, 90.0])
"""Wrong in the way that the set's are."""


def _pictures(seed: int, noise_px: float, side: float) -> np.ndarray:
    """(V, P, 2) points of half a head, some hidden at either end of the turn."""
    rng = np.random.default_rng(seed)
    head = np.stack(
        [rng.uniform(-40, 70, 13), rng.uniform(-45, 45, 13), rng.uniform(-35, 70, 13)], 1
    )
    turns = side * TURNS_DEG[:, None]
    angles = np.concatenate([turns, rng.normal(0, 4, (5, 2))], axis=1)
    angles[0] = 0.0
    points = np.stack(
        [
            rng.uniform(0.98, 1.02) * (turn.apply(head * (side, 1, 1)))[:, :2]
            + rng.uniform(80, 200, 2)
            for turn in Rotation.from_euler("YXZ", angles, degrees=True)
        ]
    )
    points += rng.normal(0, noise_px, points.shape)
    points[0, :2], points[-1, 2:4] = np.nan, np.nan
    return points


@pytest.mark.parametrize("side", [1.0, -1.0])
@pytest.mark.parametrize("seed", [0, 1])
def test_known_turns_are_found_again(seed: int, side: float) -> None:
    series = turned_head.Series(["a"] * 5, _pictures(seed, 0.3, side))
    turns, spread, rms = turned_head.turns_deg(series, side * LABELS_DEG)
    apart = np.abs(turns - side * TURNS_DEG)
    assert apart.max() < 3.0
    assert np.all(apart <= 4 * spread + 1.0)
    assert rms < 0.5


def test_marked_points_are_of_five_pictures_with_enough_in_common() -> None:
    for marked in json.loads(turned_head.POINTS.read_text()).values():
        series = turned_head.Series.of(marked)
        seen = ~np.isnan(series.points[..., 0])
        assert len(series.pictures) == 5
        assert (seen.sum(0) >= 2).all()
        assert (seen.sum(1) >= 7).all()
