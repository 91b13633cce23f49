"""Which files a batch works on, and what their outputs are called."""

from __future__ import annotations

import os
import re
import sys
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Final, TypeVar

from ...models.errors import InputError

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
_ALIKE: Final = sys.platform in ("win32", "darwin")
"""Whether two names that differ in case alone are one file's."""

AnyPath = TypeVar("AnyPath", bound=PurePath)


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
    output folder aside. Links to folders are followed, each folder is read once, under its own name
    before that of a link; links to files are files. Outputs mirror the input tree; of two inputs
    with one stem both keep their extension, and of two with one file name both keep what tells
    their folders apart.
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
    files: list[Path] = []
    known = {kept_out}  # folders, wherever a link to them may lie
    links = [folder]
    while links:
        start = links.pop(0)
        if start is not folder and start.resolve() in known:
            continue
        for root, folders, names in os.walk(start):
            here = Path(root)
            place = here.resolve()
            known.add(place)
            # Where outputs lie among the inputs, those of an earlier run are none.
            among = place.is_relative_to(kept_out)
            ours = (VIDEO_OVERLAY, STILL_OVERLAY) if among else ()
            made = EXPORT_FOLDERS if among else ()
            inside = sorted(f for f in folders if not f.startswith(".") and not f.endswith(made))
            links += [here / f for f in inside if (here / f).is_symlink()]
            folders[:] = [
                f
                for f in inside
                if not (here / f).is_symlink() and (here / f).resolve() not in known
            ]
            files += [
                here / name
                for name in names
                if not name.startswith(".")
                and not name.endswith(ours)
                and Path(name).suffix.lower() in VIDEO_SUFFIXES | IMAGE_SUFFIXES
            ]
    return sorted(files)


def _name(found: dict[Path, Path]) -> list[Input]:
    shown = dict(found)
    full = Counter(_on_disk(place.as_posix()) for place in shown.values())
    clashing = [path for path, place in shown.items() if full[_on_disk(place.as_posix())] > 1]
    if clashing:
        # Links keep their own names: they are told apart by where they lie, not by what they show.
        parents = {path: Path(os.path.abspath(path)) for path in clashing}
        shown |= dict(zip(clashing, told_apart(list(parents.values())), strict=True))
    names = {path: place.with_suffix("").as_posix() for path, place in shown.items()}
    while True:
        times = Counter(_on_disk(name) for name in names.values())
        # Of x.mp4, x.mov and x.mp4.mkv all three.
        twice = [
            path
            for path, name in names.items()
            if times[_on_disk(name)] > 1 and name != shown[path].as_posix()
        ]
        if not twice:
            break
        names |= {path: shown[path].as_posix() for path in twice}
    for path, name in names.items():
        if times[_on_disk(name)] > 1:
            raise InputError(f"{path}: the same output name as another input: {name}")
    return [Input(path, name) for path, name in names.items()]


def told_apart(paths: Sequence[AnyPath]) -> list[AnyPath]:
    """What is left of absolute paths without the folder that they have in common.

    Of different drives, which have none, the drive's letter stays.
    """
    drives = {path.drive.casefold() for path in paths}
    if len(drives) > 1:
        kind = type(paths[0])
        return [kind(re.sub(r"\W+", "", path.drive), *path.parts[1:]) for path in paths]
    common = os.path.commonpath([path.parent for path in paths])
    return [path.relative_to(common) for path in paths]


def _on_disk(name: str) -> str:
    """What tells a name from others where files lie: on Windows and macOS not the case."""
    return unicodedata.normalize("NFC", name).casefold() if _ALIKE else name
