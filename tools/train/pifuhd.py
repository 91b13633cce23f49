"""``mien train pifuhd``: fits the networks that turn a picture into a head or a body."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from ...models.errors import InputError
from ...models.learning.device import Device
from ..options import need_torch
from .bar import training_bar


@dataclass(frozen=True)
class TrainPifuhd:
    """Train PIFuHD on people of "mien synthesize heads" or "bodies" (needs torch: mien[heavy]).

    In stages: normals (front and back), coarse, fine; each builds on those before. Every part has a
    folder in --out with checkpoint.pt, log.jsonl, curves.png and sheet.png; once all that the model
    needs is there, weights.safetensors is written beside them. An interrupted stage goes on with
    --resume.

    Attributes:
        data: folder of the people; surfaces are learnt from their true meshes in it.
        out: folder of the training; made where it is absent.
        stage: what to train; "export" only puts the parts together once more.
        side: which normals to train; "both" one after the other, each with the whole budget.
        preset: sizes of the networks: small; surfaces, as small, which draws front and back (for
            bodies); paper, exactly the paper's.
        minutes: minutes to train each part, in all.
        steps: steps to train each part, in all; one of --minutes and --steps must be given.
        batch: pictures a step.
        points: points of each picture a step.
        learning_rate: at its peak; by default what suits the preset.
        seed: of everything random.
        threads: processor threads for the networks; one more prepares batches.
        device: where to train; auto takes the graphics card where there is one.
        resume: go on from the part's checkpoint in --out; one that is there is not replaced.
        init: weights with which parts that have no checkpoint yet begin: the .safetensors of
            another training, or "head" or "body" for those that mien ships. Points' networks that
            are told other things, as those of heads are for bodies, begin anew.
        earlier: folder of a training whose earlier stages to build upon, where --out lacks them.
        no_normals: the levels see the picture alone (an ablation).
        true_normals: the levels see true normals instead of drawn ones (an ablation: the ceiling).
        no_pose: the levels are not told where the head's axes are (an ablation); of bodies they
            never are.
        fine_only: no coarse level: the fine one is given the depth itself (an ablation).
        vgg: VGG19's weights as torchvision has them, for the paper's perceptual term of the
            normals; without them differences of neighbouring pixels take its place.
    """

    data: Annotated[Path, tyro.conf.arg(metavar="DIR")]
    out: Annotated[Path, tyro.conf.arg(metavar="DIR")]
    stage: Literal["normals", "coarse", "fine", "export"]
    side: Literal["front", "back", "both"] = "both"
    preset: Literal["small", "surfaces", "paper"] = "small"
    minutes: Annotated[float | None, tyro.conf.arg(metavar="MIN")] = None
    steps: Annotated[int | None, tyro.conf.arg(metavar="N")] = None
    batch: int = 4
    points: int = 2500
    learning_rate: Annotated[float | None, tyro.conf.arg(metavar="RATE")] = None
    seed: int = 0
    threads: int = 1
    device: Device = "auto"
    resume: bool = False
    init: Annotated[str | None, tyro.conf.arg(metavar="FILE|head|body")] = None
    earlier: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    no_normals: bool = False
    true_normals: bool = False
    no_pose: bool = False
    fine_only: bool = False
    vgg: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None

    def run(self) -> int:
        """Train, and print what it came to."""
        need_torch("train")
        if self.stage == "export":
            if self.init is not None:
                raise InputError("train: --stage export trains nothing, and takes no --init")
            return self._export()
        from ...models.pifuhd.train import train_pifuhd
        from ...models.pifuhd.train_config import PifuhdTrainConfig

        config = PifuhdTrainConfig(
            data=self.data,
            out=self.out,
            stage=self.stage,
            side=self.side,
            preset=self.preset,
            minutes=self.minutes,
            steps=self.steps,
            batch=self.batch,
            points=self.points,
            learning_rate=self.learning_rate,
            seed=self.seed,
            threads=self.threads,
            device=self.device,
            resume=self.resume,
            init=self._init(),
            earlier=self.earlier,
            use_normals=not self.no_normals,
            true_normals=self.true_normals,
            use_pose=not self.no_pose,
            fine_only=self.fine_only,
            vgg=self.vgg,
        )
        with training_bar() as report:
            result = train_pifuhd(config, report)
        for part in result.parts:
            figures = ", ".join(f"{name} {value:.4g}" for name, value in part.figures.items())
            print(f"{part.part}: {part.steps} steps in {part.seconds / 60:.1f} min; {figures}")
            print(f"wrote {part.checkpoint}")
        if result.weights:
            print(f"wrote {result.weights}")
        return 0

    def _init(self) -> Path | None:
        from ...models.pifuhd.weights import shipped

        if self.init in ("head", "body"):
            return shipped(self.init)
        return None if self.init is None else Path(self.init)

    def _export(self) -> int:
        from ...models.pifuhd.checkpoint import export

        path = export(self.out, earlier=self.earlier)
        if path is None:
            raise InputError(f"{self.out}: train every stage first: not all parts are there")
        print(f"wrote {path}")
        return 0
