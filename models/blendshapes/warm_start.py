"""From an exported network of the blendshapes back to one that trains."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

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
from ..learning.onnx_graph import plain_array
from ..learning.stepping import StepProgress
from .checkpoint import BlendshapeCheckpoint
from .export import joined_layers
from .network import ORDER, BlendshapeNetwork

Values = Mapping[str, NDArray[np.float32]]


def exported_blendshapes(start: Path) -> Path | None:
    """The network to begin from, see :func:`.exported_weights.exported_network`.

    Raises:
        BundleError: ``start`` is a folder and no sound bundle.
        InputError: it is a bundle without such a network.
    """
    return exported_network(start, _blendshapes_of)


def checkpoint_of_export(
    path: Path, views: UInt8[np.ndarray, "B 3 48 64 3"]
) -> BlendshapeCheckpoint:
    """The network that ``blendshapes.onnx`` was made of, up to scales that cancel.

    Args:
        path: the file, as :func:`.export.export_blendshapes` writes it.
        views: BGR, as they will be trained on, from which the normalisation is taken.

    Raises:
        InputError: the file is missing, damaged or another network.
    """
    values = read_exported_weights(path)
    network = BlendshapeNetwork().eval()
    layers = normalised_layers(network.trunk)
    shapes = {name: value.shape for name, value in joined_layers(network).items()}
    for number, (convolution, _) in enumerate(layers):
        shapes[f"conv{number}.weight"] = tuple(convolution.weight.shape)
        shapes[f"conv{number}.bias"] = (convolution.out_channels,)
    if not fit(values, shapes):
        raise not_exported(path)
    values = finite_weights(path, values, shapes)
    _part(network, values)
    # One layer for both eyes and the rest is ours only if both eyes' weights are the same.
    for name, value in joined_layers(network).items():
        if not np.allclose(value, values[name], atol=1e-6):
            raise not_exported(path)
    folded = [
        (torch.tensor(values[f"conv{number}.weight"]), torch.tensor(values[f"conv{number}.bias"]))
        for number in range(len(layers))
    ]
    restore_normalisation(layers, folded, views.reshape(-1, *views.shape[2:]), network.maps)
    state = network.state_dict()
    return BlendshapeCheckpoint(state, state, {}, StepProgress())


def _blendshapes_of(bundle: Bundle) -> Path:
    if bundle.blendshapes_path is None:
        raise InputError(f"{bundle.folder}: this bundle has no blendshapes.onnx")
    return bundle.blendshapes_path


def _part(network: BlendshapeNetwork, values: Values) -> None:
    """Fill the layers that the export joins, see :func:`.export.joined_layers`."""
    describe, bias = values["describe.weight"], values["describe.bias"][:, 0]
    _fill(network.describe_eye, describe[0].T, bias[0])
    _fill(network.describe_mouth, describe[-1].T, bias[-1])
    mixed, bias = values["mixed.weight"], values["mixed.bias"]
    eyes, width = len(plain_array(network.mix.bias)), describe.shape[2]
    # Of the left eye's rows: its own features, the other eye's, and where the face looks.
    own = np.concatenate([mixed[:eyes, : 2 * width], mixed[:eyes, -2:]], axis=1)
    _fill(network.mix, own, bias[:eyes])
    _fill(network.mix_rest, mixed[2 * eyes :], bias[2 * eyes :])
    back = np.argsort(ORDER)
    logits, bias = values["logits.weight"][back], values["logits.bias"][back]
    units = network.say.out_features
    _fill(network.say, logits[:units, :eyes], bias[:units])
    _fill(network.say_rest, logits[2 * units :, 2 * eyes :], bias[2 * units :])


def _fill(layer: nn.Linear, weight: NDArray[np.float32], bias: NDArray[np.float32]) -> None:
    state = {"weight": weight, "bias": bias}
    layer.load_state_dict({name: torch.tensor(value) for name, value in state.items()})
