"""Networks, checkpoints and weights that once brought mien down, one kind of fault a test."""

from __future__ import annotations

import io
import json
import time
import zipfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from mien.models.errors import BundleError, InputError
from mien.models.onnx_wire import check_one_file
from mien.stream.onnx_session import open_session


def field(number: int, payload: bytes) -> bytes:
    return bytes([number << 3 | 2]) + len(payload).to_bytes(1, "big") + payload


def outside(location: bytes, keys: tuple[bytes, bytes] = (b"\x6a", b"\x70")) -> bytes:
    """A tensor that names another file, as ``onnx.proto`` has it: fields 13 and 14."""
    entry = field(1, b"location") + field(2, location)
    return field(8, b"w") + keys[0] + bytes([len(entry)]) + entry + keys[1] + b"\x01"


@pytest.mark.parametrize("location", [b"../w.bin", b"/etc/passwd", b"w.bin"])
def test_networks_that_keep_weights_in_other_files_are_refused(
    location: bytes, tmp_path: Path
) -> None:
    (tmp_path / "w.bin").write_bytes(b"\0" * 64)
    initializer = field(7, field(5, outside(location)))
    of_node = field(7, field(1, field(5, field(5, outside(location)))))
    of_branch = field(7, field(1, field(5, field(6, field(5, outside(location))))))
    for model in (initializer, of_node, of_branch):
        with pytest.raises(InputError, match="in another file"):
            check_one_file(model, "a.onnx")
        (tmp_path / "a.onnx").write_bytes(model)
        with pytest.raises(BundleError, match="in another file"):
            open_session(tmp_path / "a.onnx")
    with pytest.raises(BundleError, match="cannot be read"):
        open_session(tmp_path / "none.onnx")


def test_fields_that_protobuf_knows_by_the_lower_bits_of_their_number() -> None:
    beyond = (b"\xea\x80\x80\x80\x10", b"\xf0\x80\x80\x80\x10")  # 13 and 14 plus 2^29
    with pytest.raises(InputError, match="not an ONNX model: field 536870925"):
        check_one_file(field(7, field(5, outside(b"w.bin", beyond))), "a.onnx")


def test_entries_of_checkpoints_that_do_not_fit(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason="reads checkpoints (extra: train)")
    from mien.models.detector.checkpoint import DETECTOR_CHECKPOINT_FORMAT, DetectorCheckpoint
    from mien.models.pifuhd.checkpoint import CHECKPOINT_FORMAT as PART
    from mien.models.pifuhd.checkpoint import PartCheckpoint
    from mien.models.regressor.checkpoint import CHECKPOINT_FORMAT, Checkpoint

    path = tmp_path / "c.pt"
    network = {"width": 0.1, "pooling": "weighted", "landmark_head": False}
    odd: list[dict[str, Any]] = [
        {}, {"network": 3, "sampler": None}, {"network": {"x": 1}, "sampler": None},
        {"network": network, "sampler": None, "averaged": 3},
        {"network": network, "sampler": None, "averaged": {"a": torch.zeros(3)}},
        {"network": network, "sampler": None, "averaged": {"a": 3}}, {"sampler": 5},
        {"config": 3}, {"config": {"normal": 3}},
    ]  # fmt: skip
    for kind, load in (
        (CHECKPOINT_FORMAT, Checkpoint.load), (PART, PartCheckpoint.load),
        (DETECTOR_CHECKPOINT_FORMAT, DetectorCheckpoint.load),
    ):  # fmt: skip
        for entries in odd:
            torch.save({"format": kind, **entries}, path)
            with pytest.raises(InputError) as caught:
                load(path)
            assert "\n" not in str(caught.value)


def test_headers_of_networks_without_end(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="reads weights (extra: heavy)")
    from mien.models.pifuhd.config import PifuhdConfig, preset

    table = preset("small").as_dict()
    assert PifuhdConfig.from_dict(json.loads(json.dumps(table))) == preset("small")
    for place, name, value in (
        ("coarse", "stacks", 2**31), ("normal", "blocks", 10**9), ("normal", "filters", "x"),
        ("fine", "channels", -1), ("coarse_implicit", "hidden", [1, [2]]),
        ("coarse", "depth", 0.5), ("coarse_implicit", "hidden", 3), ("fine", "groups", 0),
        ("normal", "kernel", True), ("coarse_implicit", "embedding", 4),
    ):  # fmt: skip
        odd = json.loads(json.dumps(table))
        odd[place][name] = value
        with pytest.raises(InputError, match="PIFuHD"):
            PifuhdConfig.from_dict(odd)
    with pytest.raises(InputError, match="PIFuHD"):
        PifuhdConfig.from_dict({**table, "depth_waves": [1]})
    with pytest.raises(InputError, match="PIFuHD: depth_scale is 'x', expected a number"):
        PifuhdConfig.from_dict({**table, "depth_scale": "x"})


@pytest.mark.parametrize(
    "odd",
    [
        {"plane_size": None}, {"plane_size": 2**40}, {"z_dim": 0.5}, {"z_dim": True},
        {"super_channels": 3}, {"super_channels": [8] * 1000}, {"super_channels": [2**40]},
        {"near": "x"}, {"near": float("nan")}, {"clamp": []}, {"mapping_layers": 10**9},
        {"name": 3}, {"colour": 3}, {"far": 10**400},
    ],
)  # fmt: skip
def test_sizes_of_portraits_that_no_network_has(odd: dict[str, Any]) -> None:
    pytest.importorskip("torch", reason="reads weights (extra: heavy)")
    from mien.models.portrait.config import EG3D, SMALL, PortraitConfig

    for known in (SMALL, EG3D):
        plain = json.loads(json.dumps(asdict(known)))
        assert PortraitConfig.of_table(plain) == known
        with pytest.raises(InputError, match="generator: "):
            PortraitConfig.of_table({**plain, **odd})


def test_networks_larger_than_their_files_are_not_made(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="reads weights (extra: heavy)")
    pytest.importorskip("safetensors")
    from mien.models.portrait.convnet import ConvnetConfig
    from mien.models.portrait.light import LightEstimator
    from mien.models.portrait.weights import save_part

    path = tmp_path / "light.safetensors"
    network = LightEstimator(ConvnetConfig(side=8, widths=(4, 4, 4)))
    network.save(path, {})
    assert LightEstimator.load(path).trunk.config == network.trunk.config
    wide = {**network.trunk.config.table(), "widths": [65536, 65536], "blocks": 64}
    save_part(path, "light", network, wide, {})  # two terabytes of them
    with pytest.raises(InputError, match="not the weights of this network"):
        LightEstimator.load(path)


def test_numbers_that_a_file_repeats_are_refused(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason="reads weights (extra: heavy)")
    from mien.models.learning.tensor_file import check_state

    begun = time.process_time()
    state = {"w": torch.tensor(0.5).expand(1 << 16, 1 << 18)}  # 64 GB of them
    with pytest.raises(InputError, match="1 repeating fewer numbers: w"):
        check_state(tmp_path, "this", state, state)
    assert time.process_time() - begun < 1.0
    state = {"w": torch.tensor([[1.0, float("inf")], [0.0, 0.0]])}
    with pytest.raises(InputError, match="1 not finite: w"):
        check_state(tmp_path, "this", state, state)


def test_operators_of_two_lines_are_named_in_one(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="reads networks (extra: train)")
    onnx = pytest.importorskip("onnx", reason="reads networks (extra: train)")
    from mien.models.portrait.onnx_torch import OnnxModule

    node = onnx.helper.make_node("Two\nlines", ["x"], ["y"])
    ends = [onnx.helper.make_tensor_value_info(name, 1, [1]) for name in "xy"]
    graph = onnx.helper.make_graph([node], "g", ends[:1], ends[1:])
    path = tmp_path / "n.onnx"
    path.write_bytes(onnx.helper.make_model(graph).SerializeToString())
    with pytest.raises(InputError, match="Two lines"):
        OnnxModule.load(path)


def test_sizes_whose_names_are_no_text_are_told(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx", reason="reads networks (extra: train)")
    from mien.models.tddfa.network import read_network

    one = onnx.helper.make_tensor_value_info("x", 1, ["batch", 62])
    graph = onnx.helper.make_graph([onnx.helper.make_node("Relu", ["x"], ["y"])], "g", [one], [one])
    path = tmp_path / "n.onnx"
    sets = [onnx.helper.make_opsetid("", 17)]
    content = onnx.helper.make_model(graph, opset_imports=sets).SerializeToString()
    path.write_bytes(content.replace(b"batch", b"bat\xe3h"))
    with pytest.raises(InputError, match=r"takes 'x' \(b'bat\\xe3h', 62\); expected one of 3DDFA"):
        read_network(path)


def test_an_avatar_of_infinitely_many_objects(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="reads weights (extra: heavy)")
    pytest.importorskip("monai")
    from mien.models.avatar.config import avatar_preset
    from mien.models.avatar.weights import WEIGHTS_FORMAT, load_weights
    from mien.models.learning.tensor_file import write_tensors

    path = tmp_path / "a.safetensors"
    parts = '{"diffusion": null, "objects": 1e999, "encoder": true}'
    config = json.dumps(avatar_preset("small").as_dict())
    write_tensors(path, {}, {"format": WEIGHTS_FORMAT, "config": config, "parts": parts})
    with pytest.raises(InputError, match="header is damaged"):
        load_weights(path)


@pytest.mark.parametrize(
    ("name", "value", "accepted"),
    [
        ("latent_cells", 0, "a whole number from 1 to 65536"),
        ("latent_cells", 8.0, "a whole number"), ("cells", -32, "a whole number"),
        ("cells", True, "a whole number"), ("cells", 2**40, "a whole number"),
        ("blocks", 10**6, "a whole number from 1 to 64"), ("norm", "x", "one of batch, group"),
        ("attention", [8, 0.5], "of each a whole number"), ("clip", float("nan"), "a number"),
        ("widths", [[8, 8, 8]], "of each a list"), ("widths", [[8, 8]] * 99, "a list of 64"),
        ("shuffled", 1, "a bool"), ("betas", None, "a list"), ("learning_rate", "x", "a number"),
    ],
)  # fmt: skip
def test_sizes_of_avatars_that_no_network_has(name: str, value: Any, accepted: str) -> None:
    from mien.models.avatar.config import PRESETS, AvatarConfig, avatar_preset

    for preset in PRESETS:
        known = avatar_preset(preset)
        plain = json.loads(json.dumps(known.as_dict()))
        assert AvatarConfig.from_dict(plain) == known
        with pytest.raises(InputError, match=f"^avatar: {name} is .*, expected {accepted}"):
            AvatarConfig.from_dict({**plain, name: value})


def test_sizes_of_denoisers_and_key_points_that_no_network_has() -> None:
    pytest.importorskip("torch", reason="has networks (extra: heavy)")
    from mien.models.avatar.config import DiffusionConfig, diffusion_preset
    from mien.models.avatar.keypoints import KeypointConfig, keypoint_preset

    known = diffusion_preset("small")
    plain = json.loads(json.dumps(known.as_dict()))
    assert DiffusionConfig.from_dict(plain) == known
    points = json.loads(json.dumps(keypoint_preset("small").as_dict()))
    assert KeypointConfig.from_dict(points) == keypoint_preset("small")
    for name, value in (("groups", 0), ("p_mean", None), ("token_sets", [["blendshapes", 0]])):
        with pytest.raises(InputError, match=f"{name} is .*, expected"):
            DiffusionConfig.from_dict({**plain, name: value})
    for name, value in (("steps", 0.5), ("points", True), ("near_mm", -1), ("channels", [8.0])):
        with pytest.raises(InputError, match=f"{name} is .*, expected"):
            KeypointConfig.from_dict({**points, name: value})


def test_groups_that_divide_no_channels_of_a_pifuhd(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="reads weights (extra: heavy)")
    pytest.importorskip("safetensors")
    from mien.models.learning.tensor_file import write_tensors
    from mien.models.pifuhd.config import preset
    from mien.models.pifuhd.weights import WEIGHTS_FORMAT, load_weights

    table = json.loads(json.dumps(preset("small").as_dict()))
    table["coarse"]["stem"] = 1
    path = tmp_path / "p.safetensors"
    write_tensors(path, {}, {"format": WEIGHTS_FORMAT, "config": json.dumps(table)})
    with pytest.raises(InputError, match="header is damaged"):
        load_weights(path)


def torch_file(program: bytes, packed: bool = False) -> bytes:
    """What torch takes for one of its files, with a program of one's own in it."""
    out = io.BytesIO()
    form = zipfile.ZIP_DEFLATED if packed else zipfile.ZIP_STORED
    with zipfile.ZipFile(out, "w", form) as archive:
        archive.writestr("archive/DATA.pkl", program)
        archive.writestr("archive/version", b"3\n")
    return out.getvalue()


OVER_AND_OVER = b"q\x01h\x01\x86"  # a tuple of the last value, twice
BYTES_OF_ANY_SIZE = b"\x80\x02c__builtin__\nbytearray\n\x8a\x05\0\0\0\x80\0\x85R."


@pytest.mark.parametrize(
    ("program", "packed", "words"),
    [
        (b"\x80\x02}q\x00)" + OVER_AND_OVER * 40 + b"Ns.", False, "over and over"),
        (BYTES_OF_ANY_SIZE, False, "bytes of a size"),
        (b"\x80\x02" + b"N0" * 100_000 + b"N.", True, "packed"),
        (b"\x80\x02q\x01.", False, "not there"),
        (b"\x80\x02]q\x00]q\x01h\x00h\x01ah\x01h\x00a.", False, "fills what stands in another"),
    ],
)
def test_programs_that_torch_would_run(
    program: bytes, packed: bool, words: str, tmp_path: Path
) -> None:
    pytest.importorskip("torch", reason="reads checkpoints (extra: train)")
    from mien.models.learning.checkpoint_file import load_plain

    path = tmp_path / "c.pt"
    path.write_bytes(torch_file(program, packed))
    with pytest.raises(ValueError, match=words):
        load_plain(path)
    if not packed:  # torch goes by the first bytes; an archive may begin anywhere
        path.write_bytes(program * 5 + torch_file(b"N."))
        with pytest.raises(ValueError, match=words):
            load_plain(path)
