"""LPIPS on VGG-16 (Zhang et al. 2018), with weights that the user brings as plain tensors."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import torch
from jaxtyping import Float
from torch import nn
from torch.nn import functional

from ..errors import InputError
from ..learning.checkpoint_file import load_plain
from ..learning.tensor_file import read_tensors

_WIDTHS: Final = (64, 64, 0, 128, 128, 0, 256, 256, 256, 0, 512, 512, 512, 0, 512, 512, 512)
"""Channels of VGG-16's convolutions; 0 is a pooling."""
_TAPS: Final = (3, 8, 15, 22, 29)
"""torchvision's numbers of the rectifiers after which features are taken."""
_SHIFT: Final = (-0.030, -0.088, -0.188)
_SCALE: Final = (0.458, 0.448, 0.450)
_TINY: Final = 1e-10


class Lpips(nn.Module):
    """Distance of VGG-16's features, weighed by channel where the file says how.

    Accepts torchvision's ``vgg16`` state dict (``features.0.weight``, ...; all channels then weigh
    the same), one of the lpips package (``net.slice1.0.weight``, ``lin0.model.1.weight``), or both
    sets of keys in one file; ``.pth`` or ``.safetensors``. The classifier's keys are passed over.

    Args:
        state: tensors by name.
        place: of the file, for messages.
    """

    shift: torch.Tensor
    scale: torch.Tensor

    def __init__(self, state: dict[str, torch.Tensor], place: Path) -> None:
        super().__init__()
        self.layers = nn.ModuleDict()
        number, before = 0, 3
        for width in _WIDTHS:
            if width:
                weight, bias = (_found(state, number, part, place) for part in ("weight", "bias"))
                if tuple(weight.shape) != (width, before, 3, 3):
                    raise InputError(
                        f"{place}: convolution {number} is {tuple(weight.shape)}, expected "
                        f"{(width, before, 3, 3)}: not VGG-16"
                    )
                layer = nn.Conv2d(before, width, 3, padding=1)
                layer.load_state_dict({"weight": weight.float(), "bias": bias.float()})
                self.layers[str(number)] = layer
                number, before = number + 2, width
            else:
                number += 1
        self.weights = [_linear(state, k) for k in range(len(_TAPS))]
        self.register_buffer("shift", torch.tensor(_SHIFT)[:, None, None])
        self.register_buffer("scale", torch.tensor(_SCALE)[:, None, None])
        self.requires_grad_(False).eval()

    @classmethod
    def load(cls, path: Path) -> Lpips:
        """Read a file; nothing but tensors is unpickled.

        Raises:
            InputError: it is missing, carries more than tensors, or is not of VGG-16.
        """
        if path.suffix == ".safetensors":
            return cls(read_tensors(path)[1], path)
        try:
            content = load_plain(path)
        except FileNotFoundError as error:
            raise InputError(f"{path}: no such file; expected weights of VGG-16") from error
        except (OSError, ValueError) as error:
            raise InputError(f"{path}: not a plain state dict of tensors: {error}") from error
        if not isinstance(content, dict):
            raise InputError(f"{path}: holds {type(content).__name__}, expected a state dict")
        return cls({k: v for k, v in content.items() if isinstance(v, torch.Tensor)}, path)

    def features(self, images: Float[torch.Tensor, "b 3 h w"]) -> list[torch.Tensor]:
        """Features of unit length at each place after each of the five taps."""
        x = (images - self.shift) / self.scale
        taken = []
        for number in range(_TAPS[-1] + 1):
            if str(number) in self.layers:
                x = functional.relu(self.layers[str(number)](x))
                if number + 1 in _TAPS:
                    taken.append(x * (x.square().sum(1, keepdim=True) + _TINY).rsqrt())
            elif number in (4, 9, 16, 23):
                x = functional.max_pool2d(x, 2)
        return taken

    def distance(
        self, first: Float[torch.Tensor, "b 3 h w"], second: Float[torch.Tensor, "b 3 h w"]
    ) -> Float[torch.Tensor, " b"]:
        """The distance of pictures (RGB, -1 to 1); of small ones at 256 px, as FaceDNeRF does."""
        side = (max(256, first.shape[-1]),) * 2
        pair = [
            self.features(functional.interpolate(p, side, mode="bilinear", align_corners=False))
            for p in (first, second)
        ]
        parts = []
        for a, b, weight in zip(*pair, self.weights, strict=True):
            squared = (a - b).square()
            if weight is not None:
                squared = squared * weight.to(squared.device)
            parts.append(squared.sum(1).mean((1, 2)))
        return torch.stack(parts).sum(0)


def _found(state: dict[str, torch.Tensor], number: int, part: str, place: Path) -> torch.Tensor:
    pattern = re.compile(rf"(?:module\.)?(?:features\.|net\.slice\d\.){number}\.{part}")
    for name, value in state.items():
        if pattern.fullmatch(name):
            return value
    raise InputError(f"{place}: no features.{number}.{part}: not VGG-16's weights")


def _linear(state: dict[str, torch.Tensor], k: int) -> torch.Tensor | None:
    for name in (f"lin{k}.model.1.weight", f"lins.{k}.model.1.weight"):
        if name in state:
            return state[name].float()
    return None
