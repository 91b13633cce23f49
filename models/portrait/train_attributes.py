"""Trains the attribute classifiers on synthetic people; they serve evaluation alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
import torch
from jaxtyping import UInt8
from torch import nn
from torch.nn import functional

from ..learning.training_log import Report
from .attributes import DEFAULT, JUDGED, AttributeClassifier
from .convnet import ConvnetConfig
from .fitting import FitOptions, FitResult, fit
from .pictures import Pictures, Spoiling, load_pictures, spoil
from .vocabulary import SLOTS

_MEASURED: Final = 1500
_SHOWN: Final = ("age", "gender", "expression", "glasses", "hair colour", "light")
_MIRRORED: Final = {"light": {0: 1, 1: 0}}
"""Values that change places when a picture is mirrored."""


@dataclass(frozen=True)
class AttributeOptions(FitOptions):
    """One training of the classifiers.

    Attributes:
        network: sizes of the trunk.
        smoothing: share of the label that is spread over all values.
        spoiling: what is done to the pictures.
    """

    learning_rate: float = 2e-3
    network: ConvnetConfig = field(default_factory=lambda: DEFAULT)
    smoothing: float = 0.05
    spoiling: Spoiling = field(default_factory=lambda: Spoiling(tone=0.03))


class _AttributeTask:
    kind = "attributes"

    def __init__(self, options: AttributeOptions, device: torch.device) -> None:
        self._options, self._device = options, device
        self._pictures = load_pictures(options.data, held_out=False)
        self._held_out = load_pictures(options.data, held_out=True)
        self._labels = {slot: self._pictures.of_slot(slot) for slot in JUDGED}
        self.network = AttributeClassifier(options.network).to(device)

    def terms(self, rng: np.random.Generator, batch: int) -> dict[str, torch.Tensor]:
        """Cross-entropy of every slot that is said."""
        index = rng.integers(0, len(self._pictures.images), batch)
        images, masks = self._pictures.batch(index)
        images = spoil(images, masks, self._options.spoiling, rng).to(self._device)
        mirrored = rng.random() < 0.5
        with self._options.cast():
            logits = self.network(images.flip(3) if mirrored else images)
        losses = []
        for slot in JUDGED:
            label = self._labels[slot][index]
            if mirrored and slot in _MIRRORED:
                label = np.array([_MIRRORED[slot].get(v, v) for v in label.tolist()])
            if (label < 0).all():
                continue
            target = torch.from_numpy(label).to(self._device)
            losses.append(
                functional.cross_entropy(
                    logits[slot], target, ignore_index=-1,
                    label_smoothing=self._options.smoothing,
                )
            )  # fmt: skip
        return {"loss": torch.stack(losses).mean()}

    def measure(self, average: nn.Module) -> dict[str, float]:
        """Balanced accuracy of each slot on held-out people."""
        assert isinstance(average, AttributeClassifier)
        count = min(_MEASURED, len(self._held_out.images))
        index = np.sort(np.random.default_rng(0).choice(len(self._held_out.images), count, False))
        guesses = _guesses(self._held_out, index, average, self._device)
        figures = {}
        for slot in JUDGED:
            true = self._held_out.of_slot(slot)[index]
            hits = [(guesses[slot][true == v] == v).mean() for v in np.unique(true[true >= 0])]
            figures[slot] = float(np.mean(hits)) if hits else 0.0
        return {"mean": float(np.mean(list(figures.values()))), **figures}

    def sheet(self, average: nn.Module) -> UInt8[np.ndarray, "H W 3"]:
        """Held-out pictures with what is seen in them; wrong words in red."""
        assert isinstance(average, AttributeClassifier)
        step = max(1, len(self._held_out.images) // 32)
        index = np.arange(0, len(self._held_out.images), step)[:32]
        guesses = _guesses(self._held_out, index, average, self._device)
        tiles = []
        for k, i in enumerate(index):
            tile = cv2.resize(self._held_out.images[i], (128, 128))
            note = np.full((12 * len(_SHOWN) + 4, 128, 3), 255, np.uint8)
            for row, slot in enumerate(_SHOWN):
                said = SLOTS[slot][int(guesses[slot][k])]
                right = self._held_out.words[i].get(slot) in (said, None)
                colour = (0, 0, 0) if right else (0, 0, 220)
                place = (2, 11 + 12 * row)
                cv2.putText(note, said, place, cv2.FONT_HERSHEY_SIMPLEX, 0.34, colour, 1)
            tiles.append(np.concatenate([tile, note]))
        rows = [np.concatenate(tiles[i : i + 8], 1) for i in range(0, len(tiles) // 8 * 8, 8)]
        return np.concatenate(rows or [np.concatenate(tiles, 1)])

    def write(self, path: Path, average: nn.Module, facts: Mapping[str, Any]) -> None:
        """The averaged network."""
        assert isinstance(average, AttributeClassifier)
        average.save(path, {**facts, "data": "synthetic"})


def _guesses(
    pictures: Pictures, index: np.ndarray, classifier: AttributeClassifier, device: torch.device
) -> dict[str, np.ndarray]:
    parts: dict[str, list[np.ndarray]] = {slot: [] for slot in JUDGED}
    with torch.no_grad():
        for i in range(0, len(index), 256):
            logits = classifier(pictures.batch(index[i : i + 256])[0].to(device))
            for slot in JUDGED:
                parts[slot].append(logits[slot].argmax(1).cpu().numpy())
    return {slot: np.concatenate(found) for slot, found in parts.items()}


def train(options: AttributeOptions, report: Report | None = None) -> FitResult:
    """Train the classifiers; ``out/weights.safetensors`` is what the evaluation reads.

    Raises:
        InputError: the data or the checkpoint cannot be used.
        OutputError: ``out`` cannot be written, or holds a training that is not to be resumed.
    """
    return fit(partial(_AttributeTask, options), options, report)
