"""What trainings that count steps have in common: progress, budget, learning rate, log, start."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar, runtime_checkable

from .pace import CHECKPOINT_NAME, learning_rate, share_spent
from .training_log import TrainingLog

Start = TypeVar("Start")


@runtime_checkable
class Steps(Protocol):
    """What such a training's configuration says.

    Attributes:
        out: folder for ``checkpoint.pt``.
        images: pictures to see in all; None for no such limit.
        minutes: minutes to train in all; None for no such limit.
        learning_rate: at its peak.
        warmup_steps: until the peak.
        init: checkpoint whose averaged weights are the start.
        resume: go on from ``out/checkpoint.pt`` where there is one.
        average_decay: of the moving average of the weights, a step.
    """

    @property
    def out(self) -> Path: ...  # noqa: D102
    @property
    def images(self) -> int | None: ...  # noqa: D102
    @property
    def minutes(self) -> float | None: ...  # noqa: D102
    @property
    def learning_rate(self) -> float: ...  # noqa: D102
    @property
    def warmup_steps(self) -> int: ...  # noqa: D102
    @property
    def init(self) -> Path | None: ...  # noqa: D102
    @property
    def resume(self) -> bool: ...  # noqa: D102
    @property
    def average_decay(self) -> float: ...  # noqa: D102


@dataclass
class StepProgress:
    """How far a training is: optimiser steps, pictures seen, seconds over all its parts."""

    step: int = 0
    images: int = 0
    seconds: float = 0.0

    def __post_init__(self) -> None:
        for count in (self.step, self.images):
            if type(count) is not int or count < 0:
                raise ValueError(f"a count of {count!r}")
        if not isinstance(self.seconds, (int, float)) or not 0 <= self.seconds < math.inf:
            raise ValueError(f"a time of {self.seconds!r} seconds")


class Stepper:
    """Counts the steps of a run, and what follows from how many there were.

    Args:
        config: the run's.
        log: that lines are written into.
        progress: from which it goes on; a new one where there is none.
    """

    def __init__(
        self,
        config: Steps,
        log: TrainingLog,
        progress: StepProgress | None = None,
    ) -> None:
        self.progress = progress or StepProgress()
        self._config = config
        self._log = log
        self._began = time.monotonic() - self.progress.seconds

    @property
    def done(self) -> float:
        """Share of the budget that is spent, 0 to 1."""
        spent = self.progress
        return share_spent(spent.images, spent.seconds, self._config.images, self._config.minutes)

    @property
    def rate(self) -> float:
        """The learning rate of the next step."""
        warmup = (self.progress.step + 1) / self._config.warmup_steps
        return learning_rate(self._config.learning_rate, warmup, self.done)

    def count(self, images: int) -> None:
        """A step is over that saw so many pictures."""
        self.progress.step += 1
        self.progress.images += images
        self.progress.seconds = time.monotonic() - self._began

    def due(self, every: int) -> bool:
        """Whether the number of steps is a multiple."""
        return self.progress.step % every == 0

    def write(self, line: dict[str, Any]) -> None:
        """A line of the log, with how far the training is.

        Raises:
            OutputError: it cannot be written.
        """
        self._log.write(
            {
                "step": self.progress.step,
                "images": self.progress.images,
                "seconds": round(self.progress.seconds, 1),
                "done": round(self.done, 4),
                **line,
            }
        )

    def write_means(self) -> None:
        """A line of the learning rate and the mean figures since the last such line."""
        self.write({"lr": self.rate, **self._log.means()})


def starting_point(config: Steps, load: Callable[[Path], Start]) -> tuple[Start | None, bool]:
    """The checkpoint to start from, and whether that means going on with its training.

    Raises:
        InputError: it cannot be read.
    """
    path = config.out / CHECKPOINT_NAME
    if config.resume and path.is_file():
        return load(path), True
    return (load(config.init) if config.init else None), False
