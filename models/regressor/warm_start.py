"""From an exported regressor back to a network that trains.

An export has batch normalisation folded into its convolutions and whitening into its heads. Both
are restored from pictures like those to be trained on: evaluated, the network says what the export
says; in training it says nearly the same, and its layers are scaled like freshly begun ones.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch
from jaxtyping import Float32, UInt8
from numpy.typing import NDArray
from torch import nn

from ..errors import InputError, how_to_install
from ..face.bundle import Bundle
from ..face.names import N_PARAMS
from .network import FaceNetwork, NetworkConfig, Pooling

if TYPE_CHECKING:
    import onnx

HEADS: Final = {
    "params": "params_head",
    "whitened_log_variance": "log_variance_head",
    "blendshapes_logit": "blendshapes_head",
    "presence_logit": "presence_head",
}
"""Heads of the network by their names in the export."""

_UNITS: Final = "log_variance_of_units"
_WIDEST: Final = 1024
"""Channels of the last layer at width 1."""

_DEAD: Final = 1e-6
"""A channel of less variance hardly speaks; scaling it to 1 would blow up its weights."""

_AT_ONCE: Final = 64
"""Crops that pass through the network together."""


@dataclass(frozen=True)
class ExportedWeights:
    """What an exported regressor holds.

    Attributes:
        config: its architecture, without a landmark head.
        values: its weights by their names in the export, float32.
    """

    config: NetworkConfig
    values: Mapping[str, NDArray[np.float32]]

    def layer(self, name: str) -> tuple[torch.Tensor, torch.Tensor]:
        """Weight and bias of a layer, copied."""
        weight, bias = self.values[f"{name}.weight"], self.values[f"{name}.bias"]
        return torch.tensor(weight), torch.tensor(bias)


def exported_regressor(start: Path) -> Path | None:
    """The exported network that a training is to begin from; None where that is a checkpoint.

    Args:
        start: a bundle's folder, an ONNX file (by its suffix), or a checkpoint.

    Raises:
        BundleError: it is a folder and no sound bundle.
    """
    if start.is_dir():
        return Bundle.load(start).whole_regressor_path
    return start if start.suffix.lower() == ".onnx" else None


def read_export(path: Path) -> ExportedWeights:
    """Read ``regressor.onnx`` as :func:`.export.save_onnx` writes it.

    Raises:
        InputError: the file is missing, damaged, another network or in 8-bit integers, or onnx is
            not installed.
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
    values = _values(graph, path)
    config = _config(values)
    if config is None:
        raise InputError(f"{path}: not exported by mien: its weights are missing or of other sizes")
    values = {name: values[name] for name in shapes_of(config)}
    for name, value in values.items():
        if not np.all(np.isfinite(value)):
            raise InputError(f"{path}: {name} is not finite")
    return ExportedWeights(config, values)


def network_of_export(
    weights: ExportedWeights,
    crops: UInt8[np.ndarray, "B 120 120 3"],
    mean: Float32[np.ndarray, " 62"],
    std: Float32[np.ndarray, " 62"],
    *,
    landmark_head: bool = False,
) -> FaceNetwork:
    """The network that an export was made of, up to scales that cancel; it can be trained.

    Evaluated, it says what the export says. Only the clamp of the log-variance stands elsewhere:
    its range is counted from ``std``, and calibration has become part of the head's bias.

    Args:
        weights: of :func:`read_export`.
        crops: BGR pictures as they will be trained on, from which the normalisation is taken.
        mean: of the whitening, which need not be that of the export.
        std: likewise.
        landmark_head: whether it gets a landmark head, which begins afresh.

    Raises:
        InputError: there is no crop.
    """
    if not len(crops):
        raise InputError("no crop to take the normalisation from")
    network = FaceNetwork(replace(weights.config, landmark_head=landmark_head)).eval()
    network.set_whitening(mean, std)
    with torch.no_grad():
        for name, head in HEADS.items():
            _fill(network.get_submodule(head), *weights.layer(name))
        _rewhiten(network, torch.tensor(weights.values[_UNITS]))
        if isinstance(network.pool, nn.Conv2d):
            network.pool.weight.copy_(torch.tensor(weights.values["pool.weight"]))
        _restore_normalisation(network, weights, crops)
    return network


def _rewhiten(network: FaceNetwork, log_variance_of_units: torch.Tensor) -> None:
    """Fold the network's whitening out of heads that speak in the parameters' own units."""
    mean, std = network.param_mean, network.param_std
    network.params_head.weight.div_(std[:, None])
    network.params_head.bias.sub_(mean).div_(std)
    network.log_variance_head.bias.add_(log_variance_of_units - 2 * std.log())


def _restore_normalisation(
    network: FaceNetwork, weights: ExportedWeights, crops: UInt8[np.ndarray, "B 120 120 3"]
) -> None:
    """Load the trunk, each convolution scaled to outputs of unit variance over the crops."""
    layers = _layers(network)
    biases = []
    for number, (convolution, norm) in enumerate(layers):
        weight, bias = weights.layer(f"conv{number}")
        convolution.weight.copy_(weight)
        # As folded: the normalisation only adds the bias.
        zeros, ones = torch.zeros_like(bias), torch.ones_like(bias)
        _set_norm(norm, zeros, ones, ones, bias)
        biases.append(bias)
    statistics = _statistics(network, [convolution for convolution, _ in layers], crops)
    for (convolution, norm), bias, (mean, variance) in zip(layers, biases, statistics, strict=True):
        scale = torch.where(variance > _DEAD, variance.sqrt(), 1.0)
        convolution.weight.div_(scale[:, None, None, None])
        _set_norm(norm, mean / scale, variance / scale**2, scale, bias + mean)


def _set_norm(
    norm: nn.BatchNorm2d,
    mean: torch.Tensor,
    variance: torch.Tensor,
    gain: torch.Tensor,
    bias: torch.Tensor,
) -> None:
    """Make it say ``gain * (input - mean) + bias`` when evaluated; all (C,)."""
    norm.get_buffer("running_mean").copy_(mean)
    norm.get_buffer("running_var").copy_(variance)
    norm.weight.copy_(gain * torch.sqrt(variance + norm.eps))
    norm.bias.copy_(bias)


def _statistics(
    network: FaceNetwork,
    convolutions: Sequence[nn.Conv2d],
    crops: UInt8[np.ndarray, "B 120 120 3"],
) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Mean and variance (C,) of every convolution's outputs, float64."""
    moments = [torch.zeros(2, c.out_channels, dtype=torch.float64) for c in convolutions]

    def watch(convolution: nn.Conv2d, moment: torch.Tensor) -> Any:
        def add(_module: nn.Module, _inputs: object, output: torch.Tensor) -> None:
            variance, mean = torch.var_mean(output, (0, 2, 3), correction=0)
            variance, mean = variance.double(), mean.double()
            moment.add_(torch.stack([mean, variance + mean**2]), alpha=len(output) / len(crops))

        return convolution.register_forward_hook(add)

    hooks = [watch(c, moment) for c, moment in zip(convolutions, moments, strict=True)]
    for start in range(0, len(crops), _AT_ONCE):
        network.features(torch.from_numpy(crops[start : start + _AT_ONCE]))
    for hook in hooks:
        hook.remove()
    return [(mean, (square - mean**2).clamp(min=0.0)) for mean, square in moments]


def _fill(layer: nn.Module, weight: torch.Tensor, bias: torch.Tensor) -> None:
    layer.load_state_dict({"weight": weight, "bias": bias})


def _layers(network: FaceNetwork) -> list[tuple[nn.Conv2d, nn.BatchNorm2d]]:
    """Convolutions of the trunk with their normalisation."""
    parts = list(network.trunk)
    return [
        (convolution, norm)
        for convolution, norm in zip(parts[0::3], parts[1::3], strict=True)
        if isinstance(convolution, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d)
    ]


def _values(graph: onnx.GraphProto, path: Path) -> dict[str, NDArray[np.float32]]:
    """Constants of a graph that are numbers in single precision."""
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


def _config(values: Mapping[str, NDArray[np.float32]]) -> NetworkConfig | None:
    """The architecture that all weights fit; None where there is none."""
    pooling: Pooling = "weighted" if "pool.weight" in values else "average"
    head = values.get("params.weight")
    if head is None or head.ndim != 2:
        return None
    # Channels are rounded: the width is the roundest number that gives all of them.
    for digits in range(1, 5):
        try:
            config = NetworkConfig(round(head.shape[1] / _WIDEST, digits), pooling)
        except InputError:
            continue
        if all(
            name in values and values[name].shape == shape
            for name, shape in shapes_of(config).items()
        ):
            return config
    return None


def shapes_of(config: NetworkConfig) -> dict[str, tuple[int, ...]]:
    """Shape of every weight in the export of such a network."""
    network = FaceNetwork(config)
    layers = {f"conv{number}": layer for number, (layer, _) in enumerate(_layers(network))}
    shapes = {f"{name}.weight": tuple(layer.weight.shape) for name, layer in layers.items()}
    shapes |= {f"{name}.bias": (layer.out_channels,) for name, layer in layers.items()}
    if isinstance(network.pool, nn.Conv2d):
        shapes["pool.weight"] = tuple(network.pool.weight.shape)
    for name, head in HEADS.items():
        weight, bias = (network.get_parameter(f"{head}.{part}") for part in ("weight", "bias"))
        shapes |= {f"{name}.weight": tuple(weight.shape), f"{name}.bias": tuple(bias.shape)}
    return shapes | {_UNITS: (N_PARAMS,)}
