"""Readers of scans: spellings, units, and what is refused with a clear line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from mien.models.errors import InputError
from mien.models.mesh.files import write_mesh
from mien.models.mesh.triangle_mesh import TriangleMesh
from mien.models.scans.depth_files import read_depth
from mien.models.scans.intrinsics import read_intrinsics
from mien.models.scans.mesh_files import read_scan_mesh
from mien.models.scans.readers import read_scan

K = [[590.0, 0, 310.0], [0, 592.0, 235.0], [0, 0, 1]]
SPELLINGS: list[dict[str, Any]] = [
    {"fx": 590, "fy": 592, "cx": 310, "cy": 235, "width": 640, "height": 480},
    {"fx": 590, "fy": 592, "ppx": 310, "ppy": 235, "image_width": 640, "image_height": 480},
    {"camera_matrix": K, "resolution": [640, 480]},
    {"K": [v for row in K for v in row], "width": 640, "height": 480},
    {"intrinsics": np.transpose(K).tolist(), "imageResolution": {"width": 640, "height": 480}},
    {"intrinsicMatrix": np.transpose(K).ravel().tolist(), "size": [640, 480]},
    {"camera": {"intrinsics": {"fx": 590, "fy": 592, "cx": 310, "cy": 235, "w": 640, "h": 480}}},
    {
        "calibration": {
            "intrinsicMatrix": np.transpose(K).tolist(),
            "intrinsicMatrixReferenceDimensions": [640, 480],
        }
    },
]


def write_json(path: Path, content: Any) -> Path:
    path.write_text(json.dumps(content))
    return path


def quad(size: float) -> TriangleMesh:
    vertices = size * np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0.2], [0, 1, 0]], np.float32)
    colours = np.array([[250, 10, 10], [10, 250, 10], [10, 10, 250], [90, 90, 90]], np.uint8)
    return TriangleMesh(vertices, np.array([[0, 1, 2], [0, 2, 3]], np.int32), colours)


@pytest.fixture
def depth_mm() -> np.ndarray:
    depth = np.full((48, 64), 2000, np.uint16)
    depth[10:40, 16:48] = 350
    depth[:4] = 0
    return depth


# Intrinsics.


@pytest.mark.parametrize("content", SPELLINGS)
def test_all_spellings_mean_the_same_camera(tmp_path: Path, content: dict[str, Any]) -> None:
    lens = read_intrinsics(write_json(tmp_path / "c.json", content)).at((640, 480))
    assert (lens.fx, lens.fy, lens.cx, lens.cy) == (590, 592, 310, 235)
    half = read_intrinsics(tmp_path / "c.json").at((320, 240))
    assert (half.fx, half.cx) == (295, pytest.approx(310.5 / 2 - 0.5))


def test_a_size_that_is_not_said_is_that_of_the_picture_it_fits(tmp_path: Path) -> None:
    path = write_json(tmp_path / "c.json", {"camera_matrix": K})
    assert read_intrinsics(path).at((320, 240), (640, 480)).fx == 295
    assert read_intrinsics(path).at((640, 480), (1280, 960)).fx == 590


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({}, "no intrinsics"),
        ([1, 2], "expected an object"),
        ({"fx": 1, "fy": 1, "cx": 3}, "no intrinsics"),
        ({"fx": -590, "fy": 592, "cx": 310, "cy": 235}, "positive focal"),
        ({"camera_matrix": K, "depth_unit": "inch"}, "mm, cm, m or 1/m"),
        ({"camera_matrix": K, "depth_scale": 0}, "over 0"),
    ],
)
def test_files_without_intrinsics_are_refused(tmp_path: Path, content: Any, words: str) -> None:
    with pytest.raises(InputError, match=words):
        read_intrinsics(write_json(tmp_path / "c.json", content))


def test_a_principal_point_outside_of_the_middle_is_refused(tmp_path: Path) -> None:
    path = write_json(tmp_path / "c.json", {"camera_matrix": K, "width": 320, "height": 240})
    with pytest.raises(InputError, match="principal point"):
        read_intrinsics(path).at((320, 240))


# Depth.


def test_depth_maps_of_all_kinds_are_read_in_mm(tmp_path: Path, depth_mm: np.ndarray) -> None:
    metres = (depth_mm / 1000).astype(np.float32)
    cv2.imwrite(str(tmp_path / "a.png"), depth_mm)
    np.save(tmp_path / "b.npy", np.where(metres > 0, metres, np.nan))
    cv2.imwrite(str(tmp_path / "c.tiff"), metres)
    head = b"Pf\n64 48\n-1.0\n"
    (tmp_path / "d.pfm").write_bytes(head + metres[::-1].astype("<f4").tobytes())
    expected = np.where(depth_mm > 0, depth_mm, np.nan).astype(np.float32)
    for name in ("a.png", "b.npy", "c.tiff", "d.pfm"):
        np.testing.assert_allclose(read_depth(tmp_path / name), expected, rtol=1e-5)


def test_stated_units_and_disparities(tmp_path: Path, depth_mm: np.ndarray) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), depth_mm * 5)
    np.testing.assert_allclose(np.nanmin(read_depth(tmp_path / "a.png", 0.2)), 350)
    with np.errstate(divide="ignore"):
        np.save(tmp_path / "b.npy", 1000 / depth_mm.astype(np.float32))
    depth = read_depth(tmp_path / "b.npy", 1000.0, disparity=True)
    np.testing.assert_allclose(np.nanmin(depth), 350, rtol=1e-5)
    assert np.isnan(depth[0]).all()


def test_depths_that_no_face_has_are_refused(tmp_path: Path, depth_mm: np.ndarray) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), depth_mm // 35)
    with pytest.raises(InputError, match="depth_unit"):
        read_depth(tmp_path / "a.png")
    cv2.imwrite(str(tmp_path / "b.png"), np.zeros_like(depth_mm))
    with pytest.raises(InputError, match="no depth in it"):
        read_depth(tmp_path / "b.png")
    np.save(tmp_path / "c.npy", np.full((4, 4), np.nan))
    with pytest.raises(InputError, match="not finite"):
        read_depth(tmp_path / "c.npy")
    cv2.imwrite(str(tmp_path / "d.png"), np.zeros((8, 8, 3), np.uint8))
    with pytest.raises(InputError, match="16 bits"):
        read_depth(tmp_path / "d.png")
    (tmp_path / "e.pfm").write_bytes(b"P6\n")
    with pytest.raises(InputError, match="Pf"):
        read_depth(tmp_path / "e.pfm")


# Meshes.


@pytest.mark.parametrize("suffix", ["ply", "obj"])
def test_meshes_in_mm_and_metres_become_the_same(tmp_path: Path, suffix: str) -> None:
    pytest.importorskip("trimesh")
    for name, size in (("mm", 200.0), ("m", 0.2)):
        write_mesh(tmp_path / f"{name}.{suffix}", quad(size))
    a, b = (read_scan_mesh(tmp_path / f"{name}.{suffix}") for name in ("mm", "m"))
    np.testing.assert_allclose(a.vertices, b.vertices, rtol=1e-4)
    np.testing.assert_allclose(a.bounds()[1], (200, 200, 40), rtol=1e-4)
    assert a.colours is not None
    np.testing.assert_array_equal(a.colours, quad(1.0).colours)


def test_an_objs_texture_colours_its_vertices(tmp_path: Path) -> None:
    pytest.importorskip("trimesh")
    pytest.importorskip("PIL")
    texture = np.zeros((64, 64, 3), np.uint8)
    texture[:, :32], texture[:, 32:] = (0, 0, 255), (0, 255, 0)
    cv2.imwrite(str(tmp_path / "skin.png"), texture)
    (tmp_path / "face.mtl").write_text("newmtl skin\nmap_Kd skin.png\n")
    (tmp_path / "face.obj").write_text(
        "mtllib face.mtl\nv 0 0 0\nv 200 0 0\nv 200 200 0\nv 0 200 0\n"
        "vt 0.1 0.1\nvt 0.9 0.1\nvt 0.9 0.9\nvt 0.1 0.9\nusemtl skin\n"
        "f 1/1 2/2 3/3\nf 1/1 3/3 4/4\n"
    )
    mesh = read_scan_mesh(tmp_path / "face.obj")
    assert mesh.colours is not None
    red = mesh.vertices[:, 0] < 100
    assert (mesh.colours[red] == (255, 0, 0)).all()
    assert (mesh.colours[~red] == (0, 255, 0)).all()


def test_an_obj_opens_no_file_outside_of_its_folder(tmp_path: Path) -> None:
    """Neither by an absolute name, nor through "..", nor through a link."""
    pytest.importorskip("trimesh")
    pytest.importorskip("PIL")
    inside = tmp_path / "scan"
    inside.mkdir()
    cv2.imwrite(str(tmp_path / "secret.png"), np.full((8, 8, 3), 77, np.uint8))
    (tmp_path / "secret.mtl").write_text("newmtl skin\nmap_Kd secret.png\n")
    (inside / "link.png").symlink_to(tmp_path / "secret.png")
    (inside / "folder").symlink_to(tmp_path)
    (inside / "ring.png").symlink_to(inside / "ring.png")
    mesh = (
        "v 0 0 0\nv 200 0 0\nv 200 200 0\nvt 0.1 0.1\nvt 0.9 0.1\nvt 0.9 0.9\nusemtl skin\n"
        "f 1/1 2/2 3/3\n"
    )

    def colours(library: str, texture: str) -> np.ndarray | None:
        (inside / "face.mtl").write_text(f"newmtl skin\nmap_Kd {texture}\n")
        (inside / "face.obj").write_text(f"mtllib {library}\n{mesh}")
        read = read_scan_mesh(inside / "face.obj")
        assert len(read.triangles) == 1
        return read.colours

    away = (str(tmp_path / "secret.png"), "../secret.png", "link.png", "folder/secret.png")
    for texture in (*away, "ring.png", "/dev/zero", "x" * 5000, "a\0b", "folder"):
        found = colours("face.mtl", texture)
        assert found is None or not (found == 77).any(), texture
    for library in (str(tmp_path / "secret.mtl"), "../secret.mtl", "folder/secret.mtl"):
        found = colours(library, "none.png")
        assert found is None or not (found == 77).any(), library
    # What programs write of their own machine is looked for beside the mesh.
    cv2.imwrite(str(inside / "skin.png"), np.full((8, 8, 3), 99, np.uint8))
    for texture in ("skin.png", "/Users/a/skin.png", "C:\\scans\\skin.png", "./skin.png"):
        found = colours("face.mtl", texture)
        assert found is not None, texture
        assert (found == 99).all(), texture


def test_meshes_of_the_wrong_size_or_empty_are_refused(tmp_path: Path) -> None:
    pytest.importorskip("trimesh")
    write_mesh(tmp_path / "cm.ply", quad(20.0))
    with pytest.raises(InputError, match="say the unit"):
        read_scan_mesh(tmp_path / "cm.ply")
    assert read_scan_mesh(tmp_path / "cm.ply", "cm").bounds()[1][0] == pytest.approx(200)
    write_mesh(tmp_path / "room.ply", quad(6000.0))
    with pytest.raises(InputError, match="6000"):
        read_scan_mesh(tmp_path / "room.ply")
    (tmp_path / "none.ply").write_bytes(b"")
    with pytest.raises(InputError, match="empty mesh"):
        read_scan_mesh(tmp_path / "none.ply")
    (tmp_path / "points.obj").write_text("v 0 0 0\nv 100 0 0\nv 0 100 0\n")
    with pytest.raises(InputError, match="empty"):
        read_scan_mesh(tmp_path / "points.obj")
    (tmp_path / "bad.ply").write_bytes(b"not a mesh at all")
    with pytest.raises(InputError, match="not a readable mesh"):
        read_scan_mesh(tmp_path / "bad.ply")


def test_triangles_with_vertices_that_are_not_numbers_are_left_out(tmp_path: Path) -> None:
    pytest.importorskip("trimesh")
    mesh = quad(200.0)
    vertices = np.vstack([mesh.vertices, [[np.nan, 0, 0]]]).astype(np.float32)
    torn = TriangleMesh(vertices, np.vstack([mesh.triangles, [[0, 1, 4]]]).astype(np.int32))
    write_mesh(tmp_path / "torn.ply", torn)
    assert len(read_scan_mesh(tmp_path / "torn.ply").triangles) == 2


# Scans.


def test_a_depth_map_finds_its_picture_and_intrinsics(tmp_path: Path, depth_mm: np.ndarray) -> None:
    cv2.imwrite(str(tmp_path / "face_depth.png"), depth_mm)
    with pytest.raises(InputError, match="no intrinsics"):
        read_scan(tmp_path / "face_depth.png")
    write_json(tmp_path / "face_camera.json", {"camera_matrix": K, "width": 640, "height": 480})
    with pytest.raises(InputError, match="no RGB picture"):
        read_scan(tmp_path)
    cv2.imwrite(str(tmp_path / "face_rgb.jpg"), np.zeros((96, 128, 3), np.uint8))
    scan = read_scan(tmp_path)
    assert scan.frame is not None
    assert scan.frame.image is not None
    assert scan.frame.image.shape == (96, 128, 3)
    assert scan.frame.camera.fx == pytest.approx(59)
    points = scan.frame.points()
    np.testing.assert_allclose(points[20, 20, 2], 350)
    cv2.imwrite(str(tmp_path / "face_rgb.jpg"), np.zeros((128, 96, 3), np.uint8))
    with pytest.raises(InputError, match="same shape"):
        read_scan(tmp_path)


def test_places_without_a_scan_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="found none"):
        read_scan(tmp_path)
    with pytest.raises(InputError, match="no such file"):
        read_scan(tmp_path / "face.ply")
    (tmp_path / "face.txt").write_text("")
    with pytest.raises(InputError, match=r"ends .ply"):
        read_scan(tmp_path / "face.txt")
    with pytest.raises(InputError, match="unit"):
        read_scan(tmp_path, unit="inch")
