"""Light as nine spherical harmonics, in DPR's order and with its constants.

A light is nine numbers ``c`` (of luminance): a white matt patch whose normal is ``n`` sends back
``sum_k c_k B_k(n)``, with ``B_k`` the real orthonormal spherical harmonics in the order
``1, Y, Z, X, YX, YZ, 3Z^2 - 1, XZ, X^2 - Y^2``, each times the share of its order that survives
the cosine lobe (pi, 2 pi / 3, pi / 4; Ramamoorthi and Hanrahan 2001). ``c`` is thus the radiance
itself, cut at order 2.

Axes are the WORLD's of the portrait (x to the picture's right, y up, z to the viewer of the frontal
camera) or a VIEW's: the same three axes of another camera. DPR's own axes are others: there y goes
away from the viewer and z up; :data:`DPR_FROM_WORLD` turns between them.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Final

import numpy as np
from jaxtyping import Float, Float64

from ..documents import is_file, json_of, one_line
from ..errors import InputError
from ..face.eg3d_camera import camera_to_world
from ..face.rotation import FLIP

_ROOT_PI: Final = float(np.sqrt(np.pi))
HARMONIC: Final = np.array(
    [0.5, *[np.sqrt(3) / 2] * 3, *[np.sqrt(15) / 2] * 2, np.sqrt(5) / 4, np.sqrt(15) / 2,
     np.sqrt(15) / 4]
) / _ROOT_PI  # fmt: skip
"""Constants of the orthonormal harmonics."""
COSINE: Final = np.pi * np.array([1.0, *[2 / 3] * 3, *[1 / 4] * 5])
"""What the cosine lobe keeps of the orders."""
LUMINANCE: Final = np.array([0.2126, 0.7152, 0.0722])
"""Of linear RGB."""
DPR_FROM_WORLD: Final = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, -1.0], [0.0, 1.0, 0.0]])
"""Directions in DPR's axes (x right, y away from the viewer, z up)."""
EVEN_LEVEL: Final = 0.85
"""What a white patch sends back of the named lights on average over the half turned to us."""

NAMED_DIRECTIONS: Final[dict[str, tuple[float, float, float]]] = {
    "left": (-1.0, 0.25, 0.45),
    "right": (1.0, 0.25, 0.45),
    "above": (0.0, 1.0, 0.4),
    "below": (0.0, -1.0, 0.4),
    "front": (0.0, 0.1, 1.0),
    "back": (0.0, 0.4, -1.0),
}
"""Where named lights come from; left and right are the picture's."""
LIGHT_NAMES: Final = (*NAMED_DIRECTIONS, "even")


def polynomials(directions: Float[np.ndarray, "D 3"]) -> Float64[np.ndarray, "D 9"]:
    """The nine polynomials of unit vectors, without constants."""
    x, y, z = np.asarray(directions, np.float64).T
    return np.stack(
        [np.ones_like(x), y, z, x, x * y, y * z, 3 * z * z - 1, x * z, x * x - y * y], axis=1
    )


def harmonics(directions: Float[np.ndarray, "D 3"]) -> Float64[np.ndarray, "D 9"]:
    """The real orthonormal spherical harmonics of unit vectors."""
    return polynomials(directions) * HARMONIC


def shading(
    light: Float[np.ndarray, "*B 9"], normals: Float[np.ndarray, "D 3"]
) -> Float64[np.ndarray, "*B D"]:
    """What white matt patches send back, unclamped: negative where the nine numbers ring."""
    return np.asarray(light, np.float64) @ (harmonics(normals) * COSINE).T


@cache
def _sphere(count: int = 200) -> Float64[np.ndarray, "D 3"]:
    """Directions spread evenly (a Fibonacci sphere)."""
    k = np.arange(count)
    z = 1 - (2 * k + 1) / count
    azimuth = k * np.pi * (3 - np.sqrt(5))
    across = np.sqrt(1 - z * z)
    return np.stack([np.cos(azimuth) * across, np.sin(azimuth) * across, z], axis=1)


def rotation_of_coefficients(rotation: Float[np.ndarray, "3 3"]) -> Float64[np.ndarray, "9 9"]:
    """The matrix that turns a light's nine numbers with it.

    With ``d' = rotation d`` for directions, ``c' = M c`` has ``shading(c', d') = shading(c, d)``.
    Exact: the harmonics are evaluated at 200 directions before and after, and least squares has no
    residual, since each order turns within itself.
    """
    directions = _sphere()
    before, after = harmonics(directions), harmonics(directions @ np.asarray(rotation).T)
    # after M = before, for every direction.
    return np.linalg.lstsq(after, before, rcond=None)[0]


def rotate(
    light: Float[np.ndarray, "*B 9"], rotation: Float[np.ndarray, "3 3"]
) -> Float64[np.ndarray, "*B 9"]:
    """A light turned by a rotation."""
    return np.asarray(light, np.float64) @ rotation_of_coefficients(rotation).T


def view_from_world(label: Float[np.ndarray, " 25"]) -> Float64[np.ndarray, "3 3"]:
    """Rotation of directions from the world into a camera's axes (x right, y up, z to us)."""
    return FLIP @ camera_to_world(label)[:3, :3].T


def seen_from(
    light: Float[np.ndarray, " 9"], label: Float[np.ndarray, " 25"]
) -> Float64[np.ndarray, " 9"]:
    """A light of the world in the axes of a camera's view."""
    return rotate(light, view_from_world(label))


def light_of_lamp(
    direction: Float[np.ndarray, " 3"], strength: float = 1.0
) -> Float64[np.ndarray, " 9"]:
    """Projection of a lamp far away.

    Args:
        direction: from the scene towards the lamp, any length.
        strength: what a white matt patch that faces it sends back.
    """
    towards = np.asarray(direction, np.float64)
    return strength * harmonics((towards / np.linalg.norm(towards))[None])[0]


def ambient_of_light(light: Float[np.ndarray, "9 C"]) -> Float64[np.ndarray, "9 C"]:
    """A light as what the renderer calls ambient: weights of the bare polynomials."""
    return np.asarray(light, np.float64) * (HARMONIC * COSINE)[:, None]


def level(light: Float[np.ndarray, "*B 9"]) -> Float64[np.ndarray, "*B"]:
    """Mean of the shading over the normals that are turned to the viewer (z > 0)."""
    seen = _sphere()[_sphere()[:, 2] > 0]
    return np.asarray(np.maximum(shading(light, seen), 0.0).mean(axis=-1))


def dominant_direction(light: Float[np.ndarray, "*B 9"]) -> Float64[np.ndarray, "*B 3"]:
    """Unit vector towards where most light comes from: the first order's; zero if there is none."""
    towards = np.asarray(light, np.float64)[..., [3, 1, 2]]
    length = np.linalg.norm(towards, axis=-1, keepdims=True)
    return towards / np.where(length > 1e-9, length, np.inf)


def named_light(name: str) -> Float64[np.ndarray, " 9"]:
    """A light by name: one of :data:`LIGHT_NAMES`; a broad source in a dim room, WORLD axes.

    Raises:
        InputError: no light has this name.
    """
    if name not in LIGHT_NAMES:
        raise InputError(f"light {name!r}: expected {', '.join(LIGHT_NAMES)} or a file")
    even = light_of_lamp(np.array([0.0, 0.0, 1.0])) * 0.0
    even[0] = 1.0 / (HARMONIC[0] * COSINE[0])
    if name == "even":
        return EVEN_LEVEL * even
    light = 0.25 * even + light_of_lamp(np.array(NAMED_DIRECTIONS[name]), 1.1)
    return light * (EVEN_LEVEL / max(float(level(light)), 0.45))


def read_light(path: Path) -> Float64[np.ndarray, " 9"]:
    """Nine numbers of a file: text separated by white space or commas (as DPR's), or a JSON list.

    Raises:
        InputError: the file cannot be read or does not hold nine finite numbers.
    """
    try:
        text = path.read_text(encoding="utf-8").strip()
        numbers = json_of(text) if text.startswith("[") else text.replace(",", " ").split()
        light = np.array([float(number) for number in numbers])
    except (OSError, UnicodeDecodeError, ValueError, TypeError, OverflowError) as error:
        raise InputError(f"{path}: not a light of nine numbers: {one_line(error)}") from error
    if light.shape != (9,) or not np.isfinite(light).all():
        raise InputError(f"{path}: holds {light.size} numbers, expected nine finite ones")
    return light


def light_by_name_or_file(text: str) -> Float64[np.ndarray, " 9"]:
    """What ``--light`` says.

    Raises:
        InputError: neither a known name nor a readable file.
    """
    if text in LIGHT_NAMES:
        return named_light(text)
    path = Path(text)
    if not is_file(path):
        raise InputError(
            f"light {text!r:.80}: neither a file nor one of {', '.join(LIGHT_NAMES)} "
            "(left and right as seen in the picture)"
        )
    return read_light(path)
