"""What pictures look like to mien's own regressor: features of its first layers (after LPIPS)."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Final

import torch
from jaxtyping import Float
from torch import nn
from torch.nn import functional

from ..face.bundle import Bundle
from ..learning.layout import channels_last
from ..regressor.network import FaceNetwork
from ..regressor.warm_start import read_export

_AFTER: Final = (2, 6, 10)
"""Convolutions after which features are taken, with strides 2, 4 and 8."""
_TINY: Final = 1e-6
_RANGE: Final = 127.5 / 128
"""The regressor's pixels for 1."""


class RegressorFeatures(nn.Module):
    """The trunk of a regressor to stride 8, frozen, for pictures of any size.

    Args:
        regressor: an exported ``regressor.onnx``; default: that of mien's bundle.

    Raises:
        InputError: the file cannot be read, or onnx is not installed.
    """

    def __init__(self, regressor: Path | None = None) -> None:
        super().__init__()
        weights = read_export(regressor or Bundle.default().whole_regressor_path)
        with torch.device("meta"):
            trunk = FaceNetwork(weights.config).trunk
        convolutions = [layer for layer in trunk if isinstance(layer, nn.Conv2d)]
        self._layers = nn.ModuleList()
        for number, plan in enumerate(convolutions[: _AFTER[-1] + 1]):
            layer = copy.deepcopy(plan).to_empty(device="cpu")
            layer.bias = nn.Parameter(torch.empty(layer.out_channels))
            weight, bias = weights.layer(f"conv{number}")
            layer.load_state_dict({"weight": weight, "bias": bias})
            self._layers.append(layer)
        self.requires_grad_(False)
        channels_last(self)

    def forward(self, images: Float[torch.Tensor, "b 3 h w"]) -> list[torch.Tensor]:
        """Features (b, c, h / s, w / s) of unit length at each place, for strides 2, 4, 8.

        Args:
            images: RGB, -1 to 1.
        """
        x = images.flip(1).contiguous(memory_format=torch.channels_last) * _RANGE
        taken = []
        for number, layer in enumerate(self._layers):
            x = functional.relu(layer(x))
            if number in _AFTER:
                taken.append(x * (x.square().sum(1, keepdim=True) + _TINY).rsqrt())
        return taken

    def distance(
        self, first: Float[torch.Tensor, "b 3 h w"], second: Float[torch.Tensor, "b 3 h w"]
    ) -> Float[torch.Tensor, " b"]:
        """Squared distance of features, mean over places, summed over the layers; 0 to 12."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and second.requires_grad):
            theirs = self(second)
        pairs = zip(self(first), theirs, strict=True)
        distances = [(a - b).float().square().sum(1).mean((1, 2)) for a, b in pairs]
        return torch.stack(distances).sum(0)
