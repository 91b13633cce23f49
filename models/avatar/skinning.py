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
from .volume_rendering import sample_grid

Points = Float[torch.Tensor, "b n 3"]
_LEAST_WEIGHT = 1e-6


def undeform(logits: Float[torch.Tensor, "b p g g g"], points: Points, poses: Poses) -> Points:
    """About where points of a pose are in canonical space; exact where all parts move alike.

    Args:
        logits: a grid of P channels over the box of the face; beyond it as in its outermost cells.
        points: mm.
        poses: of the parts.
    """
    shifted = points[:, :, None] - poses.translation[:, None]
    back = torch.einsum("bpji,bnpj->bnpi", poses.rotation, shifted)
    b, n, p, _ = back.shape
    shares = torch.softmax(logits, 1)
    each = back.permute(0, 2, 1, 3).reshape(b * p, n, 3)
    own = sample_grid(shares.reshape(b * p, 1, *shares.shape[2:]), each, "border")
    weights = own.view(b, p, n).transpose(1, 2)
    total = weights.sum(-1, keepdim=True).clamp(min=_LEAST_WEIGHT)
    return ((weights / total)[..., None] * back).sum(2)


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
    origin = undeform(logits, points, poses)
    grids = torch.cat([volume.shape, volume.colour], 1)
    found = sample_grid(grids, origin, "border").unflatten(-1, 3 * (cells,))
    return Volume(found[:, :1], found[:, 1:])
