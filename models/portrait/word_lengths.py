"""How far each word has to go: measured on pictures of people whom the generator knows.

:meth:`.word_directions.WordDirections.shift` goes until a linear reading of the code says what was
asked for. Pictures are no linear function of codes: hair goes from brown past red to black on the
way to brown, and a beard shows only beyond. So each word's way is measured: heads that lack the
property are moved along it by some shares, drawn, and judged by a classifier of pictures. A
classifier is content with ghosts, too: no word leads further out than nearly all codes lie.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

import numpy as np
import torch
from jaxtyping import Float

from .attributes import AttributeClassifier
from .cameras import frontal_label
from .generator import Generator
from .mapping import GaussianMapping
from .vocabulary import Description
from .word_directions import COLUMNS, WordDirections

SHARES: Final = (0.4, 0.55, 0.7, 0.85, 1.0, 1.25, 1.5, 1.8, 2.2)
"""Of the way that the linear reading asks for."""
_FURTHEST: Final = 0.95
"""Share of the codes that lie within where a word may lead to, on average."""
_ENOUGH: Final = 0.97
"""Of the most that is reached; the shortest way to it is taken, which changes the person least."""


@torch.no_grad()
def measured_lengths(
    directions: WordDirections,
    generator: Generator,
    codes: Float[torch.Tensor, "n w"],
    words: Sequence[Mapping[str, str]],
    classifier: AttributeClassifier,
    heads: int = 24,
    report: Callable[[], object] | None = None,
) -> Float[torch.Tensor, " p"]:
    """The share of its way that each property of :data:`.word_directions.COLUMNS` goes.

    Args:
        directions: whose shifts are measured, before they have shares of their own.
        generator: draws the heads.
        codes: of looks, without light.
        words: what is known of each look, by slot.
        classifier: tells properties in pictures.
        heads: looks that each property is tried on, at most; those that lack it, evenly taken. A
            property that no look lacks goes as far as the linear reading asks.
        report: told after each property.
    """
    label = torch.from_numpy(np.asarray(frontal_label(), np.float32))[None]
    shares = torch.tensor(SHARES)
    found = torch.ones(len(COLUMNS))
    furthest = torch.quantile(_distance(generator, codes), _FURTHEST)
    for column, pair in enumerate(COLUMNS):
        lacking = [i for i, said in enumerate(words) if said.get(pair[0], pair[1]) != pair[1]]
        chosen = np.linspace(0, len(lacking) - 1, min(heads, len(lacking))).astype(int)
        said = Description(dict([pair]))
        told, away = torch.zeros(len(SHARES)), torch.zeros(len(SHARES))
        for number in chosen.tolist():
            code = codes[lacking[number]]
            moved = code + shares[:, None] * directions.shift(code, said)
            drawn = generator.synthesise(moved, label.expand(len(moved), -1)).image
            told += classifier.probabilities(drawn, said)[pair[0]]
            away += _distance(generator, moved) / len(chosen)
        if lacking:
            within = away <= torch.maximum(furthest, away.min())
            told = torch.where(within, told, -1.0)
            found[column] = shares[int((told >= _ENOUGH * told.max()).nonzero()[0])]
        if report is not None:
            report()
    return found


def _distance(generator: Generator, codes: Float[torch.Tensor, "b w"]) -> Float[torch.Tensor, " b"]:
    """How far out codes lie in the cloud of those learned; 0 for generators that know no cloud."""
    mapping = generator.mapping
    if not isinstance(mapping, GaussianMapping):
        return torch.zeros(len(codes))
    return mapping.whitened(codes).norm(dim=1)
