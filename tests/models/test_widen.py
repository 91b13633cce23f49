"""A regressor made wider says what the narrow one said, and trains on from there."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mien.models.errors import InputError

torch = pytest.importorskip("torch")
pytest.importorskip("onnx")

from mien.models.regressor.checkpoint import Checkpoint  # noqa: E402
from mien.models.regressor.export import export_regressor, save_onnx  # noqa: E402
from mien.models.regressor.network import NetworkConfig, Pooling  # noqa: E402
from mien.models.regressor.train import train_regressor  # noqa: E402
from mien.models.regressor.train_config import TrainConfig  # noqa: E402
from mien.models.regressor.warm_start import network_of_export, read_export  # noqa: E402
from mien.models.regressor.widen import widened  # noqa: E402

from .tiny_regressor import (  # noqa: E402
    random_network,
    said,
    smooth_crops,
    trained,
    whitening,
)

__all__ = ["trained"]  # a fixture


@pytest.mark.parametrize("pooling", ["weighted", "average"])
@pytest.mark.parametrize("width", [0.25, 0.37, 0.5, 0.6])
def test_wider_it_says_the_same(pooling: Pooling, width: float, tmp_path: Path) -> None:
    save_onnx(random_network(NetworkConfig(0.25, pooling)), tmp_path / "regressor.onnx")
    narrow = read_export(tmp_path / "regressor.onnx")
    wide = widened(narrow, width, seed=3)
    assert wide.config == NetworkConfig(width, pooling)
    crops = smooth_crops(6, 40)
    expected = said(network_of_export(narrow, crops, *whitening(1)), crops[:5])
    network = network_of_export(wide, crops, *whitening(1))
    for mine, theirs in zip(said(network, crops[:5]), expected, strict=True):
        np.testing.assert_allclose(mine, theirs, atol=2e-3, rtol=1e-3)


def test_copies_of_a_channel_learn_different_things(tmp_path: Path) -> None:
    save_onnx(random_network(NetworkConfig(0.25)), tmp_path / "regressor.onnx")
    wide = widened(read_export(tmp_path / "regressor.onnx"), 0.5)
    crops = smooth_crops(6, 16)
    network = network_of_export(wide, crops, *whitening(1)).train()
    network(torch.from_numpy(crops)).params.square().sum().backward()
    stem = network.get_parameter("trunk.0.weight")
    first, weights = stem.grad, stem.detach()
    assert first is not None
    # Channel 3 and the copy of it are the same now, and will not be after a step.
    twin = 8 + int((weights[8:] - weights[3]).flatten(1).norm(dim=1).argmin())
    torch.testing.assert_close(weights[twin], weights[3])
    assert (first[twin] - first[3]).norm() > 0.05 * first[3].norm()


def test_a_training_begins_with_a_wider_network(trained: TrainConfig, tmp_path: Path) -> None:
    init = export_regressor(trained.out / "checkpoint.pt", tmp_path / "narrow.onnx")
    config = replace(
        trained, out=tmp_path / "out", init=init, widen=0.3, images=16, learning_rate=1e-9
    )
    train_regressor(config)
    narrow, wide = (
        Checkpoint.load(folder / "checkpoint.pt").averaged_network()
        for folder in (trained.out, config.out)
    )
    crops = torch.from_numpy(smooth_crops(4, 16))
    with torch.inference_mode():
        expected, found = (n.denormalised(n(crops).params) for n in (narrow, wide))
    # One step moves the statistics of the normalisation a little, of so small a batch.
    off = (found - expected) / narrow.param_std
    apart = (expected - expected.mean(0)) / narrow.param_std
    assert off.square().mean().sqrt() < 0.2 * apart.square().mean().sqrt()
    begun = json.loads((config.out / "log.jsonl").read_text("utf-8").splitlines()[0])["begun"]
    assert begun["network"]["width"] == 0.3


def test_what_cannot_be_widened_is_said_in_one_line(trained: TrainConfig, tmp_path: Path) -> None:
    checkpoint = trained.out / "checkpoint.pt"
    init = export_regressor(checkpoint, tmp_path / "narrow.onnx")
    with pytest.raises(InputError, match=r"width 0\.15 cannot be widened to 0\.1; expected"):
        train_regressor(replace(trained, out=tmp_path / "out", init=init, widen=0.1))
    with pytest.raises(InputError, match="only an exported network can be widened"):
        train_regressor(replace(trained, out=tmp_path / "out", init=checkpoint, widen=0.3))
    with pytest.raises(InputError, match="nothing to widen without init"):
        replace(trained, widen=0.3)


def test_the_width_that_a_checkpoint_has_may_be_said(trained: TrainConfig, tmp_path: Path) -> None:
    init, out = trained.out / "checkpoint.pt", tmp_path / "out"
    train_regressor(replace(trained, out=out, init=init, widen=0.15, images=16))
    assert (out / "checkpoint.pt").is_file()
