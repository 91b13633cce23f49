"""Trains the identity embedder with ArcFace's margin on synthetic people."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from jaxtyping import Float, Int64, UInt8
from torch import nn

from ..learning.training_log import Report
from .convnet import ConvnetConfig
from .fitting import FitOptions, FitResult, fit
from .identity import DEFAULT, ArcFaceHead, IdentityEmbedder
from .pictures import Pictures, Spoiling, load_pictures, spoil

_MARGIN_STEPS: Final = 1500
"""Steps over which the margin grows to its full size: a full one at once does not converge."""
_MEASURED: Final = 1200


@dataclass(frozen=True)
class IdentityOptions(FitOptions):
    """One training of the embedder.

    Attributes:
        network: sizes of its trunk.
        scale: s of ArcFace.
        margin: m of ArcFace, radians.
        spoiling: what is done to the pictures.
    """

    learning_rate: float = 3e-3
    network: ConvnetConfig = field(default_factory=lambda: DEFAULT)
    scale: float = 24.0
    margin: float = 0.3
    spoiling: Spoiling = field(default_factory=Spoiling)


class _Learner(nn.Module):
    steps: torch.Tensor

    def __init__(self, options: IdentityOptions, persons: int) -> None:
        super().__init__()
        self.embedder = IdentityEmbedder(options.network)
        self.head = ArcFaceHead(persons, options.scale, options.margin)
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))


class _IdentityTask:
    kind = "identity"

    def __init__(self, options: IdentityOptions, device: torch.device) -> None:
        self._options, self._device = options, device
        self._pictures = load_pictures(options.data, held_out=False)
        self._held_out = load_pictures(options.data, held_out=True)
        self.persons = len(self._pictures.numbers)
        self.network = _Learner(options, self.persons).to(device)

    def terms(self, rng: np.random.Generator, batch: int) -> dict[str, torch.Tensor]:
        """Cross-entropy with the margin."""
        index = rng.integers(0, len(self._pictures.images), batch)
        images, masks = self._pictures.batch(index)
        images = spoil(images, masks, self._options.spoiling, rng).to(self._device)
        if rng.random() < 0.5:
            images = images.flip(3)
        person = torch.from_numpy(self._pictures.person[index]).to(self._device)
        network = self.network
        margin = self._options.margin * min(1.0, float(network.steps) / _MARGIN_STEPS)
        network.steps += 1
        with self._options.cast():
            found = network.embedder(images)
        loss, cosine = network.head(found.float(), person, margin)
        right = (cosine.argmax(1) == person).float().mean()
        return {"loss": loss, "accuracy": right}

    def measure(self, average: nn.Module) -> dict[str, float]:
        """Cosines of same and of different people, and how well they are told apart."""
        assert isinstance(average, _Learner)
        return _separation(self._held_out, average.embedder, self._device)

    def sheet(self, average: nn.Module) -> UInt8[np.ndarray, "H W 3"]:
        """Held-out people: the most alike strangers side by side, and the least alike selves."""
        assert isinstance(average, _Learner)
        rng = np.random.default_rng(1)
        index = rng.choice(len(self._held_out.images), min(400, len(self._held_out.images)), False)
        found = embedded(self._held_out, index, average.embedder, self._device)
        cosine = (found @ found.T).cpu().numpy()
        same = self._held_out.person[index][:, None] == self._held_out.person[index][None]
        strangers = np.where(same, -2.0, cosine)
        selves = np.where(same & ~np.eye(len(index), dtype=bool), cosine, 2.0)
        rows = []
        for table, worst in ((strangers, -strangers), (selves, selves)):
            order = np.argsort(worst, axis=None)[: 2 * 20 : 2]
            pairs = np.stack(np.unravel_index(order, table.shape), 1)
            tiles = [np.concatenate(self._held_out.images[index[pair]], 0) for pair in pairs]
            rows.append(np.concatenate(tiles, 1))
        return np.concatenate(rows, 0)

    def write(self, path: Path, average: nn.Module, facts: Mapping[str, Any]) -> None:
        """The embedder alone."""
        assert isinstance(average, _Learner)
        average.embedder.save(path, {**facts, "persons": self.persons, "data": "synthetic"})


def embedded(
    pictures: Pictures,
    index: Int64[np.ndarray, " n"],
    embedder: IdentityEmbedder,
    device: torch.device,
) -> Float[torch.Tensor, "n 512"]:
    """Unit vectors of some pictures."""
    with torch.no_grad():
        parts = [
            embedder(pictures.batch(index[i : i + 256])[0].to(device))
            for i in range(0, len(index), 256)
        ]
    return torch.cat(parts)


def _separation(
    pictures: Pictures, embedder: IdentityEmbedder, device: torch.device
) -> dict[str, float]:
    rng = np.random.default_rng(0)
    count = min(_MEASURED, len(pictures.images))
    index = np.sort(rng.choice(len(pictures.images), count, False))
    found = embedded(pictures, index, embedder, device)
    cosine = (found @ found.T).cpu().numpy()
    same = pictures.person[index][:, None] == pictures.person[index][None]
    # Two pictures of one look share glasses, hat and light: only other looks count.
    other_look = pictures.look[index][:, None] != pictures.look[index][None]
    selves, strangers = cosine[same & other_look], cosine[~same]
    return {
        "same_cosine": float(selves.mean()) if len(selves) else 0.0,
        "other_cosine": float(strangers.mean()) if len(strangers) else 0.0,
        "other_cosine_95": float(np.quantile(strangers, 0.95)) if len(strangers) else 0.0,
        "area_under_roc": area_under_roc(selves, strangers),
    }


def area_under_roc(positive: Float[np.ndarray, " p"], negative: Float[np.ndarray, " n"]) -> float:
    """Chance that one of the first is larger than one of the second."""
    if not len(positive) or not len(negative):
        return 0.5
    ordered = np.sort(negative)
    below = np.searchsorted(ordered, positive, "left") + np.searchsorted(ordered, positive, "right")
    return float(below.mean() / (2 * len(ordered)))


def train(options: IdentityOptions, report: Report | None = None) -> FitResult:
    """Train the embedder; ``out/weights.safetensors`` is what the portrait reads.

    Raises:
        InputError: the data or the checkpoint cannot be used.
        OutputError: ``out`` cannot be written, or holds a training that is not to be resumed.
    """
    return fit(partial(_IdentityTask, options), options, report)
