"""Parsers of networks: ONNX, safetensors, checkpoints of torch, pickles of arrays."""

from __future__ import annotations

import io
import json
import pickle
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import numpy as np
from fuzz_parser import Parser, in_file

from mien.models.face.bundle import Bundle
from mien.models.face.crop import CROP_SIZE
from mien.models.face.names import N_PARAMS
from mien.models.tddfa.pickles import read_array, read_arrays
from mien.stream.detector._onnx_wire import with_dynamic_size
from mien.stream.detector.own import OwnDetector
from mien.stream.regression import Regressor

_TORCH: Final = ("torch", "safetensors")


def _regressor(_: Path) -> Sequence[bytes]:
    from onnx import TensorProto, helper, numpy_helper

    shape = ["batch", CROP_SIZE, CROP_SIZE, 3]
    weight = numpy_helper.from_array(np.zeros((3, N_PARAMS), np.float32), "w")
    nodes = [
        helper.make_node("Cast", ["crops"], ["x"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["x"], ["m"], axes=[1, 2], keepdims=0),
        helper.make_node("MatMul", ["m", "w"], ["params"]),
    ]
    graph = helper.make_graph(
        nodes, "fuzz", [helper.make_tensor_value_info("crops", TensorProto.UINT8, shape)],
        [helper.make_tensor_value_info("params", TensorProto.FLOAT, ["batch", N_PARAMS])], [weight],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    outside = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    tensor = outside.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../w.bin")
    return [model.SerializeToString(), model.SerializeToString(), outside.SerializeToString()]


def _export(folder: Path) -> Sequence[bytes]:
    return _regressor(folder)[:1]


def _blendshapes(_: Path) -> Sequence[bytes]:
    from mien.models.blendshapes.export import blendshapes_to_onnx
    from mien.models.blendshapes.network import BlendshapeNetwork

    return [blendshapes_to_onnx(BlendshapeNetwork()).SerializeToString()]


def _read_blendshapes(path: Path) -> object:
    from mien.stream.blendshapes import BlendshapeReader

    return BlendshapeReader(path, Bundle.default().face_model)


def _read_blendshapes_export(path: Path) -> object:
    from mien.models.blendshapes.warm_start import checkpoint_of_export

    return checkpoint_of_export(path, np.zeros((1, 3, 48, 64, 3), np.uint8))


def _read_export(path: Path) -> object:
    from mien.models.regressor.warm_start import read_export

    return read_export(path)


def _detector_export(_: Path) -> Sequence[bytes]:
    from mien.models.detector.export import detector_to_onnx
    from mien.models.detector.network import DetectorNetwork, DetectorNetworkConfig

    config = DetectorNetworkConfig(width=0.1, deep=8, decoder=(8, 8, 8))
    return [detector_to_onnx(DetectorNetwork(config), 0.5).SerializeToString()]


def _read_detector_export(path: Path) -> object:
    from mien.models.detector.warm_start import checkpoint_of_export

    return checkpoint_of_export(path, np.zeros((1, 64, 64, 3), np.uint8))


def _onnx_module(path: Path) -> object:
    from mien.models.portrait.onnx_torch import OnnxModule

    return OnnxModule.load(path)


def _tddfa_network(path: Path) -> object:
    from mien.models.tddfa.network import read_network

    return read_network(path)


def _portrait(folder: Path) -> Sequence[bytes]:
    from mien.models.portrait.config import PortraitConfig
    from mien.models.portrait.generator import Generator
    from mien.models.portrait.weights import save_part

    config = PortraitConfig(
        name="tiny", z_dim=8, w_dim=8, plane_size=8, plane_channels=4, channel_base=64,
        channel_max=8, decoder_hidden=8, feature_channels=4, render_size=8, super_channels=(6,),
        coarse=6, fine=6,
    )  # fmt: skip
    path = folder / "g.safetensors"
    save_part(path, "generator", Generator(config), asdict(config), {"seed": 0})
    return [path.read_bytes()]


def _read_portrait(path: Path) -> object:
    from mien.models.portrait.weights import load_weights, read_facts

    return read_facts(path), load_weights(path)


def _avatar(folder: Path) -> Sequence[bytes]:
    from dataclasses import replace

    from mien.models.avatar.avatar import Avatar
    from mien.models.avatar.config import avatar_preset
    from mien.models.avatar.weights import save_weights

    config = replace(
        avatar_preset("small"), cells=16, latent_cells=4, latent_channels=4, embedding=16,
        widths=((4, 8), (8, 8), (16, 8)), attention=(4,),
    )  # fmt: skip
    path = folder / "a.safetensors"
    save_weights(path, Avatar(config), {"seed": 0})
    return [path.read_bytes()]


def _read_avatar(path: Path) -> object:
    from mien.models.avatar.weights import load_weights, read_facts

    return read_facts(path), load_weights(path)


def _template(folder: Path) -> Sequence[bytes]:
    from mien.models.scans.placing import HeadPlacer, Membrane
    from mien.models.scans.template import HeadTemplate

    some, one = np.arange(4, dtype=np.int32), np.zeros(1, np.int32)
    placed = np.arange(12, dtype=np.float32).reshape(4, 3)
    membrane = Membrane(some, one, np.full((1, 4), 0.25, np.float32))
    head = HeadTemplate(
        placed, placed[None], np.zeros((52, 4, 3), np.float32), some[None, :3],
        np.zeros(1, np.uint8), np.array([[0, 1]], np.int32), some,
        HeadPlacer(membrane, membrane, membrane, (one, some), np.zeros(6, np.int32), (one, some)),
    )  # fmt: skip
    path = folder / "t.npz"
    head.save(path)
    return [path.read_bytes()]


def _read_template(path: Path) -> object:
    from mien.models.scans.template import HeadTemplate

    return HeadTemplate.load(path).placed(np.zeros((4, 3), np.float32), np.ones(52, np.float32))


def _settings(_: Path) -> Sequence[bytes]:
    drawn = {
        "superresolution_module": "training.superresolution.SuperresolutionHybrid8XDC",
        "ray_start": 2.25, "ray_end": 3.3, "box_warp": 1, "depth_resolution": 48,
        "depth_resolution_importance": 48, "c_gen_conditioning_zero": True,
    }  # fmt: skip
    made = {"z_dim": 512, "w_dim": 512, "c_dim": 25, "mapping_kwargs": {"num_layers": 2}}
    return [json.dumps({"init_kwargs": made, "rendering_kwargs": drawn}).encode()]


def _read_eg3d(path: Path) -> object:
    from mien.models.portrait.eg3d_weights import read_settings

    return read_settings(path)


def _checkpoint(_: Path) -> Sequence[bytes]:
    import torch

    out = io.BytesIO()
    weights = {"a.weight": torch.zeros(2, 3), "a.bias": torch.zeros(2)}
    torch.save({"format": "fuzz", "weights": weights, "step": 3, "state_dict": weights}, out)
    old = io.BytesIO()
    torch.save({"format": "fuzz", "state_dict": weights}, old, _use_new_zipfile_serialization=False)
    return [out.getvalue(), old.getvalue()]


def _read_checkpoint(path: Path) -> object:
    from mien.models.learning.checkpoint_file import load_content

    return load_content(path, "fuzz")


def _read_state(path: Path) -> object:
    from mien.models.tddfa.checkpoint import read_state

    return read_state(path)


def _read_lpips(path: Path) -> object:
    from mien.models.portrait.lpips import Lpips

    return Lpips.load(path)


def _read_light(path: Path) -> object:
    from mien.models.portrait.light import DprIllumination

    return DprIllumination(path)


def _read_vgg(path: Path) -> object:
    from mien.models.avatar.perceptual import vgg19_features

    return vgg19_features(path)


def _pickles(_: Path) -> Sequence[bytes]:
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    table: dict[str, Any] = {"mean": array, "std": array[0].copy(), "n": 3}
    return [pickle.dumps(table, protocol) for protocol in (0, 2, 4, 5)]


def _pickled_array(_: Path) -> Sequence[bytes]:
    return [pickle.dumps(np.arange(6, dtype=np.int32).reshape(2, 3), k) for k in (0, 2, 4, 5)]


PARSERS: Final = (
    Parser(
        "onnx-regressor",
        "bytes",
        _regressor,
        in_file("r.onnx", Regressor),
        share=0.3,
        needs=("onnx",),
    ),
    Parser(
        "onnx-detector",
        "bytes",
        _export,
        in_file("d.onnx", OwnDetector),
        share=0.1,
        needs=("onnx",),
    ),
    Parser(
        "onnx-blendshapes",
        "bytes",
        _blendshapes,
        in_file("y.onnx", _read_blendshapes),
        share=0.05,
        needs=("onnx", "torch"),
    ),
    Parser(
        "onnx-wire",
        "bytes",
        _export,
        lambda data, _: with_dynamic_size(data, ["crops"]),
        needs=("onnx",),
    ),
    Parser(
        "onnx-export",
        "bytes",
        _export,
        in_file("e.onnx", _read_export),
        share=0.3,
        needs=("onnx", "torch"),
    ),
    Parser(
        "onnx-blendshapes-export",
        "bytes",
        _blendshapes,
        in_file("b.onnx", _read_blendshapes_export),
        share=0.3,
        needs=("onnx", "torch"),
    ),
    Parser(
        "onnx-detector-export",
        "bytes",
        _detector_export,
        in_file("d.onnx", _read_detector_export),
        share=0.3,
        needs=("onnx", "torch"),
    ),
    Parser(
        "onnx-module",
        "bytes",
        _regressor,
        in_file("m.onnx", _onnx_module),
        share=0.3,
        needs=("onnx", "torch"),
    ),
    Parser(
        "onnx-3ddfa",
        "bytes",
        _export,
        in_file("n.onnx", _tddfa_network),
        share=0.1,
        needs=("onnx", "torch"),
    ),
    Parser(
        "weights-portrait",
        "safetensors",
        _portrait,
        in_file("p.safetensors", _read_portrait),
        share=0.03,
        needs=_TORCH,
    ),
    Parser(
        "weights-avatar",
        "safetensors",
        _avatar,
        in_file("a.safetensors", _read_avatar),
        share=0.03,
        needs=(*_TORCH, "monai"),
    ),
    Parser(
        "head-template",
        "npz",
        _template,
        in_file("t.npz", _read_template),
        share=0.3,
        needs=_TORCH,
    ),
    Parser("eg3d-settings", "json", _settings, in_file("e.json", _read_eg3d), needs=_TORCH),
    Parser(
        "checkpoint",
        "zip",
        _checkpoint,
        in_file("c.pt", _read_checkpoint),
        share=0.2,
        needs=("torch",),
    ),
    Parser(
        "checkpoint-3ddfa",
        "zip",
        _checkpoint,
        in_file("c.pth", _read_state),
        share=0.2,
        needs=("torch",),
    ),
    Parser(
        "checkpoint-lpips",
        "zip",
        _checkpoint,
        in_file("l.pth", _read_lpips),
        share=0.05,
        needs=("torch",),
    ),
    Parser(
        "checkpoint-light",
        "zip",
        _checkpoint,
        in_file("l.t7", _read_light),
        share=0.02,
        needs=("torch",),
    ),
    Parser(
        "checkpoint-vgg",
        "zip",
        _checkpoint,
        in_file("v.pth", _read_vgg),
        share=0.05,
        needs=("torch",),
    ),
    Parser(
        "pickle-arrays",
        "bytes",
        _pickles,
        in_file("p.pkl", lambda path: read_arrays(path, ("mean", "std"))),
    ),
    Parser("pickle-array", "bytes", _pickled_array, in_file("t.pkl", read_array)),
)
