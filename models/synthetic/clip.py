"""A short film of one synthetic person, with the true pose and expression of every frame."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Float32, UInt8

from ..face.camera import Camera
from ..face.names import BLENDSHAPE_INDEX
from ..face.rotation import matrix_from_yaw_pitch_roll
from ..noise.motion import NaturalMotion
from ..render.scene import render
from ..render.texture import to_srgb
from .scene import Pose, Studio
from .surroundings import sample_background, sample_lights

_OVERSAMPLING = 2
_BLINK_S = 0.22

Motion = Callable[[float], tuple[Pose, Float32[np.ndarray, " 52"]]]
"""Where a head is and its expression at a time in seconds."""


@dataclass(frozen=True)
class ClipFrame:
    """One frame.

    Attributes:
        image_bgr: (H, W, 3) uint8.
        t_s: time since the first frame, seconds.
        pose: ``camera_from_head``.
        blendshapes: (52,) true values.
        landmarks: (68, 2) true projections, px.
    """

    image_bgr: UInt8[np.ndarray, "H W 3"]
    t_s: float
    pose: Pose
    blendshapes: Float32[np.ndarray, " 52"]
    landmarks: Float32[np.ndarray, "68 2"]


def blink(t_s: float, at_s: float) -> float:
    """Closure of the lids around a blink: quick down, slower up."""
    t = (t_s - at_s) / _BLINK_S
    if not -0.35 < t < 0.65:
        return 0.0
    return float(np.cos(np.pi / 2 * (t / 0.35 if t < 0 else t / 0.65)) ** 2)


def motion(t_s: float) -> tuple[Pose, Float32[np.ndarray, " 52"]]:
    """Where the head is at a time, and its expression: looks around, blinks, smiles, speaks."""
    w = 2 * np.pi * t_s
    angles = np.array(
        [34 * np.sin(w / 5.2), 11 * np.sin(w / 3.7 + 0.6) - 2, 9 * np.sin(w / 4.4 + 1.9)]
    )
    place = np.array(
        [45 * np.sin(w / 6.1 + 0.4), 10 + 12 * np.sin(w / 4.9), 560 + 60 * np.sin(w / 7.3)]
    )
    values = np.zeros(52, np.float32)
    index = BLENDSHAPE_INDEX
    closed = max(blink(t_s, at) for at in (0.9, 2.3, 4.1, 4.6, 6.2, 7.4))
    smile = 0.8 * np.clip(np.sin(w / 8.0 - 0.9), 0, 1)
    speech = np.clip(np.sin(w / 9.0 + 2.4), 0, 1) * (0.3 + 0.3 * np.sin(w * 2.7))
    for side in ("Left", "Right"):
        values[index["eyeBlink" + side]] = closed
        values[index["mouthSmile" + side]] = smile
        values[index["cheekSquint" + side]] = 0.6 * smile
        values[index["browOuterUp" + side]] = 0.5 * np.clip(np.sin(w / 3.1), 0, 1)
    values[index["jawOpen"]] = np.clip(speech, 0, 1)
    values[index["browInnerUp"]] = 0.4 * np.clip(np.sin(w / 3.1), 0, 1)
    return Pose(matrix_from_yaw_pitch_roll(angles), place), values


def following(natural: NaturalMotion) -> Motion:
    """A natural motion, as :func:`render_clip` takes it."""

    def at(t_s: float) -> tuple[Pose, Float32[np.ndarray, " 52"]]:
        now = natural.at(np.array([t_s]))
        rotation = matrix_from_yaw_pitch_roll(now.angles_deg[0])
        return Pose(rotation, now.translation_mm[0]), now.blendshapes[0]

    return at


def render_clip(
    studio: Studio,
    seed: int | list[int],
    frames: int,
    camera: Camera,
    rate: float = 25.0,
    start_s: float = 0.0,
    motion: Motion = motion,
) -> Iterator[ClipFrame]:
    """Film one person; the same for the same arguments.

    Args:
        studio: what renders.
        seed: of the person, the light, the room and the sensor's noise.
        frames: how many.
        camera: intrinsics and size of the pictures.
        rate: frames a second.
        start_s: where in the motion the film begins; its own time begins at 0.
        motion: of the head and its face; default: :func:`motion`.
    """
    rng = np.random.default_rng(seed)
    look = studio.sample_look(rng)
    lights = sample_lights(rng)
    n = _OVERSAMPLING
    side = max(camera.width, camera.height) * n
    room = sample_background(rng, side)[: camera.height * n, : camera.width * n]
    room = cv2.GaussianBlur(room, (0, 0), 6.0)
    large = Camera(
        camera.fx * n,
        camera.fy * n,
        (camera.cx + 0.5) * n - 0.5,
        (camera.cy + 0.5) * n - 0.5,
        camera.width * n,
        camera.height * n,
    )
    exposure = 0.0
    for k in range(frames):
        t = k / rate
        pose, values = motion(start_s + t)
        # The same draw of hair and accessories in every frame; the shoulders stay.
        surfaces = studio.surfaces(look, values, pose, np.eye(3), np.random.default_rng(seed))
        image = render(surfaces, large, lights, np.ascontiguousarray(room)).image
        image = cv2.resize(image, (camera.width, camera.height), interpolation=cv2.INTER_AREA)
        if not exposure:
            exposure = float(0.33 / np.sqrt(max(float(np.median(image)), 0.02)))
        image = image * np.float32(exposure)
        image += rng.standard_normal(image.shape, dtype=np.float32) * 0.004
        points = studio.expressed(look.person, values)[studio.head.topology.landmarks]
        placed = points @ pose.rotation.T + pose.translation
        yield ClipFrame(
            to_srgb(np.ascontiguousarray(np.clip(image, 0, 4))),
            t,
            pose,
            values,
            camera.project(placed).astype(np.float32),
        )
