"""Captions as a condition: one value, and so one token, a word of the portrait's vocabulary.

The value is 1 where the word is said and 0 where it is not. What is said of a person is recorded
with the data (age, gender, skin, beard, colour of the hair); what is said of an expression follows
from its blendshapes.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from jaxtyping import Float32

from ..portrait.captions import UNNAMED_EXPRESSION, expression_word, eyes_word
from ..portrait.vocabulary import PROPERTIES, SLOTS, TOKEN, Description, parse

NAME: Final = "captions"
"""Of this kind of vector."""
WORDS: Final = len(PROPERTIES)
_LEAST_KEPT: Final = 0.3
_SLOTS: Final = np.array([list(SLOTS).index(slot) for slot, _ in PROPERTIES])


def caption_vector(text: str) -> Float32[np.ndarray, " W"]:
    """What a caption says.

    Raises:
        InputError: it has a word that is not in the vocabulary, or contradicts itself.
    """
    return _vector(parse(text))


def caption_vectors(
    caption: str, blendshapes: Float32[np.ndarray, "E 52"]
) -> Float32[np.ndarray, "E W"]:
    """What can be said of a person with each of some expressions.

    Args:
        caption: of the person.
        blendshapes: of the expressions; those without a name are not mentioned.

    Raises:
        InputError: see :func:`caption_vector`.
    """
    person = parse(caption).properties
    rows = []
    for values in blendshapes:
        said = {**person, "expression": expression_word(values), "eyes": eyes_word(values)}
        if said["expression"] == UNNAMED_EXPRESSION:
            del said["expression"]
        rows.append(_vector(Description(said)))
    return np.stack(rows)


def fewer_words(
    vectors: Float32[np.ndarray, "B W"], rng: np.random.Generator
) -> Float32[np.ndarray, "B W"]:
    """Captions that leave things out, as people's do: of each example another share."""
    kept = rng.uniform(_LEAST_KEPT, 1.0, (len(vectors), 1))
    said = rng.random((len(vectors), len(SLOTS))) < kept
    return np.where(said[:, _SLOTS], vectors, np.float32(0))


def _vector(said: Description) -> Float32[np.ndarray, " W"]:
    found = np.zeros(WORDS, np.float32)
    # Token 0 is that of nothing.
    found[[TOKEN[pair] - 1 for pair in said.properties.items()]] = 1.0
    return found
