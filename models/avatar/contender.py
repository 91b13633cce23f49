"""Networks that are evaluated against each other, and how they are asked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from jaxtyping import Float32

from .avatar import Avatar, Grids, joined
from .cases import Case
from .sample import Guided, NeutralScan, generate
from .unet import Condition

SETS: Final = ("blendshapes", "expression")
"""Vectors that say an expression, the preferred one first."""


@dataclass(frozen=True)
class Contender:
    """Networks that are evaluated.

    Attributes:
        name: in tables.
        avatar: in evaluation mode, on the device that it is to run on.
    """

    name: str
    avatar: Avatar

    @property
    def expressive(self) -> bool:
        """Whether it gives a person's neutral face expressions."""
        diffusion = self.avatar.diffusion
        return self.avatar.encoder is not None and diffusion is not None and self._set is not None

    @property
    def regression(self) -> bool:
        """Whether it is a deterministic regression."""
        diffusion = self.avatar.diffusion
        return diffusion is not None and diffusion.config.regression

    @property
    def set_name(self) -> str:
        """Which vector it is asked with."""
        return self._set or SETS[0]

    @property
    def _set(self) -> str | None:
        diffusion = self.avatar.diffusion
        if diffusion is None or not diffusion.config.neutral:
            return None
        known = dict(diffusion.config.token_sets)
        return next((name for name in SETS if name in known), None)

    def vectors(self, case: Case, entries: Sequence[int]) -> Float32[np.ndarray, "F _"]:
        """What it is asked, for some of a person's expressions."""
        return getattr(case.person, self.set_name)[list(entries)]


@dataclass(frozen=True)
class Settings:
    """How contenders are asked.

    Attributes:
        steps: of the sampler.
        guidance: None: what the weights say.
        seed: of the noise.
        seeds: samples of the same request, for what varies between them.
        sweep: other numbers of steps for the first contender.
    """

    steps: int = 32
    guidance: float | None = None
    seed: int = 0
    seeds: int = 4
    sweep: tuple[int, ...] = ()


class Sampler:
    """Asks contenders; the same for the same settings.

    Args:
        settings: how.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    def faces(
        self, contender: Contender, case: Case, entries: Sequence[int], steps: int | None = None
    ) -> Grids:
        """Expressions of a person, from the complete scan, all from the same noise.

        Args:
            contender: who is asked.
            case: the person.
            entries: of the person's expressions.
            steps: None: those of the settings.
        """
        vectors = contender.vectors(case, entries)
        return self._sampled(contender, case.scan, vectors, self._seed(case), steps)

    def repeated(self, contender: Contender, case: Case, scan: NeutralScan) -> Grids:
        """The first expression as often as there are seeds; once of a regression."""
        vector = contender.vectors(case, case.entries[:1])
        count = 1 if contender.regression else self.settings.seeds
        return joined(
            [self._sampled(contender, scan, vector, self._seed(case, k)) for k in range(count)]
        )

    def guides(
        self, contender: Contender, scan: NeutralScan, vectors: Float32[np.ndarray, "F _"]
    ) -> Grids | None:
        """What a contender begins from, through its autoencoder; None where that is the neutral."""
        avatar = contender.avatar
        if avatar.guide is None:
            return None
        return avatar.grids(Guided(avatar, scan).latents(vectors))

    @torch.no_grad()
    def free(self, contender: Contender, case: Case) -> Grids:
        """As many new faces as the case has expressions, of a network that knows no neutral."""
        avatar, settings = contender.avatar, self.settings
        diffusion = avatar.diffusion
        assert diffusion is not None
        count = len(case.asked)
        vectors = {
            name: torch.from_numpy(np.repeat(case.person.shape[None], count, 0)).to(avatar.device)
            for name, _ in diffusion.config.token_sets
        }
        latent = diffusion.sample(
            Condition(vectors), count, steps=settings.steps, guidance=settings.guidance,
            seed=self._seed(case),
        )  # fmt: skip
        return avatar.grids(latent)

    def _sampled(
        self,
        contender: Contender,
        scan: NeutralScan,
        vectors: Float32[np.ndarray, "F _"],
        seed: int,
        steps: int | None = None,
    ) -> Grids:
        settings = self.settings
        return generate(
            contender.avatar, scan, vectors, steps=steps or settings.steps,
            guidance=settings.guidance, seed=seed, set_name=contender.set_name,
        )  # fmt: skip

    def _seed(self, case: Case, repeat: int = 0) -> int:
        """Of the noise of a person's samples."""
        numbers = [self.settings.seed, case.number, repeat]
        return int(np.random.default_rng(numbers).integers(2**31))


def same_autoencoder(a: Avatar, b: Avatar) -> bool:
    """Whether two networks encode and decode alike."""
    if a.config != b.config or (a.encoder is None) != (b.encoder is None):
        return False
    pairs = [(a.g2, b.g2)] + ([(a.encoder, b.encoder)] if a.encoder and b.encoder else [])
    for first, second in pairs:
        ours, theirs = first.state_dict(), second.state_dict()
        if not all(torch.equal(value, theirs[name]) for name, value in ours.items()):
            return False
    return True
