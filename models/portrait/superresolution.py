"""Sharp pictures from the features that rays carry, by style-modulated blocks."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import nn
from torch.nn import functional

from .backbone import SynthesisBlock
from .config import PortraitConfig


class SuperResolution(nn.Module):
    """Blocks that each double the side and add to the colours, without noise.

    They are named ``block0``, ``block1``, ..., and modulated by the last code.
    """

    def __init__(self, config: PortraitConfig) -> None:
        super().__init__()
        self.side = config.render_size
        self._count = len(config.super_channels)
        channels, side = config.feature_channels, config.render_size
        for number, wide in enumerate(config.super_channels):
            side *= 2
            block = SynthesisBlock(channels, wide, 3, config.w_dim, side, config.clamp)
            self.add_module(f"block{number}", block)
            channels = wide

    def forward(
        self,
        colours: Float[torch.Tensor, "b 3 s s"],
        features: Float[torch.Tensor, "b c s s"],
        w: Float[torch.Tensor, "b d"],
    ) -> Float[torch.Tensor, "b 3 S S"]:
        """The picture, RGB from -1 to 1.

        Args:
            colours: raw ones, -1 to 1.
            features: likewise; of another side than the configured one they are resized first.
            w: the last code of each picture.
        """
        if features.shape[-1] != self.side:
            colours, features = self._resized(colours), self._resized(features)
        ws = w[:, None].expand(-1, 3, -1)
        x, picture = features.contiguous(memory_format=torch.channels_last), colours
        for number in range(self._count):
            x, picture = self.get_submodule(f"block{number}")(x, picture, ws, (None, None))
        return picture

    def _resized(self, x: Float[torch.Tensor, "b c s s"]) -> Float[torch.Tensor, "b c t t"]:
        size = (self.side, self.side)
        return functional.interpolate(x, size, mode="bilinear", align_corners=False, antialias=True)
