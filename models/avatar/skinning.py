"""Volumetric linear blend skinning: the branch for subjects that move (Ntavelis et al. 2023, 3.1).

A subject has P rigid parts. Points of canonical space are moved by

    x_d = sum_p w_p(x_c) (R_p x_c + t_p)

with weights from a softmax over P channels of a grid. To render a posed subject, points of posed
space are taken back; that inverse is approximated as in HumanNeRF (Weng et al. 2022): the weights
are read where each part alone would have come from, and normalised,

    x_p = R_p^T (x_d - t_p)      v_p = w_p(x_p) / sum_q w_q(x_q)      x_c = sum_p v_p x_p

Poses are given, or solved from 3D points of each part and where they are seen, by a few damped
Gauss-Newton steps whose result gradients pass through.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float

from .volume_rendering import sample_grid

Points = Float[torch.Tensor, "b n 3"]
PARTS = 10
"""Rigid parts of a talking head in the paper."""
_STEPS = 10
_DAMPING = 1e-4
_LEAST_WEIGHT = 1e-6


class Poses(NamedTuple):
    """Rigid motions of all parts: canonical to posed.

    Attributes:
        rotation: (b, P, 3, 3).
        translation: (b, P, 3) mm.
    """

    rotation: Float[torch.Tensor, "b p 3 3"]
    translation: Float[torch.Tensor, "b p 3"]


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
    back, weights = _candidates(logits, points, poses)
    total = weights.sum(-1, keepdim=True).clamp(min=_LEAST_WEIGHT)
    return ((weights / total)[..., None] * back).sum(2)


def posed_density(
    density: Float[torch.Tensor, "b 1 g g g"],
    logits: Float[torch.Tensor, "b p g g g"],
    points: Points,
    poses: Poses,
) -> Float[torch.Tensor, "b n"]:
    """Density of a canonical grid at points of a pose; 0 where no part reaches."""
    _, weights = _candidates(logits, points, poses)
    found = sample_grid(density, undeform(logits, points, poses))[:, 0]
    return torch.where(weights.sum(-1) > _LEAST_WEIGHT, found, 0.0)


def _candidates(
    logits: Float[torch.Tensor, "b p g g g"], points: Points, poses: Poses
) -> tuple[Float[torch.Tensor, "b n p 3"], Float[torch.Tensor, "b n p"]]:
    """Where each part would have brought points from, and its own weight there."""
    shifted = points[:, :, None] - poses.translation[:, None]
    back = torch.einsum("bpji,bnpj->bnpi", poses.rotation, shifted)
    b, n, p, _ = back.shape
    weights = torch.softmax(logits, 1)
    each = back.permute(0, 2, 1, 3).reshape(b * p, n, 3)
    own = sample_grid(weights.reshape(b * p, 1, *weights.shape[2:]), each)
    return back, own.view(b, p, n).transpose(1, 2)


def rotation_from_vector(vector: Float[torch.Tensor, "*b 3"]) -> Float[torch.Tensor, "*b 3 3"]:
    """The rotation about a vector by its length, radians."""
    x, y, z = vector.unbind(-1)
    zero = torch.zeros_like(x)
    rows = [zero, -z, y, z, zero, -x, -y, x, zero]
    return torch.matrix_exp(torch.stack(rows, -1).unflatten(-1, (3, 3)))


def solve_poses(
    points: Float[torch.Tensor, "b p k 3"],
    seen: Float[torch.Tensor, "b p k 2"],
    intrinsics: Float[torch.Tensor, "3 3"],
    start: Poses,
    steps: int = _STEPS,
) -> Poses:
    """Perspective-n-point for every part; gradients flow to points and to where they are seen.

    Args:
        points: k of each part in canonical space, mm.
        seen: where they are in the picture, px.
        intrinsics: of the camera, px.
        start: camera from canonical space, about.
        steps: of Gauss and Newton, damped a little.
    """
    rotation, translation = start
    focal = torch.stack([intrinsics[0, 0], intrinsics[1, 1]])
    centre = intrinsics[:2, 2]
    for _ in range(steps):
        turned = torch.einsum("bpij,bpkj->bpki", rotation, points)
        x, y, z = (turned + translation[:, :, None]).unbind(-1)
        depth = z.clamp(min=1e-3)
        plane = torch.stack([x / depth, y / depth], -1)
        residual = (seen - (plane * focal + centre)).flatten(2)
        # d(plane)/d(camera point): the rotation acts from the left on the turned points.
        zero = torch.zeros_like(depth)
        across = torch.stack([1 / depth, zero, -x / depth**2], -1)
        down = torch.stack([zero, 1 / depth, -y / depth**2], -1)
        plane_by_point = torch.stack([across, down], -2) * focal[:, None]
        jacobian = torch.cat([plane_by_point @ -_skew(turned), plane_by_point], -1)
        jacobian = jacobian.flatten(2, 3)
        normal = jacobian.transpose(-1, -2) @ jacobian
        damped = normal + _DAMPING * torch.diag_embed(normal.diagonal(dim1=-2, dim2=-1))
        right = jacobian.transpose(-1, -2) @ residual[..., None]
        step = torch.linalg.solve(damped, right).squeeze(-1)
        rotation = rotation_from_vector(step[..., :3]) @ rotation
        translation = translation + step[..., 3:]
    return Poses(rotation, translation)


def _skew(vector: Float[torch.Tensor, "*b 3"]) -> Float[torch.Tensor, "*b 3 3"]:
    x, y, z = vector.unbind(-1)
    zero = torch.zeros_like(x)
    return torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], -1).unflatten(-1, (3, 3))
