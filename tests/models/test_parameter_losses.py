"""VDC, WPDC and fWPDC: closed forms against meshes, on any similarity pose."""

from functools import cache
from importlib import resources
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mien.models.face.morphable import FaceModel
from mien.models.face.rotation import matrix_from_rotation_vector

pytest.importorskip("torch")

import torch

from mien.models.regressor.parameter_losses import (
    DEPTH_OFFSET,
    MeshDistance,
    naive_weights,
    with_true_depth,
)

WEIGHTS = Path(str(resources.files("mien.models.weights.default")))


@cache
def model() -> FaceModel:
    """The packaged face model."""
    return FaceModel.load(WEIGHTS / "face_model.npz")


@cache
def distance() -> MeshDistance:
    return MeshDistance(model(), torch.float64)


def similarity_params(rng: np.random.Generator, faces: int, scale: float) -> torch.Tensor:
    """Labels: a pose that is exactly a scaled rotation with translation, and coefficients."""
    params = np.zeros((faces, 62))
    for row in params:
        pose = np.zeros((3, 4))
        turn = rng.normal(size=3)
        turn *= rng.uniform(0, np.pi) / np.linalg.norm(turn)
        pose[:, :3] = scale * rng.uniform(0.5, 2.0) * matrix_from_rotation_vector(turn)
        pose[:, 3] = rng.normal(59.5, 20.0, 3)
        row[:12] = pose.ravel()
        row[12:] = rng.normal(0, 1.5, 50)
    return torch.from_numpy(params)


def guesses(rng: np.random.Generator, true: torch.Tensor, error: float) -> torch.Tensor:
    """Predictions that are anything, as a network's are: the 3x3 part need be no rotation."""
    spread = np.where(np.arange(62) < 12, 0.3, 1.0)
    spread[[3, 7, 11]] = 10.0
    return true + torch.from_numpy(error * spread * rng.normal(size=true.shape))


@settings(max_examples=12, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    scale=st.floats(0.05, 5.0),
    error=st.floats(1e-3, 3.0),
)
def test_fast_weights_equal_the_naive_ones(seed: int, scale: float, error: float) -> None:
    rng = np.random.default_rng(seed)
    true = similarity_params(rng, 2, scale)
    params = guesses(rng, true, error)
    naive = naive_weights(model(), params, true)
    assert float(naive.max()) == 1.0
    assert float((distance().weights(params, true) - naive).abs().max()) <= 1e-10


@settings(max_examples=5, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_columns_of_the_pose_paired_with_other_axes_are_noticed(seed: int) -> None:
    """What the property above would say of an implementation that pairs rows, or other axes."""
    rng = np.random.default_rng(seed)
    true = similarity_params(rng, 2, 0.6)
    params = guesses(rng, true, 1.0)
    naive = naive_weights(model(), params, true)
    wrong = MeshDistance(model(), torch.float64)
    wrong.axis_factors = wrong.axis_factors[[1, 2, 0]]
    assert float((wrong.weights(params, true) - naive).abs().max()) > 1e-3


def test_a_pose_that_is_no_similarity_breaks_the_equality() -> None:
    """The closed form says how far coefficients move points by one scale for all directions."""
    rng = np.random.default_rng(0)
    true = similarity_params(rng, 2, 0.6)
    true[:, :3] *= 1.5
    params = guesses(rng, true, 1.0)
    difference = distance().weights(params, true) - naive_weights(model(), params, true)
    assert float(difference.abs().max()) > 1e-3


@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), error=st.floats(1e-4, 3.0))
def test_vdc_is_the_mean_squared_distance_of_all_vertices(seed: int, error: float) -> None:
    rng = np.random.default_rng(seed)
    true = similarity_params(rng, 3, 0.6)
    params = guesses(rng, true, error)
    fixed = with_true_depth(params, true)
    costs = distance().vdc(params, true)
    single = MeshDistance(model()).vdc(params.float(), true.float())
    for face in range(3):
        meshes = []
        for row in (fixed[face].numpy(), true[face].numpy()):
            head = model().mean.astype(np.float64)
            head = head + np.tensordot(row[12:52], model().shape_basis.astype(np.float64), axes=1)
            head += np.tensordot(row[52:], model().expression_basis.astype(np.float64), axes=1)
            pose = row[:12].reshape(3, 4)
            meshes.append(head @ pose[:, :3].T + pose[:, 3])
        expected = np.mean(np.sum((meshes[0] - meshes[1]) ** 2, axis=1))
        assert float(costs[face]) == pytest.approx(expected, rel=1e-9)
        assert float(single[face]) == pytest.approx(expected, rel=1e-2, abs=1e-6)


def test_depth_offset_counts_nowhere() -> None:
    rng = np.random.default_rng(1)
    true = similarity_params(rng, 2, 0.6)
    params = guesses(rng, true, 0.5)
    moved = params.clone()
    moved[:, DEPTH_OFFSET] += 100.0
    params.requires_grad_()
    for cost in (distance().vdc, distance().fwpdc):
        torch.testing.assert_close(cost(moved, true), cost(params, true))
        (slope,) = torch.autograd.grad(cost(params, true).sum(), params)
        assert float(slope[:, DEPTH_OFFSET].abs().max()) == 0.0
    assert float(distance().weights(moved, true)[:, DEPTH_OFFSET].max()) == 0.0


def test_truth_costs_nothing_and_has_no_nan() -> None:
    true = similarity_params(np.random.default_rng(2), 2, 0.6)
    params = true.clone().requires_grad_()
    total = distance().vdc(params, true).sum() + distance().fwpdc(params, true).sum()
    assert float(total.detach()) == 0.0
    (slope,) = torch.autograd.grad(total, params)
    assert bool(torch.isfinite(slope).all())


def test_weights_are_constants() -> None:
    """The gradient of fWPDC is 2 w^2 (p - p_g): none passes through the weights."""
    rng = np.random.default_rng(3)
    true = similarity_params(rng, 2, 0.6)
    params = guesses(rng, true, 0.5).requires_grad_()
    weights = distance().weights(params, true)
    assert not weights.requires_grad
    (slope,) = torch.autograd.grad(distance().fwpdc(params, true).sum(), params)
    expected = 2 * weights**2 * (with_true_depth(params, true) - true)
    torch.testing.assert_close(slope, expected.detach())


def test_units_of_the_distance_leave_the_weights() -> None:
    rng = np.random.default_rng(4)
    true = similarity_params(rng, 2, 0.6)
    params = guesses(rng, true, 0.5)
    std = torch.full((62,), 2.0, dtype=torch.float64)
    torch.testing.assert_close(
        distance().fwpdc(params, true, std), distance().fwpdc(params, true) / 4
    )
