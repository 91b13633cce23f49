"""The regressor in 8-bit integers: it says much the same, and each layer rounds once."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from mien.models.errors import InputError

pytest.importorskip("torch")
pytest.importorskip("onnx")

import onnx
from onnx import numpy_helper

from mien.models.regressor.export import offset_log_variance, save_onnx
from mien.models.regressor.network import NetworkConfig, Pooling
from mien.models.regressor.quantise import equalise, quantise

from .tiny_regressor import random_network, smooth_crops


def exported(folder: Path, pooling: Pooling = "weighted") -> Path:
    path = folder / "regressor.onnx"
    save_onnx(random_network(NetworkConfig(0.25, pooling)), path)
    return path


def outputs_of(path: Path, crops: np.ndarray) -> list[np.ndarray]:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return [np.asarray(output) for output in session.run(None, {"crops": crops})]


def constants(model: onnx.ModelProto) -> dict[str, np.ndarray]:
    return {value.name: numpy_helper.to_array(value) for value in model.graph.initializer}


@pytest.mark.parametrize("pooling", ["weighted", "average"])
def test_it_takes_any_batch_and_says_much_the_same(pooling: Pooling, tmp_path: Path) -> None:
    path, crops = exported(tmp_path, pooling), smooth_crops(4, 24)
    quantise(path, tmp_path / "int8.onnx", crops)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["int8.onnx", "regressor.onnx"]
    whole, eight = outputs_of(path, crops), outputs_of(tmp_path / "int8.onnx", crops)
    alone = outputs_of(tmp_path / "int8.onnx", crops[:1])
    for exact, found, single in zip(whole, eight, alone, strict=True):
        assert found.shape == exact.shape
        np.testing.assert_allclose(found[:1], single, atol=1e-3)
    spread = whole[0].std(axis=0).mean()
    # Random weights suffer more than trained ones, whose landmarks mien export measures.
    assert np.abs(whole[0] - eight[0]).mean() < 0.85 * spread
    # Variances can be calibrated afterwards, as in the network in single precision.
    offset_log_variance(tmp_path / "int8.onnx", np.ones(62))
    moved = outputs_of(tmp_path / "int8.onnx", crops)
    np.testing.assert_allclose(moved[1], eight[1] + 1, atol=1e-4)
    with pytest.raises(InputError, match="no crop"):
        quantise(path, tmp_path / "none.onnx", crops[:0])


def test_each_layer_rounds_once(tmp_path: Path) -> None:
    """Between two layers in eight bits lies one rounding, whose saturation is the ReLU."""
    path = exported(tmp_path)
    quantise(path, path, smooth_crops(4, 8))
    nodes = onnx.load(path).graph.node
    makers = {name: node for node in nodes for name in node.output}
    readers = {name: node for node in nodes for name in node.input}
    eight = [
        node
        for node in nodes
        if node.op_type == "Conv" and makers[node.input[0]].op_type == "DequantizeLinear"
    ]
    assert [node.name for node in eight] == [f"conv{number}" for number in range(2, 26)]
    for node, following in pairwise(eight):
        rounding = readers[node.output[0]]
        back = makers[following.input[0]]
        assert (rounding.op_type, back.op_type) == ("QuantizeLinear", "DequantizeLinear")
        assert back.input[0] == rounding.output[0]


@pytest.mark.parametrize("pooling", ["weighted", "average"])
def test_equal_channels_change_nothing_that_is_said(pooling: Pooling, tmp_path: Path) -> None:
    path, crops = exported(tmp_path, pooling), smooth_crops(5, 20)
    model = onnx.load(path)
    before = constants(model)
    equalise(model, crops[:8])
    after = constants(model)
    onnx.save(model, tmp_path / "equal.onnx")
    assert any(np.abs(after[name] / value - 1).max() > 0.5 for name, value in before.items()
               if name.startswith("conv") and value.all())  # fmt: skip
    exact, found = outputs_of(path, crops), outputs_of(tmp_path / "equal.onnx", crops)
    for one, other in zip(exact, found, strict=True):
        np.testing.assert_allclose(other, one, rtol=1e-3, atol=1e-4 * np.abs(one).max())


def test_equal_channels_need_fewer_bits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A channel that speaks a hundred times as loudly as the others drowns none of them."""
    path, crops = exported(tmp_path), smooth_crops(5, 20)
    model = onnx.load(path)
    values = {value.name: value for value in model.graph.initializer}
    for name, factor in {"conv4.weight": 100.0, "conv4.bias": 100.0, "conv5.weight": 0.01}.items():
        array = numpy_helper.to_array(values[name]).copy()
        array[3] *= np.float32(factor)
        values[name].CopyFrom(numpy_helper.from_array(array, name))
    onnx.save(model, path)
    quantise(path, tmp_path / "int8.onnx", crops)
    monkeypatch.setattr("mien.models.regressor.quantise.equalise", lambda model, crops: None)
    quantise(path, tmp_path / "unequal.onnx", crops)
    whole, eight, unequal = (
        outputs_of(tmp_path / name, crops)[0]
        for name in ("regressor.onnx", "int8.onnx", "unequal.onnx")
    )
    assert np.abs(eight - whole).mean() < 0.8 * np.abs(unequal - whole).mean()
