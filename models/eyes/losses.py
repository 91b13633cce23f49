"""What the eyes' network minimises."""

from __future__ import annotations

from typing import Final

import torch
from jaxtyping import Float32

from ..face.eye_views import BLINK, EYE_UNITS, LOOK_DOWN, LOOK_IN, LOOK_OUT, LOOK_UP

_WEIGHTS: Final = {"eyeBlink": 2.0, "eyeSquint": 0.5, "eyeWide": 0.5}
"""Of the absolute error of a blendshape; 1 where none is given."""
_GAZE: Final = 1.5
_CLOSED: Final = 0.75
"""A lid so far down hides where the eye looks."""
_HIDDEN: Final = 0.1
"""What the gaze of a closed eye counts."""


def eye_loss(
    said: Float32[torch.Tensor, "B 2 7"], true: Float32[torch.Tensor, "B 2 7"]
) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """Mean absolute errors of the blendshapes and of the two angles of gaze; and its terms.

    Absolute, so that what cannot be seen is guessed as the median and what is seen stays sharp.
    """
    error = (said - true).abs()
    seen = torch.where(true[..., BLINK] < _CLOSED, 1.0, _HIDDEN)
    total = said.new_zeros(())
    terms = {}
    for column, name in enumerate(EYE_UNITS):
        one = error[..., column]
        if "Look" in name:
            one = one * seen
        terms[name] = one.mean()
        total = total + _WEIGHTS.get(name, 1.0) * terms[name]
    for name, plus, minus in (("sideways", LOOK_OUT, LOOK_IN), ("up", LOOK_UP, LOOK_DOWN)):
        angle = (said[..., plus] - said[..., minus]) - (true[..., plus] - true[..., minus])
        terms[name] = (angle.abs() * seen).mean()
        total = total + _GAZE * terms[name]
    return total, {name: term.detach() for name, term in terms.items()}
