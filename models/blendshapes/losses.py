"""What the blendshapes' network minimises."""

from __future__ import annotations

from typing import Final

import numpy as np
import torch
from jaxtyping import Float32

from ..face.morphable import FaceModel
from ..face.names import BLENDSHAPE_INDEX, BLENDSHAPE_NAMES
from ..face.quadrature import Quadrature

_BLINK: Final = 2.0
"""Of the absolute error of a blink, where that of a direction of gaze counts 1."""
_ANGLE: Final = 1.5
"""Of each of the two angles of gaze."""
_CLOSED: Final = 0.75
"""A lid so far down hides where the eye looks."""
_HIDDEN: Final = 0.1
"""What the gaze of a closed eye counts."""
_OTHERS: Final = 4.0
"""Of the squared error of another blendshape."""
_POINTS: Final = 0.5
"""Of the mean distance, mm, of the points that the blendshapes move."""

SIDES: Final = ("Left", "Right")
GAZE: Final = {
    way: [BLENDSHAPE_INDEX[f"eyeLook{way}{side}"] for side in SIDES]
    for way in ("Out", "In", "Up", "Down")
}
"""Columns of both eyes' gaze."""
BLINK: Final = [BLENDSHAPE_INDEX["eyeBlink" + side] for side in SIDES]
LOOK: Final = [column for way in GAZE.values() for column in way]
OTHERS: Final = [i for i in range(len(BLENDSHAPE_NAMES)) if i not in (*BLINK, *LOOK)]
"""Columns of brows, cheeks, jaw, mouth and nose, and of lids that squint or are wide open."""


class BlendshapeLoss:
    """Errors of blendshapes, of the angles of gaze, and of the points of the face.

    Of blinks and gaze absolute errors: what cannot be seen is guessed as the median, and what is
    seen stays sharp. Of the rest squares: most of the time they are nothing, which would be the
    median of whatever is hard to see, and a network that has come to say nothing learns no more.

    Args:
        model: the face model whose points the blendshapes move.
    """

    def __init__(self, model: FaceModel) -> None:
        self._points = torch.from_numpy(moved_points(model))

    def __call__(
        self, said: Float32[torch.Tensor, "B 52"], true: Float32[torch.Tensor, "B 52"]
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """The sum, and its terms."""
        error = said - true
        seen = torch.where(true[:, BLINK] < _CLOSED, 1.0, _HIDDEN)
        terms = {"blink": _BLINK * error[:, BLINK].abs().mean()}
        looks = error[:, LOOK].abs().unflatten(1, (len(GAZE), len(SIDES)))
        terms["gaze"] = (looks.sum(1) * seen).mean()
        for name, plus, minus in (("sideways", "Out", "In"), ("up", "Up", "Down")):
            angle = error[:, GAZE[plus]] - error[:, GAZE[minus]]
            terms[name] = _ANGLE * (angle.abs() * seen).mean()
        terms["others"] = _OTHERS * error[:, OTHERS].square().sum(1).mean() / 2
        moved = (error @ self._points.flatten(1)).view(len(error), -1, 3)
        terms["points"] = _POINTS * moved.square().sum(2).add(1e-4).sqrt().mean()
        total = torch.stack(list(terms.values())).sum()
        return total, {name: term.detach() for name, term in terms.items()}


def moved_points(model: FaceModel) -> Float32[np.ndarray, "52 K 3"]:
    """Where a blendshape at 1 moves the landmarks and the points that stand for the mesh, mm."""
    points = Quadrature.of(model).points.blendshape_basis
    both = np.concatenate([model.landmarks().blendshape_basis, points], 1)
    return np.ascontiguousarray(both, np.float32)
