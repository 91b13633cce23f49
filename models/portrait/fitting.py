"""One training loop for the portrait's small networks: budget, average, checkpoint, log, sheet."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol, runtime_checkable

import cv2
import numpy as np
import torch
from jaxtyping import UInt8
from torch import nn

from ..errors import InputError
from ..learning.budget import check_budget
from ..learning.checkpoint_file import load_content, save_content, unpacking
from ..learning.curves import draw_curves, read_log
from ..learning.descent import Descent
from ..learning.device import check_device, find_device
from ..learning.pace import (
    CHECKPOINT_NAME,
    begin_folder,
    learning_rate,
    processor_threads,
    share_spent,
    weight_groups,
)
from ..learning.training_log import CURVES_NAME, LOG_NAME, Report, TrainingLog
from ..writing import whole_file

SHEET_NAME: Final = "sheet.png"
WEIGHTS_NAME: Final = "weights.safetensors"
_SAVE_SECONDS: Final = 60.0
_CLIP: Final = 5.0
"""Largest norm of the gradient."""


@dataclass(frozen=True)
class FitOptions:
    """Budget and pace of a training.

    Attributes:
        data: folder of portraits (``mien synthesize portraits``).
        out: folder for checkpoint, log, curves, sheet and weights.
        steps: optimiser steps in all; None for no such limit.
        minutes: minutes to train in all; None for no such limit. One of the two must be given.
        batch: pictures a step.
        learning_rate: at its peak.
        weight_decay: of the weights.
        warmup_steps: until the peak.
        average_decay: of the moving average of the weights, a step.
        threads: processor threads.
        device: ``auto``, ``cpu`` or ``cuda``.
        bfloat16: whether convolutions run in bfloat16 (twice as fast where the processor has it).
        seed: of everything random.
        resume: go on from the checkpoint in ``out``, where there is one.
        log_steps: steps between two lines of the log.
        validate_steps: steps between two measurements on held-out people.
    """

    data: Path
    out: Path
    steps: int | None = None
    minutes: float | None = None
    batch: int = 64
    learning_rate: float = 2e-3
    weight_decay: float = 0.02
    warmup_steps: int = 100
    average_decay: float = 0.998
    threads: int = 1
    device: str = "auto"
    bfloat16: bool = True
    seed: int = 0
    resume: bool = False
    log_steps: int = 50
    validate_steps: int = 500

    def __post_init__(self) -> None:
        check_budget("steps", self.steps, self.minutes)
        if self.batch < 2 or self.threads < 1 or self.learning_rate <= 0:
            raise InputError("training needs batch >= 2, threads >= 1 and learning rate > 0")
        check_device(self.device)

    def cast(self) -> torch.autocast:
        """Convolutions within run in bfloat16, if they shall."""
        return torch.autocast(find_device(self.device).type, torch.bfloat16, enabled=self.bfloat16)


@dataclass(frozen=True)
class FitResult:
    """What a training came to."""

    weights: Path
    steps: int
    seconds: float
    figures: dict[str, float] = field(default_factory=dict)


@runtime_checkable
class Task(Protocol):
    """What is trained: a network (with all that learns beside it), a loss, a measure."""

    kind: str
    """Name of the weights' format."""

    @property
    def network(self) -> nn.Module:
        """What learns."""
        ...

    def terms(self, rng: np.random.Generator, batch: int) -> dict[str, torch.Tensor]:
        """Losses of one batch; ``loss`` is what is minimised."""
        ...

    def measure(self, average: nn.Module) -> dict[str, float]:
        """Figures of the averaged network on held-out people."""
        ...

    def sheet(self, average: nn.Module) -> UInt8[np.ndarray, "H W 3"]:
        """Pictures of how it does, BGR."""
        ...

    def write(self, path: Path, average: nn.Module, facts: Mapping[str, Any]) -> None:
        """The finished weights."""
        ...


def fit(
    make: Callable[[torch.device], Task],
    options: FitOptions,
    report: Report | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> FitResult:
    """Train, or go on training.

    Args:
        make: the task on a device.
        options: budget and pace.
        report: told every line of the log.
        clock: seconds, for the budget in minutes.

    Raises:
        InputError: the data or the checkpoint cannot be used.
        OutputError: ``out`` cannot be written, or holds a training that is not to be resumed.
    """
    begin_folder(options.out, options.resume, (CHECKPOINT_NAME, WEIGHTS_NAME))
    with processor_threads(options.threads):
        training = _Training(make, options, report, clock)
        try:
            training.run()
        except KeyboardInterrupt:
            training.save()
            raise
        return training.finish()


class _Training:
    """The state of one run."""

    def __init__(
        self,
        make: Callable[[torch.device], Task],
        options: FitOptions,
        report: Report | None,
        clock: Callable[[], float],
    ) -> None:
        self._options, self._clock = options, clock
        self._log = TrainingLog(options.out, report)
        torch.manual_seed(options.seed)
        self._task = make(find_device(options.device))
        network = self._task.network
        optimiser = torch.optim.AdamW(
            weight_groups(network, options.weight_decay), options.learning_rate, betas=(0.9, 0.99)
        )
        self._descent = Descent(network, optimiser, clip=_CLIP, decay=options.average_decay)
        self._average = self._descent.average.eval()
        self._step, spent = 0, 0.0
        self._path = options.out / CHECKPOINT_NAME
        if options.resume and self._path.is_file():
            spent = self._restore()
        self._began = clock() - spent
        self._saved = clock()

    def _restore(self) -> float:
        content = load_content(self._path, self._format)
        with unpacking(self._path):
            self._task.network.load_state_dict(content["network"])
            self._descent.load(content["average"], content["optimiser"])
            self._step = int(content["step"])
            return float(content["seconds"])

    @property
    def _format(self) -> str:
        return f"portrait-{self._task.kind}-training-1"

    @property
    def _seconds(self) -> float:
        return self._clock() - self._began

    def _done(self) -> float:
        options = self._options
        return share_spent(self._step, self._seconds, options.steps, options.minutes)

    def run(self) -> None:
        """Train until the budget is spent."""
        options = self._options
        while self._done() < 1.0:
            self._learn()
            if self._step % options.log_steps == 0:
                self._write(self._log.means())
            if self._step % options.validate_steps == 0:
                self._validate()
            if self._clock() - self._saved > _SAVE_SECONDS:
                self.save()

    def _learn(self) -> None:
        options = self._options
        # A generator a step: a resumed run draws what an uninterrupted one would have drawn.
        rng = np.random.default_rng([options.seed, self._step])
        torch.manual_seed(options.seed * 1_000_003 + self._step)
        self._task.network.train()
        rate = learning_rate(
            options.learning_rate, (self._step + 1) / options.warmup_steps, self._done()
        )
        terms = self._task.terms(rng, options.batch)
        self._descent.step(terms["loss"], rate, self._step)
        self._log.add({name: value.detach() for name, value in terms.items()})
        self._step += 1

    def _validate(self) -> dict[str, float]:
        with torch.no_grad():
            figures = self._task.measure(self._average)
            picture = self._task.sheet(self._average)
        self._write({"validation": figures})
        self._draw_curves()
        _write_bytes(self._options.out / SHEET_NAME, cv2.imencode(".png", picture)[1].tobytes())
        return figures

    def _draw_curves(self) -> None:
        """The curves of the log so far, held-out figures beside the losses."""
        lines = read_log(self._options.out / LOG_NAME)
        shown = [line for line in lines if "validation" not in line]
        for line in lines:
            for name, value in line.get("validation", {}).items():
                shown.append({"images": line["images"], f"* {name}": value})
        encoded = cv2.imencode(".png", draw_curves(shown))[1].tobytes()
        _write_bytes(self._options.out / CURVES_NAME, encoded)

    def _write(self, line: dict[str, Any]) -> None:
        self._log.write(
            {
                "step": self._step,
                "images": self._step * self._options.batch,
                "seconds": round(self._seconds, 1),
                "done": round(self._done(), 4),
                **line,
            }
        )

    def save(self) -> None:
        """Write the checkpoint.

        Raises:
            OutputError: it cannot be written.
        """
        content = {
            "format": self._format,
            "network": self._task.network.state_dict(),
            "average": self._average.state_dict(),
            "optimiser": self._descent.optimiser.state_dict(),
            "step": self._step,
            "seconds": self._seconds,
        }
        save_content(self._path, content)
        self._saved = self._clock()

    def finish(self) -> FitResult:
        """Measure, and write checkpoint and weights."""
        figures = self._validate()
        self.save()
        path = self._options.out / WEIGHTS_NAME
        facts = {"steps": self._step, "seconds": round(self._seconds), "figures": figures}
        self._task.write(path, self._average, facts)
        return FitResult(path, self._step, self._seconds, figures)


def _write_bytes(path: Path, content: bytes) -> None:
    with whole_file(path) as part:
        part.write_bytes(content)
