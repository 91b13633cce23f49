"""Trains the blendshapes' network: a budget of pictures or minutes, checkpoints, a log."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
import torch

from ..errors import InputError
from ..face.morphable import FaceModel
from ..face.views import ViewPlaces
from ..learning.budget import check_budget
from ..learning.pace import (
    begin_folder,
    processor_threads,
)
from ..learning.prefetch import Prefetch
from ..learning.run import run_through
from ..learning.stepped_training import SteppedResult, SteppedTraining
from ..learning.stepping import starting_point
from ..learning.training_log import Report, TrainingLog
from ..synthetic.closeup_shards import check_face_model, load_shards
from .checkpoint import BlendshapeCheckpoint
from .dataset import LookConfig, ViewBatch, ViewSource
from .losses import BlendshapeLoss
from .network import BlendshapeNetwork
from .validation import BlendshapeValidation, validate
from .warm_start import checkpoint_of_export, exported_blendshapes

_CLIP: Final = 5.0
"""Largest norm of the gradient."""
_VALIDATION_SEED: Final = 7_777
_NORMALISED_ON: Final = 256
"""Faces from which the normalisation of an exported network is restored."""


@dataclass(frozen=True)
class BlendshapeTrainConfig:
    """One training of the blendshapes' network.

    Attributes:
        shards: folder of close-ups (``mien synthesize closeups``).
        out: folder for ``checkpoint.pt`` and ``log.jsonl``.
        face_model: the ``face_model.npz`` that the shards were made with.
        images: pictures to see in all; None for no such limit.
        minutes: minutes to train in all; None for no such limit. One of the two must be given; the
            learning rate falls along whichever is further.
        look: how the fit errs that says where eyes and mouth are.
        batch: pictures a step.
        learning_rate: at its peak.
        warmup_steps: until the peak.
        average_decay: of the moving average of the weights, a step.
        threads: processor threads for the network; one more prepares batches.
        seed: of everything random.
        init: whose weights are the start: a checkpoint (the averaged ones), ``blendshapes.onnx``,
            or the folder of a bundle that has one.
        resume: go on from ``out/checkpoint.pt`` where there is one.
        validation_shards: how many of the lowest-numbered shards are held out.
        validation_pictures: how many of their pictures are measured at most.
        log_steps: steps between two lines of the log.
        validate_steps: steps between two validations, each with a checkpoint.
    """

    shards: Path
    out: Path
    face_model: Path
    images: int | None = None
    minutes: float | None = None
    look: LookConfig = field(default_factory=LookConfig)
    batch: int = 64
    learning_rate: float = 3e-3
    warmup_steps: int = 200
    average_decay: float = 0.999
    threads: int = 1
    seed: int = 0
    init: Path | None = None
    resume: bool = False
    validation_shards: int = 2
    validation_pictures: int = 800
    log_steps: int = 200
    validate_steps: int = 1000

    def __post_init__(self) -> None:
        check_budget("images", self.images, self.minutes)
        if self.batch < 2 or self.threads < 1 or self.learning_rate <= 0:
            raise InputError("training needs batch >= 2, threads >= 1 and learning rate > 0")


def train_blendshapes(
    config: BlendshapeTrainConfig,
    report: Report | None = None,
) -> SteppedResult[BlendshapeValidation]:
    """Train, or go on training; an interrupted run leaves a checkpoint that ``resume`` continues.

    Args:
        config: what to do.
        report: told every line of the log.

    Raises:
        InputError: shards, face model or checkpoint cannot be used.
        OutputError: ``out`` cannot be written, or holds a training that is not to be resumed.
    """
    begin_folder(config.out, config.resume)
    with processor_threads(config.threads):
        return run_through(BlendshapeTraining(config, report))


class BlendshapeTraining(SteppedTraining[BlendshapeNetwork, BlendshapeValidation]):
    """The state of one run."""

    def __init__(
        self,
        config: BlendshapeTrainConfig,
        report: Report | None = None,
    ) -> None:
        self.config = config
        self._model = FaceModel.load(config.face_model)
        self._loss = BlendshapeLoss(self._model)
        places = ViewPlaces.of(self._model)
        check_face_model(config.shards, config.face_model)
        shards = load_shards(config.shards)
        held = config.validation_shards
        if len(shards) <= held:
            raise InputError(
                f"{config.shards}: {len(shards)} shards, of which the first {held} are held out; "
                "expected more"
            )
        self._source = ViewSource(shards[held:], places, config.look)
        held_out = ViewSource(shards[:held], places, config.look)
        self._held_out = _validation_batches(held_out, config)
        start, resumed = starting_point(config, self._load)
        torch.manual_seed(config.seed)
        log = TrainingLog(config.out, report)
        super().__init__(config, BlendshapeNetwork(), start, resumed, clip=_CLIP, log=log)

    def run(self) -> None:
        """Train until the budget is spent."""
        config, stepper = self.config, self.stepper
        batches = self._source.batches(config.batch, config.seed, stepper.progress.step)
        with Prefetch(batches) as ahead:
            while stepper.done < 1.0:
                self._step(next(ahead))
                stepper.count(config.batch)
                if stepper.due(config.log_steps):
                    stepper.write_means()
                if stepper.due(config.validate_steps):
                    self.validate()
                    self.save()

    def _load(self, path: Path) -> BlendshapeCheckpoint:
        exported = exported_blendshapes(path)
        if exported is None:
            return BlendshapeCheckpoint.load(path)
        rng = np.random.default_rng(self.config.seed)
        rows = rng.integers(0, len(self._source), _NORMALISED_ON)
        return checkpoint_of_export(exported, self._source.batch(rows, rng).views)

    def checkpoint(self) -> BlendshapeCheckpoint:
        """The state that can be gone on from."""
        return BlendshapeCheckpoint(
            weights=self.descent.network.state_dict(),
            averaged=self.descent.average.state_dict(),
            optimiser=self.descent.optimiser.state_dict(),
            progress=self.stepper.progress,
        )

    def measure(self) -> BlendshapeValidation:
        """Figures of the averaged weights on held-out people."""
        return validate(self.descent.average.eval(), self._held_out, self._model)

    def _step(self, batch: ViewBatch) -> None:
        network = self.descent.network.train()
        said = network(torch.from_numpy(batch.views), torch.from_numpy(batch.facing))
        self.learn(*self._loss(said, torch.from_numpy(batch.blendshapes)))

    def validate(self) -> BlendshapeValidation:
        """Measure the averaged weights, log it, and draw the curves."""
        result = super().validate()
        self._log.draw()
        return result


def _validation_batches(source: ViewSource, config: BlendshapeTrainConfig) -> list[ViewBatch]:
    """Held-out people as a camera and a fit would show them; always the same."""
    rng = np.random.default_rng(_VALIDATION_SEED)
    rows = np.arange(min(len(source), config.validation_pictures))
    parts = [rows[i : i + config.batch] for i in range(0, len(rows), config.batch)]
    return [source.batch(part, rng) for part in parts]
