"""Draws people from head to foot: who, how they hold themselves, what they wear."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from jaxtyping import Float32, Float64, Int32

from ..makehuman.build import HeadModel
from ..makehuman.expression import sample_expression
from ..makehuman.head import Similarity, align, cylinder_uv, triangulate
from ..makehuman.identity import IdentitySampler
from ..render.raster import vertex_normals
from ..render.surface import Surface
from ..synthetic.eyes import srgb
from ..synthetic.person import Person
from ..synthetic.scene import Look, Studio
from .body_cloth import SkirtMaker, Suit, read_suits
from .body_solid import Sheets, thickened
from .fields import Mesh
from .outfits import Outfit, Tailor, dressed, spanning
from .poses import sample_attitude
from .skinning import Attitude, Rig, skin
from .subdivision import Subdivision

Points = Float32[np.ndarray, "V 3"]
_SUIT = 0.3
_AXES = np.diag([1.0, -1.0, -1.0])
"""From the base mesh's axes (y up, z forwards) to the subject's (y down, z backwards)."""
_MM_PER_DM = 100.0
_BODY_FOLDERS = ("torso", "hip", "arms", "legs")
_BODY_SIGMA, _BODY_CHANCE = 0.25, 0.25
_FACE = (np.array([-54.0, -24.0, -70.0]), np.array([54.0, 118.0, 62.0]))
"""The part of the face that hair does not fill, head frame, mm."""
_SHRUNK_MM = 5.0
"""By which skin below a suit sinks, so that it does not pierce it."""


@dataclass(frozen=True)
class Painted:
    """Where something has which colour.

    Attributes:
        points: (K, 3) subject frame, mm.
        colours: (K, 3) linear RGB.
    """

    points: Points
    colours: Float32[np.ndarray, "V 3"]


@dataclass(frozen=True)
class DressedBody:
    """One person in one attitude; subject frame: x to its left, y down, z backwards, mm.

    Attributes:
        person: who.
        closed: closed meshes that are solid together.
        painted: colours of all surfaces.
        cloth: sheets of a suit.
    """

    person: Person
    closed: list[Mesh]
    painted: list[Painted] = field(default_factory=list)
    cloth: Sheets | None = None


class BodyDresser(Studio):
    """Draws dressed bodies; everything slow is prepared once."""

    def __init__(self, head: HeadModel, assets: Path | None = None) -> None:
        """Prepare; ``assets`` is a folder of CC0 MakeHuman hair and suits, or None."""
        super().__init__(head, assets)
        data = head.topology.data
        base, groups = data.base, np.array(data.base.groups)
        self.rig = Rig.load(data)
        self._whole = IdentitySampler(data, np.arange(len(base.vertices), dtype=np.int32))
        self._coarse = triangulate(base.quads[groups == "body"])
        self._count = int(self._coarse.max()) + 1
        self._finer = Subdivision.of(self._coarse, self._count)
        self._tailor = Tailor(data, self.rig, self._finer, self._count)
        self._skirts = SkirtMaker(data, self.rig)
        self._suits: list[Suit] = [] if assets is None else read_suits(assets, data, self.rig)
        self._balls = [
            _compact(triangulate(base.quads[groups == name]))
            for name in ("helper-l-eye", "helper-r-eye")
        ]
        self._details = _paired(
            [
                name
                for folder in _BODY_FOLDERS
                for name in data.names(folder)
                if "trans" not in name and "measure" not in name
            ]
        )
        self._targets = {name: data.target(name) for names in self._details for name in names}
        self._head_bone = self.rig.names.index("head")

    def sample(self, rng: np.random.Generator, attitude: Attitude | None = None) -> DressedBody:
        """Draw a person, an attitude (unless given), an outfit and hair."""
        look = self.sample_look(rng)
        person = look.person
        values = sample_expression(rng)
        whole = self._shape(person, rng)
        to_head = align(
            whole[self.head.topology.vertex_ids][self.head.face_vertices].astype(np.float64),
            self.head.model.mean.astype(np.float64),
        )
        in_head = to_head.apply(whole)
        in_head[self.head.topology.vertex_ids] = self.expressed(person, values)
        rest = from_head(to_head, in_head)
        if attitude is None:
            attitude = sample_attitude(rng, max(0.0, 2 * person.identity.weight - 1))
        transforms = self.rig.transforms(rest, attitude)
        suit = None
        if self._suits and rng.random() < _SUIT:
            cut = "male" if person.identity.masculinity > 0.5 else "female"
            fitting = [s for s in self._suits if s.mesh.name.startswith(cut)] or self._suits
            suit = fitting[int(rng.integers(len(fitting)))]
        if suit is not None:
            hidden = suit.hidden & (np.arange(len(rest)) < self._count)
            shrunk = vertex_normals(rest, self._coarse) * hidden[:, None]
            sunk = (rest - np.float32(_SHRUNK_MM) * shrunk).astype(np.float32)
        else:
            sunk = rest
        posed = skin(sunk, self.rig.weights, transforms)
        outfit = (
            self._tailor.outfit(rng, person.identity.masculinity)
            if suit is None
            else self._tailor.shoes(rng)
        )
        # The first of the finer vertices are the coarse ones.
        tight = np.clip(outfit.covered[: self._count] * 2 - 1, 0, 1)
        spanned = spanning(posed[: self._count], self._coarse, tight)
        smooth = self._finer.points(spanned)
        made = self._body(look, smooth, outfit, rng)
        if suit is not None:
            made = self._in_suit(made, suit, rest, transforms, rng)
        if outfit.skirts:
            seen = ~np.any([self._tailor.below(skirt) for skirt in outfit.skirts], axis=0)
            body = made.painted[0]
            made.painted[0] = Painted(body.points[seen], body.colours[seen])
        for skirt in outfit.skirts:
            points, triangles = self._skirts.tube(posed[self._skirts.ids], skirt, rng)
            made.closed.append((points, triangles))
            tint = np.tile(skirt.colour, (len(points), 1)).astype(np.float32)
            made.painted.append(Painted(*_denser(points, triangles, tint)))
        self._add_eyes(made, posed)
        self._add_hair(made, in_head, to_head, transforms[self._head_bone], rng)
        return made

    def _shape(self, person: Person, rng: np.random.Generator) -> Points:
        """The person's whole body at rest, base axes, decimetres; the head is the person's."""
        whole = self._whole.vertices(person.identity)
        change = np.zeros_like(whole)
        for names in self._details:
            if rng.random() > _BODY_CHANCE:
                continue
            weight = np.float32(min(abs(rng.normal(0, _BODY_SIGMA)), 0.9))
            for name in names:
                ids, offsets = self._targets[name]
                change[ids] += weight * offsets
        head = self.rig.share("head", "neck")[:, None]
        return (whole + change * (1 - head)).astype(np.float32)

    def _body(
        self, look: Look, smooth: Points, outfit: Outfit, rng: np.random.Generator
    ) -> DressedBody:
        triangles = self._finer.triangles
        surface = dressed(smooth, triangles, outfit)
        colours = np.where(
            (outfit.covered > 0.5)[:, None], outfit.colour, self._skin_colours(look, rng)
        )
        painted = Painted(surface, colours.astype(np.float32))
        return DressedBody(look.person, [(surface, triangles)], [painted])

    def _skin_colours(self, look: Look, rng: np.random.Generator) -> Points:
        """Of the smooth body: the face's texture, and skin below it."""
        colours = np.tile(srgb(look.person.skin), (self._count, 1)).astype(np.float32)
        colours *= np.exp(rng.normal(0, 0.03, self._count))[:, None]
        ids = self.head.topology.vertex_ids
        kept = ids < self._count
        uv = cylinder_uv(self.head.topology)[kept]
        offset, height, width = look.texture.levels[1]
        image = look.texture.texels[offset : offset + height * width, :3]
        row = np.clip((1 - uv[:, 1]) * height, 0, height - 1).astype(int)
        column = (uv[:, 0] * width).astype(int) % width
        base = self.head.topology.data.base.vertices[ids[kept]]
        share = np.clip((base[:, 1] - 5.95) / 0.2, 0, 1)[:, None]
        seen = image.reshape(height, width, 3)[row, column]
        colours[ids[kept]] = colours[ids[kept]] * (1 - share) + seen * share
        return self._finer.attribute(colours)

    def _in_suit(
        self,
        made: DressedBody,
        suit: Suit,
        rest: Points,
        transforms: Float64[np.ndarray, "B 3 4"],
        rng: np.random.Generator,
    ) -> DressedBody:
        """Put on a suit: it is the nearest to all that it hides."""
        posed = skin(suit.mesh.fit(rest), suit.weights, transforms)
        hidden = self._finer.attribute(suit.hidden[: self._count].astype(np.float32)) > 0.5
        body = made.painted[0]
        shown = Painted(body.points[~hidden], body.colours[~hidden])
        sheets = Sheets([(posed, suit.mesh.triangles)], 6.0, 4.0, 13.0)
        coloured = Painted(*_denser(posed, suit.mesh.triangles, suit.colours(rng)))
        return DressedBody(made.person, made.closed, [shown, coloured], sheets)

    def _add_eyes(self, made: DressedBody, posed: Points) -> None:
        white, dark = srgb(np.array([225.0, 215, 208])), srgb(np.asarray(made.person.iris)) * 0.5
        for ids, triangles in self._balls:
            points = posed[ids]
            made.closed.append((points, triangles))
            # The iris is where the ball is farthest in front; a body's pictures show no more.
            front = points[:, 2] < points[:, 2].min() + 0.16 * np.ptp(points[:, 2])
            colours = np.where(front[:, None], dark, white).astype(np.float32)
            made.painted.append(Painted(points, colours))

    def _add_hair(
        self,
        made: DressedBody,
        in_head: Points,
        to_head: Similarity,
        carried: Float64[np.ndarray, "3 4"],
        rng: np.random.Generator,
    ) -> None:
        """Hair and beard, which turn with the head."""
        closed = [(in_head[: self._count], self._coarse)]
        grown: list[tuple[Sequence[Surface], float, float]] = [
            (self._hair.hair(made.person, rng), 2.2, 9.0),
            (self._hair.beard(made.person, rng), 1.6, 4.0),
        ]
        for surfaces, thickness, radius in grown:
            if not surfaces:
                continue
            meshes = [(s.vertices, s.triangles) for s in surfaces]
            points, triangles = thickened(closed, Sheets(meshes, 4.0, thickness, radius, _FACE))
            if not len(triangles):
                continue
            rest = from_head(to_head, points)
            placed = (rest @ carried[:, :3].T + carried[:, 3]).astype(np.float32)
            made.closed.append((placed, triangles))
            shade = rng.uniform(0.6, 1.0) * np.exp(rng.normal(0, 0.25, len(placed)))
            colours = (srgb(made.person.hair) * shade[:, None]).astype(np.float32)
            made.painted.append(Painted(placed, colours))


def from_head(to_head: Similarity, points: Points) -> Points:
    """Points of a person's head frame in the subject frame at rest, true to size, mm."""
    base = (points - to_head.translation) @ to_head.rotation / to_head.scale
    return (base * _MM_PER_DM @ _AXES).astype(np.float32)


def _paired(names: list[str]) -> list[list[str]]:
    """Targets of the left and of the right that belong together."""
    groups: dict[str, list[str]] = {}
    for name in names:
        folder, _, leaf = name.partition("/")
        stem = leaf[2:] if leaf.startswith(("l-", "r-")) else leaf
        groups.setdefault(f"{folder}/{stem}", []).append(name)
    return list(groups.values())


def _compact(
    triangles: Int32[np.ndarray, "M 3"],
) -> tuple[Int32[np.ndarray, " K"], Int32[np.ndarray, "M 3"]]:
    ids, numbers = np.unique(triangles, return_inverse=True)
    return ids, np.ascontiguousarray(numbers.reshape(-1, 3), np.int32)


def _denser(
    points: Points, triangles: Int32[np.ndarray, "M 3"], colours: Points
) -> tuple[Float32[np.ndarray, "K 3"], Float32[np.ndarray, "K 3"]]:
    """Vertices, and points spread over the triangles."""
    corners, tints = points[triangles], colours[triangles][:, 0]
    made = [np.einsum("k,mkj->mj", np.asarray(share), corners) for share in _SPREAD]
    return (
        np.concatenate([points, *made]).astype(np.float32),
        np.concatenate([colours, *[tints] * len(made)]).astype(np.float32),
    )


_SPREAD = [(a / 4, b / 4, (4 - a - b) / 4) for a in range(5) for b in range(5 - a)]
"""Points of a triangle, as shares of its corners."""
