"""Checkpoints of the regressor's training, as plain tensors and containers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..learning.checkpoint_file import load_content, save_content, unpacking
from ..learning.sizes import check_kinds
from ..learning.tensor_file import check_state
from .dataset import SamplerState
from .learner import OptimiserKind
from .network import FaceNetwork, NetworkConfig, without_landmark_head

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
class Origin:
    """One part of a training, as it was begun.

    Attributes:
        command: the exact command line; empty where it was called from a program.
        seed: of everything random in it.
        images: pictures seen before it, in all parts together.
        device: ``cpu`` or ``cuda``.
    """

    command: str
    seed: int
    images: int
    device: str


@dataclass(frozen=True)
class Checkpoint:
    """A training that can go on, or be exported.

    Attributes:
        network: its architecture.
        weights: of the network in training.
        averaged: their exponential moving average, which is what gets exported.
        optimiser: state of the optimiser.
        progress: how far it is.
        optimiser_kind: whose state that is.
        history: how it came about, the first part first; unknown for old files.
    """

    network: NetworkConfig
    weights: Mapping[str, torch.Tensor]
    averaged: Mapping[str, torch.Tensor]
    optimiser: Mapping[str, Any]
    progress: Progress
    optimiser_kind: OptimiserKind = "adamw"
    history: tuple[Origin, ...] = ()

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
            "optimiser_kind": self.optimiser_kind,
            "history": [asdict(origin) for origin in self.history],
        }
        save_content(path, content)

    @classmethod
    def load(cls, path: Path) -> Checkpoint:
        """Read a checkpoint; nothing but tensors and plain containers is unpickled.

        Raises:
            InputError: the file is missing, damaged, of another version or network.
        """
        content = load_content(path, CHECKPOINT_FORMAT)
        with unpacking(path):
            sampler = content["sampler"]
            check_kinds(NetworkConfig, content["network"], f"{path}: regressor")
            config = NetworkConfig(**content["network"])
            with torch.device("meta"):
                network = FaceNetwork(config)
            for state in (content["weights"], content["averaged"]):
                check_state(path, "its network", network.state_dict(), state)
            return cls(
                network=config,
                weights=content["weights"],
                averaged=content["averaged"],
                optimiser=content["optimiser"],
                progress=Progress(
                    **content["progress"], sampler=None if sampler is None else _unpacked(sampler)
                ),
                # Files from before these were recorded lack them.
                optimiser_kind=content.get("optimiser_kind", "adamw"),
                history=tuple(Origin(**origin) for origin in content.get("history", ())),
            )

    def averaged_network(self) -> FaceNetwork:
        """The network with averaged weights and without a landmark head, in evaluation mode."""
        network = FaceNetwork(replace(self.network, landmark_head=False))
        network.load_state_dict(without_landmark_head(self.averaged))
        return network.eval()


def _packed(state: SamplerState) -> dict[str, Any]:
    seen = {number: torch.from_numpy(n.astype(np.int32)) for number, n in state.seen.items()}
    return {"chunk": state.chunk, "dealt": state.dealt, "seen": seen}


def _unpacked(table: Mapping[str, Any]) -> SamplerState:
    seen = {number: n.numpy().astype(np.uint16) for number, n in table["seen"].items()}
    return SamplerState(table["chunk"], table["dealt"], seen)
