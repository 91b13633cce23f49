"""Batch normalisation restored in networks whose export has it folded into the convolutions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, Final

import numpy as np
import torch
from jaxtyping import UInt8
from torch import nn

Layer = tuple[nn.Conv2d, nn.BatchNorm2d]
"""A convolution and the normalisation that follows it."""

_DEAD: Final = 1e-6
"""A channel of less variance hardly speaks; scaling it to 1 would blow up its weights."""
_AT_ONCE: Final = 64
"""Pictures that pass through the network together."""


def normalised_layers(network: nn.Module) -> list[Layer]:
    """Convolutions that are directly followed by a normalisation, in the order they are held."""
    parts = [part for part in network.modules() if not list(part.children())]
    return [
        (first, second)
        for first, second in pairwise(parts)
        if isinstance(first, nn.Conv2d) and isinstance(second, nn.BatchNorm2d)
    ]


@torch.no_grad()
def restore_normalisation(
    layers: Sequence[Layer],
    folded: Sequence[tuple[torch.Tensor, torch.Tensor]],
    pictures: UInt8[np.ndarray, "B H W 3"],
    look: Callable[[torch.Tensor], object],
) -> None:
    """Load folded convolutions, each scaled to outputs of unit variance over pictures.

    Evaluated, the layers say what they said in the export; in training nearly the same, and they
    are scaled like freshly begun ones.

    Args:
        layers: of a network in evaluation mode.
        folded: weight and bias of each, as exported.
        pictures: as they will be trained on, from which means and variances are taken.
        look: passes a batch (b, H, W, 3) uint8 through the layers.
    """
    for (convolution, norm), (weight, bias) in zip(layers, folded, strict=True):
        convolution.weight.copy_(weight)
        # As folded: the normalisation only adds the bias.
        zeros, ones = torch.zeros_like(bias), torch.ones_like(bias)
        _set_norm(norm, zeros, ones, ones, bias)
    statistics = _statistics([convolution for convolution, _ in layers], pictures, look)
    for (convolution, norm), (_, bias), (mean, variance) in zip(
        layers, folded, statistics, strict=True
    ):
        scale = torch.where(variance > _DEAD, variance.sqrt(), 1.0)
        convolution.weight.div_(scale[:, None, None, None])
        _set_norm(norm, mean / scale, variance / scale**2, scale, bias + mean)


def _set_norm(
    norm: nn.BatchNorm2d,
    mean: torch.Tensor,
    variance: torch.Tensor,
    gain: torch.Tensor,
    bias: torch.Tensor,
) -> None:
    """Make it say ``gain * (input - mean) + bias`` when evaluated; all (C,)."""
    norm.get_buffer("running_mean").copy_(mean)
    norm.get_buffer("running_var").copy_(variance)
    norm.weight.copy_(gain * torch.sqrt(variance + norm.eps))
    norm.bias.copy_(bias)


def _statistics(
    convolutions: Sequence[nn.Conv2d],
    pictures: UInt8[np.ndarray, "B H W 3"],
    look: Callable[[torch.Tensor], object],
) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Mean and variance (C,) of every convolution's outputs, float64."""
    moments = [torch.zeros(2, c.out_channels, dtype=torch.float64) for c in convolutions]

    def watch(convolution: nn.Conv2d, moment: torch.Tensor) -> Any:
        def add(_module: nn.Module, _inputs: object, output: torch.Tensor) -> None:
            variance, mean = torch.var_mean(output, (0, 2, 3), correction=0)
            variance, mean = variance.double(), mean.double()
            share = len(output) / len(pictures)
            moment.add_(torch.stack([mean, variance + mean**2]), alpha=share)

        return convolution.register_forward_hook(add)

    hooks = [watch(c, moment) for c, moment in zip(convolutions, moments, strict=True)]
    for start in range(0, len(pictures), _AT_ONCE):
        look(torch.from_numpy(pictures[start : start + _AT_ONCE]))
    for hook in hooks:
        hook.remove()
    return [(mean, (square - mean**2).clamp(min=0.0)) for mean, square in moments]
