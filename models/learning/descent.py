"""One step of gradient descent, the same in every training."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from .pace import move_average


def set_rate(optimiser: torch.optim.Optimizer, rate: float) -> None:
    """The learning rate of all groups."""
    for group in optimiser.param_groups:
        group["lr"] = rate


def restore(optimiser: torch.optim.Optimizer, state: Mapping[str, Any]) -> None:
    """Go on with an optimiser's state; torch itself compares no more than the groups' sizes.

    Raises:
        ValueError: the state is of other weights.
    """
    optimiser.load_state_dict(copy.deepcopy(dict(state)))
    for group in optimiser.param_groups:
        for weight in group["params"]:
            for name, value in optimiser.state.get(weight, {}).items():
                if isinstance(value, torch.Tensor) and value.ndim and value.shape != weight.shape:
                    raise ValueError(f"the optimiser's {name} is of other weights")


def descend(
    total: torch.Tensor,
    network: nn.Module,
    average: nn.Module,
    optimiser: torch.optim.Optimizer,
    *,
    clip: float,
    decay: float,
    number: int,
) -> None:
    """Lower a loss by a step; a step whose gradient is not finite is left out.

    Args:
        total: the loss, a scalar that depends on the network.
        network: whose weights move.
        average: their moving average, which follows.
        optimiser: of the network.
        clip: largest norm of the gradient.
        decay: share of itself that the average keeps.
        number: of the step, from 0: the average follows faster at the beginning.
    """
    optimiser.zero_grad()
    total.backward()
    # Above all a guard: one NaN in the weights would cost the whole training.
    norm = nn.utils.clip_grad_norm_(network.parameters(), clip)
    if bool(torch.isfinite(norm)):
        optimiser.step()
        move_average(average, network, decay, number)
