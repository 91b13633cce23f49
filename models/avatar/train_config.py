"""What a training of the avatar is told."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Literal

from ..errors import InputError
from ..learning.budget import check_budget
from ..learning.device import Device
from .config import (
    PRESETS,
    AvatarConfig,
    DiffusionConfig,
    Preset,
    avatar_preset,
    diffusion_preset,
    with_latent,
)
from .words import NAME as CAPTIONS
from .words import WORDS

Stage = Literal["autodecoder", "encoder", "diffusion"]
ConditionKind = Literal["blendshapes", "expression", "both", "attributes", "captions", "none"]
_SETS: Final[dict[ConditionKind, tuple[tuple[str, int], ...]]] = {
    "blendshapes": (("blendshapes", 52),),
    "expression": (("expression", 10),),
    "both": (("blendshapes", 52), ("expression", 10)),
    "attributes": (("shape", 40),),
    "captions": ((CAPTIONS, WORDS),),
    "none": (),
}
_NEW_PEOPLE: Final = frozenset({"attributes", "captions", "none"})
"""Conditions of diffusions without a neutral."""
_CAPTION_GUIDANCE: Final = 2.0
_GUIDED_TEMPERATURE: Final = 0.25
"""What a guide leaves is mostly the latent's own noise, which nobody wants drawn anew."""


@dataclass(frozen=True)
class AvatarTrainConfig:
    """One stage of the avatar's training.

    Attributes:
        stage: ``autodecoder``: an embedding for each training grid, G1 and G2, as in the paper.
            ``encoder``: scans to latents, trained jointly with G2. ``diffusion``: the denoiser, in
            the latents of the weights in ``init``.
        data: folder of ``mien synthesize scans``.
        out: folder for checkpoint, weights, log, curves and pictures.
        init: weights of an earlier stage: whose G2 is the start of the encoder's training, or whose
            latents are diffused.
        preset: sizes; those of ``init`` hold where it is given.
        latent: cells along a side of the latent; None: the preset's.
        non_rigid: the autodecoder has an embedding for each person, not for each grid; what an
            expression moves is found as motions of parts, in pictures.
        minutes: minutes to train in all; None for no such limit.
        steps: optimiser steps in all; None for no such limit. One of the two must be given; the
            learning rate falls along whichever is further.
        threads: processor threads for the network; one more reads batches.
        device: where the networks run; ``auto``: a GPU if there is one.
        seed: of everything random.
        resume: go on from ``out/checkpoint.pt`` where there is one.
        robust: normalise latents by median and quartiles, not by mean and deviation.
        residual: diffuse the difference to the neutral, not the latent itself.
        guide: begin from what a statistical head, fitted to the neutral, says.
        regression: train the same network as a deterministic regression.
        condition: what conditions the diffusion; ``attributes`` (coefficients of shape),
            ``captions`` (words, which the data must have) and ``none`` generate faces without a
            neutral.
        batch: examples a step; None: the preset's.
        learning_rate: at its peak; None: the preset's.
        warmup_steps: until the peak.
        p_mean: mean of ln sigma; None: the preset's.
        bfloat16: whether layers run in bfloat16 (faster where the processor has it).
        perceptual: torchvision's state dict of VGG-19; None: features of mien's own regressor.
        scan_share: share of scans among the encoder's examples.
        clean_share: share of the diffusion's examples whose neutral is clean, not scanned.
        log_steps: steps between two lines of the log.
        save_seconds: between two checkpoints.
        validate_seconds: between two validations, each with a picture.
        held_out: examples that are measured.
        half: whether the written weights are in half precision.
    """

    stage: Stage
    data: Path
    out: Path
    init: Path | None = None
    preset: Preset = "small"
    latent: int | None = None
    non_rigid: bool = False
    minutes: float | None = None
    steps: int | None = None
    threads: int = 1
    device: Device = "auto"
    seed: int = 0
    resume: bool = False
    robust: bool = True
    residual: bool = True
    guide: bool = False
    regression: bool = False
    condition: ConditionKind = "blendshapes"
    batch: int | None = None
    learning_rate: float | None = None
    warmup_steps: int = 200
    p_mean: float | None = None
    bfloat16: bool = True
    perceptual: Path | None = None
    scan_share: float = 0.5
    clean_share: float = 0.25
    log_steps: int = 50
    save_seconds: float = 60.0
    validate_seconds: float = 300.0
    held_out: int = 24
    half: bool = True

    def __post_init__(self) -> None:
        check_budget("steps", self.steps, self.minutes)
        if self.threads < 1 or (self.batch is not None and self.batch < 2):
            raise InputError("training needs threads >= 1 and batch >= 2")
        if self.preset not in PRESETS:
            raise InputError(f"avatar: no preset {self.preset!r}; there are {', '.join(PRESETS)}")
        if self.non_rigid and self.stage != "autodecoder":
            raise InputError(f"--non-rigid belongs to the autodecoder; this is the {self.stage}")
        if self.non_rigid and self.init is not None:
            raise InputError("--non-rigid begins afresh: no --init has weights of parts")
        if self.stage == "diffusion" and self.init is None:
            raise InputError("training the diffusion needs --init: weights of the encoder's stage")
        if self.stage == "diffusion" and self.latent is not None:
            raise InputError("--latent belongs to the stages before; diffusion takes their latents")

    def avatar(self, cells: int) -> AvatarConfig:
        """Sizes of the networks around the latent, for grids of so many cells.

        The encoder's targets are grids: a preset for views alone gets weights for them.
        """
        config = avatar_preset(self.preset, cells=cells)
        if self.latent is not None:
            config = with_latent(config, self.latent)
        if self.stage == "encoder" and not config.distance_weight:
            config = replace(
                config, representation="distance", distance_weight=1.0, colour_weight=2.0
            )
        return replace(
            config,
            batch=self.batch or config.batch,
            learning_rate=self.learning_rate or config.learning_rate,
        )

    def denoiser(self, latent_cells: int) -> DiffusionConfig:
        """Sizes and formulation of the diffusion in a latent of so many cells along a side."""
        config = diffusion_preset(self.preset, latent_cells)
        sets = _SETS[self.condition]
        neutral = self.condition not in _NEW_PEOPLE
        said = self.condition == "captions"
        return replace(
            config,
            token_sets=sets,
            guidance=max(config.guidance, _CAPTION_GUIDANCE) if said else config.guidance,
            field_channels=config.field_channels if sets else 0,
            neutral=neutral,
            residual=self.residual and neutral,
            guide=self.guide,
            temperature=_GUIDED_TEMPERATURE if self.guide else config.temperature,
            regression=self.regression,
            robust=self.robust,
            batch=self.batch or config.batch,
            learning_rate=self.learning_rate or config.learning_rate,
            p_mean=config.p_mean if self.p_mean is None else self.p_mean,
        )
