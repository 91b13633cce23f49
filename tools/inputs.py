"""Which files a batch works on, and what their outputs are called."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ..models.errors import InputError

VIDEO_SUFFIXES: Final = frozenset(
    (
        *(".3gp", ".avi", ".flv", ".gif", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg"),
        *(".mpg", ".mts", ".mxf", ".ogv", ".ts", ".vob", ".webm", ".wmv", ".y4m"),
    )
)
IMAGE_SUFFIXES: Final = frozenset(
    (".bmp", ".jpeg", ".jpg", ".jp2", ".png", ".ppm", ".tif", ".tiff", ".webp")
)
"""What is picked up in folders; a file that is named is read whatever its name is."""
VIDEO_OVERLAY: Final = ".overlay.mp4"
STILL_OVERLAY: Final = ".overlay.png"
"""Endings of outputs that look like inputs."""
EXPORT_FOLDERS: Final = (".eg3d", ".nerfstudio", ".coco", ".obj_frames", ".ply_frames")
"""Endings of folders of outputs that hold such files."""


@dataclass(frozen=True)
class Input:
    """A file to work on.

    Attributes:
        path: the file.
        name: of its outputs below the output folder, without suffix, with ``/``.
    """

    path: Path
    name: str


def collect_inputs(named: Sequence[Path], out: Path) -> tuple[list[Input], list[str]]:
    """The files of a batch, and a line for each named input that is missing.

    Folders are walked in order of name, for what looks like video or picture, hidden files and the
    output folder aside. Outputs mirror the input tree; of two inputs with one stem both keep their
    extension, and of two with one file name both keep what tells their folders apart.
    """
    found: dict[Path, Path] = {}  # file -> its place below the input that brought it
    known: set[str] = set()  # however a file was named
    missing = []
    for path in named:
        if path.is_dir():
            files = {file: file.relative_to(path) for file in _walk(path, out)}
            if not files:
                missing.append(f"{path}: no video or picture in this folder")
        elif path.exists():
            files = {path: Path(path.name)}
        else:
            files = {}
            missing.append(f"{path}: no such file or folder")
        found |= {
            file: place for file, place in files.items() if os.path.abspath(file) not in known
        }
        known.update(map(os.path.abspath, files))
    return _name(found), missing


def _walk(folder: Path, out: Path) -> list[Path]:
    kept_out = out.resolve()
    files = []
    for root, folders, names in os.walk(folder):
        here = Path(root)
        # Where outputs lie among the inputs, those of an earlier run are none.
        among = here.resolve().is_relative_to(kept_out)
        ours = (VIDEO_OVERLAY, STILL_OVERLAY) if among else ()
        made = EXPORT_FOLDERS if among else ()
        folders[:] = sorted(
            f
            for f in folders
            if not f.startswith(".") and not f.endswith(made) and (here / f).resolve() != kept_out
        )
        suffixes = VIDEO_SUFFIXES | IMAGE_SUFFIXES
        files += [
            here / name
            for name in names
            if not name.startswith(".")
            and not name.endswith(ours)
            and Path(name).suffix.lower() in suffixes
        ]
    return sorted(files)


def _name(found: dict[Path, Path]) -> list[Input]:
    shown = dict(found)
    full = Counter(place.as_posix() for place in shown.values())
    clashing = [path for path, place in shown.items() if full[place.as_posix()] > 1]
    if clashing:
        common = Path(os.path.commonpath([path.resolve().parent for path in clashing]))
        shown |= {path: path.resolve().relative_to(common) for path in clashing}
    stems = Counter(place.with_suffix("").as_posix() for place in shown.values())
    inputs = []
    for path, place in shown.items():
        stem = place.with_suffix("").as_posix()
        inputs.append(Input(path, stem if stems[stem] == 1 else place.as_posix()))
    names = Counter(item.name for item in inputs)
    for item in inputs:
        if names[item.name] > 1:
            raise InputError(f"{item.path}: the same output name as another input: {item.name}")
    return inputs
