"""Weights of networks that mien exported as ONNX, by their names in the graph."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError, how_to_install
from ..face.bundle import Bundle

if TYPE_CHECKING:
    import onnx


def exported_network(start: Path, of_bundle: Callable[[Bundle], Path]) -> Path | None:
    """The exported network that a training is to begin from; None where that is a checkpoint.

    Args:
        start: a bundle's folder, an ONNX file (by its suffix), or a checkpoint.
        of_bundle: which file of a bundle.

    Raises:
        BundleError: it is a folder and no sound bundle.
    """
    if start.is_dir():
        return of_bundle(Bundle.load(start))
    return start if start.suffix.lower() == ".onnx" else None


def read_exported_weights(path: Path) -> dict[str, NDArray[np.float32]]:
    """Constants of an ONNX network that are numbers in single precision.

    Raises:
        InputError: the file is missing, damaged, in 8-bit integers or keeps weights in other files,
            or onnx is not installed.
    """
    try:
        import onnx
        from google.protobuf.message import DecodeError
    except ImportError as error:
        raise InputError(f"{path}: needs onnx; {how_to_install('train')} brings it") from error
    try:
        graph = onnx.ModelProto.FromString(path.read_bytes()).graph
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from error
    except DecodeError as error:
        raise InputError(f"{path}: not an ONNX file") from error
    if any(node.op_type in ("QuantizeLinear", "DequantizeLinear") for node in graph.node):
        raise InputError(
            f"{path}: in 8-bit integers, which cannot be trained; expected single precision"
        )
    return _values(graph, path)


def not_exported(path: Path) -> InputError:
    """The error of a file that holds no network of the kind that is asked for."""
    return InputError(f"{path}: not exported by mien: its weights are missing or of other sizes")


def finite_weights(
    path: Path, values: Mapping[str, NDArray[np.float32]], names: Iterable[str]
) -> dict[str, NDArray[np.float32]]:
    """The values of these names.

    Raises:
        InputError: one holds a number that is not finite.
    """
    found = {name: values[name] for name in names}
    for name, value in found.items():
        if not np.all(np.isfinite(value)):
            raise InputError(f"{path}: {name} is not finite")
    return found


def fit(values: Mapping[str, NDArray[np.float32]], shapes: Mapping[str, tuple[int, ...]]) -> bool:
    """Whether there is a value of each name, and of that shape."""
    return all(name in values and values[name].shape == shape for name, shape in shapes.items())


def _values(graph: onnx.GraphProto, path: Path) -> dict[str, NDArray[np.float32]]:
    from onnx import TensorProto, numpy_helper

    values = {}
    for tensor in graph.initializer:
        if tensor.data_location == TensorProto.EXTERNAL or tensor.external_data:
            raise InputError(f"{path}: not exported by mien: keeps weights in another file")
        if tensor.data_type == TensorProto.FLOAT:
            try:
                values[tensor.name] = numpy_helper.to_array(tensor)
            except (ValueError, TypeError) as error:
                raise InputError(f"{path}: damaged: a weight cannot be read") from error
    return values
