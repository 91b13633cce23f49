"""Makes folders of synthetic bodies on all cores: resumable, and the same for the same seed."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np

from ..makehuman.build import HeadModel
from ..makehuman.source import MakeHumanData
from .bodies import SIDE_SHARE, make_body
from .body_dresser import BodyDresser
from .generate import HeadsConfig, make_missing
from .record import Meta, Subject, save_subject

_MEAN_HEIGHT_MM = 1650.0


@dataclass(frozen=True)
class BodiesConfig(HeadsConfig):
    """What to make; ``assets`` may hold suits beside hair."""

    @property
    def meta(self) -> Meta:
        """Description of the folder."""
        return replace(super().meta, kind="bodies", cube_mm=SIDE_SHARE * _MEAN_HEIGHT_MM)


_dresser: BodyDresser | None = None


def make_body_dresser(config: BodiesConfig) -> BodyDresser:
    """What draws bodies by a configuration."""
    head = HeadModel.load(config.face_model, MakeHumanData.open(config.data))
    return BodyDresser(head, config.assets)


def body_subject(dresser: BodyDresser, config: BodiesConfig, number: int) -> Subject:
    """One subject, a function of the seed and its number."""
    rng = np.random.default_rng([config.seed, number])
    return make_body(dresser, rng, number, config.views, config.size)


def _start_worker(config: BodiesConfig) -> None:
    global _dresser  # noqa: PLW0603 - one a process, made when the process starts
    cv2.setNumThreads(1)
    _dresser = make_body_dresser(config)


def _make(task: tuple[BodiesConfig, int]) -> int:
    config, number = task
    if _dresser is None:
        raise RuntimeError("the worker was not started by _start_worker")
    save_subject(config.out, number, body_subject(_dresser, config, number))
    return number


def synthesise_bodies(config: BodiesConfig) -> int:
    """Make the subjects that are missing; returns how many were made.

    Raises:
        OutputError: the folder cannot be written, or holds subjects of other settings.
    """
    return make_missing(config, _start_worker, _make, "body")
