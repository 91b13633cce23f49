"""Scans to latents: what stands in place of free embeddings where a scan is given.

A scan is fused into the same face-aligned grid that the decoder fills: signed distance, weight of
observation and colour at the centres of cells.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float, UInt8
from torch import nn

from ..learning.layout import channels_last
from .autodecoder import Latent
from .blocks import (
    ResidualBlock,
    SelfAttention,
    activation,
    normalisation,
    space_to_depth,
)
from .config import AvatarConfig

INPUTS = 5
"""Channels of a scan: signed distance, weight of observation, colour."""

_MOST_WEIGHT = 255.0


def encoder_input(
    sdf: Float[torch.Tensor, "b n n n"],
    seen: UInt8[torch.Tensor, "b n n n"],
    colour: UInt8[torch.Tensor, "b n n n 3"],
    truncation: float,
) -> Float[torch.Tensor, "b 5 n n n"]:
    """Channels of a scan: distance -1 to 1, weight 0 to 1 (a logarithm), colour -1 to 1.

    What was not observed is zero in all of them.

    Args:
        sdf: signed distance, mm, negative inside.
        seen: weight of observation: 0 never, 255 certain (of a complete, clean grid).
        colour: sRGB, red first.
        truncation: where distances are cut off, mm.
    """
    known = (seen > 0).float()
    weight = torch.log1p(seen.float()) / math.log1p(_MOST_WEIGHT)
    distance = (sdf.float() / truncation).clamp(-1, 1) * known
    shades = (colour.float() / 127.5 - 1) * known[..., None]
    channels = torch.cat([distance[..., None], weight[..., None], shades], -1)
    # Channels last in memory already: a view.
    return channels.permute(0, 4, 1, 2, 3)


class Encoder(nn.Module):
    """Scans to latents: the second generator backwards.

    Args:
        config: sizes.
    """

    def __init__(self, config: AvatarConfig) -> None:
        super().__init__()
        self.config = config
        levels = config.resolutions
        width = config.width(levels[-1])
        channels = 8 * INPUTS if config.shuffled else INPUTS
        layers: list[nn.Module] = [
            nn.Conv3d(channels, width, 3, padding=1, bias=False),
            normalisation(config.norm, width),
            activation(config.activation),
        ]
        for cells in reversed(levels[:-1]):
            wide = config.width(cells)
            layers.append(ResidualBlock(width, wide, config.norm, config.activation, scale=-2))
            width = wide
        if levels[0] in config.attention:
            layers.append(SelfAttention(width))
        layers += [
            ResidualBlock(width, width, config.norm, config.activation)
            for _ in range(max(1, config.mixing))
        ]
        layers.append(nn.Conv3d(width, config.latent_channels, 1))
        self.layers = nn.Sequential(*layers)
        channels_last(self)

    def forward(self, scan: Float[torch.Tensor, "b 5 n n n"]) -> Latent:
        """Scans of :func:`encoder_input` to (b, latent channels, l, l, l)."""
        if self.config.shuffled:
            scan = space_to_depth(scan)
        return self.layers(scan.contiguous(memory_format=torch.channels_last_3d)).float()
