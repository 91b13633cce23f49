"""A training that counts steps: what it begins from, its descent, and what it leaves."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import Field, asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar, Final, Generic, Protocol, TypeVar, runtime_checkable

import torch
from torch import nn

from .checkpoint_file import unpacking
from .descent import Descent
from .pace import CHECKPOINT_NAME, weight_groups
from .stepping import Stepper, StepProgress, Steps
from .training_log import TrainingLog

_WEIGHT_DECAY: Final = 0.02

Network = TypeVar("Network", bound=nn.Module)


@runtime_checkable
class Figures(Protocol):
    """A dataclass of figures."""

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]


Validation = TypeVar("Validation", bound=Figures)


@runtime_checkable
class Saved(Protocol):
    """A checkpoint from which a training can go on.

    Attributes:
        weights: of the network in training.
        averaged: their moving average.
        optimiser: its state.
        progress: how far the training is.
    """

    @property
    def weights(self) -> Mapping[str, torch.Tensor]: ...  # noqa: D102
    @property
    def averaged(self) -> Mapping[str, torch.Tensor]: ...  # noqa: D102
    @property
    def optimiser(self) -> Mapping[str, Any]: ...  # noqa: D102
    @property
    def progress(self) -> StepProgress: ...  # noqa: D102

    def save(self, path: Path) -> None:
        """Write the file."""
        ...


@dataclass(frozen=True)
class SteppedResult(Generic[Validation]):
    """What a training came to: its file, pictures seen, seconds, and figures of the average."""

    checkpoint: Path
    images: int
    seconds: float
    validation: Validation


class SteppedTraining(ABC, Generic[Network, Validation]):
    """The state of one run: network, average, optimiser, progress.

    Args:
        config: of the run.
        network: that learns; it takes the weights of ``start``.
        start: checkpoint to start from, None for the network as it is.
        resumed: whether that means going on with the checkpoint's training.
        clip: largest norm of the gradient.
        log: that lines are written into.

    Raises:
        InputError: the checkpoint is of another network.
    """

    def __init__(
        self,
        config: Steps,
        network: Network,
        start: Saved | None,
        resumed: bool,
        *,
        clip: float,
        log: TrainingLog,
    ) -> None:
        if start:
            network.load_state_dict(dict(start.weights if resumed else start.averaged))
        optimiser = torch.optim.AdamW(weight_groups(network, _WEIGHT_DECAY), config.learning_rate)
        self.descent = Descent(network, optimiser, clip=clip, decay=config.average_decay)
        self._path = config.out / CHECKPOINT_NAME
        self._log = log
        if start and resumed:
            with unpacking(self._path):
                self.descent.load(start.averaged, start.optimiser)
        self.stepper = Stepper(config, log, start.progress if start and resumed else None)

    @abstractmethod
    def run(self) -> None:
        """Train until the budget is spent."""

    @abstractmethod
    def checkpoint(self) -> Saved:
        """The state that can be gone on from."""

    @abstractmethod
    def measure(self) -> Validation:
        """Figures of the averaged weights; a dataclass."""

    def save(self) -> None:
        """Write the checkpoint.

        Raises:
            OutputError: it cannot be written.
        """
        self.checkpoint().save(self._path)

    def finish(self) -> SteppedResult[Validation]:
        """Measure the averaged weights and write the last checkpoint."""
        validation = self.validate()
        self.save()
        spent = self.stepper.progress
        return SteppedResult(self._path, spent.images, spent.seconds, validation)

    def validate(self) -> Validation:
        """Measure the averaged weights, and log it."""
        result = self.measure()
        self.stepper.write({"validation": asdict(result)})
        return result

    def learn(self, total: torch.Tensor, terms: Mapping[str, torch.Tensor]) -> None:
        """One step down a loss, whose terms are logged."""
        self.descent.step(total, self.stepper.rate, self.stepper.progress.step)
        self._log.add({"loss": total.detach(), **terms})
