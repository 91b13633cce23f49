"""A picture of held-out people: a column a person, a row what was made of its first expression."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import UInt8

from .evaluation import Evaluated
from .pictures import stack_rows


def sheet(done: Sequence[Evaluated], count: int) -> UInt8[np.ndarray, "H W 3"]:
    """Neutral, truth, autoencoded truth, and what each contender generated, BGR.

    Args:
        done: persons.
        count: columns at most.
    """
    shown = done[:count]
    rows = list(shown[0].pictures)
    return stack_rows([(row, np.hstack([one.pictures[row] for one in shown])) for row in rows])
