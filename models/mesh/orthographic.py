"""What parallel cameras see of a mesh from the front and from the back: masks, normals, depth."""

from __future__ import annotations

from dataclasses import dataclass
from typing import no_type_check

import numpy as np
from jaxtyping import Bool, Float32
from numba import njit

from ..render.raster import SUBPIXELS, Array, edges
from .triangle_mesh import TriangleMesh


@dataclass(frozen=True)
class OrthographicMaps:
    """Seen by a parallel camera that looks along +z at the cube [-1, 1]^3.

    Pixel (row j, column i) of S x S looks at x = (2 i + 1) / S - 1, y = (2 j + 1) / S - 1. Normals
    are unit, zero outside of the mask, and in the camera's axes with the paper's signs: x right,
    y up, z towards the camera.

    Attributes:
        mask: (S, S) where the mesh is.
        front: (S, S, 3) normals of the surface nearest to the camera.
        back: (S, S, 3) normals of the surface farthest from it, in the same pixels, with z towards
            the opposite camera: what that camera sees, mirrored.
        depth_front: (S, S) z of the nearest surface in the cube, +inf outside of the mask.
        depth_back: (S, S) z of the farthest surface, +inf outside of the mask.
    """

    mask: Bool[np.ndarray, "S S"]
    front: Float32[np.ndarray, "S S 3"]
    back: Float32[np.ndarray, "S S 3"]
    depth_front: Float32[np.ndarray, "S S"]
    depth_back: Float32[np.ndarray, "S S"]


def orthographic_maps(mesh: TriangleMesh, size: int) -> OrthographicMaps:
    """Draw a mesh in cube coordinates (x right, y down, z away from the viewer) from both sides.

    Args:
        mesh: in the cube [-1, 1]^3; what is beyond is cut off at the sides, not in depth.
        size: pixels along a side.
    """
    places = (mesh.vertices[:, :2].astype(np.float64) + 1) * (size / 2) - 0.5
    fixed = np.rint(np.clip(places, -(2.0**20), 2.0**20) * SUBPIXELS).astype(np.int32)
    depths = np.full((2, size, size), np.inf, np.float32)
    normals = np.zeros((2, size, size, 3), np.float32)
    triangles = np.ascontiguousarray(mesh.triangles)
    depth = np.ascontiguousarray(mesh.vertices[:, 2])
    outwards = mesh.vertex_normals()
    for side in range(2):
        _draw(fixed, depth, outwards, triangles, side == 1, depths[side], normals[side])
    mask = np.isfinite(depths[0])
    length = np.linalg.norm(normals, axis=-1, keepdims=True)
    np.divide(normals, length, out=normals, where=length > 0)
    normals *= np.array([[1, -1, -1], [1, -1, 1]], np.float32)[:, None, None]
    return OrthographicMaps(mask, normals[0], normals[1], depths[0], depths[1])


@njit(cache=True, nogil=True)
@no_type_check
def _draw(
    fixed: Array,
    depth: Array,
    outwards: Array,
    triangles: Array,
    farthest: bool,
    seen: Array,
    normals: Array,
) -> None:
    """Depth and interpolated normal of the nearest or farthest surface at each pixel."""
    height, width = seen.shape
    for t in range(len(triangles)):
        corners = triangles[t]
        box, start, steps, rule, area = edges(fixed, corners, width, height, False)
        if box[0] > box[1]:
            continue
        a, b, c = corners[0], corners[1], corners[2]
        scale = 1.0 / np.float64(area)
        e0, e1, e2 = start
        for y in range(box[2], box[3] + 1):
            w0, w1, w2 = e0, e1, e2
            for x in range(box[0], box[1] + 1):
                if ((w0 + rule[0]) | (w1 + rule[1]) | (w2 + rule[2])) >= 0:
                    p0, p1, p2 = w0 * scale, w1 * scale, w2 * scale
                    z = np.float32(p0 * depth[a] + p1 * depth[b] + p2 * depth[c])
                    nearer = z > seen[y, x] if farthest else z < seen[y, x]
                    if nearer or seen[y, x] == np.inf:
                        seen[y, x] = z
                        for k in range(3):
                            normals[y, x, k] = (
                                p0 * outwards[a, k] + p1 * outwards[b, k] + p2 * outwards[c, k]
                            )
                w0 += steps[0]
                w1 += steps[1]
                w2 += steps[2]
            e0 += steps[3]
            e1 += steps[4]
            e2 += steps[5]
