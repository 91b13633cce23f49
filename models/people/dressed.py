"""Heads with all that is on them: what is painted, and what is solid."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
from jaxtyping import Float32, Float64, Int32

from ..face.rotation import matrix_from_yaw_pitch_roll
from ..makehuman.build import HeadModel
from ..makehuman.expression import sample_expression
from ..render.raster import vertex_normals
from ..render.surface import Surface
from ..render.texture import Texture
from ..synthetic.clothes import collar, trunk
from ..synthetic.framing import Pose
from ..synthetic.glasses import make_glasses
from ..synthetic.hats import sample_hat
from ..synthetic.headmap import HeadMap
from ..synthetic.person import Person
from ..synthetic.scene import Look, Studio, following
from .fields import Mesh
from .subdivision import Subdivision, split_corners

_GLASSES, _HAT, _COLLAR = 0.22, 0.12, 0.6
_STILL = Pose(np.eye(3), np.zeros(3))
_NO_TEXTURE = Texture.from_image(np.full((4, 4, 3), 255, np.uint8))


@dataclass(frozen=True)
class DressedHead:
    """One person in one attitude; everything in the head frame, mm.

    Attributes:
        person: who.
        closed: skin with the trunk, a closed mesh that is solid.
        coarse: the same with fewer triangles.
        balls: (centre (3,), radius) of the eyes.
        features: surfaces that are only painted: skin, trunk, eyes, lashes, glasses.
        mouth: teeth and tongue.
        hair: sheets of hair on the head.
        beard: sheets of a beard.
        cloth: sheets of clothes, hats and headphones.
        hood: sheets of what the hair disappears under.
    """

    person: Person
    closed: Mesh
    coarse: Mesh
    balls: list[tuple[Float64[np.ndarray, " 3"], float]]
    features: list[Surface]
    mouth: list[Surface]
    hair: list[Surface] = field(default_factory=list)
    beard: list[Surface] = field(default_factory=list)
    cloth: list[Surface] = field(default_factory=list)
    hood: list[Surface] = field(default_factory=list)


class HeadDresser(Studio):
    """Draws dressed heads; see :class:`~mien.models.synthetic.scene.Studio`."""

    def __init__(self, head: HeadModel, assets: Path | None = None) -> None:
        """Prepare; ``assets`` is a folder of CC0 MakeHuman hair, or None: procedural hair."""
        super().__init__(head, assets)
        self._head_map = HeadMap(self.reference, self._skin)
        count, edges = len(self.reference), len(self._edge)
        rows = len(trunk(self.reference, self._edge, self._vertex_uv, _NO_TEXTURE).vertices)
        rows = rows // (2 * edges) - 1
        self._closed = closed_topology(self._skin, self._edge, count, rows)
        total = count + rows * edges + 1
        self._subdivision = Subdivision.of(self._closed, total)
        finer = self._subdivision.triangles
        self._finer = Subdivision.of(finer, len(self._subdivision.weights.indptr) - 1)
        tint, occlusion = np.ones((total, 3), np.float32), np.ones(total, np.float32)
        tint[:count], occlusion[:count] = self._tint, self._occlusion
        self._closed_tint = self._subdivision.attribute(tint)
        self._closed_occlusion = self._subdivision.attribute(occlusion)

    def sample(self, rng: np.random.Generator) -> DressedHead:
        """Draw a person, an expression, a turn of the neck, hair and clothes."""
        look = self.sample_look(rng)
        person = look.person
        values = sample_expression(rng)
        moved = self.expressed(person, values)
        neck = rng.normal(0, 1, 3) * [16.0, 8.0, 5.0]
        body = matrix_from_yaw_pitch_roll(np.clip(neck, -45, 45))

        skin, coarse, closed = self._skin_and_trunk(look, moved, body, rng)
        balls = self._eyes.eyeballs(person, values, rng)
        features = [skin, *balls, self._eyes.lashes(moved, person, rng)]
        cloth = collar(moved[self._neck], rng) if rng.random() < _COLLAR else []
        if rng.random() < _GLASSES:
            features += make_glasses(person.neutral[self.head.topology.landmarks], rng)
        hair: list[Surface] = []
        hood: list[Surface] = []
        hides_hair = False
        if rng.random() < _HAT:
            hat, hides_hair = sample_hat(self._head_map.measure(moved), rng)
            (hood if hides_hair else cloth).extend(hat)
        if not hides_hair:
            hair = self._hair.hair(person, rng)
        beard = self._hair.beard(replace(person, neutral=moved), rng)
        mouth = self._eyes.mouth(moved, rng)
        return DressedHead(
            person=person,
            closed=closed,
            coarse=coarse,
            balls=[_ball(ball) for ball in balls],
            features=features,
            mouth=mouth,
            hair=[self._bent(s, body) for s in hair],
            beard=[self._bent(s, body) for s in beard],
            cloth=[self._bent(s, body) for s in cloth],
            hood=[self._bent(s, body) for s in hood],
        )

    def _skin_and_trunk(
        self,
        look: Look,
        moved: Float32[np.ndarray, "V 3"],
        body: Float64[np.ndarray, "3 3"],
        rng: np.random.Generator,
    ) -> tuple[Surface, Mesh, Mesh]:
        """What is painted; as closed meshes, what it was made of, and the fine one: the truth."""
        below = trunk(moved, self._edge, self._vertex_uv, look.texture)
        rows = below.vertices.reshape(-1, len(self._edge), 2, 3)[1:, :, 0]
        points = np.concatenate([moved, rows.reshape(-1, 3), rows[-1].mean(0, keepdims=True)])
        placed = self._to_camera(points, following(points), _STILL, body)
        placed[: len(moved)] = self._to_camera(moved, self._follow, _STILL, body)
        placed = draped(placed, vertex_normals(placed, self._closed), rng)
        smooth = self._subdivision.points(placed)
        uv = below.uv
        if uv is None:
            raise RuntimeError("the trunk has no texture coordinates")
        corners = split_corners(np.concatenate([self._uv, uv]))
        triangles = self._subdivision.triangles
        skin = Surface(
            smooth,
            np.ascontiguousarray(triangles[: len(corners)]),
            normals=vertex_normals(smooth, triangles),
            colour=self._closed_tint,
            texture=look.texture,
            uv=corners,
            occlusion=self._closed_occlusion,
            specular=float(rng.uniform(0.015, 0.05)),
            roughness=float(rng.uniform(0.35, 0.6)),
            subsurface=float(rng.uniform(0.3, 0.9)),
        )
        closed = (self._finer.points(smooth), self._finer.triangles)
        return skin, (placed, self._closed), closed

    def _bent(self, surface: Surface, body: Float64[np.ndarray, "3 3"]) -> Surface:
        """What is on a head, bent at the neck with it."""
        vertices = surface.vertices
        return replace(
            surface, vertices=self._to_camera(vertices, following(vertices), _STILL, body)
        )


def _ball(surface: Surface) -> tuple[Float64[np.ndarray, " 3"], float]:
    """The sphere that a painted eyeball (without its back) is part of, by least squares."""
    points = surface.vertices.astype(np.float64)
    design = np.c_[2 * points, np.ones(len(points))]
    solution = np.linalg.lstsq(design, (points**2).sum(1), rcond=None)[0]
    centre = solution[:3]
    return centre, float(np.sqrt(solution[3] + centre @ centre))


def closed_topology(
    skin: Int32[np.ndarray, "M 3"], edge: Int32[np.ndarray, "E 2"], count: int, rows: int
) -> Int32[np.ndarray, "N 3"]:
    """Triangles of the skin, of the trunk's rows below its edge, and of a lid far below.

    Vertices: ``count`` of the skin, ``rows`` times one for each edge (its first end), the lid's.
    """
    place = np.zeros(count, np.int32)
    n = len(edge)
    place[edge[:, 0]] = np.arange(n, dtype=np.int32)
    first, second = place[edge[:, 0]], place[edge[:, 1]]
    levels = [edge] + [np.stack([first, second], 1) + count + row * n for row in range(rows)]
    halves: list[list[np.ndarray]] = [[], []]
    for upper, low in pairwise(levels):
        a, b, c, d = upper[:, 1], upper[:, 0], low[:, 0], low[:, 1]
        halves[0].append(np.stack([a, b, c], 1))
        halves[1].append(np.stack([a, c, d], 1))
    last = levels[-1]
    lid = np.stack([last[:, 1], last[:, 0], np.full(n, count + rows * n)], 1)
    parts = [skin, *halves[0], *halves[1], lid]
    return np.ascontiguousarray(np.concatenate(parts), np.int32)


def draped(
    points: Float32[np.ndarray, "V 3"],
    normals: Float32[np.ndarray, "V 3"],
    rng: np.random.Generator,
) -> Float32[np.ndarray, "V 3"]:
    """Shoulders and trunk under cloth: thicker than the skin, in soft folds; head frame, mm."""
    thick, folds = rng.uniform(0, 9), rng.uniform(0, 5)
    waves = rng.normal(0, 1, (3, 8))
    waves *= rng.uniform(0.025, 0.09, 8) / np.linalg.norm(waves, axis=0)
    phases = rng.uniform(0, 2 * np.pi, 8)
    noise = np.sin(points @ waves + phases).sum(1) / 2
    share = np.clip((points[:, 1] + 0.25 * points[:, 2] - 190) / 45, 0, 1)
    lift = share * (thick + folds * noise)
    return (points + lift[:, None] * normals).astype(np.float32)
