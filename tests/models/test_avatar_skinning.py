"""Volumetric linear blend skinning and poses from points, on known motions."""

import pytest

pytest.importorskip("torch")

import torch

from mien.models.avatar.autodecoder import Volume
from mien.models.avatar.pnp import Poses, rotation_from_vector
from mien.models.avatar.skinning import posed_volume, undeform
from mien.models.scans.box import FaceBox

from .forward_skinning import deform

LOGITS = torch.randn(1, 4, 8, 8, 8, generator=torch.Generator().manual_seed(2))
POINTS = torch.tensor([-60.0, -30.0, -10.0]) + torch.rand(
    (1, 200, 3), generator=torch.Generator().manual_seed(3)
) * torch.tensor([120.0, 120.0, 90.0])


def _poses(vectors: torch.Tensor, shifts: torch.Tensor) -> Poses:
    return Poses(rotation_from_vector(vectors)[None], shifts[None])


def test_no_motion_is_the_identity() -> None:
    still = _poses(torch.zeros(4, 3), torch.zeros(4, 3))
    torch.testing.assert_close(deform(LOGITS, POINTS, still), POINTS)
    torch.testing.assert_close(undeform(LOGITS, POINTS, still), POINTS, atol=1e-3, rtol=0)


def test_one_motion_of_all_parts_is_that_motion_and_is_undone() -> None:
    vector, shift = torch.tensor([0.1, -0.2, 0.15]), torch.tensor([3.0, -2.0, 4.0])
    poses = _poses(vector.expand(4, 3), shift.expand(4, 3))
    moved = deform(LOGITS, POINTS, poses)
    expected = POINTS @ rotation_from_vector(vector).T + shift
    torch.testing.assert_close(moved, expected, atol=1e-3, rtol=0)
    torch.testing.assert_close(undeform(LOGITS, moved, poses), POINTS, atol=1e-3, rtol=0)


def test_points_of_one_part_follow_that_part_and_come_back() -> None:
    logits = torch.full((1, 2, 8, 8, 8), -20.0)
    logits[:, 0, :4] = 20.0  # left half
    logits[:, 1, 4:] = 20.0
    poses = _poses(
        torch.tensor([[0.0, 0.0, 0.2], [0.0, 0.1, 0.0]]),
        torch.tensor([[-5.0, 0.0, 0.0], [5.0, 0.0, 2.0]]),
    )
    left = torch.tensor([[[-50.0, 10.0, 20.0]]])
    expected = left @ poses.rotation[0, 0].T + poses.translation[0, 0]
    moved = deform(logits, left, poses)
    torch.testing.assert_close(moved, expected, atol=1e-4, rtol=0)
    torch.testing.assert_close(undeform(logits, moved, poses), left, atol=1e-3, rtol=0)


def test_grids_move_as_their_cells_do() -> None:
    box = FaceBox(16)
    centres = torch.from_numpy(box.centres()).view(1, -1, 3)
    centre, shift = torch.tensor([5.0, 25.0, 40.0]), torch.tensor([9.0, -6.0, 4.0])

    def ball(at: torch.Tensor) -> torch.Tensor:
        return ((centres - at).norm(dim=-1) - 35.0).view(1, 1, 16, 16, 16)

    colour = (centres / 200 + 0.5).transpose(1, 2).reshape(1, 3, 16, 16, 16)
    logits = torch.randn(1, 4, 16, 16, 16, generator=torch.Generator().manual_seed(1))
    still = posed_volume(Volume(ball(centre), colour), logits, Poses.rest(1, 4, logits))
    torch.testing.assert_close(still.shape, ball(centre), atol=1e-3, rtol=0)
    torch.testing.assert_close(still.colour, colour, atol=1e-4, rtol=0)
    poses = _poses(torch.zeros(4, 3), shift.expand(4, 3))
    moved = posed_volume(Volume(ball(centre), colour), logits, poses)
    truth = ball(centre + shift)
    near = truth.abs() < 15
    assert float((moved.shape - truth)[near].abs().max()) < 1.5  # of cells of 11 mm
    # What comes from beyond the box is like its outermost cells: no hole opens behind a face.
    assert float(moved.shape.max()) <= float(ball(centre).max()) + 1e-3
    assert float(moved.shape.min()) >= float(ball(centre).min()) - 1e-3
