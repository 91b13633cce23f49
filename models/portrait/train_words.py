"""Fits what words add to a generator's codes; no network learns, so it takes seconds."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..digest import file_sha256
from ..errors import InputError
from ..learning.pace import begin_folder, processor_threads
from .attributes import AttributeClassifier
from .fitting import WEIGHTS_NAME, FitResult
from .pictures import load_words, words_digest
from .vocabulary import SLOTS
from .weights import load_part, load_weights
from .word_directions import CODED, COLUMNS, WordDirections
from .word_lengths import measured_lengths


@dataclass(frozen=True)
class WordOptions:
    """One fit.

    Attributes:
        data: folder of the portraits that the generator was trained on.
        out: folder for the weights.
        generator: weights of the generator, with the codes of those portraits.
        attributes: weights of the classifiers of pictures, by which it is measured how far each
            word has to go; None: as far as a linear reading of the codes says.
        threads: processor threads of the generator and the classifiers.
    """

    data: Path
    out: Path
    generator: Path
    attributes: Path | None = None
    threads: int = 1


def train(options: WordOptions, report: Callable[[], object] | None = None) -> FitResult:
    """Fit the directions; ``out/weights.safetensors`` is what edits read.

    Args:
        options: what to fit.
        report: told after each of :data:`.word_directions.COLUMNS` whose way was measured.

    Raises:
        InputError: data or generator cannot be used, or do not belong together.
        OutputError: ``out`` cannot be written, or holds a training that is not to be resumed.
    """
    began = time.monotonic()
    begin_folder(options.out, None, (WEIGHTS_NAME,))
    stored = load_part(options.generator, "generator")
    codes = stored.extras.get("codes")
    if codes is None or codes.ndim != 2:
        raise InputError(
            f"{options.generator}: holds no codes of looks; mien train portrait --stage generator "
            "writes them"
        )
    if not torch.isfinite(codes).all():
        raise InputError(f"{options.generator}: its codes of looks are not finite; train it anew")
    words = load_words(options.data)
    if len(words) != len(codes):
        raise InputError(
            f"{options.generator}: was trained on {len(codes)} looks, but {options.data} has "
            f"{len(words)} to train on"
        )
    # Generators trained by an earlier mien do not say what they learnt from.
    if stored.facts.get("words_sha256") not in (None, words_digest(options.data)):
        raise InputError(
            f"{options.generator}: was trained on other portraits than {options.data}, of which "
            "other words are told; --data takes those that it was trained on"
        )
    made = WordDirections.fit(codes.double().numpy(), words)
    figures = _read_again(made, codes.float(), words)
    facts: dict[str, Any] = {"looks": len(codes), "figures": figures, "data": "synthetic"}
    if options.attributes is not None:
        classifier = AttributeClassifier.load(options.attributes)
        generator = load_weights(options.generator)
        with processor_threads(options.threads):
            lengths = measured_lengths(
                made, generator, codes.float(), words, classifier, report=report
            )
        made.lengths.copy_(lengths)
        facts["attributes_sha256"] = file_sha256(options.attributes)
    path = options.out / WEIGHTS_NAME
    made.save(path, facts)
    return FitResult(path, 1, time.monotonic() - began, figures)


def _read_again(
    made: WordDirections, codes: torch.Tensor, words: tuple[dict[str, str], ...]
) -> dict[str, float]:
    """Balanced accuracy of each slot as it is read off the codes, the prior shares taken out."""
    with torch.no_grad():
        lift = (made.read(codes) - made.middle) / (made.middle * (1 - made.middle) + 1e-6).sqrt()
    figures = {}
    for slot in CODED:
        own = [i for i, (other, _) in enumerate(COLUMNS) if other == slot]
        guess = lift[:, own].argmax(1).numpy()
        true = np.array([SLOTS[slot].index(w[slot]) if slot in w else -1 for w in words])
        hits = [float((guess[true == v] == v).mean()) for v in np.unique(true[true >= 0])]
        figures[slot] = float(np.mean(hits)) if hits else 0.0
    return figures
