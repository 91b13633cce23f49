"""Which of the candidates become key frames."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

import numpy as np
from jaxtyping import Float64

from .scoring import NEUTRAL_UNITS, Candidate, falloff

Purpose = Literal["portrait", "avatar", "body", "coverage"]

WEIGHTS: Final[Mapping[Purpose, Mapping[str, float]]] = {
    "portrait": {
        "sharp": 1.0,
        "frontal": 1.5,
        "eyes": 1.0,
        "neutral": 0.7,
        "size": 0.5,
        "confidence": 1.0,
        "inside": 1.0,
        "level": 0.4,
    },
    "avatar": {"sharp": 1.0, "frontal": 0.7, "size": 0.5, "confidence": 1.0, "inside": 1.0},
    "body": {
        "body": 2.0,
        "frontal": 0.7,
        "sharp": 1.0,
        "confidence": 1.0,
        "eyes": 0.4,
        "size": 0.25,
        "level": 0.4,
    },
    "coverage": {"sharp": 1.0, "size": 0.5, "eyes": 0.3, "confidence": 1.0, "inside": 0.5},
}
"""Exponents of the parts in the product that is a frame's score."""
FIRST_WEIGHTS: Final[Mapping[str, float]] = {**WEIGHTS["portrait"], "neutral": 2.0}
"""Of an avatar's first frame, the neutral one."""

KEPT: Final = 32768
"""At most so many candidates are remembered; of neighbours, the better one."""
APART_S: Final = (1.0, 0.5, 0.25, 0.1)
"""Least time between two key frames; the next smaller one where there are too few."""
APART_FRAMES: Final = 2
CLOSE: Final = 0.7
"""Of the best score: frames above it may stand nearer to each other before worse ones are taken."""
GOOD: Final = 0.35
"""Of the score that a tenth of the candidates exceed: less is not chosen for variety."""
LEAST_STEP: Final[Mapping[Purpose, float]] = {"avatar": 0.1, "coverage": 0.035}
"""Least difference to all that are chosen: of expressions, and 2 degrees of where a face looks."""


@dataclass
class Pool:
    """The candidates of a film, in order; the memory does not grow with the film.

    Attributes:
        purpose: what for.
        kept: at most so many.
    """

    purpose: Purpose
    kept: int = KEPT
    candidates: list[Candidate] = field(default_factory=list)
    seen: int = 0
    _width: int = 1

    def add(self, candidate: Candidate) -> None:
        """Take the next one."""
        self.seen += 1
        self._put(candidate)
        while len(self.candidates) > self.kept:
            self._width *= 2
            before, self.candidates = self.candidates, []
            for one in before:
                self._put(one)

    def _put(self, candidate: Candidate) -> None:
        last = self.candidates[-1] if self.candidates else None
        if last is None or last.frame // self._width != candidate.frame // self._width:
            self.candidates.append(candidate)
        elif score(candidate.parts, self._weights) > score(last.parts, self._weights):
            self.candidates[-1] = candidate

    @property
    def _weights(self) -> Mapping[str, float]:
        return {k: v for k, v in WEIGHTS[self.purpose].items() if k != "neutral"}


@dataclass(frozen=True)
class Choice:
    """A key frame.

    Attributes:
        candidate: the frame.
        score: by which it was chosen, 0 to 1.
        parts: of the score; ``variety`` where a difference to the others counted.
    """

    candidate: Candidate
    score: float
    parts: dict[str, float]


def score(parts: Mapping[str, float], weights: Mapping[str, float]) -> float:
    """The product of the parts, each to the power of its weight."""
    return math.exp(sum(w * math.log(max(parts[name], 1e-4)) for name, w in weights.items()))


def choose(candidates: Sequence[Candidate], purpose: Purpose, count: int) -> list[Choice]:
    """Pick key frames, the best first, no two of them neighbours in time.

    ``portrait`` and ``body`` take the best frames; ``avatar`` one neutral frame, and then each
    time the expression that differs most from those that are chosen; ``coverage`` the most frontal
    good frame, and then each time the direction that is farthest from those that are chosen. Equal
    ones go by time, so that the choice is always the same.

    Args:
        candidates: in order of time.
        purpose: what for.
        count: at most so many.

    Returns:
        Fewer than ``count`` where there are not so many that are apart and differ.
    """
    if not candidates or count < 1:
        return []
    rest = np.quantile(np.stack([c.expression for c in candidates]), 0.2, axis=0)
    parts = []
    for candidate in candidates:
        strength = float(np.linalg.norm(candidate.expression - rest))
        parts.append({**candidate.parts, "neutral": falloff(strength, NEUTRAL_UNITS)})
    quality = np.array([score(p, WEIGHTS[purpose]) for p in parts])
    pick = _Picks(candidates, parts)
    if purpose in ("portrait", "body"):
        order = sorted(range(len(candidates)), key=lambda i: (-quality[i], i))
        # A good frame near a chosen one is better than a bad one far from it.
        for least in (CLOSE * quality.max(), 0.0):
            for apart_s in APART_S:
                for i in order:
                    if len(pick.chosen) < count and quality[i] >= least:
                        pick.take(i, float(quality[i]), apart_s)
        return sorted(pick.chosen, key=lambda choice: (-choice.score, choice.candidate.frame))
    if purpose == "avatar":
        places = np.stack([c.expression for c in candidates]).astype(np.float64)
        # Closed eyes are an expression of an avatar too.
        eyes = np.array([[p["eyes"]] for p in parts])
        places = np.hstack([places, 0.7 * eyes])
        first = np.array([score(p, FIRST_WEIGHTS) for p in parts])
        _spread(pick, places, quality, first, count, LEAST_STEP[purpose])
    else:
        places = np.stack([c.look for c in candidates])
        first = quality * np.array([p["frontal"] for p in parts]) ** 2
        _spread(pick, places, quality, first, count, LEAST_STEP[purpose])
    return pick.chosen


@dataclass
class _Picks:
    """What is chosen so far."""

    candidates: Sequence[Candidate]
    parts: Sequence[dict[str, float]]
    chosen: list[Choice] = field(default_factory=list)

    def near(self, i: int, apart_s: float) -> bool:
        one = self.candidates[i]
        return any(
            abs(one.t_s - other.candidate.t_s) < apart_s - 1e-9
            or abs(one.frame - other.candidate.frame) < APART_FRAMES
            for other in self.chosen
        )

    def take(self, i: int, value: float, apart_s: float, variety: float | None = None) -> bool:
        """Choose a candidate unless it is too near in time to another."""
        if self.near(i, apart_s):
            return False
        parts = self.parts[i] if variety is None else {**self.parts[i], "variety": variety}
        self.chosen.append(Choice(self.candidates[i], float(value), parts))
        return True


def _spread(
    pick: _Picks,
    places: Float64[np.ndarray, "N D"],
    quality: Float64[np.ndarray, " N"],
    first: Float64[np.ndarray, " N"],
    count: int,
    least: float,
) -> None:
    """Farthest points first, among the good ones, weighted by the root of how good they are.

    Args:
        pick: filled.
        places: what is to be spread.
        quality: how good each is.
        first: how fit each is to be the first.
        count: at most so many.
        least: smallest distance that counts as different.
    """
    start = int(np.argmax(first))
    pick.take(start, float(first[start]), 0.0)
    good = quality >= GOOD * np.quantile(quality, 0.9)
    weight = np.where(good, np.sqrt(quality / max(float(quality.max()), 1e-12)), 0.0)
    nearest = np.linalg.norm(places - places[start], axis=1)
    for apart_s in APART_S[1:]:
        while len(pick.chosen) < count:
            free = weight * np.where(nearest >= least, nearest, 0.0)
            found = next(
                (i for i in np.argsort(-free, kind="stable").tolist() if not pick.near(i, apart_s)),
                None,
            )
            if found is None or free[found] <= 0.0:
                break
            pick.take(found, float(quality[found]), apart_s, float(nearest[found]))
            nearest = np.minimum(nearest, np.linalg.norm(places - places[found], axis=1))
