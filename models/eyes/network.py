"""A small network that reads the lids and the gaze of both eyes from their views.

Both eyes pass through one trunk (the right one's view is mirrored), and what is said of each sees
the other's features too: eyes look the same way, and one may be hidden.
"""

from __future__ import annotations

from typing import Final

import torch
from jaxtyping import Float32, UInt8
from torch import nn

from ..face.eye_views import EYE_UNITS, VIEW_HEIGHT, VIEW_WIDTH
from ..learning.layers import activated

_STEM: Final = 16
_BLOCKS: Final = ((16, 1), (32, 2), (32, 1), (64, 2), (64, 1))
"""Output channels and stride of each depthwise-separable block."""
_MAP: Final = 16
"""Channels of the last map, which keeps where things are."""
_FEATURES: Final = 64
_HIDDEN: Final = 64
_RARE: Final = -2.0
"""Logit of a blendshape before training: most are near zero."""


class EyeNetwork(nn.Module):
    """Views of both eyes and where the face looks, to seven blendshapes an eye."""

    def __init__(self) -> None:
        super().__init__()
        layers = activated(nn.Conv2d(3, _STEM, 3, 2, 1, bias=False))
        channels = _STEM
        for wide, stride in _BLOCKS:
            depthwise = nn.Conv2d(channels, channels, 3, stride, 1, groups=channels, bias=False)
            layers += activated(depthwise)
            layers += activated(nn.Conv2d(channels, wide, 1, bias=False))
            channels = wide
        layers += activated(nn.Conv2d(channels, _MAP, 1, bias=False))
        self.trunk = nn.Sequential(*layers)
        self.describe = nn.Linear(_MAP * (VIEW_HEIGHT // 8) * (VIEW_WIDTH // 8), _FEATURES)
        self.mix = nn.Linear(2 * _FEATURES + 2, _HIDDEN)
        self.say = nn.Linear(_HIDDEN, len(EYE_UNITS))
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        nn.init.normal_(self.say.weight, std=0.01)
        nn.init.constant_(self.say.bias, _RARE)

    def forward(
        self,
        eyes: UInt8[torch.Tensor, "B 2 40 64 3"],
        facing: Float32[torch.Tensor, "B 2 2"],
    ) -> Float32[torch.Tensor, "B 2 7"]:
        """Blendshapes in [0, 1] of both eyes, see :class:`..face.eye_views.EyeViews`."""
        pixels = eyes.flatten(0, 1).permute(0, 3, 1, 2).float()
        features = self.trunk((pixels - 127.5) / 128).flatten(1).float()
        own = torch.relu(self.describe(features)).view(-1, 2, _FEATURES)
        both = torch.cat([own, own.flip(1), facing], 2)
        return torch.sigmoid(self.say(torch.relu(self.mix(both))))
