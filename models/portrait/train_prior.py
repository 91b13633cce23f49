"""Trains the captioned diffusion prior on synthetic people."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
import torch
from jaxtyping import Float, Int64, UInt8
from torch import nn
from torch.nn import functional

from ..avatar.diffusion import loss_weight, training_sigmas
from ..learning.layout import channels_last
from ..learning.training_log import Report
from .fitting import FitOptions, FitResult, fit
from .pictures import load_pictures
from .prior import NOISE, SMALL, CaptionedDiffusion, PriorConfig, tokens_of

_MEASURED: Final = 512
_SHEET_STEPS: Final = 10
_SENTENCES: Final = (
    "a young woman, front view", "an old man, front view", "a boy, front view",
    "a woman, smiling, front view", "an angry man, front view", "a man with beard, front view",
    "a woman with glasses, front view", "a man with sunglasses, front view",
    "a woman with long blond hair", "a bald man", "dark skin, woman", "a man, lit from the left",
    "a man, lit from the right", "a woman, facing left", "a man with a hat", "surprised woman",
)  # fmt: skip
"""What the sheet shows."""


@dataclass(frozen=True)
class PriorOptions(FitOptions):
    """One training of the prior.

    Attributes:
        sizes: of the network.
        silent: share of the pictures of which nothing is said (for guidance).
        said: share of a picture's properties that is said of the others, on average.
    """

    batch: int = 32
    learning_rate: float = 1e-3
    weight_decay: float = 0.0
    average_decay: float = 0.999
    warmup_steps: int = 200
    sizes: PriorConfig = field(default_factory=lambda: SMALL)
    silent: float = 0.12
    said: float = 0.55


class _PriorTask:
    kind = "prior"

    def __init__(self, options: PriorOptions, device: torch.device) -> None:
        self._options, self._device = options, device
        self._pictures = load_pictures(options.data, held_out=False)
        self._held_out = load_pictures(options.data, held_out=True)
        self._tokens = self._pictures.tokens()
        self.network = CaptionedDiffusion(options.sizes).to(device)
        channels_last(self.network)

    def _batch(self, index: Int64[np.ndarray, " b"], held_out: bool) -> torch.Tensor:
        pictures = self._held_out if held_out else self._pictures
        side = self._options.sizes.side
        images = pictures.batch(index)[0]
        if images.shape[-1] > side:
            images = functional.interpolate(images, (side, side), mode="area")
        return images.to(self._device)

    def terms(self, rng: np.random.Generator, batch: int) -> dict[str, torch.Tensor]:
        """Weighted squared error of the denoiser."""
        index = rng.integers(0, len(self._pictures.images), batch)
        tokens = thinned(self._tokens[index], self._options.said, self._options.silent, rng)
        generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
        return {"loss": self._loss(self._batch(index, False), tokens, generator, self.network)}

    def _loss(
        self,
        images: Float[torch.Tensor, "b 3 s s"],
        tokens: Int64[np.ndarray, "b t"],
        generator: torch.Generator,
        network: nn.Module,
    ) -> torch.Tensor:
        sigma = training_sigmas(NOISE, len(images), generator).to(self._device)
        noise = torch.randn(images.shape, generator=generator).to(self._device)
        noisy = images + sigma[:, None, None, None] * noise
        with self._options.cast():
            found = network(noisy, sigma, torch.from_numpy(tokens).to(self._device))
        error = (found.float() - images).square().mean((1, 2, 3))
        return (loss_weight(sigma, NOISE.sigma_data) * error).mean()

    def measure(self, average: nn.Module) -> dict[str, float]:
        """The loss on held-out people with their words, and with nothing said."""
        rng = np.random.default_rng(0)
        count = min(_MEASURED, len(self._held_out.images))
        index = rng.choice(len(self._held_out.images), count, False)
        said = self._held_out.tokens()[index]
        figures = {}
        for name, tokens in (("loss_with_words", said), ("loss_without", np.zeros_like(said))):
            generator = torch.Generator().manual_seed(0)
            losses = [
                float(
                    self._loss(
                        self._batch(index[i : i + 64], True), tokens[i : i + 64], generator, average
                    )
                )
                for i in range(0, count, 64)
            ]
            figures[name] = float(np.mean(losses))
        return figures

    def sheet(self, average: nn.Module) -> UInt8[np.ndarray, "H W 3"]:
        """Two samples of each of some sentences."""
        assert isinstance(average, CaptionedDiffusion)
        tokens = tokens_of([text for text in _SENTENCES for _ in range(2)], self._device)
        made = average.sample(tokens, steps=_SHEET_STEPS)
        pictures = ((made.cpu().numpy() + 1) * 127.5).round().astype(np.uint8)
        pictures = pictures.transpose(0, 2, 3, 1)[..., ::-1]
        cells = []
        for k, text in enumerate(_SENTENCES):
            strip = np.concatenate(list(pictures[2 * k : 2 * k + 2]), 1)
            strip = cv2.resize(strip, (192, 96), interpolation=cv2.INTER_NEAREST)
            note = np.full((16, 192, 3), 255, np.uint8)
            cv2.putText(note, text, (3, 12), cv2.FONT_HERSHEY_SIMPLEX, 0.36, (0, 0, 0), 1)
            cells.append(np.concatenate([note, strip]))
        rows = [np.concatenate(cells[i : i + 4], 1) for i in range(0, len(cells), 4)]
        return np.concatenate(rows)

    def write(self, path: Path, average: nn.Module, facts: Mapping[str, Any]) -> None:
        """The averaged network."""
        assert isinstance(average, CaptionedDiffusion)
        average.save(path, {**facts, "data": "synthetic"})


def thinned(
    tokens: Int64[np.ndarray, "b t"], said: float, silent: float, rng: np.random.Generator
) -> Int64[np.ndarray, "b t"]:
    """Some of each picture's tokens, as sentences say more or less; of some pictures none."""
    share = rng.beta(1.5, 1.5 * (1 - said) / said, (len(tokens), 1))
    kept = rng.random(tokens.shape) < share
    kept &= rng.random((len(tokens), 1)) >= silent
    return np.where(kept, tokens, 0)


def train(options: PriorOptions, report: Report | None = None) -> FitResult:
    """Train the prior; ``out/weights.safetensors`` is what the portrait reads.

    Raises:
        InputError: the data or the checkpoint cannot be used.
        OutputError: ``out`` cannot be written, or holds a training that is not to be resumed.
    """
    return fit(partial(_PriorTask, options), options, report)
