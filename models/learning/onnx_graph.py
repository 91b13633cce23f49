"""ONNX graphs in the making, and models written whole."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

import numpy as np
import onnx
import torch
from google.protobuf.message import DecodeError
from numpy.typing import NDArray
from onnx import helper, numpy_helper
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from ..documents import one_line
from ..errors import InputError
from ..onnx_wire import check_one_file
from ..writing import make_folder, whole_file

_OPSET: Final = 17
_IR_VERSION: Final = 8
"""Old enough for every onnxruntime that mien admits."""


class OnnxGraph:
    """An ONNX graph in the making; every node is named after its output."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.values: list[onnx.TensorProto] = []

    def value(self, name: str, array: NDArray[np.generic]) -> str:
        """A constant."""
        self.values.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def add(
        self, kind: str, inputs: list[str], output: str, **attributes: int | str | list[int]
    ) -> str:
        """A node with one output; an empty name leaves an input out."""
        node = helper.make_node(kind, inputs, [output], name=output)
        node.attribute.extend(helper.make_attribute(*pair) for pair in attributes.items())
        self.nodes.append(node)
        return output

    def convolution(self, name: str, source: str, layer: nn.Conv2d) -> str:
        """A convolution with its weights."""
        inputs = [source, self.value(f"{name}.weight", plain_array(layer.weight))]
        if layer.bias is not None:
            inputs.append(self.value(f"{name}.bias", plain_array(layer.bias)))
        pads = [int(pad) for pad in layer.padding]
        return self.add(
            "Conv",
            inputs,
            name,
            kernel_shape=list(layer.kernel_size),
            strides=list(layer.stride),
            pads=[*pads, *pads],
            group=layer.groups,
        )

    def split(self, source: str, sizes: str, outputs: list[str]) -> None:
        """Parts of ``source`` along the channels."""
        self.nodes.append(
            helper.make_node("Split", [source, sizes], outputs, name=f"{source}.parts", axis=1)
        )

    def linear(
        self, name: str, source: str, weight: NDArray[np.float32], bias: NDArray[np.float32]
    ) -> str:
        """A fully connected layer with its weights."""
        inputs = [source, self.value(f"{name}.weight", weight), self.value(f"{name}.bias", bias)]
        return self.add("Gemm", inputs, name, transB=1)

    def model(
        self, name: str, inputs: list[onnx.ValueInfoProto], outputs: list[onnx.ValueInfoProto]
    ) -> onnx.ModelProto:
        """The model of these nodes."""
        return helper.make_model(
            helper.make_graph(self.nodes, name, inputs, outputs, self.values),
            opset_imports=[helper.make_opsetid("", _OPSET)],
            ir_version=_IR_VERSION,
            producer_name="mien",
        )

    def normalised_pixels(self, source: str) -> str:
        """Pictures (B, H, W, 3) uint8 as planes (B, 3, H, W) from -1 to 1."""
        self.value("mean_pixel", np.array(127.5, np.float32))
        self.value("pixel_scale", np.array(1 / 128, np.float32))
        self.add("Cast", [source], "float_pixels", to=onnx.TensorProto.FLOAT)
        self.add("Transpose", ["float_pixels"], "planes", perm=[0, 3, 1, 2])
        self.add("Sub", ["planes", "mean_pixel"], "centred")
        return self.add("Mul", ["centred", "pixel_scale"], "normalised")


def folded(layers: Iterable[nn.Module]) -> list[nn.Conv2d]:
    """The convolutions of layers with their batch normalisation folded in; a ReLU follows each.

    Raises:
        InputError: the layers are not convolution, normalisation, ReLU, repeated.
    """
    parts: Sequence[nn.Module] = list(layers)
    convolutions = []
    for convolution, norm in zip(parts[0::3], parts[1::3], strict=True):
        if not isinstance(convolution, nn.Conv2d) or not isinstance(norm, nn.BatchNorm2d):
            raise InputError("export: the layers are not convolution, normalisation, ReLU repeated")
        convolutions.append(fuse_conv_bn_eval(convolution, norm))
    return convolutions


def plain_array(tensor: torch.Tensor) -> NDArray[np.float32]:
    """A tensor's values, float32."""
    return tensor.detach().contiguous().numpy().astype(np.float32)


def read_model(path: Path) -> onnx.ModelProto:
    """A model of one file.

    Raises:
        InputError: it cannot be read, is no model, or keeps weights in other files.
    """
    try:
        content = path.read_bytes()
        check_one_file(content, path)
        return onnx.ModelProto.FromString(content)
    except (OSError, DecodeError) as error:
        raise InputError(f"{path}: not an ONNX network: {one_line(error)}") from error


def write_model(model: onnx.ModelProto, path: Path) -> None:
    """Check a model and write it; the file appears when it is complete.

    Raises:
        OutputError: it cannot be written.
    """
    onnx.checker.check_model(model, full_check=True)
    make_folder(path.parent)
    with whole_file(path) as part:
        part.write_bytes(model.SerializeToString())
