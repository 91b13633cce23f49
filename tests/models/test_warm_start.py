"""A training begins from exported weights with all that they know."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mien.models.errors import InputError
from mien.models.face.bundle import BundleInfo

pytest.importorskip("torch")
pytest.importorskip("onnx")

import onnx
from onnx import numpy_helper
from torch import nn

from mien.models.regressor.checkpoint import Checkpoint
from mien.models.regressor.export import export_regressor, make_bundle, offset_log_variance
from mien.models.regressor.export import save_onnx as save
from mien.models.regressor.network import NetworkConfig, Pooling
from mien.models.regressor.quantise import quantise
from mien.models.regressor.train import train_regressor
from mien.models.regressor.train_config import TrainConfig
from mien.models.regressor.warm_start import network_of_export, read_export

from .tiny_regressor import last_validation, random_network, said, smooth_crops, trained, whitening

__all__ = ["trained"]  # a fixture

INFO = BundleInfo("tiny", "0.0.1", "Apache-2.0", "a test", "nobody", "mien train regressor")


@pytest.mark.parametrize(
    "config", [NetworkConfig(0.25, "weighted"), NetworkConfig(0.1, "average")], ids=str
)
def test_the_export_s_words_are_the_network_s(config: NetworkConfig, tmp_path: Path) -> None:
    original = random_network(config)
    save(original, tmp_path / "regressor.onnx")
    offset = np.linspace(-0.5, 0.5, 62)
    offset_log_variance(tmp_path / "regressor.onnx", offset)
    weights = read_export(tmp_path / "regressor.onnx")
    assert weights.config == config
    restored = network_of_export(weights, smooth_crops(6, 70), *whitening(2), landmark_head=True)
    assert restored.config == replace(config, landmark_head=True)
    np.testing.assert_array_equal(restored.param_std, whitening(2)[1])
    crops = smooth_crops(7, 5)
    expected, found = said(original, crops), said(restored, crops)
    # The clamp of the log-variance is counted from the whitening: compared within both.
    whitened = [expected[1] - 2 * np.log(whitening(seed)[1]) for seed in (1, 2)]
    inside = np.all([(values > -11) & (values < 7) for values in whitened], axis=0)
    expected[1] = expected[1] + offset
    assert inside.mean() > 0.9
    expected[1], found[1] = expected[1][inside], found[1][inside]
    for mine, theirs in zip(found, expected, strict=True):
        assert theirs.std(0).mean() > 0.02  # it tells pictures apart
        np.testing.assert_allclose(mine, theirs, atol=5e-4, rtol=1e-4)


@pytest.mark.parametrize("pooling", ["weighted", "average"])
def test_it_trains_as_it_evaluates(pooling: Pooling, tmp_path: Path) -> None:
    """Statistics of a batch like the one that the normalisation came from change nothing."""
    save(random_network(NetworkConfig(0.25, pooling)), tmp_path / "regressor.onnx")
    crops = smooth_crops(8, 8)  # few: torch sums a batch in single precision
    weights = read_export(tmp_path / "regressor.onnx")
    restored = network_of_export(weights, crops, *whitening(2))
    expected = said(restored, crops)
    variances = []
    for layer in restored.trunk:
        if isinstance(layer, nn.Conv2d):
            layer.register_forward_hook(
                lambda _layer, _inputs, output: variances.append(
                    output.var((0, 2, 3), correction=0).numpy()
                )
            )
    found = said(restored.train(), crops)
    for mine, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(mine, theirs, atol=0.01, rtol=0.01)
    variance = np.concatenate(variances)
    alive = variance[variance > 1e-3]
    assert len(alive) > 0.8 * len(variance)
    np.testing.assert_allclose(alive, 1.0, atol=0.1)


@pytest.mark.parametrize("kind", ["network", "bundle"])
def test_training_goes_on_from_an_export(trained: TrainConfig, kind: str, tmp_path: Path) -> None:
    checkpoint = trained.out / "checkpoint.pt"
    if kind == "bundle":
        init = tmp_path / "bundle"
        make_bundle(init, checkpoint, trained.face_model, INFO)
    else:
        init = export_regressor(checkpoint, tmp_path / "mine.onnx")
    config = replace(
        trained, out=tmp_path / "out", init=init, images=16, learning_rate=1e-9,
        network=NetworkConfig(0.5, landmark_head=True), command="later",
    )  # fmt: skip
    result = train_regressor(config)
    before, after = last_validation(trained.out), last_validation(config.out)
    # One step moves the statistics of the normalisation a little, of so small a batch.
    assert after["nme_percent"] == pytest.approx(before["nme_percent"], rel=0.1)
    assert after["rotation_deg"] == pytest.approx(before["rotation_deg"], rel=0.1)
    assert after["blendshape_error"] == pytest.approx(before["blendshape_error"], rel=0.05)
    begun = json.loads((config.out / "log.jsonl").read_text("utf-8").splitlines()[0])["begun"]
    assert begun["init"] == str(init)
    last = Checkpoint.load(result.checkpoint)
    assert last.network == NetworkConfig(0.15, landmark_head=True)
    assert [origin.command for origin in last.history] == ["later"]


def test_what_cannot_be_begun_from_is_said_in_one_line(
    trained: TrainConfig, tmp_path: Path
) -> None:
    good = export_regressor(trained.out / "checkpoint.pt", tmp_path / "good.onnx")
    crops = smooth_crops(9, 16)
    quantise(good, tmp_path / "int8.onnx", crops)
    (tmp_path / "junk.onnx").write_bytes(b"\xff\xff no network")
    (tmp_path / "empty.onnx").write_bytes(b"")
    (tmp_path / "folder").mkdir()

    def spoilt(name: str, change: Callable[[np.ndarray], np.ndarray]) -> None:
        model = onnx.load(good)
        for value in model.graph.initializer:
            if value.name == "conv3.weight":
                changed = change(numpy_helper.to_array(value))
                value.CopyFrom(numpy_helper.from_array(changed, value.name))
        onnx.save(model, tmp_path / name)

    spoilt("nan.onnx", lambda weight: np.full_like(weight, np.nan))
    spoilt("narrow.onnx", lambda weight: weight[1:])
    spoilt("half.onnx", lambda weight: weight.astype(np.float16))
    for name, reason in {
        "gone.onnx": "No such file",
        "junk.onnx": "not an ONNX file",
        "empty.onnx": "not exported by mien",
        "int8.onnx": "8-bit integers",
        "nan.onnx": "conv3.weight is not finite",
        "narrow.onnx": "not exported by mien",
        "half.onnx": "not exported by mien",
    }.items():
        with pytest.raises(InputError, match=f"{name}: .*{reason}") as caught:
            read_export(tmp_path / name)
        assert "\n" not in str(caught.value)
    for name, reason in {
        "gone.onnx": "No such file",
        "folder": "no bundle",
        "gone": "no such file",
    }.items():
        with pytest.raises(InputError, match=f"{name}: .*{reason}") as caught:
            train_regressor(replace(trained, out=tmp_path / "out", init=tmp_path / name))
        assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match="no crop"):
        network_of_export(read_export(good), crops[:0], *whitening(2))
