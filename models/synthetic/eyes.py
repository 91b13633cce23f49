"""Eyeballs, lashes, teeth and tongue."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float32, Int32

from ..makehuman.expression import gaze_degrees
from ..makehuman.head import HeadTopology, triangulate
from ..render.surface import Surface
from ..render.texture import linear_from_srgb
from .person import Person

_RINGS_DEG = (4.0, 9.0, 13.0, 17.0, 22.0, 26.0, 28.5, 31.0, 36.0, 48.0, 65.0, 85.0, 110.0)
_SEGMENTS = 18
_IRIS_DEG = 28.5
Vertices = Float32[np.ndarray, "V 3"]


def srgb(colour: tuple[float, float, float] | np.ndarray) -> Float32[np.ndarray, " 3"]:
    """Linear light of an sRGB colour, 0 to 255."""
    return linear_from_srgb(np.clip(np.asarray(colour), 0, 255).astype(np.uint8))


def _ball() -> tuple[Float32[np.ndarray, "K 3"], Int32[np.ndarray, "M 3"]]:
    """Unit sphere of rings around -z (towards the camera), without its back."""
    points = [np.array([[0.0, 0.0, -1.0]])]
    around = np.linspace(0, 2 * np.pi, _SEGMENTS, endpoint=False)
    for ring in np.radians(_RINGS_DEG):
        xy = np.sin(ring) * np.stack([np.cos(around), np.sin(around)], 1)
        points.append(np.c_[xy, np.full(_SEGMENTS, -np.cos(ring))])
    step = np.arange(_SEGMENTS)
    ahead = (step + 1) % _SEGMENTS
    triangles = [np.stack([np.zeros_like(step), 1 + ahead, 1 + step], 1)]
    for ring in range(len(_RINGS_DEG) - 1):
        a, b = 1 + ring * _SEGMENTS, 1 + (ring + 1) * _SEGMENTS
        triangles.append(np.stack([a + step, a + ahead, b + ahead], 1))
        triangles.append(np.stack([a + step, b + ahead, b + step], 1))
    return np.concatenate(points).astype(np.float32), np.concatenate(triangles).astype(np.int32)


_BALL, _BALL_TRIANGLES = _ball()


def _compact(
    quads: Int32[np.ndarray, "F 4"],
) -> tuple[Int32[np.ndarray, " K"], Int32[np.ndarray, "M 3"]]:
    """Vertices that a part of the head uses, and its triangles in their numbering."""
    used, numbers = np.unique(quads, return_inverse=True)
    return used, triangulate(numbers.reshape(quads.shape).astype(np.int32))


def _outwards(vertices: Vertices) -> Vertices:
    """Normals of an arch of teeth: away from its middle; the mesh's own fold back and forth."""
    middle = (vertices.min(0) + vertices.max(0)) / 2
    away = (vertices - [middle[0], middle[1], vertices[:, 2].max() + 10]) * [1.0, 0.5, 1.0]
    return (away / (np.linalg.norm(away, axis=1, keepdims=True) + 1e-6)).astype(np.float32)


class EyePainter:
    """Makes the surfaces that lie in the openings of the skin."""

    def __init__(self, topology: HeadTopology) -> None:
        self._eyes = {
            "Left": np.unique(topology.parts["helper-l-eye"]),
            "Right": np.unique(topology.parts["helper-r-eye"]),
        }
        self._lashes = _compact(
            np.concatenate([q for name, q in topology.parts.items() if "eyelashes" in name])
        )
        self._teeth = [
            _compact(topology.parts[f"helper-{row}-teeth"]) for row in ("upper", "lower")
        ]
        self._tongue = _compact(topology.parts["helper-tongue"])

    def eyeballs(
        self, person: Person, values: Float32[np.ndarray, " 52"], rng: np.random.Generator
    ) -> list[Surface]:
        """Each eye's vertices in the head frame, and its surface (vertices to be replaced)."""
        pupil_deg = rng.uniform(9, 17)
        colour = self._colours(person, pupil_deg, rng)
        shade = rng.uniform(0.45, 0.9)
        made = []
        for side, index in self._eyes.items():
            points = person.neutral[index]
            centre = (points.max(0) + points.min(0)) / 2
            radius = np.linalg.norm(points - centre, axis=1).max()
            left, up = gaze_degrees(values, side)
            # x is to the subject's left, y down; the ball looks along -z.
            a, b = np.radians(left), np.radians(up)
            yaw = np.array([[np.cos(a), 0, -np.sin(a)], [0, 1, 0], [np.sin(a), 0, np.cos(a)]])
            pitch = np.array([[1, 0, 0], [0, np.cos(b), np.sin(b)], [0, -np.sin(b), np.cos(b)]])
            ball = _BALL @ (yaw @ pitch).T.astype(np.float32)
            # Lids shade the upper part of the ball.
            occlusion = np.clip(shade - 0.35 * -ball[:, 1], 0.2, 1).astype(np.float32)
            vertices = (centre + 0.985 * radius * ball).astype(np.float32)
            surface = Surface(
                vertices,
                _BALL_TRIANGLES,
                colour=colour,
                occlusion=occlusion,
                specular=0.04,
                roughness=0.12,
                casts_shadow=False,
            )
            made.append(surface)
        return made

    def _colours(
        self, person: Person, pupil_deg: float, rng: np.random.Generator
    ) -> Float32[np.ndarray, "K 3"]:
        white = srgb(np.array([232, 224, 216]) * rng.uniform(0.8, 1.02))
        iris = srgb(person.iris)
        rows = []
        for ring in (0.0, *_RINGS_DEG):
            if ring < pupil_deg:
                rows.append(np.full(3, 0.004))
            elif ring < _IRIS_DEG:
                # The limbus is darker than the iris, the rim of the pupil lighter.
                part = (ring - pupil_deg) / (_IRIS_DEG - pupil_deg)
                rows.append(iris * (1.25 - 0.8 * part**2) * rng.uniform(0.9, 1.1))
            else:
                red = min((ring - _IRIS_DEG) / 90, 1.0)
                rows.append(white * (1 - red * np.array([0.1, 0.45, 0.45])))
        around = np.array([1] + [_SEGMENTS] * len(_RINGS_DEG))
        return np.repeat(np.asarray(rows, np.float32), around, axis=0)

    def lashes(self, vertices: Vertices, person: Person, rng: np.random.Generator) -> Surface:
        """Upper and lower lashes as veils of the lash geometry."""
        opacity = rng.uniform(0.15, 0.9) + 0.35 * person.makeup
        used, triangles = self._lashes
        vertices, n = vertices[used], len(used)
        return Surface(
            vertices,
            triangles,
            colour=np.tile(srgb(person.hair) * 0.3, (n, 1)).astype(np.float32),
            alpha=np.full(n, min(opacity, 0.95), np.float32),
            specular=0.0,
            two_sided=True,
            casts_shadow=False,
        )

    def mouth(self, vertices: Vertices, rng: np.random.Generator) -> list[Surface]:
        """Teeth and tongue, in the dark of the mouth."""
        made = []
        # Smiles show teeth in full light, however little the jaw opens.
        dark = np.float32(rng.uniform(0.45, 1.0))
        ivory = srgb(np.array([240, 232, 214]) * rng.uniform(0.75, 1.05))
        pink = srgb(np.array([190, 92, 92]) * rng.uniform(0.7, 1.1))
        parts = [
            *((t, ivory, dark) for t in self._teeth),
            (self._tongue, pink, np.float32(0.6) * dark),
        ]
        for (used, triangles), colour, light in parts:
            points, n = vertices[used], len(used)
            surface = Surface(
                points,
                triangles,
                normals=_outwards(points),
                colour=np.tile(colour, (n, 1)).astype(np.float32),
                # The farther back in the mouth, the darker.
                occlusion=light * np.clip(1.1 - (points[:, 2] - points[:, 2].min()) / 34, 0.1, 1),
                specular=0.04,
                roughness=0.25,
                two_sided=True,
                casts_shadow=False,
            )
            made.append(surface)
        return made
