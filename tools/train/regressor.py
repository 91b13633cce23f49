"""``mien train regressor``: fits the network that reads a face off a crop."""

from __future__ import annotations

import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from ...models.errors import InputError
from ...models.learning.device import Device
from .bar import training_bar
from .start import check_start

if TYPE_CHECKING:
    from ...models.regressor.losses import LossConfig
    from ...models.regressor.objective import PaperLossConfig
    from ...models.synthetic.generate import SynthesisConfig

_SHARD_SIZE = 480


@dataclass(frozen=True)
class TrainRegressor:
    """Train the regressor on shards made by "mien synthesize faces" (needs torch: mien[train]).

    Writes checkpoint.pt, log.jsonl and curves.png; an interrupted training goes on with --resume.

    Attributes:
        shards: folder of the shards.
        out: folder for checkpoint, log and curves; made where it is absent.
        face_model: the file that the shards were made with; default: the shipped bundle's.
        images: pictures to see in all.
        minutes: minutes to train in all; one of --images and --minutes must be given.
        width: channels of the network as a share of MobileNet-V1's; default: 0.5, or those of
            --init, whose network, an exported one, is made wider where more are asked for.
        batch: pictures a step.
        learning_rate: at its peak.
        loss: mien: distances of points, parameters, blendshapes, presence and uncertainty; the
            others are 3DDFA_V2's, of the 62 parameters alone; meta is meta-joint optimisation.
        beta: share of fWPDC in --loss joint.
        look_ahead: steps after which --loss meta chooses.
        landmark_regularisation: train a further head on the 68 landmarks; no export has it.
        optimiser: adamw, or sgd with the paper's momentum, weight decay and clipping.
        short_video: every picture of a batch becomes 8 frames of a short video.
        device: where the network is trained; auto: CUDA in mixed precision where there is one.
        threads: processor threads for the network; one more prepares batches.
        seed: of everything random.
        init: checkpoint, exported regressor.onnx or bundle folder whose weights are the start.
        resume: go on from the checkpoint in --out; a training that is there is not replaced.
        render: until the folder of the shards holds so many pictures, render what is missing in
            processes of its own while training; begins when the first shards are there.
        render_workers: processes that render.
        render_assets: folder of CC0 MakeHuman hair meshes; default: procedural hair only.
    """

    shards: Annotated[Path, tyro.conf.arg(metavar="DIR")]
    out: Annotated[Path, tyro.conf.arg(metavar="DIR")]
    face_model: Annotated[Path | None, tyro.conf.arg(metavar="FILE.npz")] = None
    images: Annotated[int | None, tyro.conf.arg(metavar="N")] = None
    minutes: Annotated[float | None, tyro.conf.arg(metavar="MIN")] = None
    width: float | None = None
    batch: int = 64
    learning_rate: float = 2e-3
    loss: Literal["mien", "vdc", "fwpdc", "joint", "meta"] = "mien"
    beta: float = 0.5
    look_ahead: int = 100
    landmark_regularisation: bool = False
    optimiser: Literal["adamw", "sgd"] = "adamw"
    short_video: bool = False
    device: Device = "auto"
    threads: int = 1
    seed: int = 0
    init: Annotated[Path | None, tyro.conf.arg(metavar="FILE|DIR")] = None
    resume: bool = False
    render: Annotated[int | None, tyro.conf.arg(metavar="N")] = None
    render_workers: int = 1
    render_assets: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None

    def run(self) -> int:
        """Train, and print what it came to."""
        from ..options import need_torch, shipped_face_model

        need_torch("train")
        from ...models.regressor.learner import OptimiserConfig
        from ...models.regressor.network import NetworkConfig
        from ...models.regressor.short_video_batches import ShortVideoConfig
        from ...models.regressor.train import train_regressor
        from ...models.regressor.train_config import TrainConfig

        check_start(self.resume, self.init)
        sgd = self.optimiser == "sgd"
        face_model = self.face_model or shipped_face_model()
        config = TrainConfig(
            shards=self.shards,
            out=self.out,
            face_model=face_model,
            images=self.images,
            minutes=self.minutes,
            network=NetworkConfig(
                0.5 if self.width is None else self.width,
                landmark_head=self.landmark_regularisation,
            ),
            losses=self._losses(),
            optimiser=OptimiserConfig.of_the_paper() if sgd else OptimiserConfig(),
            short_video=ShortVideoConfig() if self.short_video else None,
            batch=self.batch,
            learning_rate=self.learning_rate,
            device=self.device,
            threads=self.threads,
            seed=self.seed,
            init=self.init,
            widen=self.width if self.init is not None else None,
            resume=self.resume,
            render=self._rendering(face_model),
            command=shlex.join(["mien", *sys.argv[1:]]),
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

    def _losses(self) -> LossConfig | PaperLossConfig:
        from ...models.regressor.losses import LossConfig
        from ...models.regressor.objective import PaperLossConfig

        if self.loss == "mien":
            return LossConfig()
        return PaperLossConfig(self.loss, self.beta, self.look_ahead)

    def _rendering(self, face_model: Path) -> SynthesisConfig | None:
        """What is to be rendered; a folder that has shards goes on with its own settings."""
        if self.render is None:
            return None
        if self.render_workers < 1:
            raise InputError(f"--render-workers is {self.render_workers}, expected 1 or more")
        from ...models.synthetic.generate import SynthesisConfig
        from ...models.synthetic.shards import META_NAME, ShardMeta

        there = (self.shards / META_NAME).is_file()
        settings = ShardMeta.load(self.shards).settings if there else {}
        return SynthesisConfig(
            out=self.shards,
            count=self.render,
            face_model=face_model,
            seed=settings.get("seed", self.seed),
            shard_size=settings.get("shard_size", _SHARD_SIZE),
            assets=self.render_assets,
            workers=self.render_workers,
        )
