"""Subjects on disk: a file a subject, and what the folder holds."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np

from ..documents import json_of, one_line
from ..errors import InputError, OutputError
from ..mesh.triangle_mesh import TriangleMesh
from ..writing import make_folder, whole_file
from .points import Samples
from .views import View

META_NAME: Final = "meta.json"
VERSION: Final = 1


@dataclass(frozen=True)
class Meta:
    """What a folder of subjects holds.

    Attributes:
        kind: ``heads`` or ``bodies``.
        size: of the pictures, px.
        cube_mm: side of the cubes; of bodies, whose cubes differ, the mean height's.
        seed: subjects are a function of it, of their number and of the settings.
        count: number of the last subject, plus one.
        views: pictures a subject.
        assets: CC0 meshes were used.
        command: what made it.
        version: of the format.
    """

    kind: str
    size: int
    cube_mm: float
    seed: int
    count: int
    views: int
    assets: bool
    command: str
    version: int = VERSION

    def __post_init__(self) -> None:
        if min(self.size, self.count, self.views) < 1:
            raise InputError("subjects: count, views and size must be 1 or more")
        if self.version != VERSION:
            raise InputError(f"subjects of format {self.version}, expected {VERSION}")

    @classmethod
    def load(cls, folder: Path) -> Meta:
        """Read a folder's ``meta.json``.

        Raises:
            InputError: there is none, or it is of something else.
        """
        path = folder / META_NAME
        try:
            return cls(**json_of(path.read_text()))
        except (OSError, ValueError, TypeError) as error:
            raise InputError(
                f"{path}: no description of synthetic subjects: {one_line(error)}"
            ) from error

    def begin(self, folder: Path) -> None:
        """Make the folder and describe it; what is there already must have the same settings.

        Raises:
            OutputError: it cannot be written, or holds subjects of other settings.
        """
        meta = self
        make_folder(folder)
        if (folder / META_NAME).exists():
            there = Meta.load(folder)
            if replace(there, count=self.count, command=self.command) != self:
                raise OutputError(
                    f"{folder}: holds subjects of other settings; give another folder"
                )
            meta = replace(self, count=max(there.count, self.count))
        with whole_file(folder / META_NAME) as part:
            part.write_text(json.dumps(asdict(meta), indent=1) + "\n", encoding="utf-8")


@dataclass(frozen=True)
class Subject:
    """One person in one attitude: truth and pictures.

    Attributes:
        mesh: the watertight solid, subject frame, mm.
        samples: points with labels.
        views: pictures and their maps.
        height_mm: of the object in its cube.
        identity: number of the person.
    """

    mesh: TriangleMesh
    samples: Samples
    views: Sequence[View]
    height_mm: float
    identity: int


def subject_path(folder: Path, number: int) -> Path:
    """File of one subject."""
    return folder / f"subject-{number:05d}.npz"


def save_subject(folder: Path, number: int, subject: Subject) -> None:
    """Write a subject, uncompressed; the file appears when it is whole.

    Raises:
        OutputError: it cannot be written.
    """
    path = subject_path(folder, number)
    views = subject.views
    with whole_file(path) as part:
        np.savez(
            part,
            vertices=subject.mesh.vertices,
            triangles=subject.mesh.triangles,
            points=subject.samples.points,
            inside=subject.samples.inside,
            scale=subject.samples.scale,
            images=np.stack([view.image for view in views]),
            mask=np.stack([view.mask for view in views]),
            front=np.stack([view.front for view in views]),
            back=np.stack([view.back for view in views]),
            cube_from_subject=np.stack([view.cube_from_subject for view in views]),
            height_mm=np.float32(subject.height_mm),
            identity=np.int32(subject.identity),
        )
