"""``mien train regressor``: fits the network that reads a face off a crop."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from ..models.errors import InputError
from .training_bar import training_bar


@dataclass(frozen=True)
class TrainRegressor:
    """Train the regressor on shards made by "mien synthesize faces" (needs torch: mien[train]).

    Writes checkpoint.pt and log.jsonl; an interrupted training goes on with --resume.

    Attributes:
        shards: folder of the shards.
        out: folder for checkpoint and log; made where it is absent.
        face_model: the file that the shards were made with; default: the shipped bundle's.
        images: pictures to see in all.
        minutes: minutes to train in all; one of --images and --minutes must be given.
        width: channels of the network as a share of MobileNet-V1's.
        batch: pictures a step.
        learning_rate: at its peak.
        threads: processor threads for the network; one more prepares batches.
        seed: of everything random.
        init: checkpoint whose averaged weights are the start.
        resume: go on from the checkpoint in --out.
    """

    shards: Annotated[Path, tyro.conf.arg(metavar="DIR")]
    out: Annotated[Path, tyro.conf.arg(metavar="DIR")]
    face_model: Annotated[Path | None, tyro.conf.arg(metavar="FILE.npz")] = None
    images: Annotated[int | None, tyro.conf.arg(metavar="N")] = None
    minutes: Annotated[float | None, tyro.conf.arg(metavar="MIN")] = None
    width: float = 0.5
    batch: int = 64
    learning_rate: float = 2e-3
    threads: int = 1
    seed: int = 0
    init: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    resume: bool = False

    def run(self) -> int:
        """Train, and print what it came to."""
        from .options import need_torch, shipped_face_model

        need_torch("train")
        from ..models.regressor.network import NetworkConfig
        from ..models.regressor.train import TrainConfig, train_regressor

        if self.resume and self.init is not None:
            raise InputError("train: --resume goes on with a checkpoint, --init begins from one")
        config = TrainConfig(
            shards=self.shards,
            out=self.out,
            face_model=self.face_model or shipped_face_model(),
            images=self.images,
            minutes=self.minutes,
            network=NetworkConfig(width=self.width),
            batch=self.batch,
            learning_rate=self.learning_rate,
            threads=self.threads,
            seed=self.seed,
            init=self.init,
            resume=self.resume,
        )
        with training_bar() as report:
            result = train_regressor(config, report)
        measured = result.validation
        print(
            f"{result.images} pictures in {result.seconds / 60:.1f} min; held out: "
            f"NME {measured.nme_percent:.2f} %, rotation {measured.rotation_deg:.2f} deg, "
            f"blink {measured.blink_error:.3f}, presence {100 * measured.presence_accuracy:.1f} %"
        )
        print(f"wrote {result.checkpoint}")
        return 0
