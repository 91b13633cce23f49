"""Volumetric linear blend skinning: the branch for subjects that move (Ntavelis et al. 2023, 3.1).

A subject has P rigid parts. Points of canonical space are moved by

    x_d = sum_p w_p(x_c) (R_p x_c + t_p)

with weights from a softmax over P channels of a grid. To render a posed subject, points of posed
space are taken back; that inverse is approximated as in HumanNeRF (Weng et al. 2022): the weights
are read where each part alone would have come from, and normalised,

    x_p = R_p^T (x_d - t_p)      v_p = w_p(x_p) / sum_q w_q(x_q)      x_c = sum_p v_p x_p

Poses are given, or found in pictures (:mod:`.keypoints`, :mod:`.pnp`).
"""

from __future__ import annotations

import torch
from jaxtyping import Float

from ..scans.box import FaceBox
from .autodecoder import Volume
from .pnp import Poses
from .volume_rendering import Beyond, sample_grid

Points = Float[torch.Tensor, "b n 3"]
PARTS = 10
"""Rigid parts of a talking head in the paper."""
_LEAST_WEIGHT = 1e-6


def part_weights(
    logits: Float[torch.Tensor, "b p g g g"], points: Points
) -> Float[torch.Tensor, "b n p"]:
    """Weights of the parts at points of canonical space, of sum 1.

    Args:
        logits: a grid of P channels over the box of the face.
        points: mm.
    """
    # The softmax is interpolated, not its argument: outside of the box weights are alike.
    weights = sample_grid(torch.softmax(logits, 1), points).transpose(1, 2)
    share = weights.sum(-1, keepdim=True)
    return torch.where(share > 0.5, weights / share.clamp(min=0.5), 1.0 / logits.shape[1])


def deform(logits: Float[torch.Tensor, "b p g g g"], points: Points, poses: Poses) -> Points:
    """Canonical points where they are in a pose."""
    moved = torch.einsum("bpij,bnj->bnpi", poses.rotation, points)
    moved = moved + poses.translation[:, None]
    return (part_weights(logits, points)[..., None] * moved).sum(2)


def undeform(logits: Float[torch.Tensor, "b p g g g"], points: Points, poses: Poses) -> Points:
    """About where points of a pose are in canonical space; exact where all parts move alike."""
    return _blended(*_candidates(logits, points, poses))


def posed_density(
    density: Float[torch.Tensor, "b 1 g g g"],
    logits: Float[torch.Tensor, "b p g g g"],
    points: Points,
    poses: Poses,
) -> Float[torch.Tensor, "b n"]:
    """Density of a canonical grid at points of a pose; 0 where no part reaches."""
    back, weights = _candidates(logits, points, poses)
    found = sample_grid(density, _blended(back, weights))[:, 0]
    return torch.where(weights.sum(-1) > _LEAST_WEIGHT, found, 0.0)


def posed_volume(volume: Volume, logits: Float[torch.Tensor, "b p g g g"], poses: Poses) -> Volume:
    """Grids of canonical space as they are in a pose: each cell shows where it came from.

    What lies beyond the box is taken to be like its outermost cells.

    Args:
        volume: canonical grids, of distance or density.
        logits: of the parts' weights, likewise.
        poses: of each of them.
    """
    cells = volume.shape.shape[-1]
    centres = torch.from_numpy(FaceBox(cells).centres()).to(volume.shape)
    points = centres.view(1, -1, 3).expand(len(logits), -1, -1)
    origin = _blended(*_candidates(logits, points, poses, "border"))
    grids = torch.cat([volume.shape, volume.colour], 1)
    found = sample_grid(grids, origin, "border").unflatten(-1, 3 * (cells,))
    return Volume(found[:, :1], found[:, 1:])


def _blended(back: Float[torch.Tensor, "b n p 3"], weights: Float[torch.Tensor, "b n p"]) -> Points:
    """The weighted mean of where parts would have brought points from."""
    total = weights.sum(-1, keepdim=True).clamp(min=_LEAST_WEIGHT)
    return ((weights / total)[..., None] * back).sum(2)


def _candidates(
    logits: Float[torch.Tensor, "b p g g g"],
    points: Points,
    poses: Poses,
    beyond: Beyond = "zeros",
) -> tuple[Float[torch.Tensor, "b n p 3"], Float[torch.Tensor, "b n p"]]:
    """Where each part would have brought points from, and its own weight there."""
    shifted = points[:, :, None] - poses.translation[:, None]
    back = torch.einsum("bpji,bnpj->bnpi", poses.rotation, shifted)
    b, n, p, _ = back.shape
    weights = torch.softmax(logits, 1)
    each = back.permute(0, 2, 1, 3).reshape(b * p, n, 3)
    own = sample_grid(weights.reshape(b * p, 1, *weights.shape[2:]), each, beyond)
    return back, own.view(b, p, n).transpose(1, 2)
