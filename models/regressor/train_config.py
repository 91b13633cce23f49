"""Settings of a training of the regressor."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from ..errors import InputError
from ..learning.budget import check_budget
from ..learning.device import Device
from ..synthetic.generate import SynthesisConfig
from .dataset import AugmentationConfig
from .learner import OptimiserConfig
from .losses import LossConfig
from .network import NetworkConfig
from .objective import PaperLossConfig
from .short_video_batches import ShortVideoConfig


@dataclass(frozen=True)
class TrainConfig:
    """One training of the regressor.

    Attributes:
        shards: folder of training shards; it may grow meanwhile.
        out: folder for ``checkpoint.pt``, ``log.jsonl`` and ``curves.png``.
        face_model: the ``face_model.npz`` that the shards were made with.
        images: pictures to see in all; None for no such limit.
        minutes: minutes to train in all; None for no such limit. One of the two must be given; the
            learning rate falls along whichever is further.
        network: architecture; of what is given in ``init`` or resumed, that one's holds (its
            landmark head aside, which a training from ``init`` may add or leave out).
        losses: what is minimised: mien's own loss with its weights, or an objective of the paper's.
        optimiser: how weights follow gradients.
        augmentation: of crops and pixels.
        short_video: what makes every picture a short video in its batch, if anything is to; a
            batch then holds so many fewer pictures.
        batch: pictures a step.
        learning_rate: at its peak.
        warmup_images: pictures until the peak.
        average_decay: of the moving average of the weights, a step.
        threads: processor threads for the network; one more prepares batches.
        device: where the network is trained; ``auto`` is CUDA where there is one.
        bfloat16: whether convolutions run in bfloat16, where the device has it.
        seed: of everything random.
        init: checkpoint, exported ``regressor.onnx`` or bundle folder whose weights are the start;
            of a checkpoint the averaged ones.
        widen: width to which the network of ``init`` is widened first, which must be an exported
            one then, unless it has that width.
        resume: go on from ``out/checkpoint.pt`` where there is one.
        validation_shards: how many of the lowest-numbered shards are held out.
        validation_pictures: how many of their pictures are measured at most.
        log_images: pictures between two lines of the log.
        validate_images: pictures between two validations.
        checkpoint_images: pictures between two checkpoints.
        render: what to render into ``shards`` meanwhile, in processes of its own.
        command: the command line that asks for this, to be recorded.
    """

    shards: Path
    out: Path
    face_model: Path
    images: int | None = None
    minutes: float | None = None
    network: NetworkConfig = field(default_factory=NetworkConfig)
    losses: LossConfig | PaperLossConfig = field(default_factory=LossConfig)
    optimiser: OptimiserConfig = field(default_factory=OptimiserConfig)
    augmentation: AugmentationConfig = field(default_factory=AugmentationConfig)
    short_video: ShortVideoConfig | None = None
    batch: int = 64
    learning_rate: float = 2e-3
    warmup_images: int = 20_000
    average_decay: float = 0.9995
    threads: int = 1
    device: Device = "auto"
    bfloat16: bool = True
    seed: int = 0
    init: Path | None = None
    widen: float | None = None
    resume: bool = False
    validation_shards: int = 4
    validation_pictures: int = 2000
    log_images: int = 6_400
    validate_images: int = 64_000
    checkpoint_images: int = 32_000
    render: SynthesisConfig | None = None
    command: str = ""

    def __post_init__(self) -> None:
        check_budget("images", self.images, self.minutes)
        if self.batch < 2 or self.threads < 1 or self.learning_rate <= 0:
            raise InputError("training needs batch >= 2, threads >= 1 and learning rate > 0")
        if self.widen is not None and self.init is None:
            raise InputError("training: nothing to widen without init; the network says its width")
        if self.render is not None and self.render.out != self.shards:
            raise InputError(f"{self.render.out}: rendered there, but trained on {self.shards}")
