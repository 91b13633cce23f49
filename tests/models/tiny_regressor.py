"""Small regressors: of random weights as after a training, and one that was trained a little."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from mien.models.regressor.network import FaceNetwork, NetworkConfig
from mien.models.regressor.train import train_regressor
from mien.models.regressor.train_config import TrainConfig
from mien.models.synthetic.shards import Labels

WriteShard = Callable[[Path, int, int], Labels]


def smooth_crops(seed: int, count: int) -> np.ndarray:
    """Pictures of blots (count, 120, 120, 3), which reach the last layers as noise does not."""
    rng = np.random.default_rng(seed)
    coarse = torch.from_numpy(rng.uniform(0, 255, (count, 3, 6, 6)))
    fine = nn.functional.interpolate(coarse, (120, 120), mode="bicubic").clamp(0, 255)
    return fine.permute(0, 2, 3, 1).contiguous().numpy().astype(np.uint8)


def whitening(seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    mean, std = rng.normal(0, 10, 62), rng.uniform(0.5, 12, 62)
    return mean.astype(np.float32), std.astype(np.float32)


def random_network(config: NetworkConfig) -> FaceNetwork:
    """Weights as after training: normalisation and heads far from their start."""
    torch.manual_seed(1)
    network = FaceNetwork(config)
    network.set_whitening(*whitening(1))
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = 0.5  # a few batches settle it
                module.weight.uniform_(0.3, 1.5)
                module.bias.normal_(0, 0.3)
                module.weight[0], module.bias[0] = 0.0, -0.5  # a channel that died
        for seed in range(5):
            network(torch.from_numpy(smooth_crops(seed, 12)))
        for layer in network.children():
            if isinstance(layer, nn.Linear):
                layer.weight.normal_(0, 0.3)
                layer.bias.normal_(0, 0.3)
    return network.eval()


def said(network: FaceNetwork, crops: np.ndarray) -> list[np.ndarray]:
    """Parameters by the scale of :func:`random_network`, log-variance in units, the rest."""
    _, std = whitening(1)
    with torch.inference_mode():
        output = network(torch.from_numpy(crops))
        params = network.denormalised(output.params).numpy() / std
        log_variance = output.log_variance + 2 * network.param_std.log()
    return [params, log_variance.numpy(), output.blendshapes.numpy(), output.presence.numpy()]


@pytest.fixture(scope="module")
def trained(
    tmp_path_factory: pytest.TempPathFactory, write_shard: WriteShard, face_model_path: Path
) -> TrainConfig:
    """A training that has learned two small shards; its checkpoint lies in ``out``."""
    folder = tmp_path_factory.mktemp("trained")
    shards = folder / "shards"
    shards.mkdir()
    for number in range(2):
        write_shard(shards, number, 33)
    config = TrainConfig(
        shards=shards,
        out=folder / "out",
        face_model=face_model_path,
        images=960,
        network=NetworkConfig(0.15),
        batch=16,
        warmup_images=16,
        average_decay=0.9,
        validation_shards=1,
    )
    train_regressor(config)
    return config


def last_validation(out: Path) -> dict[str, Any]:
    lines = (out / "log.jsonl").read_text("utf-8").splitlines()
    return json.loads(lines[-1])["validation"]
