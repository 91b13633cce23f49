"""What the regressor says of one crop, decoded by the face model; fits are chosen from these."""

from __future__ import annotations

import msgspec
import numpy as np
from jaxtyping import Float64, UInt8

from ..models.face.crop import Crop, crop_from_landmarks

# A face that is really there fills about 1 / 1.414 of its crop, near its middle.
_LEAST_FILL, _MOST_FILL, _MOST_OFFSET = 0.35, 1.25, 0.4
_LEAST_PX = 14.0  # longer side of the box of a face that can be read at all
_LEAST_INSIDE = 0.25  # share of the box that lies within the frame


class Candidate(msgspec.Struct, frozen=True, eq=False):
    """What the network says of one crop.

    Attributes:
        crop: where it looked.
        presence: probability that a face is there; None where the network does not say.
        orthography: (3, 4) scaled rotation nearest to the network's matrix, crop px per mm.
        orthography_variance: (3, 4) of the network's matrix.
        shape: (40,) standard deviations.
        shape_variance: (40,) of these.
        expression: (10,) standard deviations.
        expression_variance: (10,) of these.
        blendshapes: (52,) in [0, 1]; None where the network does not say.
        landmarks_px: (68, 2) image px, under the network's matrix as it is: its slight shear and
            stretch are learned (0.05 to 0.1 of NME on real faces).
        conditions: (4,) of the crop, see :func:`.quality.conditions`.
        points_mm: (P, 3) the landmarks, then the points that stand for the mesh, head frame.
        box_xywh_px: tight box of the landmarks.
        pixels: (120, 120, 3) the crop's.
        variance_stated: whether the variances are the network's own, not assumed ones.
    """

    crop: Crop
    presence: float | None
    orthography: Float64[np.ndarray, "3 4"]
    orthography_variance: Float64[np.ndarray, "3 4"]
    shape: Float64[np.ndarray, " 40"]
    shape_variance: Float64[np.ndarray, " 40"]
    expression: Float64[np.ndarray, " 10"]
    expression_variance: Float64[np.ndarray, " 10"]
    blendshapes: Float64[np.ndarray, " 52"] | None
    landmarks_px: Float64[np.ndarray, "68 2"]
    conditions: Float64[np.ndarray, " 4"]
    points_mm: Float64[np.ndarray, "P 3"]
    box_xywh_px: tuple[float, float, float, float]
    pixels: UInt8[np.ndarray, "120 120 3"]
    variance_stated: bool = True

    @property
    def next_crop(self) -> Crop:
        """The nominal crop about these landmarks."""
        return crop_from_landmarks(self.landmarks_px)

    def shows_face(self, least: float) -> bool:
        """Whether the network says so; one that says nothing leaves it to the geometry."""
        return self.presence is None or self.presence >= least

    def plausible(self, width: int, height: int) -> bool:
        """Whether the landmarks lie in the crop as a face's do, and in the frame."""
        x, y, w, h = self.box_xywh_px
        fill = max(w, h) / self.crop.side
        offset = max(abs(x + w / 2 - self.crop.cx), abs(y + h / 2 - self.crop.cy))
        inside_x = min(x + w, width) - max(x, 0.0)
        inside_y = min(y + h, height) - max(y, 0.0)
        return (
            max(w, h) >= _LEAST_PX
            and _LEAST_FILL <= fill <= _MOST_FILL
            and offset <= _MOST_OFFSET * self.crop.side
            and inside_x > 0.0
            and inside_y > 0.0
            and inside_x * inside_y >= _LEAST_INSIDE * w * h
        )
