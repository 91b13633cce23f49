"""What a person wears and holds in one picture, drawn by chance."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float32

from ..makehuman.build import HeadModel
from ..makehuman.head import triangulate
from ..render.surface import Surface
from .glasses import make_glasses
from .hands import HandMaker
from .hats import sample_hat
from .headmap import HeadMap
from .masks import face_mask
from .person import Person
from .props import sample_prop

_GLASSES, _HAT, _MASK, _HAND, _PROP = 0.27, 0.17, 0.03, 0.13, 0.07


@dataclass(frozen=True)
class Outfit:
    """Surfaces in the head frame.

    Attributes:
        worn: bend at the neck like the skin.
        held: move with the head as a whole.
        hides_hair: a hat or hood under which the hair disappears.
    """

    worn: list[Surface] = field(default_factory=list)
    held: list[Surface] = field(default_factory=list)
    hides_hair: bool = False


class Wardrobe:
    """Everything that can be put on heads of one model.

    Args:
        head: the head model.
        reference: (V, 3) an average head in the head frame, mm.
    """

    def __init__(self, head: HeadModel, reference: Float32[np.ndarray, "V 3"]) -> None:
        self._landmarks = head.topology.landmarks
        self._map = HeadMap(reference, triangulate(head.topology.parts["skin"]))
        self._hands = HandMaker(head.topology.data, head.head_from_base.scale)

    def dress(
        self, person: Person, moved: Float32[np.ndarray, "V 3"], rng: np.random.Generator
    ) -> Outfit:
        """Draw what somebody wears and holds.

        Args:
            person: who.
            moved: the head with its expression, head frame.
            rng: the same state gives the same outfit.
        """
        wears = rng.random(5) < (_GLASSES, _HAT, _MASK, _HAND, _PROP)
        marks = moved[self._landmarks]
        worn: list[Surface] = []
        held: list[Surface] = []
        hides_hair = False
        if wears[0]:
            worn += make_glasses(person.neutral[self._landmarks], rng)
        if wears[1] or wears[2] or wears[4]:
            table = self._map.measure(moved)
            if wears[1]:
                hat, hides_hair = sample_hat(table, rng)
                worn += hat
            if wears[2]:
                worn += face_mask(marks, table, rng)
            if wears[4]:
                held += sample_prop(marks, table, rng)
        if wears[3]:
            count = 2 if rng.random() < 0.15 else 1
            held += [self.hand(person, moved, rng) for _ in range(count)]
        return Outfit(worn, held, hides_hair)

    def hand(
        self, person: Person, moved: Float32[np.ndarray, "V 3"], rng: np.random.Generator
    ) -> Surface:
        """A hand of a person, somewhere at the face; head frame."""
        table = self._map.measure(moved, tight=True)
        return self._hands.hand(moved, self._landmarks, table, person.skin, rng)
