"""Weights on disk: mien's own, and the published checkpoint's names."""

import argparse
import json
import pickle
from pathlib import Path
from typing import Literal

import pytest

torch = pytest.importorskip("torch", reason="the networks need torch")
pytest.importorskip("safetensors", reason="weights are safetensors")

from mien.models.errors import InputError  # noqa: E402
from mien.models.pifuhd.config import PifuhdConfig, preset  # noqa: E402
from mien.models.pifuhd.network import Pifuhd  # noqa: E402
from mien.models.pifuhd.weights import (  # noqa: E402
    load_weights,
    read_facts,
    save_weights,
    shipped,
)


def _norm(name: str, width: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": (width,), f"{name}.bias": (width,)}


def _block(name: str, inputs: int, outputs: int) -> dict[str, tuple[int, ...]]:
    half, quarter = outputs // 2, outputs // 4
    shapes: dict[str, tuple[int, ...]] = {
        f"{name}.conv1.weight": (half, inputs, 3, 3),
        f"{name}.conv2.weight": (quarter, half, 3, 3),
        f"{name}.conv3.weight": (quarter, quarter, 3, 3),
    }
    for norm, width in (("bn1", inputs), ("bn2", half), ("bn3", quarter), ("bn4", inputs)):
        shapes |= _norm(f"{name}.{norm}", width)
    if inputs != outputs:
        shapes |= _norm(f"{name}.downsample.0", inputs)
        shapes[f"{name}.downsample.2.weight"] = (outputs, inputs, 1, 1)
    return shapes


def _layer(name: str, *shape: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": shape, f"{name}.bias": shape[:1]}


def _encoder(name: str, stacks: int, depth: int, features: int) -> dict[str, tuple[int, ...]]:
    shapes = _layer(f"{name}.conv1", 64, 9, 7, 7) | _norm(f"{name}.bn1", 64)
    shapes |= _block(f"{name}.conv2", 64, 128) | _block(f"{name}.conv3", 128, 128)
    shapes |= _block(f"{name}.conv4", 128, 256)
    for s in range(stacks):
        blocks = [f"m{s}.b{k}_{level}" for level in range(1, depth + 1) for k in (1, 2, 3)]
        for block in (*blocks, f"m{s}.b2_plus_1", f"top_m_{s}"):
            shapes |= _block(f"{name}.{block}", 256, 256)
        shapes |= _layer(f"{name}.conv_last{s}", 256, 256, 1, 1) | _norm(f"{name}.bn_end{s}", 256)
        shapes |= _layer(f"{name}.l{s}", features, 256, 1, 1)
        if s < stacks - 1:
            shapes |= _layer(f"{name}.bl{s}", 256, 256, 1, 1)
            shapes |= _layer(f"{name}.al{s}", 256, features, 1, 1)
    return shapes


def _generator(name: str) -> dict[str, tuple[int, ...]]:
    shapes = _layer(f"{name}.model.1", 64, 3, 7, 7)
    for i in range(4):
        shapes |= _layer(f"{name}.model.{4 + 3 * i}", 128 << i, 64 << i, 3, 3)
    for i in range(9):
        for k in (1, 5):
            shapes |= _layer(f"{name}.model.{16 + i}.conv_block.{k}", 1024, 1024, 3, 3)
    for i in range(4):
        up = f"{name}.model.{25 + 3 * i}"
        shapes |= {f"{up}.weight": (1024 >> i, 512 >> i, 3, 3), f"{up}.bias": (512 >> i,)}
    return shapes | _layer(f"{name}.model.38", 3, 64, 7, 7)


def _published_shapes() -> dict[str, tuple[int, ...]]:
    """Names and shapes in ``pifuhd.pt``, written out apart from the networks here."""
    shapes = _encoder("netG.image_filter", 4, 2, 256) | _encoder("image_filter", 1, 4, 16)
    coarse = [(1024, 257), (512, 1024), (256, 512 + 257), (128, 256 + 257), (1, 128 + 257)]
    fine = [(512, 272), (256, 512 + 272), (128, 256 + 272), (1, 128)]
    for name, layers in (("netG.mlp", coarse), ("mlp", fine)):
        for i, (outputs, inputs) in enumerate(layers):
            shapes |= _layer(f"{name}.filters.{i}", outputs, inputs, 1)
    return shapes | _generator("netG.netF") | _generator("netG.netB")


def _write_published(path: Path, shapes: dict[str, tuple[int, ...]], extra: object = None) -> Path:
    """As the published file is laid out; each tensor is one number, spread."""
    weights = {n: torch.full((1,), 0.01).expand(shape) for n, shape in shapes.items()}
    options = argparse.Namespace(loadSize=512, mlp_dim=[257, 1024], norm="group", name=None)
    content = {"opt": options, "opt_netG": options, "model_state_dict": weights, "more": extra}
    torch.save(content, path)
    return path


def test_the_published_names_are_these_networks_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    with torch.device("meta"):
        ours = {n: tuple(v.shape) for n, v in Pifuhd(preset("paper")).state_dict().items()}
    assert ours == _published_shapes()
    path = _write_published(tmp_path / "pifuhd.pt", _published_shapes())
    with pytest.raises(InputError, match="762 repeating fewer numbers"):
        load_weights(path)
    # Written out it would have 1.5 GB.
    monkeypatch.setattr("mien.models.learning.tensor_file._is_repeated", lambda _: False)
    model = load_weights(path)
    assert model.config == preset("paper")
    assert not model.training
    for name in ("netG.netB.model.16.conv_block.5.weight", "mlp.filters.3.bias"):
        assert model.get_parameter(name).flatten()[-1].item() == pytest.approx(0.01)


def test_a_partial_or_other_checkpoint_is_refused_in_one_line(tmp_path: Path):
    shapes = _published_shapes()
    for i in range(3):
        del shapes[f"mlp.filters.{i}.bias"]
    shapes["mlp.norms.0.weight"] = (512,)
    shapes["netG.mlp.filters.0.weight"] = (1024, 256, 1)
    path = _write_published(tmp_path / "pifuhd.pt", shapes)
    with pytest.raises(InputError) as refused:
        load_weights(path)
    message = str(refused.value)
    assert "\n" not in message
    assert "3 missing: mlp.filters.0.bias, mlp.filters.1.bias" in message
    assert "1 unexpected: mlp.norms.0.weight" in message
    assert "netG.mlp.filters.0.weight (1024, 256, 1) for (1024, 257, 1)" in message


class _Trap:
    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return exec, ("raise SystemExit('ran')",)


def test_a_pickle_that_would_run_something_is_refused(tmp_path: Path):
    path = _write_published(tmp_path / "pifuhd.pt", {"a": (1,)}, _Trap())
    with pytest.raises(InputError, match="only tensors and plain containers"):
        load_weights(path)


@pytest.mark.parametrize("content", [b"", b"nonsense", pickle.dumps({"a": 1}), None])
def test_what_is_no_checkpoint_is_said(tmp_path: Path, content: bytes | None):
    for name in ("pifuhd.pt", "weights.safetensors"):
        path = tmp_path / name
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(InputError, match=str(path.name)):
            load_weights(path)


@pytest.mark.parametrize("half", [False, True])
def test_own_weights_come_back(tmp_path: Path, tiny: PifuhdConfig, half: bool):
    torch.manual_seed(0)
    model = Pifuhd(tiny).eval()
    path = tmp_path / "weights.safetensors"
    save_weights(path, model, {"subjects": 3, "figures": {"iou": 0.9}}, half=half)
    again = load_weights(path)
    assert again.config == tiny
    assert read_facts(path) == {"subjects": 3, "figures": {"iou": 0.9}}
    image, points = torch.rand(1, 3, 64, 64), torch.rand(1, 30, 3) - 0.5
    with torch.no_grad():
        before = model.occupancy(model.encode(image), points)
        after = again.occupancy(again.encode(image), points)
    torch.testing.assert_close(after, before, rtol=0, atol=5e-3 if half else 1e-6)


def test_weights_from_before_the_pose_are_read_as_they_were(tmp_path: Path, tiny: PifuhdConfig):
    from safetensors import safe_open
    from safetensors.torch import load_file, save_file

    torch.manual_seed(0)
    model = Pifuhd(tiny).eval()
    path = tmp_path / "weights.safetensors"
    save_weights(path, model, {})
    with safe_open(path, "pt") as file:
        about = file.metadata()
    config = json.loads(about["config"])
    for name in ("use_pose", "pose_waves"):
        del config[name]
    save_file(load_file(path), path, {**about, "config": json.dumps(config)})
    again = load_weights(path)
    assert again.config == tiny
    image, points = torch.rand(1, 3, 64, 64), torch.rand(1, 30, 3) - 0.5
    with torch.no_grad():
        before = model.occupancy(model.encode(image), points)
        after = again.occupancy(again.encode(image), points)
    assert torch.equal(before, after)


@pytest.mark.parametrize("subject", ["head", "body"])
def test_the_shipped_weights_are_read(subject: Literal["head", "body"]):
    model = load_weights(shipped(subject))
    with torch.no_grad():
        told = torch.eye(3, 4)[None] if subject == "head" else None
        features = model.encode(torch.zeros(1, 3, 256, 256), None, told)
        occupancy = model.occupancy(features, torch.zeros(1, 3, 3))
    assert occupancy.shape == (1, 3)


def test_weights_of_another_size_are_refused(tmp_path: Path, tiny: PifuhdConfig):
    from safetensors.torch import load_file, save_file

    path = tmp_path / "weights.safetensors"
    save_weights(path, Pifuhd(tiny), {})
    from safetensors import safe_open

    with safe_open(path, "pt") as file:
        about = file.metadata()
    tensors = load_file(path)
    del tensors["mlp.filters.0.bias"]
    save_file(tensors, path, about)
    with pytest.raises(InputError, match=r"1 missing: mlp\.filters\.0\.bias"):
        load_weights(path)
    save_file(tensors, path, {"format": "other"})
    with pytest.raises(InputError, match="not weights of PIFuHD"):
        load_weights(path)
