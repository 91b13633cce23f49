"""Normalisation, the formulation of Karras et al., tokens and the denoiser."""

import math
from dataclasses import replace
from itertools import pairwise

import pytest

pytest.importorskip("torch")
pytest.importorskip("monai")

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mien.models.avatar.config import DiffusionConfig
from mien.models.avatar.diffusion import (
    guided,
    heun,
    loss_weight,
    noise_like,
    preconditioning,
    schedule,
    training_sigmas,
)
from mien.models.avatar.normalisation import LatentNormalisation
from mien.models.avatar.tokens import ConditionField, ConditionTokens
from mien.models.avatar.unet import Condition, LatentDiffusion
from mien.models.errors import InputError

TINY = DiffusionConfig(
    channels=(16, 32), attention=(False, True), blocks=1, head_channels=16, groups=8,
    token_width=16, field_channels=4, token_sets=(("blendshapes", 52), ("expression", 10)),
)  # fmt: skip


def _heavy_tailed(channels: int = 5, count: int = 400) -> torch.Tensor:
    """Latents as the paper describes them: a few values reach far."""
    generator = torch.Generator().manual_seed(0)
    normal = torch.randn(count, channels, 4, 4, 4, generator=generator)
    scale = torch.linspace(0.1, 9, channels).view(1, -1, 1, 1, 1)
    tail = torch.rand(normal.shape, generator=generator) > 0.999
    return torch.where(tail, 1e6 * normal, scale * normal + scale)


def test_robust_normalisation_gives_unit_scale_in_spite_of_tails() -> None:
    latents = _heavy_tailed()
    normalisation = LatentNormalisation(5).fit(latents)
    normal = normalisation(latents)
    for channel in normal.transpose(0, 1).flatten(1):
        low, middle, high = torch.quantile(channel, torch.tensor([0.25, 0.5, 0.75])).tolist()
        assert middle == pytest.approx(0.0, abs=0.01)
        assert high - low == pytest.approx(1 / 0.7413, rel=0.01)
    assert float((normal.abs() > 10).float().mean()) < 0.002
    plain = LatentNormalisation(5).fit(latents, robust=False)(latents)
    # By mean and deviation nearly everything would be next to nothing.
    assert float((plain.abs() < 0.05).float().mean()) > 0.99


@settings(max_examples=10, deadline=None)
@given(st.booleans(), st.booleans(), st.integers(0, 100))
def test_normalisation_is_undone(robust: bool, per_channel: bool, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    latents = 7 * torch.randn(9, 3, 2, 2, 2, generator=generator) - 2
    other = torch.randn(9, 3, 2, 2, 2, generator=generator)
    normalisation = LatentNormalisation(3).fit(latents, robust=robust, per_channel=per_channel)
    torch.testing.assert_close(normalisation.inverse(normalisation(other)), other)
    if not per_channel:
        assert len(set(normalisation.scale.tolist())) == 1
    normalisation.fit_residuals(latents, other)
    residual = normalisation.residual(latents, other)
    assert float(residual.square().mean()) == pytest.approx(1.0, rel=1e-4)
    torch.testing.assert_close(
        normalisation.add_residual(other, residual), latents, atol=1e-4, rtol=1e-4
    )


def test_normalisation_refuses_what_is_not_finite() -> None:
    with pytest.raises(InputError, match="not finite"):
        LatentNormalisation(2).fit(torch.full((3, 2, 2, 2, 2), math.nan))


@settings(max_examples=30, deadline=None)
@given(st.floats(0.002, 80), st.floats(0.1, 4))
def test_preconditioning_keeps_unit_scale(level: float, data: float) -> None:
    sigma = torch.tensor([level], dtype=torch.float64)
    c = preconditioning(sigma, data)
    # Input of the network: deviation 1. Its target (y - c_skip x) / c_out: deviation 1.
    assert float(c.into**2 * (data**2 + level**2)) == pytest.approx(1.0)
    target = ((1 - c.skip) ** 2 * data**2 + c.skip**2 * level**2) / c.out**2
    assert float(target) == pytest.approx(1.0)
    # The weight makes the loss that of the network's own output.
    assert float(loss_weight(sigma, data) * c.out**2) == pytest.approx(1.0)
    assert float(c.noise) == pytest.approx(math.log(level) / 4)


def test_schedule_is_that_of_the_paper() -> None:
    sigmas = schedule(TINY, 18)
    assert len(sigmas) == 19
    assert float(sigmas[0]) == pytest.approx(80.0, rel=1e-5)
    assert float(sigmas[17]) == pytest.approx(0.002, rel=1e-4)
    assert float(sigmas[18]) == 0.0
    assert bool((sigmas[:-1] > sigmas[1:]).all())
    one = (80 ** (1 / 7) + 5 / 17 * (0.002 ** (1 / 7) - 80 ** (1 / 7))) ** 7
    assert float(sigmas[5]) == pytest.approx(one, rel=1e-5)
    with pytest.raises(InputError, match="2 or more"):
        schedule(TINY, 1)


def test_training_noise_has_its_distribution() -> None:
    logs = training_sigmas(TINY, 20_000, torch.Generator().manual_seed(0)).log()
    assert float(logs.mean()) == pytest.approx(-1.2, abs=0.01)
    assert float(logs.std()) == pytest.approx(1.2, abs=0.01)
    few = training_sigmas(TINY, 8, torch.Generator().manual_seed(1)).log()
    assert float(few.max()) > -1.2 > float(few.min())


def _gaussian_denoiser(noisy: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
    """The best denoiser where data are normal with deviation 2: the flow has a closed form."""
    return noisy * 4 / (4 + sigma[:, None] ** 2)


def _flow_error(steps: int) -> float:
    noise = torch.linspace(-2, 2, 5, dtype=torch.float64)[:, None]
    sigmas = schedule(TINY, steps).double()
    found = heun(_gaussian_denoiser, noise, sigmas)
    # x(sigma) grows as sqrt(4 + sigma^2) along the flow.
    exact = noise * 80 * 2 / math.sqrt(4 + 80**2)
    return float((found - exact).abs().max())


def test_heun_is_of_second_order() -> None:
    errors = [_flow_error(steps) for steps in (20, 40, 80)]
    for coarse, fine in pairwise(errors):
        assert 3.2 < coarse / fine < 5.5
    assert errors[-1] < 0.01


def test_guidance_goes_beyond_the_condition() -> None:
    a, b = torch.tensor([[3.0]]), torch.tensor([[1.0]])
    assert float(guided(a, b, 1.0)) == 3.0
    assert float(guided(a, b, 0.0)) == 1.0
    assert float(guided(a, b, 2.0)) == 5.0


def test_shared_noise_is_the_same_for_all() -> None:
    noise = noise_like((3, 2, 4), 7, shared=True)
    assert torch.equal(noise[0], noise[2])
    assert torch.equal(noise[0], noise_like((1, 2, 4), 7)[0])
    assert not torch.equal(noise_like((3, 2, 4), 7)[0], noise_like((3, 2, 4), 7)[1])


def test_absent_vectors_have_no_tokens() -> None:
    tokens = ConditionTokens(TINY.token_sets, 16)
    a, b = torch.rand(2, 52), torch.rand(2, 10)
    no = torch.zeros(2, dtype=torch.bool)
    both = tokens({"blendshapes": a, "expression": b}, no)
    assert both.shape == (2, 62, 16)
    assert torch.equal(tokens({"blendshapes": a}, no), both[:, :52])
    assert torch.equal(tokens({"expression": b}, no), both[:, 52:])
    assert tokens({}, no).shape == (2, 1, 16)
    # One token hangs on one value.
    other = a.clone()
    other[0, 7] += 0.3
    changed = (tokens({"blendshapes": other}, no) != both[:, :52]).any(-1)
    assert changed.nonzero().tolist() == [[0, 7]]


def test_dropped_conditions_say_nothing() -> None:
    tokens = ConditionTokens(TINY.token_sets, 16)
    field = ConditionField(TINY.token_sets, 4, 2)
    dropped = torch.tensor([True, False])
    vectors = {"blendshapes": torch.rand(2, 52)}
    said = tokens(vectors, dropped)
    assert torch.equal(said[0], tokens.nothing.expand(52, 16))
    assert not torch.equal(said[1], tokens.nothing.expand(52, 16))
    grid = field(vectors, dropped).detach()
    assert float(grid[0].abs().max()) == 0.0
    assert float(grid[1].abs().max()) > 0.0


def test_tokens_refuse_what_they_do_not_know() -> None:
    tokens = ConditionTokens(TINY.token_sets, 16)
    no = torch.zeros(1, dtype=torch.bool)
    with pytest.raises(InputError, match="51 values, expected 52"):
        tokens({"blendshapes": torch.rand(1, 51)}, no)
    with pytest.raises(InputError, match="visemes"):
        tokens({"visemes": torch.rand(1, 5)}, no)
    with pytest.raises(InputError, match="captions"):
        tokens({}, no, torch.rand(1, 3, 8))


def test_captions_condition_through_the_same_tokens() -> None:
    tokens = ConditionTokens((), 16, text_width=8)
    no = torch.zeros(2, dtype=torch.bool)
    assert tokens({}, no, torch.rand(2, 3, 8)).shape == (2, 3, 16)


@pytest.fixture(scope="module")
def denoiser() -> LatentDiffusion:
    torch.manual_seed(0)
    model = LatentDiffusion(TINY, 6, 4).eval().requires_grad_(False)
    # MONAI's last layer begins at zero, which would make every test of the condition vacuous.
    torch.nn.init.normal_(list(model.unet.parameters())[-2], std=0.1)
    return model


def _condition(count: int = 2) -> Condition:
    generator = torch.Generator().manual_seed(4)
    return Condition(
        {"blendshapes": torch.rand(count, 52, generator=generator)},
        torch.randn(count, 6, 4, 4, 4, generator=generator),
    )


def test_without_noise_the_denoiser_returns_what_it_is_given(denoiser: LatentDiffusion) -> None:
    clean = torch.randn(2, 6, 4, 4, 4)
    found = denoiser(clean, torch.full((2,), 1e-5), _condition())
    torch.testing.assert_close(found, clean, atol=1e-3, rtol=0)
    noisy = denoiser(clean, torch.full((2,), 2.0), _condition())
    assert float((noisy - clean).abs().max()) > 0.1


def test_every_condition_is_heard(denoiser: LatentDiffusion) -> None:
    clean, sigma, condition = torch.randn(2, 6, 4, 4, 4), torch.ones(2), _condition()
    said = denoiser(clean, sigma, condition)
    no_vectors = denoiser(clean, sigma, condition, torch.tensor([True, True]))
    assert float((said - no_vectors).abs().max()) > 1e-4
    blind = replace(condition, seen=torch.zeros(2, 1, 4, 4, 4))
    assert float((said - denoiser(clean, sigma, blind)).abs().max()) > 1e-4
    assert condition.neutral is not None
    other = replace(condition, neutral=condition.neutral + 1)
    assert float((said - denoiser(clean, sigma, other)).abs().max()) > 1e-4
    with pytest.raises(InputError, match="neutral"):
        denoiser(clean, sigma, Condition({}))


def test_samples_have_a_seed(denoiser: LatentDiffusion) -> None:
    first = denoiser.sample(_condition(), 2, steps=3, seed=1)
    assert torch.equal(first, denoiser.sample(_condition(), 2, steps=3, seed=1))
    assert not torch.equal(first, denoiser.sample(_condition(), 2, steps=3, seed=2))
    guided_more = denoiser.sample(_condition(), 2, steps=3, seed=1, guidance=3.0)
    assert not torch.equal(first, guided_more)


def test_target_and_latent_are_inverse(denoiser: LatentDiffusion) -> None:
    target, neutral = torch.randn(2, 6, 4, 4, 4), torch.randn(2, 6, 4, 4, 4)
    torch.testing.assert_close(
        denoiser.latent(denoiser.target(target, neutral), neutral), target, atol=1e-5, rtol=1e-5
    )
    absolute = LatentDiffusion(replace(TINY, residual=False), 6, 4)
    torch.testing.assert_close(absolute.latent(absolute.target(target, None), None), target)
    with pytest.raises(InputError, match="neutral"):
        replace(TINY, neutral=False)


def test_a_regression_hears_no_noise() -> None:
    model = LatentDiffusion(replace(TINY, regression=True), 6, 4).eval()
    a = model.sample(_condition(), 2, seed=0)
    assert torch.equal(a, model.sample(_condition(), 2, seed=1, steps=5))


def test_generation_needs_neither_neutral_nor_vector() -> None:
    free = replace(TINY, neutral=False, residual=False, token_sets=(), field_channels=0)
    model = LatentDiffusion(free, 6, 4).eval()
    assert model.sample(Condition({}), 3, steps=2).shape == (3, 6, 4, 4, 4)
