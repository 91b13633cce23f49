"""A 3DDFA_V2 network inside mien's contract: uint8 crops in, 62 parameters in mien's units out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
from jaxtyping import Float

from ..errors import InputError
from ..face.crop import CROP_SIZE
from ..face.names import N_PARAMS
from ..onnx_wire import check_one_file
from .checkpoint import read_state, to_graph
from .pickles import MOST_BYTES

if TYPE_CHECKING:
    import onnx

_CENTRE, _SPREAD = 127.5, 128.0
_INSIDE: Final = "inner/"
"""Before every name of the network that is wrapped."""
_OPSETS: Final = range(7, 24)
_EXPECTED = f"expected one of 3DDFA_V2's: float (1, 3, {CROP_SIZE}, {CROP_SIZE}) to (1, {N_PARAMS})"


def read_network(path: Path) -> onnx.ModelProto:
    """A network that turns normalised BGR crops (B, 3, 120, 120) into z-scores (B, 62).

    Args:
        path: ``.onnx``, or a checkpoint (``.pth``), for which torch is needed.

    Raises:
        InputError: the file is missing, damaged, or another network.
    """
    suffix = path.suffix.lower()
    if suffix not in (".onnx", ".pth"):
        raise InputError(f"{path}: expected a network that ends .pth or .onnx")
    try:
        size = path.stat().st_size
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from error
    if size > MOST_BYTES:
        raise InputError(f"{path}: larger than {MOST_BYTES >> 20} MB, which none of these is")
    return _read_onnx(path) if suffix == ".onnx" else to_graph(read_state(path), str(path))


def wrap(
    network: onnx.ModelProto,
    matrix: Float[np.ndarray, "62 62"],
    offset: Float[np.ndarray, " 62"],
) -> onnx.ModelProto:
    """Put the normalisation before a network, and a linear map of its output behind it.

    Args:
        network: as :func:`read_network` gives it.
        matrix: of the map.
        offset: of the map.

    Returns:
        ``crops`` uint8 (B, 120, 120, 3) to ``params`` (B, 62); the batch is dynamic.
    """
    from onnx import TensorProto, compose, helper, numpy_helper

    inner = compose.add_prefix(network, _INSIDE).graph
    source, result = inner.input[0].name, inner.output[0].name
    nodes = [
        helper.make_node("Cast", ["crops"], ["pixels"], to=TensorProto.FLOAT),
        helper.make_node("Sub", ["pixels", "centre"], ["centred"]),
        helper.make_node("Div", ["centred", "spread"], ["normalised"]),
        helper.make_node("Transpose", ["normalised"], [source], perm=[0, 3, 1, 2]),
        *inner.node,
        helper.make_node("Gemm", [result, "matrix", "offset"], ["params"], transB=1),
    ]
    values = {
        "centre": np.array(_CENTRE, np.float32),
        "spread": np.array(_SPREAD, np.float32),
        "matrix": matrix.astype(np.float32),
        "offset": offset.astype(np.float32),
    }
    shape = ["batch", CROP_SIZE, CROP_SIZE, 3]
    graph = helper.make_graph(
        nodes,
        "regressor",
        [helper.make_tensor_value_info("crops", TensorProto.UINT8, shape)],
        [helper.make_tensor_value_info("params", TensorProto.FLOAT, ["batch", N_PARAMS])],
        [*inner.initializer, *(numpy_helper.from_array(v, name) for name, v in values.items())],
    )
    return helper.make_model(
        graph,
        opset_imports=list(network.opset_import),
        ir_version=max(network.ir_version, 4),  # from which on weights need not be inputs
        producer_name="mien",
    )


def check_runs(model: onnx.ModelProto, name: str) -> None:
    """Try a wrapped network: what it says of two crops is what it says of each, and finite.

    Raises:
        InputError: it does not run, or not so.
    """
    import onnxruntime
    from onnxruntime.capi.onnxruntime_pybind11_state import (
        Fail,
        InvalidArgument,
        InvalidGraph,
        InvalidProtobuf,
        NotImplemented,
        RuntimeException,
    )

    crops = np.random.default_rng(0).integers(0, 256, (2, CROP_SIZE, CROP_SIZE, 3), np.uint8)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    try:
        session = onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        both, first, second = (
            np.asarray(session.run(["params"], {"crops": part})[0])
            for part in (crops, crops[:1], crops[1:])
        )
    except (
        *(Fail, InvalidArgument, InvalidGraph, InvalidProtobuf),
        *(NotImplemented, RuntimeException),
    ) as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"{name}: does not run: {reason}; {_EXPECTED}") from error
    if both.shape != (2, N_PARAMS) or not np.all(np.isfinite(both)):
        raise InputError(f"{name}: gives numbers {list(both.shape)} or none at all; {_EXPECTED}")
    if not np.allclose(both, np.concatenate([first, second]), rtol=1e-3, atol=1e-3):
        raise InputError(f"{name}: says something else of two crops than of each; {_EXPECTED}")


def _read_onnx(path: Path) -> onnx.ModelProto:
    import onnx
    from google.protobuf.message import DecodeError

    try:
        content = path.read_bytes()
        model = onnx.ModelProto.FromString(content)
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from error
    except DecodeError as error:
        raise InputError(f"{path}: not an ONNX file; {_EXPECTED}") from error
    check_one_file(content, path)
    foreign = {node.domain for node in model.graph.node} - {"", "ai.onnx"}
    opsets = [entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")]
    if foreign or model.functions or len(opsets) != 1 or opsets[0] not in _OPSETS:
        raise InputError(
            f"{path}: uses operators {sorted(foreign)} or sets {opsets}, expected the standard "
            f"ones of set {_OPSETS.start} to {_OPSETS.stop - 1}"
        )
    weights = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in weights]
    outputs = list(model.graph.output)
    if len(inputs) != 1 or not _fits(inputs[0], (3, CROP_SIZE, CROP_SIZE)):
        raise InputError(f"{path}: takes {_told(inputs)}; {_EXPECTED}")
    if not outputs or not _fits(outputs[0], (N_PARAMS,)):
        raise InputError(f"{path}: gives {_told(outputs)}; {_EXPECTED}")
    # Older exports list the weights among the inputs; further outputs are of no use here.
    del model.graph.input[:], model.graph.output[1:], model.graph.value_info[:]
    model.graph.input.append(inputs[0])
    try:
        _free_batch(model.graph)
    except (ValueError, TypeError) as error:
        raise InputError(f"{path}: a shape in it cannot be read; {_EXPECTED}") from error
    return model


def _fits(value: onnx.ValueInfoProto, shape: tuple[int, ...]) -> bool:
    """Whether a value is float32, with any batch axis and then this shape."""
    kind = value.type.tensor_type
    return kind.elem_type == 1 and [d.dim_value for d in kind.shape.dim][1:] == list(shape)


def _told(values: list[onnx.ValueInfoProto]) -> str:
    told = ", ".join(
        f"{value.name!r:.40} ("
        + ", ".join(_size(dim) for dim in value.type.tensor_type.shape.dim)
        + ")"
        for value in values
    )
    return told or "nothing"


def _size(dim: onnx.TensorShapeProto.Dimension) -> str:
    """A dimension's name, which a damaged file may have in bytes that are no text, or its size."""
    name: str | bytes = dim.dim_param
    return f"{name!r:.20}" if name else str(dim.dim_value)


def _free_batch(graph: onnx.GraphProto) -> None:
    """Where an export fixed the batch at 1 as it flattened the features, take it from the input."""
    from onnx import numpy_helper

    constants = {tensor.name: tensor for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant":
            for attribute in node.attribute:
                constants[node.output[0]] = attribute.t
    for number, node in enumerate(graph.node):
        constant = constants.get(node.input[1]) if node.op_type == "Reshape" else None
        if constant is None or list(constant.dims) != [2]:
            continue
        shape = numpy_helper.to_array(constant)
        if shape[0] == 1:
            free = f"reshape_{number}.free_batch"
            wanted = np.array([0, shape[1]], np.int64)  # 0: as the input has it
            graph.initializer.append(numpy_helper.from_array(wanted, free))
            node.input[1] = free
