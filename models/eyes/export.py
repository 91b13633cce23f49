"""From a checkpoint to ``eyes.onnx``."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np
import onnx
from onnx import TensorProto, helper

from ..face.bundle import EYES
from ..face.eye_views import EYE_UNITS, VIEW_HEIGHT, VIEW_WIDTH
from ..learning.onnx_graph import OnnxGraph, folded, plain_array, write_model
from .checkpoint import EyeCheckpoint
from .network import EyeNetwork

EYES_INPUTS: Final = ("eyes", "facing")
EYES_OUTPUT: Final = "units"


def export_eyes(checkpoint: Path, out: Path) -> Path:
    """Write the averaged network of a checkpoint of the eyes' as ONNX.

    Args:
        checkpoint: of :func:`.train.train_eyes`.
        out: the ONNX file to write, or a folder for ``eyes.onnx``.

    Returns:
        The file written.

    Raises:
        InputError: the checkpoint cannot be read.
        OutputError: the file cannot be written.
    """
    model = read_eyes(checkpoint)
    path = out / EYES if out.is_dir() or out.suffix != ".onnx" else out
    write_model(model, path)
    return path


def read_eyes(checkpoint: Path) -> onnx.ModelProto:
    """The averaged network of a checkpoint as an ONNX graph.

    Raises:
        InputError: the checkpoint cannot be read.
    """
    return eyes_to_onnx(EyeCheckpoint.load(checkpoint).averaged_network())


def eyes_to_onnx(network: EyeNetwork) -> onnx.ModelProto:
    """The network as an ONNX graph of any batch size.

    Inputs ``eyes`` (B, 2, 40, 64, 3) uint8 BGR and ``facing`` (B, 2, 2), see
    :class:`..face.eye_views.EyeViews`. Output ``units`` (B, 2, 7) in [0, 1]: ``EYE_UNITS`` of the
    subject's left and right eye. Normalisation of the input and batch normalisation are folded in.
    """
    network = network.eval()
    graph = OnnxGraph()
    graph.value("views_shape", np.array([-1, VIEW_HEIGHT, VIEW_WIDTH, 3], np.int64))
    graph.add("Reshape", [EYES_INPUTS[0], "views_shape"], "views")
    last = graph.normalised_pixels("views")
    for number, convolution in enumerate(folded(network.trunk)):
        last = graph.convolution(f"conv{number}", last, convolution)
        last = graph.add("Relu", [last], f"relu{number}")
    last = graph.add("Flatten", [last], "features", axis=1)
    describe, mix, say = (
        (plain_array(layer.weight), plain_array(layer.bias))
        for layer in (network.describe, network.mix, network.say)
    )
    graph.linear("described", last, *describe)
    graph.add("Relu", ["described"], "each")
    graph.value("pairs_shape", np.array([-1, 2, len(describe[1])], np.int64))
    graph.add("Reshape", ["each", "pairs_shape"], "own")
    graph.value("swapped", np.array([1, 0], np.int64))
    graph.add("Gather", ["own", "swapped"], "other", axis=1)
    graph.add("Concat", ["own", "other", EYES_INPUTS[1]], "both", axis=2)
    graph.value("rows_shape", np.array([-1, mix[0].shape[1]], np.int64))
    graph.add("Reshape", ["both", "rows_shape"], "rows")
    graph.linear("mixed", "rows", *mix)
    graph.add("Relu", ["mixed"], "hidden")
    graph.linear("logits", "hidden", *say)
    graph.add("Sigmoid", ["logits"], "flat_units")
    graph.value("units_shape", np.array([-1, 2, len(EYE_UNITS)], np.int64))
    graph.add("Reshape", ["flat_units", "units_shape"], EYES_OUTPUT)
    views = [2, VIEW_HEIGHT, VIEW_WIDTH, 3]
    inputs = [
        helper.make_tensor_value_info(EYES_INPUTS[0], TensorProto.UINT8, ["batch", *views]),
        helper.make_tensor_value_info(EYES_INPUTS[1], TensorProto.FLOAT, ["batch", 2, 2]),
    ]
    output = helper.make_tensor_value_info(
        EYES_OUTPUT, TensorProto.FLOAT, ["batch", 2, len(EYE_UNITS)]
    )
    return graph.model("eyes", inputs, [output])
