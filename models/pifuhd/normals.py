"""Front and back normals from a picture: pix2pixHD's global generator.

"High-Resolution Image Synthesis and Semantic Manipulation with Conditional GANs" (Wang et al.
2018), without its adversary, as PIFuHD uses it. Parameters lie under the numbers in ``model`` that
the published checkpoint has. For the small preset it works on folded pixels and adds the maps of
the way down to those of the way up.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from jaxtyping import Float
from torch import nn
from torch.nn import functional

from .config import NormalConfig


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions with instance normalisation, added to their input."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv_block = nn.Sequential(
            nn.ReflectionPad2d(1),
            nn.Conv2d(channels, channels, 3),
            nn.InstanceNorm2d(channels),
            nn.ReLU(),
            nn.ReflectionPad2d(1),
            nn.Conv2d(channels, channels, 3),
            nn.InstanceNorm2d(channels),
        )

    def forward(self, x: Float[torch.Tensor, "b c h w"]) -> Float[torch.Tensor, "b c h w"]:
        """The map with the block's part added."""
        return x + self.conv_block(x)


class NormalNetwork(nn.Module):
    """Draws a map of normals.

    Channels are the paper's: x to the right, y up, z towards the camera, from -1 to 1.

    Args:
        config: sizes.
    """

    def __init__(self, config: NormalConfig) -> None:
        super().__init__()
        self.config = config
        pixels = 3 * config.fold**2
        widths = [config.filters * 2**i for i in range(config.downs + 1)]
        layers: list[nn.Module] = _padded(pixels, widths[0], config.kernel)
        layers += [nn.InstanceNorm2d(widths[0]), nn.ReLU()]
        self._downs: list[int] = []
        for narrow, wide in pairwise(widths):
            self._downs.append(len(layers))
            layers += [nn.Conv2d(narrow, wide, 3, stride=2, padding=1)]
            layers += [nn.InstanceNorm2d(wide), nn.ReLU()]
        layers += [ResidualBlock(widths[-1]) for _ in range(config.blocks)]
        self._ups: list[int] = []
        for narrow, wide in zip(widths[-2::-1], widths[:0:-1], strict=True):
            layers += [nn.ConvTranspose2d(wide, narrow, 3, stride=2, padding=1, output_padding=1)]
            layers += [nn.InstanceNorm2d(narrow), nn.ReLU()]
            self._ups.append(len(layers) - 1)
        layers += [*_padded(widths[0], pixels, config.kernel), nn.Tanh()]
        self.model = nn.Sequential(*layers)

    def forward(self, image: Float[torch.Tensor, "b 3 s s"]) -> Float[torch.Tensor, "b 3 s s"]:
        """Normals of a picture.

        Args:
            image: RGB from -1 to 1, the background zero.
        """
        fold = self.config.fold
        x = functional.pixel_unshuffle(image, fold) if fold > 1 else image
        kept: list[torch.Tensor] = []
        for i, layer in enumerate(self.model):
            if self.config.skips and i in self._downs:
                kept.append(x)
            x = layer(x)
            if self.config.skips and i in self._ups:
                x = x + kept.pop()
        x = functional.pixel_shuffle(x, fold) if fold > 1 else x
        if self.config.masked:
            x = x * (image != 0).any(1, keepdim=True)
        return x


def _padded(inputs: int, outputs: int, kernel: int) -> list[nn.Module]:
    return [nn.ReflectionPad2d(kernel // 2), nn.Conv2d(inputs, outputs, kernel)]
