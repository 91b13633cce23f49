"""Pictures of a face's surface from a camera that stays where it is."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from ..mesh.triangle_mesh import TriangleMesh
from ..render.scene import render
from ..render.surface import Lamp, Lights, Surface
from ..render.texture import linear_from_srgb, to_srgb
from .box import HIGH_MM, LOW_MM
from .frame import Intrinsics

_AWAY_MM = 900.0
_WIDTH_MM = 250.0
_BACKDROP = 0.05
_CLAY = (186, 152, 132)


@dataclass(frozen=True)
class FacePicture:
    """Draws surfaces of the head frame; the box's middle is in the picture's.

    Attributes:
        size: of the square picture, px; even.
    """

    size: int = 480

    @property
    def camera(self) -> Intrinsics:
        """What the pictures are taken with."""
        focal, middle = self.size * _AWAY_MM / _WIDTH_MM, (self.size - 1) / 2
        return Intrinsics(focal, focal, middle, middle, self.size, self.size)

    def draw(
        self, mesh: TriangleMesh, rotation: Float[np.ndarray, "3 3"] | None = None
    ) -> UInt8[np.ndarray, "S S 3"]:
        """One picture, BGR.

        Args:
            mesh: head frame, mm.
            rotation: camera_from_head; None: the face looks into the camera.
        """
        turn = np.eye(3) if rotation is None else rotation
        middle = np.array([0.0, (LOW_MM[1] + HIGH_MM[1]) / 2, (LOW_MM[2] + HIGH_MM[2]) / 2])
        placed = (mesh.vertices - middle) @ turn.T + (0.0, 0.0, _AWAY_MM)
        drawn = 2 * self.size
        camera = self.camera.resized(drawn, drawn)
        colours = mesh.colours
        if colours is None:
            colours = np.tile(np.array(_CLAY, np.uint8), (len(mesh.vertices), 1))
        surface = Surface(
            vertices=placed.astype(np.float32),
            triangles=mesh.triangles,
            colour=linear_from_srgb(colours),
            specular=0.0,
            two_sided=True,
        )
        lamp = Lamp(np.array([-0.4, -0.6, -1.0]), np.array([0.4, 0.4, 0.4]))
        backdrop = np.full((drawn, drawn, 3), _BACKDROP, np.float32)
        light = render([surface], camera, Lights.even(0.65, (lamp,)), backdrop).image
        small = cv2.resize(light, (self.size, self.size), interpolation=cv2.INTER_AREA)
        return to_srgb(np.asarray(small, np.float32))
