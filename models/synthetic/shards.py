"""Training shards on disk: labelled face pictures, and a folder of them that may still grow.

A folder holds ``meta.json`` and pairs ``shard-NNNNN.images.npy`` and ``shard-NNNNN.npz``; the
latter is written last and marks a finished shard. Pictures are BGR; the nominal crop (side 1.414
times the larger side of the 68 points' box) is centred in them and covers their middle 120 pixels.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Final

import numpy as np
from jaxtyping import Float32, UInt8

from ..archives import fitted, read_npy, read_npz
from ..documents import json_of, one_line
from ..errors import InputError
from ..face.names import N_BLENDSHAPES, N_EXPRESSION, N_LANDMARKS, N_SHAPE
from ..writing import whole_file

META_NAME = "meta.json"
SHARD_FORMAT = 1
"""Version of the folder's layout."""

_IMAGES = ".images.npy"
_OWN_KEYS = frozenset({"version", "size", "points", "point_vertices"})


@dataclass(frozen=True)
class ShardMeta:
    """What all shards of a folder have in common.

    Attributes:
        size: side of the pictures, px.
        point_vertices: vertex of the face model behind each labelled point; the first 68 are the
            landmarks.
        settings: what else the pictures are a function of, by name (the seed, for instance).
    """

    size: int
    point_vertices: tuple[int, ...]
    settings: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def load(cls, folder: Path) -> ShardMeta:
        """Read ``meta.json``.

        Raises:
            InputError: it is missing, damaged or of another version.
        """
        path = folder / META_NAME
        try:
            table = json_of(path.read_text(encoding="utf-8"))
            version, size = table["version"], int(table["size"])
            vertices = tuple(int(vertex) for vertex in table["point_vertices"])
            settings = {name: int(table[name]) for name in table.keys() - _OWN_KEYS}
        except (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
            raise InputError(
                f"{path}: not the description of a shard folder: {one_line(error)}"
            ) from error
        if version != SHARD_FORMAT:
            raise InputError(f"{path}: version {version}, this program reads {SHARD_FORMAT}")
        if len(vertices) < N_LANDMARKS or size < 1:
            raise InputError(f"{path}: {len(vertices)} points in {size} px pictures")
        return cls(size, vertices, settings)

    def save(self, folder: Path) -> None:
        """Write ``meta.json``."""
        table = {
            "version": SHARD_FORMAT,
            "size": self.size,
            "points": len(self.point_vertices),
            "point_vertices": list(self.point_vertices),
            **self.settings,
        }
        with whole_file(folder / META_NAME) as part:
            part.write_text(json.dumps(table), encoding="utf-8")


@dataclass(frozen=True)
class Labels:
    """Labels of n pictures; all zero where there is no face.

    Attributes:
        pose: (n, 3, 4) nearest scaled orthography, picture px per mm, from the head frame.
        shape: (n, 40) standard deviations.
        expression: (n, 10) standard deviations.
        blendshapes: (n, 52) in [0, 1].
        points: (n, K, 2) true perspective projections, picture px.
        presence: (n,) 1 for a face, 0 for none.
        angles: (n, 3) apparent yaw, pitch, roll, degrees.
    """

    pose: Float32[np.ndarray, "n 3 4"]
    shape: Float32[np.ndarray, "n 40"]
    expression: Float32[np.ndarray, "n 10"]
    blendshapes: Float32[np.ndarray, "n 52"]
    points: Float32[np.ndarray, "n K 2"]
    presence: Float32[np.ndarray, " n"]
    angles: Float32[np.ndarray, "n 3"]

    def __len__(self) -> int:
        return len(self.presence)


@dataclass(frozen=True)
class Shard:
    """One finished shard; the pictures stay on disk until they are read.

    Attributes:
        number: NNNNN of its file name.
        images: (n, S, S, 3) BGR, memory-mapped.
        labels: of the n pictures.
    """

    number: int
    images: UInt8[np.ndarray, "n S S 3"]
    labels: Labels

    def __len__(self) -> int:
        return len(self.labels)


def save_shard(
    folder: Path, number: int, images: UInt8[np.ndarray, "n S S 3"], labels: Labels
) -> None:
    """Write a shard; the labels, which mark it as finished, come last and appear at once."""
    stem = folder / f"shard-{number:05d}"
    with whole_file(stem.with_name(stem.name + _IMAGES)) as part:
        np.save(part, images)
    arrays = {column.name: getattr(labels, column.name) for column in fields(Labels)}
    with whole_file(stem.with_name(stem.name + ".npz")) as part:
        np.savez(part, allow_pickle=False, **arrays)


_LABELS: Final = {
    "pose": (np.float32, "n 3 4"), "shape": (np.float32, f"n {N_SHAPE}"),
    "expression": (np.float32, f"n {N_EXPRESSION}"),
    "blendshapes": (np.float32, f"n {N_BLENDSHAPES}"), "points": (np.float32, "n K 2"),
    "presence": (np.float32, "n"), "angles": (np.float32, "n 3"),
}  # fmt: skip


def load_shard(folder: Path, number: int, meta: ShardMeta) -> Shard:
    """Open one finished shard and check its shapes.

    Raises:
        InputError: a file is missing or damaged, or its arrays disagree with ``meta.json``.
    """
    path = folder / f"shard-{number:05d}.npz"
    try:
        read = fitted(read_npz(path, list(_LABELS)), _LABELS)
        arrays = {name: np.ascontiguousarray(array) for name, array in read.items()}
        images = read_npy(path.with_name(path.stem + _IMAGES), mapped=True)
    except (OSError, ValueError, TypeError) as error:
        raise InputError(f"{path}: not a finished shard: {one_line(error)}") from error
    n = len(images) if images.ndim else 0
    wanted, found = (n, len(meta.point_vertices), 2), arrays["points"].shape
    if found != wanted:
        raise InputError(f"{path}: points has shape {found}, expected {wanted}")
    if images.shape != (n, meta.size, meta.size, 3) or images.dtype != np.uint8:
        raise InputError(f"{path}: pictures are {images.dtype} {images.shape}")
    return Shard(number, images, Labels(**arrays))


class ShardFolder:
    """The finished shards of a folder, split into training and validation.

    The lowest-numbered ``validation`` shards are held out: that choice stays the same while the
    folder grows.

    Args:
        folder: with ``meta.json`` in it.
        validation: how many shards to hold out.

    Raises:
        InputError: there is no ``meta.json``, or a shard is damaged.

    Attributes:
        held_out: how many shards are for validation, as soon as they are there.
    """

    def __init__(self, folder: Path, validation: int = 1) -> None:
        self.folder = folder
        self.meta = ShardMeta.load(folder)
        self.held_out = validation
        self._shards: dict[int, Shard] = {}
        self.rescan()

    def rescan(self) -> int:
        """Open shards that were finished since; returns how many were new."""
        paths = self.folder.glob("shard-[0-9][0-9][0-9][0-9][0-9].npz")
        numbers = sorted({int(path.stem[6:]) for path in paths} - self._shards.keys())
        for number in numbers:
            self._shards[number] = load_shard(self.folder, number, self.meta)
        return len(numbers)

    @property
    def training(self) -> list[Shard]:
        """Shards to train on, by number."""
        return self._ordered()[self.held_out :]

    @property
    def validation(self) -> list[Shard]:
        """Shards held out, by number."""
        return self._ordered()[: self.held_out]

    def _ordered(self) -> list[Shard]:
        return [self._shards[number] for number in sorted(self._shards)]
