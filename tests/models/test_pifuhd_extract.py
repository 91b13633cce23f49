"""The octree gives what a dense query gives, and asks little."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from jaxtyping import Float32

from mien.models.errors import InputError
from mien.models.pifuhd.extract import extract
from mien.models.pifuhd.octree import first_grid, refine

pytest.importorskip("skimage")  # surfaces need it

Points = Float32[np.ndarray, "P 3"]
Answers = Float32[np.ndarray, " P"]


def logistic(distance: np.ndarray, steep: float = 60.0) -> Answers:
    """Occupancy from a signed distance, positive inside."""
    return (1.0 / (1.0 + np.exp(-np.clip(steep * distance, -30.0, 30.0)))).astype(np.float32)


def sphere(points: Points) -> Answers:
    return logistic(0.62 - np.linalg.norm(points - np.array([0.1, -0.05, 0.0]), axis=1))


def torus(points: Points) -> Answers:
    ring = np.hypot(points[:, 0], points[:, 1]) - 0.6
    return logistic(0.17 - np.hypot(ring, points[:, 2]))


def corners(cells: int) -> Points:
    axis = np.arange(cells + 1) * (2.0 / cells) - 1.0
    return np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), -1).reshape(-1, 3).astype("f4")


@pytest.mark.parametrize("shape", [sphere, torus])
def test_the_surface_is_that_of_a_dense_query(shape: Callable[[Points], Answers]) -> None:
    coarse_to_fine = extract(shape, 64, start=16)
    dense = extract(shape, 64, start=64)
    np.testing.assert_array_equal(coarse_to_fine.triangles, dense.triangles)
    np.testing.assert_array_equal(coarse_to_fine.vertices, dense.vertices)
    assert coarse_to_fine.is_watertight()


def test_a_tenth_of_the_points_is_asked_at_most_and_never_twice() -> None:
    asked: list[np.ndarray] = []

    def counting(points: Points) -> Answers:
        asked.append(points)
        return sphere(points)

    grid = refine(counting, 256, points_per_call=50_000)
    assert grid.asked <= 0.1 * 257**3
    assert max(len(points) for points in asked) <= 50_000
    everywhere = np.concatenate(asked)
    places = np.round((everywhere + 1.0) * 128.0).astype(np.int64) @ np.array([257**2, 257, 1])
    marks = np.zeros(257**3, bool)
    marks[places] = True
    assert len(everywhere) == grid.asked == marks.sum()
    assert grid.asked == grid.known.sum()


def test_what_is_known_is_exact_and_the_rest_is_on_the_right_side() -> None:
    grid = refine(torus, 64, start=16)
    true = torus(corners(64)).reshape(grid.values.shape)
    known = grid.known.astype(bool)
    np.testing.assert_array_equal(grid.values[known], true[known])
    np.testing.assert_array_equal(grid.values > 0.5, true > 0.5)


def test_a_spike_thinner_than_the_first_cells_is_followed_to_its_tip() -> None:
    def spiked(points: Points) -> Answers:
        thin = 0.03 - np.hypot(points[:, 0], points[:, 1])
        reach = np.minimum(thin, np.minimum(points[:, 2], 0.9 - points[:, 2]))
        return np.maximum(sphere(points), logistic(reach, 200.0))

    mesh = extract(spiked, 64, start=8)
    assert mesh.vertices[:, 2].max() > 0.88
    assert len(mesh.vertices) == len(extract(spiked, 64, start=64).vertices)


def test_only_the_largest_piece_is_kept_unless_more_is_asked_for() -> None:
    def pair(points: Points) -> Answers:
        large = 0.4 - np.linalg.norm(points - np.array([-0.4, 0.0, 0.0]), axis=1)
        small = 0.2 - np.linalg.norm(points - np.array([0.6, 0.0, 0.0]), axis=1)
        return logistic(np.maximum(large, small))

    assert extract(pair, 32).vertices[:, 0].max() < 0.1
    both = extract(pair, 32, least_share=0.1)
    assert both.vertices[:, 0].max() > 0.7
    assert len(both.components()) == 2
    assert both.is_watertight()


def test_what_leaves_the_cube_is_closed_at_its_faces() -> None:
    def column(points: Points) -> Answers:
        return logistic(0.4 - np.hypot(points[:, 0], points[:, 2]))

    mesh = extract(column, 32)
    assert mesh.is_watertight()
    low, high = mesh.bounds()
    assert low[1] == pytest.approx(-1.0, abs=1e-3)
    assert high[1] == pytest.approx(1.0, abs=1e-3)
    assert mesh.volume() == pytest.approx(2 * np.pi * 0.16, rel=0.02)


def test_progress_rises_to_one() -> None:
    told: list[float] = []
    extract(sphere, 64, start=16, points_per_call=1000, progress=told.append)
    assert told == sorted(told)
    assert told[-1] == 1.0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"resolution": 1}, "resolution is 1"),
        ({"resolution": 100, "start": 16}, "power of two"),
        ({"resolution": 32, "tolerance": 0.5}, "tolerance"),
        ({"resolution": 32, "points_per_call": 0}, "points_per_call"),
    ],
)
def test_impossible_arguments_are_refused(arguments: dict[str, int], words: str) -> None:
    with pytest.raises(InputError, match=words):
        extract(sphere, **arguments)  # pyright: ignore[reportArgumentType]


def test_a_function_that_answers_nonsense_is_refused() -> None:
    with pytest.raises(InputError, match="not finite"):
        refine(lambda points: np.full(len(points), np.nan, np.float32), 8)
    with pytest.raises(InputError, match="nothing solid"):
        extract(lambda points: np.zeros(len(points), np.float32), 8)


@pytest.mark.parametrize(
    ("resolution", "start", "first"), [(256, 64, 64), (48, 64, 48), (96, 64, 48)]
)
def test_the_first_grid_is_the_resolution_halved(resolution: int, start: int, first: int) -> None:
    assert first_grid(resolution, start) == first
