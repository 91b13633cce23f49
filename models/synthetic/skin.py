"""Procedural skin: tone, flush, lips, brows, stubble, freckles, wrinkles, make-up, clothes.

Nothing is taken from a photograph. Everything is painted in two places: on a canvas that is the
face seen from in front (head frame x, y), where lips, brows and folds are easy to draw, and on the
texture itself, a cylinder around the head (see ``makehuman.head.cylinder_uv``).
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Float, Float32

from ..makehuman.build import HeadModel
from ..makehuman.head import cylinder_uv, triangulate
from ..render.raster import rasterise
from ..render.texture import Texture
from .cloth import cloth_image
from .noise2d import octaves, smooth_field, smoothstep
from .person import Person

WIDTH, HEIGHT = 416, 264
_CANVAS_X, _CANVAS_Y = (-90.0, 90.0), (-90.0, 140.0)
_PX_PER_MM = 2.0
Field = Float32[np.ndarray, "H W"]


@dataclass(frozen=True)
class Canvas:
    """A drawing board over the face seen from in front; painters draw in head-frame mm."""

    board: Float32[np.ndarray, "h w"]

    @classmethod
    def blank(cls) -> Canvas:
        """An empty board."""
        size = [round((hi - lo) * _PX_PER_MM) for lo, hi in (_CANVAS_Y, _CANVAS_X)]
        return cls(np.zeros(size, np.float32))

    @staticmethod
    def to_px(xy_mm: Float[np.ndarray, "K 2"]) -> Float32[np.ndarray, "K 2"]:
        """Board pixels of head-frame points."""
        return ((xy_mm - [_CANVAS_X[0], _CANVAS_Y[0]]) * _PX_PER_MM).astype(np.float32)

    def polygon(self, xy_mm: Float[np.ndarray, "K 2"], value: float = 1.0) -> None:
        """Fill a polygon."""
        points = np.round(self.to_px(xy_mm) * 16).astype(np.int32)
        cv2.fillPoly(self.board, [points], value, cv2.LINE_AA, 4)

    def line(self, xy_mm: Float[np.ndarray, "K 2"], width_mm: float, value: float = 1.0) -> None:
        """Draw a polyline."""
        points = np.round(self.to_px(xy_mm) * 16).astype(np.int32)
        width = max(1, round(width_mm * _PX_PER_MM))
        cv2.polylines(self.board, [points], False, value, width, cv2.LINE_AA, 4)

    def blurred(self, sigma_mm: float) -> Canvas:
        """A softened copy."""
        return Canvas(cv2.GaussianBlur(self.board, (0, 0), sigma_mm * _PX_PER_MM))


class SkinPainter:
    """Paints head textures for one head model."""

    def __init__(self, head: HeadModel, reference: Float32[np.ndarray, "V 3"]) -> None:
        """Prepare maps.

        Args:
            head: the head model.
            reference: (V, 3) an average head in the head frame, mm: where features are painted.
        """
        topology = head.topology
        self.landmarks = reference[topology.landmarks]
        uv = cylinder_uv(topology)
        skin = triangulate(topology.parts["skin"])
        # The seam is at the back: triangles across it are left out of the map of positions.
        skin = skin[np.ptp(uv[skin][..., 0], axis=1) < 0.5]
        axis_distance = np.hypot(reference[:, 0], reference[:, 2] - 90)
        points = np.stack(
            [uv[:, 0] * WIDTH - 0.5, (1 - uv[:, 1]) * HEIGHT - 0.5, 1000 - axis_distance], 1
        )
        hit = rasterise(points.astype(np.float32), skin, HEIGHT, WIDTH)
        corners = reference[skin[np.maximum(hit.triangle, 0)]]
        position = (corners * hit.barycentric[..., None]).sum(2)
        outside = hit.triangle < 0
        # The seam's triangles were left out: they take after their neighbours in the same row.
        for step in (1, -1) * 12:
            beside = np.roll(outside, step, 1)
            fill = outside & ~beside
            position[fill] = np.roll(position, step, 1)[fill]
            outside = outside & beside
        position[outside] = (0, 300, 150)
        self.position: Float32[np.ndarray, "H W 3"] = position.astype(np.float32)
        x, y, z = np.moveaxis(self.position, 2, 0)
        board = Canvas.to_px(self.position[..., :2].reshape(-1, 2)).reshape(HEIGHT, WIDTH, 2)
        self._map_x = np.ascontiguousarray(board[..., 0])
        self._map_y = np.ascontiguousarray(board[..., 1])
        self.front: Field = smoothstep(z, 75, 55)
        self.x, self.y, self.z = x, y, z

    def spread(self, canvas: Canvas) -> Field:
        """Carry a drawing from the board to the texture (front of the head only)."""
        drawn = cv2.remap(canvas.board, self._map_x, self._map_y, cv2.INTER_LINEAR)
        return drawn * self.front

    def paint(self, person: Person, rng: np.random.Generator) -> Texture:
        """The texture of a person's head and shoulders."""
        skin = np.array(person.skin, np.float32)
        image = np.broadcast_to(skin, (HEIGHT, WIDTH, 3)).copy()
        image *= (1 + 0.035 * octaves(rng, HEIGHT, WIDTH, 8, 5, 0.75))[..., None]
        image += smooth_field(rng, HEIGHT, WIDTH, 6)[..., None] * rng.normal(0, 2.5, 3)
        fine = rng.standard_normal((HEIGHT, WIDTH), dtype=np.float32)
        image *= (1 + rng.uniform(0.005, 0.03) * fine)[..., None]
        self._flush(image, rng)
        self._spots(image, rng)
        self._wrinkles(image, person, rng)
        self._eyelids(image, person, rng)
        self._lips(image, person, rng)
        self._stubble(image, person, rng)
        self._brows(image, person, rng)
        self._scalp(image, person, rng)
        self._clothes(image, rng)
        return Texture.from_image(np.clip(image, 2, 253).astype(np.uint8))

    def _blob(self, x: float, y: float, sx: float, sy: float) -> Field:
        d = ((np.abs(self.x) - x) / sx) ** 2 + ((self.y - y) / sy) ** 2
        return (np.exp(-0.5 * d) * self.front).astype(np.float32)

    def _flush(self, image: Float32[np.ndarray, "H W 3"], rng: np.random.Generator) -> None:
        """Redder cheeks, nose, chin; darker under the eyes."""
        nose, chin = (float(self.landmarks[k, 1]) for k in (30, 8))
        amount = rng.uniform(0, 1.0)
        red = self._blob(42, nose + 2, 18, 16) + 0.8 * self._blob(0, nose, 12, 12)
        red += 0.4 * self._blob(0, chin - 12, 20, 10)
        image += (amount * red)[..., None] * np.array([4, -13, -12], np.float32)
        dark = self._blob(31, 15, 13, 5)
        image *= 1 - (rng.uniform(0, 0.22) * dark)[..., None] * np.array([0.8, 1, 0.9], np.float32)

    def _spots(self, image: Float32[np.ndarray, "H W 3"], rng: np.random.Generator) -> None:
        """Freckles, moles, blemishes."""
        count = int(rng.choice([0, 6, 25, 250], p=[0.2, 0.4, 0.25, 0.15]))
        if not count:
            return
        layer = np.zeros((HEIGHT, WIDTH), np.float32)
        xs = rng.uniform(WIDTH * 0.3, WIDTH * 0.7, count)
        ys = rng.uniform(HEIGHT * 0.25, HEIGHT * 0.8, count)
        for x, y in zip(xs, ys, strict=True):
            radius = rng.uniform(0.5, 1.6) if count > 100 else rng.uniform(0.7, 2.6)
            centre = (round(x * 16), round(y * 16))
            cv2.circle(layer, centre, round(radius * 16), rng.uniform(0.2, 1), -1, cv2.LINE_AA, 4)
        layer = cv2.GaussianBlur(layer, (0, 0), 0.8) * rng.uniform(0.15, 0.5)
        tint = np.array([0.45, 0.65, 0.7], np.float32)
        if rng.random() < 0.3:
            tint = np.array([0.1, 0.6, 0.5], np.float32)  # blemishes are red, not brown
        image *= 1 - layer[..., None] * tint

    def _wrinkles(
        self, image: Float32[np.ndarray, "H W 3"], person: Person, rng: np.random.Generator
    ) -> None:
        """Forehead lines, crow's feet, folds from nose to mouth: deeper with age."""
        depth = float(np.clip((person.identity.age_years - 25) / 50, 0.05, 1))
        canvas = Canvas.blank()
        marks = self.landmarks[:, :2]
        for row in range(3 if depth > 0.3 else 0):
            xs = np.linspace(-45, 45, 12)
            ys = -32 - 9 * row + 3 * np.cos(xs / 22 + rng.normal()) + rng.normal(0, 0.6, 12)
            canvas.line(np.stack([xs, ys], 1).astype(np.float32), 0.8, rng.uniform(0.3, 1))
        for side in (-1, 1):
            wing, corner = marks[31 if side < 0 else 35], marks[48 if side < 0 else 54]
            steps = np.array([[side * 4, -4], [side * 10, 8], [side * 8, 0]], np.float32)
            fold = np.stack([wing, wing, corner]) + steps
            canvas.line(fold, 1.2, rng.uniform(0.3, 1))
            outer = marks[36 if side < 0 else 45]
            for fan in (-0.5, 0.0, 0.5):
                rays = np.array([[side * 6, 4 * fan], [side * 17, 14 * fan]], np.float32)
                canvas.line(outer + rays, 0.6, 0.6 * depth)
        lines = self.spread(canvas.blurred(0.7)) * (0.06 + 0.5 * depth) * rng.uniform(0.3, 1)
        image *= 1 - lines[..., None] * np.array([0.6, 0.8, 0.85], np.float32)

    def _eyelids(
        self, image: Float32[np.ndarray, "H W 3"], person: Person, rng: np.random.Generator
    ) -> None:
        """The crease above the eye, the dark rim of the lashes, eye shadow."""
        rim, crease = Canvas.blank(), Canvas.blank()
        for first in (36, 42):
            eye = self.landmarks[first : first + 6, :2]
            loop = np.concatenate([eye, eye[:1]])
            rim.line(loop, 1.2)
            crease.line(eye[[0, 1, 2, 3]] - [0, rng.uniform(2.5, 5)], 1.0)
        strength = rng.uniform(0.1, 0.5) + 0.4 * person.makeup
        image *= 1 - (self.spread(rim.blurred(0.7)) * strength)[..., None]
        image *= 1 - (self.spread(crease.blurred(0.8)) * rng.uniform(0, 0.4))[..., None]
        if person.makeup > 0.4:
            shade = np.array(rng.uniform(20, 160, 3), np.float32)
            mask = self._blob(31, -8, 14, 5)[..., None] * rng.uniform(0.1, 0.6) * person.makeup
            image += mask * (shade - image)

    def _lips(
        self, image: Float32[np.ndarray, "H W 3"], person: Person, rng: np.random.Generator
    ) -> None:
        canvas = Canvas.blank()
        outer = self.landmarks[48:60, :2].copy()
        outer += (outer - outer.mean(0)) * rng.normal(0.0, 0.03)
        canvas.polygon(outer)
        mask = self.spread(canvas.blurred(rng.uniform(0.5, 1.2)))[..., None]
        skin = np.array(person.skin, np.float32)
        lip = skin * np.array([0.86, 0.66, 0.68], np.float32) + np.array([12, 0, 4], np.float32)
        lip *= rng.normal(1.0, 0.08)
        if person.makeup > 0 and rng.random() < 0.7:
            stick = np.array([rng.uniform(110, 215), rng.uniform(15, 90), rng.uniform(30, 100)])
            lip = lip + person.makeup * (stick.astype(np.float32) - lip)
        image += mask * rng.uniform(0.4, 1.0) * (lip - image)
        parting = Canvas.blank()
        parting.line(self.landmarks[[60, 61, 62, 63, 64], :2], 1.0)
        image *= 1 - (self.spread(parting.blurred(0.5)) * 0.5)[..., None]

    def _beard_region(self, rng: np.random.Generator) -> tuple[Field, Field]:
        """Where beard and moustache grow, 0 to 1."""
        marks = self.landmarks
        mouth, nose, chin = (float(y) for y in (marks[48:60, 1].mean(), marks[33, 1], marks[8, 1]))
        cheek_line = nose + rng.uniform(0, 22) - 0.45 * np.maximum(np.abs(self.x) - 30, 0)
        wobble = 3 * smooth_field(rng, HEIGHT, WIDTH, 20)
        low = smoothstep(self.y + wobble, cheek_line + 2, cheek_line + 12)
        below = smoothstep(self.y + 0.35 * self.z, chin + 35, chin + 20)
        side = smoothstep(self.z, 92, 78)
        oval = (self.x / 24) ** 2 + ((self.y - mouth) / 10) ** 2
        lips = np.exp(-0.5 * oval * oval)
        beard = low * below * side * (1 - np.clip(1.3 * lips, 0, 1))
        across, along = (self.x / 25) ** 2, ((self.y - (nose + mouth) / 2 - 1) / 6) ** 2
        moustache = np.exp(-0.5 * (across * across + along * along))
        under = smoothstep(self.y, nose + 1, nose + 4)
        return beard.astype(np.float32), (moustache * under * self.front).astype(np.float32)

    def _stubble(
        self, image: Float32[np.ndarray, "H W 3"], person: Person, rng: np.random.Generator
    ) -> None:
        if person.beard <= 0:
            return
        beard, moustache = self._beard_region(rng)
        kind = rng.random()
        if kind < 0.2:
            beard *= 0
        elif kind < 0.35:
            beard *= smoothstep(np.abs(self.x), 34, 24)
        mask = np.clip(beard + moustache * (rng.random() < 0.85), 0, 1)
        strand = smooth_field(rng, HEIGHT, WIDTH, HEIGHT / 1.4, 3.0)
        density = 0.15 + 0.8 * person.beard
        cover = np.clip(mask * density * (1 + 0.35 * strand), 0, 0.95)[..., None]
        hair = np.array(person.hair, np.float32) * rng.uniform(0.7, 1.1)
        bluish = np.array(person.skin, np.float32) * 0.45 + 10
        tint = hair if person.beard > 0.35 else 0.5 * (hair + bluish)
        image += cover * (tint - image)

    def _brows(
        self, image: Float32[np.ndarray, "H W 3"], person: Person, rng: np.random.Generator
    ) -> None:
        """Strands along the brow; their upper edge is where landmarks 17 to 26 lie."""
        canvas = Canvas.blank()
        thick = rng.uniform(4.5, 10) if person.identity.masculinity > 0.5 else rng.uniform(3, 7.5)
        taper = np.array([0.35, 0.85, 1.0, 1.0, 0.9]) * thick
        shift = rng.normal(0, 0.8)
        for side in (slice(17, 22), slice(26, 21, -1)):
            top = self.landmarks[side, :2].copy()
            top[:, 1] += shift
            bottom = top + np.stack([np.zeros(5), taper], 1)
            outline = np.concatenate([top, bottom[::-1]]).astype(np.float32)
            canvas.polygon(outline)
        mask = self.spread(canvas.blurred(rng.uniform(0.7, 1.6)))
        strand = smooth_field(rng, HEIGHT, WIDTH, HEIGHT / 1.5, rng.uniform(0.5, 3))
        cover = np.clip(mask * (rng.uniform(0.4, 1.2) + 0.18 * strand), 0, 0.95)[..., None]
        hair = np.array(person.hair, np.float32) * rng.uniform(0.55, 1.0)
        image += cover * (hair - image)

    def _scalp(
        self, image: Float32[np.ndarray, "H W 3"], person: Person, rng: np.random.Generator
    ) -> None:
        """Hair painted on the skull: cropped hair by itself, the ground under longer hair."""
        if person.long_hair <= 0 and rng.random() < 0.5:
            return
        mask = self.hair_region(rng)[..., None]
        strand = smooth_field(rng, HEIGHT, WIDTH, HEIGHT / 3, 4.0)[..., None]
        hair = np.array(person.hair, np.float32) * (1 + 0.25 * strand)
        image += mask * (0.9 if person.long_hair > 0 else rng.uniform(0.2, 0.7)) * (hair - image)

    def hair_region(self, rng: np.random.Generator) -> Field:
        """Where hair grows on the head, 0 to 1: above a random hairline, round the ears."""
        brow = self.landmarks[17:27, 1].mean()
        high = brow - rng.uniform(38, 62)
        temple = 0.55 * np.maximum(self.z - 18, 0)
        edge = high + temple + 4 * smooth_field(rng, HEIGHT, WIDTH, 14)
        region = smoothstep(self.y - edge, 4, -6)
        sideburn = smoothstep(self.z, 78, 95) * smoothstep(self.y, 45, 25)
        nape = smoothstep(self.z, 110, 125) * smoothstep(self.y, 95, 75)
        return np.maximum(region, np.maximum(sideburn, nape)) * (self.y < 250)

    def _clothes(self, image: Float32[np.ndarray, "H W 3"], rng: np.random.Generator) -> None:
        collar = rng.uniform(118, 165) + 0.25 * self.z - 0.1 * np.abs(self.x)
        mask = smoothstep(self.y, collar - 1, collar + 1)[..., None]
        piece = cloth_image(rng, 64)
        rows = -(-HEIGHT // 64)
        cloth = np.tile(piece, (rows, -(-WIDTH // 64), 1))[:HEIGHT, :WIDTH]
        image += mask * (cloth - image)
