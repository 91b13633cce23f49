"""Surfaces packed for the compiled loops: what is absent becomes an empty array."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float32

from .raster import Array, project, snap, vertex_normals
from .surface import Surface
from .texture import choose_levels

NEAR_MM = 1.0
"""Triangles that come as near to the camera as this are not drawn."""


class Mesh(NamedTuple):
    """A projected surface; the compiled loops read it by field."""

    vertices: Array
    triangles: Array
    fixed: Array
    nearness: Array
    normals: Array
    colour: Array
    alpha: Array
    occlusion: Array
    gloss: Array
    uv: Array
    texels: Array
    levels: Array
    level: Array
    subsurface: float
    opaque: bool
    two_sided: bool
    clear_coat: bool


def pack(surface: Surface, camera: Float32[np.ndarray, " 4"]) -> Mesh:
    """Project a surface and lay out its attributes; ``camera`` holds fx, fy, cx, cy."""
    n = len(surface.vertices)
    vertices = np.ascontiguousarray(surface.vertices)
    triangles = np.ascontiguousarray(surface.triangles)
    points = np.empty((n, 3), np.float32)
    fixed, nearness = np.empty((n, 2), np.int32), np.empty(n, np.float32)
    project(vertices, camera, points)
    snap(points, NEAR_MM, fixed, nearness)
    normals = surface.normals
    uv, texels = np.empty((0, 3, 2), np.float32), np.empty((0, 4), np.float32)
    levels, level = np.empty((0, 3), np.int32), np.empty(0, np.float32)
    if surface.texture is not None and surface.uv is not None:
        uv, texels = np.ascontiguousarray(surface.uv), surface.texture.texels
        levels, level = surface.texture.levels, np.empty(len(triangles), np.float32)
        choose_levels(fixed, triangles, uv, levels, level)
    return Mesh(
        vertices=vertices,
        triangles=triangles,
        fixed=fixed,
        nearness=nearness,
        normals=vertex_normals(vertices, triangles)
        if normals is None
        else np.ascontiguousarray(normals),
        colour=_or_empty(surface.colour, (0, 3)),
        alpha=_or_empty(surface.alpha, (0,)),
        occlusion=_or_empty(surface.occlusion, (0,)),
        gloss=_gloss(surface),
        uv=uv,
        texels=texels,
        levels=levels,
        level=level,
        subsurface=float(surface.subsurface),
        opaque=surface.texture is None or surface.texture.opaque,
        two_sided=surface.two_sided,
        clear_coat=surface.clear_coat,
    )


def _or_empty(
    values: Float32[np.ndarray, " ..."] | None, shape: tuple[int, ...]
) -> Float32[np.ndarray, " ..."]:
    return np.empty(shape, np.float32) if values is None else np.ascontiguousarray(values)


def _gloss(surface: Surface) -> Float32[np.ndarray, "G 2"]:
    """Specular reflectance and roughness: one row for all, or one a vertex."""
    arrays = [v for v in (surface.specular, surface.roughness) if isinstance(v, np.ndarray)]
    gloss = np.empty((len(arrays[0]) if arrays else 1, 2), np.float32)
    gloss[:, 0] = surface.specular
    gloss[:, 1] = surface.roughness
    return gloss
