"""``mien train avatar``: fits the networks of the avatar, one stage after the other."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from ...models.errors import InputError
from ...models.learning.device import Device
from .bar import training_bar


@dataclass(frozen=True)
class TrainAvatar:
    """Train a stage of the avatar on scans made by "mien synthesize scans" (needs mien[heavy]).

    First "encoder", then "diffusion" with --init of what the first wrote; "autodecoder" is the
    paper's own first stage, with an embedding for each training grid. Writes weights.safetensors,
    checkpoint.pt, log.jsonl, curves.png and sheet.png; an interrupted training goes on with
    --resume.

    Attributes:
        stage: autodecoder, encoder or diffusion.
        data: folder of the scans.
        out: folder for weights, checkpoint, log and pictures; made where it is absent.
        init: weights of an earlier stage: the start of the encoder's decoder, or whose latents are
            diffused.
        preset: sizes of the networks; with --init, those of its weights hold.
        latent: cells along a side of the latent: 4, 8 or 16 (an ablation).
        non_rigid: the autodecoder of moving parts: an embedding for each person; the poses of ten
            parts are found in pictures of each expression.
        minutes: minutes to train in all; one of --minutes and --steps must be given.
        steps: optimiser steps in all.
        threads: processor threads for the networks; one more reads the data.
        device: where they run; auto takes a GPU if there is one.
        seed: of everything random.
        resume: go on from the checkpoint in --out; a training that is there is not replaced.
        robust_normalisation: latents by median and quartiles; --no-robust-normalisation: by mean
            and deviation.
        absolute: diffuse latents themselves, not their difference to the neutral's.
        guide: begin from a statistical head that is fitted to the neutral and moved: what is
            diffused is what it leaves.
        regression: train the same network as a deterministic regression, the baseline.
        condition: vectors that condition the diffusion: 52 blendshapes, 10 expression
            coefficients, both; attributes (coefficients of shape), captions (words recorded with
            the data) and none make new people.
        batch: examples a step; default: the preset's.
        learning_rate: at its peak; default: the preset's.
        p_mean: mean of the logarithm of the training noise; default: the preset's.
        bfloat16: layers in bfloat16, faster where the processor has it; --no-bfloat16: in single
            precision.
        perceptual: torchvision's state dict of VGG-19 for the perceptual loss; default: features
            of mien's own regressor.
    """

    stage: Literal["autodecoder", "encoder", "diffusion"]
    data: Annotated[Path, tyro.conf.arg(metavar="DIR")]
    out: Annotated[Path, tyro.conf.arg(metavar="DIR")]
    init: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    preset: Literal["small", "paper"] = "small"
    latent: Annotated[int | None, tyro.conf.arg(metavar="4|8|16")] = None
    non_rigid: bool = False
    minutes: Annotated[float | None, tyro.conf.arg(metavar="MIN")] = None
    steps: Annotated[int | None, tyro.conf.arg(metavar="N")] = None
    threads: int = 1
    device: Device = "auto"
    seed: int = 0
    resume: bool = False
    robust_normalisation: bool = True
    absolute: bool = False
    guide: bool = False
    regression: bool = False
    condition: Literal["blendshapes", "expression", "both", "attributes", "captions", "none"] = (
        "blendshapes"
    )
    batch: Annotated[int | None, tyro.conf.arg(metavar="N")] = None
    learning_rate: Annotated[float | None, tyro.conf.arg(metavar="RATE")] = None
    p_mean: Annotated[float | None, tyro.conf.arg(metavar="MEAN")] = None
    bfloat16: bool = True
    perceptual: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None

    def run(self) -> int:
        """Train, and print what it came to."""
        from ..options import need_torch

        need_torch("train")
        if not self.data.is_dir():
            raise InputError(f"{self.data}: no such folder; 'mien synthesize scans' makes one")
        from ...models.avatar.train import train_avatar
        from ...models.avatar.train_config import AvatarTrainConfig

        config = AvatarTrainConfig(
            stage=self.stage,
            data=self.data,
            out=self.out,
            init=self.init,
            preset=self.preset,
            latent=self.latent,
            non_rigid=self.non_rigid,
            minutes=self.minutes,
            steps=self.steps,
            threads=self.threads,
            device=self.device,
            seed=self.seed,
            resume=self.resume,
            robust=self.robust_normalisation,
            residual=not self.absolute,
            guide=self.guide,
            regression=self.regression,
            condition=self.condition,
            batch=self.batch,
            learning_rate=self.learning_rate,
            p_mean=self.p_mean,
            bfloat16=self.bfloat16,
            perceptual=self.perceptual,
        )
        with training_bar() as report:
            result = train_avatar(config, report)
        figures = ", ".join(f"{name} {value:.3g}" for name, value in result.figures.items())
        print(f"{result.steps} steps in {result.seconds / 60:.1f} min; held out: {figures}")
        print(f"wrote {result.weights}")
        return 0
