"""People as ``mien synthesize heads|bodies`` writes them, and batches of them for training.

A folder holds ``meta.json`` and a file a subject, ``subject-00000.npz``; what a file holds is said
at :class:`Subject`. Coordinates of the cube are those of :class:`~.network.Pifuhd`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Final

import numpy as np
from jaxtyping import Bool, Float32, Int8, Int32, UInt8
from numpy.typing import NDArray

from ..archives import fitted
from ..documents import json_of, one_line
from ..errors import InputError
from .augment import Augmentation, Placement, photograph, placed_normals, placed_picture
from .mapped import map_arrays
from .pose import FitError, told_pose

META_NAME: Final = "meta.json"
HELD_OUT: Final = 0.15
"""Share of the subjects that no training sees: the last ones."""
UNIFORM: Final = 3
"""The ``scale`` of points drawn uniformly from the cube."""
SHARES: Final = {
    "coarse": (0.65, 0.20, 0.05, 0.10),
    "fine": (0.10, 0.30, 0.50, 0.10),
    "whole": (0.40, 0.30, 0.20, 0.10),
}
"""Share of a step's points by their ``scale``: from far about the surface to near, uniform.

``whole`` is of a fine level that sees whole pictures: it mends depths as well as details.
"""
_ARRAYS: Final = {
    "points": (np.float32, "P 3"), "inside": (np.bool_, "P"), "scale": (np.uint8, "P"),
    "images": (np.uint8, "V S S 3"), "mask": (np.uint8, "V S S"), "front": (np.int8, "V S S 3"),
    "back": (np.int8, "V S S 3"), "cube_from_subject": (np.float32, "V 3 4"),
}  # fmt: skip
_WHO: Final = {"identity": (np.int64, "")}
_SPARE: Final = 4
"""Points looked at for each that must lie in a window."""


def subject_path(folder: Path, number: int) -> Path:
    """The file of a subject."""
    return folder / f"subject-{number:05d}.npz"


def split(meta: Mapping[str, Any]) -> tuple[range, range]:
    """Numbers of the subjects to train on, and of those held out: the last 15 %.

    Args:
        meta: what ``meta.json`` holds; ``count`` is looked at.
    """
    count = int(meta["count"])
    held_out = round(HELD_OUT * count) if count > 1 else 0
    first = count - max(held_out, 1 if count > 1 else 0)
    return range(first), range(first, count)


@dataclass(frozen=True)
class Subject:
    """One person.

    Attributes:
        points: (P, 3) mm, in the subject's frame.
        inside: (P) whether they are inside the person.
        scale: (P) 0, 1, 2 about the surface, from far to near; 3 uniformly in the cube.
        images: (V, S, S, 3) BGR, before a backdrop.
        mask: (V, S, S) how much of each pixel is the person.
        front: (V, S, S, 3) front normals times 127.
        back: (V, S, S, 3) back normals times 127.
        cube_from_subject: (V, 3, 4) similarity into the cube of each view.
        identity: who it is.
    """

    points: Float32[np.ndarray, "P 3"]
    inside: Bool[np.ndarray, " P"]
    scale: UInt8[np.ndarray, " P"]
    images: UInt8[np.ndarray, "V S S 3"]
    mask: UInt8[np.ndarray, "V S S"]
    front: Int8[np.ndarray, "V S S 3"]
    back: Int8[np.ndarray, "V S S 3"]
    cube_from_subject: Float32[np.ndarray, "V 3 4"]
    identity: int

    @classmethod
    def load(cls, path: Path) -> Subject:
        """Map a file.

        Raises:
            InputError: it cannot be read, or lacks something.
        """
        arrays = map_arrays(path)
        missing = sorted(_ARRAYS.keys() - set(arrays))
        if missing:
            raise InputError(f"{path}: not a subject: it has no {', '.join(missing)}")
        try:
            named: dict[str, Any] = fitted({name: arrays[name] for name in _ARRAYS}, _ARRAYS)
            who = fitted({"identity": arrays.get("identity", np.array(-1))}, _WHO)
        except ValueError as error:
            raise InputError(f"{path}: not a subject: {one_line(error)}") from error
        return cls(**named, identity=int(who["identity"]))

    @property
    def views(self) -> int:
        """Pictures of the person."""
        return len(self.images)


class PeopleFolder:
    """A folder of people, split by identity.

    Args:
        path: the folder.

    Raises:
        InputError: it is not such a folder, or has no subject to train on or none held out.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            meta = json_of((path / META_NAME).read_text(encoding="utf-8"))
            if not isinstance(meta, dict):
                raise ValueError(f"{META_NAME} is no table")
            self.meta: dict[str, Any] = meta
            training, held_out = split(meta)
        except (OSError, ValueError, KeyError, TypeError, OverflowError) as error:
            raise InputError(
                f'{path}: not a folder of "mien synthesize heads" or "bodies": meta.json: '
                f"{one_line(error)}"
            ) from error
        self.training = self._load(training)
        self.held_out = self._load(held_out)
        if not self.training or not self.held_out:
            raise InputError(f"{path}: expected subjects to train on and held-out ones (the last)")
        known = {s.identity for s in self.training.values()} - {-1}
        twice = known & {s.identity for s in self.held_out.values()}
        if twice:
            raise InputError(f"{path}: identity {min(twice)} is both trained on and held out")

    @property
    def has_heads(self) -> bool:
        """Whether the subjects' frame is the head frame: their heads' poses are known."""
        return self.meta.get("kind") == "heads"

    def _load(self, numbers: range) -> dict[int, Subject]:
        """The subjects of these numbers that are there, whatever their count is said to be."""
        words = (file.stem.rpartition("-")[2] for file in self.path.glob("subject-*.npz"))
        there = sorted(int(word) for word in words if word.isdecimal())
        return {n: Subject.load(subject_path(self.path, n)) for n in there if n in numbers}


Depths = Callable[[int, int, Placement, int], Float32[np.ndarray, "2 W W"]]
"""Of a subject's view in its place, in so many pixels."""
Drawn = Mapping[int, tuple[Int8[np.ndarray, "V S S 3"], Int8[np.ndarray, "V S S 3"]]]
"""Front and back normals that networks drew of each subject's views, times 127."""


@dataclass(frozen=True)
class Batch:
    """What a step learns from.

    Attributes:
        image: (b, 3, S, S) RGB from -1 to 1, the background zero.
        front: (b, 3, N, N) front normals, true or drawn; None where they are not asked for.
        back: (b, 3, N, N) back normals.
        points: (b, p, 3) in the cube.
        inside: (b, p) 1 inside, 0 outside.
        weight: (b, p) 0 where a point is not in the picture or the window.
        corner: (b, 2) column and row of each window; None without windows.
        head_from_cube: (b, 3, 4) transforms to the head's axes (:mod:`.pose`); None where they are
            not asked for.
        depths: (b, 2, W, W) of the first and last surface, NaN where none is known; None where
            they are not asked for.
        cover: (b, W, W) share of each pixel that shows the person, with the depths.
    """

    image: Float32[np.ndarray, "b 3 S S"]
    front: Float32[np.ndarray, "b 3 N N"] | None
    back: Float32[np.ndarray, "b 3 N N"] | None
    points: Float32[np.ndarray, "b p 3"]
    inside: Float32[np.ndarray, "b p"]
    weight: Float32[np.ndarray, "b p"]
    corner: NDArray[np.int64] | None
    head_from_cube: Float32[np.ndarray, "b 3 4"] | None
    depths: Float32[np.ndarray, "b 2 W W"] | None = None
    cover: Float32[np.ndarray, "b W W"] | None = None


@dataclass(frozen=True)
class BatchOptions:
    """What is asked for in a batch.

    Attributes:
        size: pixels across the pictures.
        pictures: in a batch.
        points: of each picture.
        shares: of the points by their scale.
        balanced: as many points inside as outside; otherwise as they come.
        window: pixels across windows; None for whole pictures.
        front: whether front normals are wanted.
        back: whether back normals are wanted.
        normal_size: pixels across the normals; None for those of the pictures.
        augmentation: what is varied; None for pictures as they are.
        fit: how far the head's pose that is told is off; None to tell none.
        surfaces: pixels across maps of the true surfaces; None for no maps.
    """

    size: int
    pictures: int
    points: int = 0
    shares: tuple[float, float, float, float] = SHARES["coarse"]
    balanced: bool = True
    window: int | None = None
    front: bool = False
    back: bool = False
    normal_size: int | None = None
    augmentation: Augmentation | None = None
    fit: FitError | None = None
    surfaces: int | None = None


class BatchSource:
    """Makes batches; the same step of the same seed always gives the same one.

    Args:
        subjects: to draw from.
        options: what is wanted.
        seed: of everything random.
        drawn: normals to give instead of the true ones.
        depths: of the subjects' surfaces, where they are asked for.
    """

    def __init__(
        self,
        subjects: Mapping[int, Subject],
        options: BatchOptions,
        seed: int,
        drawn: Drawn | None = None,
        depths: Depths | None = None,
    ) -> None:
        self.options = options
        self._subjects = subjects
        self._seed = seed
        self._drawn = drawn
        self._depths = depths
        self._views = [(n, v) for n, s in subjects.items() for v in range(s.views)]
        self._groups: dict[int, list[Int32[np.ndarray, " k"]]] = {}

    def batches(self, step: int) -> Iterator[Batch]:
        """Batches without end, from that step on."""
        while True:
            yield self.batch(step)
            step += 1

    def batch(self, step: int) -> Batch:
        """The batch of a step."""
        rng = np.random.default_rng([self._seed, step])
        chosen = rng.integers(len(self._views), size=self.options.pictures)
        return stacked([self.item(*self._views[int(i)], rng) for i in chosen])

    def item(self, number: int, view: int, rng: np.random.Generator) -> Batch:
        """A batch of one picture.

        Args:
            number: of the subject.
            view: of that subject.
            rng: for everything random.
        """
        options, subject = self.options, self._subjects[number]
        varied = options.augmentation
        cut = bool((subject.mask[view, -1] > 127).any())
        placement = varied.placement(rng, cut) if varied else Placement()
        size = options.size
        picture = placed_picture(subject.images[view], placement, size)
        mask = placed_picture(subject.mask[view], placement, size)
        image = photograph(picture, mask, varied, rng)
        true = subject.front, subject.back
        front, back = self._drawn[number] if self._drawn else true
        wide = options.normal_size or size
        points, inside, weight, corner = self._points(number, view, placement, rng)
        told = None
        if options.fit is not None:
            told = told_pose(subject.cube_from_subject[view], placement, options.fit, rng)[None]
        return Batch(
            image=image[None],
            front=placed_normals(front[view], placement, wide)[None] if options.front else None,
            back=placed_normals(back[view], placement, wide)[None] if options.back else None,
            points=points[None],
            inside=inside[None].astype(np.float32),
            weight=weight[None].astype(np.float32),
            corner=None if corner is None else np.array([corner]),
            head_from_cube=told,
            **self._surfaces(number, view, placement),
        )

    def _surfaces(
        self, number: int, view: int, placement: Placement
    ) -> dict[str, NDArray[np.float32]]:
        size = self.options.surfaces
        if size is None or self._depths is None:
            return {}
        cover = placed_picture(self._subjects[number].mask[view], placement, size)
        depths = self._depths(number, view, placement, size)
        return {"depths": depths[None], "cover": cover[None].astype(np.float32) / np.float32(255)}

    def _points(
        self, number: int, view: int, placement: Placement, rng: np.random.Generator
    ) -> tuple[
        Float32[np.ndarray, "p 3"],
        Bool[np.ndarray, " p"],
        Bool[np.ndarray, " p"],
        tuple[int, int] | None,
    ]:
        options, subject = self.options, self._subjects[number]
        spare = _SPARE if options.window else 1
        index = self._drawn_points(number, spare * options.points, rng)
        cube_from_subject = subject.cube_from_subject[view]
        before = subject.points[index] @ cube_from_subject[:, :3].T + cube_from_subject[:, 3]
        points = placement.points(before)
        inside = np.asarray(subject.inside[index])
        # What lies beyond the picture that was drawn is not to be learnt.
        weight = (np.abs(before[:, :2]) <= 1).all(1) & (np.abs(points) <= 1).all(1)
        if options.window is None or not len(points):
            return points, inside, weight, None
        corner = self._window(points, weight, rng)
        pixel = ((points[:, :2] + 1) * options.size - 1) / 2 - corner
        weight &= ((pixel >= 0) & (pixel <= options.window - 1)).all(1)
        first = np.argsort(~weight, kind="stable")[: options.points]
        return points[first], inside[first], weight[first], corner

    def _window(
        self,
        points: Float32[np.ndarray, "p 3"],
        weight: Bool[np.ndarray, " p"],
        rng: np.random.Generator,
    ) -> tuple[int, int]:
        """A window about some point: where there is something to learn."""
        size, side = self.options.size, self.options.window or self.options.size
        seen = np.flatnonzero(weight)
        middle = points[rng.choice(seen)] if len(seen) else np.zeros(3)
        pixel = (middle[:2] + 1) / 2 * size + rng.uniform(-side / 4, side / 4, 2) - side / 2
        column, row = (int(c) // 2 * 2 for c in np.clip(pixel, 0, size - side))
        return column, row

    def _drawn_points(
        self, number: int, count: int, rng: np.random.Generator
    ) -> Int32[np.ndarray, " n"]:
        """Points by the shares of their scales, in random order."""
        groups = self._grouped(number)
        found = []
        for scale, share in enumerate(self.options.shares):
            parts = groups[2 * scale : 2 * scale + 2]
            if not self.options.balanced:
                parts = [np.concatenate(parts)]
            for part in parts:
                if len(part):
                    wanted = round(count * share / len(parts))
                    found.append(part[rng.integers(len(part), size=wanted)])
        index = np.concatenate(found) if found else np.zeros(0, np.int32)
        if len(index) < count:
            everything = np.concatenate(groups)
            more = everything[rng.integers(len(everything), size=count - len(index))]
            index = np.concatenate([index, more])
        return rng.permutation(index)[:count]

    def _grouped(self, number: int) -> list[Int32[np.ndarray, " k"]]:
        """Numbers of points: of scale 0 outside, inside, of scale 1 outside, and so on."""
        if number not in self._groups:
            subject = self._subjects[number]
            code = 2 * subject.scale.astype(np.int32) + subject.inside
            order = np.argsort(code, kind="stable").astype(np.int32)
            ends = np.searchsorted(code[order], np.arange(1, 2 * (UNIFORM + 1)))
            self._groups[number] = np.split(order, ends)
        return self._groups[number]


def stacked(batches: Sequence[Batch]) -> Batch:
    """One batch of several that have the same parts."""

    def join(parts: list[Any]) -> Any:
        return None if parts[0] is None else np.concatenate(parts)

    names = (entry.name for entry in fields(Batch))
    return Batch(*(join([getattr(batch, name) for batch in batches]) for name in names))
