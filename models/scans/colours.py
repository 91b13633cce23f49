"""What the closed head looks like: skin by its texture, eyes by their gaze, the mouth by depth."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, no_type_check

import numpy as np
import numpy.typing as npt
from jaxtyping import Float32, Int32, UInt8
from numba import njit

from ..makehuman.expression import gaze_degrees
from ..makehuman.head import HeadTopology, cylinder_uv
from ..render.occlusion import ambient_occlusion
from ..render.surface import Surface
from ..render.texture import Texture, linear_from_srgb
from ..render.texture import sample as sample_texture
from ..synthetic.person import Person
from .closed_head import GUM_AND_TEETH, LEFT_EYE, MOUTH, RIGHT_EYE, SKIN, TONGUE, ClosedHead

Array = npt.NDArray[Any]
_TEXEL_MM: Final = 1.4
"""About the size of a texel of the head's texture on the face."""
_IRIS_DEG, _PUPIL_DEG = 28.5, 12.0
_DARK_AT_MM: Final = 26.0
_TOOTH_MM: Final = 11.0


@dataclass(frozen=True)
class Paint:
    """Colours of one person with one expression; linear light.

    Attributes:
        kinds: (M,) kinds of triangles.
        uv: (M, 3, 2) places in the texture of the skin.
        texture: of the skin.
        tint: (V, 3) factor of the skin's colour, colour of everything else but the eyes.
        eyes: (2, 13) right and left: centre, radius, direction of gaze, colours of iris and white.
    """

    kinds: UInt8[np.ndarray, " M"]
    uv: Float32[np.ndarray, "M 3 2"]
    texture: Texture
    tint: Float32[np.ndarray, "V 3"]
    eyes: Float32[np.ndarray, "2 13"]

    def at(
        self,
        points: Float32[np.ndarray, "P 3"],
        triangles: Int32[np.ndarray, "M 3"],
        which: Int32[np.ndarray, " P"],
        weights: Float32[np.ndarray, "P 2"],
        pixel_mm: float,
    ) -> UInt8[np.ndarray, "P 3"]:
        """sRGB colours (red first) of points on the surface.

        Args:
            points: mm.
            triangles: of the closed head.
            which: triangle of each point.
            weights: of its second and third corner.
            pixel_mm: over which a colour is averaged.
        """
        level = max(0.0, float(np.log2(pixel_mm / _TEXEL_MM)))
        linear = np.empty((len(points), 3), np.float32)
        texture = self.texture
        _paint(
            points, triangles, which, weights, self.kinds, self.uv, texture.texels, texture.levels,
            np.float32(level), self.tint, self.eyes, linear,
        )  # fmt: skip
        return srgb_bytes(linear)


def srgb_bytes(linear: Float32[np.ndarray, "*P 3"]) -> UInt8[np.ndarray, "*P 3"]:
    """sRGB bytes of linear light in the same order, clamped."""
    light = np.clip(linear, 0.0, 1.0)
    code = np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)
    return np.rint(code * 255.0).astype(np.uint8)


class Painter:
    """Makes the paint of people, for one closed head."""

    def __init__(
        self, topology: HeadTopology, closed: ClosedHead, reference: Float32[np.ndarray, "V 3"]
    ) -> None:
        self._closed = closed
        uv = cylinder_uv(topology)[closed.triangles]
        wrap = np.ptp(uv[..., 0], axis=1) > 0.5
        uv[wrap, :, 0] += uv[wrap, :, 0] < 0.5
        self._uv = np.ascontiguousarray(uv)
        skin = closed.triangles[slice(*closed.parts[0])]
        placed = closed.placer.placed(reference, reference)
        (reached,) = ambient_occlusion([Surface(placed, skin)], directions=64)
        # Folds that light hardly reaches (nostrils) are dark; what is open to half of it is not.
        self._open = np.clip(0.15 + 1.7 * reached, 0, 1).astype(np.float32)
        self._vertices = {
            kind: np.unique(closed.triangles[closed.kinds == kind])
            for kind in (MOUTH, GUM_AND_TEETH, TONGUE)
        }
        rows = [np.unique(closed.triangles[slice(*part)]) for part in closed.parts[1:3]]
        self._teeth = tuple(zip(rows, (-1.0, 1.0), strict=True))

    def paint(
        self,
        person: Person,
        texture: Texture,
        values: Float32[np.ndarray, " 52"],
        placed: Float32[np.ndarray, "V 3"],
    ) -> Paint:
        """Of a person's closed head with an expression.

        Args:
            person: who.
            texture: of the skin.
            values: blendshapes; they turn the eyes.
            placed: (V, 3) vertices of the closed head with this expression, mm.
        """
        tint = np.repeat(self._open[:, None], 3, axis=1)
        pink, dark = linear_from_srgb(np.array([[150, 66, 64], [38, 12, 12]], np.uint8))
        ivory, tongue = linear_from_srgb(np.array([[226, 216, 196], [178, 92, 90]], np.uint8))
        front = placed[self._vertices[MOUTH], 2].min()

        def depth(vertices: Int32[np.ndarray, " K"]) -> Float32[np.ndarray, "K 1"]:
            return np.clip((placed[vertices, 2:] - front - 4) / _DARK_AT_MM, 0, 1)

        inside = self._vertices[MOUTH]
        tint[inside] = pink + depth(inside) * (dark - pink)
        for row, towards in self._teeth:
            y = towards * placed[row, 1]
            gum = np.clip((y - y.min() - _TOOTH_MM) / 3, 0, 1)[:, None]
            light = 0.9 - 0.8 * depth(row)
            tint[row] = (ivory + gum * (1.6 * pink - ivory)) * light
        flesh = self._vertices[TONGUE]
        tint[flesh] = tongue * (1.0 - 0.85 * depth(flesh))
        return Paint(
            self._closed.kinds,
            self._uv,
            texture,
            tint.astype(np.float32),
            self._eyes(person, values),
        )

    def _eyes(
        self, person: Person, values: Float32[np.ndarray, " 52"]
    ) -> Float32[np.ndarray, "2 13"]:
        rows = np.zeros((2, 13), np.float32)
        balls = self._closed.placer.eyeballs(person.neutral)
        for row, ball, side in zip(rows, balls, ("Right", "Left"), strict=True):
            left, up = np.radians(gaze_degrees(values, side))
            # x is to the subject's left, y down; the ball looks along -z.
            gaze = (np.sin(left) * np.cos(up), -np.sin(up), -np.cos(left) * np.cos(up))
            row[:3], row[3], row[4:7] = ball[0], ball[1], gaze
            row[7:10] = linear_from_srgb(np.clip(np.array(person.iris), 0, 255).astype(np.uint8))
            row[10:13] = linear_from_srgb(np.array([214, 206, 200], np.uint8))
        return rows


_COS_IRIS, _COS_PUPIL = float(np.cos(np.radians(_IRIS_DEG))), float(np.cos(np.radians(_PUPIL_DEG)))


@njit(cache=True, nogil=True)
@no_type_check
def _paint(
    points: Array,
    triangles: Array,
    which: Array,
    weights: Array,
    kinds: Array,
    uv: Array,
    texels: Array,
    levels: Array,
    level: float,
    tint: Array,
    eyes: Array,
    out: Array,
) -> None:
    one = np.float32(1.0)
    for p in range(len(points)):
        t = which[p]
        v, w = weights[p, 0], weights[p, 1]
        u = one - v - w
        kind = kinds[t]
        if kind in (RIGHT_EYE, LEFT_EYE):
            eye = eyes[0] if kind == RIGHT_EYE else eyes[1]
            x, y, z = points[p, 0] - eye[0], points[p, 1] - eye[1], points[p, 2] - eye[2]
            length = max(np.sqrt(x * x + y * y + z * z), np.float32(1e-6))
            along = (x * eye[4] + y * eye[5] + z * eye[6]) / length
            for c in range(3):
                if along > _COS_PUPIL:
                    out[p, c] = np.float32(0.006)
                elif along > _COS_IRIS:
                    out[p, c] = eye[7 + c]
                else:
                    out[p, c] = eye[10 + c]
            continue
        a, b, c2 = triangles[t, 0], triangles[t, 1], triangles[t, 2]
        for c in range(3):
            out[p, c] = u * tint[a, c] + v * tint[b, c] + w * tint[c2, c]
        if kind == SKIN:
            s = u * uv[t, 0, 0] + v * uv[t, 1, 0] + w * uv[t, 2, 0]
            r = u * uv[t, 0, 1] + v * uv[t, 1, 1] + w * uv[t, 2, 1]
            red, green, blue, _ = sample_texture(texels, levels, s, r, level)
            out[p, 0] *= red
            out[p, 1] *= green
            out[p, 2] *= blue
