"""Completion: the latent of a whole neutral face from that of a scan with parts missing.

A denoiser like that of expressions says what a whole face with such a scan would be. Its answer is
taken only where the scan saw less than complete scans usually see: what was scanned stays.
"""

from __future__ import annotations

from typing import Final

import torch
from jaxtyping import Float
from torch import nn

from .autodecoder import Latent
from .config import DiffusionConfig
from .unet import Condition, LatentDiffusion

_LEAST_USUAL: Final = 0.02
"""Where complete scans see less than this of a cell, no scan is expected to see anything."""

Seen = Float[torch.Tensor, "b 1 l l l"]


class Completion(nn.Module):
    """The denoiser, and how much of each cell a complete scan usually sees.

    Args:
        config: of the denoiser.
        channels: of the latent.
        cells: of the latent along a side.
    """

    usual: torch.Tensor

    def __init__(self, config: DiffusionConfig, channels: int, cells: int) -> None:
        super().__init__()
        self.config = config
        self.denoiser = LatentDiffusion(config, channels, cells)
        self.register_buffer("usual", torch.zeros(1, 1, *3 * (cells,)))

    def known(self, seen: Seen) -> Seen:
        """Share of each cell that needs no completion, 0 to 1."""
        share = seen / self.usual.clamp(min=_LEAST_USUAL)
        return torch.where(self.usual < _LEAST_USUAL, 1.0, share.clamp(max=1.0))

    @torch.no_grad()
    def forward(self, latent: Latent, seen: Seen, *, steps: int, seed: int) -> tuple[Latent, Seen]:
        """Latents with what is missing filled in, and what then counts as seen.

        Args:
            latent: of scans.
            seen: share of the cells that were observed.
            steps: of the sampler.
            seed: of the noise, which all of them share.
        """
        known = self.known(seen)
        given = Condition({}, latent, seen)
        made = self.denoiser.sample(given, len(latent), steps=steps, seed=seed, shared=True)
        whole = known * latent + (1 - known) * made
        return whole, torch.maximum(seen, (1 - known) * self.usual)
