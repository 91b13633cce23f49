"""Spectacles: rims of all sorts or none, a bridge, temples, lenses with tint and reflections."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Float, Float32

from ..render.surface import Surface
from ..render.texture import Texture
from .eyes import srgb
from .primitives import Mesh, joined, tube

_AROUND = np.linspace(0, 2 * np.pi, 26, endpoint=False)


@dataclass(frozen=True)
class _Style:
    """What a pair looks like; mm."""

    half_width: float
    half_height: float
    square: float
    droop: float
    wire: float
    upper_only: bool
    rimless: bool
    wrap: float


def _sample_style(rng: np.random.Generator) -> _Style:
    kind = rng.random()
    wire = rng.uniform(0.35, 1.0) if kind < 0.5 else rng.uniform(1.0, 3.2)
    return _Style(
        half_width=rng.uniform(20, 30),
        half_height=rng.uniform(12, 24),
        square=rng.uniform(0.35, 1.0),
        droop=rng.uniform(0, 0.35),
        wire=wire,
        upper_only=0.12 < kind < 0.22,
        rimless=kind < 0.12,
        wrap=rng.uniform(0.04, 0.22),
    )


def make_glasses(landmarks: Float32[np.ndarray, "68 3"], rng: np.random.Generator) -> list[Surface]:
    """Frame and lenses that sit on a face, in its head frame."""
    style = _sample_style(rng)
    eyes = [landmarks[36:42].mean(0), landmarks[42:48].mean(0)]
    low = rng.random() < 0.08  # pushed down on the nose
    front = min(landmarks[27, 2], landmarks[28, 2]) - rng.uniform(1, 6) - (8 if low else 0)
    drop = rng.uniform(0, 7) + (14 if low else 0)
    wave = np.stack([np.cos(_AROUND), np.sin(_AROUND)], 1)
    shape = np.sign(wave) * np.abs(wave) ** style.square * [style.half_width, style.half_height]
    shape[:, 0] *= 1 - style.droop * np.clip(shape[:, 1] / style.half_height, 0, 1)
    parts: list[Mesh] = []
    rims: list[Float[np.ndarray, "P 3"]] = []
    for eye, side in zip(eyes, (-1, 1), strict=True):
        centre = np.array([eye[0] + side * rng.uniform(0, 1), eye[1] + drop, front])
        # Frames wrap around the face a little: the outer edge lies deeper.
        depth = style.wrap * np.maximum(side * (shape[:, 0] + side * style.half_width), 0)
        rim = centre + np.c_[shape, depth]
        rims.append(rim)
        if style.upper_only:
            parts.append(tube(rim[np.r_[12:26, 0:1]], style.wire * 1.3))
        elif not style.rimless:
            parts.append(tube(rim, style.wire, True))
        ear = np.array([landmarks[0 if side < 0 else 16, 0] + side * 4, eye[1] - 2, 100.0])
        hinge = rim[np.argmax(side * rim[:, 0])]
        knee = np.array([hinge[0] + side * 6, hinge[1] - 3, hinge[2] + 12])
        bent = ear + [side * -1.0, 22.0, 10.0]
        parts.append(tube(np.stack([hinge, knee, ear, bent]), style.wire * 0.9))
    inner = [rims[0][np.argmax(rims[0][:, 0])], rims[1][np.argmin(rims[1][:, 0])]]
    arch = (inner[0] + inner[1]) / 2 + np.array([0, -rng.uniform(0, 4), -1.5])
    parts.append(tube(np.stack([inner[0], arch, inner[1]]), style.wire * 0.9))
    return [_frame(parts, rng), *_lenses(rims, rng)]


def _frame(parts: list[Mesh], rng: np.random.Generator) -> Surface:
    vertices, triangles = joined(parts)
    kind = rng.random()
    metal = kind < 0.35
    colour = srgb(rng.uniform(5, 60, 3) if kind > 0.6 else rng.uniform(30, 230, 3))
    if metal:
        colour = srgb(np.array([[200, 190, 170], [150, 150, 155], [190, 150, 90]])[rng.integers(3)])
    return Surface(
        vertices,
        triangles,
        colour=np.tile(colour, (len(vertices), 1)).astype(np.float32),
        specular=rng.uniform(0.2, 0.6) if metal else rng.uniform(0.03, 0.2),
        roughness=rng.uniform(0.15, 0.5),
        two_sided=True,
    )


def _lenses(rims: list[Float[np.ndarray, "P 3"]], rng: np.random.Generator) -> list[Surface]:
    kind = rng.random()
    sun = kind < 0.14
    tint = 0.02 if kind > 0.4 else rng.uniform(0.03, 0.25)
    if sun:
        tint = rng.uniform(0.55, 0.98)
    shade = srgb(rng.uniform(0, 60, 3))
    coat = rng.uniform(0.02, 0.08)
    glare = _glare(rng) if rng.random() < 0.4 else None
    made: list[Surface] = []
    for rim in rims:
        points = np.concatenate([rim.mean(0, keepdims=True) - [[0, 0, 1.2]], rim])
        points = points.astype(np.float32)
        step = np.arange(len(rim))
        fan = np.stack([np.zeros_like(step), 1 + (step + 1) % len(rim), 1 + step], 1)
        fan = fan.astype(np.int32)
        top = np.clip((rim[:, 1].mean() - points[:, 1]) / 25, -1, 1)
        alpha = np.clip(tint * (1 + (0.3 if sun else 0) * top), 0, 1)
        lens = Surface(
            points,
            fan,
            colour=np.tile(shade, (len(points), 1)).astype(np.float32),
            alpha=alpha.astype(np.float32),
            specular=coat,
            roughness=0.05,
            two_sided=True,
            casts_shadow=False,
            clear_coat=True,
        )
        made.append(lens)
        if glare is not None:
            spread = (points[:, :2] - points[0, :2]) / 60 + 0.5
            made.append(
                Surface(
                    points - np.array([0, 0, 0.4], np.float32),
                    fan,
                    texture=glare,
                    uv=np.ascontiguousarray(spread[fan].astype(np.float32)),
                    specular=0.0,
                    two_sided=True,
                    casts_shadow=False,
                )
            )
    return made


def _glare(rng: np.random.Generator) -> Texture:
    """What a lens mirrors: windows, lamps and screens as light patches, tinted."""
    size = 32
    alpha = np.zeros((size, size), np.float32)
    for _ in range(int(rng.integers(1, 4))):
        centre, half = rng.uniform(4, 28, 2), rng.uniform(1.5, 12, 2)
        box = cv2.boxPoints((tuple(centre), tuple(half), float(rng.uniform(-40, 40))))
        cv2.fillPoly(alpha, [np.round(box).astype(np.int32)], float(rng.uniform(0.2, 0.95)))
    alpha = cv2.GaussianBlur(alpha, (0, 0), float(rng.uniform(0.3, 2.5)))
    image = np.empty((size, size, 4), np.float32)
    image[..., :3] = rng.uniform(0.6, 2.5) * np.exp(rng.normal(0, 0.15, 3))
    image[..., 3] = np.clip(alpha, 0, 1)
    return Texture.from_image(image)
