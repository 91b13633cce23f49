"""ONNX graphs of plain convolutional networks as torch modules, so that gradients pass through.

onnxruntime computes no gradients with regard to pictures. What a residual recognition network needs
is rebuilt operator by operator; a graph with any other operator is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from ..documents import one_line
from ..errors import InputError
from ..onnx_wire import check_one_file

Values = Sequence[torch.Tensor | None]
Attributes = dict[str, Any]


def _given(values: Values, i: int) -> torch.Tensor | None:
    return values[i] if i < len(values) else None


def _first(values: Values) -> torch.Tensor:
    assert values[0] is not None  # every operator below has one input at least
    return values[0]


def _pads(attributes: Attributes) -> list[int]:
    """torch's order of ONNX's ``pads`` of two axes: left, right, top, bottom."""
    top, left, bottom, right = attributes.get("pads", [0, 0, 0, 0])
    return [left, right, top, bottom]


def _conv(values: Values, a: Attributes) -> torch.Tensor:
    x, weight = _first(values), values[1]
    assert weight is not None
    x = functional.pad(x, _pads(a))
    return functional.conv2d(
        x, weight, _given(values, 2), a.get("strides", 1), 0, a.get("dilations", 1),
        a.get("group", 1),
    )  # fmt: skip


def _gemm(values: Values, a: Attributes) -> torch.Tensor:
    x, weight, bias = _first(values), values[1], _given(values, 2)
    assert weight is not None
    x = x.T if a.get("transA") else x
    y = a.get("alpha", 1.0) * (x @ (weight.T if a.get("transB") else weight))
    return y if bias is None else y + a.get("beta", 1.0) * bias


def _batch_norm(values: Values, a: Attributes) -> torch.Tensor:
    x, scale, bias, mean, variance = values[:5]
    assert x is not None
    return functional.batch_norm(x, mean, variance, scale, bias, False, 0.0, a.get("epsilon", 1e-5))


def _prelu(values: Values, a: Attributes) -> torch.Tensor:
    x, slope = _first(values), values[1]
    assert slope is not None
    return torch.where(x >= 0, x, x * slope)


def _pool(values: Values, a: Attributes, kind: str) -> torch.Tensor:
    fill = -torch.inf if kind == "max" else 0.0
    x = functional.pad(_first(values), _pads(a), value=fill)
    call = functional.max_pool2d if kind == "max" else functional.avg_pool2d
    return call(x, a["kernel_shape"], a.get("strides", 1))


def _reshape(values: Values, a: Attributes) -> torch.Tensor:
    x, shape = _first(values), values[1]
    assert shape is not None
    wanted = [x.shape[i] if n == 0 else n for i, n in enumerate(shape.tolist())]
    return x.reshape(wanted)


def _binary(call: Callable[..., torch.Tensor]) -> Callable[[Values, Attributes], torch.Tensor]:
    return lambda values, a: call(values[0], values[1])


_OPERATORS: dict[str, Callable[[Values, Attributes], torch.Tensor]] = {
    "Conv": _conv,
    "Gemm": _gemm,
    "MatMul": _binary(torch.matmul),
    "BatchNormalization": _batch_norm,
    "PRelu": _prelu,
    "Relu": lambda v, a: torch.relu(_first(v)),
    "LeakyRelu": lambda v, a: functional.leaky_relu(_first(v), a.get("alpha", 0.01)),
    "Sigmoid": lambda v, a: torch.sigmoid(_first(v)),
    "Add": _binary(torch.add),
    "Sub": _binary(torch.sub),
    "Mul": _binary(torch.mul),
    "Div": _binary(torch.div),
    "MaxPool": lambda v, a: _pool(v, a, "max"),
    "AveragePool": lambda v, a: _pool(v, a, "average"),
    "GlobalAveragePool": lambda v, a: _first(v).mean((2, 3), keepdim=True),
    "Flatten": lambda v, a: _first(v).flatten(a.get("axis", 1)),
    "Reshape": _reshape,
    "Transpose": lambda v, a: _first(v).permute(a["perm"]),
    "Identity": lambda v, a: _first(v),
    "Dropout": lambda v, a: _first(v),
}


class OnnxModule(nn.Module):
    """A graph of one picture input and one output.

    Args:
        model: an ``onnx.ModelProto``.

    Raises:
        InputError: an operator is not among those of residual networks.
    """

    def __init__(self, model: Any) -> None:
        super().__init__()
        from onnx import helper, numpy_helper

        graph = model.graph
        self._constants: dict[str, str] = {}
        for number, tensor in enumerate(graph.initializer):
            # Names of files are no names of buffers.
            name = f"value{number}"
            array = np.array(numpy_helper.to_array(tensor))
            self.register_buffer(name, torch.from_numpy(array))
            self._constants[tensor.name] = name
        inputs = [v.name for v in graph.input if v.name not in self._constants]
        if len(inputs) != 1 or len(graph.output) != 1:
            raise InputError(f"ONNX graph of {len(inputs)} inputs and {len(graph.output)} outputs; "
                             "expected one of each")  # fmt: skip
        unknown = sorted({node.op_type for node in graph.node} - set(_OPERATORS))
        if unknown:
            raise InputError(
                f"ONNX graph with operators {', '.join(unknown)}; known are those of plain "
                f"convolutional networks: {', '.join(sorted(_OPERATORS))}"
            )
        self._input, self._output = inputs[0], graph.output[0].name
        self._nodes = [
            (
                node.op_type,
                list(node.input),
                node.output[0],
                {a.name: helper.get_attribute_value(a) for a in node.attribute},
            )
            for node in graph.node
        ]

    @classmethod
    def load(cls, path: Path) -> OnnxModule:
        """Read a file.

        Raises:
            InputError: it is missing, no ONNX file, or has an operator that is not known here.
        """
        try:
            import onnx
        except ImportError as error:
            raise InputError("reading an ONNX network needs onnx: pip install onnx") from error
        from google.protobuf.message import DecodeError

        try:
            content = path.read_bytes()
            check_one_file(content, path)
            model = onnx.ModelProto.FromString(content)
        except InputError:
            raise
        except (OSError, DecodeError, ValueError) as error:
            raise InputError(f"{path}: not an ONNX network: {one_line(error)}") from error
        try:
            return cls(model)
        except InputError as error:
            raise InputError(f"{path}: {one_line(error, 400)}") from error
        except (TypeError, ValueError, KeyError, IndexError, RuntimeError) as error:
            raise InputError(f"{path}: not an ONNX network: {one_line(error)}") from error

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The output of the graph."""
        values: dict[str, torch.Tensor] = {self._input: x}
        for kind, names, out, attributes in self._nodes:
            found = [self._value(name, values) for name in names]
            values[out] = _OPERATORS[kind](found, attributes)
        return values[self._output]

    def _value(self, name: str, values: dict[str, torch.Tensor]) -> torch.Tensor | None:
        if not name:
            return None
        return values[name] if name in values else getattr(self, self._constants[name])
