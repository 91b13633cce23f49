"""One synthetic head as a record of training data."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from jaxtyping import Float, Float32

from ..mesh.triangle_mesh import TriangleMesh
from ..pifuhd.framing import CUBE_MM, cube_from_head
from ..render.surface import Surface
from ..render.texture import Texture
from ..synthetic.eyes import srgb
from .dressed import DressedHead, HeadDresser
from .points import sample_points
from .record import Subject
from .solid import Solid, solidify
from .views import sample_head_rotations, shoot

_MARGIN_MM = 12.0
_BELOW_MM = np.array([0.0, 80.0, 0.0])
"""The trunk goes on below all cubes: tilted views see it farther down than their cubes reach."""


def make_head(
    dresser: HeadDresser, rng: np.random.Generator, identity: int, views: int, size: int
) -> Subject:
    """Draw a head, its true solid, its pictures and its points; subject frame: the head frame.

    Args:
        dresser: draws heads.
        rng: source of chance; the subject is a function of it.
        identity: number of the person.
        views: pictures.
        size: of a picture, px.
    """
    head = dresser.sample(rng)
    cubes = np.stack([cube_from_head(turn) for turn in sample_head_rotations(rng, views)])
    low, high = bounds_of_cubes(cubes)
    solid = solidify(head, low - _MARGIN_MM, high + _MARGIN_MM + _BELOW_MM)
    painted = painted_head(head, solid, rng)
    shots = [shoot(painted, solid.mesh, cube, CUBE_MM, size, rng) for cube in cubes]
    height_mm = height_in_cube(solid.mesh, cube_from_head(np.eye(3)), CUBE_MM)
    return Subject(
        mesh=solid.mesh,
        samples=sample_points(solid.mesh, cubes, height_mm, rng),
        views=shots,
        height_mm=height_mm,
        identity=identity,
    )


def bounds_of_cubes(
    cubes: Float[np.ndarray, "V 3 4"],
) -> tuple[Float[np.ndarray, " 3"], Float[np.ndarray, " 3"]]:
    """The box of the subject frame, mm, that holds the cubes of all views."""
    corners = np.stack(np.meshgrid(*[[-1.0, 1.0]] * 3, indexing="ij"), -1).reshape(-1, 3)
    inverse = np.linalg.inv(cubes[:, :, :3].astype(np.float64))
    placed = np.einsum("vij,vkj->vki", inverse, corners[None] - cubes[:, None, :, 3])
    return placed.min((0, 1)), placed.max((0, 1))


def height_in_cube(
    mesh: TriangleMesh, cube_from_subject: Float[np.ndarray, "3 4"], cube_mm: float
) -> float:
    """How high an object is within a cube, mm."""
    y = mesh.vertices @ cube_from_subject[1, :3] + cube_from_subject[1, 3]
    return float((min(y.max(), 1.0) - max(y.min(), -1.0)) * cube_mm / 2)


def painted_head(head: DressedHead, solid: Solid, rng: np.random.Generator) -> list[Surface]:
    """What a picture of a head shows: hair that hides what is below, on dark ground."""
    held = [solid.holds(surface) for surface in (*head.hair, *head.beard)]
    hair = [dense(s, float(rng.uniform(1.5, 6))) for s in held if s is not None]
    painted = [*head.features, *head.mouth, *head.cloth, *head.hood, *hair]
    if solid.under_hair is not None:
        ground = solid.under_hair
        shade = rng.uniform(0.25, 0.7) * np.exp(rng.normal(0, 0.2, len(ground.vertices)))
        colour = (srgb(head.person.hair) * shade[:, None]).astype(np.float32)
        painted.append(
            Surface(ground.vertices, ground.triangles, colour=colour, specular=0.01, roughness=0.6)
        )
    return painted


def dense(surface: Surface, factor: float) -> Surface:
    """Hair with fewer gaps: the opacity of its texture times a factor."""
    texture = surface.texture
    if texture is None or texture.opaque:
        return surface
    alpha = texture.texels[:, 3:]
    more: Float32[np.ndarray, "T 1"] = np.clip(alpha * factor, 0.0, 1.0)
    texels = texture.texels.copy()
    texels[:, :3] *= more / np.maximum(alpha, 1e-4)
    texels[:, 3:] = more
    return replace(surface, texture=Texture(texels, texture.levels, bool(more.min() >= 1)))
