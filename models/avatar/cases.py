"""Held-out persons with expressions that move their faces, as the evaluation asks for them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from jaxtyping import Float16, Float32, UInt8

from ..errors import InputError
from ..scans.sensor import COMPLETE, HALF, HOLES
from .dataset import ScanFolder, ScannedPerson
from .face_surface import unseen_at
from .figures import moved, visible
from .sample import NeutralScan

LEAST_MOVED: Final = 10
"""An expression that moves fewer visible vertices is not asked for."""
_STILL_MM: Final = 0.5
"""What moves less does not move."""

Partial = Literal["half", "holes"]
PARTIAL: Final[dict[Partial, int]] = {"half": HALF, "holes": HOLES}
"""Kinds of scans of which a part is missing."""


@dataclass(frozen=True)
class Asked:
    """An expression that a person is asked for, and where its truth is measured.

    Attributes:
        entry: of the person's expressions.
        blendshapes: that say it.
        moved: places on the true face that moved by more than 2 mm, mm.
        still: places on it that did not move.
    """

    entry: int
    blendshapes: Float32[np.ndarray, " 52"]
    moved: Float32[np.ndarray, "M 3"]
    still: Float32[np.ndarray, "S 3"]


@dataclass(frozen=True)
class Torn:
    """A scan of which a part is missing.

    Attributes:
        kind: what is missing.
        scan: the scan.
        missing: places on the true face with the first expression that is asked for, where the
            scan saw nothing of the neutral, mm.
    """

    kind: Partial
    scan: NeutralScan
    missing: Float32[np.ndarray, "M 3"]


@dataclass(frozen=True)
class Case:
    """A held-out person.

    Attributes:
        number: of the person.
        person: the arrays.
        scan: a complete scan of the neutral; the clean neutral where there is none.
        neutral: places on the true neutral face, mm.
        asked: expressions.
        torn: incomplete scans.
    """

    number: int
    person: ScannedPerson
    scan: NeutralScan
    neutral: Float32[np.ndarray, "V 3"]
    asked: tuple[Asked, ...]
    torn: tuple[Torn, ...]

    @property
    def entries(self) -> list[int]:
        """Of the expressions that are asked for."""
        return [asked.entry for asked in self.asked]

    @property
    def true_sdf(self) -> Float16[np.ndarray, "F N N N"]:
        """True grids of what is asked for, mm."""
        return self.person.sdf[self.entries]

    @property
    def true_colour(self) -> UInt8[np.ndarray, "F N N N 3"]:
        """Their colours, sRGB."""
        return self.person.colour[self.entries]

    @property
    def moved(self) -> list[Float32[np.ndarray, "_ 3"]]:
        """Of each expression, see :class:`Asked`."""
        return [asked.moved for asked in self.asked]

    @property
    def still(self) -> list[Float32[np.ndarray, "_ 3"]]:
        """Likewise."""
        return [asked.still for asked in self.asked]

    @property
    def requested(self) -> Float32[np.ndarray, "F 52"]:
        """Blendshapes that are asked for."""
        return np.stack([asked.blendshapes for asked in self.asked])


def held_out_cases(
    folder: ScanFolder, count: int, expressions: int, seed: int = 0
) -> Iterator[Case]:
    """Persons that no training sees, one after the other; always the same for the same seed.

    Args:
        folder: of the data.
        count: persons at most.
        expressions: of each, at most: of those that move the face.
        seed: what chooses expressions and scans.

    Raises:
        InputError: nobody held out moves the face.
    """
    found = 0
    for number in folder.validation:
        if found == count:
            return
        case = _case(
            folder.person(number), number, expressions, np.random.default_rng([seed, number])
        )
        if case.asked:
            found += 1
            yield case
    if not found:
        raise InputError(f"{folder.path}: no expression of a held-out person moves the face")


def clean_scan(person: ScannedPerson, entry: int = 0) -> NeutralScan:
    """A true grid of a person as a complete scan without noise."""
    return NeutralScan.clean(person.sdf[entry].astype(np.float32), person.colour[entry])


def _case(person: ScannedPerson, number: int, expressions: int, rng: np.random.Generator) -> Case:
    asked: list[Asked] = []
    for entry in 1 + rng.permutation(len(person.sdf) - 1):
        if len(asked) == expressions:
            break
        far = moved(person, int(entry))
        if far.sum() >= LEAST_MOVED:
            asked.append(_asked(person, int(entry), far))
    complete = np.flatnonzero(person.scan_kind == COMPLETE)
    scan = _scan(person, int(rng.choice(complete))) if len(complete) else clean_scan(person)
    torn = [
        _torn(person, asked[0].entry, kind, int(place))
        for kind, value in PARTIAL.items()
        for place in np.flatnonzero(person.scan_kind == value)
        if asked
    ]
    places = person.vertices[0]
    neutral = places[visible(person.sdf[0].astype(np.float32), places)]
    return Case(number, person, scan, neutral, tuple(asked), tuple(torn))


def _asked(person: ScannedPerson, entry: int, far: np.ndarray) -> Asked:
    places = person.vertices[entry]
    still = np.linalg.norm(places - person.vertices[0], axis=1) < _STILL_MM
    still &= visible(person.sdf[entry].astype(np.float32), places)
    return Asked(entry, person.blendshapes[entry], places[far], places[still])


def _torn(person: ScannedPerson, entry: int, kind: Partial, place: int) -> Torn:
    unseen = unseen_at(person.scan_seen[place], person.vertices[0])
    unseen &= visible(person.sdf[entry].astype(np.float32), person.vertices[entry])
    return Torn(kind, _scan(person, place), person.vertices[entry][unseen])


def _scan(person: ScannedPerson, place: int) -> NeutralScan:
    return NeutralScan(
        person.scan_sdf[place].astype(np.float32),
        person.scan_seen[place],
        person.scan_colour[place],
    )
