"""Linear blend skinning as it is defined, forward: what the product's inverse is held against."""

from __future__ import annotations

import torch

from mien.models.avatar.pnp import Poses
from mien.models.avatar.volume_rendering import sample_grid


def deform(logits: torch.Tensor, points: torch.Tensor, poses: Poses) -> torch.Tensor:
    """Canonical points where they are in a pose.

    Args:
        logits: (b, p, g, g, g) of the parts' weights.
        points: (b, n, 3) in the box of the face, mm.
        poses: of p parts each.
    """
    weights = sample_grid(torch.softmax(logits, 1), points, "border").transpose(1, 2)
    moved = torch.einsum("bpij,bnj->bnpi", poses.rotation, points)
    return (weights[..., None] * (moved + poses.translation[:, None])).sum(2)
