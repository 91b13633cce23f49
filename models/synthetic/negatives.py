"""Pictures that are no faces but look a little like some: drawings, animals, textures, objects."""

from __future__ import annotations

import cv2
import numpy as np
from jaxtyping import Float32

from ..render.texture import linear_from_srgb
from .backdrop import drab, sample_background
from .cloth import cloth_image
from .noise2d import octaves, smooth_field

Image = Float32[np.ndarray, "S S 3"]


def _colour(rng: np.random.Generator) -> tuple[float, float, float]:
    r, g, b = (float(c) for c in drab(rng) + rng.uniform(0, 0.3, 3))
    return r, g, b


def smiley(rng: np.random.Generator, size: int) -> Image:
    """A drawn face: a disc or an outline with dots for eyes and a line for a mouth."""
    image = sample_background(rng, size)
    centre = rng.uniform(0.35, 0.65, 2) * size
    half = rng.uniform(0.2, 0.42) * size * np.exp(rng.normal(0, 0.12, 2))
    angle = float(rng.normal(0, 20))
    thick = max(1, round(rng.uniform(0.008, 0.03) * size))
    filled = rng.random() < 0.75
    ink = _colour(rng) if rng.random() < 0.3 else (0.01, 0.01, 0.01)
    outline = (tuple(centre), tuple(2 * half), angle)
    if filled:
        fill = (0.9, 0.7, 0.05) if rng.random() < 0.4 else _colour(rng)
        cv2.ellipse(image, outline, fill, -1, cv2.LINE_AA)
    if not filled or rng.random() < 0.5:
        cv2.ellipse(image, outline, ink, thick, cv2.LINE_AA)
    a = np.radians(angle)
    turn = np.array([[np.cos(a), -np.sin(a)], [np.sin(a), np.cos(a)]])

    def at(x: float, y: float) -> tuple[float, float]:
        px, py = centre + turn @ (half * [x, y])
        return float(px), float(py)

    apart, eye = rng.uniform(0.25, 0.5), rng.uniform(0.08, 0.25) * half
    tall = rng.uniform(0.6, 1.8)
    for side in (-1, 1):
        box = (at(side * apart, -0.2), (float(2 * eye[0]), float(2 * eye[1] * tall)), angle)
        if rng.random() < 0.5:
            cv2.ellipse(image, box, (0.95, 0.95, 0.95), -1, cv2.LINE_AA)
            cv2.ellipse(image, (box[0], tuple(0.5 * s for s in box[1]), angle), ink, -1)
        else:
            cv2.ellipse(image, box, ink, -1, cv2.LINE_AA)
    where = tuple(round(v) for v in at(0, rng.uniform(0.1, 0.3)))
    axes = (round(half[0] * rng.uniform(0.3, 0.6)), round(half[1] * rng.uniform(0.15, 0.4)))
    first = 0 if rng.random() < 0.8 else 180
    cv2.ellipse(image, where, axes, angle, first, first + 180, ink, thick, cv2.LINE_AA)
    return image


def animal(rng: np.random.Generator, size: int) -> Image:
    """A furry ball with ears, two dark eyes and a nose."""
    image = sample_background(rng, size)
    fur = np.array([0.5, 0.35, 0.22]) * rng.uniform(0.05, 1.8) * np.exp(rng.normal(0, 0.2, 3))
    mask = np.zeros((size, size), np.float32)
    x, y = rng.uniform(0.4, 0.6, 2) * size
    w, h = rng.uniform(0.22, 0.4, 2) * size
    cv2.ellipse(mask, (round(x), round(y)), (round(w), round(h)), 0, 0, 360, 1.0, -1)
    up = rng.uniform(0.5, 1.0)
    for side in (-1, 1):
        tip = [x + side * w * rng.uniform(0.5, 1.2), y - h * (0.9 + up)]
        base = [[x + side * w * 0.25, y - 0.8 * h], [x + side * w * 0.95, y - 0.3 * h]]
        ear = np.array([tip, *base])
        cv2.fillPoly(mask, [np.round(ear).astype(np.int32)], 1.0)
    mask = cv2.GaussianBlur(mask, (0, 0), size * 0.008)[..., None]
    hair = np.exp(0.5 * octaves(rng, size, size, rng.uniform(15, 40), 3, 0.8))
    patch = np.exp(rng.uniform(0, 0.8) * smooth_field(rng, size, size, 3))
    image += mask * ((hair * patch)[..., None] * fur - image)
    dark = (0.01, 0.01, 0.01)
    r = rng.uniform(0.025, 0.06) * size
    for side in (-1, 1):
        centre = (round(x + side * 0.42 * w), round(y - 0.2 * h))
        if rng.random() < 0.4:
            cv2.circle(image, centre, round(1.4 * r), _colour(rng), -1, cv2.LINE_AA)
        cv2.circle(image, centre, round(r), dark, -1, cv2.LINE_AA)
    nose = (round(x), round(y + rng.uniform(0.15, 0.5) * h))
    cv2.ellipse(image, nose, (round(1.5 * r), round(r)), 0, 0, 360, dark, -1, cv2.LINE_AA)
    return image.astype(np.float32)


def surface(rng: np.random.Generator, size: int) -> Image:
    """Cloth or paper close up, folded, or a ball of one colour."""
    side = 96
    image = linear_from_srgb(cloth_image(rng, side).astype(np.uint8))
    image = cv2.resize(image, (size, size), interpolation=cv2.INTER_LINEAR)
    if rng.random() < 0.5:
        skin = np.array([0.55, 0.3, 0.2]) * rng.uniform(0.05, 1.4)
        image = np.broadcast_to(skin.astype(np.float32), image.shape).copy()
        image *= np.exp(0.08 * octaves(rng, size, size, 12, 4))[..., None]
    relief = octaves(rng, size, size, rng.uniform(2, 5), 2)
    light = np.clip(0.7 + 0.35 * relief, 0.05, 3)[..., None]
    if rng.random() < 0.4:
        rows, columns = np.mgrid[0:size, 0:size].astype(np.float32) / size - rng.uniform(0.3, 0.7)
        radius = rng.uniform(0.25, 0.5)
        inside = rows**2 + columns**2 < radius**2
        towards = rng.normal(0, 1, 2)
        bright = 1 + (towards[0] * rows + towards[1] * columns) / (2 * radius)
        ball = image * np.clip(bright, 0.05, 2.5)[..., None]
        return np.where(inside[..., None], ball, sample_background(rng, size)).astype(np.float32)
    return (image * light).astype(np.float32)


_KINDS = ((0.3, smiley), (0.25, animal), (0.25, surface))


def sample_drawing(rng: np.random.Generator, size: int) -> Image:
    """A picture of one of the above or of mere clutter, linear RGB."""
    draw = rng.random()
    for share, make in _KINDS:
        if draw < share:
            return make(rng, size)
        draw -= share
    return sample_background(rng, size)
