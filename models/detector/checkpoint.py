"""Checkpoints of the detector's training, as plain tensors and containers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import torch

from ..learning.checkpoint_file import is_checkpoint, load_content, save_content, unpacking
from ..learning.sizes import check_kinds
from ..learning.stepping import StepProgress
from ..learning.tensor_file import check_state
from .network import DetectorNetwork, DetectorNetworkConfig

DETECTOR_CHECKPOINT_FORMAT: Final = "detector-1"
"""Kind and version of the file's layout."""


@dataclass(frozen=True)
class DetectorCheckpoint:
    """A training that can go on, or be exported.

    Attributes:
        network: its architecture.
        weights: of the network in training.
        averaged: their exponential moving average, which is what gets exported.
        optimiser: state of the optimiser.
        progress: how far it is.
        threshold: score that a face needs, as the last validation chose it.
    """

    network: DetectorNetworkConfig
    weights: Mapping[str, torch.Tensor]
    averaged: Mapping[str, torch.Tensor]
    optimiser: Mapping[str, Any]
    progress: StepProgress
    threshold: float

    def save(self, path: Path) -> None:
        """Write the file; an old one of that name stays whole until this one is."""
        content = {
            "format": DETECTOR_CHECKPOINT_FORMAT,
            "network": asdict(self.network),
            "weights": dict(self.weights),
            "averaged": dict(self.averaged),
            "optimiser": dict(self.optimiser),
            "progress": asdict(self.progress),
            "threshold": self.threshold,
        }
        save_content(path, content)

    @classmethod
    def load(cls, path: Path) -> DetectorCheckpoint:
        """Read a checkpoint; nothing but tensors and plain containers is unpickled.

        Raises:
            InputError: the file is missing, damaged, or no detector's.
        """
        content = load_content(path, DETECTOR_CHECKPOINT_FORMAT)
        with unpacking(path):
            table = {name: _tuple(value) for name, value in content["network"].items()}
            check_kinds(DetectorNetworkConfig, table, f"{path}: detector")
            config = DetectorNetworkConfig(**table)
            with torch.device("meta"):
                network = DetectorNetwork(config)
            for state in (content["weights"], content["averaged"]):
                check_state(path, "its network", network.state_dict(), state)
            return cls(
                network=config,
                weights=content["weights"],
                averaged=content["averaged"],
                optimiser=content["optimiser"],
                progress=StepProgress(**content["progress"]),
                threshold=float(content["threshold"]),
            )

    def averaged_network(self) -> DetectorNetwork:
        """The network with averaged weights, in evaluation mode."""
        network = DetectorNetwork(self.network)
        network.load_state_dict(dict(self.averaged))
        return network.eval()


def is_detector_checkpoint(path: Path) -> bool:
    """Whether a file is a detector's checkpoint, rather than another network's or none."""
    return is_checkpoint(path, DETECTOR_CHECKPOINT_FORMAT)


def _tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, (list, tuple)) else value
