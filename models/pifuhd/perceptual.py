"""The paper's perceptual distance, with VGG19's weights from a user's own file."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import torch
from jaxtyping import Float
from torch import nn
from torch.nn import functional

from ..errors import InputError
from ..learning.checkpoint_file import DAMAGE, load_plain

_LAYERS: Final = (64, 64, 0, 128, 128, 0, 256, 256, 256, 256, 0, 512, 512, 512, 512, 0, 512)
"""Channels of VGG19's convolutions to relu5_1; 0 halves the map."""
_WEIGHTS: Final = {1: 1 / 32, 6: 1 / 16, 11: 1 / 8, 20: 1 / 4, 29: 1.0}
"""Weights of relu1_1 to relu5_1, by their numbers in VGG19 (Wang et al. 2018)."""
_MEAN: Final = (0.485, 0.456, 0.406)
_DEVIATION: Final = (0.229, 0.224, 0.225)


class VggDistance(nn.Module):
    """Mean absolute difference of VGG19's features (Simonyan and Zisserman 2014).

    Args:
        path: state dict with ``features.0.weight`` and so on, as torchvision's file has it.

    Raises:
        InputError: the file is not that.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = 3
        for width in _LAYERS:
            if width:
                layers += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU()]
                channels = width
            else:
                layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers)
        try:
            weights = load_plain(path)
            kept = {name: weights[name] for name in self.state_dict()}
            self.load_state_dict(kept)
        except (OSError, *DAMAGE) as error:
            raise InputError(f"{path}: not VGG19's weights (features.0.weight, ...)") from error
        self.register_buffer("mean", torch.tensor(_MEAN)[:, None, None], persistent=False)
        self.register_buffer("deviation", torch.tensor(_DEVIATION)[:, None, None], persistent=False)
        self.requires_grad_(False)

    def forward(
        self, drawn: Float[torch.Tensor, "b 3 h w"], true: Float[torch.Tensor, "b 3 h w"]
    ) -> Float[torch.Tensor, ""]:
        """The distance of two batches of pictures from -1 to 1."""
        both = (torch.cat([drawn, true]) + 1) / 2
        x = (both - self.get_buffer("mean")) / self.get_buffer("deviation")
        total = drawn.new_zeros(())
        for i, layer in enumerate(self.features):
            x = layer(x)
            if i in _WEIGHTS:
                ours, theirs = x.chunk(2)
                total = total + _WEIGHTS[i] * functional.l1_loss(ours, theirs)
        return total
