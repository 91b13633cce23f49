"""A 3DDFA_V2 checkpoint (MobileNet-V1 of any width) as an ONNX graph.

Input ``input`` (B, 3, 120, 120) float32, normalised; output ``output`` (B, 62), z-scores. Needs
torch and onnx.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ..face.crop import CROP_SIZE
from ..face.names import N_PARAMS

if TYPE_CHECKING:
    import onnx

BLOCKS: Final[dict[str, int]] = {
    "dw2_1": 1, "dw2_2": 2, "dw3_1": 1, "dw3_2": 2, "dw4_1": 1, "dw4_2": 2, "dw5_1": 1, "dw5_2": 1,
    "dw5_3": 1, "dw5_4": 1, "dw5_5": 1, "dw5_6": 2, "dw6": 1,
}  # fmt: skip
"""Depthwise-separable blocks in order, and their strides."""
_NORM: Final = ("weight", "bias", "running_mean", "running_var")
_EPSILON = 1e-5  # torch's batch normalisation
_OPSET, _IR_VERSION = 17, 8
_EXPECTED = "expected a checkpoint of 3DDFA_V2's MobileNet-V1 (mb1_120x120.pth, mb05_120x120.pth)"

State = Mapping[str, NDArray[np.float32]]


def read_state(path: Path) -> dict[str, NDArray[np.float32]]:
    """The floating-point tensors of a checkpoint; nothing but tensors and containers is unpickled.

    The prefix of data-parallel training is taken off the names, and the last layer is ``fc``.

    Raises:
        InputError: the file is missing, damaged, or holds no tensors by name.
    """
    import torch

    from ..learning.checkpoint_file import load_plain

    try:
        content = load_plain(path)
    except (OSError, ValueError) as error:
        raise InputError(
            f"{path}: not read: it is damaged, or holds more than tensors and plain containers; "
            f"{_EXPECTED}"
        ) from error
    state = content.get("state_dict", content) if isinstance(content, dict) else None
    if not isinstance(state, dict):
        raise InputError(f"{path}: holds no tensors by name; {_EXPECTED}")
    return {
        str(name).removeprefix("module.").replace("fc_param.", "fc."): tensor.float().numpy()
        for name, tensor in state.items()
        if isinstance(tensor, torch.Tensor) and tensor.is_floating_point()
    }


def to_graph(state: State, name: str) -> onnx.ModelProto:
    """The network that these weights belong to.

    Args:
        state: as :func:`read_state` gives it; further entries are left out.
        name: of the file, for messages.

    Raises:
        InputError: a weight is missing, of another shape, or not finite.
    """
    from onnx import TensorProto, helper

    graph = _Weights(state, name)
    channels = graph.tensor("conv1.weight", (None, 3, 3, 3)).shape[0]
    last = graph.convolution("conv1", "input", stride=2, pad=1)
    last = graph.normalised("bn1", last, channels)
    for block, stride in BLOCKS.items():
        graph.tensor(f"{block}.conv_dw.weight", (channels, 1, 3, 3))
        last = graph.convolution(f"{block}.conv_dw", last, stride, pad=1, groups=channels)
        last = graph.normalised(f"{block}.bn_dw", last, channels)
        wide = graph.tensor(f"{block}.conv_sep.weight", (None, channels, 1, 1)).shape[0]
        last = graph.convolution(f"{block}.conv_sep", last)
        last, channels = graph.normalised(f"{block}.bn_sep", last, wide), wide
    graph.tensor("fc.weight", (N_PARAMS, channels))
    graph.tensor("fc.bias", (N_PARAMS,))
    graph.add("GlobalAveragePool", [last], "pool")
    graph.add("Flatten", ["pool"], "features", axis=1)
    graph.add("Gemm", ["features", "fc.weight", "fc.bias"], "output", transB=1)
    float32 = TensorProto.FLOAT
    made = helper.make_graph(
        graph.nodes,
        "3DDFA_V2",
        [helper.make_tensor_value_info("input", float32, ["batch", 3, CROP_SIZE, CROP_SIZE])],
        [helper.make_tensor_value_info("output", float32, ["batch", N_PARAMS])],
        graph.values,
    )
    return helper.make_model(
        made, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=_IR_VERSION
    )


class _Weights:
    """Checked weights, and the graph that uses them; every node is named after its output."""

    def __init__(self, state: State, name: str) -> None:
        self._state = state
        self._name = name
        self._used: set[str] = set()
        self.nodes: list[onnx.NodeProto] = []
        self.values: list[onnx.TensorProto] = []

    def tensor(self, key: str, shape: tuple[int | None, ...]) -> NDArray[np.float32]:
        """A weight, which becomes a value of the graph; None stands for any length."""
        from onnx import numpy_helper

        if key not in self._state:
            raise InputError(f"{self._name}: has no {key}; {_EXPECTED}")
        array = self._state[key]
        fits = len(array.shape) == len(shape) and all(
            wanted in (None, found) for wanted, found in zip(shape, array.shape, strict=True)
        )
        if not fits:
            wanted = ", ".join("any" if size is None else str(size) for size in shape)
            raise InputError(f"{self._name}: {key} has shape {array.shape}, expected ({wanted})")
        if not np.all(np.isfinite(array)):
            raise InputError(f"{self._name}: {key} has values that are not finite")
        if key not in self._used:
            self._used.add(key)
            self.values.append(numpy_helper.from_array(np.ascontiguousarray(array), key))
        return array

    def add(self, kind: str, inputs: list[str], output: str, **attributes: Any) -> str:
        """A node; returns its output."""
        from onnx import helper

        self.nodes.append(helper.make_node(kind, inputs, [output], name=output, **attributes))
        return output

    def convolution(
        self, layer: str, source: str, stride: int = 1, pad: int = 0, groups: int = 1
    ) -> str:
        """A convolution whose weight was already checked; without bias."""
        return self.add(
            "Conv",
            [source, f"{layer}.weight"],
            layer,
            strides=[stride, stride],
            pads=[pad] * 4,
            group=groups,
        )

    def normalised(self, layer: str, source: str, channels: int) -> str:
        """Batch normalisation with the learned statistics, then ReLU."""
        keys = [f"{layer}.{part}" for part in _NORM]
        for key in keys:
            self.tensor(key, (channels,))
        self.add("BatchNormalization", [source, *keys], layer, epsilon=_EPSILON)
        return self.add("Relu", [layer], f"{layer}.relu")
