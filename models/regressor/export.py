"""From a checkpoint to ``regressor.onnx``, and to a whole model bundle."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np
import onnx
from jaxtyping import Float
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from ..errors import InputError, OutputError
from ..face.bundle import (
    FACE_MODEL,
    REGRESSOR,
    SMOOTHER,
    WHOLE_REGRESSOR,
    Bundle,
    BundleInfo,
    Scalar,
    write_bundle,
)
from ..face.crop import CROP_SIZE
from ..face.morphable import FaceModel
from ..learning.onnx_graph import OnnxGraph, folded, plain_array, read_model, write_model
from .checkpoint import Checkpoint
from .network import FaceNetwork, count_parameters

INPUT_NAME: Final = "crops"
OUTPUT_NAMES: Final = ("params", "log_variance", "blendshapes", "presence")
_UNITS: Final = "log_variance_of_units"
"""What turns whitened log-variances into those of the parameters; calibration adds to it."""


def export_regressor(checkpoint: Path, out: Path) -> Path:
    """Write the averaged network of a checkpoint as ONNX, as DESIGN.md 3 describes it.

    Args:
        checkpoint: of :func:`.train.train_regressor`.
        out: the ONNX file to write, or a folder for ``regressor.onnx``.

    Returns:
        The file written.

    Raises:
        InputError: the checkpoint cannot be read.
        OutputError: the file cannot be written.
    """
    network = Checkpoint.load(checkpoint).averaged_network()
    path = out / REGRESSOR if out.is_dir() or out.suffix != ".onnx" else out
    save_onnx(network, path)
    return path


def save_onnx(network: FaceNetwork, path: Path) -> None:
    """Write a network as ONNX; the file appears when it is complete.

    Raises:
        OutputError: the file cannot be written.
    """
    write_model(to_onnx(network), path)


def offset_log_variance(path: Path, offset: Float[np.ndarray, " 62"]) -> None:
    """Add constants to the stated log-variances of an exported network, in place.

    Args:
        path: ONNX file of :func:`save_onnx`, or its int8 form.
        offset: natural logarithm of what each of the 62 variances is to be multiplied with.

    Raises:
        InputError: the file is no such network, or an offset is not finite.
        OutputError: it cannot be written.
    """
    if not np.all(np.isfinite(offset)):
        raise InputError("calibration: an offset of the log-variance is not finite")
    model = read_model(path)
    for value in model.graph.initializer:
        if value.name == _UNITS:
            units = numpy_helper.to_array(value).astype(np.float64) + offset
            value.CopyFrom(numpy_helper.from_array(units.astype(np.float32), _UNITS))
            break
    else:
        raise InputError(f"{path}: no {_UNITS} in it, so not exported by mien")
    write_model(model, path)


def make_bundle(
    folder: Path,
    checkpoint: Path,
    face_model: Path,
    info: BundleInfo,
    smoother: Path | None = None,
    networks: Mapping[str, onnx.ModelProto] | None = None,
) -> Bundle:
    """Assemble a bundle: face model, exported network, smoother settings, manifest with hashes.

    All inputs are read before anything is written.

    Args:
        folder: of the bundle; made where absent.
        checkpoint: the trained network.
        face_model: ``face_model.npz`` that it was trained with; may lie in ``folder`` already.
        info: name, version, licence, provenance, command; what the checkpoint knows (width,
            pictures seen, minutes) is added to its ``training``.
        smoother: ``smoother.toml``, if there is one.
        networks: further ones by the name of their file, such as ``detector.onnx``.

    Raises:
        InputError: an input cannot be read.
        OutputError: the folder cannot be written.
    """
    wanted = {face_model: folder / FACE_MODEL}
    if smoother is not None:
        wanted[smoother] = folder / SMOOTHER
    for source in wanted:
        if not source.is_file():
            raise InputError(f"{source}: no such file")
    FaceModel.load(face_model)
    trained = Checkpoint.load(checkpoint)
    models = {REGRESSOR: to_onnx(trained.averaged_network()), **(networks or {})}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / WHOLE_REGRESSOR).unlink(missing_ok=True)  # of another network that lay there
        for source, target in wanted.items():
            if source.resolve() != target.resolve():
                shutil.copyfile(source, target)
    except OSError as error:
        raise OutputError(f"{folder}: cannot be written: {error.strerror}") from error
    for name, model in models.items():
        write_model(model, folder / name)
    return write_bundle(folder, replace(info, training={**_facts(trained), **info.training}))


def _facts(trained: Checkpoint) -> dict[str, Scalar]:
    """What a checkpoint knows about its training."""
    return {
        "network": "MobileNet-V1",
        "width": trained.network.width,
        "pooling": trained.network.pooling,
        "learned_values": count_parameters(trained.averaged_network()),
        "images": trained.progress.images,
        "minutes": round(trained.progress.seconds / 60, 1),
    }


def to_onnx(network: FaceNetwork) -> onnx.ModelProto:
    """The network as an ONNX graph of any batch size.

    Input ``crops`` (B, 120, 120, 3) uint8 BGR. Outputs: ``params`` (B, 62) in their own units (pose
    in crop px per mm, the rest in standard deviations), ``log_variance`` (B, 62) of those,
    ``blendshapes`` (B, 52) and ``presence`` (B, 1) in [0, 1]. Normalisation of the input, batch
    normalisation and whitening are folded in.
    """
    network = network.eval()
    graph = OnnxGraph()
    last = graph.normalised_pixels(INPUT_NAME)
    for number, convolution in enumerate(folded(network.trunk)):
        last = graph.convolution(f"conv{number}", last, convolution)
        last = graph.add("Relu", [last], f"relu{number}")
    if isinstance(network.pool, nn.Conv2d):
        last = graph.convolution("pool", last, network.pool)
    else:
        last = graph.add("GlobalAveragePool", [last], "pool")
    features = graph.add("Flatten", [last], "features", axis=1)
    _add_heads(graph, network, features)
    crops = helper.make_tensor_value_info(
        INPUT_NAME, TensorProto.UINT8, ["batch", CROP_SIZE, CROP_SIZE, 3]
    )
    outputs = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", width])
        for name, width in zip(OUTPUT_NAMES, (62, 62, 52, 1), strict=True)
    ]
    return graph.model("regressor", [crops], outputs)


def _add_heads(graph: OnnxGraph, network: FaceNetwork, features: str) -> None:
    mean, std = (plain_array(buffer) for buffer in (network.param_mean, network.param_std))
    params, variance = network.params_head, network.log_variance_head
    weight, bias = _linear(params)
    graph.linear("params", features, weight * std[:, None], bias * std + mean)
    graph.linear("whitened_log_variance", features, *_linear(variance))
    low, high = network.log_variance_range
    graph.value("least", np.array(low, np.float32))
    graph.value("most", np.array(high, np.float32))
    graph.value(_UNITS, 2 * np.log(std))
    graph.add("Clip", ["whitened_log_variance", "least", "most"], "clipped_log_variance")
    graph.add("Add", ["clipped_log_variance", _UNITS], "log_variance")
    for name, head in (
        ("blendshapes", network.blendshapes_head),
        ("presence", network.presence_head),
    ):
        graph.linear(f"{name}_logit", features, *_linear(head))
        graph.add("Sigmoid", [f"{name}_logit"], name)


def _linear(layer: nn.Linear) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    return plain_array(layer.weight), plain_array(layer.bias)
