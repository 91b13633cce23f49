"""Checkpoints of the blendshapes' training, as plain tensors and containers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import torch

from ..learning.checkpoint_file import is_checkpoint, load_content, save_content, unpacking
from ..learning.stepping import StepProgress
from ..learning.tensor_file import check_state
from .network import BlendshapeNetwork

BLENDSHAPE_CHECKPOINT_FORMAT: Final = "blendshapes-1"
"""Kind and version of the file's layout."""


@dataclass(frozen=True)
class BlendshapeCheckpoint:
    """A training that can go on, or be exported.

    Attributes:
        weights: of the network in training.
        averaged: their exponential moving average, which is what gets exported.
        optimiser: state of the optimiser.
        progress: how far it is.
    """

    weights: Mapping[str, torch.Tensor]
    averaged: Mapping[str, torch.Tensor]
    optimiser: Mapping[str, Any]
    progress: StepProgress

    def save(self, path: Path) -> None:
        """Write the file; an old one of that name stays whole until this one is."""
        content = {
            "format": BLENDSHAPE_CHECKPOINT_FORMAT,
            "weights": dict(self.weights),
            "averaged": dict(self.averaged),
            "optimiser": dict(self.optimiser),
            "progress": asdict(self.progress),
        }
        save_content(path, content)

    @classmethod
    def load(cls, path: Path) -> BlendshapeCheckpoint:
        """Read a checkpoint; nothing but tensors and plain containers is unpickled.

        Raises:
            InputError: the file is missing, damaged, or not of the blendshapes' network.
        """
        content = load_content(path, BLENDSHAPE_CHECKPOINT_FORMAT)
        with unpacking(path):
            with torch.device("meta"):
                network = BlendshapeNetwork()
            for state in (content["weights"], content["averaged"]):
                check_state(path, "its network", network.state_dict(), state)
            return cls(
                weights=content["weights"],
                averaged=content["averaged"],
                optimiser=content["optimiser"],
                progress=StepProgress(**content["progress"]),
            )

    def averaged_network(self) -> BlendshapeNetwork:
        """The network with averaged weights, in evaluation mode."""
        network = BlendshapeNetwork()
        network.load_state_dict(dict(self.averaged))
        return network.eval()


def is_blendshape_checkpoint(path: Path) -> bool:
    """Whether a file is a checkpoint of the blendshapes' network, rather than another's or none."""
    return is_checkpoint(path, BLENDSHAPE_CHECKPOINT_FORMAT)
