"""The folder that ``mien synthesize scans`` writes, as examples for training."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from jaxtyping import Float16, Float32, Int64, UInt8

from ..archives import fitted, read_npz
from ..documents import json_of, one_line
from ..errors import InputError

_META: Final = "meta.json"
_CAPTIONS: Final = "captions.json"
_HELD_OUT: Final = 0.15
_FIELDS: Final = {
    "sdf": (np.float16, "E N N N"), "colour": (np.uint8, "E N N N 3"),
    "blendshapes": (np.float32, "E 52"), "expression": (np.float32, "E 10"),
    "shape": (np.float32, "_"),
    "scan_sdf": (np.float16, "K N N N"), "scan_seen": (np.uint8, "K N N N"),
    "scan_colour": (np.uint8, "K N N N 3"), "scan_kind": (np.uint8, "K"),
    "views": (np.uint8, "E C H W 4"), "cameras": (np.float32, "E C 3 4"),
    "vertices": (np.float32, "E V 3"),
}  # fmt: skip
CLEAN: Final = 255
"""Weight of observation of a complete, clean grid."""


@dataclass(frozen=True)
class ScannedPerson:
    """One person: entry 0 of the expressions is the neutral face.

    Attributes:
        sdf: signed distance of each expression, mm.
        colour: sRGB, red first.
        blendshapes: of each expression.
        expression: coefficients of the face model likewise.
        shape: coefficients of the person's shape.
        scan_sdf: of simulated scans of the neutral.
        scan_seen: their weights of observation.
        scan_colour: their colours.
        scan_kind: 0 complete, 1 half a face, 2 holes.
        views: small pictures of each expression, BGR and mask.
        cameras: pixels from head mm.
        vertices: places on the true surfaces, mm.
        caption: what can be said of the person, in the portrait's words; None where it was not
            recorded.
    """

    sdf: Float16[np.ndarray, "E N N N"]
    colour: UInt8[np.ndarray, "E N N N 3"]
    blendshapes: Float32[np.ndarray, "E 52"]
    expression: Float32[np.ndarray, "E 10"]
    shape: Float32[np.ndarray, " S"]
    scan_sdf: Float16[np.ndarray, "K N N N"]
    scan_seen: UInt8[np.ndarray, "K N N N"]
    scan_colour: UInt8[np.ndarray, "K N N N 3"]
    scan_kind: UInt8[np.ndarray, " K"]
    views: UInt8[np.ndarray, "E C H W 4"]
    cameras: Float32[np.ndarray, "E C 3 4"]
    vertices: Float32[np.ndarray, "E V 3"]
    caption: str | None = None

    @property
    def nbytes(self) -> int:
        """Memory of all arrays."""
        return sum(int(getattr(self, name).nbytes) for name in _FIELDS)


class ScanFolder:
    """Persons of a data folder; those used last are kept in memory.

    Attributes:
        cells: N.
        expressions: E.
        scans: K.
        training: numbers of the persons to train on.
        validation: numbers of those held out: the last 15 %.
        captions: what can be said of each person; of data made before these were recorded, none.

    Args:
        path: the folder.
        memory: bytes that may be kept.

    Raises:
        InputError: it is no such folder, or has fewer than two persons.
    """

    def __init__(self, path: Path, memory: int = 3 * 2**30) -> None:
        self.path = path
        meta = _read_meta(path)
        self.cells = int(meta["cells"])
        self.seed = int(meta.get("seed", 0))
        numbers = sorted(int(file.stem.rpartition("-")[2]) for file in path.glob("person-*.npz"))
        if len(numbers) < 2:
            raise InputError(f"{path}: {len(numbers)} persons, expected 2 or more")
        held_out = max(1, round(_HELD_OUT * len(numbers)))
        self.training = tuple(numbers[:-held_out])
        self.validation = tuple(numbers[-held_out:])
        self.captions = _read_captions(path)
        self._places = {number: place for place, number in enumerate(self.training)}
        self._memory = memory
        self._kept: OrderedDict[int, ScannedPerson] = OrderedDict()
        self._used = 0
        first = self.person(numbers[0])
        self.expressions = len(first.sdf)
        self.scans = len(first.scan_sdf)

    def person(self, number: int) -> ScannedPerson:
        """A person's arrays.

        Raises:
            InputError: the file is missing or damaged, or its grids are of another size.
        """
        found = self._kept.get(number)
        if found is not None:
            self._kept.move_to_end(number)
            return found
        found = self._read(number)
        self._kept[number] = found
        self._used += found.nbytes
        while self._used > self._memory and len(self._kept) > 1:
            self._used -= self._kept.popitem(last=False)[1].nbytes
        return found

    def place(self, number: int) -> int:
        """Where a person stands among those trained on; 0 for the others."""
        return self._places.get(number, 0)

    def need_captions(self) -> None:
        """See that every person has a caption.

        Raises:
            InputError: one has none.
        """
        silent = [n for n in (*self.training, *self.validation) if n not in self.captions]
        if silent:
            raise InputError(
                f"{self.path}: no caption of person {silent[0]} and {len(silent) - 1} more: made "
                "before captions were recorded; the same 'mien synthesize scans' again adds them"
            )

    def _read(self, number: int) -> ScannedPerson:
        path = self.path / f"person-{number:05d}.npz"
        try:
            arrays = fitted(read_npz(path, list(_FIELDS)), _FIELDS)
        except (OSError, ValueError) as error:
            raise InputError(f"{path}: not a person of scans: {error}") from error
        expressions, n = arrays["sdf"].shape[:2]
        if n != self.cells or expressions < 1:
            raise InputError(
                f"{path}: {expressions} expressions in grids of {n}^3 cells, expected 1 or more in "
                f"grids of {self.cells}^3"
            )
        return ScannedPerson(**arrays, caption=self.captions.get(number))


@dataclass(frozen=True)
class GridBatch:
    """Grids to encode and the truth they are to decode to.

    Attributes:
        objects: (B,) number of the person times E, plus the expression.
        sdf: what goes in, mm.
        seen: its weight of observation.
        colour: its colours.
        true_sdf: what is to come out.
        true_colour: likewise.
        views: small pictures of the truth, BGR and mask.
        cameras: pixels from head mm.
        vertices: places on the true surfaces, mm.
    """

    objects: Int64[np.ndarray, " B"]
    sdf: Float32[np.ndarray, "B N N N"]
    seen: UInt8[np.ndarray, "B N N N"]
    colour: UInt8[np.ndarray, "B N N N 3"]
    true_sdf: Float32[np.ndarray, "B N N N"]
    true_colour: UInt8[np.ndarray, "B N N N 3"]
    views: UInt8[np.ndarray, "B C H W 4"]
    cameras: Float32[np.ndarray, "B C 3 4"]
    vertices: Float32[np.ndarray, "B V 3"]


def grid_batch(
    folder: ScanFolder,
    numbers: tuple[int, ...],
    size: int,
    rng: np.random.Generator,
    scan_share: float,
) -> GridBatch:
    """Random examples: clean grids of any expression, and scans whose truth is the clean neutral.

    Args:
        folder: of the data.
        numbers: persons to choose from.
        size: examples.
        rng: what draws.
        scan_share: share of the scans, on average.
    """
    rows = []
    for number in rng.choice(np.array(numbers), size):
        scanned = folder.scans > 0 and rng.random() < scan_share
        entry = int(rng.integers(folder.scans if scanned else folder.expressions))
        rows.append(_example(folder, int(number), entry, scanned=scanned))
    return _stacked(rows)


def fixed_batch(
    folder: ScanFolder, numbers: tuple[int, ...], size: int, *, scans: bool
) -> GridBatch:
    """Examples to measure on, always the same: of each person in turn.

    Args:
        folder: of the data.
        numbers: persons to choose from.
        size: examples.
        scans: scans of neutrals, or clean grids of expressions.
    """
    rng = np.random.default_rng(7_777)
    entries = rng.integers(folder.scans if scans else folder.expressions, size=size)
    return _stacked(
        [
            _example(folder, numbers[i % len(numbers)], int(entries[i]), scanned=scans)
            for i in range(size)
        ]
    )


def _example(folder: ScanFolder, number: int, entry: int, *, scanned: bool) -> dict[str, Any]:
    person = folder.person(number)
    expression = 0 if scanned else entry
    sdf, colour = person.sdf[expression], person.colour[expression]
    clean = np.full(sdf.shape, CLEAN, np.uint8)
    return {
        "objects": folder.place(number) * folder.expressions + expression,
        "sdf": (person.scan_sdf[entry] if scanned else sdf).astype(np.float32),
        "seen": person.scan_seen[entry] if scanned else clean,
        "colour": person.scan_colour[entry] if scanned else colour,
        "true_sdf": sdf.astype(np.float32),
        "true_colour": colour,
        "views": person.views[expression],
        "cameras": person.cameras[expression],
        "vertices": person.vertices[expression],
    }


def _stacked(rows: list[dict[str, Any]]) -> GridBatch:
    return GridBatch(**{name: np.stack([row[name] for row in rows]) for name in rows[0]})


def _read_captions(path: Path) -> dict[int, str]:
    """By number; none where there is no such file."""
    file = path / _CAPTIONS
    if not file.is_file():
        return {}
    try:
        found = json_of(file.read_text(encoding="utf-8"))
        return {int(number): str(text) for number, text in found.items()}
    except (OSError, ValueError, AttributeError) as error:
        raise InputError(f"{file}: no captions of persons: {one_line(error)}") from error


def _read_meta(path: Path) -> dict[str, Any]:
    try:
        meta = json_of((path / _META).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(
            f"{path}: no data of 'mien synthesize scans': {_META} cannot be read"
        ) from error
    known = isinstance(meta, dict) and all(
        isinstance(value, int) for value in (meta.get("cells"), meta.get("seed", 0))
    )
    if not known:
        raise InputError(f"{path / _META}: does not say the number of cells, or a seed")
    return meta
