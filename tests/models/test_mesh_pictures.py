"""Maps of parallel cameras, turntables, and meshes in files."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import numpy as np
import pytest

from mien.models.errors import InputError, OutputError
from mien.models.mesh.distance import grid_points
from mien.models.mesh.files import read_mesh, write_mesh
from mien.models.mesh.marching import surface_of_grid
from mien.models.mesh.orthographic import orthographic_maps
from mien.models.mesh.triangle_mesh import TriangleMesh
from mien.models.mesh.turntable import turntable, view

SIZE = 64
CENTRE = np.array([0.1, -0.2, 0.15])
RADIUS = 0.6


@pytest.fixture(scope="module")
def sphere() -> TriangleMesh:
    """With colours: more red to the right, more green downwards, more blue away."""
    pytest.importorskip("skimage")
    points = grid_points((-1, -1, -1), (1, 1, 1), (50, 50, 50))
    values = np.linalg.norm(points - CENTRE, axis=1).reshape(50, 50, 50).astype(np.float32)
    mesh = surface_of_grid(values, RADIUS, (-1, -1, -1), (1, 1, 1), inside_above=False)
    colours = np.rint(255 * (mesh.vertices + 1) / 2).astype(np.uint8)
    return TriangleMesh(mesh.vertices, mesh.triangles, colours)


def test_maps_of_a_sphere_are_analytic(sphere: TriangleMesh) -> None:
    maps = orthographic_maps(sphere, SIZE)
    places = (2 * np.arange(SIZE) + 1) / SIZE - 1
    x, y = np.meshgrid(places - CENTRE[0], places - CENTRE[1])
    radius = np.hypot(x, y)
    sure = np.abs(radius - RADIUS) > 0.02
    np.testing.assert_array_equal(maps.mask[sure], (radius < RADIUS)[sure])
    inner = radius < 0.9 * RADIUS
    z = np.sqrt(RADIUS**2 - radius[inner] ** 2)
    np.testing.assert_allclose(maps.depth_front[inner], CENTRE[2] - z, atol=5e-3)
    np.testing.assert_allclose(maps.depth_back[inner], CENTRE[2] + z, atol=5e-3)
    # x to the right, y up, z towards the camera that sees it: the same for both sides of a sphere.
    expected = np.stack([x[inner], -y[inner], z], axis=1) / RADIUS
    np.testing.assert_allclose(maps.front[inner], expected, atol=0.04)
    np.testing.assert_allclose(maps.back[inner], expected, atol=0.04)
    for normals in (maps.front, maps.back):
        np.testing.assert_allclose(np.linalg.norm(normals[maps.mask], axis=1), 1, atol=1e-5)
        assert not normals[~maps.mask].any()
    assert np.isinf(maps.depth_front[~maps.mask]).all()
    assert np.isinf(maps.depth_back[~maps.mask]).all()


def test_a_slanted_sheet_shows_the_signs() -> None:
    """A wedge whose front rises to the right: its normal has x to the left."""
    front = np.array([[-0.5, -0.5, 0], [0.5, -0.5, -0.5], [0.5, 0.5, -0.5], [-0.5, 0.5, 0]])
    back = front * np.array([1, 1, 0]) + np.array([0, 0, 0.5])
    vertices = np.concatenate([front, back]).astype(np.float32)
    triangles = np.array([[0, 2, 1], [0, 3, 2], [4, 5, 6], [4, 6, 7]], np.int32)
    split = TriangleMesh(vertices, triangles)
    maps = orthographic_maps(split, 32)
    slope = np.array([-0.5, 0, 1]) / np.hypot(0.5, 1)
    np.testing.assert_allclose(maps.front[16, 16], slope, atol=1e-4)
    np.testing.assert_allclose(maps.back[16, 16], (0, 0, 1), atol=1e-4)
    # Parallel projection: depth is linear over the picture.
    row = maps.depth_front[16][maps.mask[16]]
    np.testing.assert_allclose(np.diff(row), -0.5 * 2 / 32, atol=1e-4)


def test_maps_cut_off_what_is_beyond_the_cube(sphere: TriangleMesh) -> None:
    large = sphere.transformed(np.eye(3) * 5)
    maps = orthographic_maps(large, 16)
    assert maps.mask.all()
    nothing = orthographic_maps(TriangleMesh(sphere.vertices, sphere.triangles[:0]), 8)
    assert not nothing.mask.any()


def test_the_turntable_turns(sphere: TriangleMesh) -> None:
    pictures = list(turntable(sphere, 48, 4))
    assert len(pictures) == 4
    assert all(picture.shape == (48, 48, 3) for picture in pictures)
    front, right, back, left = (picture.astype(int) for picture in pictures)
    middle = np.s_[20:28, 20:28]
    # What is right (red) comes round to the front first; blue is at the far side.
    red, blue = ([p[middle][..., c].mean() for p in (front, right, back, left)] for c in (2, 0))
    assert int(np.argmax(red)) == 1
    assert int(np.argmax(blue)) == 2
    assert front[:, :24, 2].mean() > 0
    assert front[24, 8, 2] < front[24, 38, 2]  # red grows to the right
    assert front[8, 24, 1] < front[38, 24, 1]  # green grows downwards
    clay = view(sphere, 48, clay=True).astype(int)[24, 24]
    assert np.ptp(clay) < 20
    with pytest.raises(InputError, match="no triangles"):
        view(TriangleMesh(sphere.vertices, sphere.triangles[:0]), 16)


@pytest.mark.parametrize("suffix", [".ply", ".obj", ".glb"])
@pytest.mark.parametrize("coloured", [True, False])
def test_files_give_back_what_was_written(
    tmp_path: Path, sphere: TriangleMesh, suffix: str, coloured: bool
) -> None:
    pytest.importorskip("trimesh")
    millimetres = sphere.vertices * np.float32(123)
    mesh = TriangleMesh(millimetres, sphere.triangles, sphere.colours if coloured else None)
    path = tmp_path / f"mesh{suffix}"
    write_mesh(path, mesh)
    read = read_mesh(path)
    np.testing.assert_allclose(read.vertices, mesh.vertices, atol=1e-4)
    np.testing.assert_array_equal(read.triangles, mesh.triangles)
    if mesh.colours is None:
        assert read.colours is None
    else:
        assert read.colours is not None
        np.testing.assert_array_equal(read.colours, mesh.colours)
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_glb_is_in_metres_with_y_up_and_linear_colours(
    tmp_path: Path, sphere: TriangleMesh
) -> None:
    """Read as glTF says, without the module that wrote it."""
    vertices = np.array([[1000, 0, 0], [0, 2000, 0], [0, 0, 3000]], np.float32)
    colours = np.array([[255, 0, 0], [188, 188, 188], [0, 0, 5]], np.uint8)
    path = tmp_path / "one.glb"
    write_mesh(path, TriangleMesh(vertices, np.array([[0, 1, 2]], np.int32), colours))
    content = path.read_bytes()
    magic, version, length = struct.unpack("<4sII", content[:12])
    assert (magic, version, length) == (b"glTF", 2, len(content))
    size = struct.unpack("<I", content[12:16])[0]
    tree, binary = json.loads(content[20 : 20 + size]), content[28 + size :]
    attributes = tree["meshes"][0]["primitives"][0]["attributes"]

    def array(name: str, dtype: str, width: int) -> np.ndarray:
        of = tree["bufferViews"][tree["accessors"][attributes[name]]["bufferView"]]
        part = binary[of["byteOffset"] : of["byteOffset"] + of["byteLength"]]
        return np.frombuffer(part, dtype).reshape(-1, width)

    places = array("POSITION", "<f4", 3)
    np.testing.assert_allclose(places, [[1, 0, 0], [0, -2, 0], [0, 0, -3]])
    accessor = tree["accessors"][attributes["POSITION"]]
    assert accessor["min"] == places.min(axis=0).tolist()
    assert accessor["max"] == places.max(axis=0).tolist()
    a, b, c = places
    outwards = np.cross(b - a, c - a)
    assert (array("NORMAL", "<f4", 3) @ outwards > 0).all()
    linear = array("COLOR_0", "<u2", 4) / 65535
    np.testing.assert_allclose(linear[1], [0.503, 0.503, 0.503, 1], atol=2e-3)
    np.testing.assert_allclose(linear[2], [0, 0, 5 / 255 / 12.92, 1], atol=1e-5)


def test_trimesh_reads_the_glb_as_closed(tmp_path: Path, sphere: TriangleMesh) -> None:
    trimesh = pytest.importorskip("trimesh")
    path = tmp_path / "mesh.glb"
    write_mesh(path, sphere)
    theirs = trimesh.load_scene(path, process=False).to_mesh()
    assert theirs.is_watertight
    assert theirs.volume == pytest.approx(sphere.volume() * 1e-9, rel=1e-4)


def test_parts_of_a_glb_are_put_in_their_places(tmp_path: Path) -> None:
    pytest.importorskip("PIL")
    trimesh = pytest.importorskip("trimesh")
    scene = trimesh.Scene()
    block = trimesh.creation.box((1, 1, 1))
    scene.add_geometry(block)
    scene.add_geometry(block, transform=trimesh.transformations.translation_matrix((0, 3, 0)))
    path = tmp_path / "two.glb"
    path.write_bytes(scene.export(file_type="glb"))
    mesh = read_mesh(path)
    low, high = mesh.bounds()
    np.testing.assert_allclose(low, [-500, -3500, -500], atol=1e-3)
    np.testing.assert_allclose(high, [500, 500, 500], atol=1e-3)
    assert mesh.volume() == pytest.approx(2e9, rel=1e-5)


def test_bad_files_are_refused_in_one_line(tmp_path: Path, sphere: TriangleMesh) -> None:
    pytest.importorskip("trimesh")
    with pytest.raises(InputError, match=r"\.ply, \.obj, \.glb"):
        write_mesh(tmp_path / "mesh.stl", sphere)
    with pytest.raises(OutputError, match="cannot be written"):
        write_mesh(tmp_path / "absent" / "mesh.ply", sphere)
    with pytest.raises(InputError, match="cannot be read"):
        read_mesh(tmp_path / "absent.ply")
    for suffix in (".ply", ".obj", ".glb"):
        path = tmp_path / f"bad{suffix}"
        path.write_bytes(b"nonsense")
        with pytest.raises(InputError, match="bad") as caught:
            read_mesh(path)
        assert "\n" not in str(caught.value)
    whole = tmp_path / "whole.glb"
    write_mesh(whole, sphere)
    cut = tmp_path / "cut.glb"
    cut.write_bytes(whole.read_bytes()[:900])
    with pytest.raises(InputError, match="cut"):
        read_mesh(cut)
