"""Clothes as cloth over a body: which parts each garment covers, how far off the skin it lies."""

from __future__ import annotations

from dataclasses import dataclass, field

import cv2
import numpy as np
from jaxtyping import Bool, Float32, Int32

from ..makehuman.source import MakeHumanData
from ..render.raster import vertex_normals
from ..synthetic.eyes import srgb
from ..synthetic.noise2d import smoothstep
from .skinning import Rig
from .subdivision import Subdivision

Values = Float32[np.ndarray, " W"]
Points = Float32[np.ndarray, "W 3"]
_SHARP = 0.12
"""Width over which a garment's edge rises from the skin, decimetres of the base body."""


@dataclass(frozen=True)
class Skirt:
    """What hangs from the waist, around both legs.

    Attributes:
        length: 0 at the hips, 1 at the knees, 2 at the ankles.
        off: from the helper geometry at the hips, mm.
        flare: more at the hem, mm.
        folds: depth of the folds at the hem, mm.
        count: of folds around.
        colour: linear RGB.
    """

    length: float
    off: float
    flare: float
    folds: float
    count: int
    colour: Float32[np.ndarray, " 3"]


@dataclass(frozen=True)
class Outfit:
    """What a body wears.

    Attributes:
        lift: how far the cloth lies off each vertex of the smooth body, mm; 0 where bare.
        covered: 0 bare to 1 covered.
        colour: linear RGB where it is covered.
        skirts: tubes beside.
    """

    lift: Values
    covered: Values
    colour: Points
    skirts: list[Skirt] = field(default_factory=list)


class Tailor:
    """Cuts clothes on the base body; what it knows holds for every person."""

    def __init__(self, data: MakeHumanData, rig: Rig, finer: Subdivision, count: int) -> None:
        """Prepare; ``finer`` is the subdivision of the body's first ``count`` vertices."""
        base = data.base.vertices.astype(np.float64)
        joints = dict(zip(rig.names, rig.joints(base), strict=True))
        self.place = finer.attribute(base[:count])
        x, y, _ = self.place.T
        self._limb = finer.attribute(rig.share("upperarm", "lowerarm", "hand", *_FINGERS)[:count])
        self._foot = finer.attribute(rig.share("foot", "ball")[:count])
        shoulder, elbow, wrist = (joints[f"{b}_l"] for b in ("upperarm", "lowerarm", "hand"))
        mirrored = np.column_stack([np.abs(x), self.place[:, 1:]])
        self._along_arm = _along(mirrored, shoulder, elbow) + _along(mirrored, elbow, wrist)
        hip, knee, ankle = (joints[f"{b}_l"][1] for b in ("thigh", "calf", "foot"))
        self._along_leg = np.interp(-y, (-hip, -knee, -ankle, 8.6), (0, 1, 2, 2.3)).astype(
            np.float32
        )

    def outfit(self, rng: np.random.Generator, masculinity: float) -> Outfit:
        """Draw a whole outfit: above, below, at times over all, and shoes."""
        made = self._bare()
        tucked = rng.random() < 0.35
        low = rng.random()
        skirted = low < 0.35 * (1 - masculinity)
        waist = float(rng.uniform(1.0, 1.7))
        thick = float(rng.uniform(4, 9))
        if skirted:
            made = self._skirted(made, waist, rng)
        else:
            made = self._trousers(made, waist, thick, rng)
        shirt = fabric(rng)
        hem = waist - 0.15 if tucked else float(rng.uniform(-0.5, 0.5))
        made = self._top(
            made, rng, shirt, hem=hem, sleeve=float(rng.choice([0.12, 0.55, 0.7, 1.85, 1.9])),
            neck=float(rng.uniform(5.2, 5.7)), thick=thick + 4,
            loose=float(rng.uniform(0, 14)) * (not tucked), opening=0.0,
        )  # fmt: skip
        if rng.random() < 0.35:
            made = self._over(made, thick, rng)
        return self._shoes(made, rng)

    def shoes(self, rng: np.random.Generator) -> Outfit:
        """Shoes alone, for a body that wears a suit made by others."""
        return self._shoes(self._bare(), rng)

    def below(self, skirt: Skirt) -> Bool[np.ndarray, " W"]:
        """Which vertices of the smooth body a skirt hides."""
        along = self._along_leg
        return (along > 0.15) & (along < skirt.length - 0.08) & (self._limb < 0.3)

    def _bare(self) -> Outfit:
        count = len(self.place)
        zeros = np.zeros(count, np.float32)
        return Outfit(zeros, zeros.copy(), np.zeros((count, 3), np.float32))

    def _trousers(self, on: Outfit, waist: float, thick: float, rng: np.random.Generator) -> Outfit:
        length = float(rng.choice([0.55, 0.85, 1.5, 1.95, 2.03], p=[0.1, 0.1, 0.08, 0.42, 0.3]))
        cover = smoothstep(self.place[:, 1], waist + _SHARP / 2, waist - _SHARP / 2)
        cover = cover * smoothstep(self._along_leg, length + 0.015, length - 0.015)
        cover = cover * (self._limb < 0.3)
        wide = rng.uniform(0, 24) ** (1 if rng.random() < 0.6 else 0.6)
        loose = wide * smoothstep(self._along_leg, 0.1, max(length, 0.6))
        bunched = smoothstep(self._along_leg, 1.6, 1.9) * rng.uniform(0, 3)
        lift = (
            thick
            + loose
            + (rng.uniform(0.5, 2.5) + 0.12 * loose + bunched) * self._folds(rng, (0.5, 1.3, 0.5))
        )
        return self._on(on, cover, np.maximum(lift, 2.5), fabric(rng), rng)

    def _skirted(self, on: Outfit, waist: float, rng: np.random.Generator) -> Outfit:
        skirt = Skirt(
            length=float(rng.uniform(0.45, 1.8)),
            off=float(rng.uniform(-4, 10)),
            flare=float(rng.uniform(0, 90)),
            folds=float(rng.uniform(0, 22)),
            count=int(rng.integers(4, 13)),
            colour=fabric(rng),
        )
        cover = smoothstep(self.place[:, 1], waist + _SHARP / 2, waist - _SHARP / 2)
        cover = cover * (self._along_leg < 0.12) * (self._limb < 0.3)
        on = self._on(on, cover, np.full(len(cover), 6.0), skirt.colour, rng)
        if rng.random() < 0.4:  # tights
            bare = smoothstep(self._along_leg, -0.05, 0.0) * (self._limb < 0.3)
            on = self._on(on, bare, np.full(len(cover), 1.0), fabric(rng), rng)
        return Outfit(on.lift, on.covered, on.colour, [*on.skirts, skirt])

    def _over(self, on: Outfit, thick: float, rng: np.random.Generator) -> Outfit:
        """A jacket, or a coat whose lower part is a tube."""
        colour = fabric(rng)
        coat = rng.random() < 0.45
        hem = 0.35 if coat else float(rng.uniform(-0.6, 0.6))
        on = self._top(
            on, rng, colour, hem=hem, sleeve=1.95, neck=float(rng.uniform(5.5, 5.85)),
            thick=thick + rng.uniform(10, 17), loose=float(rng.uniform(0, 12)),
            opening=0.0 if coat and rng.random() < 0.6 else float(rng.uniform(0, 0.9)),
        )  # fmt: skip
        if not coat:
            return on
        skirt = Skirt(
            length=float(rng.uniform(0.4, 1.3)), off=float(rng.uniform(8, 18)),
            flare=float(rng.uniform(0, 45)), folds=float(rng.uniform(0, 9)),
            count=int(rng.integers(3, 8)), colour=colour,
        )  # fmt: skip
        return Outfit(on.lift, on.covered, on.colour, [*on.skirts, skirt])

    def _top(
        self,
        on: Outfit,
        rng: np.random.Generator,
        colour: Float32[np.ndarray, " 3"],
        *,
        hem: float,
        sleeve: float,
        neck: float,
        thick: float,
        loose: float,
        opening: float,
    ) -> Outfit:
        """A garment of the trunk and arms; ``opening`` is its half width in front, decimetres."""
        x, y, z = self.place.T
        front = smoothstep(z, 0.2, 1.0)
        collar = neck + 0.35 * (1 - front) + 0.1 * np.minimum(np.abs(x), 1)
        trunk = smoothstep(y, collar + _SHARP / 2, collar - _SHARP / 2)
        trunk = trunk * smoothstep(y, hem - _SHARP / 2, hem + _SHARP / 2)
        if opening > 0:
            half = opening * np.clip((y - hem) / (5.4 - hem), 0, 1) + 0.1
            trunk = trunk * (1 - front * smoothstep(np.abs(x), half + 0.06, half - 0.06))
        arm = smoothstep(self._along_arm, sleeve + 0.03, sleeve - 0.03)
        share = smoothstep(self._limb, 0.35, 0.65)
        # Near the shoulder a point may follow the arm and lie on the trunk: both must cover it.
        cover = trunk * (1 - share) + np.where(self._along_arm < 0.25, trunk, 1.0) * arm * share
        hanging = loose * smoothstep(y, 4.2, min(hem, 1.0)) * (1 - share)
        cuff = loose * 0.6 * smoothstep(self._along_arm, 0.2, max(sleeve, 0.5)) * share
        lift = thick + hanging + cuff
        folds = self._folds(rng, (0.9, 1.0, 0.6)) * (1 - share)
        folds += self._folds(rng, (1.2, 2.0, 1.2)) * share
        lift = lift + (rng.uniform(0.8, 3) + 0.15 * (hanging + cuff)) * folds
        return self._on(on, cover, np.maximum(lift, 2.5), colour, rng)

    def _shoes(self, on: Outfit, rng: np.random.Generator) -> Outfit:
        height = float(rng.choice([2.03, 2.0, 1.9, 1.6], p=[0.45, 0.25, 0.2, 0.1]))
        cover = smoothstep(self._along_leg, height - 0.01, height + 0.01)
        sole = smoothstep(self.place[:, 1], -7.95, -8.1)
        lift = 6.0 + 12 * sole * self._foot
        colour = fabric(rng)
        before = on.colour.copy()
        made = self._on(on, cover, lift.astype(np.float32), colour, rng)
        edge = (sole > 0.5) & (cover > 0.5)
        kept = on.lift > made.lift - 1e-3
        made.colour[edge] = srgb(np.full(3, rng.choice([30, 120, 235])))
        made.colour[kept & (on.covered > 0.5)] = before[kept & (on.covered > 0.5)]
        return made

    def _on(
        self,
        on: Outfit,
        cover: np.ndarray,
        lift: np.ndarray,
        colour: Float32[np.ndarray, " 3"],
        rng: np.random.Generator,
    ) -> Outfit:
        """Put a garment over what is on: it shows where it lies farther out."""
        cover = np.asarray(cover, np.float32)
        raised = cover * np.maximum(lift, on.lift + 2.0)
        shows = (cover > 0.5) & (raised >= on.lift)
        painted = np.where(shows[:, None], self._pattern(colour, rng), on.colour)
        return Outfit(
            np.maximum(on.lift, raised).astype(np.float32),
            np.maximum(on.covered, cover),
            painted.astype(np.float32),
            on.skirts,
        )

    def _folds(self, rng: np.random.Generator, stretch: tuple[float, float, float]) -> Values:
        """Ridges with long crests, about unit height; ``stretch`` is how fast they follow x, y, z.

        Over the base body, so that they move with the cloth.
        """
        waves = rng.normal(0, 1, (3, 9)) * np.array(stretch)[:, None]
        waves *= rng.uniform(3.5, 11, 9) / np.linalg.norm(waves, axis=0)
        bent = self.place + 0.25 * np.sin(self.place[:, [1, 2, 0]] * rng.uniform(0.8, 2, 3))
        ridges = 1 - 2 * np.abs(np.sin((bent @ waves + rng.uniform(0, 6.3, 9)) / 2))
        where = np.sin(self.place @ rng.normal(0, 1.2, (3, 9)) + rng.uniform(0, 6.3, 9))
        return ((ridges * np.clip(where, 0, 1)).sum(1)).astype(np.float32)

    def _pattern(self, colour: Float32[np.ndarray, " 3"], rng: np.random.Generator) -> Points:
        """Plain cloth, stripes, checks or a print."""
        kind, other = rng.random(), fabric(rng)
        shade = np.exp(rng.normal(0, 0.04, len(self.place)))[:, None]
        if kind < 0.62:
            return (colour * shade).astype(np.float32)
        bent = self.place.copy()
        bent[:, 0] = np.where(self._limb > 0.5, self._along_arm * 2, bent[:, 0])
        pitch = rng.uniform(3, 14)
        lines = np.sin(bent * pitch + rng.uniform(0, 6.3, 3))
        if kind < 0.75:
            share = lines[:, 1] > rng.uniform(-0.2, 0.8)
        elif kind < 0.85:
            share = (lines[:, 0] > 0.3) | (lines[:, 1] > 0.3)
        else:
            waves = rng.normal(0, rng.uniform(2, 5), (3, 6))
            share = np.sin(self.place @ waves + rng.uniform(0, 6.3, 6)).sum(1) > 0.8
        return (np.where(share[:, None], other, colour) * shade).astype(np.float32)


_FINGERS = ("thumb", "index", "middle", "ring", "pinky")


def fabric(rng: np.random.Generator) -> Float32[np.ndarray, " 3"]:
    """A cloth's colour, linear RGB: grey, dark, denim or gay."""
    kind = rng.random()
    if kind < 0.3:
        hsv = (0.0, 0.0, rng.uniform(18, 240))
    elif kind < 0.5:
        hsv = (rng.uniform(100, 115), rng.uniform(60, 170), rng.uniform(40, 160))
    else:
        hsv = (rng.uniform(0, 180), rng.uniform(20, 220), rng.uniform(40, 235))
    bgr = cv2.cvtColor(np.array([[hsv]], np.uint8), cv2.COLOR_HSV2RGB)
    return srgb(np.asarray(bgr)[0, 0])


def dressed(body: Points, triangles: Int32[np.ndarray, "N 3"], outfit: Outfit) -> Points:
    """Lift a posed body's surface to its clothes.

    Args:
        body: smooth posed body, mm.
        triangles: its topology.
        outfit: see :class:`Outfit`.
    """
    normals = vertex_normals(body, triangles)
    lifted = body + outfit.lift[:, None] * normals
    return spanning(lifted.astype(np.float32), triangles, 2 * outfit.covered - 1, 2)


def spanning(
    points: Float32[np.ndarray, "V 3"],
    triangles: Int32[np.ndarray, "M 3"],
    covered: Float32[np.ndarray, " V"],
    rounds: int = 14,
) -> Float32[np.ndarray, "V 3"]:
    """Cloth spans hollows rather than following them.

    Args:
        points: a closed surface, mm.
        triangles: its topology.
        covered: 1 where cloth is, 0 and less where none is.
        rounds: of tightening; each reaches an edge farther.
    """
    normals = vertex_normals(points, triangles)
    edges = np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]])
    first, second = edges.T
    count = len(points)
    degree = np.maximum(np.bincount(first, minlength=count), 1)[:, None]
    tight = (0.6 * np.clip(covered, 0, 1))[:, None]
    lifted = points.astype(np.float64)
    for _ in range(rounds):
        mean = np.stack([np.bincount(first, lifted[second, k], count) for k in range(3)], 1)
        away = ((mean / degree - lifted) * normals).sum(1)
        # Only outwards: nothing sinks into the body.
        lifted += tight * np.maximum(away, 0)[:, None] * normals
    return lifted.astype(np.float32)


def _along(points: np.ndarray, start: np.ndarray, end: np.ndarray) -> Values:
    """Share of the way from one joint to the next, within [0, 1]."""
    way = end - start
    return np.clip((points - start) @ way / (way @ way), 0, 1).astype(np.float32)
