"""Parsers of meshes, depth maps and the scans they make."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from fuzz_parser import Parser, fixed, in_file, written

from mien.models.mesh.files import read_mesh, write_mesh
from mien.models.mesh.triangle_mesh import TriangleMesh
from mien.models.scans.depth_files import read_depth
from mien.models.scans.intrinsics import read_intrinsics
from mien.models.scans.mesh_files import read_scan_mesh
from mien.models.scans.readers import read_scan

_MESH: Final = TriangleMesh(
    np.array([[0, 0, 0], [150, 0, 0], [0, 200, 0], [0, 0, 120]], np.float32),
    np.array([[0, 1, 2], [0, 2, 3], [1, 2, 3], [0, 1, 3]], np.int32),
    np.full((4, 3), 128, np.uint8),
)
_TEXT_PLY: Final = (
    "ply\nformat ascii 1.0\nelement vertex 3\nproperty float x\nproperty float y\n"
    "property float z\nelement face 1\nproperty list uchar int vertex_indices\nend_header\n"
    "0 0 0\n150 0 0\n0 200 0\n3 0 1 2\n"
)
_OBJ: Final = (
    "mtllib a.mtl\nv 0 0 0\nv 150 0 0\nv 0 200 0\nvt 0 0\nvt 1 0\nvn 0 0 1\nusemtl x\n"
    "f 1/1/1 2/2/1 3/1/1\n"
)
_LENS: Final = {
    "fx": 60, "fy": 60, "cx": 16, "cy": 12, "width": 32, "height": 24, "depth_unit": "mm",
}  # fmt: skip
_MATRIX: Final = {
    "calibration": {"intrinsicMatrix": [[60, 0, 0], [0, 60, 0], [16, 12, 1]],
                    "intrinsicMatrixReferenceDimensions": [32, 24]}, "depth_scale": 1000,
}  # fmt: skip


def _ply(folder: Path) -> Sequence[bytes]:
    return [*written("m.ply", lambda path: write_mesh(path, _MESH))(folder), _TEXT_PLY.encode()]


def _obj(folder: Path) -> Sequence[bytes]:
    return [*written("m.obj", lambda path: write_mesh(path, _MESH))(folder), _OBJ.encode()]


def _depth(suffix: str) -> Callable[[Path], Sequence[bytes]]:
    depth = np.full((24, 32), 500, np.uint16)
    kind = depth if suffix == ".png" else depth.astype(np.float32)
    return lambda _: [cv2.imencode(suffix, kind)[1].tobytes()]


def _intrinsics(path: Path) -> object:
    return read_intrinsics(path).at((32, 24), (64, 48))


def _scan(data: bytes, folder: Path) -> object:
    """Intrinsics beside a depth map and a picture."""
    if not (folder / "face_depth.png").exists():
        (folder / "face_depth.png").write_bytes(_depth(".png")(folder)[0])
        cv2.imwrite(str(folder / "face_rgb.png"), np.zeros((24, 32, 3), np.uint8))
    (folder / "face.json").write_bytes(data)
    return read_scan(folder)


_TRIMESH: Final = ("trimesh", "PIL")
PARSERS: Final = (
    Parser("mesh.ply", "text", _ply, in_file("m.ply", read_mesh), share=0.3, needs=_TRIMESH),
    Parser("mesh.obj", "text", _obj, in_file("m.obj", read_mesh), share=0.3, needs=_TRIMESH),
    Parser(
        "mesh.glb",
        "glb",
        written("m.glb", lambda path: write_mesh(path, _MESH)),
        in_file("m.glb", read_mesh),
        share=0.3,
        needs=_TRIMESH,
    ),
    Parser("scan.ply", "text", _ply, in_file("m.ply", read_scan_mesh), share=0.3, needs=_TRIMESH),
    Parser("scan.obj", "text", _obj, in_file("m.obj", read_scan_mesh), share=0.3, needs=_TRIMESH),
    Parser("depth.png", "png", _depth(".png"), in_file("d.png", read_depth)),
    Parser("depth.tiff", "bytes", _depth(".tiff"), in_file("d.tiff", read_depth)),
    Parser("depth.pfm", "text", _depth(".pfm"), in_file("d.pfm", read_depth)),
    Parser(
        "depth.npy",
        "npy",
        written("d.npy", lambda path: np.save(path, np.full((24, 32), 0.5))),
        in_file("d.npy", read_depth),
    ),
    Parser(
        "intrinsics",
        "json",
        fixed(json.dumps(_LENS), json.dumps(_MATRIX)),
        in_file("i.json", _intrinsics),
    ),
    Parser("scan-folder", "json", fixed(json.dumps(_LENS), json.dumps(_MATRIX)), _scan, share=0.3),
)
