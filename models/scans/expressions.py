"""Which expressions a person's true faces show: singles, pairs, mixtures, moments of motion."""

from __future__ import annotations

from typing import Final

import numpy as np
from jaxtyping import Float32

from ..face.names import BLENDSHAPE_INDEX, BLENDSHAPE_NAMES, N_BLENDSHAPES
from ..makehuman.expression import sample_expression
from ..noise.motion import NaturalMotion

_SHARES: Final = (0.35, 0.15, 0.3, 0.2)
"""Of singles, pairs, mixtures and moments of natural motion."""
_STRIDE: Final = 23
"""Singles step through the names by it (it has no factor in common with 52), so all come up."""
_MOTION_S: Final = 12.0


def sample_expressions(
    rng: np.random.Generator, person: int, count: int
) -> Float32[np.ndarray, "E 52"]:
    """Expressions of one person; the first is the neutral face.

    Args:
        rng: what draws.
        person: number of the person; single units take turns over people.
        count: of expressions, the neutral one included.
    """
    kinds = rng.choice(len(_SHARES), size=max(count - 1, 0), p=_SHARES)
    singles = int((kinds == 0).sum())
    first = person * singles
    motion = NaturalMotion(rng.spawn(1)[0], _MOTION_S) if (kinds == 3).any() else None
    rows = [np.zeros(N_BLENDSHAPES, np.float32)]
    for kind in kinds:
        if kind == 0:
            rows.append(single((first * _STRIDE) % N_BLENDSHAPES, _strength(rng), rng))
            first += 1
        elif kind == 1:
            a, b = rng.choice(N_BLENDSHAPES, 2, replace=False)
            pair = np.maximum(
                single(int(a), _strength(rng), rng), single(int(b), _strength(rng), rng)
            )
            rows.append(_possible(pair))
        elif kind == 2 or motion is None:
            rows.append(sample_expression(rng))
        else:
            rows.append(motion.at(rng.uniform(1.0, _MOTION_S, 1)).blendshapes[0])
    return np.stack(rows).astype(np.float32)


def single(unit: int, value: float, rng: np.random.Generator) -> Float32[np.ndarray, " 52"]:
    """One unit, with what it cannot do without: lips close over an open jaw only."""
    row = np.zeros(N_BLENDSHAPES, np.float32)
    row[unit] = value
    name = BLENDSHAPE_NAMES[unit]
    if name == "mouthClose":
        row[BLENDSHAPE_INDEX["jawOpen"]] = min(1.0, value * float(rng.uniform(1.0, 1.2)))
    if name == "tongueOut":
        row[BLENDSHAPE_INDEX["jawOpen"]] = rng.uniform(0.35, 0.7)
    return row


def _strength(rng: np.random.Generator) -> float:
    return float(0.3 + 0.7 * rng.beta(1.6, 1.0))


def _possible(row: Float32[np.ndarray, " 52"]) -> Float32[np.ndarray, " 52"]:
    """Lids that blink are not widened or squinted too, as elsewhere."""
    for side in ("Left", "Right"):
        closed = row[BLENDSHAPE_INDEX["eyeBlink" + side]]
        for other in ("eyeSquint", "eyeWide"):
            row[BLENDSHAPE_INDEX[other + side]] *= 1 - closed
    return row
