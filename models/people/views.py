"""How subjects are looked at, lit and photographed, and what is true of each picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Float32, Float64, Int8, UInt8

from ..face.rotation import matrix_from_yaw_pitch_roll
from ..mesh.orthographic import orthographic_maps
from ..mesh.triangle_mesh import TriangleMesh
from ..noise.degradation import low_resolution, motion_blur
from ..noise.photo import develop
from ..render.surface import Surface
from ..synthetic.surroundings import sample_background, sample_lights
from .orthographic import photograph

_OVERSAMPLING = 2
_FURTHEST_DEG = np.array([75.0, 25.0, 15.0])


@dataclass(frozen=True)
class View:
    """One picture and its truth.

    Attributes:
        image: (S, S, 3) BGR, with a backdrop.
        mask: (S, S) 255 where the true solid is.
        front, back: (S, S, 3) normals times 127 (see ``OrthographicMaps``).
        cube_from_subject: (3, 4).
    """

    image: UInt8[np.ndarray, "S S 3"]
    mask: UInt8[np.ndarray, "S S"]
    front: Int8[np.ndarray, "S S 3"]
    back: Int8[np.ndarray, "S S 3"]
    cube_from_subject: Float32[np.ndarray, "3 4"]


def sample_head_rotations(rng: np.random.Generator, count: int) -> Float64[np.ndarray, "V 3 3"]:
    """Rotations of a head before the camera: +-75 degrees of yaw, more in front; the first is."""
    yaw = np.where(rng.random(count) < 0.55, rng.normal(0, 24, count), rng.uniform(-75, 75, count))
    yaw[0] = rng.normal(0, 10)
    pitch = np.where(rng.random(count) < 0.7, rng.normal(0, 8, count), rng.uniform(-25, 25, count))
    roll = np.where(rng.random(count) < 0.7, rng.normal(0, 5, count), rng.uniform(-15, 15, count))
    angles = np.clip(np.stack([yaw, pitch, roll], 1), -_FURTHEST_DEG, _FURTHEST_DEG)
    return np.asarray(matrix_from_yaw_pitch_roll(angles), np.float64)


def shoot(
    painted: Sequence[Surface],
    mesh: TriangleMesh,
    cube_from_subject: Float32[np.ndarray, "3 4"],
    cube_mm: float,
    size: int,
    rng: np.random.Generator,
) -> View:
    """Photograph a subject under random light before a random backdrop.

    Args:
        painted: what the picture shows, subject frame, mm.
        mesh: the true solid, subject frame, mm.
        cube_from_subject: where the subject is seen from.
        cube_mm: side of the cube.
        size: of the picture, px.
        rng: source of chance.
    """
    large = size * _OVERSAMPLING
    background = sample_background(rng, large)
    lights = sample_lights(rng)
    picture = photograph(painted, cube_from_subject, cube_mm, large, lights, background)
    image = _degraded(develop(picture.image, size, rng), rng)
    maps = orthographic_maps(mesh.transformed(cube_from_subject), size)
    return View(
        image,
        maps.mask.astype(np.uint8) * np.uint8(255),
        np.rint(maps.front * 127).astype(np.int8),
        np.rint(maps.back * 127).astype(np.int8),
        cube_from_subject,
    )


def _degraded(
    image: UInt8[np.ndarray, "S S 3"], rng: np.random.Generator
) -> UInt8[np.ndarray, "S S 3"]:
    """What happens between a lens and a stored video: few pixels, motion, compression."""
    kind = rng.random()
    size = len(image)
    if kind < 0.3:
        image = low_resolution(image, float(rng.uniform(1.2, 3.0)))
    elif kind < 0.4:
        image = motion_blur(image, float(rng.uniform(1.5, 7)) * size / 256, rng.uniform(0, np.pi))
    if rng.random() < 0.25:
        _, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(25, 90))])
        image = np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)
    return image
