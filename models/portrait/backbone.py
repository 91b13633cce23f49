"""The style-modulated backbone: codes to planes (StyleGAN2's synthesis network, as in EG3D).

Parameters have the names and the scaling of the published generators, so that those load key for
key. A modulated convolution (Karras et al. 2020, 2.2) scales its inputs by the style and its
outputs by ``1 / ||style * weight||``, instead of a weight for each picture of the batch.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import torch
from jaxtyping import Float
from torch import nn
from torch.nn import functional

from .config import PortraitConfig

_SLOPE: Final = 0.2
_GAIN: Final = math.sqrt(2.0)
"""Keeps the variance through a leaky rectifier."""
_TAPS: Final = (1.0, 3.0, 3.0, 1.0)
"""The low-pass filter of resampling."""
_TINY: Final = 1e-8


class FullyConnected(nn.Module):
    """A layer whose weights have unit variance and are scaled as they are used.

    Args:
        inputs: values in.
        outputs: values out.
        bias: that it begins with.
        rate: factor of the learning rate, worked into the weights.
        activated: whether a leaky rectifier follows.
    """

    def __init__(
        self, inputs: int, outputs: int, bias: float = 0.0, rate: float = 1.0,
        activated: bool = False,
    ) -> None:  # fmt: skip
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs) / rate)
        self.bias = nn.Parameter(torch.full((outputs,), bias))
        self._weight_gain = rate / math.sqrt(inputs)
        self._bias_gain = rate
        self._activated = activated

    def forward(self, x: Float[torch.Tensor, "... i"]) -> Float[torch.Tensor, "... o"]:
        """Values in, values out."""
        y = functional.linear(x, self.weight * self._weight_gain, self.bias * self._bias_gain)
        return functional.leaky_relu(y, _SLOPE) * _GAIN if self._activated else y


class SynthesisLayer(nn.Module):
    """A modulated 3x3 convolution with noise, bias and leaky rectifier.

    Args:
        inputs: channels in.
        outputs: channels out.
        w_dim: length of a code.
        side: of its output, cells.
        up: whether it doubles the side.
        clamp: bound of its activations; None for none.
    """

    noise_const: torch.Tensor
    resample_filter: torch.Tensor

    def __init__(
        self, inputs: int, outputs: int, w_dim: int, side: int, up: bool = False,
        clamp: float | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        self.up = up
        self._clamp = clamp
        self.affine = FullyConnected(w_dim, inputs, bias=1.0)
        self.weight = nn.Parameter(torch.randn(outputs, inputs, 3, 3))
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.register_buffer("noise_const", torch.randn(side, side))
        self.noise_strength = nn.Parameter(torch.zeros(()))
        self.register_buffer("resample_filter", resample_filter())

    def forward(
        self,
        x: Float[torch.Tensor, "b i h w"],
        w: Float[torch.Tensor, "b d"],
        noise: Float[torch.Tensor, "#b 1 H W"] | None,
    ) -> Float[torch.Tensor, "b o H W"]:
        """Features of this level.

        Args:
            x: of the level before, or of this one.
            w: codes.
            noise: maps that take the fixed one's place; None for no noise at all.
        """
        style = self.affine(w)
        norm = (style.square() @ self.weight.square().sum((2, 3)).T + _TINY).rsqrt() * _GAIN
        x = x * style.to(x.dtype)[:, :, None, None]
        if self.up:
            y = _interleaved(functional.conv2d(x, _phase_weights(self.weight), padding=1))
        else:
            y = functional.conv2d(x, self.weight, padding=1)
        offset = self.bias[None, :, None, None] * _GAIN
        if noise is not None:
            offset = offset + noise * (self.noise_strength * _GAIN)
        y = torch.addcmul(offset.to(y.dtype), y, norm.to(y.dtype)[:, :, None, None])
        y = functional.leaky_relu(y, _SLOPE)
        return y.clamp(-self._clamp, self._clamp) if self._clamp is not None else y


class ToRgb(nn.Module):
    """A modulated 1x1 convolution without normalisation, to planes or to colours."""

    def __init__(self, inputs: int, outputs: int, w_dim: int, clamp: float | None = None) -> None:
        super().__init__()
        self._clamp = clamp
        self.affine = FullyConnected(w_dim, inputs, bias=1.0)
        self.weight = nn.Parameter(torch.randn(outputs, inputs, 1, 1))
        self.bias = nn.Parameter(torch.zeros(outputs))
        self._gain = 1.0 / math.sqrt(inputs)

    def forward(
        self, x: Float[torch.Tensor, "b i h w"], w: Float[torch.Tensor, "b d"]
    ) -> Float[torch.Tensor, "b o h w"]:
        """Planes or colours, float32 or wider."""
        style = (self.affine(w) * self._gain).to(x.dtype)
        y = functional.conv2d(x * style[:, :, None, None], self.weight)
        y = (y if y.dtype == torch.float64 else y.float()) + self.bias[None, :, None, None]
        return y.clamp(-self._clamp, self._clamp) if self._clamp is not None else y


class SynthesisBlock(nn.Module):
    """A level: convolutions, and their contribution to the planes (the ``skip`` architecture).

    Args:
        inputs: channels of the level before; 0 for the first, which begins from a constant.
        outputs: channels of this one.
        planes: channels of what it contributes to.
        w_dim: length of a code.
        side: of its output, cells.
        clamp: bound of its activations; None for none.
    """

    resample_filter: torch.Tensor

    def __init__(
        self, inputs: int, outputs: int, planes: int, w_dim: int, side: int,
        clamp: float | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        self.inputs = inputs
        self.side = side
        self.register_buffer("resample_filter", resample_filter())
        if inputs:
            self.conv0 = SynthesisLayer(inputs, outputs, w_dim, side, up=True, clamp=clamp)
        else:
            self.const = nn.Parameter(torch.randn(outputs, side, side))
        self.conv1 = SynthesisLayer(outputs, outputs, w_dim, side, clamp=clamp)
        self.torgb = ToRgb(outputs, planes, w_dim, clamp=clamp)

    @property
    def layers(self) -> tuple[SynthesisLayer, ...]:
        """Its convolutions with noise, in order."""
        return (self.conv0, self.conv1) if self.inputs else (self.conv1,)

    def forward(
        self,
        x: Float[torch.Tensor, "b i h w"] | None,
        planes: Float[torch.Tensor, "b p h w"] | None,
        ws: Float[torch.Tensor, "b l d"],
        noise: Sequence[torch.Tensor | None],
    ) -> tuple[Float[torch.Tensor, "b o H W"], Float[torch.Tensor, "b p H W"]]:
        """Features and planes of this level.

        Args:
            x: features of the level before; None at the first.
            planes: of the level before; None at the first.
            ws: a code a convolution, then that of the contribution.
            noise: a map or None for each convolution.
        """
        if x is None:
            x = self.const[None].expand(len(ws), -1, -1, -1)
            x = x.contiguous(memory_format=torch.channels_last)
        for number, (layer, field) in enumerate(zip(self.layers, noise, strict=True)):
            x = layer(x, ws[:, number], field)
        assert x is not None  # a block has a convolution at least
        own = self.torgb(x, ws[:, len(self.layers)])
        return x, own if planes is None else _doubled(planes) + own


class SynthesisNetwork(nn.Module):
    """Codes to planes, through levels of 4, 8, ... cells; blocks are named ``b4``, ``b8``, ..."""

    def __init__(self, config: PortraitConfig) -> None:
        super().__init__()
        self.config = config
        channels = 0
        for level in config.levels:
            wide = config.channels(level)
            block = SynthesisBlock(
                channels, wide, 3 * config.plane_channels, config.w_dim, level,
                config.backbone_clamp,
            )  # fmt: skip
            self.add_module(f"b{level}", block)
            channels = wide

    @property
    def blocks(self) -> tuple[SynthesisBlock, ...]:
        """Its levels, the coarsest first."""
        return tuple(block for block in self.children() if isinstance(block, SynthesisBlock))

    def noise_maps(self) -> list[Float[torch.Tensor, "1 1 _ _"]]:
        """The fixed noise of every convolution, in order."""
        return [layer.noise_const[None, None] for block in self.blocks for layer in block.layers]

    def forward(
        self,
        ws: Float[torch.Tensor, "b l d"],
        noise: Sequence[torch.Tensor] | None = None,
    ) -> Float[torch.Tensor, "b p R R"]:
        """Planes side by side in the channels, single precision.

        Args:
            ws: (b, n_ws, w_dim).
            noise: a map (1 or b, 1, side, side) for each convolution; None for the fixed ones.
        """
        maps = iter(self.noise_maps() if noise is None else noise)
        x = planes = None
        place = 0
        for block in self.blocks:
            count = len(block.layers)
            fields = [next(maps) for _ in range(count)]
            x, planes = block(x, planes, ws[:, place : place + count + 1], fields)
            place += count
        assert planes is not None
        return planes


def resample_filter() -> Float[torch.Tensor, "4 4"]:
    """The low-pass filter of resampling, of sum 1."""
    taps = torch.tensor(_TAPS)
    return torch.outer(taps, taps) / taps.sum() ** 2


def _doubled(x: Float[torch.Tensor, "b c h w"]) -> Float[torch.Tensor, "b c H W"]:
    """Twice the side, by the filter (1 3 3 1) over zeros beyond the border.

    As one matrix for each axis, which on few cells is the fastest both ways.
    """
    batch, channels, height, width = x.shape
    with torch.autocast(x.device.type, enabled=False):
        cells = x.permute(0, 2, 3, 1)
        tall = torch.matmul(_doubling(height, x), cells.reshape(batch, height, width * channels))
        wide = torch.matmul(_doubling(width, x), tall.view(batch * 2 * height, width, channels))
    return wide.view(batch, 2 * height, 2 * width, channels).permute(0, 3, 1, 2)


def _doubling(count: int, like: torch.Tensor) -> Float[torch.Tensor, "m n"]:
    """What takes values on a line to twice as many: shares of 1/4 and 3/4 of the two nearest."""
    line = torch.eye(count, device=like.device, dtype=like.dtype)
    before, after = functional.pad(line, (0, 0, 1, 0))[:-1], functional.pad(line, (0, 0, 0, 1))[1:]
    return torch.stack([0.75 * line + 0.25 * before, 0.75 * line + 0.25 * after], 1).flatten(0, 1)


def _phase_weights(weight: Float[torch.Tensor, "o i 3 3"]) -> Float[torch.Tensor, "p i 3 3"]:
    """Weights of the four convolutions that doubling the side and convolving come to.

    The published code spreads the cells to every second place, convolves (in the mathematical
    sense) and low-passes. Of each axis the result has two phases, and each sees three cells: tap t
    of phase p takes tap k of the weight with the filter's tap ``2 t + k - 1 - p``.

    Returns:
        (4 o, i, 3, 3), the phases (row, column) first.
    """
    taps = [tap * 2 / sum(_TAPS) for tap in _TAPS]
    table = [
        [[taps[j] if 0 <= (j := 2 * t + k - 1 - p) < len(taps) else 0.0 for k in range(3)]
         for t in range(3)]
        for p in range(2)
    ]  # fmt: skip
    axis = torch.tensor(table, device=weight.device, dtype=weight.dtype)
    outputs, inputs = weight.shape[:2]
    both = torch.einsum("ptk,qrl->pqtrkl", axis, axis).reshape(36, 9)
    phases = both @ weight.reshape(-1, 9).T  # (p q t r, o i)
    phases = phases.view(4, 9, outputs, inputs).permute(0, 2, 3, 1)
    return phases.reshape(4 * outputs, inputs, 3, 3)


def _interleaved(x: Float[torch.Tensor, "b p h w"]) -> Float[torch.Tensor, "b o H W"]:
    """Cells of four phases, (row, column) first in the channels, side by side."""
    batch, channels, height, width = x.shape
    cells = x.permute(0, 2, 3, 1).reshape(batch, height, width, 2, 2, channels // 4)
    cells = cells.permute(0, 1, 3, 2, 4, 5).reshape(batch, 2 * height, 2 * width, channels // 4)
    return cells.permute(0, 3, 1, 2)
