"""How the cube in which a head is reconstructed sits on the head.

CUBE coordinates run from -1 to 1: x to the picture's right, y down, z away from the viewer, by
parallel projection along the line of sight. The cube's centre is a fixed point of the head frame
and its side a fixed length, so a pose of the head fixes both the crop of a picture and the place of
what is reconstructed from it.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Float32, Float64

from ..errors import InputError
from ..face.rotation import rotation_between

CUBE_MM = 420.0
"""Side of a head's cube: hair fits at the top, the lower face cuts the upper chest."""
CENTRE_MM: Float64[np.ndarray, " 3"] = np.array([0.0, 40.0, 90.0])
"""The cube's centre in the head frame: 4 cm below the sellion, 9 cm into the head."""
CENTRE_MM.flags.writeable = False
_FORWARD = np.array([0.0, 0.0, 1.0])


def cube_from_head(
    rotation: Float[np.ndarray, "3 3"], cube_mm: float = CUBE_MM
) -> Float32[np.ndarray, "3 4"]:
    """The map from the head frame (mm) into the cube.

    Args:
        rotation: of the head relative to the line of sight (:func:`sight_from_head`; for a camera
            far away it is that of ``camera_from_head``).
        cube_mm: side of the cube.
    """
    if not cube_mm > 0:
        raise InputError(f"the cube's side is {cube_mm} mm, expected more than 0")
    turn = np.asarray(rotation, np.float64) * (2 / cube_mm)
    return np.c_[turn, -turn @ CENTRE_MM].astype(np.float32)


def centre_in_camera(
    rotation: Float[np.ndarray, "3 3"], translation_mm: Float[np.ndarray, " 3"]
) -> Float64[np.ndarray, " 3"]:
    """The cube's centre in the camera frame, mm, of a head's pose ``camera_from_head``."""
    return np.asarray(rotation, np.float64) @ CENTRE_MM + translation_mm


def sight_from_head(
    rotation: Float[np.ndarray, "3 3"], translation_mm: Float[np.ndarray, " 3"]
) -> Float64[np.ndarray, "3 3"]:
    """The head's rotation relative to the line of sight through the cube's centre.

    Args:
        rotation: of ``camera_from_head``, relative to the camera's axes.
        translation_mm: (3,) place of the head's origin in the camera frame.

    Raises:
        InputError: the cube's centre is not in front of the camera.
    """
    centre = centre_in_camera(rotation, translation_mm)
    if not centre[2] > 0:
        raise InputError(f"the head's centre is at depth {centre[2]:.0f} mm, expected more than 0")
    return rotation_between(centre, _FORWARD) @ np.asarray(rotation, np.float64)
