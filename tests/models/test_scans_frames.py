"""Several depth frames with poses: how they are written, brought together, and what it gains."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from mien.models.errors import InputError
from mien.models.face.morphable import FaceModel
from mien.models.face.rotation import (
    matrix_from_rotation_vector,
    matrix_from_yaw_pitch_roll,
    quaternion_from_matrix,
)
from mien.models.mesh.triangle_mesh import TriangleMesh
from mien.models.scans.box import FaceBox
from mien.models.scans.frame import DepthFrame, Intrinsics
from mien.models.scans.fusion import FusedScan, fuse, voxelise
from mien.models.scans.posed_frames import MOST_FRAMES
from mien.models.scans.readers import read_scan
from mien.models.scans.registration import register_frames
from mien.models.scans.sensor import Sensor
from mien.models.scans.views import look

LENS = Intrinsics(295.0, 295.0, 159.5, 119.5, 320, 240)
BOX = FaceBox(32)
CENTRE = np.array([0.0, 30.0, 20.0])
ARKIT = np.diag([1.0, -1.0, -1.0, 1.0])
VIEWS = ((0, 0), (-40, 4), (38, -3), (10, 18), (-15, -20))


def motion(rng: np.random.Generator, deg: float, mm: float) -> np.ndarray:
    """A rotation about the face's middle, and a shift."""
    moved = np.eye(4)
    moved[:3, :3] = matrix_from_rotation_vector(np.radians(rng.normal(0, deg, 3)))
    moved[:3, 3] = CENTRE - moved[:3, :3] @ CENTRE + rng.normal(0, mm, 3)
    return moved


@dataclass(frozen=True)
class Recording:
    """Frames of a face whose poses are off, but the first's; and the truth."""

    frames: list[DepthFrame]
    head_from_camera: list[np.ndarray]
    vertices: np.ndarray
    true: FusedScan


@pytest.fixture(scope="module")
def recording(face_model: FaceModel) -> Recording:
    rng = np.random.default_rng(3)
    vertices = face_model.decode(rng.normal(0, 0.8, 40).astype(np.float32))
    kinds = np.zeros(len(face_model.triangles), np.uint8)
    frames, poses = [], []
    for yaw, pitch in VIEWS:
        pose = np.eye(4)
        angles = np.array([yaw, pitch, rng.normal(0, 4)], np.float64)
        pose[:3, :3] = matrix_from_yaw_pitch_roll(angles)
        pose[:3, 3] = np.array([5.0, -4.0, 380.0]) - pose[:3, :3] @ CENTRE
        seen = look(vertices, face_model.triangles, LENS.matrix @ pose[:3], 240, 320)
        depth = Sensor().measure(seen, kinds, rng)
        off = motion(rng, 1.0, 3.0) if frames else np.eye(4)
        poses.append(np.linalg.inv(pose))
        frames.append(DepthFrame(depth, None, LENS, off @ poses[-1]))
    true = voxelise(TriangleMesh(vertices, face_model.triangles), BOX)
    return Recording(frames, poses, vertices, true)


def misplaced(recording: Recording, frames: list[DepthFrame], kept: list[int]) -> np.ndarray:
    """Mean distance of the face's vertices from where each frame's pose would have them, mm."""
    found = []
    for frame, i in zip(frames, kept, strict=True):
        wrong = frame.head_from_camera @ np.linalg.inv(recording.head_from_camera[i])
        moved = recording.vertices @ wrong[:3, :3].T + wrong[:3, 3]
        found.append(np.linalg.norm(moved - recording.vertices, axis=1).mean())
    return np.array(found)


# Poses refined, surfaces fused.


def test_frames_are_brought_together(recording: Recording) -> None:
    given = misplaced(recording, recording.frames, list(range(5)))
    assert given[1:].min() > 2
    together = register_frames(recording.frames, 0, CENTRE)
    assert together.kept == [0, 1, 2, 3, 4]
    found = misplaced(recording, together.frames, together.kept)
    assert found[0] < 1e-9
    assert found.max() < 0.6
    assert together.after_mm < 0.5 * together.before_mm


def test_more_frames_see_more_and_err_less(recording: Recording) -> None:
    true = recording.true
    near = (true.seen > 20) & (np.abs(true.sdf) < 6)
    frames = register_frames(recording.frames, 0, CENTRE).frames
    one, three, five = (fuse(frames[:count], BOX) for count in (1, 3, 5))
    share = [float((scan.seen[near] > 0).mean()) for scan in (one, three, five)]
    # A single frame sees the cells before a surface and some behind it, of one side.
    assert share[0] < 0.65
    assert share[1] > share[0] + 0.25
    assert share[2] > share[1]
    both = near & (one.seen > 0)
    miss = [float(np.abs(scan.sdf - true.sdf)[both].mean()) for scan in (one, three, five)]
    assert miss[1] < 0.8 * miss[0]
    assert miss[2] < 0.65 * miss[0]
    # Unrefined poses would have made it worse.
    raw = fuse(recording.frames[:3], BOX)
    assert float(np.abs(raw.sdf - true.sdf)[both].mean()) > miss[0]


def test_frames_that_meet_no_other_are_left_out(recording: Recording) -> None:
    away = np.eye(4)
    away[:3, 3] = (0, 0, -60)
    lost = DepthFrame(
        recording.frames[1].depth, None, LENS, away @ recording.frames[1].head_from_camera
    )
    kept = register_frames([recording.frames[0], lost, recording.frames[2]], 0, CENTRE)
    assert kept.kept == [0, 2]
    assert len(kept.frames) == 2
    with pytest.raises(InputError, match="none comes near"):
        register_frames([recording.frames[0], lost], 0, CENTRE)
    with pytest.raises(InputError, match="no depth there"):
        register_frames(recording.frames, 0, CENTRE + 1000)
    alone = register_frames(recording.frames[:1], 0, CENTRE)
    assert (alone.kept, len(alone.frames)) == ([0], 1)


# Files.

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path, recording: Recording) -> Write:
    """Writes the recording's first three frames in metres and ARKit's axes; gives the folder."""

    def run(layout: str = "named", **table: Any) -> Path:
        folder = tmp_path / layout
        (folder / "depth").mkdir(parents=True)
        (folder / "rgb").mkdir()
        entries, poses = [], []
        for i, frame in enumerate(recording.frames[:3]):
            pose = frame.head_from_camera @ ARKIT
            pose[:3, 3] /= 1000
            x, y, z = pose[:3, 3].tolist()
            w, a, b, c = quaternion_from_matrix(pose[:3, :3]).tolist()
            poses.append([a, b, c, w, x, y, z])
            entries.append({"depth": f"depth/{i}.npy", "camera_to_world": pose.tolist()})
            np.save(folder / "depth" / f"{i}.npy", frame.depth / 1000)
            cv2.imwrite(str(folder / "rgb" / f"{i}.jpg"), np.full((480, 640, 3), 40 * i, np.uint8))
        lens = {"fx": 590, "fy": 590, "cx": 319.5, "cy": 239.5, "w": 640, "h": 480}
        columns = [590, 0, 0, 0, 590, 0, 319.5, 239.5, 1]
        content: dict[str, Any] = {
            "named": {**lens, "frames": entries},
            "columns": {
                "intrinsics": lens,
                "frames": [
                    {"transform_matrix": np.transpose(e["camera_to_world"]).ravel().tolist()}
                    for e in entries
                ],
            },
            "record3d": {"w": 640, "h": 480, "dw": 320, "dh": 240, "K": columns, "poses": poses},
        }[layout]
        content |= table
        (folder / "metadata.json").write_text(json.dumps(content))
        return folder

    return run


@pytest.mark.parametrize("layout", ["named", "columns", "record3d"])
def test_frames_and_poses_are_read(write: Write, recording: Recording, layout: str) -> None:
    scan = read_scan(write(layout))
    assert scan.mesh is None
    assert scan.frame is None
    assert len(scan.frames) == 3
    for i, (frame, true) in enumerate(zip(scan.frames, recording.frames, strict=False)):
        np.testing.assert_allclose(frame.head_from_camera, true.head_from_camera, atol=1e-3)
        np.testing.assert_allclose(frame.depth, true.depth, rtol=1e-5)
        assert frame.camera.fx == pytest.approx(295)
        assert frame.camera.cx == pytest.approx(159.5)
        assert frame.image is not None
        assert abs(int(frame.image[0, 0, 0]) - 40 * i) < 4
    again = read_scan(scan.path)
    assert len(again.frames) == 3


def test_cameras_may_have_opencvs_axes_and_their_own_intrinsics(
    write: Write, recording: Recording
) -> None:
    folder = write("named", camera_axes="opencv")
    content = json.loads((folder / "metadata.json").read_text())
    for entry, frame in zip(content["frames"], recording.frames, strict=False):
        pose = frame.head_from_camera.copy()
        pose[:3, 3] /= 1000
        entry["camera_to_world"] = pose[:3].tolist()
    content["frames"][1] |= {"fx": 600, "fy": 602, "cx": 319.5, "cy": 239.5}
    content["frames"][2]["intrinsics"] = {"fx": 610, "fy": 610, "cx": 319.5, "cy": 239.5}
    (folder / "metadata.json").write_text(json.dumps(content))
    frames = read_scan(folder).frames
    truth = recording.frames[1].head_from_camera
    np.testing.assert_allclose(frames[1].head_from_camera, truth, atol=1e-3)
    assert [frame.camera.fx for frame in frames] == [pytest.approx(f) for f in (295, 300, 305)]
    other = tuple(
        read_scan(write("record3d", perFrameIntrinsicCoeffs=3 * [[588, 588, 319.5, 239.5]])).frames
    )
    assert other[2].camera.fx == pytest.approx(294)


def test_of_a_long_recording_some_frames_are_taken(write: Write) -> None:
    folder = write("named")
    content = json.loads((folder / "metadata.json").read_text())
    content["frames"] = [content["frames"][0]] * 50 + [content["frames"][2]]
    (folder / "metadata.json").write_text(json.dumps(content))
    frames = read_scan(folder).frames
    assert len(frames) == MOST_FRAMES
    assert not np.array_equal(frames[-1].depth, frames[0].depth, equal_nan=True)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"frames": []}, "no frames"),
        ({"frames": [{"depth": "depth/0.npy"}]}, "frame 0 has no pose"),
        ({"frames": [3]}, "frame 0 is no table"),
        ({"fx": None}, "no intrinsics"),
        ({"camera_axes": "blender"}, "expected arkit or opencv"),
        ({"frames": [{"depth": "depth/9.npy", "pose": [0, 0, 0, 1, 0, 0, 0]}]}, "no such file"),
        ({"frames": [{"pose": [0, 0, 0, 1, 0, 0, 0]}]}, "1 poses and 3 depth maps"),
        ({"frames": [{"pose": [0, 0, 0, 2, 0, 0, 0]}] * 3}, "quaternion is not of length 1"),
        ({"frames": [{"pose": (2 * np.eye(4)).tolist()}] * 3}, "no rotation"),
        ({"frames": [{"pose": [1, 2, 3]}] * 3}, "not 4 x 4 numbers"),
        ({"frames": [{"pose": [[1, 2], [3]]}] * 3}, "not 4 x 4 numbers"),
        ({"frames": [{"pose": {"x": 1}}] * 3}, "not 4 x 4 numbers"),
        ({"frames": [{"pose": [10**400] * 7}] * 3}, "not 4 x 4 numbers"),
        ({"frames": {"0": 1}}, "no frames"),
        ({"frames": [{"depth": "\0", "pose": [0, 0, 0, 1, 0, 0, 0]}]}, "no such file"),
    ],
)
def test_files_that_lack_something_are_refused(
    write: Write, changed: dict[str, Any], words: str
) -> None:
    with pytest.raises(InputError, match=words) as said:
        read_scan(write("named", **changed))
    assert "\n" not in str(said.value)


def test_folders_that_lack_something_are_refused(write: Write) -> None:
    folder = write("named")
    np.save(folder / "depth/1.npy", np.full((120, 160), 0.4, np.float32))
    with pytest.raises(InputError, match=r"1\.npy: 160 x 120 px, the frames before have 320 x 240"):
        read_scan(folder)
    for picture in (folder / "rgb").iterdir():
        picture.unlink()
    np.save(folder / "depth/1.npy", np.full((240, 320), 0.4, np.float32))
    with pytest.raises(InputError, match="no frame has an RGB picture"):
        read_scan(folder)
    (folder / "metadata.json").unlink()
    for place in (folder, folder / "depth"):
        with pytest.raises(InputError, match=r"3 depth maps and no JSON file with 'frames'"):
            read_scan(place)
