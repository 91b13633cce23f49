"""A picture of surfaces under lights, in linear light, on one core."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float32, Int32

from ..errors import InputError
from .fragments import collect
from .mesh import Mesh, pack
from .raster import NOTHING, draw
from .shade import LAMP_FIELDS, Hits, Lighting, shade
from .shadow import draw_shadow_map, light_frame
from .surface import Lights, Surface


@runtime_checkable
class Pinhole(Protocol):
    """A camera without distortion: focal lengths and principal point in px, size in px."""

    @property
    def fx(self) -> float: ...  # noqa: D102
    @property
    def fy(self) -> float: ...  # noqa: D102
    @property
    def cx(self) -> float: ...  # noqa: D102
    @property
    def cy(self) -> float: ...  # noqa: D102
    @property
    def width(self) -> int: ...  # noqa: D102
    @property
    def height(self) -> int: ...  # noqa: D102


@dataclass(frozen=True)
class Picture:
    """What the camera sees.

    Attributes:
        image: (H, W, 3) linear RGB light, unbounded above.
        surface: (H, W) index of the opaque surface seen, -1 where none.
        depth: (H, W) mm of it, +inf where none.
        veil: (H, W) share of each pixel hidden by blended surfaces (hair, lenses).
    """

    image: Float32[np.ndarray, "H W 3"]
    surface: Int32[np.ndarray, "H W"]
    depth: Float32[np.ndarray, "H W"]
    veil: Float32[np.ndarray, "H W"]


def render(
    surfaces: Sequence[Surface],
    camera: Pinhole,
    lights: Lights,
    background: Float32[np.ndarray, "H W 3"] | None = None,
) -> Picture:
    """Draw surfaces over a background.

    Opaque surfaces go through a z-buffer; blended ones are sorted by depth in each pixel, so the
    order of ``surfaces`` does not matter. The picture is not antialiased: draw it larger and
    shrink it.

    Args:
        surfaces: meshes in the camera frame, mm. Surfaces that are not ``two_sided`` show only
            triangles whose outside faces the camera.
        camera: intrinsics and picture size in px, pixel centres at integers.
        lights: ambient light and lamps.
        background: linear RGB; black when None.

    Raises:
        InputError: the background is not of the camera's size.
    """
    size = (camera.height, camera.width)
    if background is not None and background.shape != (*size, 3):
        raise InputError(f"background has shape {background.shape}, expected {(*size, 3)}")
    lens = np.array([camera.fx, camera.fy, camera.cx, camera.cy], np.float32)
    meshes = [pack(surface, lens) for surface in surfaces]
    solid = [i for i, surface in enumerate(surfaces) if not surface.blended]
    seen = np.full(size, NOTHING, np.float32)
    label = np.full(size, -1, np.int32)
    triangle = np.empty(size, np.int32)
    corner = np.empty((*size, 2), np.float32)
    for i in solid:
        mesh, cull = meshes[i], not surfaces[i].two_sided
        draw(mesh.fixed, mesh.nearness, mesh.triangles, cull, i, seen, label, triangle, corner)
    veils = [mesh for surface, mesh in zip(surfaces, meshes, strict=True) if surface.blended]
    left = np.ones(size, np.float32)
    fragments = collect(veils, seen, left) if veils else None
    image = np.zeros((*size, 3), np.float32)
    if background is not None:
        np.multiply(background, np.where(label < 0, left, 0.0)[..., None], out=image)
    lighting = _light(surfaces, meshes, lights)
    kept = left.reshape(-1)
    hits = Hits(triangle.reshape(-1), corner.reshape(-1, 2), seen.reshape(-1), kept, kept)
    for i in solid:
        pixels = np.flatnonzero((label == i) & (left > 0))
        shade(meshes[i], lighting, lens, pixels, pixels, hits, image)
    if fragments is not None:
        for mesh, where, pixels in fragments.visible(veils):
            shade(mesh, lighting, lens, pixels, where, fragments.hits, image)
    depth = np.full(size, np.inf, np.float32)
    np.divide(1.0, seen, out=depth, where=label >= 0)
    return Picture(image, label, depth, 1 - left)


def _light(surfaces: Sequence[Surface], meshes: list[Mesh], lights: Lights) -> Lighting:
    """Pack the lights and draw their shadow maps."""
    casters = [
        mesh
        for surface, mesh in zip(surfaces, meshes, strict=True)
        if surface.casts_shadow and len(mesh.triangles)
    ]
    lamps = np.zeros((len(lights.lamps), LAMP_FIELDS), np.float32)
    maps: list[Float32[np.ndarray, "S S"]] = []
    frames: list[Float32[np.ndarray, " 13"]] = []
    for row, lamp in zip(lamps, lights.lamps, strict=True):
        towards = (lamp.direction / np.linalg.norm(lamp.direction)).astype(np.float32)
        row[:3], row[3:6], row[7] = towards, lamp.colour, -1
        if lamp.distance_mm is not None and lamp.origin is not None:
            row[:3] = lamp.origin + towards * lamp.distance_mm
            row[6] = lamp.distance_mm**2
        if lamp.casts_shadow and casters:
            frame, texel = light_frame(casters, towards, lights.shadow_size)
            row[7], row[8] = len(maps), max(1.0, lamp.softness_mm / max(texel))
            maps.append(draw_shadow_map(casters, frame, lights.shadow_size))
            frames.append(frame)
    return Lighting(
        ambient=np.ascontiguousarray(lights.ambient, np.float32),
        lamps=lamps,
        shadow_maps=np.stack(maps) if maps else np.empty((0, 1, 1), np.float32),
        shadow_frames=np.stack(frames) if frames else np.empty((0, 13), np.float32),
        bias=float(lights.shadow_bias_mm),
    )
