"""What a TrueDepth app exports, as a scan: a mesh, or depth maps with pictures and intrinsics."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from jaxtyping import Float64

from ..errors import InputError
from ..mesh.triangle_mesh import TriangleMesh
from ..picture_file import read_bgr
from .depth_files import DEPTH_SUFFIXES, read_depth
from .frame import DepthFrame
from .intrinsics import UNITS_MM, CameraFile, intrinsics_of, read_intrinsics
from .mesh_files import MESH_SUFFIXES, read_scan_mesh
from .posed_frames import PICTURE_SUFFIXES, depth_maps, poses_file, read_posed_frames

SCAN_SUFFIXES: Final = (*MESH_SUFFIXES, *DEPTH_SUFFIXES)
_PICTURE_WORDS: Final = ("rgb", "color", "colour", "image", "photo", "texture")
_CAMERA_WORDS: Final = ("intrinsics", "camera", "calibration", "frame", "info")


@dataclass(frozen=True)
class Scan:
    """A scan as it was recorded.

    Attributes:
        path: where it came from.
        mesh: its mesh, mm, in its own axes; None for depth maps.
        frame: its depth map with picture, in the camera's axes (``head_from_camera`` is the unit
            matrix until it is aligned); None for meshes and for several frames.
        frames: depth maps of several moments (``head_from_camera`` is their pose in the recording's
            world, mm, until they are aligned), one with a picture or more; empty for others.
    """

    path: Path
    mesh: TriangleMesh | None = None
    frame: DepthFrame | None = None
    frames: tuple[DepthFrame, ...] = ()


def read_scan(
    path: Path,
    *,
    picture: Path | None = None,
    intrinsics: Path | None = None,
    unit: str | None = None,
) -> Scan:
    """Read a scan of a face.

    Args:
        path: a mesh (.ply, .obj), a depth map (.png, .npy, .tiff, .pfm), a folder with one of
            them, or a folder of several depth maps with a JSON file of their poses
            (:mod:`.posed_frames`), or that file.
        picture: the RGB picture of a depth map; None: the one beside it, named like it, or after
            what it is (rgb, color, image, photo).
        intrinsics: the JSON file of its camera; None: the one beside it, likewise.
        unit: of the numbers: mm, cm or m; None: found.

    Raises:
        InputError: the scan, its picture or its intrinsics are missing or not usable.
    """
    if unit is not None and unit not in UNITS_MM:
        raise InputError(f"unit {unit!r}; expected mm, cm or m")
    if path.is_dir():
        path = _in_folder(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file or folder")
    suffix = path.suffix.lower()
    if suffix == ".json":
        return Scan(path, frames=_read_frames(path, picture, intrinsics, unit))
    if suffix in MESH_SUFFIXES:
        return Scan(path, mesh=read_scan_mesh(path, unit))
    if suffix in DEPTH_SUFFIXES:
        return Scan(path, frame=_read_frame(path, picture, intrinsics, unit))
    raise InputError(f"{path}: expected a scan that ends {', '.join(SCAN_SUFFIXES)}")


def _in_folder(folder: Path) -> Path:
    """The mesh or the depth map of a folder, or the file that lists its frames.

    Raises:
        InputError: none, or several.
    """
    files = sorted(p for p in folder.iterdir() if p.is_file() and not p.name.startswith("."))
    meshes = [p for p in files if p.suffix.lower() in MESH_SUFFIXES]
    depths = [p for p in files if p.suffix.lower() in DEPTH_SUFFIXES and "depth" in p.stem.lower()]
    listed = None if meshes and not depths else poses_file(folder)
    if listed is not None:
        return listed
    found = depths or meshes
    several = depths if depths or meshes else depth_maps(folder)
    if len(several) > 1:
        raise InputError(
            f"{folder}: {len(several)} depth maps and no JSON file with 'frames', which says each "
            "one's camera_to_world (4 x 4, metres)"
        )
    if len(found) != 1:
        names = ", ".join(p.name for p in found[:4]) or "none"
        raise InputError(
            f"{folder}: expected one mesh ({', '.join(MESH_SUFFIXES)}) or one depth map whose name "
            f"holds 'depth'; found {names}"
        )
    return found[0]


def _read_frame(
    path: Path, picture: Path | None, intrinsics: Path | None, unit: str | None
) -> DepthFrame:
    place = intrinsics or _beside(path, (".json",), _CAMERA_WORDS)
    if place is None:
        raise InputError(
            f"{path}: no intrinsics: expected {path.stem}.json or intrinsics.json beside it with "
            "fx, fy, cx, cy or a 3 x 3 camera_matrix"
        )
    camera = read_intrinsics(place)
    place = picture or _beside(path, PICTURE_SUFFIXES, _PICTURE_WORDS)
    if place is None:
        raise InputError(
            f"{path}: no RGB picture: expected one beside it named rgb, color, image or photo; the "
            "face is found in it"
        )
    return _frame_of(path, place, camera, unit)


def _frame_of(
    path: Path,
    picture: Path | None,
    camera: CameraFile,
    unit: str | None,
    pose: Float64[np.ndarray, "4 4"] | None = None,
) -> DepthFrame:
    """A depth map with its picture."""
    unit_mm = UNITS_MM[unit] if unit is not None else camera.unit_mm
    depth = read_depth(path, unit_mm, camera.disparity)
    size = depth.shape[1], depth.shape[0]
    image, image_size = None, None
    if picture is not None:
        image = read_bgr(picture)
        image_size = image.shape[1], image.shape[0]
        if abs(np.log((size[0] / size[1]) / (image_size[0] / image_size[1]))) > 0.05:
            raise InputError(
                f"{picture}: {image_size[0]} x {image_size[1]} px beside a depth map of {size[0]} "
                f"x {size[1]}: expected the same view, so the same shape"
            )
    return DepthFrame(
        depth, image, camera.at(size, image_size), np.eye(4) if pose is None else pose
    )


def _read_frames(
    path: Path, picture: Path | None, intrinsics: Path | None, unit: str | None
) -> tuple[DepthFrame, ...]:
    """Several depth maps with their poses."""
    if picture is not None:
        raise InputError(f"{path}: lists several frames; one picture cannot be theirs")
    camera = read_intrinsics(intrinsics) if intrinsics is not None else None
    frames: list[DepthFrame] = []
    for posed in read_posed_frames(path):
        lens = camera or intrinsics_of(posed.intrinsics, path)
        frame = _frame_of(posed.depth, posed.picture, lens, unit, posed.world_from_camera)
        if frames and frame.depth.shape != frames[0].depth.shape:
            (h, w), (first_h, first_w) = frame.depth.shape, frames[0].depth.shape
            raise InputError(
                f"{posed.depth}: {w} x {h} px, the frames before have {first_w} x {first_h}: "
                "expected one camera"
            )
        frames.append(frame)
    if all(frame.image is None for frame in frames):
        raise InputError(
            f"{path}: no frame has an RGB picture; the face is found in one: name it as 'image', "
            "or call it like its depth map"
        )
    return tuple(frames)


def _beside(path: Path, suffixes: Sequence[str], words: Sequence[str]) -> Path | None:
    """A file of the same folder with one of these endings: of the same stem, or named after what
    it is; of a name that only adds to the depth map's (``face_depth`` and ``face_rgb``) first."""
    files = [
        p
        for p in sorted(path.parent.iterdir())
        if p.suffix.lower() in suffixes and p != path and not p.name.startswith(".")
    ]
    stem = path.stem.lower()
    root = stem.replace("depth", "").strip("_-. ")
    same = [p for p in files if p.stem.lower() == stem or (root and p.stem.lower() == root)]
    named = [p for p in files if any(word in p.stem.lower() for word in words)]
    near = [p for p in named if root and root in p.stem.lower()]
    found = same or near or named
    return found[0] if found else None
