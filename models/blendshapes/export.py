"""From a checkpoint to ``blendshapes.onnx``."""

from __future__ import annotations

from pathlib import Path
from typing import Final, TypeAlias

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper
from torch import nn

from ..face.bundle import BLENDSHAPES
from ..face.names import N_BLENDSHAPES
from ..face.views import N_VIEWS, VIEW_HEIGHT, VIEW_WIDTH
from ..learning.onnx_graph import OnnxGraph, folded, plain_array, write_model
from .checkpoint import BlendshapeCheckpoint
from .network import ORDER, SIDES, BlendshapeNetwork

BLENDSHAPES_INPUTS: Final = ("views", "facing")
BLENDSHAPES_OUTPUT: Final = "blendshapes"

_Linear: TypeAlias = tuple[NDArray[np.float32], NDArray[np.float32]]
"""Weights and bias of a fully connected layer."""


def export_blendshapes(checkpoint: Path, out: Path) -> Path:
    """Write the averaged network of a checkpoint of the blendshapes' as ONNX.

    Args:
        checkpoint: of :func:`.train.train_blendshapes`.
        out: the ONNX file to write, or a folder for ``blendshapes.onnx``.

    Returns:
        The file written.

    Raises:
        InputError: the checkpoint cannot be read.
        OutputError: the file cannot be written.
    """
    model = read_blendshapes(checkpoint)
    path = out / BLENDSHAPES if out.is_dir() or out.suffix != ".onnx" else out
    write_model(model, path)
    return path


def read_blendshapes(checkpoint: Path) -> onnx.ModelProto:
    """The averaged network of a checkpoint as an ONNX graph.

    Raises:
        InputError: the checkpoint cannot be read.
    """
    return blendshapes_to_onnx(BlendshapeCheckpoint.load(checkpoint).averaged_network())


def blendshapes_to_onnx(network: BlendshapeNetwork) -> onnx.ModelProto:
    """The network as an ONNX graph of any batch size.

    Inputs ``views`` (B, 3, 48, 64, 3) uint8 BGR and ``facing`` (B, 2), see
    :class:`..face.views.FaceViews`. Output ``blendshapes`` (B, 52) in [0, 1]. Normalisation of the
    input and batch normalisation are folded in.
    """
    network = network.eval()
    graph = OnnxGraph()
    graph.value("pictures_shape", np.array([-1, VIEW_HEIGHT, VIEW_WIDTH, 3], np.int64))
    graph.add("Reshape", [BLENDSHAPES_INPUTS[0], "pictures_shape"], "pictures")
    last = graph.normalised_pixels("pictures")
    for number, convolution in enumerate(folded(network.trunk)):
        last = graph.convolution(f"conv{number}", last, convolution)
        last = graph.add("Relu", [last], f"relu{number}")
    _heads(graph, network, last)
    views = ["batch", N_VIEWS, VIEW_HEIGHT, VIEW_WIDTH, 3]
    inputs = [
        helper.make_tensor_value_info(BLENDSHAPES_INPUTS[0], TensorProto.UINT8, views),
        helper.make_tensor_value_info(BLENDSHAPES_INPUTS[1], TensorProto.FLOAT, ["batch", 2]),
    ]
    output = helper.make_tensor_value_info(
        BLENDSHAPES_OUTPUT, TensorProto.FLOAT, ["batch", N_BLENDSHAPES]
    )
    return graph.model("blendshapes", inputs, [output])


def _heads(graph: OnnxGraph, network: BlendshapeNetwork, maps: str) -> None:
    """From the trunk's maps of all views to the output: as few steps as do it."""
    joined = joined_layers(network)
    _, size, width = joined["describe.weight"].shape
    graph.value("maps_shape", np.array([-1, N_VIEWS, 1, size], np.int64))
    graph.add("Reshape", [maps, "maps_shape"], "maps")
    describe = [graph.value(name, joined[name]) for name in ("describe.weight", "describe.bias")]
    graph.add("MatMul", ["maps", describe[0]], "projected")
    graph.add("Add", ["projected", describe[1]], "described")
    graph.add("Relu", ["described"], "each")
    graph.value("features_shape", np.array([-1, N_VIEWS * width], np.int64))
    graph.add("Reshape", ["each", "features_shape"], "features")
    graph.add("Concat", ["features", BLENDSHAPES_INPUTS[1]], "seen", axis=1)
    graph.linear("mixed", "seen", joined["mixed.weight"], joined["mixed.bias"])
    graph.add("Relu", ["mixed"], "hidden")
    graph.linear("logits", "hidden", joined["logits.weight"], joined["logits.bias"])
    graph.add("Sigmoid", ["logits"], BLENDSHAPES_OUTPUT)


def joined_layers(network: BlendshapeNetwork) -> dict[str, NDArray[np.float32]]:
    """The fully connected layers as the graph has them, of all views and outputs at once.

    Returns:
        By their names there: ``describe`` (3, N, F) of each view, (3, 1, F) its bias; ``mixed`` and
        ``logits`` (out, in) and (out).
    """
    eye, mouth = _weights(network.describe_eye), _weights(network.describe_mouth)
    each = [eye] * (N_VIEWS - 1) + [mouth]
    mixed, said = _mixed(network, len(eye[1])), _said(network)
    return {
        "describe.weight": np.stack([weight.T for weight, _ in each]),
        "describe.bias": np.stack([bias[None] for _, bias in each]),
        "mixed.weight": mixed[0],
        "mixed.bias": mixed[1],
        "logits.weight": said[0],
        "logits.bias": said[1],
    }


def _mixed(network: BlendshapeNetwork, width: int) -> _Linear:
    """The hidden layers of both eyes and of the rest as one, of the features of all views."""
    (weight, bias), rest = _weights(network.mix), _weights(network.mix_rest)
    rows = []
    for eye, side in enumerate(SIDES):
        row = np.zeros((len(weight), rest[0].shape[1]), np.float32)
        for part, view in enumerate((eye, 1 - eye)):  # itself, then the other one
            row[:, view * width : (view + 1) * width] = weight[:, part * width : (part + 1) * width]
        row[:, -2:] = weight[:, -2:] * np.array(side, np.float32)
        rows.append(row)
    return np.concatenate([*rows, rest[0]]), np.concatenate([bias, bias, rest[1]])


def _said(network: BlendshapeNetwork) -> _Linear:
    """What is said of both eyes and of the rest as one layer, in ARKit's order."""
    eye, rest = _weights(network.say), _weights(network.say_rest)
    blocks = [eye, eye, rest]
    weight = np.zeros([sum(block[0].shape[i] for block in blocks) for i in (0, 1)], np.float32)
    row = column = 0
    for block, _ in blocks:
        height, width = block.shape
        weight[row : row + height, column : column + width] = block
        row, column = row + height, column + width
    order = list(ORDER)
    return weight[order], np.concatenate([bias for _, bias in blocks])[order]


def _weights(layer: nn.Linear) -> _Linear:
    return plain_array(layer.weight), plain_array(layer.bias)
