"""The encoder of both levels: stacked hourglasses with group normalisation.

"Stacked Hourglass Networks" (Newell, Yang, Deng 2016) with the hierarchical residual block of Bulat
and Tzimiropoulos (2017), as PIFuHD uses them. Names of the parameters are those of the published
checkpoint, so that it loads as it is; that holds for weights that nothing uses, too (``bn4`` where
a block keeps its channels).
"""

from __future__ import annotations

from typing import cast

import torch
from jaxtyping import Float
from torch import nn
from torch.nn import functional

from .config import EncoderConfig, Upsampling


class HierarchicalBlock(nn.Module):
    """Three 3x3 convolutions whose results are stacked, beside a shortcut.

    Args:
        inputs: channels that come in.
        outputs: channels that go out: a half, a quarter and a quarter from the convolutions.
        groups: of the normalisation.
    """

    def __init__(self, inputs: int, outputs: int, groups: int) -> None:
        super().__init__()
        half, quarter = outputs // 2, outputs // 4
        self.conv1 = nn.Conv2d(inputs, half, 3, padding=1, bias=False)
        self.conv2 = nn.Conv2d(half, quarter, 3, padding=1, bias=False)
        self.conv3 = nn.Conv2d(quarter, quarter, 3, padding=1, bias=False)
        self.bn1 = nn.GroupNorm(groups, inputs)
        self.bn2 = nn.GroupNorm(groups, half)
        self.bn3 = nn.GroupNorm(groups, quarter)
        self.bn4 = nn.GroupNorm(groups, inputs)
        self.downsample: nn.Sequential | None = None
        if inputs != outputs:
            shortcut = nn.Conv2d(inputs, outputs, 1, bias=False)
            self.downsample = nn.Sequential(self.bn4, nn.ReLU(), shortcut)

    def forward(self, x: Float[torch.Tensor, "b i h w"]) -> Float[torch.Tensor, "b o h w"]:
        """The block's map, of the same size."""
        first = self.conv1(functional.relu(self.bn1(x)))
        second = self.conv2(functional.relu(self.bn2(first)))
        third = self.conv3(functional.relu(self.bn3(second)))
        shortcut = x if self.downsample is None else self.downsample(x)
        return torch.cat([first, second, third], 1) + shortcut


class Hourglass(nn.Module):
    """Halves its map ``depth`` times and comes back up, adding what it had at each size."""

    def __init__(self, depth: int, channels: int, groups: int, upsampling: Upsampling) -> None:
        super().__init__()
        self.depth = depth
        self._upsampling: Upsampling = upsampling
        for level in range(depth, 0, -1):
            names = ["b1", "b2", "b3"] if level > 1 else ["b1", "b2", "b2_plus", "b3"]
            for name in names:
                self.add_module(f"{name}_{level}", HierarchicalBlock(channels, channels, groups))

    def forward(self, x: Float[torch.Tensor, "b c h w"]) -> Float[torch.Tensor, "b c h w"]:
        """The map after one pass down and up."""
        return self._pass(self.depth, x)

    def _pass(self, level: int, x: torch.Tensor) -> torch.Tensor:
        side = self._block(f"b1_{level}", x)
        low = self._block(f"b2_{level}", functional.avg_pool2d(x, 2))
        low = self._pass(level - 1, low) if level > 1 else self._block("b2_plus_1", low)
        low = self._block(f"b3_{level}", low)
        corners = None if self._upsampling == "nearest" else self._upsampling == "bicubic"
        return side + functional.interpolate(
            low, scale_factor=2, mode=self._upsampling, align_corners=corners
        )

    def _block(self, name: str, x: torch.Tensor) -> torch.Tensor:
        return cast(HierarchicalBlock, self.get_submodule(name))(x)


class HourglassEncoder(nn.Module):
    """Features of a picture, after each of its hourglasses.

    The coarse level's halves its map twice before the hourglasses; the fine level's once.

    Args:
        config: sizes.
        inputs: channels of the picture, normals and rays among them.
    """

    def __init__(self, config: EncoderConfig, inputs: int) -> None:
        super().__init__()
        self.config = config
        stem, middle, channels = config.stem, config.middle, config.channels
        self.conv1 = nn.Conv2d(inputs, stem, 7, stride=2, padding=3)
        self.bn1 = nn.GroupNorm(min(config.groups, stem // 2), stem)
        self.conv2 = HierarchicalBlock(stem, middle, _groups(config, stem, middle))
        self.conv3 = HierarchicalBlock(middle, middle, _groups(config, middle, middle))
        self.conv4 = HierarchicalBlock(middle, channels, _groups(config, middle, channels))
        inner = _groups(config, channels, channels)
        drawn = config.outputs + config.drawn
        for stack in range(config.stacks):
            one = nn.Conv2d(channels, channels, 1)
            self.add_module(
                f"m{stack}", Hourglass(config.depth, channels, inner, config.upsampling)
            )
            self.add_module(f"top_m_{stack}", HierarchicalBlock(channels, channels, inner))
            self.add_module(f"conv_last{stack}", one)
            self.add_module(f"bn_end{stack}", nn.GroupNorm(inner, channels))
            self.add_module(f"l{stack}", nn.Conv2d(channels, drawn, 1))
            if stack < config.stacks - 1:
                self.add_module(f"bl{stack}", nn.Conv2d(channels, channels, 1))
                self.add_module(f"al{stack}", nn.Conv2d(drawn, channels, 1))

    def forward(self, x: Float[torch.Tensor, "b i h w"]) -> list[Float[torch.Tensor, "b f u v"]]:
        """Maps of features and then of what is drawn, one a stack; the last is the best.

        Args:
            x: the picture with its normals and rays; height and width divide by 2^depth strides.
        """
        x = functional.relu(self.bn1(self.conv1(x)))
        x = self.conv2(x)
        if self.config.pooled:
            x = functional.avg_pool2d(x, 2)
        x = self.conv4(self.conv3(x))
        outputs = []
        for stack in range(self.config.stacks):
            inner = self._layer("top_m_", stack, self._layer("m", stack, x))
            inner = self._layer("conv_last", stack, inner)
            inner = functional.relu(self._layer("bn_end", stack, inner))
            features = self._drawn(stack, inner)
            outputs.append(features)
            if stack < self.config.stacks - 1:
                x = x + self._layer("bl", stack, inner) + self._layer("al", stack, features)
        return outputs

    def _drawn(self, stack: int, inner: torch.Tensor) -> torch.Tensor:
        if not self.config.surfaces:
            return self._layer("l", stack, inner)
        # Depths in bfloat16 would be off by a millimetre of a head.
        with torch.autocast("cuda" if inner.is_cuda else "cpu", enabled=False):
            return self._layer("l", stack, inner.float())

    def _layer(self, name: str, stack: int, x: torch.Tensor) -> torch.Tensor:
        return self.get_submodule(f"{name}{stack}")(x)


def _groups(config: EncoderConfig, inputs: int, outputs: int) -> int:
    """Groups that divide all widths inside of a block."""
    groups = config.groups
    while inputs % groups or (outputs // 4) % groups:
        groups //= 2
    return groups
