"""An exported regressor in 8-bit integers: static quantisation calibrated on crops.

Eight bits a tensor are few where one channel speaks a hundred times as loudly as its neighbour. So
the network is first equalised, which changes nothing of what it says: ReLU commutes with positive
factors, and what a channel is divided by, the next layer's weights are multiplied with (Nagel et
al. 2019, 4.1; towards a dense layer, whose weights are quantised too, as in SmoothQuant, Xiao et
al. 2023, eq. 4). On the shipped network and crops of real clips that leaves 0.4 of the noise that
eight bits add from frame to frame; the layers kept in single precision leave half of that.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import numpy as np
import onnx
import onnxruntime
from jaxtyping import Float32, UInt8
from numpy.typing import NDArray
from onnx import numpy_helper
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantFormat,
    QuantType,
    quantize_static,
)

from ..errors import InputError
from ..learning.onnx_graph import read_model, write_model
from .export import INPUT_NAME

_BATCH: Final = 16
_FIRST_WHOLE: Final = 2
"""Layers at the beginning that stay in single precision: of few channels, so no slower in it."""
_ACTIVATIONS_SHARE: Final = 0.7
"""SmoothQuant's alpha: how much of the channels' differences the next dense layer takes over."""
_SILENT: Final = 1e-4
"""Of the loudest channel: one that says less is left as it is."""


class _Crops(CalibrationDataReader):
    """Feeds crops to the calibration, a few at a time."""

    def __init__(self, crops: UInt8[np.ndarray, "n 120 120 3"]) -> None:
        self._batches: Iterator[UInt8[np.ndarray, "b 120 120 3"]] = (
            crops[start : start + _BATCH] for start in range(0, len(crops), _BATCH)
        )

    def get_next(self) -> dict[str, Any] | None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """The next inputs, None at the end."""
        batch = next(self._batches, None)
        return None if batch is None else {INPUT_NAME: batch}


@dataclass(frozen=True)
class _Layer:
    """A convolution with a ReLU behind it.

    Attributes:
        node: the convolution.
        said: name of what the ReLU says.
    """

    node: onnx.NodeProto
    said: str


def quantise(source: Path, out: Path, crops: UInt8[np.ndarray, "n 120 120 3"]) -> None:
    """Write the int8 form of an exported network: QDQ, per channel, convolutions only.

    The first two layers, the last convolution and the pooling stay in single precision: they cost
    little, and half of the noise would come from them. So do the heads: their outputs are numbers,
    not features. Weights have seven bits, because processors without VNNI add up in 16.

    Args:
        source: ONNX file of :func:`.export.save_onnx`.
        out: the file to write; may be ``source``.
        crops: BGR crops on which the ranges of the activations are observed.

    Raises:
        InputError: there is no crop, or no such network.
        OutputError: the file cannot be written.
    """
    if not len(crops):
        raise InputError("int8: no crop to calibrate on")
    model = read_model(source)
    equalise(model, crops)
    layers = _layers(model.graph)
    within = {layer.node.name for layer in layers[_FIRST_WHOLE:-1]}
    logger = logging.getLogger()
    level = logger.level
    with TemporaryDirectory() as folder:
        temporary = Path(folder) / out.name
        try:
            # It advises, on the root logger, a pre-processing that this graph does not need.
            logger.setLevel(logging.ERROR)
            quantize_static(
                model,
                str(temporary),
                _Crops(crops),
                quant_format=QuantFormat.QDQ,
                op_types_to_quantize=["Conv"],
                nodes_to_quantize=sorted(within),
                per_channel=True,
                reduce_range=True,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                calibrate_method=CalibrationMethod.MinMax,
            )
        finally:
            logger.setLevel(level)
        model = onnx.load(temporary)
    _let_saturation_be_relu(model.graph)
    write_model(model, out)


def equalise(model: onnx.ModelProto, crops: UInt8[np.ndarray, "n 120 120 3"]) -> None:
    """Scale the channels between convolutions so that eight bits serve all; in place.

    What the network says stays the same, but for rounding.

    Args:
        model: of :func:`.export.to_onnx`.
        crops: BGR crops on which it is seen how loudly each channel speaks.
    """
    layers = _layers(model.graph)
    values = {value.name: value for value in model.graph.initializer}
    arrays = {name: numpy_helper.to_array(value).copy() for name, value in values.items()}
    changed: set[str] = set()
    loudest = _loudest(model, [layer.said for layer in layers], crops)
    for layer, loud in zip(layers, loudest, strict=True):
        readers = [node for node in model.graph.node if layer.said in node.input]
        if len(readers) != 1 or readers[0].op_type != "Conv":
            continue
        weight, bias = layer.node.input[1:3]
        next_weight = readers[0].input[1]
        depthwise = arrays[next_weight].shape[1] == 1
        scale = _scales(loud, None if depthwise else np.abs(arrays[next_weight]).max((0, 2, 3)))
        arrays[weight] /= scale[:, None, None, None]
        arrays[bias] /= scale
        arrays[next_weight] *= scale[:, None, None, None] if depthwise else scale[:, None, None]
        changed |= {weight, bias, next_weight}
    for name in changed:
        values[name].CopyFrom(numpy_helper.from_array(arrays[name], name))


def _scales(
    loud: Float32[np.ndarray, " C"], weights: Float32[np.ndarray, " C"] | None
) -> Float32[np.ndarray, " C"]:
    """What to divide each channel by.

    Args:
        loud: most that each says.
        weights: largest of the next layer's weights on each; None where that layer is depthwise:
            its weights are quantised channel by channel, so that it takes over all differences.
    """
    speaks = loud > _SILENT * loud.max()
    if weights is not None:
        speaks &= weights > _SILENT * weights.max()
    scale = np.ones_like(loud)
    if speaks.any():
        wanted = loud[speaks]
        if weights is not None:
            wanted = wanted**_ACTIVATIONS_SHARE / weights[speaks] ** (1 - _ACTIVATIONS_SHARE)
        scale[speaks] = wanted / np.median(wanted)
    return scale


def _layers(graph: onnx.GraphProto) -> list[_Layer]:
    """All convolutions that a ReLU follows, in order."""
    relus = {node.input[0]: node.output[0] for node in graph.node if node.op_type == "Relu"}
    return [
        _Layer(node, relus[node.output[0]])
        for node in graph.node
        if node.op_type == "Conv" and node.output[0] in relus
    ]


def _loudest(
    model: onnx.ModelProto, names: Sequence[str], crops: UInt8[np.ndarray, "n 120 120 3"]
) -> list[Float32[np.ndarray, " C"]]:
    """Most that each channel of some tensors (B, C, H, W) says over the crops."""
    open_model = onnx.ModelProto()
    open_model.CopyFrom(model)
    for name in names:
        open_model.graph.output.append(onnx.helper.make_empty_tensor_value_info(name))
    session = onnxruntime.InferenceSession(
        open_model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    most: list[NDArray[np.float32]] = []
    for start in range(0, len(crops), _BATCH):
        said = session.run(list(names), {INPUT_NAME: crops[start : start + _BATCH]})
        now = [np.asarray(value, np.float32).max((0, 2, 3)) for value in said]
        most = now if not most else [np.maximum(a, b) for a, b in zip(most, now, strict=True)]
    return most


def _let_saturation_be_relu(graph: onnx.GraphProto) -> None:
    """Leave out each ReLU that eight bits without a sign apply anyway, and the rounding before it.

    From "convolution, round, ReLU, round" only the last is left, whose zero point is its least
    value: what is negative becomes 0. One rounding less is one error less, and onnxruntime then
    runs each layer as one kernel.
    """
    makers = {name: node for node in graph.node for name in node.output}
    values = {value.name: value for value in graph.initializer}
    gone: set[str] = set()
    for relu in [node for node in graph.node if node.op_type == "Relu"]:
        readers = [node for node in graph.node if relu.output[0] in node.input]
        before = makers[relu.input[0]]
        rounded = all(node.op_type == "QuantizeLinear" for node in readers)
        if before.op_type != "DequantizeLinear" or not rounded:
            continue
        if any(numpy_helper.to_array(values[node.input[2]]).any() for node in readers):
            continue
        rounding = makers[before.input[0]]
        for node in readers:
            node.input[0] = rounding.input[0]
        gone |= {relu.name, before.name, rounding.name}
    left = [node for node in graph.node if node.name not in gone]
    read = {name for node in left for name in node.input}
    del graph.node[:], graph.initializer[:]
    graph.node.extend(left)
    graph.initializer.extend(value for name, value in values.items() if name in read)
