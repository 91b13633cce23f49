"""From a checkpoint to ``detector.onnx``."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np
import onnx
from onnx import TensorProto, helper
from torch import nn

from ..face.bundle import DETECTOR
from ..learning.onnx_graph import OnnxGraph, folded, write_model
from .boxes import THRESHOLD_KEY
from .checkpoint import DetectorCheckpoint
from .network import DetectorNetwork

DETECTOR_INPUT: Final = "pictures"
DETECTOR_OUTPUTS: Final = ("heat", "box")


def export_detector(checkpoint: Path, out: Path) -> Path:
    """Write the averaged network of a detector's checkpoint as ONNX.

    Args:
        checkpoint: of :func:`.train.train_detector`.
        out: the ONNX file to write, or a folder for ``detector.onnx``.

    Returns:
        The file written.

    Raises:
        InputError: the checkpoint cannot be read.
        OutputError: the file cannot be written.
    """
    model = read_detector(checkpoint)
    path = out / DETECTOR if out.is_dir() or out.suffix != ".onnx" else out
    write_model(model, path)
    return path


def read_detector(checkpoint: Path) -> onnx.ModelProto:
    """The averaged network of a detector's checkpoint as an ONNX graph.

    Raises:
        InputError: the checkpoint cannot be read.
    """
    trained = DetectorCheckpoint.load(checkpoint)
    return detector_to_onnx(trained.averaged_network(), trained.threshold)


def detector_to_onnx(network: DetectorNetwork, threshold: float) -> onnx.ModelProto:
    """The network as an ONNX graph of any batch and picture size.

    Input ``pictures`` (B, H, W, 3) uint8 BGR, H and W multiples of 32. Outputs: ``heat``
    (B, 1, H / 4, W / 4) in [0, 1] and ``box`` (B, 4, H / 4, W / 4), see
    :class:`.network.DetectorOutput`. Normalisation of the input and batch normalisation are folded
    in. ``threshold`` is kept among the file's metadata.
    """
    network = network.eval()
    graph = OnnxGraph()
    last = graph.normalised_pixels(DETECTOR_INPUT)
    levels: list[str] = []
    for number, level in enumerate(network.trunk):
        last = _add_layers(graph, f"trunk{number}", last, level)
        levels.append(last)
    last = _add_layers(graph, "deep", last, network.deep)
    last = _add_layers(graph, "top", last, network.tops)
    graph.value("doubled", np.array([1, 1, 2, 2], np.float32))
    for number, (side, mix) in enumerate(zip(network.sides, network.mixes, strict=True)):
        graph.add(
            "Resize",
            [last, "", "doubled"],
            f"up{number}",
            mode="nearest",
            coordinate_transformation_mode="asymmetric",
            nearest_mode="floor",
        )
        beside = _add_layers(graph, f"side{number}", levels.pop(), side)
        graph.add("Add", [f"up{number}", beside], f"sum{number}")
        last = _add_layers(graph, f"mix{number}", f"sum{number}", mix)
    graph.convolution("maps", last, network.out)
    graph.value("split", np.array([1, 4], np.int64))
    graph.split("maps", "split", ["heat_logit", "box"])
    graph.add("Sigmoid", ["heat_logit"], "heat")
    return _model(graph, threshold)


def _model(graph: OnnxGraph, threshold: float) -> onnx.ModelProto:
    pictures = helper.make_tensor_value_info(
        DETECTOR_INPUT, TensorProto.UINT8, ["batch", "height", "width", 3]
    )
    outputs = [
        helper.make_tensor_value_info(
            name, TensorProto.FLOAT, ["batch", channels, "rows", "columns"]
        )
        for name, channels in zip(DETECTOR_OUTPUTS, (1, 4), strict=True)
    ]
    model = graph.model("detector", [pictures], outputs)
    helper.set_model_props(model, {THRESHOLD_KEY: f"{threshold:.4f}"})
    return model


def _add_layers(graph: OnnxGraph, name: str, source: str, layers: nn.Module) -> str:
    """Convolution, normalisation, ReLU, repeated; normalisation folded in."""
    for number, convolution in enumerate(folded(layers.children())):
        source = graph.convolution(f"{name}.{number}", source, convolution)
        source = graph.add("Relu", [source], f"{name}.{number}.relu")
    return source
