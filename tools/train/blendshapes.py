"""``mien train blendshapes``: fits the network that reads eyes, brows and mouth from near."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from .bar import training_bar
from .start import check_start


@dataclass(frozen=True)
class TrainBlendshapes:
    """Train the blendshapes' network on "mien synthesize closeups" (needs torch: mien[train]).

    Writes checkpoint.pt, log.jsonl and curves.png; an interrupted training goes on with --resume.

    Attributes:
        shards: folder of the pictures.
        out: folder for checkpoint, log and curves; made where it is absent.
        face_model: the file that the pictures were made with; default: the shipped bundle's.
        images: pictures to see in all.
        minutes: minutes to train in all; one of --images and --minutes must be given.
        batch: pictures a step.
        learning_rate: at its peak.
        threads: processor threads for the network; one more prepares batches.
        seed: of everything random.
        init: whose weights are the start: a checkpoint, an exported blendshapes.onnx, or the folder
            of a bundle that has one.
        resume: go on from the checkpoint in --out; a training that is there is not replaced.
    """

    shards: Annotated[Path, tyro.conf.arg(metavar="DIR")]
    out: Annotated[Path, tyro.conf.arg(metavar="DIR")]
    face_model: Annotated[Path | None, tyro.conf.arg(metavar="FILE.npz")] = None
    images: Annotated[int | None, tyro.conf.arg(metavar="N")] = None
    minutes: Annotated[float | None, tyro.conf.arg(metavar="MIN")] = None
    batch: int = 64
    learning_rate: float = 3e-3
    threads: int = 1
    seed: int = 0
    init: Annotated[Path | None, tyro.conf.arg(metavar="FILE|DIR")] = None
    resume: bool = False

    def run(self) -> int:
        """Train, and print what it came to."""
        from ..options import need_torch, shipped_face_model

        need_torch("train")
        from ...models.blendshapes.train import BlendshapeTrainConfig, train_blendshapes

        check_start(self.resume, self.init)
        config = BlendshapeTrainConfig(
            shards=self.shards,
            out=self.out,
            face_model=self.face_model or shipped_face_model(),
            images=self.images,
            minutes=self.minutes,
            batch=self.batch,
            learning_rate=self.learning_rate,
            threads=self.threads,
            seed=self.seed,
            init=self.init,
            resume=self.resume,
        )
        with training_bar() as report:
            result = train_blendshapes(config, report)
        measured = result.validation
        print(
            f"{result.images} pictures in {result.seconds / 60:.1f} min; held out: blink "
            f"{measured.blink_error:.3f}, winks {100 * measured.winks:.0f} %, gaze "
            f"{measured.gaze_deg:.1f} deg (a constant {measured.gaze_constant_deg:.1f}), points "
            f"{measured.points_mm:.2f} mm (a constant {measured.points_constant_mm:.2f}), "
            f"correlation of all but blinks and gaze {measured.correlation:.2f}"
        )
        print(f"wrote {result.checkpoint}")
        return 0
