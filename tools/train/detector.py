"""``mien train detector``: fits the network that finds faces in a picture."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from .bar import training_bar
from .start import check_start


@dataclass(frozen=True)
class TrainDetector:
    """Train the detector on cut-outs made by "mien synthesize scenes" (needs torch: mien[train]).

    Scenes are composed of the cut-outs while it trains. Writes checkpoint.pt and log.jsonl; an
    interrupted training goes on with --resume.

    Attributes:
        shards: folder of the cut-outs.
        out: folder for checkpoint and log; made where it is absent.
        photographs: folder of pictures without faces, as further backgrounds (PNG or JPEG).
        images: pictures to see in all.
        minutes: minutes to train in all; one of --images and --minutes must be given.
        batch: pictures a step.
        learning_rate: at its peak.
        threads: processor threads for the network; one more prepares batches.
        seed: of everything random.
        init: whose weights are the start: a checkpoint, an exported detector.onnx, or the folder of
            a bundle that has one.
        regressor: of width 0.5, whose first layers are the start otherwise, since they know faces
            already: a checkpoint of "mien train regressor", an exported one, or a bundle's folder.
        frozen: share of the budget for which those layers stay as they are.
        resume: go on from the checkpoint in --out; a training that is there is not replaced.
    """

    shards: Annotated[Path, tyro.conf.arg(metavar="DIR")]
    out: Annotated[Path, tyro.conf.arg(metavar="DIR")]
    photographs: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    images: Annotated[int | None, tyro.conf.arg(metavar="N")] = None
    minutes: Annotated[float | None, tyro.conf.arg(metavar="MIN")] = None
    batch: int = 32
    learning_rate: float = 2e-3
    threads: int = 1
    seed: int = 0
    init: Annotated[Path | None, tyro.conf.arg(metavar="FILE|DIR")] = None
    regressor: Annotated[Path | None, tyro.conf.arg(metavar="FILE|DIR")] = None
    frozen: float = 0.0
    resume: bool = False

    def run(self) -> int:
        """Train, and print what it came to."""
        from ..options import need_torch

        need_torch("train")
        from ...models.detector.train import DetectorTrainConfig, train_detector

        check_start(self.resume, self.init)
        config = DetectorTrainConfig(
            shards=self.shards,
            out=self.out,
            photographs=self.photographs,
            images=self.images,
            minutes=self.minutes,
            batch=self.batch,
            learning_rate=self.learning_rate,
            threads=self.threads,
            seed=self.seed,
            init=self.init,
            regressor=self.regressor,
            frozen=self.frozen,
            resume=self.resume,
        )
        with training_bar() as report:
            result = train_detector(config, report)
        measured = result.validation
        print(
            f"{result.images} pictures in {result.seconds / 60:.1f} min; held out: average "
            f"precision {100 * measured.average_precision:.1f} %, at the threshold "
            f"{measured.threshold:.2f} recall {100 * measured.recall:.1f} % with "
            f"{measured.false_per_picture:.3f} false detections a picture"
        )
        print(f"wrote {result.checkpoint}")
        return 0
