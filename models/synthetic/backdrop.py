"""What is behind a head: walls, rooms, leaves, lamps out of focus, other people. Linear RGB."""

from __future__ import annotations

import cv2
import numpy as np
from jaxtyping import Float, Float32, UInt8

from ..render.texture import linear_from_srgb
from .noise2d import octaves, smooth_field

Image = Float32[np.ndarray, "S S 3"]


def drab(rng: np.random.Generator) -> Float32[np.ndarray, " 3"]:
    """A colour such as rooms and streets have: seldom saturated."""
    grey = rng.uniform(0.0, 1.0) ** 1.8
    saturation = rng.beta(0.7, 2.5)
    colour = grey * (1 - saturation) + saturation * rng.uniform(0, 1, 3) ** 1.5
    return colour.astype(np.float32)


def _rgb(colour: Float[np.ndarray, " 3"]) -> tuple[float, float, float]:
    r, g, b = (float(c) for c in colour)
    return r, g, b


def shapes(image: Image, rng: np.random.Generator) -> None:
    """Flat boxes and ellipses at random."""
    size = len(image)
    for _ in range(int(rng.integers(2, 16))):
        colour = _rgb(drab(rng))
        if rng.random() < 0.6:
            corner = rng.uniform(-0.3, 1.0, 2) * size
            extent = rng.uniform(0.05, 0.9, 2) * size
            box = cv2.boxPoints(
                (tuple(corner), tuple(extent), float(rng.choice([0, 0, rng.uniform(-40, 40)])))
            )
            cv2.fillPoly(image, [np.round(box).astype(np.int32)], colour, cv2.LINE_AA)
        else:
            centre = rng.uniform(0, size, 2).astype(int)
            axes = rng.uniform(0.02, 0.3, 2) * size
            cv2.ellipse(
                image, centre.tolist(), axes.astype(int).tolist(), rng.uniform(0, 180), 0, 360,
                colour, -1, cv2.LINE_AA,
            )  # fmt: skip


def room(image: Image, rng: np.random.Generator) -> None:
    """A wall with a window or pictures, shelves with books, a corner, door frames."""
    size = len(image)
    corner = int(rng.uniform(-0.2, 1.2) * size)
    if 0 < corner < size:
        image[:, corner:] *= rng.uniform(0.5, 1.5)
    for _ in range(int(rng.integers(0, 3))):
        x, y = (rng.uniform(-0.2, 0.9, 2) * size).astype(int).tolist()
        w, h = (rng.uniform(0.15, 0.6, 2) * size).astype(int).tolist()
        bright = drab(rng) if rng.random() < 0.5 else drab(rng) + rng.uniform(0.5, 2.0)
        cv2.rectangle(image, (x, y), (x + w, y + h), _rgb(bright), -1)
        frame = int(rng.integers(1, max(2, size // 40)))
        cv2.rectangle(image, (x, y), (x + w, y + h), _rgb(drab(rng)), frame)
        for part in range(int(rng.integers(0, 3))):
            at = x + w * (part + 1) // 3
            cv2.line(image, (at, y), (at, y + h), _rgb(drab(rng)), frame)
    if rng.random() < 0.4:
        shelf = int(rng.uniform(0.12, 0.3) * size)
        for top in range(int(rng.integers(0, shelf)), size, shelf):
            x = int(rng.uniform(-0.1, 0.4) * size)
            end = x + int(rng.uniform(0.2, 0.9) * size)
            while x < end:
                width = int(rng.integers(2, max(3, size // 18)))
                rise = int(shelf * rng.uniform(0.5, 0.9))
                cv2.rectangle(
                    image, (x, top + shelf - rise), (x + width, top + shelf), _rgb(drab(rng)), -1
                )
                x += width + 1


def leaves(image: Image, rng: np.random.Generator) -> None:
    """Foliage or grass: dark and light blotches of one hue."""
    size = len(image)
    hue = np.array([rng.uniform(0.2, 0.9), 1.0, rng.uniform(0.1, 0.6)], np.float32)
    light = np.exp(rng.uniform(0.4, 1.0) * octaves(rng, size, size, rng.uniform(5, 25), 3, 0.8))
    image[:] = rng.uniform(0.05, 0.4) * light[..., None] * hue
    if rng.random() < 0.5:
        sky = smooth_field(rng, size, size, 6) > rng.uniform(0.5, 1.5)
        image[sky] = rng.uniform(0.5, 1.6)


def lamps(image: Image, rng: np.random.Generator) -> None:
    """Points of light out of focus, in the dark."""
    size = len(image)
    image *= rng.uniform(0.02, 0.5)
    radius = int(rng.uniform(0.01, 0.07) * size) + 1
    for _ in range(int(rng.integers(3, 30))):
        centre = rng.uniform(0, size, 2).astype(int).tolist()
        colour = rng.uniform(0.3, 2.0) * np.exp(rng.normal(0, 0.4, 3))
        cv2.circle(image, centre, radius, _rgb(colour), -1, cv2.LINE_AA)


def people(image: Image, rng: np.random.Generator) -> None:
    """Persons farther off, as heads over shoulders without faces, or their clothes only."""
    size = len(image)
    for _ in range(int(rng.integers(1, 4))):
        skin = np.array([0.55, 0.33, 0.23]) * rng.uniform(0.1, 1.3)
        x, y = rng.uniform(-0.1, 1.1) * size, rng.uniform(0.1, 0.9) * size
        head = rng.uniform(0.05, 0.3) * size
        centre = (round(x), round(y))
        body = (round(x), round(y + 2.7 * head))
        axes = (round(1.8 * head), round(1.9 * head))
        cv2.ellipse(image, body, axes, 0, 0, 360, _rgb(drab(rng)), -1, cv2.LINE_AA)
        hair = drab(rng) * 0.2
        rise = (round(x), round(y - 0.25 * head))
        around = (round(0.9 * head), round(1.05 * head))
        cv2.ellipse(image, rise, around, 0, 0, 360, _rgb(hair), -1, cv2.LINE_AA)
        face = (round(0.72 * head), round(0.95 * head))
        if rng.random() < 0.7:
            cv2.ellipse(image, centre, face, 0, 0, 360, _rgb(skin), -1, cv2.LINE_AA)


def set_beside(
    image: Image, neighbour: UInt8[np.ndarray, "P P 3"], rng: np.random.Generator
) -> None:
    """Put the picture of somebody (sRGB, BGR) at the left or right edge, half out of the frame."""
    size = len(image)
    side = round(size * rng.uniform(0.7, 1.3))
    light = linear_from_srgb(np.ascontiguousarray(neighbour[..., ::-1]))
    light = cv2.resize(light, (side, side), interpolation=cv2.INTER_LINEAR)
    top = int(rng.uniform(-0.4, 0.4) * size + (size - side) / 2)
    left = int(rng.choice((0, size)) - side / 2 + rng.normal(0, 0.08) * size)
    y0, y1 = max(top, 0), min(top + side, size)
    x0, x1 = max(left, 0), min(left + side, size)
    image[y0:y1, x0:x1] = light[y0 - top : y1 - top, x0 - left : x1 - left]


def wall(rng: np.random.Generator, side: int) -> Image:
    """A bare light wall, as behind most webcams and in studios: nearly as bright as skin."""
    grey = rng.uniform(0.12, 1.0)
    image = np.full((side, side, 3), grey, np.float32) * np.exp(rng.normal(0, 0.05, 3))
    slope = rng.normal(0, 0.25, 2)
    ramp = (np.arange(side, dtype=np.float32) / side - 0.5)[:, None]
    image *= np.clip(1 + slope[0] * ramp + slope[1] * ramp.T, 0.3, 2)[..., None]
    if rng.random() < 0.4:  # a shadow on it, soft
        shade = smooth_field(rng, side, side, rng.uniform(3, 6))
        image *= (1 - rng.uniform(0.1, 0.5) * np.clip(shade, 0, 1))[..., None]
    return np.asarray(image, np.float32)


_WALL_SHARE = 0.25
_KINDS = ((0.28, shapes), (0.26, room), (0.1, leaves), (0.05, lamps), (0.13, people))


def sample_background(rng: np.random.Generator, size: int) -> Image:
    """A procedural background in linear RGB: a wall, a plain one, a room, leaves, people; blur."""
    if rng.random() < _WALL_SHARE:
        return wall(rng, size)
    blur = float(rng.uniform(0.4, 9)) * size / 230 if rng.random() < 0.65 else 0.0
    # What is blurred anyway is drawn at half the size.
    side = size // 2 if blur > 2 else size
    image = np.broadcast_to(drab(rng), (side, side, 3)).copy()
    if rng.random() < 0.12:
        image *= rng.uniform(0.0, 0.1)
    slope = rng.normal(0, 0.4, 2)
    ramp = (np.arange(side, dtype=np.float32) / side - 0.5)[:, None]
    image *= np.clip(1 + slope[0] * ramp + slope[1] * ramp.T, 0.05, 3)[..., None]
    draw = rng.random()
    for share, make in _KINDS:
        if draw < share:
            make(image, rng)
            break
        draw -= share
    if rng.random() < 0.5:
        texture = octaves(rng, side, side, rng.uniform(2, 20), 3, rng.uniform(0.4, 0.8))
        image *= np.exp(rng.uniform(0.02, 0.35) * texture)[..., None]
    if rng.random() < 0.2:
        tint = [smooth_field(rng, side, side, 5) for _ in range(3)]
        image *= np.exp(0.15 * np.stack(tint, -1))
    if blur:
        image = cv2.GaussianBlur(image, (0, 0), blur * side / size)
    if side < size:
        image = cv2.resize(image, (size, size), interpolation=cv2.INTER_LINEAR)
    return np.clip(image, 0, 3).astype(np.float32)
