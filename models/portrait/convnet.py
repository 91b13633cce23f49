"""A small residual network that the portrait's judges share: picture in, features out."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import nn
from torch.nn import functional

from ..errors import InputError
from ..learning.sizes import of_table


@dataclass(frozen=True)
class ConvnetConfig:
    """Sizes.

    Attributes:
        side: side that pictures are brought to, px.
        margin: what is cut off each side first, as a share of the picture.
        widths: channels of each level; each, the first one too, halves the resolution.
        blocks: residual blocks a level.
    """

    side: int = 48
    margin: float = 0.0
    widths: tuple[int, ...] = (32, 64, 128)
    blocks: int = 1

    def __post_init__(self) -> None:
        if self.side < 8 or not 0 <= self.margin < 0.4 or not self.widths or self.blocks < 1:
            raise InputError(f"convnet: impossible sizes {self}")

    def table(self) -> dict[str, Any]:
        """For a file's header."""
        return asdict(self)

    @classmethod
    def of_table(cls, table: dict[str, Any]) -> ConvnetConfig:
        """What :meth:`table` gave, or JSON of it.

        Raises:
            InputError: a name is unknown, or a value is impossible.
        """
        return of_table(cls, table, "convnet")


class _Block(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(width)
        self.second = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = functional.silu(self.norm1(self.first(x)))
        return functional.silu(x + self.norm2(self.second(y)))


class Convnet(nn.Module):
    """Features of pictures; differentiable with regard to them."""

    def __init__(self, config: ConvnetConfig) -> None:
        super().__init__()
        self.config = config
        levels: list[nn.Module] = []
        before = 3
        for width in config.widths:
            levels.append(
                nn.Sequential(
                    nn.Conv2d(before, width, 4, 2, 1, bias=False),
                    nn.BatchNorm2d(width),
                    nn.SiLU(),
                    *[_Block(width) for _ in range(config.blocks)],
                )
            )
            before = width
        self.levels = nn.ModuleList(levels)

    @property
    def last_side(self) -> int:
        """Side of the last level's features."""
        return self.config.side // 2 ** len(self.config.widths)

    def prepared(self, images: Float[torch.Tensor, "b 3 h w"]) -> Float[torch.Tensor, "b 3 s s"]:
        """Pictures cut and brought to the network's side."""
        size = images.shape[-1]
        cut = round(self.config.margin * size)
        images = images[:, :, cut : size - cut, cut : size - cut]
        side = self.config.side
        if images.shape[-1] > side:
            images = functional.interpolate(images, (side, side), mode="area")
        elif images.shape[-1] < side:
            images = functional.interpolate(
                images, (side, side), mode="bilinear", align_corners=False
            )
        return images.contiguous(memory_format=torch.channels_last)

    def features(self, images: Float[torch.Tensor, "b 3 h w"]) -> list[torch.Tensor]:
        """Features of every level, the finest first."""
        x = self.prepared(images)
        found = []
        for level in self.levels:
            x = level(x)
            found.append(x)
        return found

    def forward(self, images: Float[torch.Tensor, "b 3 h w"]) -> Float[torch.Tensor, "b c s s"]:
        """Features of the last level."""
        x = self.prepared(images)
        for level in self.levels:
            x = level(x)
        return x
