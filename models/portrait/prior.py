"""A small text-to-image prior: diffusion of portraits that reads the words of the vocabulary.

Karras et al. (2022) in the pixels of small pictures, with the preconditioning and the sampler of
:mod:`..avatar.diffusion`. The condition is the sum of the tokens' embeddings (the order of a
sentence carries no meaning), with the noise level; it scales and shifts every residual block.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import nn
from torch.nn import functional

from ..avatar.config import DiffusionConfig
from ..avatar.diffusion import guided, heun, noise_like, preconditioning, schedule
from ..errors import InputError
from ..learning.layout import channels_last
from ..learning.sizes import of_table
from .vocabulary import MOST_TOKENS, PROPERTIES, TOKEN_COUNT, parse
from .weights import filled, load_part, save_part

NOISE: Final = DiffusionConfig(
    channels=(), attention=(), blocks=0, head_channels=1, groups=1, token_width=0, field_channels=0,
    sigma_data=0.5, p_mean=-0.6, p_std=1.3, sigma_min=0.01, sigma_max=40.0,
)  # fmt: skip
"""Noise of training and sampler, for pictures from -1 to 1."""


@dataclass(frozen=True)
class PriorConfig:
    """Sizes.

    Attributes:
        side: of the pictures, px.
        channels: at the picture's resolution, at half of it, and so on.
        blocks: residual blocks a level, down and up each.
        width: values of the condition.
        attention: whether the coarsest level attends to itself.
    """

    side: int = 32
    channels: tuple[int, ...] = (32, 64, 96)
    blocks: int = 1
    width: int = 128
    attention: bool = True

    def __post_init__(self) -> None:
        coarsest = self.side / 2 ** (len(self.channels) - 1)
        if coarsest < 4 or coarsest != int(coarsest) or any(c < 8 for c in self.channels):
            raise InputError(f"prior: impossible sizes {self}")

    @classmethod
    def of_table(cls, table: dict[str, Any]) -> PriorConfig:
        """From a file's header.

        Raises:
            InputError: a name is unknown, or a value is impossible.
        """
        return of_table(cls, table, "prior")


SMALL: Final = PriorConfig()
MEDIUM: Final = PriorConfig(side=64, channels=(48, 96, 144, 192), width=192)
PRESETS: Final = {"small": SMALL, "medium": MEDIUM}


class _Norm(nn.LayerNorm):
    """Normalises the channels of each place: on a processor a third of group normalisation."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        # Channels-last memory makes this a view without a copy, both ways.
        return super().forward(input.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class _Block(nn.Module):
    """Residual block whose second normalisation the condition scales and shifts."""

    def __init__(self, inputs: int, outputs: int, width: int) -> None:
        super().__init__()
        self.norm1 = _Norm(inputs)
        self.first = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.condition = nn.Linear(width, 2 * outputs)
        self.norm2 = _Norm(outputs, elementwise_affine=False)
        self.second = nn.Conv2d(outputs, outputs, 3, padding=1)
        nn.init.zeros_(self.second.weight)
        self.path = nn.Identity() if inputs == outputs else nn.Conv2d(inputs, outputs, 1)

    def forward(self, x: torch.Tensor, condition: torch.Tensor) -> torch.Tensor:
        y = self.first(functional.silu(self.norm1(x)))
        scale, shift = self.condition(condition)[:, :, None, None].chunk(2, dim=1)
        y = functional.silu(self.norm2(y) * (1 + scale) + shift)
        return self.path(x) + self.second(y)


class _Attention(nn.Module):
    """Every place attends to every other."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = _Norm(channels)
        self.qkv = nn.Conv2d(channels, 3 * channels, 1)
        self.out = nn.Conv2d(channels, channels, 1)
        nn.init.zeros_(self.out.weight)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        b, c, h, w = x.shape
        heads = max(1, c // 48)
        q, k, v = self.qkv(self.norm(x)).reshape(b, 3, heads, c // heads, h * w).unbind(1)
        weights = torch.softmax(q.transpose(-1, -2) @ k * (c // heads) ** -0.5, -1)
        mixed = v @ weights.transpose(-1, -2).to(v.dtype)
        return x + self.out(mixed.reshape(b, c, h, w))


class CaptionedDiffusion(nn.Module):
    """D(x; sigma, tokens): clean pictures of noisy ones and what is said of them.

    Args:
        config: sizes.
    """

    def __init__(self, config: PriorConfig = SMALL) -> None:
        super().__init__()
        self.config = config
        c, width = config.channels, config.width
        self.words = nn.Embedding(TOKEN_COUNT, width, padding_idx=0)
        self.level = nn.Sequential(nn.Linear(2 * 16, width), nn.SiLU(), nn.Linear(width, width))
        self.mix = nn.Sequential(nn.SiLU(), nn.Linear(width, width), nn.SiLU())
        self.enter = nn.Conv2d(3, c[0], 3, padding=1)
        down, up = [], []
        skips, now = [c[0]], c[0]
        for number, channels in enumerate(c):
            for _ in range(config.blocks):
                down.append(_Block(now, channels, width))
                now = channels
                skips.append(now)
            if number < len(c) - 1:
                down.append(nn.Conv2d(now, now, 3, 2, 1))
                skips.append(now)
        self.down = nn.ModuleList(down)
        self.middle = nn.ModuleList(
            [
                _Block(now, now, width),
                _Attention(now) if config.attention else nn.Identity(),
                _Block(now, now, width),
            ]
        )
        for number in reversed(range(len(c))):
            for _ in range(config.blocks + 1):
                up.append(_Block(now + skips.pop(), c[number], width))
                now = c[number]
            if number:
                up.append(nn.Conv2d(now, now, 3, padding=1))
        self.up = nn.ModuleList(up)
        self.leave = nn.Sequential(_Norm(now), nn.SiLU(), nn.Conv2d(now, 3, 3, padding=1))
        last = self.leave[2]
        for values in last.parameters():
            nn.init.zeros_(values)
        nn.init.normal_(self.words.weight, std=0.5)
        with torch.no_grad():
            self.words.weight[0] = 0

    @property
    def sigma_data(self) -> float:
        """Deviation of the pictures."""
        return NOISE.sigma_data

    def forward(
        self,
        x: Float[torch.Tensor, "b 3 s s"],
        sigma: Float[torch.Tensor, " b"],
        tokens: Int64[torch.Tensor, "b t"],
    ) -> Float[torch.Tensor, "b 3 s s"]:
        """Estimates of the clean pictures, RGB -1 to 1; tokens of 0 say nothing."""
        coefficients = preconditioning(sigma, self.sigma_data)
        skip, out, into = (value[:, None, None, None] for value in coefficients[:3])
        raw = self._network(into * x, coefficients.noise, tokens)
        return skip * x + out * raw.float()

    def _network(self, x: torch.Tensor, noise: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
        frequencies = torch.exp(
            torch.linspace(0, math.log(100.0), 16, device=x.device, dtype=torch.float32)
        )
        phase = noise[:, None] * frequencies
        condition = self.level(torch.cat([phase.sin(), phase.cos()], 1))
        condition = self.mix(condition + self.words(tokens).sum(1))
        x = self.enter(x.contiguous(memory_format=torch.channels_last))
        skips = [x]
        for layer in self.down:
            x = layer(x, condition) if isinstance(layer, _Block) else layer(x)
            skips.append(x)
        for layer in self.middle:
            x = layer(x, condition) if isinstance(layer, _Block) else layer(x)
        for layer in self.up:
            if isinstance(layer, _Block):
                x = layer(torch.cat([x, skips.pop()], 1), condition)
            else:
                x = layer(functional.interpolate(x, scale_factor=2, mode="nearest"))
        return self.leave(x)

    def guided(
        self,
        x: Float[torch.Tensor, "b 3 s s"],
        sigma: Float[torch.Tensor, " b"],
        tokens: Int64[torch.Tensor, "b t"],
        guidance: float,
    ) -> Float[torch.Tensor, "b 3 s s"]:
        """Classifier-free guidance: 1 is the sentence alone, 0 no sentence."""
        both = self(
            torch.cat([x, x]), sigma.repeat(2), torch.cat([tokens, torch.zeros_like(tokens)])
        )
        said, unsaid = both.chunk(2)
        return guided(said, unsaid, guidance)

    @torch.no_grad()
    def sample(
        self,
        tokens: Int64[torch.Tensor, "b t"],
        seed: int = 0,
        guidance: float = 3.0,
        steps: int = 18,
    ) -> Float[torch.Tensor, "b 3 s s"]:
        """Pictures of sentences, by Heun's method."""
        side = self.config.side
        noise = noise_like((len(tokens), 3, side, side), seed, tokens.device)
        sigmas = schedule(NOISE, steps).to(tokens.device)
        made = heun(lambda x, sigma: self.guided(x, sigma, tokens, guidance), noise, sigmas)
        return made.clamp(-1, 1)

    def save(self, path: Path, facts: Mapping[str, Any]) -> None:
        """Write the weights.

        Raises:
            OutputError: the file cannot be written.
        """
        words = [f"{slot}: {value}" for slot, value in PROPERTIES]
        save_part(path, "prior", self, {**asdict(self.config), "words": words}, facts)

    @classmethod
    def load(cls, path: Path) -> CaptionedDiffusion:
        """Read the weights; ready to use.

        Raises:
            InputError: the file is missing, damaged, other weights, or of another vocabulary.
        """
        stored = load_part(path, "prior")
        table = dict(stored.config)
        if table.pop("words", None) != [f"{slot}: {value}" for slot, value in PROPERTIES]:
            raise InputError(f"{path}: made for another vocabulary; train it again")
        config = PriorConfig.of_table(table)
        network = filled(lambda: cls(config), stored.tensors, path)
        channels_last(network)
        return network.eval().requires_grad_(False)


def tokens_of(texts: list[str], device: torch.device | None = None) -> Int64[torch.Tensor, "b t"]:
    """Tokens of sentences; an empty one says nothing.

    Raises:
        InputError: a word is outside of the vocabulary.
    """
    empty = np.zeros(MOST_TOKENS, np.int64)
    rows = [parse(text).tokens() if text.strip() else empty for text in texts]
    return torch.from_numpy(np.stack(rows)).to(device or torch.device("cpu"))
