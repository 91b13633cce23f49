"""Annotations on disk, and the videos that they are of."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePath, PureWindowsPath
from typing import Final, TypeVar

import msgspec
import numpy as np

from ...models.documents import is_file, one_line
from ...models.errors import InputError
from ...stream.observation import FaceObservation
from ...stream.reading import read_observations, read_parquet_metadata
from ...stream.sinks.base import Matrix3
from ...stream.sinks.sidecar import Sidecar, read_sidecar
from .inputs import IMAGE_SUFFIXES, STILL_OVERLAY, VIDEO_OVERLAY, VIDEO_SUFFIXES

Said = TypeVar("Said")
_MATRIX: Final[msgspec.json.Decoder[Matrix3 | None]] = msgspec.json.Decoder(Matrix3 | None)
_OPTIONS: Final[msgspec.json.Decoder[dict[str, object]]] = msgspec.json.Decoder(dict[str, object])
ROW_SUFFIXES: Final = (".parquet", ".csv", ".jsonl")
"""In the order in which they are preferred: only Parquet says what it was made of."""


@dataclass(frozen=True)
class Annotation:
    """The rows of one video.

    Attributes:
        rows_path: the file that holds them.
        name: below the folder that was searched, without suffix, with ``/``.
        sidecar: the facts beside the rows; None where there are none.
        metadata: of a Parquet file, without the prefix ``mien.``; else empty.
    """

    rows_path: Path
    name: str
    sidecar: Sidecar | None
    metadata: dict[str, str]

    @classmethod
    def open(cls, rows_path: Path, name: str) -> Annotation:
        """Read what stands beside the rows and above them.

        Raises:
            InputError: the file is not there, or not one of rows.
        """
        if rows_path.suffix.lower() not in ROW_SUFFIXES:
            raise InputError(f"{rows_path}: expected a name that ends {', '.join(ROW_SUFFIXES)}")
        if not rows_path.is_file():
            raise InputError(f"{rows_path}: no such file")
        place = rows_path.with_suffix(".json")
        sidecar = None
        if place.is_file():
            try:
                sidecar = read_sidecar(place)
            except InputError:  # another program's file of the same stem
                sidecar = None
        parquet = rows_path.suffix.lower() == ".parquet"
        return cls(rows_path, name, sidecar, read_parquet_metadata(rows_path) if parquet else {})

    def rows(self) -> Iterator[FaceObservation]:
        """The rows, in order of frame and track.

        Raises:
            InputError: they cannot be read.
        """
        return read_observations(self.rows_path)

    @property
    def source(self) -> str:
        """Name of the file that was annotated; "" where the rows do not say it."""
        return self.metadata.get("source", "")

    @property
    def rate(self) -> float | None:
        """Nominal frames per second, where the rows say it."""
        text = self.metadata.get("frame_rate", "")
        rate = self._said("frame_rate", float, text) if text else None
        if rate is not None and not 0.0 < rate < math.inf:
            raise InputError(f"{self.rows_path}: frame_rate is {text!r:.60}, expected over 0")
        return rate

    @property
    def size(self) -> tuple[int, int] | None:
        """Width and height of a frame, px, where the rows say it."""
        if not {"width", "height"} <= self.metadata.keys():
            return None
        sizes = [self._said(name, int, self.metadata[name]) for name in ("width", "height")]
        if min(sizes) < 1:
            raise InputError(f"{self.rows_path}: frames of {sizes[0]} x {sizes[1]} px")
        return sizes[0], sizes[1]

    @cached_property
    def camera_matrix(self) -> Matrix3 | None:
        """The 3x3 matrix that the poses hold for, px, where the rows say it."""
        text = self.metadata.get("camera_matrix", "null")
        return self._said("camera_matrix", _MATRIX.decode, text)

    @property
    def camera(self) -> np.ndarray | None:
        """The camera matrix as a (3, 3) float64 array."""
        return None if self.camera_matrix is None else np.array(self.camera_matrix)

    @property
    def bundle_hash(self) -> str:
        """Of the bundle that the coefficients belong to; "" where nothing says it."""
        said = self.metadata.get("bundle_hash", "")
        return said or ("" if self.sidecar is None else self.sidecar.bundle_hash)

    @property
    def options(self) -> dict[str, object]:
        """What the rows depend on, as plain values."""
        if self.sidecar is not None:
            return self.sidecar.options
        return self._said("options", _OPTIONS.decode, self.metadata.get("options", "{}"))

    def _said(self, name: str, read: Callable[[str], Said], text: str) -> Said:
        """An entry of the metadata, read.

        Raises:
            InputError: it is not what mien writes there.
        """
        try:
            return read(text)
        except (ValueError, msgspec.DecodeError, RecursionError) as error:
            why = one_line(error)
            raise InputError(f"{self.rows_path}: its {name} is damaged: {why}") from error


def find_rows(folder: Path, kept_out: Path | None = None) -> list[tuple[Path, str]]:
    """The files of rows below a folder with their names, in order; of one stem, one file.

    Hidden files, and what lies below ``kept_out``, are passed over.
    """
    closed = None if kept_out is None else kept_out.resolve()
    found: list[tuple[Path, str]] = []
    for root, folders, names in os.walk(folder):
        here = Path(root)
        folders[:] = sorted(
            f for f in folders if not f.startswith(".") and (here / f).resolve() != closed
        )
        stems: dict[str, Path] = {}
        for suffix in reversed(ROW_SUFFIXES):  # so that the preferred one stays
            for name in names:
                stem = name[: -len(suffix)]
                if name.startswith(".") or not name.lower().endswith(suffix):
                    continue
                # Other programs write .csv and .jsonl too; ours have a sidecar.
                if suffix == ROW_SUFFIXES[0] or f"{stem}.json" in names:
                    stems[stem] = here / name
        for stem, path in stems.items():
            found.append((path, (here / stem).relative_to(folder).as_posix()))
    return sorted(found, key=lambda item: item[1])


class VideoFinder:
    """Finds the video of an annotation: where the outputs' tree says, or by its name."""

    def __init__(self, places: Sequence[Path], annotations: Path) -> None:
        """Walk the places once.

        Args:
            places: videos, and folders of them.
            annotations: the folder of the rows, where a video is looked for last.

        Raises:
            InputError: a place is not there.
        """
        for place in places:
            if not place.exists():
                raise InputError(f"--videos {place}: no such file or folder")
        self._folders = [place for place in places if place.is_dir()]
        self._files = [place for place in places if not place.is_dir()]
        self._annotations = annotations

    @cached_property
    def _by_name(self) -> dict[str, list[Path]]:
        """Every picture and video in the places, by file name and by stem."""
        known: dict[str, list[Path]] = {}
        for path in [*self._files, *(file for f in self._folders for file in _walk(f))]:
            for key in {path.name, path.stem}:
                known.setdefault(key, []).append(path)
        return known

    def find(self, annotation: Annotation) -> tuple[Path | None, str]:
        """The video and "", or None and in a few words why there is none.

        Of several files of the right name, the one whose folders are called most alike; where two
        are alike, none. Whatever the rows say, it lies in the places or below the rows' folder.
        """
        source = _inside(annotation.source)
        wanted = source or Path(annotation.name).name
        inside = Path(annotation.name).parent
        if source:
            mirrored = {folder / inside / wanted for folder in self._folders}
            there = [place for place in sorted(mirrored) if is_file(place)]
            if len(there) == 1:
                return there[0], ""
        found = sorted(set(self._by_name.get(wanted, [])))
        place = self._annotations / inside / wanted
        if not found and source and is_file(place):
            return place, ""
        if not found:
            return None, f"{wanted} was not found; --videos says where it lies"
        alike = [_common_end(path.parent, inside) for path in found]
        best = max(alike)
        if alike.count(best) > 1:
            return None, f"{len(found)} files are called {wanted}; --videos should name one folder"
        return found[alike.index(best)], ""


def _inside(source: str) -> str:
    """A source that lies below any folder it is joined to; of one that leads out, its last name.

    Rows come from others too, and pages show pictures of what their source names.
    """
    path = PureWindowsPath(source) if "\\" in source else PurePath(source)
    if path.anchor or ".." in path.parts:
        return path.name if path.name != ".." else ""
    return source


def _common_end(one: Path, other: Path) -> int:
    """How many folders two paths have in common, from the end."""
    count = 0
    for a, b in zip(reversed(one.parts), reversed(other.parts), strict=False):
        if a != b:
            break
        count += 1
    return count


def _walk(folder: Path) -> Iterator[Path]:
    suffixes = VIDEO_SUFFIXES | IMAGE_SUFFIXES
    for root, folders, names in os.walk(folder):
        folders[:] = sorted(f for f in folders if not f.startswith("."))
        for name in sorted(names):
            overlay = name.endswith((VIDEO_OVERLAY, STILL_OVERLAY))
            if Path(name).suffix.lower() in suffixes and not name.startswith(".") and not overlay:
                yield Path(root) / name
