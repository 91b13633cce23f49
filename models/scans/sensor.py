"""A simulated TrueDepth sensor: what an app would record of a true face.

Structured light and stereo share their errors: the deviation of a measured depth grows with the
square of the distance, and so do its steps (a disparity is found to a fraction of a pixel); nothing
is measured at edges of depth, in hair, and on eyes, which mirror.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from jaxtyping import Bool, Float32, Float64, Int32, UInt8

from ..face.rotation import matrix_from_rotation_vector, matrix_from_yaw_pitch_roll
from ..render.raster import vertex_normals
from ..synthetic.noise2d import smooth_field
from .closed_head import LEFT_EYE, RIGHT_EYE
from .colours import Paint
from .frame import DepthFrame, Intrinsics
from .views import Seen, look

COMPLETE, HALF, HOLES = 0, 1, 2
"""Kinds of scans: the whole face, one side of it, with holes torn into it."""
_LENS: Final = Intrinsics(295.0, 295.0, 159.5, 119.5, 320, 240)
"""The depth camera's at half of its 640 x 480."""
_CENTRE: Final = np.array([0.0, 30.0, 30.0])


@dataclass(frozen=True)
class Sensor:
    """Errors of the sensor.

    Attributes:
        noise_mm_at_1m: deviation of a depth at 1 m; grows with the square of the distance.
        blotch_share: share of it that is even over some pixels.
        step_mm_at_1m: step of depth at 1 m.
        edge_mm: a change of depth between pixels from which on they may be lost.
        edge_loss: chance of that.
        eye_loss: chance that a patch of an eye is lost.
        pose_deg, pose_mm: deviation of the poses of a scan's frames to one another.
        alignment_deg, alignment_mm, alignment_scale: deviation of a scan's pose and size in the
            head frame, about each axis: what :func:`.alignment.align_scan` was measured to err.
    """

    noise_mm_at_1m: float = 6.0
    blotch_share: float = 0.6
    step_mm_at_1m: float = 3.0
    edge_mm: float = 6.0
    edge_loss: float = 0.75
    eye_loss: float = 0.5
    pose_deg: float = 0.3
    pose_mm: float = 0.4
    alignment_deg: float = 0.9
    alignment_mm: float = 0.7
    alignment_scale: float = 0.02

    def measure(
        self, seen: Seen, kinds: UInt8[np.ndarray, " M"], rng: np.random.Generator
    ) -> Float32[np.ndarray, "H W"]:
        """Depth of a view as the sensor gives it, mm; NaN where it gives nothing."""
        depth = seen.depth.copy()
        hit = np.isfinite(depth)
        height, width = depth.shape
        metres2 = np.where(hit, depth / 1000, 0) ** 2
        blotch = smooth_field(rng, height, width, height / 5)
        fine = rng.standard_normal(depth.shape, dtype=np.float32)
        a = np.float32(self.blotch_share)
        error = (a * blotch + np.sqrt(1 - a * a) * fine) * self.noise_mm_at_1m * metres2
        # Even in disparity: steps of 1 / depth.
        step = np.float32(self.step_mm_at_1m / 1e6)
        noisy = np.where(hit, depth + error, 1e6)
        steps = np.rint((1 / noisy) / step + rng.uniform(-0.5, 0.5))
        measured = 1 / np.maximum(steps * step, 1e-6)
        lost = ~hit | self._lost_at_edges(depth, hit, rng)
        lost |= self._lost_eyes(seen, kinds, rng) | _hair(seen, rng)
        return np.where(lost, np.nan, measured).astype(np.float32)

    def _lost_at_edges(
        self,
        depth: Float32[np.ndarray, "H W"],
        hit: Bool[np.ndarray, "H W"],
        rng: np.random.Generator,
    ) -> Bool[np.ndarray, "H W"]:
        near = np.where(hit, depth, 0).astype(np.float32)
        far = np.where(hit, depth, 1e4).astype(np.float32)
        square = np.ones((3, 3), np.uint8)
        range_mm = np.where(hit, cv2.dilate(far, square), 0) - cv2.erode(near, square)
        return (range_mm > self.edge_mm) & (rng.random(depth.shape) < self.edge_loss)

    def _lost_eyes(
        self, seen: Seen, kinds: UInt8[np.ndarray, " M"], rng: np.random.Generator
    ) -> Bool[np.ndarray, "H W"]:
        kind = kinds[np.maximum(seen.which, 0)]
        eyes = (seen.which >= 0) & ((kind == RIGHT_EYE) | (kind == LEFT_EYE))
        if rng.random() > 0.85 or not eyes.any():
            return np.zeros_like(eyes)
        height, width = eyes.shape
        field = smooth_field(rng, height, width, height / 3)
        return eyes & (field < np.quantile(field[eyes], self.eye_loss * rng.uniform(0.3, 1.8)))


def _hair(seen: Seen, rng: np.random.Generator) -> Bool[np.ndarray, "H W"]:
    """Pixels lost to hair: above a hairline, at the temples, some of the brows."""
    height, width = seen.depth.shape
    wobble = 6 * smooth_field(rng, height, width, height / 6)
    x, y, z = np.moveaxis(seen.points, -1, 0)
    line = -rng.uniform(38, 75) + 0.55 * np.maximum(z - 18, 0)
    lost = y + wobble < line
    if rng.random() < 0.6:
        lost |= (z + wobble > rng.uniform(72, 95)) & (y < 60)
    if rng.random() < 0.4:
        brow = (np.abs(y + 17) < 5) & (np.abs(np.abs(x) - 32) < 20)
        lost |= brow & (rng.random(y.shape) < rng.uniform(0.1, 0.6))
    ragged = lost & (rng.random(y.shape) < rng.uniform(0.5, 1.0))
    return ragged & np.isfinite(seen.depth)


@dataclass(frozen=True)
class _Light:
    """Light of a room on a scan's colours: even, from one side, and its hue."""

    ambient: float
    direction: Float32[np.ndarray, " 3"]
    strength: float
    hue: Float32[np.ndarray, " 3"]

    @classmethod
    def sample(cls, rng: np.random.Generator) -> _Light:
        towards = np.array([rng.normal(0, 0.8), rng.normal(-0.7, 0.5), -1.0])
        return cls(
            float(rng.uniform(0.45, 0.85)),
            (towards / np.linalg.norm(towards)).astype(np.float32),
            float(rng.uniform(0.1, 0.55)),
            rng.normal(1, 0.06, 3).astype(np.float32),
        )


def simulate_scan(
    placed: Float32[np.ndarray, "V 3"],
    triangles: Int32[np.ndarray, "M 3"],
    paint: Paint,
    kind: int,
    rng: np.random.Generator,
    sensor: Sensor | None = None,
) -> list[DepthFrame]:
    """One to three frames of a face; their poses in the head frame are a little wrong.

    Args:
        placed: (V, 3) vertices of the closed head, head frame, mm.
        triangles: its triangles.
        paint: its colours.
        kind: :data:`COMPLETE`, :data:`HALF` or :data:`HOLES`.
        rng: what draws.
        sensor: its errors; default: :class:`Sensor`.
    """
    sensor = sensor or Sensor()
    light = _Light.sample(rng)
    side = float(rng.choice([-1.0, 1.0]))
    misaligned = _small_motion(rng, sensor.alignment_deg, sensor.alignment_mm)
    size = np.float32(rng.normal(1, sensor.alignment_scale))
    normals = vertex_normals(placed, triangles)
    tears = _Tears.sample(kind, side, rng)
    frames = []
    for yaw in _yaws(kind, side, rng):
        pose = _pose(yaw, rng)
        seen = look(placed, triangles, _LENS.matrix @ pose[:3], _LENS.height, _LENS.width)
        depth = sensor.measure(seen, paint.kinds, rng)
        depth[tears.of(seen.points)] = np.nan
        wrong = _small_motion(rng, sensor.pose_deg, sensor.pose_mm)
        # A head of another size is nearer or farther, too: its middle stays in place.
        placed_again = misaligned @ wrong @ np.linalg.inv(pose)
        placed_again[:3, 3] = size * (placed_again[:3, 3] - _CENTRE) + _CENTRE
        image = _photograph(seen, triangles, normals, paint, light, rng)
        frames.append(DepthFrame(depth * size, image, _LENS, placed_again))
    return frames


def _yaws(kind: int, side: float, rng: np.random.Generator) -> Sequence[float]:
    """From where the frames of a scan look."""
    if kind == HALF:
        return [-side * rng.uniform(25, 60) for _ in range(int(rng.integers(1, 3)))]
    count = int(rng.integers(1, 4))
    if count == 1:
        return [rng.normal(0, 8)]
    spread = rng.uniform(15, 45)
    return [rng.normal(0, 6) + spread * turn for turn in np.linspace(-1, 1, count)]


def _pose(yaw_deg: float, rng: np.random.Generator) -> Float64[np.ndarray, "4 4"]:
    """camera_from_head of a face held before the phone."""
    pose = np.eye(4)
    angles = np.array([yaw_deg, rng.normal(0, 8), rng.normal(0, 5)])
    pose[:3, :3] = matrix_from_yaw_pitch_roll(angles)
    place = np.array([rng.normal(0, 10), rng.normal(0, 10), rng.uniform(270, 480)])
    pose[:3, 3] = place - pose[:3, :3] @ _CENTRE
    return pose


def _small_motion(rng: np.random.Generator, deg: float, mm: float) -> Float64[np.ndarray, "4 4"]:
    """A small rotation about the face's middle, and a shift."""
    motion = np.eye(4)
    motion[:3, :3] = matrix_from_rotation_vector(np.radians(rng.normal(0, deg, 3)))
    motion[:3, 3] = _CENTRE - motion[:3, :3] @ _CENTRE + rng.normal(0, mm, 3)
    return motion


@dataclass(frozen=True)
class _Tears:
    """What is missing of a face: all beyond a plane, and balls."""

    plane: Float64[np.ndarray, " 4"] | None
    balls: Float64[np.ndarray, "K 4"]

    @classmethod
    def sample(cls, kind: int, side: float, rng: np.random.Generator) -> _Tears:
        """Of a kind of scans; what is missing of half a face lies at positive ``side`` x."""
        plane, balls = None, np.zeros((0, 4))
        if kind == HALF:
            normal = np.array([side, rng.normal(0, 0.15), rng.normal(0, 0.1)])
            plane = np.append(normal / np.linalg.norm(normal), rng.uniform(-4, 22))
        if kind == HOLES:
            low, high = (-60, -45, -10, 12), (60, 105, 40, 30)
            balls = rng.uniform(low, high, (int(rng.integers(2, 6)), 4))
        return cls(plane, balls)

    def of(self, points: Float32[np.ndarray, "H W 3"]) -> Bool[np.ndarray, "H W"]:
        """Which points of the head frame are missing."""
        torn = np.zeros(points.shape[:2], bool)
        if self.plane is not None:
            torn |= points @ self.plane[:3] > self.plane[3]
        for ball in self.balls:
            torn |= ((points - ball[:3]) ** 2).sum(-1) < ball[3] ** 2
        return torn


def _photograph(
    seen: Seen,
    triangles: Int32[np.ndarray, "M 3"],
    normals: Float32[np.ndarray, "V 3"],
    paint: Paint,
    light: _Light,
    rng: np.random.Generator,
) -> UInt8[np.ndarray, "H W 3"]:
    """The colour picture (BGR) of a frame in the light of a room."""
    hit = seen.which >= 0
    image = np.full((*hit.shape, 3), rng.uniform(20, 220), np.float32)
    which = seen.which[hit]
    weights = np.ascontiguousarray(seen.weights[hit])
    colour = paint.at(seen.points[hit], triangles, which, weights, 1.4).astype(np.float32)
    corner = normals[triangles[which]]
    v, w = weights[:, :1], weights[:, 1:]
    normal = corner[:, 0] * (1 - v - w) + corner[:, 1] * v + corner[:, 2] * w
    shade = light.ambient + light.strength * np.maximum(normal @ light.direction, 0)
    # Light is linear, colours are not: a factor s of light is about s^(1 / 2.2) of a byte.
    image[hit] = (colour * shade[:, None] ** np.float32(1 / 2.2) * light.hue)[:, ::-1]
    image += rng.normal(0, rng.uniform(0.5, 4), image.shape).astype(np.float32)
    return np.clip(np.rint(image), 0, 255).astype(np.uint8)
