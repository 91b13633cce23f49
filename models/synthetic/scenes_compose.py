"""Composes scenes with labelled faces of cut-outs and backgrounds, endlessly."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from jaxtyping import Bool, Float32, Float64, Int32, UInt8

from ..face.crop import tight_box
from ._scenes_kernel import lay_over
from .scenes_bank import SIZE, CutOut, CutOutShard, Kind
from .scenes_ground import Grounds, colour
from .scenes_things import Layer, draw_decoy, draw_hand, dressed, polygon

_LEAST_VISIBLE: Final = 1 / 3
"""Share of a face that must be seen for it to count."""
_UNSEEN: Final = 0.04
"""Share below which there is no face at all."""
_LEAST_SIDE: Final = 7.0
"""Longer side of the box below which a face counts neither way, px."""
_NOBODY: Final = -1


@dataclass(frozen=True)
class Scene:
    """A picture with faces.

    Attributes:
        image: (H, W, 3) BGR.
        boxes: (K, 4) x, y, w, h of the tight box of the 68 landmarks, hidden ones too, px.
        counted: (K,) false for a face that should be neither demanded nor punished: too small,
            mostly hidden, turned too far, or with its middle outside of the picture.
    """

    image: UInt8[np.ndarray, "H W 3"]
    boxes: Float32[np.ndarray, "K 4"]
    counted: Bool[np.ndarray, " K"]


@dataclass(frozen=True)
class _Place:
    """Where the middle of a face's box goes, px, and the box's longer side there."""

    side: float
    centre: Float64[np.ndarray, " 2"]


@dataclass
class _Canvas:
    """A scene in the making.

    Attributes:
        image: what has been drawn.
        owner: (H, W) number of the head seen at each pixel, -1 for anything else.
        hulls: outline of each face drawn, px.
        boxes: of them.
        countable: whether they may count.
    """

    image: UInt8[np.ndarray, "H W 3"]
    owner: Int32[np.ndarray, "H W"]
    hulls: list[Float32[np.ndarray, "P 2"]]
    boxes: list[tuple[float, float, float, float]]
    countable: list[bool]


class Composer:
    """Makes scenes; each is a function of the generator's state alone.

    Args:
        shards: cut-outs to choose from.
        grounds: backgrounds.
    """

    def __init__(self, shards: Sequence[CutOutShard], grounds: Grounds) -> None:
        self._shards = shards
        self._ends = np.cumsum([len(shard) for shard in shards])
        self._grounds = grounds

    def compose(self, rng: np.random.Generator, height: int, width: int) -> Scene:
        """One scene of that size, px, before what a camera does to it."""
        ground = self._grounds.draw(rng, height, width)
        canvas = _Canvas(ground, np.full((height, width), _NOBODY, np.int32), [], [], [])
        for _ in range(int(rng.choice([0, 1, 2, 5], p=[0.6, 0.2, 0.12, 0.08]))):
            draw_decoy(canvas.image, rng)
        for place in sorted(layout(rng, height, width), key=lambda place: place.side):
            self._add_person(canvas, place, rng)
        if rng.random() < 0.15:
            self._add_headless(canvas, rng)
        if rng.random() < 0.15:
            self._cover(canvas, rng)
        return _labelled(canvas)

    def _draw(self, rng: np.random.Generator) -> CutOut:
        row = int(rng.integers(self._ends[-1]))
        shard = int(np.searchsorted(self._ends, row, side="right"))
        return self._shards[shard][row - int(self._ends[shard])]

    def _add_person(self, canvas: _Canvas, place: _Place, rng: np.random.Generator) -> None:
        cut_out = _shrunk(self._draw(rng), place.side)
        layer = _toned(dressed(cut_out, rng), rng)
        matrix = _placement(cut_out.landmarks, place, rng)
        if rng.random() < 0.75:
            self._add_torso(canvas, cut_out, layer, matrix, rng)
        number = len(canvas.boxes)
        _lay(canvas, layer, matrix, number)
        marks = (cut_out.landmarks @ matrix[:, :2].T + matrix[:, 2]).astype(np.float32)
        if cut_out.kind is Kind.BEHIND:
            canvas.owner[canvas.owner == number] = _NOBODY
            return
        canvas.hulls.append(cv2.convexHull(marks)[:, 0])
        canvas.boxes.append(tight_box(marks))
        canvas.countable.append(cut_out.kind is Kind.FACE)

    def _add_torso(
        self,
        canvas: _Canvas,
        cut_out: CutOut,
        layer: Layer,
        matrix: Float64[np.ndarray, "2 3"],
        rng: np.random.Generator,
    ) -> None:
        """Clothes that go on where the cut-out ends."""
        foot = layer[-max(1, len(layer) // 17) :]
        shown = foot[..., 3] > 250
        if shown.sum() < len(layer) // 6:
            return
        bgr = foot[shown][:, :3].mean(0) if rng.random() < 0.7 else np.array(colour(rng))
        side = float(np.ptp(cut_out.landmarks, axis=0).max())
        x = float(np.nonzero(shown)[1].mean())
        y = len(layer) - side * rng.uniform(0.1, 0.35)
        wide = rng.uniform(1.05, 1.5)
        outline = side * np.array(
            [[-0.4, 0], [0.4, 0], [wide, 0.35], [wide + 0.25, 3.5], [-wide - 0.25, 3.5],
             [-wide, 0.35]]
        )  # fmt: skip
        outline = (outline + (x, y)) @ matrix[:, :2].T + matrix[:, 2]
        region = _region(outline, canvas.image)
        if region is None:
            return
        part = canvas.image[region]
        mask = np.zeros(part.shape[:2], np.uint8)
        polygon(mask, outline - (region[1].start, region[0].start), (255,))
        cloth = np.empty_like(part)
        cloth[:] = bgr.astype(np.uint8)
        if rng.random() < 0.6:
            pattern = self._grounds.draw(rng, *part.shape[:2])
            level = max(float(bgr.mean()), 8.0) / max(float(pattern.mean()), 8.0)
            share = rng.uniform(0.1, 0.9)
            mixed = cv2.addWeighted(cloth, 1 - share, pattern, share * level, 0)
            cloth = np.asarray(mixed, np.uint8)
        cv2.copyTo(cloth, mask, part)
        canvas.owner[region][mask > 127] = _NOBODY

    def _add_headless(self, canvas: _Canvas, rng: np.random.Generator) -> None:
        """Neck and shoulders whose head is out of sight, or part of a head that shows no face."""
        height, width = canvas.image.shape[:2]
        size = float(np.exp(rng.uniform(np.log(10), np.log(0.6 * min(height, width)))))
        place = _Place(size, rng.uniform(0, 1, 2) * (width, height))
        cut_out = _shrunk(self._draw(rng), place.side)
        layer = _toned(cut_out.image.copy(), rng)
        chin = float(cut_out.landmarks[:, 1].max())
        brow = float(cut_out.landmarks[:, 1].min())
        if rng.random() < 0.6:
            layer[: int(chin) + 2] = 0
        else:
            layer[max(0, int(brow) - 2) :] = 0
        _lay(canvas, layer, _placement(cut_out.landmarks, place, rng), _NOBODY)

    def _cover(self, canvas: _Canvas, rng: np.random.Generator) -> None:
        """Put things in front of some faces: hands, slabs, pieces of background."""
        height, width = canvas.image.shape[:2]
        for x, y, w, h in list(canvas.boxes):
            if rng.random() < 0.5:
                continue
            at = np.array([x, y]) + rng.uniform(-0.1, 1.1, 2) * (w, h)
            before = canvas.image.copy()
            if rng.random() < 0.4:
                draw_hand(canvas.image, at, max(w, h) * rng.uniform(0.2, 0.6), skin(rng), rng)
            else:
                mask = np.zeros((height, width), np.uint8)
                half = rng.uniform(0.1, 0.5, 2) * (w, h)
                corners = cv2.boxPoints((tuple(at), tuple(2 * half), rng.uniform(0, 180)))
                polygon(mask, corners, (255,))
                cover = self._grounds.draw(rng, height, width)
                cv2.copyTo(cover, mask, canvas.image)
            canvas.owner[(canvas.image != before).any(-1)] = _NOBODY


def skin(rng: np.random.Generator) -> tuple[int, int, int]:
    """Anybody's skin, BGR."""
    b, g, r = np.array([rng.uniform(0.4, 0.7), rng.uniform(0.6, 0.8), 1.0]) * rng.uniform(60, 245)
    return int(b), int(g), int(r)


def layout(rng: np.random.Generator, height: int, width: int) -> list[_Place]:
    """How many faces, of which size, where: nobody, a portrait, a few people, a crowd."""
    shorter = min(height, width)
    frame = np.array([width, height])
    kind = rng.random()
    if kind < 0.08:
        return []
    if kind < 0.5:
        side = shorter * np.exp(rng.uniform(np.log(0.12), np.log(0.95)))
        centre = frame / 2 + (rng.uniform(-0.5, 0.5, 2) * np.maximum(frame - 0.8 * side, 0))
        if rng.random() < 0.12:
            centre = rng.uniform(-0.05, 1.05, 2) * frame
        return [_Place(float(side), centre)]
    if kind < 0.75:
        count = int(rng.integers(2, 6))
        sides = np.exp(rng.uniform(np.log(11), np.log(0.45 * shorter), count))
        return [_Place(float(side), rng.uniform(0.02, 0.98, 2) * frame) for side in sides]
    base = float(np.exp(rng.uniform(np.log(9), np.log(0.22 * shorter))))
    across, rows = rng.uniform(1.4, 3.2), int(rng.integers(1, 4))
    places = []
    top = rng.uniform(0.1, 0.6) * height
    for row in range(rows):
        y = top + row * base * rng.uniform(1.3, 2.5)
        for x in np.arange(rng.uniform(0, across), width / base, across):
            if rng.random() < 0.75 and len(places) < 16:
                jitter = rng.normal(0, 0.25, 2) * base
                side = base * np.exp(rng.normal(0, 0.13))
                places.append(_Place(float(side), np.array([x * base, y]) + jitter))
    return places


def _placement(
    marks: Float32[np.ndarray, "68 2"], place: _Place, rng: np.random.Generator
) -> Float64[np.ndarray, "2 3"]:
    """From cut-out pixels to scene pixels: scaled, turned, half of them mirrored."""
    low, high = marks.min(0), marks.max(0)
    scale = place.side / float((high - low).max())
    angle = np.radians(rng.normal(0, 8) if rng.random() < 0.93 else rng.uniform(-60, 60))
    c, s = scale * np.cos(angle), scale * np.sin(angle)
    linear = np.array([[c, -s], [s, c]])
    linear[:, 0] *= rng.choice([-1, 1]) * np.exp(rng.normal(0, 0.04))
    shift = place.centre - linear @ ((low + high) / 2).astype(np.float64)
    return np.column_stack([linear, shift])


def _shrunk(cut_out: CutOut, side: float) -> CutOut:
    """A cut-out not much larger than it will be drawn; bilinear sampling would skip pixels."""
    size = len(cut_out.image)
    scale = side / float(np.ptp(cut_out.landmarks, axis=0).max())
    if scale > 0.7:
        return cut_out
    small = max(4, round(size * 1.3 * scale))
    image = cv2.resize(cut_out.image, (small, small), interpolation=cv2.INTER_AREA)
    marks = (cut_out.landmarks + 0.5) * np.float32(small / size) - 0.5
    return CutOut(np.asarray(image, np.uint8), marks.astype(np.float32), cut_out.kind)


def _toned(layer: Layer, rng: np.random.Generator) -> Layer:
    """Another light on one person; colours stay below their opacity."""
    gain = np.exp(rng.normal(0, 0.25)) * np.exp(rng.normal(0, 0.07, 3))
    table = np.clip(np.arange(256)[:, None] * [*gain, 1.0], 0, 255).astype(np.uint8)
    toned = cv2.LUT(layer, np.ascontiguousarray(table[None]))
    if rng.random() < 0.1:
        toned = cv2.GaussianBlur(toned, (0, 0), float(rng.uniform(0.8, 4)) * len(layer) / SIZE)
    toned = np.asarray(toned, np.uint8)
    opacity = np.ascontiguousarray(toned[..., 3])
    toned[..., :3] = cv2.min(toned[..., :3], cv2.cvtColor(opacity, cv2.COLOR_GRAY2BGR))
    return toned


def _region(
    corners: Float64[np.ndarray, "P 2"], image: UInt8[np.ndarray, "H W 3"]
) -> tuple[slice, slice] | None:
    """Rows and columns of a picture that hold the corners, px; None where they lie outside."""
    height, width = image.shape[:2]
    x0, y0 = (int(v) for v in np.maximum(np.floor(corners.min(0)), 0))
    x1, y1 = (int(v) for v in np.minimum(np.ceil(corners.max(0)) + 1, (width, height)))
    return None if x1 <= x0 or y1 <= y0 else (slice(y0, y1), slice(x0, x1))


def _lay(canvas: _Canvas, layer: Layer, matrix: Float64[np.ndarray, "2 3"], number: int) -> None:
    """Warp a layer into the scene and blend it over."""
    size = len(layer)
    corners = np.array([[-1.0, -1], [size, -1], [size, size], [-1, size]]) @ matrix[:, :2].T
    region = _region(corners + matrix[:, 2], canvas.image)
    if region is None:
        return
    rows, columns = region
    there = matrix - np.array([[0, 0, columns.start], [0, 0, rows.start]])
    extent = (columns.stop - columns.start, rows.stop - rows.start)
    warped = np.asarray(cv2.warpAffine(layer, there, extent), np.uint8)
    lay_over(canvas.image[region], canvas.owner[region], warped, number)


def _labelled(canvas: _Canvas) -> Scene:
    """Which faces count, by what is left of them in sight."""
    height, width = canvas.image.shape[:2]
    boxes: list[tuple[float, float, float, float]] = []
    counted: list[bool] = []
    for number, (hull, box) in enumerate(zip(canvas.hulls, canvas.boxes, strict=True)):
        area = max(float(cv2.contourArea(hull)), 1.0)
        low = np.clip(np.floor(hull.min(0)), 0, (width, height)).astype(int)
        high = np.clip(np.ceil(hull.max(0)) + 1, 0, (width, height)).astype(int)
        mask = np.zeros((high[1] - low[1], high[0] - low[0]), np.uint8)
        if mask.size:
            cv2.fillConvexPoly(mask, np.round(hull - low).astype(np.int32), 1)
        owned = canvas.owner[low[1] : high[1], low[0] : high[0]] == number
        visible = float((owned & (mask > 0)).sum()) / area
        if visible < _UNSEEN:
            continue
        x, y, w, h = box
        inside = 0 <= x + w / 2 < width and 0 <= y + h / 2 < height
        boxes.append(box)
        counted.append(
            canvas.countable[number]
            and inside
            and visible >= _LEAST_VISIBLE
            and max(w, h) >= _LEAST_SIDE
        )
    return Scene(
        canvas.image,
        np.array(boxes, np.float32).reshape(-1, 4),
        np.array(counted, bool),
    )
