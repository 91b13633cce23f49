"""Building blocks on voxel grids: residual blocks that keep, double or halve, and attention.

All tensors are (b, channels, X, Y, Z); their memory is best channels-last.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import nn
from torch.nn import functional

from .config import Activation, Norm

Voxels = Float[torch.Tensor, "b _ _ _ _"]

_GROUPS = 8


class LocalNorm(nn.LayerNorm):
    """Normalises the channels of each voxel by themselves: no other place, no other example."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """(b, c, X, Y, Z) to the same."""
        # Channels-last memory makes this a view without a copy, both ways.
        return super().forward(input.permute(0, 2, 3, 4, 1)).permute(0, 4, 1, 2, 3)


def normalisation(kind: Norm, channels: int) -> nn.Module:
    """A normalisation of that kind for so many channels."""
    if kind == "batch":
        return nn.BatchNorm3d(channels)
    return nn.GroupNorm(_GROUPS, channels) if kind == "group" else LocalNorm(channels)


def activation(kind: Activation) -> nn.Module:
    """An activation of that kind."""
    return nn.ReLU(inplace=True) if kind == "relu" else nn.SiLU()


class ResidualBlock(nn.Module):
    """Twice convolution, normalisation, activation; beside it a 1x1x1 path (Ntavelis et al. 3.1).

    Args:
        inputs: channels.
        outputs: channels.
        norm: normalisation.
        act: activation.
        scale: 1 keeps the resolution, 2 doubles it, -2 halves it.
    """

    def __init__(
        self, inputs: int, outputs: int, norm: Norm, act: Activation, scale: int = 1
    ) -> None:
        super().__init__()
        if scale == 2:
            # What a 3x3x3 convolution after doubling is: without that one's repeated products.
            first: nn.Module = nn.ConvTranspose3d(inputs, outputs, 4, 2, 1, bias=False)
        elif scale == -2:
            first = nn.Conv3d(inputs, outputs, 4, 2, 1, bias=False)
        else:
            first = nn.Conv3d(inputs, outputs, 3, padding=1, bias=False)
        self.scale = scale
        self.main = nn.Sequential(
            first,
            normalisation(norm, outputs),
            activation(act),
            nn.Conv3d(outputs, outputs, 3, padding=1, bias=False),
            normalisation(norm, outputs),
            activation(act),
        )
        same = inputs == outputs and scale == 1
        self.path = nn.Identity() if same else nn.Conv3d(inputs, outputs, 1)

    def forward(self, input: Voxels) -> Voxels:
        """The sum of both paths."""
        around = functional.avg_pool3d(input, 2) if self.scale == -2 else input
        around = self.path(around)
        if self.scale == 2:
            around = functional.interpolate(around, scale_factor=2, mode="nearest")
        return self.main(input) + around


class SelfAttention(nn.Module):
    """Attention among all voxels, added to what comes in.

    Args:
        channels: of the grid, a multiple of the head's.
        head_channels: channels of a head.
    """

    def __init__(self, channels: int, head_channels: int = 64) -> None:
        super().__init__()
        self.heads = max(1, channels // head_channels)
        self.norm = nn.LayerNorm(channels)
        self.queries_keys_values = nn.Linear(channels, 3 * channels)
        self.out = nn.Linear(channels, channels)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, input: Voxels) -> Voxels:
        """The same shape."""
        b, c, *size = input.shape
        tokens = input.flatten(2).transpose(1, 2)
        parts = self.queries_keys_values(self.norm(tokens))
        q, k, v = parts.view(b, -1, 3, self.heads, c // self.heads).permute(2, 0, 3, 1, 4)
        if input.device.type == "cpu":
            # Plain products: faster here than the fused kernel, whose gradient is slow.
            weights = torch.softmax(q @ k.transpose(-1, -2) * (q.shape[-1] ** -0.5), -1)
            mixed = weights.to(v.dtype) @ v
        else:
            mixed = functional.scaled_dot_product_attention(q, k, v)
        out = self.out(mixed.transpose(1, 2).reshape(b, -1, c))
        return input + out.transpose(1, 2).reshape(b, c, *size)


def space_to_depth(input: Voxels) -> Voxels:
    """2x2x2 voxels into channels: (b, c, 2x, 2y, 2z) to (b, 8c, x, y, z)."""
    b, c, x, y, z = input.shape
    parts = input.view(b, c, x // 2, 2, y // 2, 2, z // 2, 2).permute(0, 1, 3, 5, 7, 2, 4, 6)
    return parts.reshape(b, 8 * c, x // 2, y // 2, z // 2)


def depth_to_space(input: Voxels) -> Voxels:
    """The inverse of :func:`space_to_depth`."""
    b, c, x, y, z = input.shape
    parts = input.reshape(b, c // 8, 2, 2, 2, x, y, z).permute(0, 1, 5, 2, 6, 3, 7, 4)
    return parts.reshape(b, c // 8, 2 * x, 2 * y, 2 * z)
