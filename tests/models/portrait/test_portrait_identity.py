"""The identity embedder, ArcFace's margin and alignment, a user's ONNX network."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("onnx")

import onnx
import torch
from onnx import TensorProto, helper, numpy_helper

from mien.models.errors import InputError
from mien.models.portrait.convnet import ConvnetConfig
from mien.models.portrait.identity import (
    ARCFACE_POINTS,
    ArcFaceHead,
    IdentityEmbedder,
    OnnxArcFace,
    aligned,
    arcface_alignment,
)
from mien.models.portrait.onnx_torch import OnnxModule
from mien.models.portrait.train_identity import IdentityOptions, area_under_roc, train

SIZES = ConvnetConfig(side=16, margin=0.1, widths=(8, 16), blocks=1)


def test_embeddings_are_unit_and_pass_gradients() -> None:
    network = IdentityEmbedder(SIZES).eval()
    images = torch.randn(3, 3, 64, 64, requires_grad=True)
    found = network(images)
    assert found.shape == (3, 512)
    torch.testing.assert_close(found.norm(dim=1), torch.ones(3))
    found[:, 0].sum().backward()
    assert images.grad is not None
    assert float(images.grad.abs().max()) > 0


def test_weights_keep(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = IdentityEmbedder(SIZES).eval()
    network.save(tmp_path / "identity.safetensors", {"steps": 1})
    again = IdentityEmbedder.load(tmp_path / "identity.safetensors")
    images = torch.randn(2, 3, 40, 40)
    torch.testing.assert_close(network(images), again(images))
    with pytest.raises(InputError, match="no such file"):
        IdentityEmbedder.load(tmp_path / "other.safetensors")


def test_the_margin_asks_for_more() -> None:
    torch.manual_seed(0)
    head = ArcFaceHead(4, scale=10.0, margin=0.4).requires_grad_(False)
    embedded = torch.nn.functional.normalize(torch.randn(6, 512), dim=1)
    person = torch.tensor([0, 1, 2, 3, 0, 1])
    losses = [float(head(embedded, person, margin)[0]) for margin in (0.0, 0.2, 0.4)]
    assert losses == sorted(losses)
    assert losses[0] < losses[-1]
    # By hand: the true cosine turned by the margin.
    cosine = head(embedded, person, 0.0)[1]
    logits = 10 * cosine.clone()
    for row, k in enumerate(person.tolist()):
        logits[row, k] = 10 * torch.cos(torch.arccos(cosine[row, k]) + 0.4)
    expected = torch.nn.functional.cross_entropy(logits, person)
    torch.testing.assert_close(head(embedded, person)[0], expected, atol=1e-4, rtol=1e-4)


def test_the_alignment_brings_the_points_home() -> None:
    angle, scale = 0.3, 1.7
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    five = ARCFACE_POINTS @ turn.T + [12.0, -5.0]
    matrix = arcface_alignment(five)
    np.testing.assert_allclose(five @ matrix[:, :2].T + matrix[:, 2], ARCFACE_POINTS, atol=1e-9)
    with pytest.raises(InputError, match="coincide"):
        arcface_alignment(np.ones((5, 2)))


def test_an_aligned_picture_shows_a_point_where_it_belongs() -> None:
    five = ARCFACE_POINTS * 0.5 + [8.0, 3.0]
    image = -torch.ones(1, 3, 80, 80)
    x, y = np.rint(five[2]).astype(int)
    image[:, :, y, x] = 1.0
    crop = aligned(image, arcface_alignment(five))
    place = int(crop[0, 0].argmax())
    expected = ARCFACE_POINTS[2] + 2 * (np.array([x, y]) - five[2])
    assert abs(place % 112 - expected[0]) <= 1.0
    assert abs(place // 112 - expected[1]) <= 1.0
    straight = aligned(torch.randn(1, 3, 112, 112), np.eye(3)[:2])
    assert straight.shape == (1, 3, 112, 112)


def _arcface_file(path: Path, operator: str = "PRelu") -> Path:
    rng = np.random.default_rng(0)
    values = {
        "w1": rng.normal(0, 0.2, (8, 3, 3, 3)), "b1": rng.normal(0, 0.1, 8),
        "slope": np.full((8, 1, 1), 0.25), "scale": rng.uniform(0.5, 1.5, 8),
        "shift": rng.normal(0, 0.1, 8), "mean": rng.normal(0, 0.1, 8),
        "variance": rng.uniform(0.5, 1.5, 8), "w2": rng.normal(0, 0.1, (8, 8, 3, 3)),
        "dense": rng.normal(0, 0.02, (512, 8 * 14 * 14)), "bias": rng.normal(0, 0.02, 512),
    }  # fmt: skip
    nodes = [
        helper.make_node("Conv", ["input", "w1", "b1"], ["a"], strides=[4, 4], pads=[1, 1, 1, 1],
                         kernel_shape=[3, 3]),
        helper.make_node(operator, ["a", "slope"] if operator == "PRelu" else ["a"], ["p"]),
        helper.make_node("BatchNormalization", ["p", "scale", "shift", "mean", "variance"], ["n"]),
        helper.make_node("Conv", ["n", "w2"], ["c"], pads=[1, 1, 1, 1], kernel_shape=[3, 3]),
        helper.make_node("Add", ["c", "n"], ["s"]),
        helper.make_node("MaxPool", ["s"], ["m"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Flatten", ["m"], ["f"]),
        helper.make_node("Gemm", ["f", "dense", "bias"], ["output"], transB=1),
    ]  # fmt: skip
    graph = helper.make_graph(
        nodes,
        "arcface",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["b", 3, 112, 112])],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, ["b", 512])],
        [numpy_helper.from_array(v.astype(np.float32), name) for name, v in values.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, str(path))
    return path


def test_a_rebuilt_graph_is_onnxruntimes_and_has_gradients(tmp_path: Path) -> None:
    import onnxruntime

    path = _arcface_file(tmp_path / "arcface.onnx")
    images = np.random.default_rng(1).normal(size=(2, 3, 112, 112)).astype(np.float32)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    (expected,) = session.run(None, {"input": images})
    module = OnnxModule.load(path)
    inputs = torch.from_numpy(images).requires_grad_(True)
    found = module(inputs)
    np.testing.assert_allclose(found.detach().numpy(), np.asarray(expected), rtol=1e-3, atol=1e-4)
    found.sum().backward()
    assert inputs.grad is not None
    assert float(inputs.grad.abs().max()) > 0
    embedder = OnnxArcFace(path, ARCFACE_POINTS / 112)
    unit = embedder(torch.from_numpy(images))
    torch.testing.assert_close(unit.norm(dim=1), torch.ones(2))


def test_other_networks_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="operators Softplus"):
        OnnxModule.load(_arcface_file(tmp_path / "odd.onnx", "Softplus"))
    (tmp_path / "text.onnx").write_text("no network")
    for name in ("text.onnx", "absent.onnx"):
        with pytest.raises(InputError, match=name):
            OnnxModule.load(tmp_path / name)


def test_area_under_roc() -> None:
    assert area_under_roc(np.array([2.0, 3.0]), np.array([0.0, 1.0])) == 1.0
    assert area_under_roc(np.array([1.0]), np.array([1.0])) == 0.5
    assert area_under_roc(np.array([0.0, 2.0]), np.array([1.0])) == 0.5


def test_training_resumes(portrait_folder: Path, tmp_path: Path) -> None:
    def options(steps: int, resume: bool = False, out: str = "run") -> IdentityOptions:
        return IdentityOptions(
            data=portrait_folder, out=tmp_path / out, steps=steps, batch=8, network=SIZES,
            validate_steps=4, log_steps=2, bfloat16=False, device="cpu", resume=resume,
        )  # fmt: skip

    lines: list[dict[str, object]] = []
    train(options(3), lines.append)
    result = train(options(6, resume=True), lines.append)
    assert result.steps == 6
    assert any("validation" in line for line in lines)
    assert {p.name for p in (tmp_path / "run").iterdir()} >= {
        "checkpoint.pt", "log.jsonl", "curves.png", "sheet.png", "weights.safetensors",
    }  # fmt: skip
    embedder = IdentityEmbedder.load(result.weights)
    assert embedder(torch.zeros(1, 3, 32, 32)).shape == (1, 512)
    assert 0 <= result.figures["area_under_roc"] <= 1
