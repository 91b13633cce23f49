"""Where a point of the cube lies in the head's own axes, as a face fit tells it.

HEAD UNITS: the axes of the head frame, the origin at the cube's middle
(:data:`~.framing.CENTRE_MM`), half a head's cube as the unit (210 mm). A head's nose has the same
coordinates there however the head is turned, placed or cropped: what is common to all heads can be
learnt as a function of them (after JIFF, Cao et al. 2022).

All transforms here are similarities, (3, 4): a linear part and an offset. ``head_from_cube`` takes
points of the cube of :class:`~.network.Pifuhd` to head units.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from jaxtyping import Float, Float32, Float64

from ..face.rotation import matrix_from_rotation_vector
from .augment import Placement
from .framing import CENTRE_MM, CUBE_MM

_HALF_MM: Final = CUBE_MM / 2
_ORIGIN: Final = -CENTRE_MM / _HALF_MM
"""The head frame's origin (between the eyes), head units: fits are surest of it."""
_MIRROR: Final = np.diag([-1.0, 1.0, 1.0])


@dataclass(frozen=True)
class FitError:
    """How far mien's own fit of a face is off; standard deviations.

    Measured against 87 pictures of ``mien synthesize heads`` (512 px, 12 degrees across).

    Attributes:
        turn_deg: about the picture's axes: nodding, turning, rolling.
        scale: as a share.
        shift: right and down, of the head's origin; in halves of the cube's side.
    """

    turn_deg: tuple[float, float, float] = (3.5, 2.5, 1.3)
    scale: float = 0.03
    shift: float = 0.01

    def strayed(
        self, cube_from_head: Float64[np.ndarray, "3 4"], rng: np.random.Generator
    ) -> Float64[np.ndarray, "3 4"]:
        """What a fit would say instead of the truth.

        The head turns and grows about its origin. Along the line of sight it stays: a fit places
        the cube itself, and there the cube's coordinates and the fit's cannot disagree.

        Args:
            cube_from_head: from head units into the cube.
            rng: for everything random.
        """
        turn = matrix_from_rotation_vector(np.deg2rad(self.turn_deg) * rng.standard_normal(3))
        change = np.exp(self.scale * rng.standard_normal()) * turn
        origin = cube_from_head[:, :3] @ _ORIGIN + cube_from_head[:, 3]
        moved = origin + np.append(self.shift * rng.standard_normal(2), 0.0)
        offset = change @ (cube_from_head[:, 3] - origin) + moved
        return np.c_[change @ cube_from_head[:, :3], offset]


def told_pose(
    cube_from_subject: Float[np.ndarray, "3 4"],
    placement: Placement,
    error: FitError,
    rng: np.random.Generator,
) -> Float32[np.ndarray, "3 4"]:
    """``head_from_cube`` of a picture in its place, about as a face fit would have it.

    Args:
        cube_from_subject: from the head frame, mm, into the cube of the original picture.
        placement: where the original lies in the crop; of a mirrored one the mirrored head is told.
        error: of the fit.
        rng: for everything random.
    """
    moved = placement.affine
    side = _MIRROR if placement.mirrored else np.eye(3)
    linear = cube_from_subject[:, :3].astype(np.float64)
    offset = linear @ CENTRE_MM + cube_from_subject[:, 3]
    cube_from_head = np.c_[
        moved[:, :3] @ (_HALF_MM * linear) @ side, moved[:, :3] @ offset + moved[:, 3]
    ]
    return inverse(error.strayed(cube_from_head, rng)).astype(np.float32)


def head_from_cube(
    camera_from_head: Float[np.ndarray, "4 4"],
    camera_from_cube: Float[np.ndarray, "3 3"],
    centre_mm: Float[np.ndarray, " 3"],
    side_mm: float,
) -> Float32[np.ndarray, "3 4"]:
    """The transform of a fitted face, perspective aside.

    Args:
        camera_from_head: of the fit, mm.
        camera_from_cube: rotation of the cube before the camera.
        centre_mm: the cube's middle, camera frame.
        side_mm: of the cube.
    """
    turn = np.asarray(camera_from_head[:3, :3], np.float64).T
    linear = turn @ np.asarray(camera_from_cube, np.float64) * (side_mm / 2 / _HALF_MM)
    offset = (turn @ (centre_mm - camera_from_head[:3, 3]) - CENTRE_MM) / _HALF_MM
    return np.c_[linear, offset].astype(np.float32)


def inverse(similarity: Float64[np.ndarray, "3 4"]) -> Float64[np.ndarray, "3 4"]:
    """The way back of a (3, 4) transform."""
    linear = np.linalg.inv(similarity[:, :3])
    return np.c_[linear, -linear @ similarity[:, 3]]
