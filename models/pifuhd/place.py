"""Where the cube of a reconstruction stands before the camera, and what its points are in mm.

The networks are trained on parallel views of a cube. In a photograph the cube stands on the line of
sight through the middle of what is reconstructed; its front face looks at the camera. A pixel of
the crop is a ray of the photograph, and a point that the network puts at that pixel and at depth
``d`` mm behind the cube's middle lies on this ray, ``d`` mm farther along the line of sight. So the
mesh falls on the photograph where it came from, whatever the perspective.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from jaxtyping import Float, Float32, Float64

from ..errors import InputError
from ..face.rotation import matrix_from_yaw_pitch_roll, rotation_between
from .pose import head_from_cube

_FORWARD: Final = np.array([0.0, 0.0, 1.0])
NEAREST_SHARE: Final = 0.02
"""Of the distance to the cube's middle: nothing is placed nearer to the camera than this."""


@dataclass(frozen=True)
class PictureCube:
    """A cube before a camera, and the square crop of the picture that shows it.

    Cube coordinates: [-1, 1]^3, x to the crop's right, y down, z away from the camera.

    Attributes:
        camera_from_cube: 3x3 rotation; its last column is the line of sight to the cube's middle.
        distance_mm: of the cube's middle from the camera.
        side_mm: of the cube.
        camera_matrix: 3x3, px, of the whole picture.

    Raises:
        InputError: a length is not positive, or an array has another shape.
    """

    camera_from_cube: Float64[np.ndarray, "3 3"]
    distance_mm: float
    side_mm: float
    camera_matrix: Float64[np.ndarray, "3 3"]

    def __post_init__(self) -> None:
        if not (self.distance_mm > 0.0 and self.side_mm > 0.0):
            raise InputError(
                f"a cube of {self.side_mm} mm at {self.distance_mm} mm: expected lengths above 0"
            )

    @classmethod
    def looking_at(
        cls,
        centre_mm: Float[np.ndarray, " 3"],
        side_mm: float,
        camera_matrix: Float[np.ndarray, "3 3"],
        roll_deg: float = 0.0,
    ) -> PictureCube:
        """A cube around a point of the camera frame, that faces the camera.

        Args:
            centre_mm: its middle, camera frame.
            side_mm: of the cube.
            camera_matrix: of the picture, px.
            roll_deg: by which it is turned clockwise in the picture.

        Raises:
            InputError: the point is not before the camera.
        """
        centre = np.asarray(centre_mm, dtype=np.float64)
        if not (np.isfinite(centre).all() and centre[2] > 0.0):
            raise InputError("what is to be reconstructed is not before the camera")
        rotation = rotation_between(_FORWARD, centre) @ matrix_from_yaw_pitch_roll(
            np.array([0.0, 0.0, roll_deg])
        )
        matrix = np.asarray(camera_matrix, dtype=np.float64)
        return cls(rotation, float(np.linalg.norm(centre)), side_mm, matrix)

    @property
    def centre_mm(self) -> Float64[np.ndarray, " 3"]:
        """The cube's middle, camera frame."""
        return self.camera_from_cube[:, 2] * self.distance_mm

    def image_from_crop(self, size: int) -> Float64[np.ndarray, "3 3"]:
        """The homography from pixels of a crop of ``size`` px to pixels of the picture.

        Pixel centres are at integers in both.
        """
        step = self.side_mm / (size * self.distance_mm)  # of a pixel, on the plane at distance 1
        edge = 0.5 * (1.0 - size) * step
        rays = np.array([[step, 0.0, edge], [0.0, step, edge], [0.0, 0.0, 1.0]])
        return self.camera_matrix @ self.camera_from_cube @ rays

    def camera_from_cube_points(
        self, points: Float[np.ndarray, "P 3"]
    ) -> Float64[np.ndarray, "P 3"]:
        """Cube coordinates to the camera frame, mm.

        A point (x, y, z) lies at depth ``distance + z side / 2`` along the line of sight, on the
        ray that meets the plane through the cube's middle at ``(x, y) side / 2``.
        """
        half = 0.5 * self.side_mm
        points = np.asarray(points, dtype=np.float64)
        depth = np.maximum(self.distance_mm + half * points[:, 2], NEAREST_SHARE * self.distance_mm)
        sideways = points[:, :2] * (half / self.distance_mm * depth)[:, None]
        return np.column_stack([sideways, depth]) @ self.camera_from_cube.T

    def cube_from_camera_points(
        self, points_mm: Float[np.ndarray, "P 3"]
    ) -> Float64[np.ndarray, "P 3"]:
        """The inverse of :meth:`camera_from_cube_points`; points must lie before the camera."""
        half = 0.5 * self.side_mm
        turned = np.asarray(points_mm, dtype=np.float64) @ self.camera_from_cube
        depth = turned[:, 2]
        plane = turned[:, :2] / depth[:, None] * (self.distance_mm / half)
        return np.column_stack([plane, (depth - self.distance_mm) / half])

    def crop_points(
        self, points_mm: Float[np.ndarray, "P 3"], size: int
    ) -> Float64[np.ndarray, "P 2"]:
        """Pixels of points of the camera frame, in a crop of ``size`` px."""
        cube = self.cube_from_camera_points(points_mm)
        return ((cube[:, :2] + 1.0) * size - 1.0) / 2.0

    def head_from_cube(
        self, camera_from_head: Float[np.ndarray, "4 4"]
    ) -> Float32[np.ndarray, "3 4"]:
        """From the cube to the axes of a fitted head (:mod:`.pose`), perspective aside.

        Args:
            camera_from_head: of the fit, mm.
        """
        return head_from_cube(camera_from_head, self.camera_from_cube, self.centre_mm, self.side_mm)

    def scaled(self, factor: float) -> PictureCube:
        """The same line of sight with a larger or smaller cube."""
        return replace(self, side_mm=self.side_mm * factor)


def pixels(
    points_mm: Float[np.ndarray, "P 3"], camera_matrix: Float[np.ndarray, "3 3"]
) -> Float64[np.ndarray, "P 2"]:
    """Pixels of points of the camera frame; z must be positive."""
    projected = np.asarray(points_mm, dtype=np.float64) @ np.asarray(camera_matrix).T
    return projected[:, :2] / projected[:, 2:]
