"""How a training uses its batches: every one for a step, or in blocks that look ahead.

Meta-joint optimisation (Guo et al. 2020, Algorithm 2): two copies take the same k steps, one with
fWPDC and one with VDC; the one with the smaller vertex error on a further batch goes on.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Protocol, runtime_checkable

import torch

from .learner import Learner
from .network import FaceNetwork
from .objective import Objective, TensorBatch, Terms


@runtime_checkable
class Strategy(Protocol):
    """What a training does with a batch.

    Attributes:
        learner: at the last point from which the training can be continued.
        settled: whether that point is now.
    """

    learner: Learner

    @property
    def settled(self) -> bool:
        """Whether ``learner`` has taken in every batch so far."""
        ...

    def take(self, batch: TensorBatch, rate: float, number: int, last: bool) -> Terms:
        """Use one batch.

        Args:
            batch: the next one.
            rate: learning rate.
            number: batches before this one.
            last: that no further batch need come: be settled afterwards, if that is possible.

        Returns:
            Figures for the log.
        """
        ...


class EveryBatch:
    """A step for every batch.

    Args:
        learner: that learns.
        objective: to lower.
    """

    def __init__(self, learner: Learner, objective: Objective) -> None:
        self.learner = learner
        self._objective = objective

    @property
    def settled(self) -> bool:
        """Always."""
        return True

    def take(self, batch: TensorBatch, rate: float, number: int, last: bool) -> Terms:
        """One step."""
        return self.learner.learn(batch, self._objective, rate, number)


class MetaJoint:
    """Blocks of k steps with each of several objectives, and a batch that chooses.

    The choosing batch is learned from by neither. A block in which no copy has a finite error is
    thrown away.

    Args:
        learner: that learns.
        objectives: by name; on a tie the first goes on.
        error: of a network on a batch; smaller is better, NaN is worst.
        look_ahead: k, steps of a block.
    """

    def __init__(
        self,
        learner: Learner,
        objectives: Mapping[str, Objective],
        error: Callable[[FaceNetwork, TensorBatch], float],
        look_ahead: int,
    ) -> None:
        self.learner = learner
        self._objectives = objectives
        self._error = error
        self._look_ahead = look_ahead
        self._copies: dict[str, Learner] = {}
        self._steps = 0

    @property
    def settled(self) -> bool:
        """Between two blocks."""
        return self._steps == 0

    def take(self, batch: TensorBatch, rate: float, number: int, last: bool) -> Terms:
        """A step of every copy, or the choice between them."""
        if self._steps == self._look_ahead or (last and self._steps > 0):
            return self._choose(batch)
        if self._steps == 0:
            self._copies = {name: self.learner.copy() for name in self._objectives}
        self._steps += 1
        terms: Terms = {}
        for name, objective in self._objectives.items():
            mine = self._copies[name].learn(batch, objective, rate, number)
            terms |= {f"{name}_branch_{term}": value for term, value in mine.items()}
        return terms

    def _choose(self, batch: TensorBatch) -> Terms:
        errors = {
            name: self._error(learner.network, batch) for name, learner in self._copies.items()
        }
        finite = {name: error for name, error in errors.items() if math.isfinite(error)}
        best = min(finite, key=finite.__getitem__) if finite else None
        if best is not None:
            self.learner = self._copies[best]
        self._copies = {}
        self._steps = 0
        terms = {f"{name}_branch_error": torch.tensor(error) for name, error in errors.items()}
        chosen = {f"{name}_branch_chosen": torch.tensor(float(name == best)) for name in errors}
        return terms | chosen
