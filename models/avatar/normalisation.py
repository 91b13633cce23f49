"""Normalisation of latents, without which diffusion in them fails.

Latents have heavy tails: their deviation says nothing of where most values lie. So

    m = median(F)    s = 0.7413 (Q75 - Q25)    F_norm = (F - m) / s    F = F_norm s + m

(Ntavelis et al. 2023, 3.3): the factor makes s the deviation of a normal distribution. Plain mean
and deviation are kept for comparison. What is fitted is stored with the weights.

A residual latent(target) - latent(neutral) is normalised by the same s, then divided by one number
for all of it, its root mean square: a median and quartiles of its own would be those of the places
where a face does not move, which are most.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import torch
from jaxtyping import Float
from torch import nn

from ..errors import InputError
from .autodecoder import Latent

_QUARTILES_TO_DEVIATION: Final = 0.7413
_LEAST: Final = 1e-6


class LatentNormalisation(nn.Module):
    """A shift and scale for each channel, and one scale for residuals.

    Args:
        channels: of the latent.
    """

    centre: torch.Tensor
    scale: torch.Tensor
    residual_scale: torch.Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer("centre", torch.zeros(channels))
        self.register_buffer("scale", torch.ones(channels))
        self.register_buffer("residual_scale", torch.ones(()))

    def fit(
        self, latents: Latent, *, robust: bool = True, per_channel: bool = True
    ) -> LatentNormalisation:
        """Take centre and scale from latents of the training set; returns itself.

        Args:
            latents: any number of them.
            robust: median and quartiles, or mean and deviation.
            per_channel: one pair a channel, or one for all.

        Raises:
            InputError: there are none, or they are not finite.
        """
        if not latents.numel() or not bool(torch.isfinite(latents).all()):
            raise InputError("normalisation: no latents, or some that are not finite")
        values = latents.detach().float().cpu().transpose(0, 1).flatten(1).double().numpy()
        if not per_channel:
            values = values.reshape(1, -1)
        if robust:
            low, centre, high = np.quantile(values, (0.25, 0.5, 0.75), axis=1)
            scale = _QUARTILES_TO_DEVIATION * (high - low)
        else:
            centre, scale = values.mean(axis=1), values.std(axis=1)
        self.centre.copy_(torch.from_numpy(centre))
        self.scale.copy_(torch.from_numpy(np.maximum(scale, _LEAST)))
        return self

    def fit_residuals(self, targets: Latent, neutrals: Latent) -> LatentNormalisation:
        """Take the residuals' scale from pairs of the training set; returns itself."""
        self.residual_scale.fill_(1.0)
        square = self.residual(targets, neutrals).square().mean()
        self.residual_scale.copy_(square.sqrt().clamp(min=_LEAST))
        return self

    def forward(self, latent: Latent) -> Latent:
        """F to F_norm."""
        return (latent - _spread(self.centre)) / _spread(self.scale)

    def inverse(self, normalised: Latent) -> Latent:
        """F_norm to F."""
        return normalised * _spread(self.scale) + _spread(self.centre)

    def residual(self, target: Latent, neutral: Latent) -> Latent:
        """The normalised difference of two latents, of unit mean square."""
        return (target - neutral) / _spread(self.scale * self.residual_scale)

    def add_residual(self, neutral: Latent, residual: Latent) -> Latent:
        """The target of a residual: the inverse of :meth:`residual`."""
        return neutral + residual * _spread(self.scale * self.residual_scale)


def _spread(values: Float[torch.Tensor, " c"]) -> Float[torch.Tensor, "1 c 1 1 1"]:
    return values.view(1, -1, 1, 1, 1)
