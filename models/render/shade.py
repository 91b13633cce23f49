"""Light at a point: ambient polynomials, lamps with shadows, skin-like softness, highlights."""

from __future__ import annotations

from typing import Any, NamedTuple, no_type_check

import numpy as np
from numba import njit

from .raster import RELAXED, Array
from .shadow import light_arriving
from .texture import sample

LAMP_FIELDS = 12
"""Direction or place (3), colour (3), squared distance at which it holds or 0 for a light far
away, shadow map or -1, spread of its comparisons in texels; the rest is unused."""

WRAP = (0.35, 0.12, 0.06)
"""How far light wraps around the terminator in red, green and blue at subsurface 1."""


class Lighting(NamedTuple):
    """Lights packed for the compiled loops."""

    ambient: Array
    lamps: Array
    shadow_maps: Array
    shadow_frames: Array
    bias: float


@njit(cache=True, nogil=True, fastmath=RELAXED)
@no_type_check
def shade_opaque(
    mesh: Any,
    name: int,
    lighting: Any,
    camera: Array,
    nearness: Array,
    label: Array,
    triangle: Array,
    corner: Array,
    image: Array,
) -> None:
    """Colour the pixels of ``image`` (H, W, 3) whose ``label`` is ``name``."""
    height, width = label.shape
    for y in range(height):
        for x in range(width):
            if label[y, x] != name:
                continue
            t = triangle[y, x]
            b0, b1 = corner[y, x, 0], corner[y, x, 1]
            z = np.float32(1.0) / nearness[y, x]
            px = (np.float32(x) - camera[2]) / camera[0] * z
            py = (np.float32(y) - camera[3]) / camera[1] * z
            light, shine = shade_point(mesh, lighting, t, b0, b1, px, py, z)
            for c in range(3):
                image[y, x, c] = light[c] + shine[c]


@njit(cache=True, nogil=True, fastmath=RELAXED)
@no_type_check
def shade_point(
    mesh: Any, lighting: Any, t: int, b0: float, b1: float, px: float, py: float, pz: float
) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
    """Light sent to the camera from a point of a triangle: scattered, and mirrored."""
    one = np.float32(1.0)
    b2 = one - b0 - b1
    i, j, k = mesh.triangles[t, 0], mesh.triangles[t, 1], mesh.triangles[t, 2]
    reach = one / np.sqrt(px * px + py * py + pz * pz)
    view = (-px * reach, -py * reach, -pz * reach)
    normal = _normal(mesh, i, j, k, b0, b1, view)
    occlusion = one
    if len(mesh.occlusion) > 0:
        occlusion = b0 * mesh.occlusion[i] + b1 * mesh.occlusion[j] + b2 * mesh.occlusion[k]
    specular, roughness = mesh.gloss[0, 0], mesh.gloss[0, 1]
    if len(mesh.gloss) > 1:
        specular = b0 * mesh.gloss[i, 0] + b1 * mesh.gloss[j, 0] + b2 * mesh.gloss[k, 0]
        roughness = b0 * mesh.gloss[i, 1] + b1 * mesh.gloss[j, 1] + b2 * mesh.gloss[k, 1]
    soft = np.float32(mesh.subsurface)
    red, green, blue = _ambient(lighting.ambient, normal)
    bleeding = soft * occlusion * (one - occlusion)
    red *= occlusion + np.float32(0.5) * bleeding
    green *= occlusion + np.float32(0.15) * bleeding
    blue *= occlusion + np.float32(0.1) * bleeding
    shine = _mirrored_surroundings(lighting.ambient, normal, view, specular, roughness)
    fade = occlusion * occlusion
    mr, mg, mb = shine[0] * fade, shine[1] * fade, shine[2] * fade
    for lamp in range(len(lighting.lamps)):
        scattered, mirrored = _lamp(
            lighting, lamp, (px, py, pz), normal, view, soft, specular, roughness
        )
        colour = lighting.lamps[lamp]
        red += colour[3] * scattered[0]
        green += colour[4] * scattered[1]
        blue += colour[5] * scattered[2]
        mr += colour[3] * mirrored
        mg += colour[4] * mirrored
        mb += colour[5] * mirrored
    albedo = _albedo(mesh, t, i, j, k, b0, b1)
    return (red * albedo[0], green * albedo[1], blue * albedo[2]), (mr, mg, mb)


@njit(cache=True, nogil=True, fastmath=RELAXED)
@no_type_check
def _normal(
    mesh: Any, i: int, j: int, k: int, b0: float, b1: float, view: tuple[float, float, float]
) -> tuple[float, float, float]:
    b2 = np.float32(1.0) - b0 - b1
    n = mesh.normals
    x = b0 * n[i, 0] + b1 * n[j, 0] + b2 * n[k, 0]
    y = b0 * n[i, 1] + b1 * n[j, 1] + b2 * n[k, 1]
    z = b0 * n[i, 2] + b1 * n[j, 2] + b2 * n[k, 2]
    length = np.sqrt(x * x + y * y + z * z)
    if length < 1e-6:
        return view
    over = np.float32(1.0) / length
    if mesh.two_sided and x * view[0] + y * view[1] + z * view[2] < 0:
        over = -over
    return x * over, y * over, z * over


@njit(cache=True, nogil=True, fastmath=RELAXED)
@no_type_check
def _albedo(
    mesh: Any, t: int, i: int, j: int, k: int, b0: float, b1: float
) -> tuple[float, float, float]:
    one = np.float32(1.0)
    b2 = one - b0 - b1
    red, green, blue = one, one, one
    if len(mesh.colour) > 0:
        c = mesh.colour
        red = b0 * c[i, 0] + b1 * c[j, 0] + b2 * c[k, 0]
        green = b0 * c[i, 1] + b1 * c[j, 1] + b2 * c[k, 1]
        blue = b0 * c[i, 2] + b1 * c[j, 2] + b2 * c[k, 2]
    if len(mesh.texels) > 0:
        u = b0 * mesh.uv[t, 0, 0] + b1 * mesh.uv[t, 1, 0] + b2 * mesh.uv[t, 2, 0]
        v = b0 * mesh.uv[t, 0, 1] + b1 * mesh.uv[t, 1, 1] + b2 * mesh.uv[t, 2, 1]
        r, g, b, a = sample(mesh.texels, mesh.levels, u, v, mesh.level[t])
        over = one / max(a, np.float32(1e-4))
        red *= r * over
        green *= g * over
        blue *= b * over
    return red, green, blue


@njit(cache=True, nogil=True, fastmath=RELAXED)
@no_type_check
def _ambient(ambient: Array, normal: tuple[float, float, float]) -> tuple[float, float, float]:
    x, y, z = normal
    basis = (
        np.float32(1.0),
        y,
        z,
        x,
        x * y,
        y * z,
        np.float32(3.0) * z * z - np.float32(1.0),
        x * z,
        x * x - y * y,
    )
    red, green, blue = np.float32(0.0), np.float32(0.0), np.float32(0.0)
    for i in range(9):
        red += basis[i] * ambient[i, 0]
        green += basis[i] * ambient[i, 1]
        blue += basis[i] * ambient[i, 2]
    zero = np.float32(0.0)
    return max(red, zero), max(green, zero), max(blue, zero)


@njit(cache=True, nogil=True, fastmath=RELAXED)
@no_type_check
def _mirrored_surroundings(
    ambient: Array,
    normal: tuple[float, float, float],
    view: tuple[float, float, float],
    specular: float,
    roughness: float,
) -> tuple[float, float, float]:
    """Ambient light mirrored; stronger at grazing angles on smooth surfaces."""
    zero, one = np.float32(0.0), np.float32(1.0)
    facing = normal[0] * view[0] + normal[1] * view[1] + normal[2] * view[2]
    x = np.float32(2.0) * facing * normal[0] - view[0]
    y = np.float32(2.0) * facing * normal[1] - view[1]
    z = np.float32(2.0) * facing * normal[2] - view[2]
    grazing = one - min(max(facing, zero), one)
    square = grazing * grazing
    smooth = (one - roughness) * (one - roughness) if specular > 0 else zero
    mirror = specular + smooth * (one - specular) * square * square * grazing
    red, green, blue = _ambient(ambient, (x, y, z))
    return red * mirror, green * mirror, blue * mirror


@njit(cache=True, nogil=True, fastmath=RELAXED)
@no_type_check
def _lamp(
    lighting: Any,
    lamp: int,
    place: tuple[float, float, float],
    normal: tuple[float, float, float],
    view: tuple[float, float, float],
    soft: float,
    specular: float,
    roughness: float,
) -> tuple[tuple[float, float, float], float]:
    """Share of a lamp's light scattered (red, green, blue) and mirrored towards the camera."""
    zero, one = np.float32(0.0), np.float32(1.0)
    values = lighting.lamps[lamp]
    lx, ly, lz = values[0], values[1], values[2]
    strength = one
    if values[6] > 0:
        lx, ly, lz = lx - place[0], ly - place[1], lz - place[2]
        squared = lx * lx + ly * ly + lz * lz
        over = one / np.sqrt(max(squared, np.float32(1e-6)))
        lx, ly, lz = lx * over, ly * over, lz * over
        strength = values[6] / max(squared, np.float32(0.01) * values[6])
    facing = normal[0] * lx + normal[1] * ly + normal[2] * lz
    if facing <= -np.float32(WRAP[0]) * soft:
        return (zero, zero, zero), zero
    shadow = np.int32(values[7])
    if shadow >= 0:
        slope = one - max(facing, zero)
        frame = lighting.shadow_frames[shadow]
        aside = frame[12] * (np.float32(0.5) + np.float32(1.5) * slope)
        strength *= light_arriving(
            lighting.shadow_maps[shadow],
            frame,
            place[0] + aside * normal[0],
            place[1] + aside * normal[1],
            place[2] + aside * normal[2],
            np.float32(lighting.bias) * (one + slope),
            values[8],
        )
        if strength <= 0:
            return (zero, zero, zero), zero
    scattered = (
        _wrapped(facing, np.float32(WRAP[0]) * soft) * strength,
        _wrapped(facing, np.float32(WRAP[1]) * soft) * strength,
        _wrapped(facing, np.float32(WRAP[2]) * soft) * strength,
    )
    if facing <= 0 or specular <= 0:
        return scattered, zero
    return scattered, strength * facing * _highlight(
        (lx, ly, lz), normal, view, specular, roughness
    )


@njit(cache=True, nogil=True, fastmath=RELAXED)
@no_type_check
def _wrapped(facing: float, wrap: float) -> float:
    """Lambert's cosine, let around the terminator by ``wrap``, with the same total light."""
    one = np.float32(1.0)
    value = max((facing + wrap) / (one + wrap), np.float32(0.0))
    # The factor between the cosine and its square eases the end of the light.
    return value / (one + wrap) if wrap <= 0 else value * (one - wrap + wrap * value) / (one + wrap)


@njit(cache=True, nogil=True, fastmath=RELAXED)
@no_type_check
def _highlight(
    light: tuple[float, float, float],
    normal: tuple[float, float, float],
    view: tuple[float, float, float],
    specular: float,
    roughness: float,
) -> float:
    """GGX highlight with Karis' fit of the visibility and Fresnel terms."""
    zero, one = np.float32(0.0), np.float32(1.0)
    hx, hy, hz = light[0] + view[0], light[1] + view[1], light[2] + view[2]
    over = one / np.sqrt(max(hx * hx + hy * hy + hz * hz, np.float32(1e-8)))
    across = max((normal[0] * hx + normal[1] * hy + normal[2] * hz) * over, zero)
    bent = max((light[0] * hx + light[1] * hy + light[2] * hz) * over, zero)
    alpha = roughness * roughness
    squared = max(alpha * alpha, np.float32(1e-5))
    lobe = across * across * (squared - one) + one
    grazing = one - bent
    fresnel = specular + (one - specular) * grazing * grazing * grazing * grazing * grazing
    return (
        fresnel
        * squared
        / (max(bent * bent, np.float32(0.1)) * (roughness + np.float32(0.5)) * 4 * lobe * lobe)
    )
