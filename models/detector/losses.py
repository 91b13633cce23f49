"""What the detector's training minimises."""

from __future__ import annotations

from typing import Final

import torch
from jaxtyping import Bool, Float32
from torch.nn import functional

from .network import DetectorOutput

_SURE: Final = 0.999
"""Height of the heat map that marks a face's own cell."""
_SIZE_SHARE: Final = 0.2
_LARGEST: Final = 6.5
"""Logarithm of a size in cells that no face exceeds; keeps the exponential finite."""


def detector_loss(
    output: DetectorOutput,
    heat: Float32[torch.Tensor, "B 1 h w"],
    free: Bool[torch.Tensor, "B 1 h w"],
    box: Float32[torch.Tensor, "B 4 h w"],
    weight: Float32[torch.Tensor, "B 1 h w"],
) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """The sum to minimise, and its terms; targets as in :class:`.targets.DetectorBatch`."""
    faces = (heat > _SURE).sum().clamp(min=1)
    places = _focal(output.heat, heat, free, weight) / faces
    boxes = _boxes(output.box, box, weight)
    return places + boxes, {"heat": places.detach(), "box": boxes.detach()}


def _focal(
    logits: Float32[torch.Tensor, "B 1 h w"],
    heat: Float32[torch.Tensor, "B 1 h w"],
    free: Bool[torch.Tensor, "B 1 h w"],
    weight: Float32[torch.Tensor, "B 1 h w"],
) -> torch.Tensor:
    """Equation 1 of "Objects as Points", alpha 2 and beta 4, outside of what is set aside.

    With one change: not only the cell of a face's middle is to be found but all about it, with
    weights that add up to 1 a face. One cell of a thousand taught next to nothing about large
    faces, and ten times as slowly.
    """
    share = torch.sigmoid(logits)
    own = weight > 0
    hit = (1 - share) ** 2 * functional.softplus(-logits) * weight
    miss = (1 - heat) ** 4 * share**2 * functional.softplus(logits) * (free & ~own)
    return (hit + miss).sum()


def _boxes(
    found: Float32[torch.Tensor, "B 4 h w"],
    true: Float32[torch.Tensor, "B 4 h w"],
    weight: Float32[torch.Tensor, "B 1 h w"],
) -> torch.Tensor:
    """1 - GIoU (Rezatofighi et al. 2019) and the logarithm's error of the sizes, a face."""
    chosen = weight[:, 0] > 0
    shares = weight[:, 0][chosen]
    if not len(shares):
        return found.sum() * 0
    mine, theirs = (maps.permute(0, 2, 3, 1)[chosen] for maps in (found, true))
    sizes = (mine[:, 2:] - theirs[:, 2:]).abs().sum(1)
    return ((1 - _giou(mine, theirs) + _SIZE_SHARE * sizes) * shares).sum() / shares.sum()


def _giou(
    mine: Float32[torch.Tensor, "K 4"], theirs: Float32[torch.Tensor, "K 4"]
) -> Float32[torch.Tensor, " K"]:
    sizes = [boxes[:, 2:].clamp(max=_LARGEST).exp() for boxes in (mine, theirs)]
    lows = [b[:, :2] - s / 2 for b, s in zip((mine, theirs), sizes, strict=True)]
    highs = [low + s for low, s in zip(lows, sizes, strict=True)]
    common = (torch.minimum(*highs) - torch.maximum(*lows)).clamp(min=0).prod(1)
    hull = (torch.maximum(*highs) - torch.minimum(*lows)).prod(1)
    union = sizes[0].prod(1) + sizes[1].prod(1) - common
    return common / union - (hull - union) / hull
