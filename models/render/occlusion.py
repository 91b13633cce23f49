"""How much of the surrounding light reaches each vertex."""

from __future__ import annotations

from collections.abc import Sequence
from typing import no_type_check

import numpy as np
from jaxtyping import Float32
from numba import njit

from .mesh import pack
from .raster import RELAXED, Array
from .shadow import draw_shadow_map, light_arriving, light_frame
from .surface import Surface


def ambient_occlusion(
    surfaces: Sequence[Surface],
    *,
    directions: int = 32,
    map_size: int = 128,
    bias_mm: float = 3.0,
) -> list[Float32[np.ndarray, " N"]]:
    """Share of evenly spread light that reaches each vertex, in [0, 1], for ``Surface.occlusion``.

    Looks at the surfaces from all sides, so it costs about ``directions`` shadow maps: compute it
    once for a shape and keep it while the shape moves as a whole. Blended surfaces receive light,
    but hide none. Any frame will do.

    Args:
        surfaces: meshes in one frame, mm.
        directions: views, spread evenly over the sphere.
        map_size: pixels along the side of each view.
        bias_mm: vertices this far behind a surface still count as seen.
    """
    lens = np.array([1, 1, 0, 0], np.float32)
    meshes = [pack(surface, lens) for surface in surfaces]
    arrived = [np.full(len(mesh.vertices), 1e-3, np.float32) for mesh in meshes]
    offered = [np.full(len(mesh.vertices), 1e-3, np.float32) for mesh in meshes]
    casters = [
        mesh
        for surface, mesh in zip(surfaces, meshes, strict=True)
        if surface.casts_shadow and not surface.blended and len(mesh.triangles)
    ]
    if not casters:
        return [np.ones(len(mesh.vertices), np.float32) for mesh in meshes]
    for towards in _spread(directions):
        frame, _ = light_frame(casters, towards, map_size)
        depth = draw_shadow_map(casters, frame, map_size)
        for mesh, got, most in zip(meshes, arrived, offered, strict=True):
            _gather(
                mesh.vertices, mesh.normals, towards, depth[None], frame[None], bias_mm, got, most
            )
    return [got / most for got, most in zip(arrived, offered, strict=True)]


def _spread(count: int) -> Float32[np.ndarray, "D 3"]:
    """Unit vectors on a Fibonacci spiral."""
    i = np.arange(count) + 0.5
    y = 1 - 2 * i / count
    turn = i * np.pi * (3 - np.sqrt(5))
    across = np.sqrt(1 - y * y)
    return np.stack([across * np.cos(turn), y, across * np.sin(turn)], 1).astype(np.float32)


@njit(cache=True, nogil=True, fastmath=RELAXED)
@no_type_check
def _gather(
    vertices: Array,
    normals: Array,
    towards: Array,
    maps: Array,
    frames: Array,
    bias: float,
    arrived: Array,
    offered: Array,
) -> None:
    for i in range(len(vertices)):
        nx, ny, nz = normals[i, 0], normals[i, 1], normals[i, 2]
        facing = nx * towards[0] + ny * towards[1] + nz * towards[2]
        if facing <= 0:
            continue
        aside = np.float32(1.5) * frames[0, 12]
        x, y = vertices[i, 0] + aside * nx, vertices[i, 1] + aside * ny
        z = vertices[i, 2] + aside * nz
        lit = light_arriving(maps, frames, 0, x, y, z, np.float32(bias), np.float32(1.0))
        arrived[i] += facing * lit
        offered[i] += facing
