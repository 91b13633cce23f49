"""Where the eyes look, by the ``eyeLook`` blendshapes."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, Float64

from ..models.face.names import BLENDSHAPE_INDEX, GAZE_DEG


class EyeAngles(NamedTuple):
    """Where an eye looks within the head, degrees.

    Attributes:
        right: > 0 towards the subject's right.
        up: > 0 up.
    """

    right: float
    up: float

    def direction(self) -> Float64[np.ndarray, " 3"]:
        """The unit vector along which the eye looks, head frame."""
        right, up = math.radians(self.right), math.radians(self.up)
        across = math.cos(up)
        return np.array([-math.sin(right) * across, -math.sin(up), -math.cos(right) * across])


def eye_angles(blendshapes: Float32[np.ndarray, " 52"]) -> tuple[EyeAngles, EyeAngles]:
    """Left and right eye, as mien's face model turns its eyes.

    A recorded packet of iFacialMocap has 35 to 40 degrees where mien's have 30 at 1.
    """
    angles = []
    for side, outwards in (("Left", -1.0), ("Right", 1.0)):
        out, into, up, down = (
            float(blendshapes[BLENDSHAPE_INDEX[f"eyeLook{way}{side}"]])
            for way in ("Out", "In", "Up", "Down")
        )
        angles.append(EyeAngles(outwards * (out - into) * GAZE_DEG, (up - down) * GAZE_DEG))
    return angles[0], angles[1]
