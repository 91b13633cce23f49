"""A small network that reads all blendshapes of a face from three views of it.

The views of both eyes (the right one's is mirrored) and of the mouth pass through one trunk. What
is said of an eye sees the other eye's features too: eyes look the same way, and one may be hidden.
What is said of the rest sees all three: a laugh narrows the eyes.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import torch
from jaxtyping import Float32, UInt8
from torch import nn

from ..face.names import BLENDSHAPE_INDEX, BLENDSHAPE_NAMES
from ..face.views import N_VIEWS, VIEW_HEIGHT, VIEW_WIDTH
from ..learning.layers import activated

_STEM: Final = 16
_BLOCKS: Final = ((16, 1), (32, 2), (32, 1), (64, 2), (64, 1))
"""Output channels and stride of each depthwise-separable block."""
_MAP: Final = 16
"""Channels of the last map, which keeps where things are."""
_FEATURES: Final = 64
"""Of each view."""
_HIDDEN: Final = 64
_HIDDEN_REST: Final = 96
_RARE: Final = -2.0
"""Logit of a blendshape before training: most are near zero."""

_EYE_UNITS: Final = (
    "browDown",
    "browOuterUp",
    "eyeBlink",
    "eyeLookDown",
    "eyeLookIn",
    "eyeLookOut",
    "eyeLookUp",
    "eyeSquint",
    "eyeWide",
)
EYE_COLUMNS: Final = tuple(
    BLENDSHAPE_INDEX[unit + side] for side in ("Left", "Right") for unit in _EYE_UNITS
)
"""Blendshapes of the left, then of the right eye and its brow, as the network orders them."""
REST_COLUMNS: Final = tuple(i for i in range(len(BLENDSHAPE_NAMES)) if i not in EYE_COLUMNS)
"""The others."""
ORDER: Final = tuple(int(i) for i in np.argsort([*EYE_COLUMNS, *REST_COLUMNS]))
"""Where ARKit's 52 lie among what the network says of eyes, then of the rest."""
SIDES: Final = ((1.0, 1.0), (-1.0, 1.0))
"""What the face's direction is multiplied with for each eye: the right one's view is mirrored."""


class BlendshapeNetwork(nn.Module):
    """Three views and where the face looks, to 52 blendshapes."""

    sides: torch.Tensor

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
        size = _MAP * (VIEW_HEIGHT // 8) * (VIEW_WIDTH // 8)
        self.describe_eye = nn.Linear(size, _FEATURES)
        self.describe_mouth = nn.Linear(size, _FEATURES)
        self.mix = nn.Linear(2 * _FEATURES + 2, _HIDDEN)
        self.say = nn.Linear(_HIDDEN, len(_EYE_UNITS))
        self.mix_rest = nn.Linear(N_VIEWS * _FEATURES + 2, _HIDDEN_REST)
        self.say_rest = nn.Linear(_HIDDEN_REST, len(REST_COLUMNS))
        self.register_buffer("sides", torch.tensor(SIDES), persistent=False)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        for layer in (self.say, self.say_rest):
            nn.init.normal_(layer.weight, std=0.01)
            nn.init.constant_(layer.bias, _RARE)

    def forward(
        self,
        views: UInt8[torch.Tensor, "B 3 48 64 3"],
        facing: Float32[torch.Tensor, "B 2"],
    ) -> Float32[torch.Tensor, "B 52"]:
        """Blendshapes in [0, 1], see :class:`..face.views.FaceViews`."""
        features = self.maps(views.flatten(0, 1)).flatten(1).float()
        features = features.view(len(views), N_VIEWS, -1)
        own = torch.relu(self.describe_eye(features[:, :-1]))
        mouth = torch.relu(self.describe_mouth(features[:, -1]))
        both = torch.cat([own, own.flip(1), facing[:, None] * self.sides], 2)
        eyes = self.say(torch.relu(self.mix(both))).flatten(1)
        seen = torch.cat([own.flatten(1), mouth, facing], 1)
        rest = self.say_rest(torch.relu(self.mix_rest(seen)))
        return torch.sigmoid(torch.cat([eyes, rest], 1))[:, ORDER]

    def maps(self, pictures: UInt8[torch.Tensor, "V 48 64 3"]) -> Float32[torch.Tensor, "V 16 6 8"]:
        """What the trunk sees in single views, BGR."""
        return self.trunk((pictures.permute(0, 3, 1, 2).float() - 127.5) / 128)
