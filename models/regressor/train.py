"""Trains the regressor on shards: a budget of pictures or minutes, checkpoints, a log."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
import torch
from torch import nn

from ..errors import InputError, OutputError
from ..face.morphable import FaceModel
from ..synthetic.shards import ShardFolder
from .checkpoint import Checkpoint, Progress
from .dataset import (
    AugmentationConfig,
    Augmenter,
    Batch,
    training_batches,
    validation_batches,
)
from .losses import LossConfig, PointDecoder, RegressorLoss, Targets
from .mirror import Mirror
from .network import FaceNetwork, NetworkConfig
from .prefetch import Prefetch
from .validation import Validation, validate

CHECKPOINT_NAME: Final = "checkpoint.pt"
LOG_NAME: Final = "log.jsonl"

_WEIGHT_DECAY: Final = 0.02
_CLIP: Final = 5.0
"""Largest norm of the gradient."""
_LAST_RATE: Final = 0.01
"""Learning rate at the end, as a share of the peak."""
_STATISTICS: Final = 4096
"""Augmented pictures from which the whitening is taken, at most."""


@dataclass(frozen=True)
class TrainConfig:
    """One training of the regressor.

    Attributes:
        shards: folder of training shards; it may grow meanwhile.
        out: folder for ``checkpoint.pt`` and ``log.jsonl``.
        face_model: the ``face_model.npz`` that the shards were made with.
        images: pictures to see in all; None for no such limit.
        minutes: minutes to train in all; None for no such limit. One of the two must be given; the
            learning rate falls along whichever is further.
        network: architecture; of a checkpoint given in ``init`` or resumed, that one's holds.
        losses: weights of the loss.
        augmentation: of crops and pixels.
        batch: pictures a step.
        learning_rate: at its peak.
        warmup_images: pictures until the peak.
        average_decay: of the moving average of the weights, a step.
        threads: processor threads for the network; one more prepares batches.
        bfloat16: whether convolutions run in bfloat16 (faster where the processor has it).
        seed: of everything random.
        init: checkpoint whose averaged weights are the start.
        resume: go on from ``out/checkpoint.pt`` where there is one.
        validation_shards: how many of the lowest-numbered shards are held out.
        validation_pictures: how many of their pictures are measured at most.
        log_images: pictures between two lines of the log.
        validate_images: pictures between two validations.
        checkpoint_images: pictures between two checkpoints.
    """

    shards: Path
    out: Path
    face_model: Path
    images: int | None = None
    minutes: float | None = None
    network: NetworkConfig = field(default_factory=NetworkConfig)
    losses: LossConfig = field(default_factory=LossConfig)
    augmentation: AugmentationConfig = field(default_factory=AugmentationConfig)
    batch: int = 64
    learning_rate: float = 2e-3
    warmup_images: int = 20_000
    average_decay: float = 0.9995
    threads: int = 1
    bfloat16: bool = True
    seed: int = 0
    init: Path | None = None
    resume: bool = False
    validation_shards: int = 4
    validation_pictures: int = 2000
    log_images: int = 6_400
    validate_images: int = 64_000
    checkpoint_images: int = 32_000

    def __post_init__(self) -> None:
        if self.images is None and self.minutes is None:
            raise InputError("training needs a budget: a number of images, of minutes, or both")
        if self.batch < 2 or self.threads < 1 or self.learning_rate <= 0:
            raise InputError("training needs batch >= 2, threads >= 1 and learning rate > 0")


@dataclass(frozen=True)
class TrainResult:
    """What a training came to.

    Attributes:
        checkpoint: the file it wrote last.
        images: pictures seen.
        seconds: spent.
        validation: of the averaged weights at the end.
    """

    checkpoint: Path
    images: int
    seconds: float
    validation: Validation


Report = Callable[[dict[str, Any]], None]
"""Receives every line of the log as it is written; ``done`` in it is the share of the budget."""


def train_regressor(
    config: TrainConfig,
    report: Report | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> TrainResult:
    """Train, or go on training; an interrupted run leaves a checkpoint that ``resume`` continues.

    Args:
        config: what to do.
        report: told every line of the log.
        clock: seconds, for the budget in minutes.

    Raises:
        InputError: shards, face model or checkpoint cannot be used.
        OutputError: ``out`` cannot be written.
    """
    try:
        config.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{config.out}: cannot be made: {error.strerror}") from error
    with _processor_threads(config.threads):
        training = Training(config, report, clock)
        try:
            training.run()
        except KeyboardInterrupt:
            training.save()
            raise
        return training.finish()


class Training:
    """The state of one run: network, average, optimiser, progress."""

    def __init__(
        self, config: TrainConfig, report: Report | None, clock: Callable[[], float]
    ) -> None:
        self.config = config
        self._report = report
        self._clock = clock
        self.folder = ShardFolder(config.shards, config.validation_shards)
        model = FaceModel.load(config.face_model)
        vertices = self.folder.meta.point_vertices
        if max(vertices) >= len(model.mean):
            raise InputError(f"{config.shards}: made with another face model than the given one")
        self.decoder = PointDecoder(model.subset(np.array(vertices, dtype=np.int32)))
        flips = config.augmentation.geometric.flip > 0
        self.augmenter = Augmenter(
            config.augmentation, Mirror.of(model, vertices) if flips else None
        )
        self.loss = RegressorLoss(self.decoder, config.losses)
        start, resumed = self._starting_point()
        torch.manual_seed(config.seed)
        self.network = FaceNetwork(start.network if start else config.network)
        if start:
            self.network.load_state_dict(dict(start.weights if resumed else start.averaged))
        else:
            self.network.set_whitening(*self._label_statistics())
        self.average = FaceNetwork(self.network.config).requires_grad_(False)
        self.average.load_state_dict(self.network.state_dict())
        self.optimiser = torch.optim.AdamW(_groups(self.network), config.learning_rate)
        self.progress = Progress()
        if start and resumed:
            self.average.load_state_dict(dict(start.averaged))
            self.optimiser.load_state_dict(dict(start.optimiser))
            self.progress = start.progress
        self._began = clock() - self.progress.seconds
        self._sums: dict[str, float] = {}

    def _starting_point(self) -> tuple[Checkpoint | None, bool]:
        """The checkpoint to start from, and whether that means going on with its training."""
        path = self.config.out / CHECKPOINT_NAME
        if self.config.resume and path.is_file():
            return Checkpoint.load(path), True
        return (Checkpoint.load(self.config.init) if self.config.init else None), False

    def _label_statistics(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean and standard deviation (62,) of the parameters of augmented pictures."""
        count = min(_STATISTICS, 4 * sum(len(shard) for shard in self.folder.training))
        batches = training_batches(self.folder, self.augmenter, count, self.config.seed + 1)
        batch = next(batches)[0]
        faces = batch.presence > 0
        if not faces.any():
            raise InputError(f"{self.config.shards}: no face among the first pictures")
        params = np.concatenate(
            [batch.pose.reshape(-1, 12), batch.shape, batch.expression], axis=1
        )[faces]
        std = params.std(0)
        # The depth offset is the same everywhere, and a coefficient may hardly vary in a small set.
        std[:12] = np.where(std[:12] > 1e-4, std[:12], 1.0)
        std[12:] = np.maximum(std[12:], 0.1)
        return params.mean(0), std

    def done(self) -> float:
        """Share of the budget that is spent, 0 to 1."""
        images, minutes = self.config.images, self.config.minutes
        shares = [
            self.progress.images / images if images else 0.0,
            self.progress.seconds / (60 * minutes) if minutes else 0.0,
        ]
        return min(1.0, max(shares))

    def run(self) -> None:
        """Train until the budget is spent."""
        if self.done() >= 1.0:
            return
        batches = training_batches(
            self.folder,
            self.augmenter,
            self.config.batch,
            self.config.seed,
            state=self.progress.sampler,
            step=self.progress.step,
        )
        with Prefetch(batches) as ahead:
            for batch, sampler in ahead:
                self._step(batch)
                self.progress.step += 1
                self.progress.images += len(batch.crops)
                self.progress.seconds = self._clock() - self._began
                self.progress.sampler = sampler
                if self._due(self.config.log_images):
                    self._log_training()
                if self.done() >= 1.0:
                    return
                if self._due(self.config.validate_images):
                    self._log_validation()
                if self._due(self.config.checkpoint_images):
                    self.save()

    def finish(self) -> TrainResult:
        """Write the last checkpoint and measure the averaged weights."""
        self.save()
        validation = self._log_validation()
        path = self.config.out / CHECKPOINT_NAME
        return TrainResult(path, self.progress.images, self.progress.seconds, validation)

    def save(self) -> None:
        """Write the checkpoint.

        Raises:
            OutputError: it cannot be written.
        """
        path = self.config.out / CHECKPOINT_NAME
        checkpoint = Checkpoint(
            network=self.network.config,
            weights=self.network.state_dict(),
            averaged=self.average.state_dict(),
            optimiser=self.optimiser.state_dict(),
            progress=self.progress,
        )
        try:
            checkpoint.save(path)
        except OSError as error:
            raise OutputError(f"{path}: cannot be written: {error.strerror}") from error

    def _step(self, batch: Batch) -> None:
        rate = self._learning_rate()
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        self.network.train()
        with torch.autocast("cpu", torch.bfloat16, enabled=self.config.bfloat16):
            output = self.network(torch.from_numpy(batch.crops))
        total, terms = self.loss(self.network, output, _targets(batch))
        self.optimiser.zero_grad()
        total.backward()
        # Above all a guard: one NaN in the weights would cost the whole training.
        norm = nn.utils.clip_grad_norm_(self.network.parameters(), _CLIP)
        if bool(torch.isfinite(norm)):
            self.optimiser.step()
            self._move_average()
        for name, value in {"loss": total.detach(), **terms}.items():
            self._sums[name] = self._sums.get(name, 0.0) + float(value)
        self._sums["steps"] = self._sums.get("steps", 0.0) + 1

    def _learning_rate(self) -> float:
        warmup = min(1.0, (self.progress.images + self.config.batch) / self.config.warmup_images)
        cosine = 0.5 * (1 + math.cos(math.pi * self.done()))
        return self.config.learning_rate * warmup * max(cosine, _LAST_RATE)

    def _move_average(self) -> None:
        step = self.progress.step
        decay = min(self.config.average_decay, (1 + step) / (10 + step))
        mine, theirs = self.average.state_dict(), self.network.state_dict()
        for name, value in mine.items():
            if value.is_floating_point():
                value.lerp_(theirs[name], 1 - decay)

    def _due(self, every: int) -> bool:
        """Whether the last step passed a multiple of ``every`` pictures."""
        return self.progress.images % every < self.config.batch

    def _log_training(self) -> None:
        steps = self._sums.pop("steps", 1.0)
        line: dict[str, Any] = {name: value / steps for name, value in self._sums.items()}
        self._sums.clear()
        self._write({"lr": self._learning_rate(), **line})

    def _log_validation(self) -> Validation:
        held_out = validation_batches(
            self.folder, self.config.batch, self.config.validation_pictures
        )
        result = validate(self.average, self.decoder, held_out)
        self._write({"validation": asdict(result)})
        return result

    def _write(self, line: dict[str, Any]) -> None:
        pictures = sum(len(shard) for shard in self.folder.training)
        line = {
            "images": self.progress.images,
            "seconds": round(self.progress.seconds, 1),
            "done": round(self.done(), 4),
            "pictures": pictures,
            **line,
        }
        with (self.config.out / LOG_NAME).open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        if self._report:
            self._report(line)


def _targets(batch: Batch) -> Targets:
    return Targets(*(torch.from_numpy(getattr(batch, name)) for name in Targets._fields))


def _groups(network: FaceNetwork) -> list[dict[str, Any]]:
    """Weight decay for convolutions and heads, none for biases and normalisation."""
    decayed = [p for p in network.parameters() if p.ndim > 1]
    plain = [p for p in network.parameters() if p.ndim <= 1]
    return [
        {"params": decayed, "weight_decay": _WEIGHT_DECAY},
        {"params": plain, "weight_decay": 0.0},
    ]


@contextmanager
def _processor_threads(count: int) -> Iterator[None]:
    """Threads of torch and OpenCV for the time of a training."""
    before = torch.get_num_threads(), cv2.getNumThreads()
    torch.set_num_threads(count)
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before[0])
        cv2.setNumThreads(before[1])
