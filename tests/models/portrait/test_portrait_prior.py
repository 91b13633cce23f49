"""The captioned diffusion: its parametrisation, words, guidance, training."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

import torch

from mien.models.errors import InputError
from mien.models.portrait.prior import CaptionedDiffusion, PriorConfig, tokens_of
from mien.models.portrait.train_prior import PriorOptions, thinned, train
from mien.models.portrait.vocabulary import MOST_TOKENS

SIZES = PriorConfig(side=8, channels=(8, 16), width=16)


@pytest.fixture
def network() -> CaptionedDiffusion:
    torch.manual_seed(0)
    network = CaptionedDiffusion(SIZES)
    with torch.no_grad():
        for weight in network.parameters():
            weight.add_(0.1 * torch.randn_like(weight))
        network.words.weight[0] = 0
    return network.eval()


def test_it_returns_its_input_where_there_is_no_noise(network: CaptionedDiffusion) -> None:
    x = torch.randn(2, 3, 8, 8) * 0.5
    tokens = tokens_of(["an old man", ""])
    with torch.no_grad():
        clean = network(x, torch.full((2,), 1e-4), tokens)
    torch.testing.assert_close(clean, x, atol=1e-3, rtol=0)


def test_a_fresh_network_is_the_best_linear_denoiser() -> None:
    fresh = CaptionedDiffusion(SIZES)
    x, sigma = torch.randn(2, 3, 8, 8), torch.tensor([0.5, 2.0])
    share = 0.25 / (sigma**2 + 0.25)
    torch.testing.assert_close(fresh(x, sigma, tokens_of(["", ""])), share[:, None, None, None] * x)


def test_words_matter_and_their_order_does_not(network: CaptionedDiffusion) -> None:
    x, sigma = torch.randn(1, 3, 8, 8), torch.ones(1)
    with torch.no_grad():
        found = [
            network(x, sigma, tokens_of([text]))
            for text in ("old man, smiling", "smiling old man", "young woman", "")
        ]
    torch.testing.assert_close(found[0], found[1])
    assert not torch.allclose(found[0], found[2], atol=1e-4)
    torch.testing.assert_close(
        network.guided(x, sigma, tokens_of(["young woman"]), 1.0), found[2], atol=1e-5, rtol=1e-4
    )
    torch.testing.assert_close(
        network.guided(x, sigma, tokens_of(["young woman"]), 0.0), found[3], atol=1e-5, rtol=1e-4
    )
    with pytest.raises(InputError, match="vocabulary"):
        tokens_of(["a dragon"])


def test_samples_are_a_function_of_the_seed(network: CaptionedDiffusion) -> None:
    tokens = tokens_of(["a boy"])
    first, again, other = (network.sample(tokens, seed=s, steps=3) for s in (1, 1, 2))
    assert first.shape == (1, 3, 8, 8)
    torch.testing.assert_close(first, again)
    assert not torch.equal(first, other)
    assert float(first.abs().max()) <= 1


def test_less_is_said_than_is_known() -> None:
    rng = np.random.default_rng(0)
    tokens = np.tile(np.arange(1, MOST_TOKENS + 1), (4000, 1))
    kept = thinned(tokens, said=0.5, silent=0.2, rng=rng)
    assert set(np.unique(kept)) <= set(range(MOST_TOKENS + 1))
    said = (kept > 0).mean(1)
    assert said[said > 0].mean() == pytest.approx(0.53, abs=0.05)
    assert (said == 0).mean() == pytest.approx(0.21, abs=0.04)
    assert ((kept == tokens) | (kept == 0)).all()


def test_training_resumes_and_keeps(portrait_folder: Path, tmp_path: Path) -> None:
    def options(steps: int, resume: bool = False) -> PriorOptions:
        return PriorOptions(
            data=portrait_folder, out=tmp_path, steps=steps, batch=4, sizes=SIZES, log_steps=2,
            validate_steps=100, bfloat16=False, device="cpu", resume=resume,
        )  # fmt: skip

    train(options(2))
    result = train(options(4, resume=True))
    assert result.steps == 4
    network = CaptionedDiffusion.load(result.weights)
    assert network.config == SIZES
    assert np.isfinite(result.figures["loss_with_words"])


def test_another_vocabulary_is_refused(network: CaptionedDiffusion, tmp_path: Path) -> None:
    from dataclasses import asdict

    from mien.models.portrait.weights import save_part

    place = tmp_path / "prior.safetensors"
    save_part(place, "prior", network, {**asdict(SIZES), "words": ["age: old"]}, {})
    with pytest.raises(InputError, match="another vocabulary"):
        CaptionedDiffusion.load(place)
    with pytest.raises(InputError, match="impossible sizes"):
        PriorConfig(side=10, channels=(8, 8, 8))
