"""Close-ups of faces on disk, for the training of the blendshapes' network.

A folder holds ``closeups.json`` and pairs ``shard-NNNNN.images.npy`` and ``shard-NNNNN.npz``; the
latter is written last and marks a finished shard.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Final

import numpy as np
from jaxtyping import Float32, UInt8

from ..archives import fitted, read_npy, read_npz
from ..digest import file_sha256
from ..documents import json_of, one_line
from ..errors import InputError
from ..face.names import N_BLENDSHAPES, N_SHAPE
from ..writing import whole_file

META_NAME: Final = "closeups.json"
CLOSEUP_FORMAT: Final = 1
"""Version of the folder's layout."""
CLOSEUP_WIDTH: Final = 200
CLOSEUP_HEIGHT: Final = 232
"""From above the brows to below the chin, px."""
CLOSEUP_PX_PER_MM: Final = 1.4
"""At the face."""

_IMAGES: Final = ".images.npy"
_LABELS: Final = {
    "pose": (np.float32, "n 3 4"),
    "shape": (np.float32, f"n {N_SHAPE}"),
    "blendshapes": (np.float32, f"n {N_BLENDSHAPES}"),
}


@dataclass(frozen=True)
class CloseupLabels:
    """Labels of n close-ups.

    Attributes:
        pose: (n, 3, 4) scaled orthography nearest to the perspective, picture px per mm.
        shape: (n, 40) standard deviations.
        blendshapes: (n, 52) in [0, 1].
    """

    pose: Float32[np.ndarray, "n 3 4"]
    shape: Float32[np.ndarray, "n 40"]
    blendshapes: Float32[np.ndarray, "n 52"]

    def __len__(self) -> int:
        return len(self.pose)


@dataclass(frozen=True)
class CloseupShard:
    """One finished shard; the pictures stay on disk until they are read.

    Attributes:
        images: (n, 232, 200, 3) BGR, about upright with the head, memory-mapped.
        labels: of the n pictures.
    """

    images: UInt8[np.ndarray, "n 232 200 3"]
    labels: CloseupLabels

    def __len__(self) -> int:
        return len(self.labels)


def face_model_number(path: Path) -> int:
    """What tells face models apart in ``closeups.json``: the first 48 bits of the file's SHA-256.

    Raises:
        InputError: it cannot be read.
    """
    try:
        return int(file_sha256(path)[:12], 16)
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from error


def check_face_model(folder: Path, path: Path) -> None:
    """See that the pictures of a folder were made with a face model.

    Raises:
        InputError: they were made with another one, or the folder's description is damaged.
    """
    if load_meta(folder).get("face_model") != face_model_number(path):
        raise InputError(f"{folder}: made with another face model than {path}")


def save_meta(folder: Path, settings: Mapping[str, int]) -> None:
    """Write ``closeups.json``: the layout's version, and what the pictures are a function of."""
    with whole_file(folder / META_NAME) as part:
        part.write_text(json.dumps({"version": CLOSEUP_FORMAT, **settings}), encoding="utf-8")


def load_meta(folder: Path) -> dict[str, int]:
    """What :func:`save_meta` was given.

    Raises:
        InputError: the file is missing, damaged or of another version.
    """
    path = folder / META_NAME
    if not path.exists():
        raise InputError(
            f'{folder}: holds no {META_NAME}; expected a folder of "mien synthesize closeups"'
        )
    try:
        table = {str(name): int(value) for name, value in json_of(path.read_text("utf-8")).items()}
    except (OSError, ValueError, TypeError, AttributeError, OverflowError) as error:
        raise InputError(
            f"{path}: not the description of a folder of close-ups: {one_line(error)}"
        ) from error
    version = table.pop("version", None)
    if version != CLOSEUP_FORMAT:
        raise InputError(f"{path}: version {version}, expected {CLOSEUP_FORMAT}")
    return table


def shard_path(folder: Path, number: int) -> Path:
    """The file that marks a shard as finished."""
    return folder / f"shard-{number:05d}.npz"


def save_shard(
    folder: Path, number: int, images: UInt8[np.ndarray, "n 232 200 3"], labels: CloseupLabels
) -> None:
    """Write a shard; the labels, which mark it as finished, come last and appear at once."""
    path = shard_path(folder, number)
    with whole_file(path.with_name(path.stem + _IMAGES)) as part:
        np.save(part, images)
    arrays = {column.name: getattr(labels, column.name) for column in fields(CloseupLabels)}
    with whole_file(path) as part:
        np.savez(part, allow_pickle=False, **arrays)


def load_shards(folder: Path) -> list[CloseupShard]:
    """All finished shards of a folder, by number.

    Raises:
        InputError: the folder is none of close-ups, has no shard, or one is damaged.
    """
    load_meta(folder)
    paths = sorted(folder.glob("shard-[0-9][0-9][0-9][0-9][0-9].npz"))
    if not paths:
        raise InputError(f"{folder}: no finished shard in it")
    return [_load(path) for path in paths]


def _load(path: Path) -> CloseupShard:
    try:
        read = fitted(read_npz(path, list(_LABELS)), _LABELS)
        arrays = {name: np.ascontiguousarray(array) for name, array in read.items()}
        images = read_npy(path.with_name(path.stem + _IMAGES), mapped=True)
    except (OSError, ValueError, TypeError) as error:
        raise InputError(f"{path}: not a finished shard: {one_line(error)}") from error
    labels = CloseupLabels(**arrays)
    sound = all(np.isfinite(array).all() for array in arrays.values())
    if not len(labels) or not sound or np.abs(labels.blendshapes - 0.5).max() > 0.5:
        raise InputError(f"{path}: no picture, or labels that are no numbers within their ranges")
    wanted = (len(labels), CLOSEUP_HEIGHT, CLOSEUP_WIDTH, 3)
    if images.shape != wanted or images.dtype != np.uint8:
        raise InputError(f"{path}: pictures are {images.dtype} {images.shape}, expected {wanted}")
    return CloseupShard(images, labels)
