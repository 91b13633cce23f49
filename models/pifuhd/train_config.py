"""What is asked of one training of PIFuHD."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final, Literal

from ..errors import InputError
from ..learning.budget import check_budget
from .augment import Augmentation
from .config import PifuhdConfig, Preset, preset

Stage = Literal["normals", "coarse", "fine"]
Side = Literal["front", "back", "both"]
Part = Literal["normals-front", "normals-back", "coarse", "fine"]
"""What is trained at a time, and the folder in which it is kept."""
PARTS: Final[tuple[Part, ...]] = ("normals-front", "normals-back", "coarse", "fine")
DEFAULT_RATES: Final = {"small": 2e-3, "surfaces": 2e-3, "paper": 1e-3}
"""Learning rates at their peak; the normals' networks of the paper's sizes want a fifth."""


@dataclass(frozen=True)
class PifuhdTrainConfig:
    """One training.

    Attributes:
        data: folder of ``mien synthesize heads`` or ``bodies``.
        out: folder; each part has a folder in it.
        stage: what is trained.
        side: which normals, in that stage; both are trained one after the other.
        preset: sizes of the networks.
        minutes: to train each part, in all; None for no such limit.
        steps: to train each part, in all; None for no such limit. One of the two must be given.
        batch: pictures a step.
        points: of each picture a step.
        learning_rate: at its peak; None for the preset's.
        seed: of everything random.
        threads: processor threads of the networks; one more prepares batches.
        device: ``cpu``, ``cuda``, or ``auto`` for whichever there is.
        bfloat16: whether convolutions run in bfloat16.
        resume: go on from the part's checkpoint where there is one.
        init: weights of a whole model with which parts without a checkpoint begin, such as those
            of heads for bodies; None to begin anew.
        earlier: folder of a training whose earlier stages this one builds upon; None for ``out``.
        use_normals: whether the levels see normals.
        true_normals: whether they see true ones instead of drawn ones (the ceiling).
        use_pose: whether the levels are told where the head's axes are, where the network's sizes
            have it and the people are heads.
        fine_only: no coarse level.
        vgg: a file of VGG19's weights for the paper's perceptual term, if any.
        network: sizes other than a preset's.
        augmentation: how much pictures are varied.
        log_steps: steps between two lines of the log.
        save_seconds: between two validations, each with a checkpoint and a sheet.
    """

    data: Path
    out: Path
    stage: Stage
    side: Side = "both"
    preset: Preset = "small"
    minutes: float | None = None
    steps: int | None = None
    batch: int = 4
    points: int = 2500
    learning_rate: float | None = None
    seed: int = 0
    threads: int = 1
    device: str = "auto"
    bfloat16: bool = True
    resume: bool = False
    init: Path | None = None
    earlier: Path | None = None
    use_normals: bool = True
    true_normals: bool = False
    use_pose: bool = True
    fine_only: bool = False
    vgg: Path | None = None
    network: PifuhdConfig | None = None
    augmentation: Augmentation = field(default_factory=Augmentation)
    log_steps: int = 50
    save_seconds: float = 240.0

    def __post_init__(self) -> None:
        check_budget("steps", self.steps, self.minutes)
        if self.batch < 1 or self.points < 2 or self.threads < 1:
            raise InputError("train pifuhd: --batch, --threads at least 1 and --points at least 2")
        if self.learning_rate is not None and self.learning_rate <= 0:
            raise InputError("train pifuhd: --learning-rate must be above 0")
        if self.true_normals and not self.use_normals:
            raise InputError("train pifuhd: --true-normals and --no-normals exclude each other")
        if self.fine_only and self.stage == "coarse":
            raise InputError("train pifuhd: --fine-only has no coarse stage")

    @property
    def pifuhd(self) -> PifuhdConfig:
        """Sizes of the whole model, for people whose heads' poses are known."""
        sizes = self.network or preset(self.preset)
        return replace(
            sizes,
            use_normals=self.use_normals,
            use_pose=sizes.use_pose and self.use_pose,
            fine_only=self.fine_only,
        )

    @property
    def rate(self) -> float:
        """Learning rate at its peak."""
        if self.learning_rate is not None:
            return self.learning_rate
        rate = DEFAULT_RATES[self.preset]
        return 0.2 * rate if self.preset == "paper" and self.stage == "normals" else rate

    @property
    def parts(self) -> tuple[Part, ...]:
        """What is trained, in order."""
        if self.stage == "coarse":
            return ("coarse",)
        if self.stage == "fine":
            return ("fine",)
        both: tuple[Part, ...] = ("normals-front", "normals-back")
        return both if self.side == "both" else tuple(p for p in both if p.endswith(self.side))
