"""What PIFuHD minimises: balanced cross-entropy of occupancy, distances of normals."""

from __future__ import annotations

from typing import Final

import torch
from jaxtyping import Float
from torch.nn import functional

_CLAMP: Final = 1e-5
"""Occupancies stay so far from 0 and 1."""
_L1_WEIGHT: Final = 5.0
"""Of the plain distance beside the perceptual one."""
_GRADIENT_SCALES: Final = 3


def balanced_cross_entropy(
    occupancy: Float[torch.Tensor, "b p"],
    inside: Float[torch.Tensor, "b p"],
    weight: Float[torch.Tensor, "b p"],
) -> Float[torch.Tensor, ""]:
    """The paper's loss: points inside weigh as the share of those outside, and the other way round.

    ``L = -mean(lambda y ln f + (1 - lambda) (1 - y) ln(1 - f))``, lambda the share of points
    outside in each picture.

    Args:
        occupancy: f, from 0 to 1.
        inside: y, 1 inside and 0 outside.
        weight: 0 where a point does not count, as outside of a window.
    """
    f = occupancy.float().clamp(_CLAMP, 1 - _CLAMP)
    counted = weight.sum(1, keepdim=True).clamp(min=1)
    share_outside = ((1 - inside) * weight).sum(1, keepdim=True) / counted
    terms = share_outside * inside * f.log() + (1 - share_outside) * (1 - inside) * (1 - f).log()
    return -((terms * weight).sum(1) / counted[:, 0]).mean()


def gradient_distance(
    drawn: Float[torch.Tensor, "b c h w"], true: Float[torch.Tensor, "b c h w"]
) -> Float[torch.Tensor, ""]:
    """Mean absolute difference of neighbouring pixels' differences, at three sizes.

    It takes the place of the paper's perceptual term: edges count, and no network is needed.
    """
    error = drawn - true
    total = error.new_zeros(())
    for scale in range(_GRADIENT_SCALES):
        if scale:
            error = functional.avg_pool2d(error, 2)
        total = total + (error[..., 1:] - error[..., :-1]).abs().mean()
        total = total + (error[..., 1:, :] - error[..., :-1, :]).abs().mean()
    return total


def normal_loss(
    drawn: Float[torch.Tensor, "b 3 h w"],
    true: Float[torch.Tensor, "b 3 h w"],
    perceptual: Float[torch.Tensor, ""] | None = None,
) -> tuple[Float[torch.Tensor, ""], dict[str, torch.Tensor]]:
    """Five times the mean absolute error, and a perceptual distance.

    Args:
        drawn: normals of a network.
        true: as they are.
        perceptual: the distance of another network's features; None for
            :func:`gradient_distance`.
    """
    plain = (drawn - true).abs().mean()
    further = gradient_distance(drawn, true) if perceptual is None else perceptual
    total = _L1_WEIGHT * plain + further
    return total, {"l1": plain.detach(), "perceptual": further.detach()}


def angle_degrees(
    drawn: Float[torch.Tensor, "b 3 h w"], true: Float[torch.Tensor, "b 3 h w"]
) -> Float[torch.Tensor, ""]:
    """Mean angle between normals where there are true ones."""
    there = true.square().sum(1) > 0.25
    cosine = functional.cosine_similarity(drawn, true, dim=1).clamp(-1, 1)
    return torch.rad2deg(torch.arccos(cosine[there])).mean()
