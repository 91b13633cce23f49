"""A trained regressor made wider without changing what it says (Net2WiderNet, Chen et al. 2016)."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Final

import numpy as np
from jaxtyping import Float32, Int64
from numpy.typing import NDArray

from ..errors import InputError
from .warm_start import HEADS, ExportedWeights, shapes_of

_FEWEST: Final = 0.2
"""Least share, before normalisation, that a copy of a channel has of its weight; the most is 1."""


def widened(weights: ExportedWeights, width: float, seed: int = 0) -> ExportedWeights:
    """The same function in a wider network.

    New channels are copies of old ones; whoever reads a channel divides its weight among the
    copies (Chen et al. 2016, eq. 8), here in random shares, so that copies learn different things.

    Args:
        weights: of :func:`.warm_start.read_export`.
        width: of the new network, as a share of MobileNet-V1's channels.
        seed: of which channels are copied and how weights are divided.

    Raises:
        InputError: the network is wider already.
    """
    config = replace(weights.config, width=width)
    shapes = shapes_of(config)
    if width < weights.config.width:
        raise InputError(
            f"a regressor of width {weights.config.width} cannot be widened to {width:g}; expected "
            f"at least its own width"
        )
    rng = np.random.default_rng(seed)
    values = dict(weights.values)
    source = np.arange(3)
    layers = [key.removesuffix(".bias") for key in shapes if re.fullmatch(r"conv\d+\.bias", key)]
    for name in layers:
        weight, bias = weights.values[f"{name}.weight"], weights.values[f"{name}.bias"]
        if weight.shape[1] == 1:  # depthwise: as many channels as it is given
            values[f"{name}.weight"] = weight[source]
        else:
            outputs = _copied(len(weight), shapes[f"{name}.bias"][0], rng)
            values[f"{name}.weight"] = _divided(weight[outputs], source, rng)
            source = outputs
        values[f"{name}.bias"] = bias[source]
    if "pool.weight" in values:
        values["pool.weight"] = values["pool.weight"][source]
    for head in HEADS:
        values[f"{head}.weight"] = _divided(values[f"{head}.weight"], source, rng)
    return ExportedWeights(config, values)


def _copied(channels: int, wanted: int, rng: np.random.Generator) -> Int64[np.ndarray, " wanted"]:
    """Of which channel each new one is a copy: all old ones, then evenly chosen ones."""
    rounds = [rng.permutation(channels) for _ in range(wanted // channels)]
    return np.concatenate([np.arange(channels), *rounds])[:wanted]


def _divided(
    weight: NDArray[np.float32], source: Int64[np.ndarray, " wanted"], rng: np.random.Generator
) -> Float32[np.ndarray, "O wanted ..."]:
    """Weights (O, I, ...) of copies ``source`` (wanted,) of the inputs; shares sum to one."""
    shares = rng.uniform(_FEWEST, 1.0, (len(weight), len(source)))
    sums = np.zeros(weight.shape[:2])
    for copy, channel in enumerate(source):
        sums[:, channel] += shares[:, copy]
    shares /= sums[:, source]
    shares = shares.reshape(*shares.shape, *(1,) * (weight.ndim - 2))
    return (weight[:, source] * shares).astype(np.float32)
