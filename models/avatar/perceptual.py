"""The pyramidal perceptual loss: distances between features of two pictures at several sizes.

    L = sum over scales l in {1, 1/2, 1/4}, layers i of  mean |F_i(down_l(a)) - F_i(down_l(b))|

The features are by default those of mien's own regressor, which knows faces and whose licence is
open; VGG-19's (relu1_1 to relu5_1, as the paper has them) where a user brings torchvision's file.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import torch
from jaxtyping import Float
from torch import nn
from torch.nn import functional

from ..errors import InputError
from ..learning.checkpoint_file import load_plain

Pictures = Float[torch.Tensor, "b 3 h w"]

_SCALES: Final = (1.0, 0.5, 0.25)
_VGG19: Final = (64, 64, 0, 128, 128, 0, 256, 256, 256, 256, 0, 512, 512, 512, 512, 0, 512)
"""Channels of the convolutions up to relu5_1; 0: a pooling."""
_MEAN: Final = (0.485, 0.456, 0.406)
_DEVIATION: Final = (0.229, 0.224, 0.225)
_LAYERS: Final = (1, 3, 5, 7)
"""Blocks of the regressor after which features are taken: strides 2, 4, 8 and 16."""


class Features(nn.Module):
    """Layers whose outputs are compared.

    Args:
        parts: applied one after the other; the output of each is a feature.
        mean: (3,) of the pixels that the layers expect, of 0 to 1, red first.
        deviation: (3,) likewise.
        flipped: whether the layers expect blue first.
    """

    mean: torch.Tensor
    deviation: torch.Tensor

    def __init__(
        self,
        parts: list[nn.Sequential],
        mean: tuple[float, ...],
        deviation: tuple[float, ...],
        flipped: bool,
    ) -> None:
        super().__init__()
        self.parts = nn.ModuleList(parts)
        self.flipped = flipped
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1))
        self.register_buffer("deviation", torch.tensor(deviation).view(1, 3, 1, 1))
        self.eval().requires_grad_(False)

    def forward(self, pictures: Pictures) -> list[torch.Tensor]:
        """Features of pictures, sRGB from 0 to 1, red first."""
        value = (pictures - self.mean) / self.deviation
        if self.flipped:
            value = value.flip(1)
        found = []
        for part in self.parts:
            value = part(value)
            found.append(value)
        return found


def regressor_features(path: Path) -> Features:
    """Features of mien's own regressor: its first convolutions, to stride 16.

    Args:
        path: ``regressor.onnx`` as mien exports it, in single precision.

    Raises:
        InputError: see :func:`mien.models.regressor.warm_start.read_export`.
    """
    from ..regressor.network import FaceNetwork
    from ..regressor.warm_start import read_export

    weights = read_export(path)
    network = FaceNetwork(weights.config)
    layers: list[nn.Module] = []
    ends: list[int] = []
    number = 0
    for layer in network.trunk:
        if not isinstance(layer, nn.Conv2d):
            continue
        weight, bias = weights.layer(f"conv{number}")
        folded = nn.Conv2d(
            layer.in_channels,
            layer.out_channels,
            (layer.kernel_size[0], layer.kernel_size[1]),
            (layer.stride[0], layer.stride[1]),
            (int(layer.padding[0]), int(layer.padding[1])),
            groups=layer.groups,
        )
        folded.load_state_dict({"weight": weight, "bias": bias})
        layers += [folded, nn.ReLU()]
        # The stem is one convolution, a block after it two.
        if number % 2 == 0:
            ends.append(len(layers))
        number += 1
    cuts = [0] + [ends[block] for block in _LAYERS]
    parts = [nn.Sequential(*layers[a:b]) for a, b in pairwise(cuts)]
    return Features(parts, (0.5,) * 3, (128 / 255,) * 3, flipped=True)


def vgg19_features(path: Path) -> Features:
    """VGG-19's features at relu1_1, 2_1, 3_1, 4_1 and 5_1.

    Args:
        path: torchvision's state dict of VGG-19 (without batch normalisation).

    Raises:
        InputError: it is missing, damaged, holds more than tensors, or is another network's.
    """
    try:
        state = load_plain(path)
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: not torchvision's state dict of VGG-19: {error}") from error
    if not isinstance(state, dict):
        raise InputError(f"{path}: holds {type(state).__name__}, expected a state dict of VGG-19")
    parts: list[nn.Sequential] = []
    layers: list[nn.Module] = []
    inputs, index, first = 3, 0, True
    for channels in _VGG19:
        if not channels:
            layers.append(nn.MaxPool2d(2))
            index, first = index + 1, True
            continue
        layer = nn.Conv2d(inputs, channels, 3, padding=1)
        layer.load_state_dict(_vgg_layer(path, state, index, layer))
        layers += [layer, nn.ReLU()]
        if first:
            parts.append(nn.Sequential(*layers))
            layers = []
        inputs, index, first = channels, index + 2, False
    return Features(parts, _MEAN, _DEVIATION, flipped=False)


def perceptual_loss(
    features: Features, pictures: Pictures, truth: Pictures
) -> Float[torch.Tensor, ""]:
    """The pyramidal loss above; layers that a picture is too small for are left out.

    Args:
        features: whose distances are taken.
        pictures: sRGB, 0 to 1, red first; gradients flow into these.
        truth: likewise.
    """
    total = pictures.new_zeros(())
    for scale in _SCALES:
        pair = torch.cat([pictures, truth])
        if scale != 1.0:
            pair = functional.interpolate(
                pair, scale_factor=scale, mode="bilinear", antialias=True, align_corners=False
            )
        for found in features(pair):
            ours, theirs = found.chunk(2)
            total = total + (ours - theirs.detach()).abs().mean()
    return total


def _vgg_layer(path: Path, state: Any, index: int, layer: nn.Conv2d) -> dict[str, torch.Tensor]:
    found = {}
    for part, wanted in layer.state_dict().items():
        name = f"features.{index}.{part}"
        value = state.get(name) if isinstance(state, Mapping) else None
        if not isinstance(value, torch.Tensor) or value.shape != wanted.shape:
            raise InputError(
                f"{path}: not torchvision's state dict of VGG-19: expected {name} of "
                f"{tuple(wanted.shape)}"
            )
        found[part] = value
    return found
