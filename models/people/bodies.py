"""One synthetic body as a record of training data."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float32, Float64
from scipy.spatial import KDTree

from ..face.rotation import matrix_from_yaw_pitch_roll
from ..mesh.triangle_mesh import TriangleMesh
from ..pifuhd.framing import CUBE_MM
from ..render.surface import Surface
from .body_dresser import BodyDresser, DressedBody
from .body_solid import CELL_MM, BodySolid, unite
from .points import sample_points
from .record import Subject
from .views import shoot

SIDE_SHARE = 1.15
"""Side of a body's cube over its height."""


def make_body(
    dresser: BodyDresser,
    rng: np.random.Generator,
    identity: int,
    views: int,
    size: int,
    cell: float = CELL_MM,
) -> Subject:
    """Draw a body, its true solid, its pictures and its points.

    The subject frame: x to the subject's left, y down, z backwards, mm.

    Args:
        dresser: draws bodies.
        rng: source of chance; the subject is a function of it.
        identity: number of the person.
        views: pictures.
        size: of a picture, px.
        cell: of the grid that the solid is drawn from, mm.
    """
    body = dresser.sample(rng)
    solid = unite(body.closed, body.cloth, cell)
    cubes = np.stack([cube_of_body(solid.mesh, turn) for turn in sample_rotations(rng, views)])
    surface = painted_body(body, solid, rng)
    # Lights and shadows are set for a head's cube: the body is photographed as small as that.
    shots = [shoot([surface], solid.mesh, cube, CUBE_MM, size, rng) for cube in cubes]
    low, high = solid.mesh.bounds()
    height_mm = float(high[1] - low[1])
    return Subject(
        mesh=solid.mesh,
        samples=sample_points(solid.mesh, cubes, height_mm, rng),
        views=shots,
        height_mm=height_mm,
        identity=identity,
    )


def sample_rotations(rng: np.random.Generator, count: int) -> Float64[np.ndarray, "V 3 3"]:
    """Rotations of a body before the camera: all round, more in front; the first is."""
    front = rng.random(count) < 0.5
    yaw = np.where(front, rng.normal(0, 28, count), rng.uniform(-180, 180, count))
    yaw[0] = rng.normal(0, 12)
    pitch = np.clip(rng.normal(0, 5, count), -15, 15)
    roll = np.clip(rng.normal(0, 2.5, count), -8, 8)
    angles = np.stack([yaw, pitch, roll], 1)
    return np.asarray(matrix_from_yaw_pitch_roll(angles), np.float64)


def cube_of_body(
    mesh: TriangleMesh, rotation: Float64[np.ndarray, "3 3"]
) -> Float32[np.ndarray, "3 4"]:
    """The map from the subject frame into the cube of a view.

    Its centre is that of the body's box, its side 1.15 of the body's height, or more for a body
    that reaches farther sideways than up.
    """
    low, high = (corner.astype(np.float64) for corner in mesh.bounds())
    centre = (low + high) / 2
    # About the upright through the box's middle.
    aside = mesh.vertices[:, [0, 2]] - centre[[0, 2]]
    reach = 2 * float(np.sqrt((aside**2).sum(1).max()))
    side = SIDE_SHARE * max(float(high[1] - low[1]), reach)
    turn = rotation * (2 / side)
    return np.c_[turn, -turn @ centre].astype(np.float32)


def painted_body(body: DressedBody, solid: BodySolid, rng: np.random.Generator) -> Surface:
    """The true surface in the colours of what is nearest: picture and truth are one."""
    points = np.concatenate([part.points for part in body.painted])
    colours = np.concatenate([part.colours for part in body.painted])
    _, nearest = KDTree(points).query(solid.mesh.vertices, workers=1)
    return Surface(
        solid.mesh.vertices,
        solid.mesh.triangles,
        normals=solid.mesh.vertex_normals(),
        colour=np.ascontiguousarray(colours[nearest]),
        occlusion=solid.occlusion,
        specular=float(rng.uniform(0.005, 0.04)),
        roughness=float(rng.uniform(0.45, 0.8)),
    )
