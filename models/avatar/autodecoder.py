"""The volumetric autodecoder: an embedding to a latent (G1), the latent to a grid (G2).

    embedding --FC--> 4^3 --G1--> latent 8^3 --G2--> distance or density, and colour

Each object's embedding (:mod:`.embeddings`) is trained along with the generators; there is no
encoder (Ntavelis et al. 2023, 3.1). What stands in :mod:`.encoder` shares G2.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import nn
from torch.nn import functional

from .blocks import ResidualBlock, SelfAttention, depth_to_space, normalisation
from .config import AvatarConfig

Latent = Float[torch.Tensor, "b c l l l"]
OUTPUTS = 4
"""Channels of a decoded grid: one of shape, three of colour; parts of what moves come on top."""


class Volume(NamedTuple):
    """What a grid holds at the centres of its cells.

    Attributes:
        shape: (b, 1, N, N, N) signed distance in widest edges of a cell, negative inside, not yet
            truncated; or density per mm, 0 or more.
        colour: (b, 3, N, N, N) sRGB, red first, 0 to 1.
        parts: (b, P, N, N, N) logits of the weights of rigid parts; None of what does not move.
    """

    shape: Float[torch.Tensor, "b 1 n n n"]
    colour: Float[torch.Tensor, "b 3 n n n"]
    parts: Float[torch.Tensor, "b p n n n"] | None = None


class Generator1(nn.Module):
    """Embeddings to latents.

    Args:
        config: sizes.
    """

    def __init__(self, config: AvatarConfig) -> None:
        super().__init__()
        self.cells = config.first_cells
        width = config.width(self.cells)
        self.spread = nn.Linear(config.embedding, width * self.cells**3)
        layers: list[nn.Module] = []
        cells = self.cells
        if cells == config.latent_cells:
            layers += _stack(config, width, width, cells)
        while cells < config.latent_cells:
            cells *= 2
            layers += _stack(config, width, config.width(cells), cells, scale=2)
            width = config.width(cells)
        if width != config.latent_channels:
            layers.append(nn.Conv3d(width, config.latent_channels, 1))
        self.layers = nn.Sequential(*layers)

    def forward(self, embedding: Float[torch.Tensor, "b d"]) -> Latent:
        """(b, embedding) to (b, latent channels, l, l, l)."""
        spread = self.spread(embedding).view(len(embedding), -1, *3 * (self.cells,))
        return self.layers(spread.contiguous(memory_format=torch.channels_last_3d)).float()


class Generator2(nn.Module):
    """Latents to grids.

    Its layers up to the last attention are ``context``; those behind it are purely local.

    Args:
        config: sizes.
        parts: rigid parts whose weights are decoded, too; 0 for what does not move.
    """

    def __init__(self, config: AvatarConfig, parts: int = 0) -> None:
        super().__init__()
        self.config, self.parts = config, parts
        outputs = OUTPUTS + parts
        width, levels = config.latent_channels, config.resolutions
        groups: list[list[nn.Module]] = [[]]
        if config.mixing:
            wide = config.width(levels[0])
            groups[0] = _stack(config, width, wide, levels[0], count=config.mixing)
            width = wide
        for cells in levels[1:]:
            groups.append(_stack(config, width, config.width(cells), cells, scale=2))
            width = config.width(cells)
        seeing = [i for i, cells in enumerate(levels) if _attends(groups[i]) or cells == levels[0]]
        split = max(seeing) + 1
        self.context = nn.Sequential(*[layer for group in groups[:split] for layer in group])
        local = [layer for group in groups[split:] for layer in group]
        if config.shuffled:
            head: list[nn.Module] = [nn.Conv3d(width, 8 * outputs, 3, padding=1)]
        else:
            head = [normalisation(config.norm, width), nn.Conv3d(width, outputs, 1)]
        self.local = nn.Sequential(*local, *head)

    def forward(self, latent: Latent) -> Volume:
        """(b, latent channels, l, l, l) to grids of N^3 cells."""
        latent = latent.contiguous(memory_format=torch.channels_last_3d)
        out = self.local(self.context(latent))
        if self.config.shuffled:
            out = depth_to_space(out)
        out = out.float()
        shape, colour = out[:, :1], torch.sigmoid(out[:, 1:OUTPUTS])
        if self.config.representation == "density":
            shape = functional.softplus(shape - 3.0)
        return Volume(shape, colour, out[:, OUTPUTS:] if self.parts else None)


def _stack(
    config: AvatarConfig,
    inputs: int,
    outputs: int,
    cells: int,
    scale: int = 1,
    count: int | None = None,
) -> list[nn.Module]:
    """The residual blocks of a resolution, and attention where it has one."""
    layers: list[nn.Module] = []
    for number in range(count or config.blocks):
        first = number == 0
        layers.append(
            ResidualBlock(
                inputs if first else outputs,
                outputs,
                config.norm,
                config.activation,
                scale if first else 1,
            )
        )
    if cells in config.attention:
        layers.append(SelfAttention(outputs))
    return layers


def _attends(layers: list[nn.Module]) -> bool:
    return any(isinstance(layer, SelfAttention) for layer in layers)
