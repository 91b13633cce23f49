"""3DDFA_V2's networks: exports old and new are read alike, and every other one is refused."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mien.models.errors import InputError
from mien.models.tddfa.basel import read_basel_face, read_statistics
from mien.models.tddfa.network import check_runs, read_network, wrap

torch = pytest.importorskip("torch", reason="reads checkpoints (extra: train)")
onnx = pytest.importorskip("onnx", reason="writes networks (extra: train)")
FLOAT = onnx.TensorProto.FLOAT
IDENTITY, NOTHING = np.eye(62), np.zeros(62)


@pytest.fixture(scope="module")
def checkpoint(tddfa_files: Path) -> Path:
    return tddfa_files / "mb05_120x120.pth"


def exported(checkpoint: Path, change: Callable[[Any], object] | None = None) -> Any:
    """As PyTorch 1 exported it: batch 1, the weights among the inputs, the features reshaped."""
    model = read_network(checkpoint)
    graph = model.graph
    for value in (graph.input[0], graph.output[0]):
        value.type.tensor_type.shape.dim[0].dim_value = 1
    for tensor in graph.initializer:
        graph.input.append(
            onnx.helper.make_tensor_value_info(tensor.name, FLOAT, list(tensor.dims))
        )
    flatten = next(node for node in graph.node if node.op_type == "Flatten")
    flatten.CopyFrom(onnx.helper.make_node("Reshape", ["pool", "flat"], ["features"]))
    shape = onnx.numpy_helper.from_array(np.array([1, -1], np.int64), "flat")
    constant = onnx.helper.make_node("Constant", [], ["flat"], value=shape)
    graph.node.insert(0, constant)
    onnx.checker.check_model(model)
    if change is not None:
        change(model)
    return model


def test_an_onnx_file_is_read_as_its_checkpoint(checkpoint: Path, tmp_path: Path) -> None:
    path = tmp_path / "mb05_120x120.onnx"
    path.write_bytes(exported(checkpoint).SerializeToString())
    runtime = pytest.importorskip("onnxruntime")
    crops = np.random.default_rng(1).integers(0, 256, (3, 120, 120, 3), np.uint8)
    said = []
    for source in (checkpoint, path):
        model = wrap(read_network(source), IDENTITY, NOTHING)
        onnx.checker.check_model(model, full_check=True)
        check_runs(model, "it")
        session = runtime.InferenceSession(model.SerializeToString())
        said.append(session.run(None, {"crops": crops})[0])
    assert said[0].shape == (3, 62)
    assert said[0].std() > 0.1
    np.testing.assert_allclose(said[0], said[1], atol=1e-5)


def axis(value: Any, number: int) -> Any:
    return value.type.tensor_type.shape.dim[number]


def external(model: Any) -> None:
    model.graph.initializer[3].data_location = onnx.TensorProto.EXTERNAL


def external_inside(model: Any) -> None:
    tensor = onnx.helper.make_tensor("hidden", FLOAT, [1], [0.0])
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", "/etc/passwd"
    model.graph.node.append(onnx.helper.make_node("Constant", [], ["unused"], value=tensor))


BAD_ONNX: dict[str, tuple[Callable[[Any], object], str]] = {
    "external data": (external, "in another file"),
    "external data of a node": (external_inside, "in another file"),
    "one channel": (lambda m: setattr(axis(m.graph.input[0], 1), "dim_value", 1), "(1, 1, 120"),
    "224 px": (lambda m: setattr(axis(m.graph.input[0], 2), "dim_value", 224), "(1, 3, 224"),
    "141 outputs": (lambda m: setattr(axis(m.graph.output[0], 1), "dim_value", 141), "141"),
    "foreign operators": (lambda m: setattr(m.graph.node[1], "domain", "x"), "operators"),
    "an unknown set": (lambda m: setattr(m.opset_import[0], "version", 99), "99"),
    "a missing node": (lambda m: m.graph.node.pop(5), "does not run"),
    "no output": (lambda m: m.graph.output.pop(), "gives"),
}


@pytest.mark.parametrize("name", BAD_ONNX)
def test_another_onnx_file_is_refused(checkpoint: Path, tmp_path: Path, name: str) -> None:
    change, reason = BAD_ONNX[name]
    path = tmp_path / "bad.onnx"
    path.write_bytes(exported(checkpoint, change).SerializeToString())
    with pytest.raises(InputError, match=r"bad\.onnx") as caught:
        check_runs(wrap(read_network(path), IDENTITY, NOTHING), str(path))
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)


def zeros(name: str, *shape: int) -> Callable[[dict[str, Any]], object]:
    return lambda state: state.update({f"module.{name}": torch.zeros(*shape)})


BAD_CHECKPOINTS: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "four channels": (zeros("conv1.weight", 4, 4, 3, 3), "conv1.weight has shape (4, 4, 3, 3)"),
    "141 outputs": (zeros("fc.weight", 141, 128), "expected (62, 128)"),
    "another block": (zeros("dw3_1.conv_sep.weight", 16, 9, 1, 1), "dw3_1.conv_sep.weight"),
    "a missing weight": (lambda s: s.pop("module.dw6.bn_sep.bias"), "has no dw6.bn_sep.bias"),
    "not a number": (lambda s: s["module.fc.bias"].fill_(float("nan")), "not finite"),
}


@pytest.mark.parametrize("name", BAD_CHECKPOINTS)
def test_another_checkpoint_is_refused(checkpoint: Path, tmp_path: Path, name: str) -> None:
    change, reason = BAD_CHECKPOINTS[name]
    state = dict(torch.load(checkpoint, weights_only=True)["state_dict"])
    change(state)
    torch.save({"state_dict": state}, tmp_path / "bad.pth")
    with pytest.raises(InputError, match=r"bad\.pth") as caught:
        read_network(tmp_path / "bad.pth")
    assert reason in str(caught.value)


def test_names_without_the_prefix_and_the_other_last_layer(
    checkpoint: Path, tmp_path: Path
) -> None:
    state = torch.load(checkpoint, weights_only=True)["state_dict"]
    renamed = {n.removeprefix("module.").replace("fc.", "fc_param."): v for n, v in state.items()}
    torch.save(renamed, tmp_path / "plain.pth")
    assert read_network(tmp_path / "plain.pth") == read_network(checkpoint)


@pytest.mark.parametrize("data", [b"", b"text", pickle.dumps({"state_dict": print})])
@pytest.mark.parametrize("suffix", ["pth", "onnx"])
def test_damaged_networks(tmp_path: Path, data: bytes, suffix: str) -> None:
    path = tmp_path / f"bad.{suffix}"
    path.write_bytes(data)
    with pytest.raises(InputError, match=rf"bad\.{suffix}: .*expected") as caught:
        read_network(path)
    assert "\n" not in str(caught.value)


def test_a_checkpoint_that_runs_something_does_not(tmp_path: Path) -> None:
    class Asks:
        def __reduce__(self) -> Any:
            return Path.touch, (tmp_path / "ran",)

    torch.save({"state_dict": {"conv1.weight": Asks()}}, tmp_path / "bad.pth")
    with pytest.raises(InputError, match="more than tensors"):
        read_network(tmp_path / "bad.pth")
    assert not (tmp_path / "ran").exists()


def pickled(path: Path, content: object) -> Path:
    path.write_bytes(pickle.dumps(content))
    return path


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"w_shp": np.ones((6729, 30), np.float32)}, "w_shp has shape (6729, 30)"),
        ({"w_exp": np.ones((12, 10), np.float32)}, "w_exp has shape (12, 10)"),
        ({"u": np.ones((7, 1), np.float32)}, "u has shape (7, 1)"),
        ({"u": np.full((6729, 1), np.nan)}, "not finite"),
        ({"keypoints": np.arange(204) * 2}, "keypoints"),
        ({"keypoints": np.arange(204) + 6729}, "keypoints"),
        ({"keypoints": np.arange(68)}, "keypoints"),
        ({"u": None}, "has no array 'u'"),
    ],
)
def test_another_face_model_is_refused(
    tddfa_files: Path, tmp_path: Path, change: dict[str, Any], reason: str
) -> None:
    bfm = pickle.loads((tddfa_files / "bfm_noneck_v3.pkl").read_bytes())
    path = pickled(tmp_path / "bfm.pkl", bfm | change)
    with pytest.raises(InputError, match=r"bfm\.pkl") as caught:
        read_basel_face(path, tddfa_files / "tri.pkl")
    assert reason in str(caught.value)


def test_triangles_are_those_of_the_mesh(tddfa_files: Path, tmp_path: Path) -> None:
    bfm = tddfa_files / "bfm_noneck_v3.pkl"
    with pytest.raises(InputError, match=r"0 to 53214.*tri\.pkl has the right ones"):
        read_basel_face(bfm, None)
    for wrong in (np.array([[0, 1, 9999]]), np.zeros((2, 2), int)):
        with pytest.raises(InputError, match=r"t\.pkl (names|has)"):
            read_basel_face(bfm, pickled(tmp_path / "t.pkl", wrong))
    slim = pickle.loads(bfm.read_bytes()) | {"tri": np.array([[0, 1], [1, 2], [2, 3]])}
    face = read_basel_face(pickled(tmp_path / "slim.pkl", slim), None)
    assert face.triangles.tolist() == [[0, 1, 2], [1, 2, 3]]


def test_statistics_are_62_and_positive(tddfa_files: Path, tmp_path: Path) -> None:
    good = pickle.loads((tddfa_files / "param_mean_std_62d_120x120.pkl").read_bytes())
    for change, reason in (
        ({"mean": good["mean"][:61]}, "61 means"),
        ({"std": -good["std"]}, "positive"),
        ({"std": "one"}, "no array 'std'"),
    ):
        with pytest.raises(InputError, match=reason):
            read_statistics(pickled(tmp_path / "s.pkl", good | change))
