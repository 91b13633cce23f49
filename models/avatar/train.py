"""Trains a stage of the avatar: a budget of steps or minutes, checkpoints, a log, pictures.

Everything random of a step comes from the seed and the step's number, so that a training that was
interrupted and goes on comes to the same weights as one that was not.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from itertools import count
from pathlib import Path
from typing import Any, Final, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import nn

from ..documents import one_line
from ..errors import InputError
from ..learning.checkpoint_file import DAMAGE, load_content, save_content
from ..learning.descent import descend, load_optimiser
from ..learning.device import find_device
from ..learning.pace import (
    CHECKPOINT_NAME,
    begin_folder,
    learning_rate,
    move_average,
    processor_threads,
    share_spent,
)
from ..learning.prefetch import Prefetch
from ..learning.run import run_through
from ..learning.training_log import CURVES_NAME, LOG_NAME, Report, TrainingLog
from .avatar import Avatar
from .dataset import ScanFolder
from .pictures import write_curves, write_picture
from .train_config import AvatarTrainConfig
from .weights import WEIGHTS_NAME, save_weights

CHECKPOINT_FORMAT: Final = "avatar-1"
"""Kind and version of the file's layout."""
SHEET_NAME: Final = "sheet.png"


@runtime_checkable
class AvatarStage(Protocol):
    """What a training needs of a stage."""

    @property
    def model(self) -> nn.Module:
        """What is trained."""
        ...

    @property
    def average(self) -> nn.Module:
        """The moving average of its weights."""
        ...

    learning_rate: float
    betas: tuple[float, float]
    clip: float
    average_decay: float
    examples: int

    def batch(self, rng: np.random.Generator) -> Any:
        """Examples; called in a thread of its own."""
        ...

    def loss(
        self, batch: Any, generator: torch.Generator, step: int, done: float
    ) -> tuple[Float[torch.Tensor, ""], dict[str, Float[torch.Tensor, ""]]]:
        """Of a batch, and figures for the log."""
        ...

    def result(self) -> Avatar:
        """The networks to be written."""
        ...

    def figures(self) -> dict[str, float]:
        """Of held-out examples."""
        ...

    def picture(self) -> UInt8[np.ndarray, "H W 3"]:
        """Of held-out examples."""
        ...


@dataclass
class Progress:
    """How far a training is: steps, examples seen, seconds over all its parts."""

    step: int = 0
    images: int = 0
    seconds: float = 0.0


@dataclass(frozen=True)
class AvatarTrainResult:
    """What a training came to: its file, steps, seconds, and figures of the averaged weights."""

    weights: Path
    steps: int
    seconds: float
    figures: dict[str, float]


def train_avatar(
    config: AvatarTrainConfig,
    report: Report | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> AvatarTrainResult:
    """Train a stage, or go on; an interrupted run leaves a checkpoint that ``resume`` continues.

    Args:
        config: what to do.
        report: told every line of the log.
        clock: seconds, for the budget in minutes.

    Raises:
        InputError: data, weights or checkpoint cannot be used.
        OutputError: ``out`` cannot be written, or holds a training that is not to be resumed.
    """
    begin_folder(config.out, config.resume, (CHECKPOINT_NAME, WEIGHTS_NAME))
    with processor_threads(config.threads):
        return run_through(AvatarTraining(config, make_stage(config), report, clock))


def make_stage(config: AvatarTrainConfig) -> AvatarStage:
    """The stage that a configuration names, with its data."""
    folder = ScanFolder(config.data)
    device = find_device(config.device)
    if config.stage == "diffusion":
        from .train_diffusion import DiffusionStage

        return DiffusionStage(config, folder, device)
    from .train_grids import GridStage

    return GridStage(config, folder, device)


class AvatarTraining:
    """The state of one run: stage, optimiser, progress."""

    def __init__(
        self,
        config: AvatarTrainConfig,
        stage: AvatarStage,
        report: Report | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.config, self.stage = config, stage
        self._log = TrainingLog(config.out, report)
        self._clock = clock
        self.device = next(stage.model.parameters()).device
        self.optimiser = torch.optim.Adam(
            stage.model.parameters(), stage.learning_rate, stage.betas, fused=True
        )
        self.progress = Progress()
        path = config.out / CHECKPOINT_NAME
        if config.resume and path.is_file():
            self._restore(path)
        self._began = clock() - self.progress.seconds
        self._saved = self._validated = clock()

    def done(self) -> float:
        """Share of the budget that is spent, 0 to 1."""
        config, spent = self.config, self.progress
        return share_spent(spent.step, spent.seconds, config.steps, config.minutes)

    def run(self) -> None:
        """Train until the budget is spent."""
        if self.done() >= 1.0:
            return
        config = self.config
        with Prefetch(self._batches(), ahead=2) as ahead:
            for batch in ahead:
                self._step(batch)
                self.progress.step += 1
                self.progress.images += self.stage.examples
                now = self._clock()
                self.progress.seconds = now - self._began
                if self.progress.step % config.log_steps == 0:
                    self._write({"lr": self._rate(), **self._log.means()})
                if self.done() >= 1.0:
                    return
                if now - self._validated >= config.validate_seconds:
                    self.validate()
                    self._validated = self._clock()
                if now - self._saved >= config.save_seconds:
                    self.save()
                    self._saved = self._clock()

    def finish(self) -> AvatarTrainResult:
        """Measure the averaged weights; write the last checkpoint and the weights themselves."""
        figures = self.validate()
        self.save()
        config, spent = self.config, self.progress
        path = config.out / WEIGHTS_NAME
        facts = {
            "stage": config.stage,
            "steps": spent.step,
            "examples": spent.images,
            "minutes": round(spent.seconds / 60, 1),
            "seed": config.seed,
            "threads": config.threads,
            "figures": figures,
        }
        save_weights(path, self.stage.result(), facts, half=config.half)
        return AvatarTrainResult(path, spent.step, spent.seconds, figures)

    def validate(self) -> dict[str, float]:
        """Figures of the averaged weights, into the log, with curves and a picture."""
        with self._precision():
            figures = {name: float(value) for name, value in self.stage.figures().items()}
            picture = self.stage.picture()
        self._write({"validation": figures})
        write_picture(self.config.out / SHEET_NAME, picture)
        write_curves(self.config.out / LOG_NAME, self.config.out / CURVES_NAME)
        return figures

    def save(self) -> None:
        """Write the checkpoint.

        Raises:
            OutputError: it cannot be written.
        """
        path = self.config.out / CHECKPOINT_NAME
        content = {
            "format": CHECKPOINT_FORMAT,
            "stage": self.config.stage,
            "weights": self.stage.model.state_dict(),
            "averaged": self.stage.average.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "progress": asdict(self.progress),
        }
        save_content(path, content)

    def _restore(self, path: Path) -> None:
        content = load_content(path, CHECKPOINT_FORMAT)
        if content.get("stage") != self.config.stage:
            raise InputError(
                f"{path}: of the stage {content.get('stage')}, not {self.config.stage}; give "
                f"another folder"
            )
        try:
            self.stage.model.load_state_dict(content["weights"])
            self.stage.average.load_state_dict(content["averaged"])
            load_optimiser(self.optimiser, content["optimiser"])
            self.progress = Progress(**content["progress"])
        except DAMAGE as error:
            raise InputError(
                f"{path}: a training of other sizes or data: {one_line(error)}"
            ) from error

    def _batches(self) -> Iterator[Any]:
        for step in count(self.progress.step):
            yield self.stage.batch(np.random.default_rng([self.config.seed, step]))

    def _step(self, batch: Any) -> None:
        step = self.progress.step
        self.stage.model.train()
        seed = np.random.default_rng([self.config.seed, step, 1]).integers(2**62)
        generator = torch.Generator().manual_seed(int(seed))
        with self._precision():
            total, terms = self.stage.loss(batch, generator, step, self.done())
        if descend(self.optimiser, total, self._rate(), self.stage.clip):
            move_average(self.stage.average, self.stage.model, self.stage.average_decay, step)
        self._log.add(terms)

    def _precision(self) -> torch.autocast:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.config.bfloat16)

    def _rate(self) -> float:
        warmup = (self.progress.step + 1) / self.config.warmup_steps
        return learning_rate(self.stage.learning_rate, warmup, self.done())

    def _write(self, line: dict[str, Any]) -> None:
        self._log.write(
            {
                "step": self.progress.step,
                "images": self.progress.images,
                "seconds": round(self.progress.seconds, 1),
                "done": round(self.done(), 4),
                **line,
            }
        )
