"""The stage of training that fits the completion of scans in a fixed latent.

Examples are scans of training persons' neutral faces, complete and partial ones, and the clean
grids of the same.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Bool, Int64

from ..errors import InputError
from ..scans.sensor import COMPLETE
from .completion import Completion
from .dataset import ScannedPerson
from .figures import visible
from .train_diffusion import DiffusionStage


class CompletionStage(DiffusionStage):
    """Fits the denoiser from a scan's latent to that of the whole face."""

    figure = "whole_mm"

    def check(self) -> None:
        """There must be scans, and something that encodes them."""
        if self.avatar.encoder is None or not self.folder.scans:
            raise InputError(
                f"{self.config.init}, {self.folder.path}: a completion needs weights with an "
                f"encoder and data with scans"
            )

    def place(self) -> None:
        """Into the networks, with what complete scans of training persons see."""
        sizes, bank = self.avatar.config, self.bank
        completion = Completion(self.sizes, sizes.latent_channels, sizes.latent_cells)
        completion.denoiser = self.average
        complete = bank.seen[bank.training][bank.kinds[bank.training] == COMPLETE]
        if len(complete):
            completion.usual.copy_(torch.from_numpy(complete.astype(np.float32).mean(0)))
        self.avatar.completion = completion

    def choose(
        self, rows: Int64[np.ndarray, " B"], rng: np.random.Generator
    ) -> tuple[Int64[np.ndarray, " B"], Int64[np.ndarray, " B"]]:
        """The neutral grid as the target, and any scan of it."""
        targets = np.zeros(len(rows), np.int64)
        return targets, self.bank.expressions + rng.integers(self.bank.scans, size=len(rows))

    def bases(self, neutrals: Int64[np.ndarray, " B"]) -> Int64[np.ndarray, " B"]:
        """What the scan gave."""
        return neutrals

    def held_out(
        self, row: int, person: ScannedPerson, rng: np.random.Generator
    ) -> tuple[int, int, Bool[np.ndarray, " V"]]:
        """Any scan; measured over all that is visible."""
        scan = int(rng.integers(self.bank.scans))
        shown = visible(person.sdf[0].astype(np.float32), person.vertices[0])
        return 0, self.bank.expressions + scan, shown
