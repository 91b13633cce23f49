"""Light at points of surfaces: ambient polynomials, lamps with shadows, soft skin, highlights."""

from __future__ import annotations

from typing import Any, NamedTuple, no_type_check

import numpy as np
from numba import njit

from .raster import RELAXED, Array
from .shadow import light_arriving
from .texture import sample

LAMP_FIELDS = 9
"""Direction or place (3), colour (3), squared distance at which it holds or 0 for a light far
away, number of the shadow map or -1, spread of its comparisons in texels."""

POINT_FIELDS = 15
"""Place (3), normal (3), direction to the camera (3), albedo (3), occlusion, specular,
roughness."""

WRAP = (0.35, 0.12, 0.06)
"""How far light wraps around the terminator in red, green and blue at subsurface 1."""

BLEED = (0.5, 0.15, 0.1)
"""How much half-shadows brighten in red, green and blue at subsurface 1."""


class Lighting(NamedTuple):
    """Lights packed for the compiled loops."""

    ambient: Array
    lamps: Array
    shadow_maps: Array
    shadow_frames: Array
    bias: float


class Hits(NamedTuple):
    """Points of surfaces behind pixels: what a picture or a list of fragments holds, flat."""

    triangle: Array
    corner: Array
    nearness: Array
    weight: Array
    reach: Array


@njit(cache=True, nogil=True, fastmath=RELAXED)
@no_type_check
def shade(
    mesh: Any, lighting: Any, lens: Array, pixels: Array, where: Array, hits: Any, image: Array
) -> None:
    """Add a surface's light to ``image`` (H, W, 3).

    ``where`` are the hits to shade and ``pixels`` the flat index of their pixels; the scattered
    light is weighed with ``hits.weight``, the mirrored light too or, of a clear coat, with
    ``hits.reach``.
    """
    points = np.empty((len(where), POINT_FIELDS), np.float32)
    scattered = np.empty((len(where), 3), np.float32)
    mirrored = np.empty((len(where), 3), np.float32)
    width = image.shape[1]
    _place(mesh, lens, width, pixels, where, hits.triangle, hits.corner, hits.nearness, points)
    _paint(mesh, where, hits.triangle, hits.corner, points)
    soft = np.float32(mesh.subsurface)
    _light_ambient(lighting.ambient, soft, points, scattered, mirrored)
    for lamp in range(len(lighting.lamps)):
        _light_lamp(
            lighting.lamps,
            lamp,
            lighting.shadow_maps,
            lighting.shadow_frames,
            np.float32(lighting.bias),
            soft,
            points,
            scattered,
            mirrored,
        )
    weight, reach = hits.weight, hits.reach
    for i in range(len(where)):
        y, x = pixels[i] // width, pixels[i] % width
        share = weight[where[i]]
        gloss = reach[where[i]] if mesh.clear_coat else share
        for c in range(3):
            image[y, x, c] += share * scattered[i, c] * points[i, 9 + c] + gloss * mirrored[i, c]


@njit(cache=True, nogil=True, fastmath=RELAXED)
@no_type_check
def _place(
    mesh: Any,
    lens: Array,
    width: int,
    pixels: Array,
    where: Array,
    triangle: Array,
    corner: Array,
    nearness: Array,
    points: Array,
) -> None:
    """Place, normal and direction to the camera of each hit."""
    triangles, normals, two_sided = mesh.triangles, mesh.normals, mesh.two_sided
    one = np.float32(1.0)
    for i in range(len(where)):
        hit = where[i]
        t, b0, b1 = triangle[hit], corner[hit, 0], corner[hit, 1]
        b2 = one - b0 - b1
        rx = (np.float32(pixels[i] % width) - lens[2]) / lens[0]
        ry = (np.float32(pixels[i] // width) - lens[3]) / lens[1]
        z = one / nearness[hit]
        points[i, 0], points[i, 1], points[i, 2] = rx * z, ry * z, z
        over = -one / np.sqrt(rx * rx + ry * ry + one)
        vx, vy, vz = rx * over, ry * over, over
        points[i, 6], points[i, 7], points[i, 8] = vx, vy, vz
        a, b, c = triangles[t, 0], triangles[t, 1], triangles[t, 2]
        nx = b0 * normals[a, 0] + b1 * normals[b, 0] + b2 * normals[c, 0]
        ny = b0 * normals[a, 1] + b1 * normals[b, 1] + b2 * normals[c, 1]
        nz = b0 * normals[a, 2] + b1 * normals[b, 2] + b2 * normals[c, 2]
        length = np.sqrt(nx * nx + ny * ny + nz * nz)
        if length < 1e-6:
            nx, ny, nz, length = vx, vy, vz, one
        over = one / length
        if two_sided and nx * vx + ny * vy + nz * vz < 0:
            over = -over
        points[i, 3], points[i, 4], points[i, 5] = nx * over, ny * over, nz * over


@njit(cache=True, nogil=True, fastmath=RELAXED)
@no_type_check
def _paint(mesh: Any, where: Array, triangle: Array, corner: Array, points: Array) -> None:
    """Albedo, occlusion, specular reflectance and roughness of each hit."""
    triangles, colour, occlusion, gloss = mesh.triangles, mesh.colour, mesh.occlusion, mesh.gloss
    uv, texels, levels, level = mesh.uv, mesh.texels, mesh.levels, mesh.level
    one = np.float32(1.0)
    for i in range(len(where)):
        hit = where[i]
        t, b0, b1 = triangle[hit], corner[hit, 0], corner[hit, 1]
        b2 = one - b0 - b1
        j, k, m = triangles[t, 0], triangles[t, 1], triangles[t, 2]
        for c in range(3):
            points[i, 9 + c] = one
            if len(colour) > 0:
                points[i, 9 + c] = b0 * colour[j, c] + b1 * colour[k, c] + b2 * colour[m, c]
        if len(texels) > 0:
            u = b0 * uv[t, 0, 0] + b1 * uv[t, 1, 0] + b2 * uv[t, 2, 0]
            v = b0 * uv[t, 0, 1] + b1 * uv[t, 1, 1] + b2 * uv[t, 2, 1]
            red, green, blue, alpha = sample(texels, levels, u, v, level[t])
            over = one / max(alpha, np.float32(1e-4))
            points[i, 9] *= red * over
            points[i, 10] *= green * over
            points[i, 11] *= blue * over
        points[i, 12] = one
        if len(occlusion) > 0:
            points[i, 12] = b0 * occlusion[j] + b1 * occlusion[k] + b2 * occlusion[m]
        points[i, 13], points[i, 14] = gloss[0, 0], gloss[0, 1]
        if len(gloss) > 1:
            points[i, 13] = b0 * gloss[j, 0] + b1 * gloss[k, 0] + b2 * gloss[m, 0]
            points[i, 14] = b0 * gloss[j, 1] + b1 * gloss[k, 1] + b2 * gloss[m, 1]


@njit(cache=True, nogil=True, fastmath=RELAXED)
@no_type_check
def _light_ambient(
    ambient: Array, soft: float, points: Array, scattered: Array, mirrored: Array
) -> None:
    """Light from all sides: scattered, and mirrored (more at grazing angles when smooth)."""
    zero, one, two = np.float32(0.0), np.float32(1.0), np.float32(2.0)
    for i in range(len(points)):
        nx, ny, nz = points[i, 3], points[i, 4], points[i, 5]
        vx, vy, vz = points[i, 6], points[i, 7], points[i, 8]
        arriving, specular, roughness = points[i, 12], points[i, 13], points[i, 14]
        facing = nx * vx + ny * vy + nz * vz
        mx, my, mz = two * facing * nx - vx, two * facing * ny - vy, two * facing * nz - vz
        grazing = one - min(max(facing, zero), one)
        square = grazing * grazing
        smooth = (one - roughness) * (one - roughness) * (one - roughness)
        smooth = smooth if specular > 0 else zero
        mirror = specular + smooth * (one - specular) * square * square * grazing
        mirror *= arriving * arriving
        bleeding = soft * arriving * (one - arriving)
        for c in range(3):
            light = max(_polynomial(ambient, c, nx, ny, nz), zero)
            scattered[i, c] = light * (arriving + np.float32(BLEED[c]) * bleeding)
            mirrored[i, c] = mirror * max(_polynomial(ambient, c, mx, my, mz), zero)


@njit(cache=True, nogil=True, fastmath=RELAXED)
@no_type_check
def _polynomial(ambient: Array, c: int, x: float, y: float, z: float) -> float:
    """Ambient light of one channel for a normal; see ``Lights.ambient``."""
    first = ambient[0, c] + ambient[1, c] * y + ambient[2, c] * z + ambient[3, c] * x
    mixed = ambient[4, c] * x * y + ambient[5, c] * y * z + ambient[7, c] * x * z
    square = ambient[6, c] * (np.float32(3.0) * z * z - np.float32(1.0))
    return first + mixed + square + ambient[8, c] * (x * x - y * y)


@njit(cache=True, nogil=True, fastmath=RELAXED)
@no_type_check
def _light_lamp(
    lamps: Array,
    lamp: int,
    maps: Array,
    frames: Array,
    bias: float,
    soft: float,
    points: Array,
    scattered: Array,
    mirrored: Array,
) -> None:
    """Add one lamp's light, scattered and mirrored."""
    zero, one, four = np.float32(0.0), np.float32(1.0), np.float32(4.0)
    reach, shadow, spread = lamps[lamp, 6], np.int32(lamps[lamp, 7]), lamps[lamp, 8]
    lx, ly, lz = lamps[lamp, 0], lamps[lamp, 1], lamps[lamp, 2]
    for i in range(len(points)):
        x, y, z = points[i, 0], points[i, 1], points[i, 2]
        nx, ny, nz = points[i, 3], points[i, 4], points[i, 5]
        strength = one
        if reach > 0:
            lx, ly, lz = lamps[lamp, 0] - x, lamps[lamp, 1] - y, lamps[lamp, 2] - z
            squared = lx * lx + ly * ly + lz * lz
            over = one / np.sqrt(max(squared, np.float32(1e-6)))
            lx, ly, lz = lx * over, ly * over, lz * over
            strength = reach / max(squared, np.float32(0.01) * reach)
        facing = nx * lx + ny * ly + nz * lz
        if facing <= -np.float32(WRAP[0]) * soft:
            continue
        arriving = one
        if shadow >= 0:
            slope = one - max(facing, zero)
            aside = frames[shadow, 12] * (np.float32(0.5) + np.float32(1.5) * slope)
            px, py, pz = x + aside * nx, y + aside * ny, z + aside * nz
            # Neighbours compared on a tilted surface lie nearer to the light by spread x tilt.
            tilt = min(
                np.sqrt(max(one - facing * facing, zero)) / max(facing, np.float32(0.2)), four
            )
            behind = bias + tilt * spread * frames[shadow, 12]
            arriving = light_arriving(maps, frames, shadow, px, py, pz, behind, spread)
            if arriving <= 0:
                continue
        bleeding = soft * arriving * (one - arriving)
        for c in range(3):
            light = _wrapped(facing, np.float32(WRAP[c]) * soft) * strength
            light *= arriving + np.float32(BLEED[c]) * bleeding
            scattered[i, c] += lamps[lamp, 3 + c] * light
        if facing > 0 and points[i, 13] > 0:
            shine = _highlight(points, i, lx, ly, lz) * facing * strength * arriving
            for c in range(3):
                mirrored[i, c] += lamps[lamp, 3 + c] * shine


@njit(cache=True, nogil=True, fastmath=RELAXED)
@no_type_check
def _wrapped(facing: float, wrap: float) -> float:
    """Lambert's cosine, let around the terminator by ``wrap`` and eased out there."""
    one = np.float32(1.0)
    value = max((facing + wrap) / (one + wrap), np.float32(0.0))
    return value * (one - wrap + wrap * value)


@njit(cache=True, nogil=True, fastmath=RELAXED)
@no_type_check
def _highlight(points: Array, i: int, lx: float, ly: float, lz: float) -> float:
    """GGX highlight with Karis' fit of the visibility and Fresnel terms."""
    zero, one = np.float32(0.0), np.float32(1.0)
    nx, ny, nz = points[i, 3], points[i, 4], points[i, 5]
    hx, hy, hz = lx + points[i, 6], ly + points[i, 7], lz + points[i, 8]
    specular, roughness = points[i, 13], points[i, 14]
    over = one / np.sqrt(max(hx * hx + hy * hy + hz * hz, np.float32(1e-8)))
    across = max((nx * hx + ny * hy + nz * hz) * over, zero)
    bent = min(max((lx * hx + ly * hy + lz * hz) * over, zero), one)
    alpha = roughness * roughness
    squared = max(alpha * alpha, np.float32(1e-5))
    lobe = across * across * (squared - one) + one
    grazing = one - bent
    fourth = grazing * grazing * grazing * grazing
    fresnel = specular + (one - specular) * fourth * grazing
    visible = max(bent * bent, np.float32(0.1)) * (roughness + np.float32(0.5))
    return fresnel * squared / (np.float32(4.0) * visible * max(lobe * lobe, np.float32(1e-10)))
