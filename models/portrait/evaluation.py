"""How well inversions and edits do: on held-out renders, by judges that no loss has seen.

Figures are of synthetic people unless they say otherwise. The identity and the light are judged by
the networks that the losses use, since there are no others: gains there are upper bounds. The
attributes are judged by classifiers that are in no loss (how far words go was chosen with them, on
people trained on: :mod:`.word_lengths`), and the pose by the tracker.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
import torch
from jaxtyping import Float, UInt8

from ..errors import InputError
from .attributes import JUDGED, AttributeClassifier
from .cameras import orbit_label
from .edit import edit
from .edit_figures import attribute_shift, edit_figures, psnr
from .edit_options import Edit, EditOptions, Portrait, Wish
from .edit_start import invert_input
from .generator import Generator
from .invert import Inversion
from .losses import Judges
from .pictures import Pictures, load_pictures
from .sds import ScorePrior
from .vocabulary import OF_LIGHT, PHRASES, parse
from .word_directions import WordDirections

VARIANTS: Final = (
    "full", "no_identity", "no_reconstruction", "no_sds", "no_directions", "planes",
)  # fmt: skip
"""The whole method, and what the paper leaves out of it; ``no_directions`` begins at the pivot, as
the paper does, and so does ``planes``: free planes, no generator."""
RETRACKED_DEG: Final = (-30.0, -15.0, 0.0, 15.0, 30.0)
ENLARGED: Final = 6
"""Pictures are enlarged so much for the tracker."""

Tracker = Callable[[UInt8[np.ndarray, "H W 3"]], float | None]
"""Apparent yaw of the face in a picture (BGR), degrees; None where it finds none."""


@dataclass(frozen=True)
class Case:
    """A picture to start from.

    Attributes:
        name: for tables.
        image: RGB, -1 to 1.
        mask: 0 to 1.
        label: its camera.
        words: what is known of it, by slot.
        others: pictures of the same look from other cameras, where there are any.
        other_labels: their cameras.
    """

    name: str
    image: Float[torch.Tensor, "1 3 S S"]
    mask: Float[torch.Tensor, "1 1 S S"]
    label: Float[np.ndarray, " 25"]
    words: dict[str, str]
    others: Float[torch.Tensor, "v 3 S S"]
    other_labels: Float[np.ndarray, "v 25"]


@dataclass(frozen=True)
class Networks:
    """What an evaluation runs.

    Attributes:
        generator: frozen.
        prior: understands the sentences.
        judges: of the losses.
        classifier: of no loss; None: attributes are not judged.
        tracker: None: poses are not judged.
        directions: what words add to codes; None: distillation finds it alone.
    """

    generator: Generator
    prior: ScorePrior
    judges: Judges
    classifier: AttributeClassifier | None
    tracker: Tracker | None
    directions: WordDirections | None


def held_out_cases(folder: Path, count: int, size: int, first: int = 0) -> list[Case]:
    """First looks of held-out people, seen from near the front.

    Args:
        folder: of portraits.
        count: people, at most.
        size: to which pictures are brought, px.
        first: so many held-out people are passed over, such as those that something was tuned on.

    Raises:
        InputError: the folder holds no portraits, or no more held-out people than are passed over.
    """
    pictures = load_pictures(folder, held_out=True)
    cases = []
    if first >= len(pictures.numbers):
        raise InputError(f"{folder}: {len(pictures.numbers)} held-out people, {first} passed over")
    for person in range(first, min(first + count, len(pictures.numbers))):
        views = np.flatnonzero(
            (pictures.person == person)
            & (pictures.look == pictures.look[pictures.person == person][0])
        )
        cases.append(_case(pictures, views, size))
    return cases


def _case(pictures: Pictures, views: np.ndarray, size: int) -> Case:
    images, masks = pictures.batch(views)
    if images.shape[-1] != size:
        images, masks = (
            torch.nn.functional.interpolate(x, (size, size), mode="area") for x in (images, masks)
        )
    labels = pictures.cameras[views].astype(np.float64)
    return Case(
        name=f"person {pictures.numbers[int(pictures.person[views[0]])]}",
        image=images[:1],
        mask=masks[:1].clamp(min=0.3),
        label=labels[0],
        words=dict(pictures.words[int(views[0])]),
        others=images[1:],
        other_labels=labels[1:],
    )


def variant_options(name: str, options: EditOptions) -> EditOptions:
    """The options of a variant.

    Raises:
        KeyError: there is no such variant.
    """
    weights = options.weights
    changed = {
        "full": options,
        "no_identity": replace(options, weights=replace(weights, identity=0.0)),
        "no_reconstruction": replace(options, weights=replace(weights, reconstruction=0.0)),
        "no_sds": replace(options, weights=replace(weights, sds=0.0)),
        "no_directions": replace(options, known_words=False),
        "planes": replace(options, space="planes", known_words=False),
    }
    return changed[name]


def sentences_of(edits: str) -> list[str]:
    """The sentences of a list with semicolons between them.

    ``all`` stands for each value of the slots that are judged, but for those of light: in the
    first phrase of each, by slot.

    Raises:
        InputError: a word is not in the vocabulary.
    """
    if edits.strip() == "all":
        slots = set(JUDGED) - set(OF_LIGHT)
        return [phrases[0] for (slot, _), phrases in PHRASES.items() if slot in slots]
    sentences = [text.strip() for text in edits.split(";") if text.strip()]
    for text in sentences:
        parse(text)
    return sentences


def sentence_for(case: Case, sentences: Sequence[str], number: int) -> str:
    """One of the sentences, of which something is not so yet; by turns."""
    for k in range(len(sentences)):
        text = sentences[(number + k) % len(sentences)]
        wanted = parse(text).properties
        if any(case.words.get(s) != v for s, v in wanted.items()):
            return text
    return sentences[number % len(sentences)]


def inversion_of(networks: Networks, case: Case, options: EditOptions) -> Inversion:
    """The case's inversion, of which all edits with these options may be made.

    The weights of an edit's own losses have no part in it.
    """
    device = next(networks.generator.parameters()).device
    wish = Wish(case.image.to(device), case.mask.to(device), case.label, None, None)
    return invert_input(networks.generator, networks.judges, wish, options)


def evaluate_case(
    networks: Networks,
    case: Case,
    text: str | None,
    light: Float[np.ndarray, " 9"] | None,
    options: EditOptions,
    report: Callable[[], object] | None = None,
    inversion: Inversion | None = None,
) -> tuple[dict[str, Any], Edit]:
    """Figures of one edit, and the edit.

    Args:
        networks: that are evaluated.
        case: where it starts.
        text: what is wanted; None: only light.
        light: axes of the world; None: only text.
        options: of the edit.
        report: told after every step.
        inversion: of the case, by :func:`inversion_of` with the same options; None: it is made.
    """
    device = next(networks.generator.parameters()).device
    condition = None if text is None else networks.prior.condition(text)
    said = None if text is None else parse(text)
    wish = Wish(case.image.to(device), case.mask.to(device), case.label, condition, light, said)

    def tell(*_: object) -> None:
        if report is not None:
            report()

    prior = None if text is None else networks.prior
    made = edit(
        networks.generator, prior, networks.judges, wish, options, tell,
        directions=networks.directions, inversion=inversion,
    )  # fmt: skip
    figures = edit_figures(made, wish, networks.judges, networks.classifier)
    if len(case.others):
        seen = made.before.seen(case.other_labels).image.cpu()
        figures["novel_psnr_db"] = float(
            np.mean([psnr(s[None], o[None]) for s, o in zip(seen, case.others, strict=True)])
        )
    if said is not None and networks.classifier is not None:
        shifts = attribute_shift(made, networks.classifier, said)
        changed = [
            s["after"] - s["before"]
            for slot, s in shifts.items()
            if slot in JUDGED and case.words.get(slot) != said.properties[slot]
        ]
        figures["attribute_shift"] = float(np.mean(changed)) if changed else float("nan")
    if networks.tracker is not None:
        figures |= retracked(made.after, networks.tracker)
    return figures, made


def retracked(portrait: Portrait, tracker: Tracker) -> dict[str, float]:
    """Yaw given against yaw tracked of the rendered views, mean absolute difference.

    ``retracked_relative_deg`` leaves out the constant part of the difference: what remains is the
    disagreement of the views with one another.
    """
    apart = []
    for yaw in RETRACKED_DEG:
        image = portrait.seen(orbit_label(np.radians(yaw), 0.0)[None]).image[0].cpu().numpy()
        pixels = np.rint((np.clip(image, -1, 1) + 1) * 127.5).astype(np.uint8)
        side = (ENLARGED * pixels.shape[1],) * 2
        small = np.ascontiguousarray(pixels.transpose(1, 2, 0)[..., ::-1])
        large = cv2.resize(small, side, interpolation=cv2.INTER_CUBIC)
        found = tracker(np.asarray(large, np.uint8))
        if found is not None:
            apart.append(found - yaw)
    off = np.array(apart)
    return {
        "retracked_yaw_deg": float(np.abs(off).mean()) if len(off) else float("nan"),
        "retracked_relative_deg": float(np.abs(off - off.mean()).mean())
        if len(off) > 1
        else float("nan"),
        "retracked_share": len(off) / len(RETRACKED_DEG),
    }


def summary(rows: Sequence[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """Mean and deviation of every plain figure, over the rows that have it."""
    found: dict[str, list[float]] = {}
    for row in rows:
        for name, value in _flat(row):
            if np.isfinite(value):
                found.setdefault(name, []).append(value)
    return {
        name: {
            "mean": float(np.mean(values)),
            "deviation": float(np.std(values, ddof=1)) if len(values) > 1 else 0.0,
            "count": len(values),
        }
        for name, values in found.items()
    }


def _flat(row: dict[str, Any], before: str = "") -> Iterator[tuple[str, float]]:
    for name, value in row.items():
        if isinstance(value, dict):
            if name not in {"terms", "attributes"}:
                yield from _flat(value, f"{before}{name}_")
        elif isinstance(value, int | float):
            yield f"{before}{name}", float(value)
