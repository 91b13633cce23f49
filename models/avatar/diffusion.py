"""Diffusion as Karras et al. formulate it: preconditioning, training noise, loss weight, sampler.

"Elucidating the Design Space of Diffusion-Based Generative Models" (2022):

    D(x; sigma) = c_skip x + c_out U(c_in x, c_noise, condition)
    c_skip = sd^2 / (sigma^2 + sd^2)          c_out   = sigma sd / sqrt(sigma^2 + sd^2)
    c_in   = 1 / sqrt(sigma^2 + sd^2)         c_noise = ln(sigma) / 4
    ln sigma ~ Normal(p_mean, p_std^2)        weight  = (sigma^2 + sd^2) / (sigma sd)^2

sd (``sigma_data``) is the deviation of what is diffused. Normalised latents have deviation 1 here,
so it is 1 and not the 0.5 of pictures between -1 and 1.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import NamedTuple

import torch
from jaxtyping import Float

from ..errors import InputError
from .config import DiffusionConfig

Sigma = Float[torch.Tensor, " b"]
Value = Float[torch.Tensor, "b ..."]
Denoiser = Callable[[Value, Sigma], Value]
"""D: noisy values (b, ...) and their noise levels (b,) to clean values."""


class Preconditioning(NamedTuple):
    """The four coefficients, each (b,)."""

    skip: Sigma
    out: Sigma
    into: Sigma
    noise: Sigma


def preconditioning(sigma: Sigma, sigma_data: float) -> Preconditioning:
    """Coefficients at noise levels above 0."""
    both = sigma**2 + sigma_data**2
    return Preconditioning(
        sigma_data**2 / both, sigma * sigma_data * both.rsqrt(), both.rsqrt(), sigma.log() / 4
    )


def loss_weight(sigma: Sigma, sigma_data: float) -> Sigma:
    """Weight of the squared error of D: it makes that of the network's own output 1."""
    return (sigma**2 + sigma_data**2) / (sigma * sigma_data) ** 2


def training_sigmas(config: DiffusionConfig, count: int, generator: torch.Generator) -> Sigma:
    """Noise levels for training; stratified, so that every batch has small ones and large ones."""
    order = torch.randperm(count, generator=generator)
    share = (order + torch.rand(count, generator=generator)) / count
    normal = torch.special.ndtri(share.double().clamp(1e-6, 1 - 1e-6)).float()
    return (config.p_mean + config.p_std * normal).exp()


def schedule(config: DiffusionConfig, steps: int) -> Float[torch.Tensor, " s"]:
    """Noise levels of the sampler, falling, with 0 at the end: (steps + 1,).

    Raises:
        InputError: fewer than 2 steps.
    """
    if steps < 2:
        raise InputError(f"avatar: {steps} sampling steps, expected 2 or more")
    most, least = config.sigma_max ** (1 / config.rho), config.sigma_min ** (1 / config.rho)
    share = torch.arange(steps, dtype=torch.float64) / (steps - 1)
    levels = (most + share * (least - most)) ** config.rho
    return torch.cat([levels, levels.new_zeros(1)]).float()


def heun(denoise: Denoiser, noise: Value, sigmas: Float[torch.Tensor, " s"]) -> Value:
    """Karras et al., algorithm 1: Heun's method of second order; the last step is Euler's.

    Args:
        denoise: D.
        noise: of unit deviation, where sampling begins.
        sigmas: falling noise levels, the last one 0.
    """
    value = noise * sigmas[0]
    count = len(noise)
    for now, then in pairwise(sigmas):
        slope = (value - denoise(value, now.expand(count))) / now
        guess = value + (then - now) * slope
        if then > 0:
            ahead = (guess - denoise(guess, then.expand(count))) / then
            guess = value + (then - now) * (slope + ahead) / 2
        value = guess
    return value


def guided(conditional: Value, unconditional: Value, guidance: float) -> Value:
    """Classifier-free guidance: 1 is the condition alone, more is beyond it."""
    return unconditional + guidance * (conditional - unconditional)


def noise_like(
    shape: tuple[int, ...], seed: int, device: torch.device | str = "cpu", *, shared: bool = False
) -> Value:
    """Noise of a seed, the same on every device.

    Args:
        shape: the first axis counts examples.
        seed: of the noise.
        device: where it shall lie.
        shared: all examples get the same: what makes a sequence of expressions move smoothly.
    """
    generator = torch.Generator().manual_seed(seed)
    one = (1, *shape[1:]) if shared else shape
    drawn = torch.randn(one, generator=generator)
    return drawn.expand(shape).contiguous().to(device)
