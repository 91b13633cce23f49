"""Where an edit begins: at the pivot, with what light and words are known to add to its code.

An auto-decoder knows what a light adds to a code (:meth:`.mapping.GaussianMapping.light_code`), and
what a word adds was fitted to its codes (:mod:`.word_directions`). Distillation, which the paper
begins at the pivot, then has less to find; and what the words have changed, in the picture and in
the embedder's eyes, is no longer held to the input: it would take sunglasses off again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch.nn import functional

from . import sh
from .edit_options import EditOptions, Report, Terms, Wish
from .generator import Generator
from .invert import Inversion, InversionOptions, cloud_distance, invert, reconstruction
from .light import Illumination
from .losses import Judges
from .mapping import GaussianMapping
from .word_directions import WordDirections

_SEEN_CHANGE: Final = 0.06
"""Change of a pixel, of -1 to 1, at which the input counts half."""
_BLUR_PX: Final = 5
_LEAST_LIKE: Final = 0.8
"""Cosine that words may bring a person to. It is 0.46 in the mean between two pictures of the same
rendered person, 0.01 between those of two."""
_SHARES: Final = 41


class Start(NamedTuple):
    """Where an edit begins.

    Attributes:
        ws: the code.
        kept: how much the input is to be believed, of its mask and what the words change.
        person: whom the edit is to show: the input's vector with what the words add to the pivot's,
            as far as it is still like the input's.
        worded: whether it begins with what the words are known to add.
    """

    ws: Float[torch.Tensor, "1 l w"]
    kept: Float[torch.Tensor, "1 1 S S"]
    person: Float[torch.Tensor, "1 e"]
    worded: bool


def invert_input(
    generator: Generator,
    judges: Judges,
    wish: Wish,
    options: EditOptions,
    report: Report | None = None,
) -> Inversion:
    """The code that shows the input from its camera, the pivot; the same for every wish.

    Args:
        generator: frozen.
        judges: whose features compare pictures.
        wish: whose input.
        options: of the edit.
        report: told after every step.
    """
    label = torch.from_numpy(np.asarray(wish.label, np.float32))[None].to(wish.image.device)
    losses = {
        "rec": reconstruction(wish.image, judges.features, mask=wish.mask),
        "cloud": cloud_distance(generator, options.weights.cloud),
    }
    how = InversionOptions(steps=options.invert_steps, tuning_steps=0, seed=options.seed)

    def tell(done: int, terms: Terms) -> None:
        if report is not None:
            report("invert", done, options.invert_steps, terms)

    return invert(generator, label, losses, how, report=tell)


@torch.no_grad()
def start_of(
    generator: Generator,
    directions: WordDirections | None,
    judges: Judges,
    wish: Wish,
    options: EditOptions,
    pivot: Float[torch.Tensor, "1 l w"],
    noise: Sequence[torch.Tensor],
) -> Start:
    """The pivot with all that is known of the wish.

    Args:
        generator: frozen.
        directions: what words add to its codes; None: that is not known.
        judges: tell the light of the input, which its code holds too, and who is seen.
        wish: what is wanted.
        options: of the edit.
        pivot: code of the input.
        noise: maps that belong to it.
    """
    shifts = known_shifts(generator, directions, judges.light, wish, options, pivot)
    lit, person = pivot + shifts.light, judges.identity(wish.image).float()
    if not shifts.words.any():
        return Start(lit, wish.mask, person, worded=False)
    worded = lit + shifts.words
    label = torch.from_numpy(np.asarray(wish.label, np.float32))[None].to(pivot.device)
    first, second = (
        generator.render(generator.planes(ws, noise), label).image for ws in (lit, worded)
    )
    kept = wish.mask * unchanged(first, second)
    change = judges.identity(second).float() - judges.identity(first).float()
    return Start(worded, kept, still_like(person, change), worded=True)


class Shifts(NamedTuple):
    """What is added to the pivot's code for every layer.

    Attributes:
        light: by the wanted light.
        words: by the sentence.
    """

    light: Float[torch.Tensor, "1 1 w"]
    words: Float[torch.Tensor, "1 1 w"]


@torch.no_grad()
def known_shifts(
    generator: Generator,
    directions: WordDirections | None,
    illumination: Illumination,
    wish: Wish,
    options: EditOptions,
    pivot: Float[torch.Tensor, "1 l w"],
) -> Shifts:
    """What light and words of a wish add to the pivot, where it is known; else nothing."""
    mapping = generator.mapping
    by_light, by_words = torch.zeros_like(pivot[:, :1]), torch.zeros_like(pivot[:, :1])
    if not isinstance(mapping, GaussianMapping):
        return Shifts(by_light, by_words)
    turn = sh.view_from_world(np.asarray(wish.label)).T
    seen = illumination(wish.image)[0].float().cpu().numpy()
    now = mapping.light_code(_row(sh.rotate(seen, turn), pivot))
    if wish.light is not None and options.known_light:
        by_light = by_light + mapping.light_code(_row(wish.light, pivot)) - now
    if wish.said is not None and directions is not None and options.known_words:
        shift = directions.shift(pivot[0].mean(0) - now[0], wish.said)
        by_words = by_words + options.strength * shift
    return Shifts(by_light, by_words)


def _row(light: np.ndarray, like: torch.Tensor) -> torch.Tensor:
    return torch.from_numpy(np.asarray(light, np.float32)[None]).to(like.device)


def still_like(
    own: Float[torch.Tensor, "1 e"], change: Float[torch.Tensor, "1 e"]
) -> Float[torch.Tensor, "1 e"]:
    """A vector of identity with so much of a change that its cosine with its own is not too low.

    Args:
        own: of length 1.
        change: what words add.
    """
    shares = torch.linspace(1, 0, _SHARES, device=own.device)[:, None]
    people = own + shares * change
    like = functional.cosine_similarity(people, own)
    return people[int((like >= _LEAST_LIKE).nonzero()[0])][None]


def unchanged(
    before: Float[torch.Tensor, "1 3 S S"], after: Float[torch.Tensor, "1 3 S S"]
) -> Float[torch.Tensor, "1 1 S S"]:
    """Where two pictures agree, 1, to where they differ, 0; soft at its edges."""
    apart = (after - before).abs().mean(1, keepdim=True)
    apart = functional.avg_pool2d(apart, _BLUR_PX, 1, _BLUR_PX // 2, count_include_pad=False)
    return 1 / (1 + (apart / _SEEN_CHANGE).square())
