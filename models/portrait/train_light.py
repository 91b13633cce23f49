"""Trains the light estimator on synthetic people, whose light is known exactly."""

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

from ..learning.training_log import Report
from . import sh
from .convnet import ConvnetConfig
from .fitting import FitOptions, FitResult, fit
from .light import DEFAULT, MIRRORED, LightEstimator, light_distance
from .pictures import Pictures, Spoiling, load_pictures, spoil

_CLEAR: Final = 0.35
"""Share of the first order in the light from which it has a direction to speak of."""
_MEASURED: Final = 1500
_SHOWN: Final = 32


@dataclass(frozen=True)
class LightOptions(FitOptions):
    """One training of the light estimator.

    Attributes:
        network: sizes of its trunk.
        spoiling: what is done to the pictures; their brightness hardly, since it is the light's.
    """

    learning_rate: float = 2e-3
    network: ConvnetConfig = field(default_factory=lambda: DEFAULT)
    spoiling: Spoiling = field(default_factory=lambda: Spoiling(tone=0.02))


class _LightTask:
    kind = "light"

    def __init__(self, options: LightOptions, device: torch.device) -> None:
        self._options, self._device = options, device
        self._pictures = load_pictures(options.data, held_out=False)
        self._held_out = load_pictures(options.data, held_out=True)
        self.network = LightEstimator(options.network).to(device)
        self.network.mean.copy_(torch.from_numpy(self._pictures.light.mean(0)))
        self.network.scale.copy_(torch.from_numpy(self._pictures.light.std(0)))

    def terms(self, rng: np.random.Generator, batch: int) -> dict[str, torch.Tensor]:
        """Mean squared error of the shading."""
        index = rng.integers(0, len(self._pictures.images), batch)
        images, masks = self._pictures.batch(index)
        images = spoil(images, masks, self._options.spoiling, rng).to(self._device)
        light = torch.from_numpy(self._pictures.light[index]).to(self._device)
        if rng.random() < 0.5:
            images, light = images.flip(3), mirrored_light(light)
        with self._options.cast():
            found = self.network(images)
        loss = light_distance(found, light).mean()
        return {"loss": loss}

    def measure(self, average: nn.Module) -> dict[str, float]:
        """Errors on held-out people, beside those of the mean light."""
        assert isinstance(average, LightEstimator)
        index = _some(self._held_out)
        found = estimated(self._held_out, index, average, self._device)
        return light_errors(found, self._held_out.light[index], average.mean.cpu().numpy())

    def sheet(self, average: nn.Module) -> UInt8[np.ndarray, "H W 3"]:
        """Held-out pictures, and below each a sphere in the true and in the estimated light."""
        assert isinstance(average, LightEstimator)
        some = _some(self._held_out)
        index = some[:: max(1, len(some) // _SHOWN)][:_SHOWN]
        found = estimated(self._held_out, index, average, self._device)
        columns = [
            np.concatenate(
                [
                    self._held_out.images[i],
                    lit_sphere(self._held_out.light[i], self._held_out.size),
                    lit_sphere(estimate, self._held_out.size),
                ]
            )
            for i, estimate in zip(index, found, strict=True)
        ]
        rows = [columns[i : i + 16] for i in range(0, len(columns) // 16 * 16, 16)] or [columns]
        return np.concatenate([np.concatenate(row, 1) for row in rows])

    def write(self, path: Path, average: nn.Module, facts: Mapping[str, Any]) -> None:
        """The averaged network."""
        assert isinstance(average, LightEstimator)
        average.save(path, {**facts, "data": "synthetic"})


def mirrored_light(light: Float[torch.Tensor, "b 9"]) -> Float[torch.Tensor, "b 9"]:
    """The light of mirrored pictures."""
    sign = torch.ones(9, device=light.device)
    sign[list(MIRRORED)] = -1
    return light * sign


def estimated(
    pictures: Pictures,
    index: Int64[np.ndarray, " n"],
    estimator: LightEstimator,
    device: torch.device,
) -> Float[np.ndarray, "n 9"]:
    """Coefficients of some pictures."""
    with torch.no_grad():
        parts = [
            estimator(pictures.batch(index[i : i + 256])[0].to(device)).cpu().numpy()
            for i in range(0, len(index), 256)
        ]
    return np.concatenate(parts)


def light_errors(
    found: Float[np.ndarray, "n 9"], true: Float[np.ndarray, "n 9"], mean: Float[np.ndarray, " 9"]
) -> dict[str, float]:
    """Root mean squared error of the shading and of its direction, and those of the mean light."""

    def shading_error(guess: Float[np.ndarray, "n 9"]) -> float:
        return float(np.sqrt(((guess - true) ** 2 @ (sh.COSINE**2 / (4 * np.pi))).mean()))

    clear = np.linalg.norm(true[:, 1:4], axis=1) > _CLEAR * true[:, 0]
    cosine = (sh.dominant_direction(found[clear]) * sh.dominant_direction(true[clear])).sum(1)
    degrees = np.degrees(np.arccos(np.clip(cosine, -1, 1)))
    return {
        "shading_error": shading_error(found),
        "shading_error_of_mean": shading_error(np.broadcast_to(mean, true.shape)),
        "direction_median_deg": float(np.median(degrees)) if len(degrees) else 0.0,
        "direction_mean_deg": float(degrees.mean()) if len(degrees) else 0.0,
    }


def lit_sphere(light: Float[np.ndarray, " 9"], size: int) -> UInt8[np.ndarray, "S S 3"]:
    """A white matt sphere in a light, seen along z, BGR over black."""
    steps = (np.arange(size) + 0.5) * 2 / size - 1
    x, y = np.meshgrid(steps, -steps)
    inside = x * x + y * y < 0.9
    z = np.sqrt(np.maximum(1 - x * x - y * y, 0))
    normals = np.stack([x, y, z], -1).reshape(-1, 3)
    linear = np.clip(sh.shading(light, normals).reshape(size, size), 0, 1) * inside
    grey = np.rint(255 * linear ** (1 / 2.2)).astype(np.uint8)
    return np.asarray(cv2.cvtColor(grey, cv2.COLOR_GRAY2BGR), np.uint8)


def _some(pictures: Pictures) -> Int64[np.ndarray, " n"]:
    rng = np.random.default_rng(0)
    count = min(_MEASURED, len(pictures.images))
    return np.sort(rng.choice(len(pictures.images), count, False))


def train(options: LightOptions, report: Report | None = None) -> FitResult:
    """Train the estimator; ``out/weights.safetensors`` is what the portrait reads.

    Raises:
        InputError: the data or the checkpoint cannot be used.
        OutputError: ``out`` cannot be written, or holds a training that is not to be resumed.
    """
    return fit(partial(_LightTask, options), options, report)
