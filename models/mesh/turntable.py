"""Pictures of a mesh that turns about its upright axis."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import UInt8

from ..errors import InputError
from ..render import Lamp, Lights, Surface, linear_from_srgb, render, to_srgb
from .triangle_mesh import TriangleMesh

CLAY = (0.62, 0.6, 0.57)
"""Linear RGB of meshes without colours."""
BACKDROP = 0.82
"""Linear grey behind the mesh."""
AWAY = 4.0
"""The camera's distance, in radii of the mesh's sphere."""


@dataclass(frozen=True)
class _Camera:
    """A pinhole on the axis of a square picture."""

    fx: float
    fy: float
    cx: float
    cy: float
    width: int
    height: int


def turntable(
    mesh: TriangleMesh, size: int, frames: int, *, clay: bool = False
) -> Iterator[UInt8[np.ndarray, "S S 3"]]:
    """A full turn, starting with the view along +z; what is right comes round to the front.

    Args:
        mesh: x right, y down, z away from the viewer of the first picture; any unit.
        size: pixels along a side.
        frames: pictures of the turn.
        clay: leave the mesh's colours out.

    Yields:
        (S, S, 3) sRGB bytes in BGR order, under a soft lamp from the upper left and ambient light.
    """
    for k in range(frames):
        yield view(mesh, size, 360.0 * k / frames, clay=clay)


def view(
    mesh: TriangleMesh,
    size: int,
    yaw_deg: float = 0.0,
    *,
    clay: bool = False,
    sphere: tuple[tuple[float, float, float], float] | None = None,
) -> UInt8[np.ndarray, "S S 3"]:
    """One picture of :func:`turntable`, with the mesh turned by ``yaw_deg`` about y.

    Args:
        mesh: see there.
        size: pixels along a side.
        yaw_deg: the turn.
        clay: leave the mesh's colours out.
        sphere: centre and radius of what the picture shows; default: around the whole mesh.

    Raises:
        InputError: the mesh has no triangles.
    """
    if not len(mesh.triangles):
        raise InputError("mesh: no triangles to draw")
    if sphere is None:
        low, high = (bound.astype(np.float64) for bound in mesh.bounds())
        middle = (low + high) / 2
        radius = max(float(np.linalg.norm(mesh.vertices - middle, axis=1).max()), 1e-9)
    else:
        middle, radius = np.array(sphere[0]), sphere[1]
    cosine, sine = np.cos(np.radians(yaw_deg)), np.sin(np.radians(yaw_deg))
    turn = np.array([[cosine, 0, sine], [0, 1, 0], [-sine, 0, cosine]])
    # The renderer's lengths are mm: the mesh is drawn as if its sphere had a radius of 100 mm.
    placed = ((mesh.vertices - middle) @ turn.T) * (100 / radius) + (0, 0, 100 * AWAY)
    colour = np.full((len(mesh.vertices), 3), CLAY, np.float32)
    if mesh.colours is not None and not clay:
        colour = linear_from_srgb(mesh.colours)
    surface = Surface(
        vertices=placed.astype(np.float32),
        triangles=mesh.triangles,
        colour=colour,
        specular=0.0,
        two_sided=True,
    )
    lamp = Lamp(np.array([-0.45, -0.7, -1.0]), np.array([0.75, 0.75, 0.75]))
    drawn = 2 * size
    focal = drawn / 2 * np.sqrt(AWAY**2 - 1) * 0.97
    camera = _Camera(focal, focal, drawn / 2 - 0.5, drawn / 2 - 0.5, drawn, drawn)
    backdrop = np.full((drawn, drawn, 3), BACKDROP, np.float32)
    image = render([surface], camera, Lights.even(0.35, (lamp,)), backdrop).image
    return to_srgb(cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA))
