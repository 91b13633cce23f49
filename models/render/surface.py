"""What a scene is made of: surfaces and lights, in the camera frame (x right, y down, z in)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float32, Int32

from ..errors import InputError
from .texture import Texture


@dataclass(frozen=True)
class Surface:
    """A triangle mesh and what it looks like. Colours are linear RGB albedo.

    Attributes:
        vertices: (N, 3) mm, camera frame.
        triangles: (M, 3) vertex indices, counter-clockwise seen from outside.
        normals: (N, 3) unit, outwards; computed smooth when None.
        colour: (N, 3) albedo; white when None. Multiplied with the texture.
        texture: multiplied with ``colour``; needs ``uv``.
        uv: (M, 3, 2) of each triangle's corners, (0, 0) the lower left of the texture.
        alpha: (N,) opacity in [0, 1], multiplied with the texture's. A surface with ``alpha`` or
            with a texture that is not opaque is blended, in order of depth at each pixel.
        occlusion: (N,) share of the ambient light that arrives, in [0, 1].
        specular: reflectance at normal incidence, one or (N,): skin 0.028, eyes 0.04.
        roughness: in (0, 1], one or (N,): wet eyes 0.1, skin 0.4 to 0.6.
        subsurface: 0 (hard) to 1 (waxy): softens light at the terminator and reddens shadows.
        two_sided: draw back faces too, with the normal turned to the viewer.
        casts_shadow: darkens what is behind it.
        clear_coat: reflections do not fade with alpha (lenses, tears). Blended surfaces only.
    """

    vertices: Float32[np.ndarray, "N 3"]
    triangles: Int32[np.ndarray, "M 3"]
    normals: Float32[np.ndarray, "N 3"] | None = None
    colour: Float32[np.ndarray, "N 3"] | None = None
    texture: Texture | None = None
    uv: Float32[np.ndarray, "M 3 2"] | None = None
    alpha: Float32[np.ndarray, " N"] | None = None
    occlusion: Float32[np.ndarray, " N"] | None = None
    specular: float | Float32[np.ndarray, " N"] = 0.028
    roughness: float | Float32[np.ndarray, " N"] = 0.5
    subsurface: float = 0.0
    two_sided: bool = False
    casts_shadow: bool = True
    clear_coat: bool = False

    def __post_init__(self) -> None:
        n, m = len(self.vertices), len(self.triangles)
        wanted = {
            "vertices": (n, 3),
            "triangles": (m, 3),
            "normals": (n, 3),
            "colour": (n, 3),
            "uv": (m, 3, 2),
            "alpha": (n,),
            "occlusion": (n,),
            "specular": (n,),
            "roughness": (n,),
        }
        for name, shape in wanted.items():
            value = getattr(self, name)
            if isinstance(value, np.ndarray) and value.shape != shape:
                raise InputError(f"surface: {name} has shape {value.shape}, expected {shape}")
        if self.texture is not None and self.uv is None:
            raise InputError("surface: a texture needs uv")
        if m and (self.triangles.min() < 0 or self.triangles.max() >= n):
            raise InputError(f"surface: triangles point outside the {n} vertices")

    @property
    def blended(self) -> bool:
        """Something behind it may be seen through it."""
        return self.alpha is not None or (self.texture is not None and not self.texture.opaque)


@dataclass(frozen=True)
class Lamp:
    """A light far away, or at a place.

    Attributes:
        direction: (3,) from the scene towards the light, any length.
        colour: (3,) linear RGB: what a white matt patch that faces the light sends back.
        casts_shadow: draw a shadow map for it.
        distance_mm: None for a light far away; else the light stands at this distance from
            ``origin`` along ``direction``; ``colour`` then holds at ``origin``.
        origin: (3,) mm, camera frame.
        softness_mm: half width of the shadow's edge.
    """

    direction: Float[np.ndarray, " 3"]
    colour: Float[np.ndarray, " 3"]
    casts_shadow: bool = False
    distance_mm: float | None = None
    origin: Float[np.ndarray, " 3"] | None = None
    softness_mm: float = 2.0

    def __post_init__(self) -> None:
        if not np.linalg.norm(self.direction) > 0:
            raise InputError("lamp: the direction is zero")
        if self.distance_mm is not None and (self.origin is None or self.distance_mm <= 0):
            raise InputError("lamp: a light at a distance needs an origin and a positive distance")


@dataclass(frozen=True)
class Lights:
    """All light of a scene.

    Attributes:
        ambient: (9, 3) light from all sides, as a polynomial of the normal (x, y, z): what a white
            matt patch sends back is the sum over rows of ambient times
            (1, y, z, x, xy, yz, 3z^2 - 1, xz, x^2 - y^2), linear RGB. Negative sums count as 0.
        lamps: single lights.
        shadow_size: texels along a shadow map's side.
        shadow_bias_mm: how far behind the lit surface a point may lie without being in shadow.
    """

    ambient: Float32[np.ndarray, "9 3"]
    lamps: tuple[Lamp, ...] = ()
    shadow_size: int = 192
    shadow_bias_mm: float = 3.0

    @classmethod
    def even(cls, level: float = 1.0, lamps: tuple[Lamp, ...] = ()) -> Lights:
        """The same grey ambient light from all sides."""
        ambient = np.zeros((9, 3), np.float32)
        ambient[0] = level
        return cls(ambient, lamps)


def ambient_from_surroundings(
    directions: Float[np.ndarray, "D 3"], radiance: Float[np.ndarray, "D 3"]
) -> Float32[np.ndarray, "9 3"]:
    """Ambient coefficients (see :class:`Lights`) of light seen from many directions.

    Args:
        directions: unit vectors from the scene outwards, camera frame, evenly spread over the
            sphere.
        radiance: linear RGB that arrives from each.
    """
    # Ramamoorthi and Hanrahan, 2001: the cosine lobe keeps 1, 2/3 and 1/4 of the orders.
    kept = np.array([1.0, 2 / 3, 2 / 3, 2 / 3] + [0.25] * 5)
    squared = np.array([1.0, 3.0, 3.0, 3.0, 15.0, 15.0, 1.25, 15.0, 3.75])
    mean = ambient_basis(directions).T @ radiance / len(directions)
    return (mean * (kept * squared)[:, None]).astype(np.float32)


def ambient_basis(directions: Float[np.ndarray, "D 3"]) -> Float[np.ndarray, "D 9"]:
    """The nine polynomials that ``Lights.ambient`` weighs."""
    x, y, z = directions.T
    return np.stack(
        [np.ones_like(x), y, z, x, x * y, y * z, 3 * z * z - 1, x * z, x * x - y * y], axis=1
    )
