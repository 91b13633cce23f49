"""glTF, OBJ and PLY: the meshes are the published ones, by other programs' readers."""

from __future__ import annotations

import json
import shutil
import struct
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from mien.models.face.bundle import Bundle
from mien.models.face.names import BLENDSHAPE_INDEX, BLENDSHAPE_NAMES
from mien.models.face.rotation import matrix_from_quaternion
from mien.stream import FaceObservation, Frame
from mien.stream.export import ExportContext

Clip = list[tuple[Frame, list[FaceObservation]]]
Export = Callable[..., Path]
Maker = Callable[..., FaceObservation]
MODEL = Bundle.default().face_model
AXES = np.diag([1.0, -1.0, -1.0])
MS = 1_000_000
NO_PICTURE = np.zeros((0, 0, 3), np.uint8)

VALIDATE = """
const validator = require('gltf-validator');
const bytes = new Uint8Array(require('fs').readFileSync(process.argv[1]));
validator.validateBytes(bytes).then((report) => console.log(JSON.stringify(report.issues)));
"""


@pytest.fixture(scope="module")
def settled(clip: Clip) -> Clip:
    """The same with one shape throughout, as two passes give it."""
    shape = clip[-1][1][0].shape
    return [
        (frame, [msgspec.structs.replace(row, shape=shape) for row in rows]) for frame, rows in clip
    ]


def mesh_mm(row: FaceObservation) -> np.ndarray:
    """(N, 3) the published mesh, head frame."""
    return MODEL.decode_seen(row.shape, row.expression, row.blendshapes).astype(np.float64)


def placed_mm(row: FaceObservation) -> np.ndarray:
    """(N, 3) the same, camera frame."""
    R = matrix_from_quaternion(np.array([row.qw, row.qx, row.qy, row.qz]))
    return mesh_mm(row) @ R.T + np.array([row.tx, row.ty, row.tz])


class Glb:
    """A reader of what these files use, written from the specification of glTF 2.0."""

    def __init__(self, path: Path) -> None:
        data = path.read_bytes()
        magic, version, length = struct.unpack_from("<4sII", data)
        assert (magic, version, length) == (b"glTF", 2, len(data))
        size, kind = struct.unpack_from("<I4s", data, 12)
        assert kind == b"JSON"
        self.json: dict[str, Any] = json.loads(data[20 : 20 + size])
        self.bin = b""
        if len(data) > 20 + size:
            length, kind = struct.unpack_from("<I4s", data, 20 + size)
            assert kind == b"BIN\0"
            self.bin = data[28 + size : 28 + size + length]
            assert length == self.json["buffers"][0]["byteLength"]

    def array(self, accessor: int) -> np.ndarray:
        at = self.json["accessors"][accessor]
        view = self.json["bufferViews"][at["bufferView"]]
        width = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4}[at["type"]]
        dtype = {5126: "<f4", 5123: "<u2", 5125: "<u4"}[at["componentType"]]
        flat = np.frombuffer(self.bin, dtype, at["count"] * width, view["byteOffset"])
        array = flat.reshape(-1, width)
        if "min" in at:
            np.testing.assert_array_equal(array.min(axis=0), np.float32(at["min"]))
            np.testing.assert_array_equal(array.max(axis=0), np.float32(at["max"]))
        return array

    def animated(self, node: int) -> tuple[np.ndarray, np.ndarray]:
        """Times in s and, for each key, the (N, 3) vertices in the scene, m."""
        keys: dict[str, np.ndarray] = {}
        times = np.zeros(0)
        animation = self.json["animations"][0]
        for channel in animation["channels"]:
            if channel["target"]["node"] == node:
                sampler = animation["samplers"][channel["sampler"]]
                keys[channel["target"]["path"]] = self.array(sampler["output"])
                times = self.array(sampler["input"])[:, 0]
        primitive = self.json["meshes"][self.json["nodes"][node]["mesh"]]["primitives"][0]
        base = self.array(primitive["attributes"]["POSITION"]).astype(np.float64)
        targets = np.stack([self.array(t["POSITION"]) for t in primitive["targets"]])
        weights = keys["weights"].reshape(len(times), len(targets))
        scale = np.array(self.json["nodes"][node]["scale"])
        scenes = []
        for w, (x, y, z, real), t in zip(
            weights, keys["rotation"], keys["translation"], strict=True
        ):
            shaped = base + np.tensordot(w, targets, axes=1)
            R = matrix_from_quaternion(np.array([real, x, y, z]))
            scenes.append((shaped * scale) @ R.T + t)
        return times, np.stack(scenes)


def off_mm(glb: Glb, node: int, rows: Sequence[FaceObservation]) -> np.ndarray:
    """(frames, N) distances of the animated vertices from the published ones."""
    _, scenes = glb.animated(node)
    wanted = np.stack([placed_mm(row) for row in rows])
    return np.linalg.norm(scenes * 1000.0 @ AXES - wanted, axis=2)


def test_the_animated_gltf_mesh_is_the_published_one(
    export: Export, tmp_path: Path, context: ExportContext, settled: Clip
) -> None:
    glb = Glb(export("gltf", tmp_path, context, settled))
    assert off_mm(glb, 1, [row for _, (row,) in settled]).max() < 1e-3
    times, _ = glb.animated(1)
    np.testing.assert_allclose(times, np.arange(24) / 25.0, atol=1e-6)
    (mesh,) = glb.json["meshes"]
    assert mesh["extras"]["targetNames"] == list(BLENDSHAPE_NAMES)
    assert glb.json["nodes"][1]["extras"]["shape_deviation_mm"]["max"] < 1e-3
    indices = glb.array(mesh["primitives"][0]["indices"]).reshape(-1, 3)
    np.testing.assert_array_equal(indices, MODEL.triangles)


def test_a_shape_that_changes_costs_what_the_file_says(
    export: Export, tmp_path: Path, context: ExportContext, clip: Clip
) -> None:
    glb = Glb(export("gltf", tmp_path, context, clip))
    off = off_mm(glb, 1, [row for _, (row,) in clip])
    stated = glb.json["nodes"][1]["extras"]["shape_deviation_mm"]
    assert off.max() == pytest.approx(stated["max"], abs=2e-3)
    assert off.mean() == pytest.approx(stated["mean"], abs=2e-3)


def test_gltf_holds_every_track_and_the_size_of_a_known_head(
    export: Export, tmp_path: Path, context: ExportContext, settled: Clip
) -> None:
    two = [
        (frame, [row] + [msgspec.structs.replace(row, track=4, tx=row.tx + 90.0)] * (i % 3 > 0))
        for i, (frame, (row,)) in enumerate(settled)
    ]
    sized = replace(context, recording=replace(context.recording, options={"ipd_mm": 70.0}))
    glb = Glb(export("gltf", tmp_path, sized, two))
    assert [node["name"] for node in glb.json["nodes"]] == ["camera", "face 0", "face 4"]
    times, scenes = glb.animated(2)
    assert len(times) == 16
    lids = [36, 39, 42, 45]
    open_eyes = two[1][1][1]
    neutral = MODEL.decode(open_eyes.shape)[MODEL.landmark_vertices[lids]]
    scale = 70.0 / np.linalg.norm(neutral[:2].mean(axis=0) - neutral[2:].mean(axis=0))
    corners = MODEL.landmark_vertices[[48, 54]]
    length = np.linalg.norm(np.subtract(*scenes[0][corners])) * 1000.0
    wanted = np.linalg.norm(np.subtract(*mesh_mm(open_eyes)[corners])) * scale
    assert length == pytest.approx(wanted, rel=1e-4)


def test_gltf_without_blendshapes_moves_by_expression(
    export: Export, tmp_path: Path, context: ExportContext, make_face_row: Maker
) -> None:
    rng = np.random.default_rng(2)
    rows = [
        make_face_row(
            frame=i,
            expression=rng.normal(size=10).astype(np.float32),
            shape=np.full(40, 0.3, np.float32),
            blendshapes=None,
        )
        for i in range(3)
    ]
    clip = [(Frame(NO_PICTURE, i, None), [row]) for i, row in enumerate(rows)]
    glb = Glb(export("gltf", tmp_path, context, clip))
    assert len(glb.json["meshes"][0]["primitives"][0]["targets"]) == 10
    assert off_mm(glb, 1, rows).max() < 1e-3
    np.testing.assert_allclose(glb.animated(1)[0], [0.0, 0.04, 0.08])  # by the rate


def test_gltf_times_grow_even_where_the_source_repeats_them(
    export: Export, tmp_path: Path, context: ExportContext, make_face_row: Maker
) -> None:
    times_ns = [0, 40 * MS, 40 * MS, 40 * MS + 1, 80 * MS]
    clip = [(Frame(NO_PICTURE, i, t), [make_face_row(frame=i)]) for i, t in enumerate(times_ns)]
    times, _ = Glb(export("gltf", tmp_path, context, clip)).animated(1)
    assert (np.diff(times) > 0.0).all()
    np.testing.assert_allclose(times, np.array(times_ns) / 1e9, atol=1e-6)


def gltf_issues(path: Path) -> dict[str, Any]:
    """What the Khronos validator finds."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("no node: the validator of glTF runs in it")
    probe = [node, "-e", "require('gltf-validator')"]
    if subprocess.run(probe, check=False, capture_output=True, cwd=path.parent).returncode:
        pytest.skip("no npm package gltf-validator (npm install gltf-validator, and NODE_PATH)")
    done = subprocess.run(
        [node, "-e", VALIDATE, str(path)], check=True, capture_output=True, text=True, timeout=60
    )
    return json.loads(done.stdout)


def test_the_khronos_validator_finds_no_error(
    export: Export, tmp_path: Path, context: ExportContext, clip: Clip, make_face_row: Maker
) -> None:
    late = make_face_row(track=7, frame=9)
    films: dict[str, Clip] = {
        "one": clip,
        "two": [(frame, rows + [late] * (i == 9)) for i, (frame, rows) in enumerate(clip)],
        "none": [(frame, []) for frame, _ in clip],
        "empty": [],
    }
    for name, film in films.items():
        issues = gltf_issues(export("gltf", tmp_path / name, context, film))
        found = [message["code"] for message in issues["messages"]]
        assert (issues["numErrors"], issues["numWarnings"]) == (0, 0), (name, found)
        assert set(found) <= {"UNUSED_OBJECT"}, name  # texture coordinates without a texture


def test_trimesh_reads_the_gltf_base_mesh(
    export: Export, tmp_path: Path, context: ExportContext, settled: Clip
) -> None:
    trimesh = pytest.importorskip("trimesh", reason="reads meshes (extra: test)")
    scene = trimesh.load_scene(export("gltf", tmp_path, context, settled))
    (mesh,) = scene.geometry.values()
    shape = settled[0][1][0].shape
    wanted = MODEL.decode(shape) @ AXES / 1000.0
    np.testing.assert_allclose(mesh.vertices, wanted, atol=1e-6)
    assert np.mean(mesh.vertex_normals @ [0.0, 0.0, 1.0]) > 0.2  # the face looks along +z


@pytest.mark.parametrize("name", ["obj", "ply"])
@pytest.mark.parametrize("place", ["head", "camera"])
def test_trimesh_reads_the_meshes_of_chosen_frames(
    export: Export, name: str, place: str, tmp_path: Path, context: ExportContext, clip: Clip
) -> None:
    trimesh = pytest.importorskip("trimesh", reason="reads meshes (extra: test)")
    folder = export(name, tmp_path, context, clip, frames=(3, 11), mesh_frame=place)
    names = [f"{frame:06d}_track0.{name}" for frame in (3, 11)]
    assert sorted(path.name for path in folder.iterdir()) == names
    (row,) = clip[11][1]
    mesh = trimesh.load_mesh(folder / names[1], process=False, maintain_order=True)
    wanted = mesh_mm(row) if place == "head" else placed_mm(row)
    np.testing.assert_allclose(mesh.vertices, wanted, atol=2e-4)
    np.testing.assert_array_equal(mesh.faces, MODEL.triangles)
    text = (folder / names[1]).read_bytes()
    mark = b"# " if name == "obj" else b"comment "
    assert mark + place.encode() + b" frame" in text
    assert mark + b"frame 11 track 0" in text


def test_obj_and_ply_are_plain_enough_to_be_read_by_hand(
    export: Export, tmp_path: Path, context: ExportContext, clip: Clip
) -> None:
    (row,) = clip[0][1]
    (place,) = export("obj", tmp_path, context, clip, frames=(0,)).iterdir()
    obj = place.read_text(encoding="ascii")
    lines = [line.split() for line in obj.splitlines() if not line.startswith("#")]
    vertices = np.array([line[1:] for line in lines if line[0] == "v"], dtype=np.float64)
    np.testing.assert_allclose(vertices, mesh_mm(row), atol=1e-5)
    faces = [[int(corner.split("/")[0]) for corner in line[1:]] for line in lines if line[0] == "f"]
    np.testing.assert_array_equal(np.array(faces) - 1, MODEL.triangles)
    (place,) = export("ply", tmp_path, context, clip, frames=(0,)).iterdir()
    ply = place.read_bytes()
    header, body = ply.split(b"end_header\n", 1)
    assert b"format binary_little_endian 1.0" in header
    vertices = np.frombuffer(body, "<f4", 3 * len(MODEL.mean)).reshape(-1, 3)
    np.testing.assert_allclose(vertices, mesh_mm(row), atol=1e-4)
    assert len(body) == 12 * len(MODEL.mean) + 13 * len(MODEL.triangles)


def test_a_blink_moves_the_lids_of_the_gltf_mesh(
    export: Export, tmp_path: Path, context: ExportContext, make_face_row: Maker
) -> None:
    values = np.zeros((2, 52), np.float32)
    values[1, BLENDSHAPE_INDEX["eyeBlinkLeft"]] = 1.0
    rows = [make_face_row(frame=i, blendshapes=values[i]) for i in range(2)]
    clip = [(Frame(NO_PICTURE, i, i * 40 * MS), [row]) for i, row in enumerate(rows)]
    _, (wide, shut) = Glb(export("gltf", tmp_path, context, clip)).animated(1)
    left, right = (MODEL.landmark_vertices[points] for points in ([43, 44], [37, 38]))
    assert (shut - wide)[left, 1].max() < -0.004  # metres, down
    np.testing.assert_allclose(shut[right], wide[right], atol=1e-6)
