"""What words add to a generator's codes: a linear Gaussian model fitted to an auto-decoder's codes.

The codes of an auto-decoder belong to people of whom the renderer knows what can be said, so what
"with a beard" means to the generator need not be guessed from pictures: a code is the mean, plus
what each property of the person adds, plus the person (Gaussian, of one covariance)::

    code = mean + effects^T (a - middle) + person

with a entry of ``a`` for each property, 1 where it holds. Fitted by ridge regression. Properties of
a code are read as the expected ``a`` under that model, and a portrait is changed along the effects
while the person's part stays, until the reading says what was asked for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from jaxtyping import Float, Float64
from torch import nn

from ..errors import InputError
from .vocabulary import SLOTS, Description, Property
from .weights import filled, load_part, save_part

CODED: Final = (
    "age", "gender", "skin", "hair colour", "hair length", "beard", "glasses", "hat", "expression",
    "eyes",
)  # fmt: skip
"""Slots that lie in a code without light; the others are the light's and the camera's."""
COLUMNS: Final[tuple[Property, ...]] = tuple((s, value) for s in CODED for value in SLOTS[s])
_RIDGE: Final = 1e-3
_MOST_STEP: Final = 5.0
"""Most times the mean effect that a shift may be, before its length counts: what is small, like
glasses, is read dimly."""


class WordDirections(nn.Module):
    """What properties add to codes of ``width`` numbers, and how they are read off a code.

    Attributes:
        mean: (w,) of the codes without light.
        middle: (p,) share of the looks that have each property of :data:`COLUMNS`.
        effects: (p, w) what each adds.
        reading: (p, w) of centred codes to the expected properties, less their middle.
        lengths: (p,) share of the way to where a code is read as having the property at which
            pictures show it best, see :mod:`.word_lengths`; 1 where that was not measured.
    """

    mean: torch.Tensor
    middle: torch.Tensor
    effects: torch.Tensor
    reading: torch.Tensor
    lengths: torch.Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("middle", torch.zeros(len(COLUMNS)))
        self.register_buffer("effects", torch.zeros(len(COLUMNS), width))
        self.register_buffer("reading", torch.zeros(len(COLUMNS), width))
        self.register_buffer("lengths", torch.ones(len(COLUMNS)))

    @classmethod
    def fit(
        cls, codes: Float64[np.ndarray, "n w"], words: Sequence[Mapping[str, str]]
    ) -> WordDirections:
        """Fit the model.

        Args:
            codes: of looks, without light.
            words: what is known of each look, by slot; a slot that is not said counts as average.

        Raises:
            InputError: not one description a code, or fewer than two codes.
        """
        if len(codes) != len(words):
            raise InputError(f"{len(codes)} codes, but {len(words)} descriptions of them")
        if len(codes) < 2:
            raise InputError(f"{len(codes)} codes, expected 2 or more to fit words to")
        held, middle = _table(words)
        said = held - middle
        mean = codes.mean(0)
        away = codes - mean
        spread = said.T @ said / len(said)
        effects = np.linalg.solve(
            spread + _RIDGE * np.eye(len(COLUMNS)), said.T @ away / len(said)
        )  # fmt: skip
        person = away - said @ effects
        covariance = effects.T @ spread @ effects + person.T @ person / len(person)
        reading = spread @ effects @ np.linalg.pinv(covariance, rcond=1e-6, hermitian=True)
        made = cls(codes.shape[1])
        for buffer, value in (
            (made.mean, mean), (made.middle, middle), (made.effects, effects),
            (made.reading, reading),
        ):  # fmt: skip
            buffer.copy_(torch.from_numpy(value))
        return made

    def read(self, codes: Float[torch.Tensor, "b w"]) -> Float[torch.Tensor, "b p"]:
        """Expected properties of codes without light, about 0 to 1, in the order of COLUMNS."""
        return self.middle + (codes - self.mean) @ self.reading.T

    def shift(self, code: Float[torch.Tensor, " w"], said: Description) -> torch.Tensor:
        """What to add to a code so that it is what a description says.

        Args:
            code: without light.
            said: what is wanted; slots that lie in no code are passed over.

        Returns:
            (w,); 0 for what already is so.
        """
        # Codes of real people lie further out, and are read as more, or less, than there is.
        found = self.read(code[None])[0].clamp(0, 1)
        total = torch.zeros_like(code)
        for slot, value in said.properties.items():
            if slot not in CODED:
                continue
            own = [i for i, (other, _) in enumerate(COLUMNS) if other == slot]
            wanted = COLUMNS.index((slot, value))
            asked = torch.zeros_like(found)
            asked[wanted] = 1.0
            step = (asked[own] - found[own]) @ self.effects[own]
            missing = float(1.0 - found[wanted])
            gained = float(self.reading[wanted] @ step)
            if missing > 0 and gained > 0:
                way = min(max(missing / gained, 1.0), _MOST_STEP) * step
                total = total + self.lengths[wanted] * way
        return total

    def shortfall(
        self,
        ws: Float[torch.Tensor, "1 l w"],
        begin: Float[torch.Tensor, "1 l w"],
        said: Description,
    ) -> Float[torch.Tensor, ""]:
        """How much less codes are read as what a description says than others are, squared.

        Args:
            ws: codes of the layers, each of which is read: they may part.
            begin: those to compare with.
            said: slots that lie in no code are passed over.
        """
        wanted = [COLUMNS.index(pair) for pair in said.properties.items() if pair in COLUMNS]
        less = (begin - ws) @ self.reading[wanted].T
        return less.clamp(min=0).square().mean((0, 1)).sum()

    def save(self, path: Path, facts: Mapping[str, Any]) -> None:
        """Write it.

        Raises:
            OutputError: the file cannot be written.
        """
        config = {"width": len(self.mean), "slots": {slot: list(SLOTS[slot]) for slot in CODED}}
        save_part(path, "words", self, config, facts)

    @classmethod
    def load(cls, path: Path) -> WordDirections:
        """Read a file of :meth:`save`.

        Raises:
            InputError: it is missing, damaged, other weights, or of another vocabulary.
        """
        stored = load_part(path, "words")
        if stored.config.get("slots") != {slot: list(SLOTS[slot]) for slot in CODED}:
            raise InputError(f"{path}: made for another vocabulary; make it again")
        mean = stored.tensors.get("mean")
        if mean is None or mean.ndim != 1:
            raise InputError(f"{path}: holds no mean code")
        # Words of an earlier mien were not measured on pictures.
        tensors = {"lengths": torch.ones(len(COLUMNS)), **stored.tensors}
        return filled(lambda: cls(len(mean)), tensors, path).eval()


def _table(
    words: Sequence[Mapping[str, str]],
) -> tuple[Float64[np.ndarray, "n p"], Float64[np.ndarray, " p"]]:
    """Which properties hold, unsaid slots at their mean; and the means."""
    held = np.full((len(words), len(COLUMNS)), np.nan)
    for row, said in zip(held, words, strict=True):
        for column, (slot, value) in enumerate(COLUMNS):
            if slot in said:
                row[column] = said[slot] == value
    known = ~np.isnan(held)
    middle = np.where(known, held, 0.0).sum(0) / np.maximum(known.sum(0), 1)
    return np.where(known, held, middle), middle
