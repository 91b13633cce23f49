"""A network with its optimiser and its moving average: one step, and independent copies."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Literal

import torch

from ..learning.descent import Descent
from ..learning.pace import weight_groups
from .network import FaceNetwork
from .objective import Objective, TensorBatch, Terms

OptimiserKind = Literal["adamw", "sgd"]


@dataclass(frozen=True)
class OptimiserConfig:
    """How weights follow gradients.

    Attributes:
        kind: ``adamw``; or ``sgd`` with Nesterov momentum, as the paper's.
        weight_decay: of convolutions and heads for ``adamw``, of convolutions alone for ``sgd``.
        momentum: of ``sgd``.
        clip: largest norm of the gradient.
    """

    kind: OptimiserKind = "adamw"
    weight_decay: float = 0.02
    momentum: float = 0.9
    clip: float = 5.0

    @classmethod
    def of_the_paper(cls) -> OptimiserConfig:
        """SGD with momentum 0.9 and weight decay 5e-4; VDC diverges unless clipped near 1."""
        return cls("sgd", weight_decay=5e-4, momentum=0.9, clip=1.0)


def mixed_precision(device: torch.device, wanted: bool) -> bool:
    """Whether convolutions run in bfloat16: as wanted, on GPUs only where they have it."""
    if device.type == "cuda":
        return wanted and torch.cuda.is_bf16_supported(including_emulation=False)
    return wanted


class Learner(Descent[FaceNetwork]):
    """A network in training.

    Args:
        network: on the device that trains.
        config: of the optimiser.
        average_decay: of the moving average of the weights, a step; 0 for none.
        bfloat16: whether convolutions run in bfloat16.
    """

    def __init__(
        self, network: FaceNetwork, config: OptimiserConfig, average_decay: float, bfloat16: bool
    ) -> None:
        optimiser = _optimiser(network, config)
        super().__init__(network, optimiser, clip=config.clip, decay=average_decay)
        self._config = config
        self._bfloat16 = bfloat16

    def copy(self) -> Learner:
        """An independent one: weights, buffers, average and the optimiser's state are its own."""
        network = copy.deepcopy(self.network)
        twin = Learner(network, self._config, self._decay, self._bfloat16)
        twin.load(self.average.state_dict(), self.optimiser.state_dict())
        return twin

    def learn(self, batch: TensorBatch, objective: Objective, rate: float, number: int) -> Terms:
        """One step of the optimiser.

        Args:
            batch: to learn from.
            objective: to lower.
            rate: learning rate.
            number: of the step, from 0: the average follows faster at the beginning.

        Returns:
            ``loss`` and its terms, detached.
        """
        self.network.train()
        kind = batch.crops.device.type
        with torch.autocast(kind, torch.bfloat16, enabled=self._bfloat16):
            output = self.network.training_output(batch.crops)
        total, terms = objective(self.network, output, batch.targets)
        self.step(total, rate, number)
        return {"loss": total.detach(), **terms}


def _optimiser(network: FaceNetwork, config: OptimiserConfig) -> torch.optim.Optimizer:
    """No weight decay for biases and normalisation."""
    least_axes = 2 if config.kind == "adamw" else 4
    groups = weight_groups(network, config.weight_decay, least_axes)
    if config.kind == "adamw":
        return torch.optim.AdamW(groups)
    return torch.optim.SGD(groups, lr=0.1, momentum=config.momentum, nesterov=True)
