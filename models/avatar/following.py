"""Expression following: is what mien's own tracker reads off a picture what was asked for?

The tracker's blendshapes are not those of the data, and a grid of few cells shows them dimly. So
figures stand beside those of true renders, which are the ceiling; and readings are first mapped
by what was fitted once on true renders of training persons: the linear map that comes nearest to
the requested vectors, held towards the same gain for all blendshapes. All is about changes: a
reading less that of the same face when neutral.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from jaxtyping import Float, Float32, Float64

from ..errors import InputError
from .dataset import ScanFolder
from .face_surface import FaceSurface
from .looks import Watcher, changes

_HELD: Final = 3.0
"""How strongly the map is held towards one gain, in mean squares of a reading."""

Changes = Float[np.ndarray, "F 52"]


@dataclass(frozen=True)
class Calibration:
    """From changes of tracked blendshapes to requested ones.

    Attributes:
        matrix: applied to rows from the right.
        renders: true renders that it was fitted on.
    """

    matrix: Float64[np.ndarray, "52 52"]
    renders: int

    @classmethod
    def fit(cls, tracked: Changes, requested: Changes) -> Calibration:
        """Fit to true renders.

        Args:
            tracked: changes that were read.
            requested: what was shown.

        Raises:
            InputError: there are none.
        """
        if not len(tracked):
            raise InputError("calibration: no true render to fit to")
        read, said = tracked.astype(np.float64), requested.astype(np.float64)
        count = read.shape[1]
        square = read.T @ read
        total = max(float(np.trace(square)), 1e-12)
        gain = float((read * said).sum()) / total
        held = _HELD * total / count * np.eye(count)
        matrix = np.linalg.solve(square + held, read.T @ said + gain * held)
        return cls(matrix, len(read))

    def __call__(self, changes: Changes) -> Float32[np.ndarray, "F 52"]:
        """Changes in terms of what is requested."""
        return (changes @ self.matrix).astype(np.float32)


def fit_calibration(
    folder: ScanFolder, watcher: Watcher, renders: int, expressions: int, seed: int = 0
) -> Calibration:
    """The map of following, fitted to true renders of training persons.

    Args:
        folder: of the data.
        watcher: looks at them.
        renders: of expressions, at most.
        expressions: of each person.
        seed: what chooses persons and expressions.
    """
    rng = np.random.default_rng([seed, 1])
    each = min(expressions, folder.expressions - 1)
    people = max(1, round(renders / max(each, 1)))
    tracked, requested = [], []
    for number in rng.permutation(folder.training)[:people]:
        person = folder.person(int(number))
        entries = 1 + rng.permutation(folder.expressions - 1)[:each]
        faces = [FaceSurface(person.sdf[e], person.colour[e]) for e in (0, *entries)]
        neutral, *looks = watcher.looks(faces)
        tracked.append(changes(looks, neutral))
        requested.append(person.blendshapes[entries])
    return Calibration.fit(np.concatenate(tracked), np.concatenate(requested))


def correlation(found: Changes, wanted: Changes) -> float:
    """Of all values of some vectors; 0 where nothing changes in what was found.

    Args:
        found: F vectors.
        wanted: likewise.
    """
    a, b = found.astype(np.float64).ravel(), wanted.astype(np.float64).ravel()
    a, b = a - a.mean(), b - b.mean()
    length = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float(a @ b) / length if length > 1e-9 else 0.0


def explained(found: Changes, wanted: Changes) -> float:
    """1 - squared error / squared error of no change; below 0 where no change would be nearer."""
    nothing = float(np.square(wanted, dtype=np.float64).sum())
    error = float(np.square(found - wanted, dtype=np.float64).sum())
    return 1 - error / max(nothing, 1e-12)
