"""A folder of several depth frames whose poses are known, as ARKit's and Record3D's users have it.

A JSON file beside the frames says where the camera was: ``frames`` is a list with, for each,

- ``camera_to_world``: 4 x 4 (or 3 x 4) in metres, by rows or, as ARKit prints its matrices, by
  columns; also called ``transform_matrix`` or ``pose``; or seven numbers, a quaternion x, y, z, w
  and a place;
- ``depth``: the depth map's file (also ``depth_file_path``); ``image``: its picture's
  (``file_path``, ``rgb``). Without names the depth maps of the folder are taken in their order,
  and the picture that is called like each of them;
- its own intrinsics, where they differ.

Intrinsics of all frames, sizes and units stand beside ``frames`` (:mod:`.intrinsics`). Record3D's
``metadata.json`` has ``poses``, ``K`` and ``perFrameIntrinsicCoeffs`` instead.

``camera_axes`` says what the cameras' axes are: ``arkit`` (x right, y up, z back; the default) or
``opencv`` (x right, y down, z ahead).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from jaxtyping import Float64

from ..documents import json_of
from ..errors import InputError
from ..face.rotation import matrix_from_quaternion
from .depth_files import DEPTH_SUFFIXES

MOST_FRAMES: Final = 16
"""Of a longer recording so many are taken, evenly spread."""
PICTURE_SUFFIXES: Final = (".png", ".jpg", ".jpeg", ".bmp", ".webp")
_POSES: Final = ("camera_to_world", "transform_matrix", "pose")
_DEPTHS: Final = ("depth", "depth_file_path", "depth_path")
_PICTURES: Final = ("image", "file_path", "rgb", "image_path")
_PICTURE_WORD: Final = "rgb|images?|colou?r|photo"
_OWN: Final = "perFrameIntrinsicCoeffs"
_OF_ALL: Final = "depth_intrinsics"
"""The last table of a file in which intrinsics are looked for."""
_AXES: Final = {"arkit": np.diag([1.0, -1.0, -1.0, 1.0]), "opencv": np.eye(4)}
_SKEWED: Final = 0.02
"""How far a rotation's columns may be from unit length and right angles."""
_LARGEST_M: Final = 1e4


@dataclass(frozen=True)
class PosedFrame:
    """Where one frame's files lie, and its camera.

    Attributes:
        depth: depth map.
        picture: of the same view; None without one.
        intrinsics: the table that holds them.
        world_from_camera: (4, 4) rigid, mm; camera frame x right, y down, z forward.
    """

    depth: Path
    picture: Path | None
    intrinsics: Mapping[str, Any]
    world_from_camera: Float64[np.ndarray, "4 4"]


def poses_file(folder: Path) -> Path | None:
    """The JSON file of a folder that lists frames or their poses; None without one."""
    for path in sorted(folder.glob("*.json")):
        try:
            content = json_of(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue  # of something else; what is needed of it is said where it is read
        if isinstance(content, Mapping) and ("frames" in content or "poses" in content):
            return path
    return None


def depth_maps(folder: Path) -> list[Path]:
    """Files in and below a folder whose name, or whose own folder's, holds "depth", 10 after 9.

    Those in OpenEXR, which Record3D writes, are among them, although none is read.
    """
    found = [
        file
        for file in folder.rglob("*")
        if file.suffix.lower() in (*DEPTH_SUFFIXES, ".exr")
        and "depth" in f"{file.parent.name}/{file.stem}".lower()
        and not file.name.startswith(".")
    ]
    return sorted(found, key=_natural)


def read_posed_frames(path: Path) -> list[PosedFrame]:
    """The frames that a JSON file lists.

    Args:
        path: of the file; the frames lie in its folder.

    Raises:
        InputError: it is no JSON, lists no frame, a frame has no pose or an impossible one, or its
            depth map is missing.
    """
    try:
        content = json_of(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise InputError(f"{path}: not JSON: {error}") from error
    entries = _entries(content, path)
    axes = content.get("camera_axes", "arkit")
    if not isinstance(axes, str) or axes not in _AXES:
        raise InputError(f"{path}: camera_axes {axes!r:.40}; expected arkit or opencv")
    common = {k: v for k, v in content.items() if k not in ("frames", "poses", _OWN)}
    depths = _depths(entries, path)
    chosen = np.linspace(0, len(entries) - 1, min(len(entries), MOST_FRAMES))
    frames = []
    for number in np.rint(chosen).astype(int).tolist():
        entry, depth = entries[number], depths[number]
        pose = _pose(entry, f"{path}: frame {number}") @ _AXES[axes]
        picture = _named(entry, _PICTURES, path.parent, f"{path}: frame {number}")
        # A frame's own intrinsics are looked for first, those of all where it has none.
        lens = {_OF_ALL: common, **entry}
        frames.append(PosedFrame(depth, picture or _picture_of(depth), lens, pose))
    return frames


def _entries(content: Any, path: Path) -> list[Mapping[str, Any]]:
    """A table a frame."""
    if not isinstance(content, Mapping):
        raise InputError(f"{path}: expected an object with a list 'frames'")
    if "frames" in content:
        entries: Any = content["frames"]
    else:
        poses, own = content.get("poses"), content.get(_OWN)
        if not isinstance(poses, list):
            raise InputError(f"{path}: no poses: expected a list 'frames', each with a pose")
        entries = [{"pose": pose} for pose in poses]
        if isinstance(own, list) and len(own) == len(poses):
            names = ("fx", "fy", "cx", "cy")
            entries = [
                entry | dict(zip(names, lens, strict=False)) if isinstance(lens, list) else entry
                for entry, lens in zip(entries, own, strict=True)
            ]
    if not isinstance(entries, list) or not entries:
        raise InputError(f"{path}: no frames in it")
    for number, entry in enumerate(entries):
        if not isinstance(entry, Mapping):
            raise InputError(f"{path}: frame {number} is no table with a pose")
    return entries


def _depths(entries: Sequence[Mapping[str, Any]], path: Path) -> list[Path]:
    """The depth map of each frame: as it is named, or the folder's in their order."""
    named = [
        _named(entry, _DEPTHS, path.parent, f"{path}: frame {number}")
        for number, entry in enumerate(entries)
    ]
    found = [name for name in named if name is not None]
    if len(found) == len(entries):
        return found
    if found:
        missing = named.index(None)
        raise InputError(f"{path}: frame {missing} names no depth map, others do")
    there = depth_maps(path.parent)
    usable = [file for file in there if file.suffix.lower() in DEPTH_SUFFIXES]
    if len(usable) != len(entries):
        hint = "; .exr is not read, save them as .npy or .tiff" if len(there) > len(usable) else ""
        raise InputError(
            f"{path}: {len(entries)} poses and {len(usable)} depth maps in its folder "
            f"(files whose name or folder holds 'depth'){hint}"
        )
    return usable


def _named(entry: Mapping[str, Any], keys: Sequence[str], folder: Path, what: str) -> Path | None:
    name = next((entry[key] for key in keys if isinstance(entry.get(key), str)), None)
    if name is None:
        return None
    file = folder / name
    try:
        there = file.is_file()
    except (OSError, ValueError):
        there = False
    if not there:
        raise InputError(f"{what}: no such file {name[:80]!r} in {folder}")
    return file


def _picture_of(depth: Path) -> Path | None:
    """The picture that is called like a depth map, beside it or in a folder of pictures."""
    root = _root(depth)
    folders = [depth.parent] + [
        folder
        for folder in sorted(depth.parent.parent.iterdir())
        if folder.is_dir() and re.fullmatch(_PICTURE_WORD, folder.name.lower())
    ]
    for folder in folders:
        for file in sorted(folder.iterdir()):
            other = file.suffix.lower() in PICTURE_SUFFIXES and file != depth
            if other and "depth" not in file.stem.lower() and _root(file) == root:
                return file
    return None


def _root(path: Path) -> str:
    """A file's name without what it is."""
    return re.sub(f"depth|{_PICTURE_WORD}|[_\\-. ]", "", path.stem.lower())


def _natural(path: Path) -> list[Any]:
    """So that 10 comes after 9."""
    parts = re.split(r"(\d+)", path.as_posix())
    return [int(part) if part.isdecimal() else part for part in parts]


def _pose(entry: Mapping[str, Any], what: str) -> Float64[np.ndarray, "4 4"]:
    """World from camera, mm, in the file's own axes of the camera."""
    value = next((entry[key] for key in _POSES if key in entry), None)
    if value is None:
        raise InputError(f"{what} has no pose: expected camera_to_world, 4 x 4 in metres")
    try:
        numbers = np.asarray(value, np.float64).ravel()
    except (TypeError, ValueError, OverflowError):
        numbers = np.zeros(0)
    if numbers.size not in (7, 12, 16) or not (np.abs(numbers) < _LARGEST_M).all():
        raise InputError(f"{what}: its pose is not 4 x 4 numbers, nor a quaternion and a place")
    pose = np.eye(4)
    if numbers.size == 7:
        x, y, z, w = numbers[:4]
        if abs(np.linalg.norm(numbers[:4]) - 1) > _SKEWED:
            raise InputError(f"{what}: its quaternion is not of length 1")
        pose[:3, :3] = matrix_from_quaternion(np.array([w, x, y, z]))
        pose[:3, 3] = numbers[4:]
    else:
        pose[: numbers.size // 4] = numbers.reshape(-1, 4)
        if np.abs(pose[:3, 3]).max() < 1e-12 < np.abs(pose[3, :3]).max():
            pose = pose.T.copy()  # by columns
    turn = pose[:3, :3]
    if np.abs(turn.T @ turn - np.eye(3)).max() > _SKEWED or np.linalg.det(turn) < 0:
        raise InputError(f"{what}: its pose is no rotation with a place")
    if np.abs(pose[3] - (0, 0, 0, 1)).max() > 1e-6:
        raise InputError(f"{what}: the last row of its pose is not 0, 0, 0, 1")
    pose[:3, 3] *= 1000.0
    return pose
