"""A network that learns: with the moving average of its weights, and its optimiser."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any, Generic, TypeVar

import torch
from torch import nn

from .pace import move_average

Network = TypeVar("Network", bound=nn.Module)


class Descent(Generic[Network]):
    """Gradient descent, the same in every training.

    Args:
        network: whose weights move.
        optimiser: of the network.
        clip: largest norm of the gradient.
        decay: share of itself that the average of the weights keeps, a step; 0 for none.
    """

    def __init__(
        self, network: Network, optimiser: torch.optim.Optimizer, *, clip: float, decay: float
    ) -> None:
        self.network = network
        self.average = copy.deepcopy(network).requires_grad_(False)
        self.optimiser = optimiser
        self._clip = clip
        self._decay = decay

    def load(self, averaged: Mapping[str, torch.Tensor], optimiser: Mapping[str, Any]) -> None:
        """Go on with a checkpoint's average and optimiser.

        Torch itself compares no more of an optimiser's state than the groups' sizes.

        Raises:
            ValueError: the optimiser's state is of other weights.
        """
        self.average.load_state_dict(dict(averaged))
        # load_state_dict keeps the very tensors that it is given.
        self.optimiser.load_state_dict(copy.deepcopy(dict(optimiser)))
        for group in self.optimiser.param_groups:
            for weight in group["params"]:
                for name, value in self.optimiser.state.get(weight, {}).items():
                    tensor = isinstance(value, torch.Tensor) and value.ndim > 0
                    if tensor and value.shape != weight.shape:
                        raise ValueError(f"the optimiser's {name} is of other weights")

    def step(self, total: torch.Tensor, rate: float, number: int) -> None:
        """Lower a loss; a step whose gradient is not finite is left out.

        Args:
            total: the loss, a scalar that depends on the network.
            rate: the learning rate.
            number: of the step, from 0: the average follows faster at the beginning.
        """
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        self.optimiser.zero_grad()
        total.backward()
        # Above all a guard: one NaN in the weights would cost the whole training.
        norm = nn.utils.clip_grad_norm_(self.network.parameters(), self._clip)
        if bool(torch.isfinite(norm)):
            self.optimiser.step()
            move_average(self.average, self.network, self._decay, number)
