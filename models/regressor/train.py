"""Trains the regressor on shards: a budget of pictures or minutes, checkpoints, a log."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch

from ..errors import InputError
from ..face.morphable import FaceModel
from ..learning.checkpoint_file import unpacking
from ..learning.device import find_device
from ..learning.pace import (
    CHECKPOINT_NAME,
    begin_folder,
    learning_rate,
    processor_threads,
    share_spent,
)
from ..learning.prefetch import Prefetch
from ..learning.run import run_through
from ..learning.training_log import Report, TrainingLog
from ..synthetic.generate import synthesise
from ..synthetic.shards import ShardFolder
from .checkpoint import Checkpoint, Origin, Progress
from .dataset import (
    Augmenter,
    Batch,
    SamplerState,
    training_batches,
    validation_batches,
)
from .learner import Learner, mixed_precision
from .losses import LossConfig, PointDecoder, RegressorLoss
from .mirror import Mirror
from .network import FaceNetwork, without_landmark_head
from .objective import Objective, ParameterLoss, TensorBatch, vertex_error
from .parameter_losses import MeshDistance
from .render_ahead import RenderAhead
from .short_video_batches import VideoAugmenter, short_video_batches
from .strategy import EveryBatch, MetaJoint, Strategy
from .train_config import TrainConfig
from .validation import Validation, validate
from .warm_start import exported_regressor, network_of_export, read_export
from .widen import widened

_STATISTICS: Final = 4096
"""Augmented pictures from which the whitening is taken, at most."""

_NORMALISATION: Final = 1024
"""How many of these the normalisation of an exported network is taken from, at most."""


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
        InputError: shards, face model, checkpoint or exported weights cannot be used.
        OutputError: ``out`` cannot be written, or holds a training that is not to be resumed.
    """
    begin_folder(config.out, config.resume)
    with processor_threads(config.threads), _rendering(config) as renderer:
        if renderer is not None:
            renderer.wait(config.validation_shards + 1)
        return run_through(Training(config, report, clock, renderer))


class Training:
    """The state of one run: what learns, how, and how far it is."""

    def __init__(
        self,
        config: TrainConfig,
        report: Report | None,
        clock: Callable[[], float],
        renderer: RenderAhead | None = None,
    ) -> None:
        self.config = config
        self._clock = clock
        self._renderer = renderer
        self._log = TrainingLog(config.out, report)
        self.device = find_device(config.device)
        self.folder = ShardFolder(config.shards, config.validation_shards)
        model = FaceModel.load(config.face_model)
        vertices = self.folder.meta.point_vertices
        if max(vertices) >= len(model.mean):
            raise InputError(f"{config.shards}: made with another face model than the given one")
        points = model.subset(np.array(vertices, dtype=np.int32))
        self.decoder = PointDecoder(points).to(self.device)
        flips = config.augmentation.geometric.flip > 0
        mirror = Mirror.of(model, vertices) if flips else None
        self.augmenter = Augmenter(config.augmentation, mirror)
        self._videos: VideoAugmenter | None = None
        if config.short_video is not None:
            self._videos = VideoAugmenter(
                model, vertices, config.augmentation, config.short_video, mirror
            )
        start, resumed = self._starting_point()
        torch.manual_seed(config.seed)
        learner = self._learner(start, resumed)
        self.strategy = self._strategy(learner, model)
        self.progress = start.progress if start and resumed else Progress()
        self._settled = replace(self.progress)
        self._origins = (
            *(start.history if start else ()),
            Origin(config.command, config.seed, self.progress.images, self.device.type),
        )
        self._began = clock() - self.progress.seconds

    def _learner(self, start: Checkpoint | None, resumed: bool) -> Learner:
        config = self.config
        shape = config.network
        if start:
            extra = start.network if resumed else config.network
            shape = replace(start.network, landmark_head=extra.landmark_head)
        network = FaceNetwork(shape)
        if start and resumed:
            network.load_state_dict(dict(start.weights))
        elif start:
            network.load_state_dict(network.state_dict() | without_landmark_head(start.averaged))
        else:
            network.set_whitening(*self._whitening(self._first_pictures()))
        bfloat16 = mixed_precision(self.device, config.bfloat16)
        learner = Learner(network.to(self.device), config.optimiser, config.average_decay, bfloat16)
        if start and resumed:
            if start.optimiser_kind != config.optimiser.kind:
                raise InputError(
                    f"{config.out / CHECKPOINT_NAME}: trained with {start.optimiser_kind}, cannot "
                    f"go on with {config.optimiser.kind}"
                )
            with unpacking(config.out / CHECKPOINT_NAME):
                learner.load(start.averaged, start.optimiser)
        return learner

    def _strategy(self, learner: Learner, model: FaceModel) -> Strategy:
        losses = self.config.losses
        if isinstance(losses, LossConfig):
            main = RegressorLoss(self.decoder, losses).to(self.device)
            return EveryBatch(learner, Objective(main, self.decoder))
        distance = MeshDistance(model).to(self.device)
        if losses.method != "meta":
            main = ParameterLoss(distance, losses.method, losses)
            return EveryBatch(learner, Objective(main, self.decoder))
        branches = {
            "fwpdc": Objective(ParameterLoss(distance, "fwpdc", losses), self.decoder),
            "vdc": Objective(ParameterLoss(distance, "vdc", losses), self.decoder),
        }
        error = partial(vertex_error, distance)
        return MetaJoint(learner, branches, error, losses.look_ahead)

    def _starting_point(self) -> tuple[Checkpoint | None, bool]:
        """The checkpoint to start from, and whether that means going on with its training."""
        path, init = self.config.out / CHECKPOINT_NAME, self.config.init
        if self.config.resume and path.is_file():
            return Checkpoint.load(path), True
        if init is None:
            return None, False
        exported = exported_regressor(init)
        if exported is not None:
            return self._restored(exported), False
        start = Checkpoint.load(init)
        if self.config.widen not in (None, start.network.width):
            raise InputError(
                f"{init}: a checkpoint of width {start.network.width}; only an exported network "
                "can be widened (mien export CHECKPOINT --out FILE.onnx)"
            )
        return start, False

    def _restored(self, exported: Path) -> Checkpoint:
        """An exported network as if it had been trained on these shards; its history is unknown."""
        weights = read_export(exported)
        if self.config.widen is not None:
            weights = widened(weights, self.config.widen, self.config.seed)
        batch = self._first_pictures()
        crops = batch.crops[:_NORMALISATION]
        network = network_of_export(weights, crops, *self._whitening(batch))
        state = network.state_dict()
        return Checkpoint(network.config, state, state, {}, Progress())

    def _first_pictures(self) -> Batch:
        """Augmented pictures from which a network's fixed scales are taken."""
        count = min(_STATISTICS, 4 * sum(len(shard) for shard in self.folder.training))
        batches = training_batches(self.folder, self.augmenter, count, self.config.seed + 1)
        return next(batches)[0]

    def _whitening(self, batch: Batch) -> tuple[np.ndarray, np.ndarray]:
        """Mean and standard deviation (62,) of the parameters of a batch's faces."""
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
        config, spent = self.config, self.progress
        return share_spent(spent.images, spent.seconds, config.images, config.minutes)

    def run(self) -> None:
        """Train until the budget is spent."""
        self._write({"begun": self._settings()})
        if self.done() >= 1.0:
            return
        pending: set[str] = set()
        with Prefetch(self._batches()) as ahead:
            for batch, sampler in ahead:
                terms = self.strategy.take(
                    TensorBatch.of(batch, self.device),
                    self._learning_rate(),
                    self.progress.step,
                    self.done() >= 1.0,
                )
                self._log.add(terms)
                self._advance(len(batch.crops), sampler)
                if self.strategy.settled:
                    self._settled = replace(self.progress)
                if self._due(self.config.log_images):
                    self._log_training()
                if self._due(self.config.validate_images):
                    pending.add("validation")
                if self._due(self.config.checkpoint_images):
                    pending.add("checkpoint")
                if not self.strategy.settled:
                    continue
                if self.done() >= 1.0:
                    return
                if "validation" in pending:
                    self._log_validation()
                if "checkpoint" in pending:
                    self.save()
                pending.clear()

    def _batches(self) -> Iterator[tuple[Batch, SamplerState]]:
        """Batches from where the training is."""
        size, seed = self.config.batch, self.config.seed
        state, step = self.progress.sampler, self.progress.step
        if self._videos is None:
            return training_batches(self.folder, self.augmenter, size, seed, state=state, step=step)
        return short_video_batches(self.folder, self._videos, size, seed, state=state, step=step)

    def _advance(self, images: int, sampler: SamplerState) -> None:
        self.progress.step += 1
        self.progress.images += images
        self.progress.seconds = self._clock() - self._began
        self.progress.sampler = sampler

    def finish(self) -> TrainResult:
        """Write the last checkpoint and measure the averaged weights."""
        self.save()
        validation = self._log_validation()
        path = self.config.out / CHECKPOINT_NAME
        return TrainResult(path, self.progress.images, self.progress.seconds, validation)

    def save(self) -> None:
        """Write the checkpoint, of the last point from which the training can be continued.

        Raises:
            OutputError: it cannot be written.
        """
        path = self.config.out / CHECKPOINT_NAME
        learner = self.strategy.learner
        checkpoint = Checkpoint(
            network=learner.network.config,
            weights=learner.network.state_dict(),
            averaged=learner.average.state_dict(),
            optimiser=learner.optimiser.state_dict(),
            progress=self._settled,
            optimiser_kind=self.config.optimiser.kind,
            history=self._origins,
        )
        checkpoint.save(path)

    def _learning_rate(self) -> float:
        config = self.config
        warmup = (self.progress.images + config.batch) / config.warmup_images
        return learning_rate(config.learning_rate, warmup, self.done())

    def _due(self, every: int) -> bool:
        """Whether the last step passed a multiple of ``every`` pictures."""
        return self.progress.images % every < self.config.batch

    def _log_training(self) -> None:
        self._write({"lr": self._learning_rate(), **self._log.means()})
        if self._renderer is not None:
            self._renderer.check()

    def _log_validation(self) -> Validation:
        held_out = validation_batches(
            self.folder, self.config.batch, self.config.validation_pictures
        )
        result = validate(self.strategy.learner.average, self.decoder, held_out)
        self._write({"validation": asdict(result)})
        self._log.draw()
        return result

    def _settings(self) -> dict[str, Any]:
        """What this part of the training is a function of, besides the shards."""
        config = self.config
        return {
            "command": config.command,
            "seed": config.seed,
            "device": self.device.type,
            "torch": torch.__version__,
            "bfloat16": mixed_precision(self.device, config.bfloat16),
            "images": config.images,
            "minutes": config.minutes,
            "batch": config.batch,
            "learning_rate": config.learning_rate,
            "init": str(config.init) if config.init else None,
            "widen": config.widen,
            "resumed": self.progress.images > 0,
            "network": asdict(self.strategy.learner.network.config),
            "objective": type(config.losses).__name__,
            "losses": asdict(config.losses),
            "optimiser": asdict(config.optimiser),
            "short_video": asdict(config.short_video) if config.short_video else None,
            "augmentation": asdict(config.augmentation),
        }

    def _write(self, line: dict[str, Any]) -> None:
        pictures = sum(len(shard) for shard in self.folder.training)
        self._log.write(
            {
                "images": self.progress.images,
                "seconds": round(self.progress.seconds, 1),
                "done": round(self.done(), 4),
                "pictures": pictures,
                **line,
            }
        )


def _rendering(config: TrainConfig) -> AbstractContextManager[RenderAhead | None]:
    """What renders meanwhile, if anything is to."""
    if config.render is None:
        return nullcontext()
    return RenderAhead(partial(synthesise, config.render), config.shards)
