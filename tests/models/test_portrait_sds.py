"""Score distillation: its gradient, its schedule, its parametrisations."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")

import torch

from mien.models.errors import InputError
from mien.models.portrait.prior import CaptionedDiffusion, PriorConfig
from mien.models.portrait.sds import (
    SmallPrior,
    StableDiffusion,
    alpha_bars,
    annealed,
    sds_gradient,
    sds_loss,
)


class Gaussian:
    """The exact prior of pictures whose pixels are Normal(mean, deviation^2)."""

    def __init__(self, mean: float, deviation: float) -> None:
        self.mean, self.deviation = mean, deviation
        self.guidances: list[float] = []

    def condition(self, text: str) -> str:
        return text

    def latent(self, images: torch.Tensor) -> torch.Tensor:
        return 2 * images

    def noise(
        self, latent: torch.Tensor, noise: torch.Tensor, step: int, condition: Any, guidance: float
    ) -> torch.Tensor:
        self.guidances.append(guidance)
        abar = float(alpha_bars()[step])
        noisy = abar**0.5 * latent + (1 - abar) ** 0.5 * noise
        variance = abar * self.deviation**2 + 1 - abar
        return (1 - abar) ** 0.5 * (noisy - abar**0.5 * self.mean) / variance


def test_the_schedule_is_stable_diffusions() -> None:
    bars = alpha_bars()
    assert len(bars) == 1000
    assert bool((bars[1:] < bars[:-1]).all())
    assert float(bars[0]) == pytest.approx(1 - 0.00085, abs=1e-6)
    assert float(bars[-1]) == pytest.approx(0.00466, abs=2e-5)


def test_the_loss_has_the_gradient_that_was_found() -> None:
    prior = Gaussian(0.3, 0.5)
    images = torch.randn(2, 3, 4, 4, requires_grad=True)
    generator = torch.Generator().manual_seed(0)
    found = sds_gradient(prior, images, "", (0.1, 0.9), 7.0, generator)
    sds_loss(found).backward()
    assert images.grad is not None
    torch.testing.assert_close(images.grad, 2 * found.gradient)  # the latent is twice the picture
    assert not found.gradient.requires_grad
    assert prior.guidances == [7.0]


def test_following_it_leads_to_the_prior() -> None:
    prior = Gaussian(0.4, 0.2)
    image = torch.full((8, 3, 8, 8), -2.0)
    generator = torch.Generator().manual_seed(0)
    for _ in range(300):
        found = sds_gradient(prior, image, "", (0.02, 0.98), 1.0, generator)
        image = image - 0.1 * found.gradient / 2
    # The mode: the latent's mean over two.
    assert float(image.mean()) == pytest.approx(0.2, abs=0.05)


def test_it_is_drawn_from_the_generator_alone() -> None:
    prior, images = Gaussian(0.0, 1.0), torch.zeros(1, 3, 4, 4)
    first, again, other = (
        sds_gradient(prior, images, "", (0.02, 0.98), 1.0, torch.Generator().manual_seed(seed))
        for seed in (1, 1, 2)
    )
    torch.testing.assert_close(first.gradient, again.gradient)
    assert first.step == again.step
    assert not torch.equal(first.gradient, other.gradient)
    fixed = sds_gradient(prior, images, "", (0.5, 0.5), 1.0, torch.Generator().manual_seed(3))
    assert fixed.step == round(0.5 * 999)
    with pytest.raises(InputError, match="within 0 to 1"):
        sds_gradient(prior, images, "", (0.9, 0.1), 1.0, torch.Generator())


def test_the_small_prior_is_stated_as_noise() -> None:
    torch.manual_seed(0)
    network = CaptionedDiffusion(PriorConfig(side=8, channels=(8, 8), width=16)).eval()
    with torch.no_grad():
        for weight in network.parameters():
            weight.add_(0.1 * torch.randn_like(weight))
    prior = SmallPrior(network)
    tokens, nothing = prior.condition("an old man"), prior.condition("")
    latent, noise = torch.randn(2, 3, 8, 8), torch.randn(2, 3, 8, 8)
    step = 400
    abar = float(alpha_bars()[step])
    sigma = network.sigma_data * ((1 - abar) / abar) ** 0.5

    def plain(words: torch.Tensor) -> torch.Tensor:
        x = latent + sigma * noise
        with torch.no_grad():
            return (x - network(x, torch.full((2,), sigma), words.expand(2, -1))) / sigma

    said, unsaid = plain(tokens), plain(nothing)
    assert float((said - unsaid).abs().max()) > 1e-4
    for guidance in (0.0, 3.0):
        found = prior.noise(latent, noise, step, tokens, guidance)
        torch.testing.assert_close(found, said + guidance * (said - unsaid), atol=2e-4, rtol=1e-3)
    assert prior.latent(torch.zeros(1, 3, 32, 32)).shape == (1, 3, 8, 8)
    assert prior.latent(torch.zeros(1, 3, 4, 4)).shape == (1, 3, 8, 8)


def test_the_range_is_annealed() -> None:
    assert annealed(0.0) == (0.02, 0.98)
    assert annealed(1.0) == (0.02, 0.5)
    highs = [annealed(share / 10)[1] for share in range(11)]
    assert highs == sorted(highs, reverse=True)
    assert annealed(1.0, (0.6, 0.9), 0.5) == (0.6, 0.6)


def test_a_folder_that_is_no_stable_diffusion(tmp_path: Path) -> None:
    (tmp_path / "unet").mkdir()
    with pytest.raises(InputError, match="lacks vae, text_encoder, tokenizer"):
        StableDiffusion(tmp_path, torch.device("cpu"))
