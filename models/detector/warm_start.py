"""From an exported detector back to a network that trains."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import numpy as np
import torch
from jaxtyping import UInt8
from numpy.typing import NDArray
from torch import nn

from ..errors import InputError
from ..face.bundle import Bundle
from ..learning.exported_weights import (
    exported_network,
    finite_weights,
    fit,
    not_exported,
    read_exported_weights,
)
from ..learning.normalisation import normalised_layers, restore_normalisation
from ..learning.stepping import StepProgress
from .boxes import stated_threshold
from .checkpoint import DetectorCheckpoint
from .network import DetectorNetwork, DetectorNetworkConfig

_STRIDE_16: Final = 512
"""Channels at stride 16 of width 1."""


def exported_detector(start: Path) -> Path | None:
    """The detector to begin from, see :func:`.exported_weights.exported_network`.

    Raises:
        BundleError: ``start`` is a folder and no sound bundle.
        InputError: it is a bundle without a detector.
    """
    return exported_network(start, _detector_of)


def _detector_of(bundle: Bundle) -> Path:
    if bundle.detector_path is None:
        raise InputError(f"{bundle.folder}: this bundle has no detector of its own (detector.onnx)")
    return bundle.detector_path


def checkpoint_of_export(path: Path, pictures: UInt8[np.ndarray, "B H W 3"]) -> DetectorCheckpoint:
    """The network that ``detector.onnx`` was made of, up to scales that cancel; it can be trained.

    Args:
        path: the file, as :func:`.export.export_detector` writes it.
        pictures: BGR, as they will be trained on, from which the normalisation is taken.

    Raises:
        InputError: the file is missing, damaged or another network.
    """
    values = read_exported_weights(path)
    config = _config(values)
    if config is None:
        raise not_exported(path)
    network = DetectorNetwork(config).eval()
    layers = _layers(network)
    weights = finite_weights(path, values, _shapes(network))
    folded = [
        (torch.tensor(weights[f"{name}.weight"]), torch.tensor(weights[f"{name}.bias"]))
        for name in (*layers, "maps")
    ]
    weight, bias = folded.pop()
    network.out.load_state_dict({"weight": weight, "bias": bias})
    restore_normalisation(list(layers.values()), folded, pictures, network)
    state = network.state_dict()
    return DetectorCheckpoint(config, state, state, {}, StepProgress(), _threshold(path))


def _layers(network: DetectorNetwork) -> dict[str, tuple[nn.Conv2d, nn.BatchNorm2d]]:
    """Convolutions with their normalisation by the convolutions' names in the export."""
    parts = {f"trunk{number}": level for number, level in enumerate(network.trunk)}
    parts |= {"deep": network.deep, "top": network.tops}
    for number, (side, mix) in enumerate(zip(network.sides, network.mixes, strict=True)):
        parts |= {f"side{number}": side, f"mix{number}": mix}
    return {
        f"{name}.{number}": layer
        for name, part in parts.items()
        for number, layer in enumerate(normalised_layers(part))
    }


def _shapes(network: DetectorNetwork) -> dict[str, tuple[int, ...]]:
    """Shape of every weight in the export of such a network."""
    convolutions = {name: convolution for name, (convolution, _) in _layers(network).items()}
    convolutions["maps"] = network.out
    shapes = {f"{name}.weight": tuple(one.weight.shape) for name, one in convolutions.items()}
    return shapes | {f"{name}.bias": (one.out_channels,) for name, one in convolutions.items()}


def _config(values: Mapping[str, NDArray[np.float32]]) -> DetectorNetworkConfig | None:
    """The architecture that all weights fit; None where there is none."""
    ends = [values.get(f"{name}.bias") for name in ("deep.1", "mix1.1", "mix0.1", "top.0")]
    wide = values.get("side0.0.weight")
    if wide is None or wide.ndim != 4 or any(end is None for end in ends):
        return None
    deep, low, middle, high = (0 if end is None else end.size for end in ends)
    # Channels are rounded: the width is the roundest number that gives all of them.
    for digits in range(1, 5):
        try:
            config = DetectorNetworkConfig(
                round(wide.shape[1] / _STRIDE_16, digits), deep, (low, middle, high)
            )
            # Sizes are a file's until all weights have them: none of that is made yet.
            with torch.device("meta"):
                network = DetectorNetwork(config)
            if fit(values, _shapes(network)):
                return config
        except InputError:
            continue
    return None


def _threshold(path: Path) -> float:
    import onnx  # it is there: the weights have been read with it

    said = onnx.load(path, load_external_data=False).metadata_props
    return stated_threshold({prop.key: prop.value for prop in said}, path)
