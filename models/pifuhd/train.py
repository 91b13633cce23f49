"""Trains PIFuHD part by part: front normals, back normals, the coarse level, the fine one."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import cv2
import torch
from torch import nn

from ..digest import file_sha256
from ..errors import InputError
from ..learning.checkpoint_file import unpacking
from ..learning.descent import descend, load_optimiser
from ..learning.device import find_device
from ..learning.pace import (
    begin_folder,
    learning_rate,
    processor_threads,
    share_spent,
    weight_groups,
)
from ..learning.prefetch import Prefetch
from ..learning.run import run_through
from ..learning.training_log import Report, TrainingLog
from ..writing import whole_file
from .checkpoint import (
    PartCheckpoint,
    PartProgress,
    begin_part,
    export,
    need_part,
    part_path,
    part_weights,
    take_part,
)
from .dataset import Batch, PeopleFolder
from .drawn import draw_all
from .learner import Learner
from .network import Pifuhd
from .train_config import Part, PifuhdTrainConfig
from .train_levels import LevelLearner
from .train_normals import NormalLearner

SHEET_NAME: Final = "sheet.png"
_WEIGHT_DECAY: Final = 1e-4
_CLIP: Final = 1.0
"""Largest norm of the gradient."""
_WARMUP_STEPS: Final = 100


@dataclass(frozen=True)
class PartResult:
    """What the training of a part came to.

    Attributes:
        part: which.
        checkpoint: its file.
        steps: done in all.
        seconds: in all.
        figures: of held-out people.
    """

    part: Part
    checkpoint: Path
    steps: int
    seconds: float
    figures: dict[str, float]


@dataclass(frozen=True)
class TrainResult:
    """What a training came to.

    Attributes:
        parts: in their order.
        weights: the file of the whole model; None while parts are missing.
    """

    parts: tuple[PartResult, ...]
    weights: Path | None


def train_pifuhd(
    config: PifuhdTrainConfig,
    report: Report | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> TrainResult:
    """Train a stage, or go on training; an interrupted one leaves a checkpoint to resume from.

    When every part that the model needs is there, they are put together in ``weights.safetensors``.

    Args:
        config: what to do.
        report: told every line of the logs.
        clock: seconds, for the budget in minutes.

    Raises:
        InputError: data or checkpoints cannot be used, or earlier stages are missing.
        OutputError: ``out`` cannot be written, or holds a training that is not to be resumed.
    """
    people = PeopleFolder(config.data)
    # All before the first: nobody is to learn after an hour that the second cannot be trained.
    for part in config.parts:
        begin_folder(config.out / part, config.resume)
    results = []
    with processor_threads(config.threads):
        for part in config.parts:
            training = PartTraining(config, part, people, report, clock)
            results.append(run_through(training))
    facts = {"kind": people.meta.get("kind"), "subjects": len(people.training)}
    return TrainResult(tuple(results), export(config.out, facts=facts, earlier=config.earlier))


class PartTraining:
    """The state of one part's training: model, optimiser, progress."""

    def __init__(
        self,
        config: PifuhdTrainConfig,
        part: Part,
        people: PeopleFolder,
        report: Report | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.config = config
        self.part: Part = part
        self.progress = PartProgress()
        self._log = TrainingLog(config.out / part, report)
        self._clock = clock
        self._figures: dict[str, float] = {}
        self._begun_with = ""
        device = find_device(config.device)
        torch.manual_seed(config.seed)
        sizes = config.pifuhd
        self.model = Pifuhd(sizes if people.has_heads else replace(sizes, use_pose=False))
        for earlier in _earlier(part, self.model):
            found = need_part(earlier, config.out, config.earlier)
            take_part(self.model, found, config.earlier or config.out)
        resumed = self._resumed()
        if resumed:
            take_part(self.model, resumed, part_path(config.out, part))
            self.progress, self._figures = resumed.progress, dict(resumed.figures)
            self._begun_with = resumed.begun_with
        elif config.init is not None:
            begin_part(self.model, part, config.init)
            digest = file_sha256(config.init)[:16]
            self._begun_with = f"{config.init.parent.name}/{config.init.name} sha256 {digest}"
        self.model.to(device)
        self._learner = _learner(config, part, self.model, people, device)
        self._freeze()
        # Without gradients a part has no place in the optimiser.
        trained = nn.ParameterList(p for p in self.model.parameters() if p.requires_grad)
        groups = weight_groups(trained, _WEIGHT_DECAY)
        self.optimiser = torch.optim.AdamW(groups, config.rate, betas=(0.9, 0.99), fused=True)
        if resumed:
            with unpacking(part_path(config.out, part)):
                load_optimiser(self.optimiser, resumed.optimiser)
        self._began = clock() - self.progress.seconds
        self._saved = clock()

    def _freeze(self) -> None:
        weights = set(part_weights(self.model, self.part))
        for name, parameter in self.model.named_parameters():
            parameter.requires_grad_(name in weights)

    def _resumed(self) -> PartCheckpoint | None:
        path = part_path(self.config.out, self.part)
        if not (self.config.resume and path.is_file()):
            return None
        checkpoint = PartCheckpoint.load(path)
        if checkpoint.true_normals != self.config.true_normals:
            before = "with" if checkpoint.true_normals else "without"
            raise InputError(f"{path}: was trained {before} --true-normals; resume it so")
        return checkpoint

    def done(self) -> float:
        """Share of the budget that is spent, 0 to 1."""
        spent = self.progress
        return share_spent(spent.step, spent.seconds, self.config.steps, self.config.minutes)

    def run(self) -> None:
        """Train until the budget is spent."""
        if self.done() >= 1.0:
            return
        with Prefetch(self._learner.batches(self.progress.step)) as ahead:
            for batch in ahead:
                self._step(batch)
                self.progress.step += 1
                self.progress.images += len(batch.image)
                self.progress.seconds = self._clock() - self._began
                if self.progress.step % self.config.log_steps == 0:
                    self._write({"lr": self._rate(), **self._log.means()})
                if self.done() >= 1.0:
                    return
                if self._clock() - self._saved >= self.config.save_seconds:
                    self._measure()
                    self.save()
                    self._saved = self._clock()

    def finish(self) -> PartResult:
        """Measure, and write the last checkpoint."""
        self._measure()
        path = self.save()
        spent = self.progress
        return PartResult(self.part, path, spent.step, spent.seconds, self._figures)

    def save(self) -> Path:
        """Write the checkpoint.

        Raises:
            OutputError: it cannot be written.
        """
        checkpoint = PartCheckpoint(
            part=self.part,
            config=self.model.config,
            weights=part_weights(self.model, self.part),
            optimiser=self.optimiser.state_dict(),
            progress=self.progress,
            true_normals=self.config.true_normals,
            figures=self._figures,
            begun_with=self._begun_with,
        )
        return checkpoint.save(self.config.out)

    def _step(self, batch: Batch) -> None:
        self.model.train()
        total, terms = self._learner.loss(batch)
        descend(self.optimiser, total, self._rate(), _CLIP)
        self._log.add({"loss": total.detach(), **terms})

    def _rate(self) -> float:
        warmup = (self.progress.step + 1) / _WARMUP_STEPS
        return learning_rate(self.config.rate, warmup, self.done())

    def _measure(self) -> None:
        self.model.eval()
        self._figures = self._learner.validate()
        self._write({"lr": self._rate(), **self._log.means(), **self._figures})
        self._log.draw()
        path = self.config.out / self.part / SHEET_NAME
        encoded = cv2.imencode(".png", self._learner.sheet())[1].tobytes()
        with whole_file(path) as part:
            part.write_bytes(encoded)

    def _write(self, line: dict[str, Any]) -> None:
        spent = self.progress
        self._log.write(
            {
                "images": spent.images,
                "seconds": round(spent.seconds, 1),
                "done": round(self.done(), 4),
                **line,
            }
        )


def _earlier(part: Part, model: Pifuhd) -> list[Part]:
    """Parts that must be trained before."""
    if part.startswith("normals"):
        return []
    needed: list[Part] = ["normals-front", "normals-back"] if model.config.use_normals else []
    return [*needed, "coarse"] if part == "fine" and not model.config.fine_only else needed


def _learner(
    config: PifuhdTrainConfig,
    part: Part,
    model: Pifuhd,
    people: PeopleFolder,
    device: torch.device,
) -> Learner:
    if part in ("normals-front", "normals-back"):
        return NormalLearner(config, model, people, part == "normals-front", device)
    drawn = None
    if config.use_normals and not config.true_normals:
        model.eval()
        place = config.earlier or config.out
        drawn = (
            draw_all(model, people.training, place, config.seed, config.bfloat16),
            draw_all(model, people.held_out, place, None, config.bfloat16),
        )
    return LevelLearner(config, model, people, part, drawn, device)
