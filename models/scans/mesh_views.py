"""Pictures of a scanned mesh in which a face can be looked for, from where it may look.

Apps disagree about axes: a face may look along -z with y down (a camera's axes), along +z with y
up (ARKit's), or along any other axis with any of four sides up.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Final

import numpy as np
from jaxtyping import Float64

from ..mesh.triangle_mesh import TriangleMesh
from .frame import DepthFrame, Intrinsics
from .fusion import draw_mesh

_SIZE: Final = 384
_AWAY: Final = 3.0
"""Distance of the camera, in extents of the mesh."""
_CLAY: Final = (186, 152, 132)
_BACKDROP: Final = 235


def orientations() -> list[Float64[np.ndarray, "3 3"]]:
    """The 24 rotations from a mesh's axes to a camera's; a camera's and ARKit's first."""
    signs = list(product((1, -1), repeat=3))
    found = []
    for order in ((0, 1, 2), (0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0)):
        for sign in signs:
            matrix = np.eye(3)[list(order)] * np.array(sign)[:, None]
            if np.linalg.det(matrix) > 0:
                found.append(matrix)
    usual = [np.eye(3), np.diag([1.0, -1.0, -1.0])]
    rest = [m for m in found if not any(np.array_equal(m, u) for u in usual)]
    return usual + rest


def mesh_views(mesh: TriangleMesh) -> Iterator[DepthFrame]:
    """Shaded pictures with depth; ``head_from_camera`` of each is ``mesh_from_camera``.

    Args:
        mesh: mm, in any axes.
    """
    low, high = (np.quantile(mesh.vertices, q, axis=0).astype(np.float64) for q in (0.01, 0.99))
    centre, extent = (low + high) / 2, float((high - low).max())
    focal = 0.78 * _SIZE * _AWAY
    middle = (_SIZE - 1) / 2
    camera = Intrinsics(focal, focal, middle, middle, _SIZE, _SIZE)
    normals = mesh.vertex_normals()
    base = np.full((len(mesh.vertices), 3), _CLAY, np.float32)
    if mesh.colours is not None:
        base = mesh.colours.astype(np.float32)
    for rotation in orientations():
        pose = np.eye(4)
        pose[:3, :3] = rotation
        pose[:3, 3] = np.array([0.0, 0.0, _AWAY * extent]) - rotation @ centre
        towards = np.array([-0.3, -0.5, -0.81])
        shade = 0.55 + 0.5 * np.maximum(normals @ (rotation.T @ towards), 0)
        lit = np.clip(base * shade[:, None], 0, 255).astype(np.uint8)
        frame = draw_mesh(TriangleMesh(mesh.vertices, mesh.triangles, lit), camera, pose)
        assert frame.image is not None
        image = frame.image.copy()
        image[~np.isfinite(frame.depth)] = _BACKDROP
        yield DepthFrame(frame.depth, image, camera, frame.head_from_camera)
