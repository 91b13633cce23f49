"""The onnxruntime regressor: its contract with the file, batches, and damage."""

from pathlib import Path

import numpy as np
import pytest

from mien.models.errors import BundleError, InputError
from mien.stream.regression import Regression, Regressor


def write_network(path: Path, side: int = 120) -> Path:
    """A network of the right form that reports the mean of each crop's first channel."""
    onnx = pytest.importorskip("onnx", reason="writes a network (extra: train)")
    helper, kinds = onnx.helper, onnx.TensorProto
    nodes = [helper.make_node("Cast", ["crops"], ["x"], to=kinds.FLOAT)]
    nodes.append(helper.make_node("ReduceMean", ["x"], ["m"], axes=[1, 2, 3], keepdims=0))
    nodes.append(helper.make_node("Unsqueeze", ["m"], ["column"], axes=[1]))
    outputs, weights = [], []
    for name, width in {"params": 62, "log_variance": 62, "blendshapes": 52, "presence": 1}.items():
        weights.append(helper.make_tensor(name + "_w", kinds.FLOAT, [1, width], range(width)))
        if name == "presence":
            nodes.append(helper.make_node("Sigmoid", ["column"], [name]))
        else:
            nodes.append(helper.make_node("MatMul", ["column", name + "_w"], [name]))
        outputs.append(helper.make_tensor_value_info(name, kinds.FLOAT, ["B", width]))
    inputs = [helper.make_tensor_value_info("crops", kinds.UINT8, ["B", side, side, 3])]
    graph = helper.make_graph(nodes, "fake", inputs, outputs, weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 11)], ir_version=8)
    onnx.save(model, str(path))
    return path


def test_batch_equals_loop_and_the_parts_are_views(tmp_path: Path) -> None:
    regressor = Regressor(write_network(tmp_path / "net.onnx"))
    crops = np.random.default_rng(0).integers(0, 4, (3, 120, 120, 3), dtype=np.uint8)
    crops[1] *= 3
    batch = regressor.run(crops)
    assert batch.presence is not None
    for i in range(3):
        one = regressor.run(crops[i : i + 1])
        assert one.presence is not None
        np.testing.assert_allclose(one.params[0], batch.params[i], rtol=1e-6)
        np.testing.assert_allclose(one.presence[0], batch.presence[i], rtol=1e-6)
    assert batch.presence.shape == (3,)
    assert batch.pose.shape == (3, 3, 4)
    np.testing.assert_array_equal(batch.pose[:, 1, 0], batch.params[:, 4])
    np.testing.assert_array_equal(batch.shape[:, 0], batch.params[:, 12])
    np.testing.assert_array_equal(batch.expression[:, 0], batch.params[:, 52])


def test_what_was_said_of_one_crop_stays(tmp_path: Path) -> None:
    regressor = Regressor(write_network(tmp_path / "net.onnx"))
    crops = np.full((1, 120, 120, 3), 5, np.uint8)
    first = regressor.run(crops)
    before = first.params.copy()
    second = regressor.run(crops * 2)
    np.testing.assert_array_equal(first.params, before)
    np.testing.assert_allclose(second.params, 2 * before)


def test_no_crop_no_face(tmp_path: Path) -> None:
    regressor = Regressor(write_network(tmp_path / "net.onnx"))
    empty = regressor.run(np.zeros((0, 120, 120, 3), np.uint8))
    assert isinstance(empty, Regression)
    assert empty.params.shape == (0, 62)


def test_another_network_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="expected"):
        Regressor(write_network(tmp_path / "net.onnx", side=112))
    with pytest.raises(BundleError, match=r"missing\.onnx"):
        Regressor(tmp_path / "missing.onnx")
    with pytest.raises(InputError, match="threads"):
        Regressor(tmp_path / "net.onnx", threads=0)
    (tmp_path / "text.onnx").write_text("no network")
    with pytest.raises(BundleError, match=r"text\.onnx"):
        Regressor(tmp_path / "text.onnx")
