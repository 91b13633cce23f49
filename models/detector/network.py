"""A small fully convolutional face detector: faces are points on a map (CenterNet), with a box.

"Objects as Points" (Zhou, Wang, Krähenbühl 2019): one cell in 4 x 4 pixels says how likely the
middle of a face lies in it, how far that middle is from the cell's, and how large the face is. The
encoder is the first part of the regressor's MobileNet-V1 (Howard et al. 2017), to stride 16, and
three blocks at stride 32; a narrow decoder adds its levels together on the way back up to stride 4
(Lin et al. 2017).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple

import torch
from jaxtyping import Float32, UInt8
from torch import nn
from torch.nn import functional

from ..errors import InputError
from ..learning.layers import activated
from ..regressor.network import FaceNetwork, NetworkConfig, separable

STRIDE: Final = 4
"""Pixels a cell of the outputs."""
BOX_NAMES: Final = ("down", "right", "log_height", "log_width")
_ENDS: Final = (3 + 3 * 6, 3 + 5 * 6, 3 + 8 * 6)
"""Modules of the regressor's trunk, in all, that reach strides 4, 8 and 16: 3, 5 and 8 blocks."""
_RARE: Final = -4.6
"""Logit of a face in a cell before training: 1 %."""


@dataclass(frozen=True)
class DetectorNetworkConfig:
    """Architecture.

    Attributes:
        width: channels of the trunk as a share of MobileNet-V1's; it begins as the regressor's does
            and can take over its weights.
        deep: channels of the blocks at stride 32.
        decoder: channels of the decoder at strides 4, 8 and 16.
    """

    width: float = 0.5
    deep: int = 128
    decoder: tuple[int, int, int] = (32, 48, 64)


class DetectorOutput(NamedTuple):
    """Maps at stride 4.

    Attributes:
        heat: (B, 1, h, w) logit of a face whose middle lies in the cell.
        box: (B, 4, h, w) from the cell's middle to the face's, down and right, in cells; natural
            logarithms of the face's height and width in cells.
    """

    heat: Float32[torch.Tensor, "B 1 h w"]
    box: Float32[torch.Tensor, "B 4 h w"]


class DetectorNetwork(nn.Module):
    """Encoder, decoder and the two output maps."""

    def __init__(self, config: DetectorNetworkConfig | None = None) -> None:
        super().__init__()
        self.config = config or DetectorNetworkConfig()
        layers = list(FaceNetwork(NetworkConfig(width=self.config.width)).trunk)
        self.trunk = nn.ModuleList(
            nn.Sequential(*layers[i:j]) for i, j in zip((0, *_ENDS), _ENDS, strict=False)
        )
        wide = [_channels_of(level) for level in self.trunk]
        narrow, deep = self.config.decoder, self.config.deep
        self.deep = nn.Sequential(
            *separable(wide[-1], deep, 2), *separable(deep, deep), *separable(deep, deep)
        )
        # From stride 32 up to 4: each level of the trunk is brought to the width of what comes from
        # below, added, and mixed.
        self.tops = nn.Sequential(*activated(nn.Conv2d(deep, narrow[2], 1, bias=False)))
        self.sides = nn.ModuleList(
            nn.Sequential(*activated(nn.Conv2d(i, o, 1, bias=False)))
            for i, o in zip(wide[::-1], (narrow[2], narrow[1], narrow[0]), strict=True)
        )
        self.mixes = nn.ModuleList(
            nn.Sequential(*separable(i, o))
            for i, o in (
                (narrow[2], narrow[1]),
                (narrow[1], narrow[0]),
                (narrow[0], narrow[0]),
            )
        )
        self.out = nn.Conv2d(narrow[0], 1 + len(BOX_NAMES), 1)
        self._initialise()

    def take_trunk(self, regressor: FaceNetwork) -> None:
        """Take over the first layers of a regressor of the same width.

        Raises:
            InputError: it is of another width.
        """
        if regressor.config.width != self.config.width:
            raise InputError(
                f"the regressor is of width {regressor.config.width}, the detector of "
                f"{self.config.width}"
            )
        theirs = list(regressor.trunk)
        for level, start, end in zip(self.trunk, (0, *_ENDS), _ENDS, strict=False):
            level.load_state_dict(nn.Sequential(*theirs[start:end]).state_dict())

    def _initialise(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
                module.weight.data = module.weight.data.contiguous(
                    memory_format=torch.channels_last
                )
        nn.init.normal_(self.out.weight, std=0.01)
        start = torch.tensor([_RARE, 0.0, 0.0, 1.5, 1.5])
        self.out.bias = nn.Parameter(start)

    def forward(self, pictures: UInt8[torch.Tensor, "B H W 3"]) -> DetectorOutput:
        """Maps of a batch of BGR pictures whose sides are multiples of 32."""
        # NHWC memory seen as NCHW is channels-last, which the processor convolves fastest.
        pixels = pictures.permute(0, 3, 1, 2).float()
        last = (pixels - 127.5) / 128
        levels = []
        for level in self.trunk:
            last = level(last)
            levels.append(last)
        last = self.tops(self.deep(last))
        for side, mix in zip(self.sides, self.mixes, strict=True):
            last = mix(functional.interpolate(last, scale_factor=2.0) + side(levels.pop()))
        with torch.autocast(last.device.type, enabled=False):
            maps = self.out(last.float())
        return DetectorOutput(maps[:, :1], maps[:, 1:])


def _channels_of(level: nn.Module) -> int:
    """Output channels of convolution, normalisation, ReLU, repeated."""
    norm = list(level.children())[-2]
    if not isinstance(norm, nn.BatchNorm2d):
        raise InputError("the trunk is not convolution, normalisation, ReLU repeated")
    return norm.num_features
