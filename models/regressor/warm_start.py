"""From an exported regressor back to a network that trains.

An export has batch normalisation folded into its convolutions and whitening into its heads. Both
are restored from pictures like those to be trained on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
import torch
from jaxtyping import Float32, UInt8
from numpy.typing import NDArray
from torch import nn

from ..errors import InputError
from ..face.names import N_PARAMS
from ..learning.exported_weights import (
    exported_network,
    finite_weights,
    fit,
    not_exported,
    read_exported_weights,
)
from ..learning.normalisation import normalised_layers, restore_normalisation
from .network import FaceNetwork, NetworkConfig, Pooling

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
    """The regressor to begin from, see :func:`.exported_weights.exported_network`.

    Raises:
        BundleError: ``start`` is a folder and no sound bundle.
    """
    return exported_network(start, lambda bundle: bundle.whole_regressor_path)


def read_export(path: Path) -> ExportedWeights:
    """Read ``regressor.onnx`` as :func:`.export.save_onnx` writes it.

    Raises:
        InputError: the file is missing, damaged, another network or in 8-bit integers, or onnx is
            not installed.
    """
    values = read_exported_weights(path)
    config = _config(values)
    if config is None:
        raise not_exported(path)
    return ExportedWeights(config, finite_weights(path, values, shapes_of(config)))


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
    layers = normalised_layers(network.trunk)
    folded = [weights.layer(f"conv{number}") for number in range(len(layers))]
    restore_normalisation(layers, folded, crops, network.features)
    return network


def _rewhiten(network: FaceNetwork, log_variance_of_units: torch.Tensor) -> None:
    """Fold the network's whitening out of heads that speak in the parameters' own units."""
    mean, std = network.param_mean, network.param_std
    network.params_head.weight.div_(std[:, None])
    network.params_head.bias.sub_(mean).div_(std)
    network.log_variance_head.bias.add_(log_variance_of_units - 2 * std.log())


def _fill(layer: nn.Module, weight: torch.Tensor, bias: torch.Tensor) -> None:
    layer.load_state_dict({"weight": weight, "bias": bias})


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
        if fit(values, shapes_of(config)):
            return config
    return None


def shapes_of(config: NetworkConfig) -> dict[str, tuple[int, ...]]:
    """Shape of every weight in the export of such a network."""
    network = FaceNetwork(config)
    layers = {
        f"conv{number}": layer for number, (layer, _) in enumerate(normalised_layers(network.trunk))
    }
    shapes = {f"{name}.weight": tuple(layer.weight.shape) for name, layer in layers.items()}
    shapes |= {f"{name}.bias": (layer.out_channels,) for name, layer in layers.items()}
    if isinstance(network.pool, nn.Conv2d):
        shapes["pool.weight"] = tuple(network.pool.weight.shape)
    for name, head in HEADS.items():
        weight, bias = (network.get_parameter(f"{head}.{part}") for part in ("weight", "bias"))
        shapes |= {f"{name}.weight": tuple(weight.shape), f"{name}.bias": tuple(bias.shape)}
    return shapes | {_UNITS: (N_PARAMS,)}
