"""What is to be reconstructed: the face that is known of a person, and the settings."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final, Literal

import numpy as np
from jaxtyping import Float, Float64, UInt8

Subject = Literal["head", "body"]

USUAL_HEAD_MM: Final = 600.0
"""Distance from which heads are taken to be photographed."""


@dataclass(frozen=True)
class Face:
    """A face in a picture.

    Attributes:
        camera_from_head: 4x4, mm.
        landmarks_px: 68 points in the picture.
        camera_matrix: 3x3, px: the pose holds for this camera.
    """

    camera_from_head: Float64[np.ndarray, "4 4"]
    landmarks_px: Float[np.ndarray, "68 2"]
    camera_matrix: Float64[np.ndarray, "3 3"]

    @property
    def width_px(self) -> float:
        """Of the box around the landmarks."""
        return float(np.ptp(self.landmarks_px[:, 0]))

    def from_afar(self) -> Face:
        """The same picture of the face taken from a usual distance with a longer lens."""
        factor = USUAL_HEAD_MM / float(self.camera_from_head[2, 3])
        pose, matrix = self.camera_from_head.copy(), self.camera_matrix.copy()
        matrix[:2, :2] *= factor
        pose[2, 3] *= factor
        return replace(self, camera_from_head=pose, camera_matrix=matrix)


@dataclass(frozen=True)
class Settings:
    """How a mesh is made.

    Attributes:
        subject: a head in its cube, or a whole body.
        resolution: cells along an edge of the cube.
        memory_mb: that may be taken, without the network's weights and the picture.
        box: x, y, w, h of the person, px; None: found.
        mask: of the person, of the picture's size, 0 to 255; None: found.
        assumed_camera: whether the camera is a guess.
    """

    subject: Subject = "head"
    resolution: int = 256
    memory_mb: float = 4096.0
    box: tuple[float, float, float, float] | None = None
    mask: UInt8[np.ndarray, "H W"] | None = None
    assumed_camera: bool = False
