"""What the avatar's evaluation measures: surfaces, following, sets of pictures."""

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("monai")
pytest.importorskip("skimage")

from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import sqrtm

from mien.models.avatar.avatar import Grids
from mien.models.avatar.face_surface import (
    FaceSurface,
    drift,
    faces_of,
    mean_distance,
    mean_distances,
    reconstruction_figures,
    unseen_at,
)
from mien.models.avatar.following import Calibration, correlation, explained
from mien.models.avatar.generation_figures import coverage, diversity, frechet, generation_figures
from mien.models.errors import InputError
from mien.models.scans.box import FaceBox

BOX = FaceBox(40)
CENTRE = np.array([0.0, 30.0, 40.0])
NO_POINTS = np.zeros((0, 3), np.float32)


def ball(radius: float) -> np.ndarray:
    away = np.linalg.norm(BOX.centres() - CENTRE, axis=-1) - radius
    return np.clip(away, -BOX.truncation, BOX.truncation).astype(np.float32)


def colours(value: int = 100) -> np.ndarray:
    return np.full((*BOX.shape, 3), value, np.uint8)


def on_ball(radius: float, count: int = 200) -> np.ndarray:
    ways = np.random.default_rng(0).normal(size=(count, 3))
    places = CENTRE + radius * ways / np.linalg.norm(ways, axis=1, keepdims=True)
    return places.astype(np.float32)


def test_distances_are_in_millimetres() -> None:
    face = FaceSurface(ball(45.0), colours())
    np.testing.assert_allclose(face.distance(on_ball(40.0)), 5.0, atol=0.3)
    assert mean_distance(face, on_ball(45.0)) < 0.3
    assert mean_distance(face, on_ball(2.0)) == pytest.approx(face.most_mm)
    assert np.isnan(mean_distance(face, NO_POINTS))
    assert mean_distances([face, face], [on_ball(40.0), NO_POINTS]) == pytest.approx(5.0, abs=0.2)
    assert np.isnan(mean_distances([face], [NO_POINTS]))


def test_drift_is_from_the_surface_before_not_from_the_truth() -> None:
    before, after = FaceSurface(ball(45.0), colours()), FaceSurface(ball(42.0), colours())
    assert drift(after, before, on_ball(50.0)) == pytest.approx(3.0, abs=0.2)
    assert drift(before, before, on_ball(50.0)) < 1e-3


def test_a_grid_without_a_surface_is_as_far_as_can_be() -> None:
    nothing = FaceSurface(np.full(BOX.shape, 3.0, np.float32), colours())
    assert nothing.mesh is None
    assert mean_distance(nothing, on_ball(40.0)) == pytest.approx(BOX.truncation)
    grids = Grids(np.full((1, *BOX.shape), 3.0, np.float32), colours()[None])
    found = reconstruction_figures(grids, ball(40.0)[None], colours()[None])
    assert found["iou"] == 0
    assert found["chamfer_mm"] == pytest.approx(BOX.truncation)


def test_a_reconstruction_is_compared_both_ways() -> None:
    grids = Grids(np.stack([ball(45.0), ball(40.0)]), np.stack([colours(), colours(110)]))
    true = np.stack([ball(45.0), ball(42.0)]).astype(np.float16)
    found = reconstruction_figures(grids, true, np.stack([colours()] * 2))
    assert found["to_truth_mm"] == pytest.approx(1.0, abs=0.1)
    assert found["from_truth_mm"] == pytest.approx(1.0, abs=0.1)
    assert found["iou"] == pytest.approx((45**3 + 40**3) / (45**3 + 42**3), abs=0.02)
    assert found["colour_db"] == pytest.approx(10 * np.log10(2 * 25.5**2), abs=0.3)
    assert len(faces_of(grids)) == 2


def test_places_without_an_observed_cell_are_unseen() -> None:
    seen = np.full(BOX.shape, 7, np.uint8)
    seen[: BOX.cells // 2] = 0
    places = on_ball(40.0)
    clear = np.abs(places[:, 0]) > BOX.edges[0]
    np.testing.assert_array_equal(unseen_at(seen, places)[clear], places[clear, 0] < 0)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000), st.floats(0.3, 3))
def test_calibration_finds_the_gain_and_what_is_mixed(seed: int, gain: float) -> None:
    rng = np.random.default_rng(seed)
    asked = (rng.random((400, 52)) * (rng.random((400, 52)) < 0.2)).astype(np.float32)
    mixing = np.eye(52) / gain
    mixing[0, 1] = 0.5 / gain
    read = (asked @ mixing).astype(np.float32)
    found = Calibration.fit(read, asked)
    assert found.renders == 400
    assert explained(found(read), asked) > explained(gain * read, asked)
    assert correlation(found(read), asked) > 0.97
    np.testing.assert_allclose(found(np.zeros((2, 52), np.float32)), 0)


def test_calibration_needs_renders() -> None:
    with pytest.raises(InputError, match="no true render"):
        Calibration.fit(np.zeros((0, 52), np.float32), np.zeros((0, 52), np.float32))
    blind = Calibration.fit(np.zeros((3, 52), np.float32), np.ones((3, 52), np.float32))
    assert np.isfinite(blind.matrix).all()


def test_following_of_what_does_not_move_is_nothing() -> None:
    asked = np.random.default_rng(0).random((4, 52)).astype(np.float32)
    still = np.zeros_like(asked)
    assert correlation(still, asked) == explained(still, asked) == 0
    assert correlation(asked, asked) == pytest.approx(1)
    assert correlation(-3 * asked + 1, asked) == pytest.approx(-1)
    assert explained(asked, asked) == 1
    assert explained(-asked, asked) == pytest.approx(-3)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000))
def test_the_frechet_distance_is_that_of_two_normal_distributions(seed: int) -> None:
    rng = np.random.default_rng(seed)
    a = rng.normal(size=(40, 5)) @ rng.normal(size=(5, 5))
    b = rng.normal(size=(30, 5)) @ rng.normal(size=(5, 5)) + 1
    first, second = np.cov(a.T), np.cov(b.T)
    root = np.real(sqrtm(first @ second))
    wanted = np.square(a.mean(0) - b.mean(0)).sum() + np.trace(first + second - 2 * root)
    assert frechet(a, b) == pytest.approx(wanted, rel=1e-5)
    assert frechet(a, a) == pytest.approx(0, abs=1e-9)
    assert frechet(a, a + 2) == pytest.approx(4 * 5)


def test_coverage_and_diversity_tell_collapse() -> None:
    rng = np.random.default_rng(0)
    true = rng.normal(size=(60, 4))
    same = rng.normal(size=(60, 4))
    collapsed = np.repeat(true[:1], 60, axis=0)
    assert coverage(true, true) == 1
    assert coverage(same, true) > 0.6
    assert coverage(collapsed, true) < 0.3
    assert coverage(true + 100, true) == 0
    assert diversity(collapsed) == pytest.approx(0, abs=1e-6)
    found = generation_figures(2 * true, true)
    assert found["diversity"] == pytest.approx(2)
    assert set(found) == {"frechet", "coverage", "diversity"}
    # Two are enough.
    assert np.isfinite(list(generation_figures(true[:2], true[2:4]).values())).all()
