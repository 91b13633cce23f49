"""The denoiser in the latent: a 3D U-Net on the noisy latent, the clean neutral and a condition.

The U-Net is MONAI's ``DiffusionModelUNet``, the 3D form of that of Dhariwal and Nichol (2021) with
cross-attention to tokens. Its input channels are

    [ c_in * noisy target | normalised latent of the neutral | weight of observation
      | normalised latent of the guide | field ]

where the last four are there only if the configuration says so. Without noise and steps the same
network is a deterministic regression, the baseline.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import torch
from jaxtyping import Bool, Float
from torch import nn

from ..errors import InputError, how_to_install
from ..learning.layout import channels_last
from .autodecoder import Latent
from .config import DiffusionConfig
from .diffusion import (
    Sigma,
    guided,
    heun,
    noise_like,
    preconditioning,
    schedule,
)
from .normalisation import LatentNormalisation
from .tokens import ConditionField, ConditionTokens

_NOISE_SCALE: Final = 250.0
"""c_noise spans about 3; the U-Net's sinusoids were made for steps counted to a thousand."""


@dataclass(frozen=True)
class Condition:
    """What is given of each example.

    Attributes:
        vectors: coefficients (b, n) by the name of their set; absent ones have no tokens.
        neutral: (b, c, l, l, l) latent of the neutral, as encoded; None where none is used.
        seen: (b, 1, l, l, l) how much of the neutral was observed, 0 to 1; None: all of it.
        text: (b, t, d) tokens of a text encoder.
        guide: (b, c, l, l, l) latent of what a statistical head says; None where none is used.
    """

    vectors: Mapping[str, Float[torch.Tensor, "b _"]]
    neutral: Latent | None = None
    seen: Float[torch.Tensor, "b 1 l l l"] | None = None
    text: Float[torch.Tensor, "b t d"] | None = None
    guide: Latent | None = None


class LatentDiffusion(nn.Module):
    """The denoiser, its normalisation and its sampler.

    Args:
        config: sizes and formulation.
        channels: of the latent.
        cells: of the latent along a side.
    """

    def __init__(self, config: DiffusionConfig, channels: int, cells: int) -> None:
        super().__init__()
        self.config, self.channels, self.cells = config, channels, cells
        self.normalisation = LatentNormalisation(channels)
        self.tokens = ConditionTokens(config.token_sets, config.token_width, config.text_width)
        inputs = channels
        if config.neutral:
            inputs += channels + 1
        if config.guide:
            inputs += channels
        self.field = None
        if config.field_channels and config.token_sets:
            self.field = ConditionField(config.token_sets, config.field_channels, cells)
            inputs += config.field_channels
        self.unet = _unet(config, inputs, channels)

    def start(self, condition: Condition) -> Latent | None:
        """What residuals are added to: the guide's latent, or the neutral's."""
        return condition.guide if self.config.guide else condition.neutral

    def target(self, latent: Latent, start: Latent | None) -> Latent:
        """What is diffused, of about unit deviation: a normalised latent, or residual."""
        if self.config.residual:
            return self.normalisation.residual(latent, _given(start))
        normalised = self.normalisation(latent)
        limit = self.config.clamp
        return normalised.clamp(-limit, limit) if limit else normalised

    def latent(self, value: Latent, start: Latent | None) -> Latent:
        """The inverse of :meth:`target`."""
        if self.config.residual:
            return self.normalisation.add_residual(_given(start), value)
        return self.normalisation.inverse(value)

    def forward(
        self,
        noisy: Latent,
        sigma: Sigma,
        condition: Condition,
        dropped: Bool[torch.Tensor, " b"] | None = None,
    ) -> Latent:
        """D(x; sigma): the clean value.

        Args:
            noisy: value and noise.
            sigma: deviation of the noise.
            condition: what is given.
            dropped: examples whose vectors and text are to be ignored.
        """
        data = self.config.sigma_data
        if self.config.regression:
            empty = torch.zeros_like(noisy)
            return data * self._network(empty, torch.zeros_like(sigma), condition, dropped)
        c = preconditioning(sigma, data)
        raw = self._network(_spread(c.into) * noisy, c.noise, condition, dropped)
        return _spread(c.skip) * noisy + _spread(c.out) * raw

    @torch.no_grad()
    def sample(
        self,
        condition: Condition,
        count: int,
        *,
        steps: int = 32,
        guidance: float | None = None,
        seed: int = 0,
        shared: bool = False,
    ) -> Latent:
        """Generate latents.

        Args:
            condition: what is given of each example.
            count: examples.
            steps: of the sampler; of no effect in a regression.
            guidance: 1 for the condition as it is; None: the configuration's.
            seed: of the noise.
            shared: whether all examples begin from the same noise.
        """
        some = next(self.unet.parameters())
        shape = (count, self.channels, *3 * (self.cells,))
        if self.config.regression:
            value = self(
                torch.zeros(shape, device=some.device),
                torch.ones(count, device=some.device),
                condition,
            )
            return self.latent(value, self.start(condition))
        strength = self.config.guidance if guidance is None else guidance

        def denoise(noisy: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
            conditional = self(noisy, sigma, condition)
            if strength == 1.0:
                return conditional
            nothing = torch.ones(count, dtype=torch.bool, device=noisy.device)
            return guided(conditional, self(noisy, sigma, condition, nothing), strength)

        noise = noise_like(shape, seed, some.device, shared=shared) * self.config.temperature
        sigmas = schedule(self.config, steps).to(some.device)
        return self.latent(heun(denoise, noise, sigmas), self.start(condition))

    def _network(
        self,
        value: Latent,
        level: Sigma,
        condition: Condition,
        dropped: Bool[torch.Tensor, " b"] | None,
    ) -> Latent:
        if dropped is None:
            dropped = torch.zeros(len(value), dtype=torch.bool, device=value.device)
        parts = [value]
        if self.config.neutral:
            neutral = self.normalisation(_given(condition.neutral))
            seen = condition.seen
            if seen is None:
                seen = torch.ones_like(value[:, :1])
            limit = self.config.clamp or float("inf")
            parts += [neutral.clamp(-limit, limit), seen]
            if self.config.guide:
                parts.append(self.normalisation(_given(condition.guide)).clamp(-limit, limit))
        if self.field is not None:
            parts.append(self.field(condition.vectors, dropped))
        joined = torch.cat(parts, 1).contiguous(memory_format=torch.channels_last_3d)
        tokens = self.tokens(condition.vectors, dropped, condition.text)
        return self.unet(joined, level * _NOISE_SCALE, tokens).float()


def _unet(config: DiffusionConfig, inputs: int, outputs: int) -> nn.Module:
    try:
        from monai.networks.nets.diffusion_model_unet import DiffusionModelUNet
    except ImportError as error:
        raise InputError(f"the avatar needs MONAI: {how_to_install('heavy')}") from error
    unet = DiffusionModelUNet(
        spatial_dims=3,
        in_channels=inputs,
        out_channels=outputs,
        num_res_blocks=(config.blocks,) * len(config.channels),
        channels=config.channels,
        attention_levels=config.attention,
        norm_num_groups=config.groups,
        num_head_channels=config.head_channels,
        with_conditioning=True,
        cross_attention_dim=config.token_width,
    )
    channels_last(unet)
    return unet


def _given(latent: Latent | None) -> Latent:
    if latent is None:
        raise InputError(
            "avatar: this network was trained with a neutral face and what guides it; one is absent"
        )
    return latent


def _spread(values: Sigma) -> Float[torch.Tensor, "b 1 1 1 1"]:
    return values.view(-1, 1, 1, 1, 1)
