"""Trains the detector on composed scenes: a budget of pictures or minutes, checkpoints, a log."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
import torch
from jaxtyping import UInt8

from ..errors import InputError
from ..face.crop import CROP_SIZE
from ..face.names import N_PARAMS
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
from ..regressor.checkpoint import Checkpoint
from ..regressor.network import FaceNetwork
from ..regressor.warm_start import exported_regressor, network_of_export, read_export
from ..synthetic.scenes_bank import CutOutFolder
from ..synthetic.scenes_compose import Scene
from ..synthetic.scenes_ground import Grounds
from .checkpoint import DetectorCheckpoint
from .dataset import SceneSource
from .losses import detector_loss
from .network import DetectorNetwork, DetectorNetworkConfig
from .targets import DetectorBatch, mirrored
from .validation import DetectorValidation, validate
from .warm_start import checkpoint_of_export, exported_detector

_CLIP: Final = 10.0
"""Largest norm of the gradient."""
_FROZEN_LEVELS: Final = 2
"""Parts of the trunk that may stay as they are: to stride 8."""
_NORMALISED_ON: Final = 96
"""Scenes from which an exported network's normalisation is restored."""
_VALIDATION_SEED: Final = 7_777
_VALIDATION_SIZE: Final = (256, 320)


@dataclass(frozen=True)
class DetectorTrainConfig:
    """One training of the detector.

    Attributes:
        shards: folder of cut-outs (``mien synthesize scenes``).
        out: folder for ``checkpoint.pt`` and ``log.jsonl``.
        photographs: folder of pictures without faces as further backgrounds, if any.
        images: pictures to see in all; None for no such limit.
        minutes: minutes to train in all; None for no such limit. One of the two must be given; the
            learning rate falls along whichever is further.
        network: architecture; of a checkpoint given in ``init`` or resumed, that one's holds.
        batch: pictures a step, if they were of 224 x 224 px.
        learning_rate: at its peak.
        warmup_steps: until the peak.
        average_decay: of the moving average of the weights, a step.
        threads: processor threads for the network; one more prepares batches.
        bfloat16: whether convolutions run in bfloat16 (faster where the processor has it).
        seed: of everything random.
        init: whose weights are the start: a checkpoint (its averaged ones), or an exported detector
            (``detector.onnx``, or a bundle's folder).
        regressor: whose first layers are the start otherwise: a checkpoint, or an exported one
            (``regressor.onnx``, or a bundle's folder).
        frozen: share of the budget during which these layers, to stride 8, stay as they are.
        resume: go on from ``out/checkpoint.pt`` where there is one.
        validation_shards: how many of the lowest-numbered shards are held out.
        validation_pictures: how many scenes of them are measured.
        log_steps: steps between two lines of the log.
        validate_steps: steps between two validations, each with a checkpoint.
    """

    shards: Path
    out: Path
    photographs: Path | None = None
    images: int | None = None
    minutes: float | None = None
    network: DetectorNetworkConfig = field(default_factory=DetectorNetworkConfig)
    batch: int = 32
    learning_rate: float = 2e-3
    warmup_steps: int = 100
    average_decay: float = 0.998
    threads: int = 1
    bfloat16: bool = True
    seed: int = 0
    init: Path | None = None
    regressor: Path | None = None
    frozen: float = 0.0
    resume: bool = False
    validation_shards: int = 2
    validation_pictures: int = 200
    log_steps: int = 50
    validate_steps: int = 500

    def __post_init__(self) -> None:
        check_budget("images", self.images, self.minutes)
        if self.batch < 2 or self.threads < 1 or self.learning_rate <= 0:
            raise InputError("training needs batch >= 2, threads >= 1 and learning rate > 0")


def train_detector(
    config: DetectorTrainConfig,
    report: Report | None = None,
) -> SteppedResult[DetectorValidation]:
    """Train, or go on training; an interrupted run leaves a checkpoint that ``resume`` continues.

    Args:
        config: what to do.
        report: told every line of the log.

    Raises:
        InputError: shards, photographs or checkpoint cannot be used.
        OutputError: ``out`` cannot be written, or holds a training that is not to be resumed.
    """
    begin_folder(config.out, config.resume)
    with processor_threads(config.threads):
        return run_through(DetectorTraining(config, report))


class DetectorTraining(SteppedTraining[DetectorNetwork, DetectorValidation]):
    """The state of one run."""

    def __init__(
        self,
        config: DetectorTrainConfig,
        report: Report | None = None,
    ) -> None:
        self.config = config
        folder = CutOutFolder(config.shards, config.validation_shards)
        grounds = Grounds(config.seed, config.photographs)
        self._source = SceneSource(folder.training, grounds, config.seed)
        self._held_out = _held_out_scenes(config, folder)
        start, resumed = starting_point(config, self._load)
        torch.manual_seed(config.seed)
        network = DetectorNetwork(start.network if start else config.network)
        if config.regressor and not start:
            network.take_trunk(_regressor(config.regressor, self._source))
        self.threshold = start.threshold if start else 0.5
        log = TrainingLog(config.out, report)
        super().__init__(config, network, start, resumed, clip=_CLIP, log=log)

    def run(self) -> None:
        """Train until the budget is spent."""
        config, stepper = self.config, self.stepper
        if stepper.done >= 1.0:
            return
        with Prefetch(self._source.batches(config.batch, stepper.progress.step)) as ahead:
            for batch in ahead:
                # Composing costs as much as learning: each batch is used as it is and mirrored.
                self._step(batch)
                self._step(mirrored(batch))
                stepper.count(2 * len(batch.pictures))
                if stepper.due(config.log_steps):
                    stepper.write_means()
                if stepper.done >= 1.0:
                    return
                if stepper.due(config.validate_steps):
                    self.validate()
                    self.save()

    def _load(self, path: Path) -> DetectorCheckpoint:
        exported = exported_detector(path)
        if exported is None:
            return DetectorCheckpoint.load(path)
        return checkpoint_of_export(exported, _first_scenes(self._source, *_VALIDATION_SIZE))

    def checkpoint(self) -> DetectorCheckpoint:
        """The state that can be gone on from."""
        return DetectorCheckpoint(
            network=self.descent.network.config,
            weights=self.descent.network.state_dict(),
            averaged=self.descent.average.state_dict(),
            optimiser=self.descent.optimiser.state_dict(),
            progress=self.stepper.progress,
            threshold=self.threshold,
        )

    def measure(self) -> DetectorValidation:
        """Figures of the averaged weights on held-out people; the threshold is theirs."""
        result = validate(self.descent.average, self._held_out)
        self.threshold = result.threshold
        return result

    def _step(self, batch: DetectorBatch) -> None:
        network = self.descent.network.train()
        for level in network.trunk[:_FROZEN_LEVELS]:
            frozen = self.stepper.done < self.config.frozen
            level.train(not frozen)
            level.requires_grad_(not frozen)
        with torch.autocast("cpu", torch.bfloat16, enabled=self.config.bfloat16):
            output = network(torch.from_numpy(batch.pictures))
        targets = (batch.heat, batch.free, batch.box, batch.weight)
        self.learn(*detector_loss(output, *(torch.from_numpy(target) for target in targets)))


def _held_out_scenes(config: DetectorTrainConfig, folder: CutOutFolder) -> list[Scene]:
    """Scenes of held-out people before backgrounds of their own; always the same."""
    grounds = Grounds(_VALIDATION_SEED, count=60)
    source = SceneSource(folder.validation, grounds, _VALIDATION_SEED)
    return [source.scene(0, i, *_VALIDATION_SIZE) for i in range(config.validation_pictures)]


def _regressor(start: Path, source: SceneSource) -> FaceNetwork:
    """The regressor of a checkpoint or an export, the latter normalised on scenes."""
    exported = exported_regressor(start)
    if exported is None:
        return Checkpoint.load(start).averaged_network()
    zeros, ones = np.zeros(N_PARAMS, np.float32), np.ones(N_PARAMS, np.float32)
    scenes = _first_scenes(source, CROP_SIZE, CROP_SIZE)
    return network_of_export(read_export(exported), scenes, zeros, ones)


def _first_scenes(source: SceneSource, height: int, width: int) -> UInt8[np.ndarray, "B H W 3"]:
    """Pictures from which the normalisation of an exported network is restored."""
    return np.stack([source.scene(0, i, height, width).image for i in range(_NORMALISED_ON)])
