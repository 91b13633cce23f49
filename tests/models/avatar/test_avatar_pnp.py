"""Perspective-n-point for many parts at once: laws of the pose it finds, and its gradients."""

from dataclasses import replace

import pytest

pytest.importorskip("torch")

import torch

from mien.models.avatar.pnp import PosePrior, Poses, project, rotation_from_vector, solve_poses
from mien.models.errors import InputError

LENS = torch.tensor([[80.0, 0.0, 31.5], [0.0, 80.0, 31.5], [0.0, 0.0, 1.0]], dtype=torch.float64)


def camera(batch: int = 1) -> torch.Tensor:
    """Looks from 500 mm before the posed space's origin, a little from the side."""
    turn = rotation_from_vector(torch.tensor([0.1, -0.3, 0.05], dtype=torch.float64))
    shift = torch.tensor([[0.0], [10.0], [500.0]], dtype=torch.float64)
    return (LENS @ torch.cat([turn, shift], 1)).expand(batch, 3, 4)


def motion(seed: int, parts: int, turn: float, shift: float, batch: int = 1) -> Poses:
    generator = torch.Generator().manual_seed(seed)
    vectors = torch.randn(2, batch, parts, 3, generator=generator, dtype=torch.float64)
    return Poses(rotation_from_vector(turn * vectors[0]), shift * vectors[1])


def parts_of_points(seed: int, parts: int, count: int, batch: int = 1) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    middle = 40 * torch.randn(batch, parts, 1, 3, generator=generator, dtype=torch.float64)
    arms = 25 * torch.randn(batch, parts, count, 3, generator=generator, dtype=torch.float64)
    return middle + arms


def seen_at(points: torch.Tensor, poses: Poses) -> torch.Tensor:
    moved = torch.einsum("bpij,bpkj->bpki", poses.rotation, points)
    return project(moved + poses.translation[:, :, None], camera(len(points)))


@pytest.mark.parametrize(("turn", "shift"), [(0.0, 0.0), (0.1, 5.0), (0.35, 20.0)])
def test_noise_free_points_give_their_pose_exactly(turn: float, shift: float) -> None:
    points = parts_of_points(1, 10, 12, batch=3)
    truth = motion(2, 10, turn, shift, batch=3)
    start = Poses.rest(3, 10, points)
    found = solve_poses(points, seen_at(points, truth), camera(3), start, steps=25)
    torch.testing.assert_close(found.rotation, truth.rotation, atol=1e-6, rtol=0)
    torch.testing.assert_close(found.translation, truth.translation, atol=1e-4, rtol=0)


def test_a_pose_is_found_in_single_precision_too() -> None:
    points = parts_of_points(3, 4, 30)
    truth = motion(4, 4, 0.2, 8.0)
    seen = seen_at(points, truth)
    start = Poses.rest(1, 4, points.float())
    found = solve_poses(points.float(), seen.float(), camera().float(), start, steps=12)
    torch.testing.assert_close(found.rotation.double(), truth.rotation, atol=2e-3, rtol=0)


def test_all_together_are_each_alone() -> None:
    points = parts_of_points(5, 3, 9, batch=2)
    seen = seen_at(points, motion(6, 3, 0.2, 8.0, batch=2))
    whole = solve_poses(points, seen, camera(2), Poses.rest(2, 3, points))
    for example in range(2):
        for part in range(3):
            one = (slice(example, example + 1), slice(part, part + 1))
            alone = solve_poses(points[one], seen[one], camera(), Poses.rest(1, 1, points))
            torch.testing.assert_close(alone.rotation, whole.rotation[one])
            torch.testing.assert_close(alone.translation, whole.translation[one])


@pytest.mark.parametrize("prior", [None, PosePrior()])
def test_gradients_are_those_of_finite_differences(prior: PosePrior | None) -> None:
    points = parts_of_points(7, 2, 6)
    noise = torch.randn(1, 2, 6, 2, generator=torch.Generator().manual_seed(8)).double()
    seen = seen_at(points, motion(9, 2, 0.15, 5.0)) + 0.4 * noise

    def poses(points: torch.Tensor, seen: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        start = Poses.rest(1, 2, points)
        found = solve_poses(points, seen, camera(), start, steps=4, prior=prior)
        return found.rotation, found.translation

    points.requires_grad_(True)
    seen.requires_grad_(True)
    assert torch.autograd.gradcheck(poses, (points, seen), eps=1e-5, atol=1e-4)


def test_a_prior_keeps_what_is_not_seen_and_hardly_moves_what_is() -> None:
    points = parts_of_points(10, 6, 60)
    truth = motion(11, 6, 0.1, 4.0)
    generator = torch.Generator().manual_seed(12)
    noisy = seen_at(points, truth) + torch.randn(
        1, 6, 60, 2, generator=generator, dtype=torch.float64
    )
    start = Poses.rest(1, 6, points)

    def miss(prior: PosePrior | None) -> float:
        found = solve_poses(points, noisy, camera(), start, steps=12, prior=prior)
        moved = torch.einsum("bpij,bpkj->bpki", found.rotation - truth.rotation, points)
        away = moved + (found.translation - truth.translation)[:, :, None]
        return float(away.norm(dim=-1).mean())

    assert miss(PosePrior(rotation_rad=0.1, shift_mm=4.0)) < 0.6 * miss(None)
    # All points at one place say nothing of a rotation, and break nothing.
    dot = points.mean(2, keepdim=True).expand(-1, -1, 60, -1)
    found = solve_poses(dot, seen_at(dot, truth), camera(), start, prior=PosePrior())
    torch.testing.assert_close(found.rotation, start.rotation, atol=1e-6, rtol=0)
    assert bool(torch.isfinite(found.translation).all())


def test_deviations_of_a_prior_are_above_zero() -> None:
    with pytest.raises(InputError, match="above 0"):
        replace(PosePrior(), shift_mm=0.0)
