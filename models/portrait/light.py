"""The light of a picture as nine spherical harmonics: an estimator of our own, or DPR's file.

Coefficients are of luminance in the axes of the picture's own view (x right, y up, z to us), in the
order and with the constants of :mod:`.sh`.

DPR (Zhou et al., ICCV 2019): the weights ``trained_model_03.t7`` are their authors', for research;
they come with the user. Only tensors are read from that file. Of the hourglass only the way down
to the light is computed; the other layers are there so that every key of the file has its place.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float
from torch import nn
from torch.nn import functional

from ..errors import InputError
from ..learning.checkpoint_file import load_plain
from . import sh
from .convnet import Convnet, ConvnetConfig
from .weights import fill, filled, load_part, save_part

DEFAULT: Final = ConvnetConfig(side=48, margin=0.0, widths=(24, 48, 96), blocks=1)
MIRRORED: Final = (3, 4, 7)
"""Coefficients that change sign when a picture is mirrored."""
DPR_SIDE: Final = 512
_DPR_LIGHT: Final = 27
"""Channels of DPR's bottleneck that hold the light."""


@runtime_checkable
class Illumination(Protocol):
    """Pictures of the portrait's crop to the light in them."""

    def __call__(self, images: Float[torch.Tensor, "b 3 h w"]) -> Float[torch.Tensor, "b 9"]:
        """RGB from -1 to 1 to coefficients in the view's axes; differentiable."""
        ...


class LightEstimator(nn.Module):
    """Our own estimator, trained on synthetic people.

    Args:
        config: sizes of its trunk.
    """

    mean: torch.Tensor
    scale: torch.Tensor

    def __init__(self, config: ConvnetConfig = DEFAULT) -> None:
        super().__init__()
        self.trunk = Convnet(config)
        width, side = config.widths[-1], self.trunk.last_side
        self.narrow = nn.Conv2d(width, 24, 1)
        self.hidden = nn.Linear(24 * side * side, 96)
        self.out = nn.Linear(96, 9)
        self.register_buffer("mean", torch.zeros(9))
        self.register_buffer("scale", torch.ones(9))

    def forward(self, images: Float[torch.Tensor, "b 3 h w"]) -> Float[torch.Tensor, "b 9"]:
        """Coefficients of pictures (RGB, -1 to 1) of the portrait's crop, any size."""
        x = functional.silu(self.narrow(self.trunk(images)))
        x = functional.silu(self.hidden(x.flatten(1)))
        return self.mean + self.scale * self.out(x).float()

    def save(self, path: Path, facts: Mapping[str, Any]) -> None:
        """Write the weights.

        Raises:
            OutputError: the file cannot be written.
        """
        save_part(path, "light", self, self.trunk.config.table(), facts)

    @classmethod
    def load(cls, path: Path) -> LightEstimator:
        """Read the weights; ready to judge.

        Raises:
            InputError: the file is missing, damaged or other weights.
        """
        stored = load_part(path, "light")
        config = ConvnetConfig.of_table(stored.config)
        network = filled(lambda: cls(config), stored.tensors, path)
        return network.eval().requires_grad_(False)


def lab_lightness(images: Float[torch.Tensor, "b 3 h w"]) -> Float[torch.Tensor, "b 1 h w"]:
    """L of CIE Lab over 100, of sRGB from -1 to 1; differentiable also at black."""
    srgb = ((images + 1) / 2).clamp(0, 1)
    # Both branches get values at which their gradients are finite.
    linear = torch.where(
        srgb <= 0.04045, srgb / 12.92, ((srgb.clamp(min=0.04045) + 0.055) / 1.055) ** 2.4
    )
    y = (linear * linear.new_tensor(sh.LUMINANCE.tolist())[:, None, None]).sum(1, keepdim=True)
    small = 216 / 24389
    root = y.clamp(min=small) ** (1 / 3)
    return torch.where(y > small, 1.16 * root - 0.16, y * (24389 / 2700))


class _Basic(nn.Module):
    """DPR's residual block."""

    def __init__(self, inputs: int, outputs: int, normalised: bool) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        # The upper way's norms have no weights.
        norm = nn.BatchNorm2d if normalised else nn.InstanceNorm2d
        self.bn1, self.bn2 = norm(outputs), norm(outputs)
        self.shortcuts = nn.Conv2d(inputs, outputs, 1, bias=False)
        self._same = inputs == outputs

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.bn2(self.conv2(functional.relu(self.bn1(self.conv1(x)))))
        return functional.relu(y + (x if self._same else self.shortcuts(x)))


class _DprLight(nn.Module):
    """The light from the bottleneck's first channels (and back, which is not used)."""

    def __init__(self) -> None:
        super().__init__()
        self.predict_FC1 = nn.Conv2d(_DPR_LIGHT, 128, 1, bias=False)
        self.predict_relu1 = nn.PReLU()
        self.predict_FC2 = nn.Conv2d(128, 9, 1, bias=False)
        self.post_FC1 = nn.Conv2d(9, 128, 1, bias=False)
        self.post_relu1 = nn.PReLU()
        self.post_FC2 = nn.Conv2d(128, _DPR_LIGHT, 1, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        seen = x[:, :_DPR_LIGHT].mean((2, 3), keepdim=True)
        return self.predict_FC2(self.predict_relu1(self.predict_FC1(seen))).flatten(1)


class _Hourglass(nn.Module):
    """One level around the next; down to the light only."""

    def __init__(self, width: int, inner: int, middle: nn.Module) -> None:
        super().__init__()
        self.upper = _Basic(width, width, False)
        self.low1 = _Basic(width, inner, True)
        self.middle = middle
        self.low2 = _Basic(inner, width, False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.middle(self.low1(functional.max_pool2d(x, 2)))


class DprNetwork(nn.Module):
    """DPR's network for 512 px under its own names, as far as the light."""

    def __init__(self, base: int = 16) -> None:
        super().__init__()
        self.pre_conv = nn.Conv2d(1, base, 5, padding=2)
        self.pre_bn = nn.BatchNorm2d(base)
        self.light = _DprLight()
        self.HG0 = _Hourglass(4 * base, 8 * base + _DPR_LIGHT, self.light)
        self.HG1 = _Hourglass(2 * base, 4 * base, self.HG0)
        self.HG2 = _Hourglass(base, 2 * base, self.HG1)
        self.HG3 = _Hourglass(base, base, self.HG2)
        for number, kernel in ((1, 3), (2, 1), (3, 1)):
            layer = nn.Conv2d(base, base, kernel, padding=kernel // 2)
            self.add_module(f"conv_{number}", layer)
            self.add_module(f"bn_{number}", nn.BatchNorm2d(base))
        self.output = nn.Conv2d(base, 1, 1)

    def forward(self, lightness: Float[torch.Tensor, "b 1 h w"]) -> Float[torch.Tensor, "b 9"]:
        """Coefficients of the light, in DPR's own axes, of L from 0 to 1."""
        return self.HG3(functional.relu(self.pre_bn(self.pre_conv(lightness))))


class DprIllumination:
    """A user's DPR file as an estimator of light.

    Args:
        path: ``trained_model_03.t7``: despite its name a plain state dict of torch.

    Raises:
        InputError: the file is missing, carries more than tensors, or a key has no place or stays
            empty.
    """

    def __init__(self, path: Path) -> None:
        try:
            content = load_plain(path)
        except FileNotFoundError as error:
            raise InputError(f"{path}: no such file; expected DPR's trained_model_03.t7") from error
        except (OSError, ValueError) as error:
            raise InputError(f"{path}: not a plain state dict of tensors: {error}") from error
        if not isinstance(content, dict):
            raise InputError(f"{path}: holds {type(content).__name__}, expected a state dict")
        state = {
            str(name).removeprefix("module."): value
            for name, value in content.items()
            if isinstance(value, torch.Tensor)
        }
        self.network = DprNetwork()
        fill(self.network, state, path)
        self.network.eval().requires_grad_(False)
        turn = sh.rotation_of_coefficients(np.asarray(sh.DPR_FROM_WORLD).T)
        self._turn = torch.from_numpy(turn.T.astype(np.float32))

    def __call__(self, images: Float[torch.Tensor, "b 3 h w"]) -> Float[torch.Tensor, "b 9"]:
        """Coefficients in the view's axes."""
        side = (DPR_SIDE, DPR_SIDE)
        larger = functional.interpolate(images, side, mode="bilinear", align_corners=False)
        return self.network(lab_lightness(larger)) @ self._turn.to(images.device)


def light_distance(
    first: Float[torch.Tensor, "b 9"], second: Float[torch.Tensor, "b 9"]
) -> Float[torch.Tensor, " b"]:
    """Mean squared difference of the shading of a sphere: the harmonics are orthonormal."""
    weight = torch.from_numpy((sh.COSINE**2 / (4 * np.pi)).astype(np.float32)).to(first.device)
    return ((first - second).square() * weight).sum(1)
