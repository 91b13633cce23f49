"""Cut-outs on disk: heads and shoulders without background, from which scenes are composed.

A folder holds ``cutouts.json`` and pairs ``shard-NNNNN.images.npy`` and ``shard-NNNNN.npz``; the
latter is written last and marks a finished shard.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Final

import numpy as np
from jaxtyping import Float32, Int32, UInt8

from ..archives import fitted, read_npy, read_npz
from ..documents import json_of
from ..errors import InputError
from ..writing import whole_file

META_NAME: Final = "cutouts.json"
CUT_OUT_FORMAT: Final = 1
"""Version of the folder's layout."""
SIZE: Final = 240
"""Side of a cut-out, px."""

_IMAGES: Final = ".images.npy"


class Kind(IntEnum):
    """What a cut-out counts as: a face, one too far turned to count either way, or none."""

    FACE = 0
    TURNED = 1
    BEHIND = 2


@dataclass(frozen=True)
class CutOut:
    """One head.

    Attributes:
        image: (S, S, 4) BGR premultiplied by the opacity, and the opacity.
        landmarks: (68, 2) projections, hidden ones too, px of the cut-out.
        kind: what it counts as.
    """

    image: UInt8[np.ndarray, "S S 4"]
    landmarks: Float32[np.ndarray, "68 2"]
    kind: Kind


@dataclass(frozen=True)
class CutOutShard:
    """One finished shard; the pictures stay on disk until they are read.

    Attributes:
        number: NNNNN of its file name.
        images: (n, S, S, 4), memory-mapped.
        landmarks: (n, 68, 2).
        kinds: (n,).
    """

    number: int
    images: UInt8[np.ndarray, "n S S 4"]
    landmarks: Float32[np.ndarray, "n 68 2"]
    kinds: Int32[np.ndarray, " n"]

    def __len__(self) -> int:
        return len(self.kinds)

    def __getitem__(self, row: int) -> CutOut:
        return CutOut(np.asarray(self.images[row]), self.landmarks[row], Kind(int(self.kinds[row])))


def save_meta(folder: Path, settings: Mapping[str, int]) -> None:
    """Write ``cutouts.json``: the layout's version, and what the cut-outs are a function of."""
    table = {"version": CUT_OUT_FORMAT, "size": SIZE, **settings}
    with whole_file(folder / META_NAME) as part:
        part.write_text(json.dumps(table), encoding="utf-8")


def load_meta(folder: Path) -> dict[str, int]:
    """What :func:`save_meta` was given.

    Raises:
        InputError: the file is missing, damaged or of another version.
    """
    path = folder / META_NAME
    try:
        table = {str(name): int(value) for name, value in json_of(path.read_text()).items()}
    except (OSError, ValueError, TypeError, AttributeError, OverflowError) as error:
        raise InputError(f"{path}: not the description of a cut-out folder: {error}") from error
    layout = (table.pop("version", None), table.pop("size", None))
    if layout != (CUT_OUT_FORMAT, SIZE):
        raise InputError(
            f"{path}: version and size are {layout}, expected {(CUT_OUT_FORMAT, SIZE)}"
        )
    return table


def shard_path(folder: Path, number: int) -> Path:
    """The file that marks a shard as finished."""
    return folder / f"shard-{number:05d}.npz"


def save_shard(folder: Path, number: int, cut_outs: Sequence[CutOut]) -> None:
    """Write a shard; the labels, which mark it as finished, come last and appear at once."""
    path = shard_path(folder, number)
    with whole_file(path.with_name(path.stem + _IMAGES)) as part:
        np.save(part, np.stack([one.image for one in cut_outs]))
    with whole_file(path) as part:
        np.savez(
            part,
            allow_pickle=False,
            landmarks=np.stack([one.landmarks for one in cut_outs]),
            kinds=np.array([one.kind for one in cut_outs], np.int32),
        )


_ARRAYS: Final = {"landmarks": (np.float32, "n 68 2"), "kinds": (np.int32, "n")}


def load_shard(folder: Path, number: int) -> CutOutShard:
    """Open one finished shard.

    Raises:
        InputError: a file is missing or damaged, or its arrays disagree.
    """
    path = shard_path(folder, number)
    try:
        arrays = fitted(read_npz(path, list(_ARRAYS)), _ARRAYS)
        landmarks, kinds = arrays["landmarks"], arrays["kinds"]
        images = read_npy(path.with_name(path.stem + _IMAGES), mapped=True)
    except (OSError, ValueError, TypeError) as error:
        raise InputError(f"{path}: not a finished shard of cut-outs: {error}") from error
    n = len(kinds)
    if images.shape != (n, SIZE, SIZE, 4):
        raise InputError(f"{path}: pictures of shape {images.shape} for {n} cut-outs")
    return CutOutShard(number, images, landmarks, kinds)


class CutOutFolder:
    """The finished shards of a folder; the lowest-numbered ones are held out.

    Args:
        folder: with ``cutouts.json`` in it.
        validation: how many shards to hold out.

    Raises:
        InputError: there is no description, a shard is damaged, or none is left to train on.
    """

    def __init__(self, folder: Path, validation: int = 2) -> None:
        load_meta(folder)
        paths = sorted(folder.glob("shard-[0-9][0-9][0-9][0-9][0-9].npz"))
        shards = [load_shard(folder, int(path.stem[6:])) for path in paths]
        self.validation = shards[:validation]
        self.training = shards[validation:]
        if not self.training:
            raise InputError(
                f"{folder}: no finished shard to train on: the first {validation} are held out for "
                f"validation, and {len(shards)} are there; render more"
            )
