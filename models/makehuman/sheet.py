"""A picture of the face model: its first components at -3 and +3 deviations."""

from __future__ import annotations

import cv2
import numpy as np
from jaxtyping import Float32, UInt8

from ..face.camera import Camera
from ..face.morphable import FaceModel
from ..render.scene import render
from ..render.surface import Lamp, Lights, Surface
from ..render.texture import to_srgb

_TILE = 192
_DISTANCE_MM = 900.0


def draw_face(
    model: FaceModel, vertices: Float32[np.ndarray, "N 3"], yaw_deg: float = 0.0, size: int = _TILE
) -> UInt8[np.ndarray, "S S 3"]:
    """A clay render of vertices of the face model (head frame, mm), BGR."""
    a = np.radians(yaw_deg)
    turn = np.array([[np.cos(a), 0, np.sin(a)], [0, 1, 0], [-np.sin(a), 0, np.cos(a)]])
    # Turned about the middle of the head, not the nose, so that it stays in the picture.
    placed = (vertices - [0, 25, 60]) @ turn.T + [0, 0, _DISTANCE_MM]
    focal = size * _DISTANCE_MM / 250
    camera = Camera(focal, focal, (size - 1) / 2, (size - 1) / 2, size, size)
    clay = np.full((len(vertices), 3), 0.55, np.float32)
    surface = Surface(
        placed.astype(np.float32), model.triangles, colour=clay, two_sided=True, roughness=0.6
    )
    lamp = Lamp(np.array([-0.5, -0.6, -1.0]), np.full(3, 0.9), casts_shadow=False)
    background = np.ones((size, size, 3), np.float32)
    return to_srgb(render([surface], camera, Lights.even(0.25, (lamp,)), background).image)


def component_sheet(model: FaceModel, components: int = 6) -> UInt8[np.ndarray, "H W 3"]:
    """Rows: shape at -3, +3, expression at -3, +3 deviations; columns: the first components."""
    rows = []
    for basis, name in ((model.shape_basis, "shape"), (model.expression_basis, "expression")):
        for sign in (-3, 3):
            tiles = []
            for k in range(components):
                tile = draw_face(model, model.mean + sign * basis[k], 25.0)
                text = f"{name} {k} {sign:+d}"
                cv2.putText(tile, text, (4, 12), cv2.FONT_HERSHEY_SIMPLEX, 0.36, (0, 0, 0), 1)
                tiles.append(tile)
            rows.append(np.concatenate(tiles, 1))
    return np.concatenate(rows)
