"""Spectacles: two rims, a bridge, temples, and lenses."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float32, Int32

from ..render.surface import Surface
from .eyes import srgb

Vertices = Float32[np.ndarray, "V 3"]


def tube(
    path: Float32[np.ndarray, "P 3"], radius: float, closed: bool, sides: int = 5
) -> tuple[Float32[np.ndarray, "K 3"], Int32[np.ndarray, "M 3"]]:
    """A tube around a polyline, mm."""
    ahead = np.roll(path, -1, 0) - path
    if not closed:
        ahead[-1] = ahead[-2]
    ahead /= np.linalg.norm(ahead, axis=1, keepdims=True) + 1e-9
    side = np.cross(ahead, np.where(np.abs(ahead[:, 1:2]) < 0.9, [[0, 1.0, 0]], [[1.0, 0, 0]]))
    side /= np.linalg.norm(side, axis=1, keepdims=True) + 1e-9
    up = np.cross(ahead, side)
    angle = np.linspace(0, 2 * np.pi, sides, endpoint=False)
    ring = np.cos(angle)[:, None, None] * side + np.sin(angle)[:, None, None] * up
    points = (path + radius * ring).transpose(1, 0, 2).reshape(-1, 3)
    n = len(path)
    i = np.arange(n if closed else n - 1)[:, None] * sides
    j = (i + sides) % (n * sides)
    k = np.arange(sides)[None]
    ahead_k = (k + 1) % sides
    triangles = np.concatenate(
        [
            np.stack([i + k, j + k, j + ahead_k], -1).reshape(-1, 3),
            np.stack([i + k, j + ahead_k, i + ahead_k], -1).reshape(-1, 3),
        ]
    )
    return points.astype(np.float32), triangles.astype(np.int32)


def make_glasses(landmarks: Float32[np.ndarray, "68 3"], rng: np.random.Generator) -> list[Surface]:
    """Frame and lenses that sit on a face, in its head frame."""
    eyes = [landmarks[36:42].mean(0), landmarks[42:48].mean(0)]
    front = min(landmarks[27, 2], landmarks[28, 2]) - rng.uniform(1, 5)
    half_w, half_h = rng.uniform(20, 29), rng.uniform(13, 24)
    drop = rng.uniform(0, 6)
    square = rng.uniform(0.35, 1.0)
    thick = rng.uniform(0.5, 2.6)
    around = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    wave = np.stack([np.cos(around), np.sin(around)], 1)
    shape = np.sign(wave) * np.abs(wave) ** square * [half_w, half_h]
    parts, lenses = [], []
    for eye, side in zip(eyes, (-1, 1), strict=True):
        centre = np.array([eye[0] + side * rng.uniform(0, 1), eye[1] + drop, front])
        # Frames wrap around the face a little: the outer edge lies deeper.
        depth = 0.09 * np.maximum(side * (shape[:, 0] + side * half_w), 0)
        rim = centre + np.c_[shape, depth]
        parts.append(tube(rim.astype(np.float32), thick, True))
        lenses.append(rim)
        ear = np.array([landmarks[0 if side < 0 else 16, 0] + side * 4, eye[1] - 2, 100.0])
        hinge = rim[np.argmax(side * rim[:, 0])]
        knee = np.array([hinge[0] + side * 6, hinge[1] - 3, hinge[2] + 12])
        parts.append(tube(np.stack([hinge, knee, ear]).astype(np.float32), thick * 0.9, False))
    inner = [lenses[0][np.argmax(lenses[0][:, 0])], lenses[1][np.argmin(lenses[1][:, 0])]]
    arch = (inner[0] + inner[1]) / 2 + np.array([0, -rng.uniform(0, 4), -1.5])
    parts.append(tube(np.stack([inner[0], arch, inner[1]]).astype(np.float32), thick * 0.9, False))
    starts = np.cumsum([0] + [len(points) for points, _ in parts])
    vertices = np.concatenate([points for points, _ in parts])
    triangles = np.concatenate([t + s for (_, t), s in zip(parts, starts, strict=False)])
    colour = srgb(rng.uniform(5, 90, 3) if rng.random() < 0.75 else rng.uniform(30, 230, 3))
    frame = Surface(
        vertices,
        triangles.astype(np.int32),
        colour=np.tile(colour, (len(vertices), 1)).astype(np.float32),
        specular=rng.uniform(0.04, 0.4),
        roughness=rng.uniform(0.15, 0.5),
        two_sided=True,
    )
    made = [frame]
    tint = rng.choice([0.02, 0.08, 0.75], p=[0.6, 0.28, 0.12])
    shade = srgb(rng.uniform(0, 50, 3))
    for rim in lenses:
        points = np.concatenate([rim.mean(0, keepdims=True) - [[0, 0, 1.0]], rim])
        step = np.arange(len(rim))
        fan = np.stack([np.zeros_like(step), 1 + (step + 1) % len(rim), 1 + step], 1)
        points = points.astype(np.float32)
        lens = Surface(
            points,
            fan.astype(np.int32),
            colour=np.tile(shade, (len(points), 1)).astype(np.float32),
            alpha=np.full(len(points), tint, np.float32),
            specular=0.04,
            roughness=0.05,
            two_sided=True,
            casts_shadow=False,
            clear_coat=True,
        )
        made.append(lens)
    return made
