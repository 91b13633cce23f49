"""Gradient descent, the same in every training; and a network that learns by it, averaged."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any, Generic, TypeVar

import torch
from torch import nn

from .pace import move_average

Network = TypeVar("Network", bound=nn.Module)


def descend(
    optimiser: torch.optim.Optimizer, total: torch.Tensor, rate: float, clip: float
) -> bool:
    """Lower a loss by one step, which is left out where the gradient is not finite.

    Args:
        optimiser: of the weights that move.
        total: the loss, a scalar that depends on them.
        rate: the learning rate.
        clip: largest norm of the gradient.

    Returns:
        whether the step was made.
    """
    for group in optimiser.param_groups:
        group["lr"] = rate
    optimiser.zero_grad()
    total.backward()
    weights = [weight for group in optimiser.param_groups for weight in group["params"]]
    # Above all a guard: one NaN in the weights would cost the whole training.
    finite = bool(torch.isfinite(nn.utils.clip_grad_norm_(weights, clip)))
    if finite:
        optimiser.step()
    return finite


def load_optimiser(optimiser: torch.optim.Optimizer, state: Mapping[str, Any]) -> None:
    """Go on with an optimiser's state.

    Torch itself compares no more of it than the groups' sizes.

    Raises:
        ValueError: it is of other weights.
    """
    # load_state_dict keeps the very tensors that it is given.
    optimiser.load_state_dict(copy.deepcopy(dict(state)))
    for group in optimiser.param_groups:
        for weight in group["params"]:
            for name, value in optimiser.state.get(weight, {}).items():
                tensor = isinstance(value, torch.Tensor) and value.ndim > 0
                if tensor and value.shape != weight.shape:
                    raise ValueError(f"the optimiser's {name} is of other weights")


class Descent(Generic[Network]):
    """A network in training: with the moving average of its weights, and its optimiser.

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

        Raises:
            ValueError: the optimiser's state is of other weights.
        """
        self.average.load_state_dict(dict(averaged))
        load_optimiser(self.optimiser, optimiser)

    def step(self, total: torch.Tensor, rate: float, number: int) -> None:
        """Lower a loss; a step whose gradient is not finite is left out.

        Args:
            total: the loss, a scalar that depends on the network.
            rate: the learning rate.
            number: of the step, from 0: the average follows faster at the beginning.
        """
        if descend(self.optimiser, total, rate, self._clip):
            move_average(self.average, self.network, self._decay, number)
