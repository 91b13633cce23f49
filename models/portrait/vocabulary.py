"""The words that the portrait's own text-to-image prior knows, and how a sentence becomes tokens.

A sentence is read as a set of properties: each has a slot ("hair colour") and one of the slot's
values ("black"). Several phrases may mean one property ("elderly", "old") and one phrase several
("boy" is a male child). A token is the number of a property, from 1; 0 means nothing. The order of
a sentence carries no meaning, words like "a" or "with" are passed over, and any other word that is
not in the vocabulary is an error that names the nearest ones that are.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from jaxtyping import Int64

from ..errors import InputError

SLOTS: Final[dict[str, tuple[str, ...]]] = {
    "age": ("child", "young", "middle-aged", "old"),
    "gender": ("male", "female"),
    "skin": ("light", "medium", "dark"),
    "hair colour": ("black", "brown", "blond", "red", "grey", "white"),
    "hair length": ("bald", "short", "medium", "long"),
    "beard": ("none", "stubble", "beard"),
    "glasses": ("none", "glasses", "sunglasses"),
    "hat": ("none", "hat"),
    "expression": (
        "neutral", "smiling", "laughing", "mouth open", "surprised", "angry", "sad", "pouting",
    ),
    "eyes": ("open", "closed"),
    "light": ("left", "right", "above", "below", "front", "back", "even"),
    "light colour": ("neutral", "warm", "cool"),
    "brightness": ("medium", "dim", "bright"),
    "view": ("front", "facing left", "facing right", "profile left", "profile right"),
    "height": ("level", "above", "below"),
}  # fmt: skip
"""Each slot and its values; left and right as seen in the picture."""
OF_LIGHT: Final = ("light", "light colour", "brightness")
"""Slots that are no property of a person."""

Property = tuple[str, str]
PROPERTIES: Final[tuple[Property, ...]] = tuple(
    (slot, value) for slot, values in SLOTS.items() for value in values
)
TOKEN: Final[dict[Property, int]] = {pair: i + 1 for i, pair in enumerate(PROPERTIES)}
TOKEN_COUNT: Final = len(PROPERTIES) + 1
"""Tokens, the empty one among them."""
MOST_TOKENS: Final = len(SLOTS)
"""Longest sentence, in tokens: one a slot."""

PHRASES: Final[dict[Property, tuple[str, ...]]] = {
    ("age", "child"): ("child", "kid", "little"),
    ("age", "young"): ("young", "youthful", "younger"),
    ("age", "middle-aged"): ("middle aged", "mature", "grown"),
    ("age", "old"): ("old", "elderly", "older", "aged", "senior"),
    ("gender", "male"): ("man", "male", "gentleman", "guy", "he", "his"),
    ("gender", "female"): ("woman", "female", "lady", "she", "her"),
    ("skin", "light"): ("light skin", "fair skin", "pale skin", "white skin", "pale", "fair"),
    ("skin", "medium"): ("medium skin", "tan skin", "olive skin", "brown skin", "tanned", "tan"),
    ("skin", "dark"): ("dark skin", "black skin", "dark skinned"),
    ("hair colour", "black"): ("black hair", "dark hair", "black haired", "black"),
    ("hair colour", "brown"): ("brown hair", "brown haired", "brunette", "brown"),
    ("hair colour", "blond"): ("blond hair", "blonde hair", "blond", "blonde", "light hair"),
    ("hair colour", "red"): ("red hair", "ginger hair", "red haired", "ginger", "red"),
    ("hair colour", "grey"): ("grey hair", "gray hair", "grey haired", "grey", "gray"),
    ("hair colour", "white"): ("white hair", "white haired", "white"),
    ("hair length", "bald"): ("bald", "bald head", "no hair", "without hair"),
    ("hair length", "short"): ("short hair", "short haired", "short"),
    ("hair length", "medium"): ("medium hair", "shoulder length hair", "shoulder length"),
    ("hair length", "long"): ("long hair", "long haired", "long"),
    ("beard", "none"): ("clean shaven", "no beard", "without beard", "shaved", "beardless"),
    ("beard", "stubble"): ("stubble", "unshaven"),
    ("beard", "beard"): ("beard", "bearded", "full beard"),
    ("glasses", "none"): ("no glasses", "without glasses"),
    ("glasses", "glasses"): ("glasses", "spectacles", "eyeglasses"),
    ("glasses", "sunglasses"): ("sunglasses", "dark glasses"),
    ("hat", "none"): ("no hat", "without hat", "bareheaded"),
    ("hat", "hat"): ("hat", "cap", "beanie"),
    ("expression", "neutral"): ("neutral", "neutral expression", "calm", "serious", "no smile"),
    ("expression", "smiling"): ("smiling", "smile", "smiles", "happy"),
    ("expression", "laughing"): ("laughing", "laugh", "grinning", "grin", "big smile"),
    ("expression", "mouth open"): ("mouth open", "open mouth", "speaking", "talking", "yawning"),
    ("expression", "surprised"): ("surprised", "astonished", "raised brows", "raised eyebrows"),
    ("expression", "angry"): ("angry", "furious", "scowling"),
    ("expression", "sad"): ("sad", "unhappy", "frowning"),
    ("expression", "pouting"): ("pouting", "kissing", "pursed lips"),
    ("eyes", "open"): ("open eyes", "eyes open"),
    ("eyes", "closed"): ("closed eyes", "eyes closed", "sleeping", "asleep"),
    ("light", "left"): ("lit from left", "light from left", "left light"),
    ("light", "right"): ("lit from right", "light from right", "right light"),
    ("light", "above"): ("lit from above", "light from above", "top light"),
    ("light", "below"): ("lit from below", "light from below"),
    ("light", "front"): ("lit from front", "light from front", "front light", "flash"),
    ("light", "back"): ("lit from behind", "light from behind", "back light", "backlit"),
    ("light", "even"): ("even light", "soft light", "evenly lit", "diffuse light"),
    ("light colour", "neutral"): ("white light", "neutral light"),
    ("light colour", "warm"): ("warm light", "orange light", "candlelight"),
    ("light colour", "cool"): ("cool light", "blue light", "cold light"),
    ("brightness", "medium"): ("normal light",),
    ("brightness", "dim"): ("dim light", "dimly lit", "dim", "dark light"),
    ("brightness", "bright"): ("bright light", "brightly lit", "bright"),
    ("view", "front"): ("front view", "frontal", "frontal view", "facing camera"),
    ("view", "facing left"): ("facing left", "turned left", "looking left"),
    ("view", "facing right"): ("facing right", "turned right", "looking right"),
    ("view", "profile left"): ("profile facing left", "side view facing left", "profile left"),
    ("view", "profile right"): ("profile facing right", "side view facing right", "profile right"),
    ("height", "level"): ("eye level", "level view"),
    ("height", "above"): ("seen from above", "view from above"),
    ("height", "below"): ("seen from below", "view from below"),
}
"""Phrases of each property, articles left out; the first is what captions use."""

_COMPOUND: Final[dict[str, tuple[Property, ...]]] = {
    "boy": (("age", "child"), ("gender", "male")),
    "girl": (("age", "child"), ("gender", "female")),
    "teenager": (("age", "young"),),
    "grandfather": (("age", "old"), ("gender", "male")),
    "grandmother": (("age", "old"), ("gender", "female")),
}
_ARTICLES: Final = frozenset({"a", "an", "the", "some"})
_FILLERS: Final = frozenset(
    {"and", "with", "who", "is", "has", "wearing", "in", "of", "for", "portrait", "photo",
     "photograph", "picture", "face", "person", "human", "head", "skin", "hair", "light", "very",
     "looks", "looking", "as", "made", "into", "make", "makes"}
)  # fmt: skip

_MEANING: Final[dict[tuple[str, ...], tuple[Property, ...]]] = {
    **{tuple(p.split()): (pair,) for pair, phrases in PHRASES.items() for p in phrases},
    **{tuple(p.split()): pairs for p, pairs in _COMPOUND.items()},
}
_LONGEST: Final = max(map(len, _MEANING))
_KNOWN_WORDS: Final = sorted({word for phrase in _MEANING for word in phrase} | _FILLERS)


@dataclass(frozen=True)
class Description:
    """What a sentence says.

    Attributes:
        properties: the value of each slot that it names.
    """

    properties: Mapping[str, str]

    def __post_init__(self) -> None:
        for slot, value in self.properties.items():
            if value not in SLOTS.get(slot, ()):
                raise InputError(f"description: no property {slot!r}: {value!r}")

    def tokens(self) -> Int64[np.ndarray, " T"]:
        """Token numbers, padded with 0 to :data:`MOST_TOKENS`."""
        found = [TOKEN[slot, self.properties[slot]] for slot in SLOTS if slot in self.properties]
        return np.array(found + [0] * (MOST_TOKENS - len(found)), np.int64)

    def without(self, *slots: str) -> Description:
        """The same without some slots."""
        return Description({s: v for s, v in self.properties.items() if s not in slots})


def parse(text: str) -> Description:
    """The properties that a sentence names.

    Raises:
        InputError: it is empty, names none, has a word outside of the vocabulary (the nearest ones
            are named), or says two different things of one slot.
    """
    words = [w for w in re.findall(r"[a-zA-Z0-9']+", text.lower()) if w not in _ARTICLES]
    if not words:
        raise InputError('the text is empty; say for instance "an old man, smiling" (see --words)')
    found: dict[str, str] = {}
    i = 0
    while i < len(words):
        length, meaning = _longest(words, i)
        if not length:
            if words[i] not in _FILLERS:
                raise InputError(_unknown(words[i]))
            i += 1
            continue
        for slot, value in meaning:
            before = found.setdefault(slot, value)
            if before != value:
                raise InputError(f"the text says both {before!r} and {value!r} ({slot})")
        i += length
    if not found:
        raise InputError(f"{text!r} names nothing that could be changed; see --words")
    return Description(found)


def _longest(words: list[str], i: int) -> tuple[int, tuple[Property, ...]]:
    for length in range(min(_LONGEST, len(words) - i), 0, -1):
        meaning = _MEANING.get(tuple(words[i : i + length]))
        if meaning is not None:
            return length, meaning
    return 0, ()


def _unknown(word: str) -> str:
    near = difflib.get_close_matches(word, _KNOWN_WORDS, n=3, cutoff=0.5)
    hint = f"; nearest: {', '.join(near)}" if near else ""
    return f"{word!r} is not in the vocabulary{hint} (--words prints it)"


def printed() -> str:
    """The vocabulary for people: a line a property, phrases first to last."""
    lines = []
    for slot, values in SLOTS.items():
        lines.append(f"{slot}:")
        lines += [f"  {value}: {', '.join(PHRASES[slot, value])}" for value in values]
    pairs = "; ".join(f"{k} = {' '.join(v for _, v in m)}" for k, m in _COMPOUND.items())
    lines.append(f"several at once: {pairs}")
    lines.append("left and right are those of the picture; articles and order do not matter")
    return "\n".join(lines)
