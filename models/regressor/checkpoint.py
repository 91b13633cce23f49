"""Checkpoints of the regressor's training, as plain tensors and containers."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..errors import InputError
from .dataset import SamplerState
from .network import FaceNetwork, NetworkConfig

CHECKPOINT_FORMAT = 1
"""Version of the file's layout."""


@dataclass
class Progress:
    """How far a training is.

    Attributes:
        step: optimiser steps done.
        images: pictures seen.
        seconds: spent in training, over all its parts.
        sampler: where the next batch begins; None before the first.
    """

    step: int = 0
    images: int = 0
    seconds: float = 0.0
    sampler: SamplerState | None = None


@dataclass(frozen=True)
class Checkpoint:
    """A training that can go on, or be exported.

    Attributes:
        network: its architecture.
        weights: of the network in training.
        averaged: their exponential moving average, which is what gets exported.
        optimiser: state of the optimiser.
        progress: how far it is.
    """

    network: NetworkConfig
    weights: Mapping[str, torch.Tensor]
    averaged: Mapping[str, torch.Tensor]
    optimiser: Mapping[str, Any]
    progress: Progress

    def save(self, path: Path) -> None:
        """Write the file; an old one of that name stays whole until this one is."""
        sampler = self.progress.sampler
        content = {
            "format": CHECKPOINT_FORMAT,
            "network": asdict(self.network),
            "weights": dict(self.weights),
            "averaged": dict(self.averaged),
            "optimiser": dict(self.optimiser),
            "progress": {
                "step": self.progress.step,
                "images": self.progress.images,
                "seconds": self.progress.seconds,
            },
            "sampler": None if sampler is None else _packed(sampler),
        }
        temporary = path.with_name(f".{path.name}.tmp")
        torch.save(content, temporary)
        temporary.replace(path)

    @classmethod
    def load(cls, path: Path) -> Checkpoint:
        """Read a checkpoint; nothing but tensors and plain containers is unpickled.

        Raises:
            InputError: the file is missing, damaged or of another version.
        """
        try:
            content = torch.load(path, map_location="cpu", weights_only=True)
        except (OSError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
            reason = str(error).splitlines()[0] if str(error) else "it breaks off"
            raise InputError(f"{path}: not a checkpoint: {reason}") from error
        if not isinstance(content, dict) or content.get("format") != CHECKPOINT_FORMAT:
            raise InputError(f"{path}: not a checkpoint of format {CHECKPOINT_FORMAT}")
        sampler = content["sampler"]
        return cls(
            network=NetworkConfig(**content["network"]),
            weights=content["weights"],
            averaged=content["averaged"],
            optimiser=content["optimiser"],
            progress=Progress(
                **content["progress"], sampler=None if sampler is None else _unpacked(sampler)
            ),
        )

    def averaged_network(self) -> FaceNetwork:
        """The network with averaged weights, in evaluation mode."""
        network = FaceNetwork(self.network)
        network.load_state_dict(dict(self.averaged))
        return network.eval()


def _packed(state: SamplerState) -> dict[str, Any]:
    seen = {number: torch.from_numpy(n.astype(np.int32)) for number, n in state.seen.items()}
    return {"chunk": state.chunk, "dealt": state.dealt, "seen": seen}


def _unpacked(table: Mapping[str, Any]) -> SamplerState:
    seen = {number: n.numpy().astype(np.uint16) for number, n in table["seen"].items()}
    return SamplerState(table["chunk"], table["dealt"], seen)
