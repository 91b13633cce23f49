"""nerfstudio and EG3D: labels project the face to where it is, by other programs' conventions."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import msgspec
import numpy as np
import pytest

from mien.models.face.bundle import Bundle
from mien.models.face.camera import Camera
from mien.models.face.rotation import (
    angle_between_deg,
    matrix_from_quaternion,
    matrix_from_yaw_pitch_roll,
    quaternion_from_matrix,
    rotation_between,
)
from mien.stream import FaceObservation, FaceTracker, Frame
from mien.stream.export import ExportContext

Clip = list[tuple[Frame, list[FaceObservation]]]
Export = Callable[..., Path]
MODEL = Bundle.default().face_model
AXES = np.diag([1.0, -1.0, -1.0])
IPD_MM = 55.0
K_FOCAL = 2985.29 / 700.0


def marks_mm(row: FaceObservation) -> np.ndarray:
    """(68, 3) landmarks of the model with the row's shape and blendshapes, head frame."""
    mesh = MODEL.decode(row.shape, None, row.blendshapes)
    return mesh[MODEL.landmark_vertices].astype(np.float64)


def published_fit_px(row: FaceObservation, camera: Camera, scale: float = 1.0) -> np.ndarray:
    """(68, 2) projections of the landmarks under the published pose."""
    R = matrix_from_quaternion(np.array([row.qw, row.qx, row.qy, row.qz]))
    return camera.project(scale * marks_mm(row) @ R.T + np.array([row.tx, row.ty, row.tz]))


def seen_by_nerfstudio(
    data: dict[str, Any], frame: dict[str, Any], world: np.ndarray
) -> np.ndarray:
    """Pixels from the corner of the first one, of (N, 3) world points: OpenGL's axes."""
    view = np.linalg.inv(np.array(frame["transform_matrix"]))
    points = world @ view[:3, :3].T + view[:3, 3]
    assert (points[:, 2] < 0.0).all()  # in front of the camera
    x = data["fl_x"] * points[:, 0] / -points[:, 2] + data["cx"]
    y = -data["fl_y"] * points[:, 1] / -points[:, 2] + data["cy"]
    return np.stack([x, y], axis=1)


def test_nerfstudio_reprojects_the_landmarks_of_the_published_fit(
    export: Export, tmp_path: Path, context: ExportContext, clip: Clip
) -> None:
    place = export("nerfstudio", tmp_path, context, clip)
    data = json.loads((place / "transforms.json").read_text(encoding="utf-8"))
    assert [frame["timestep_index"] for frame in data["frames"]] == list(range(24))
    assert (data["cx"], data["cy"]) == (data["w"] / 2, data["h"] / 2)
    for frame, (source, (row,)) in zip(data["frames"], clip, strict=True):
        c2w = np.array(frame["transform_matrix"])
        np.testing.assert_allclose(c2w[:3, :3] @ c2w[:3, :3].T, np.eye(3), atol=1e-9)
        assert np.linalg.det(c2w[:3, :3]) == pytest.approx(1.0)
        world = marks_mm(row) @ AXES / 1000.0
        off = seen_by_nerfstudio(data, frame, world) - 0.5 - published_fit_px(row, context.camera)
        assert np.abs(off).max() < 0.01
        picture = cv2.imread(str(place / frame["file_path"]))
        assert picture is not None
        assert np.abs(picture.astype(int) - source.image_bgr).mean() < 4.0  # JPEG
        assert c2w[2, 3] > 0.2  # the camera stands before the face, metres


def test_nerfstudio_holds_for_a_known_head_and_an_odd_camera(
    export: Export, tmp_path: Path, context: ExportContext, clip: Clip
) -> None:
    frames = [frame for frame, _ in clip[:6]]
    height, width = frames[0].image_bgr.shape[:2]
    camera = Camera(410.0, 400.0, width / 2 + 20.0, height / 2 - 15.0, width, height)
    first, second, third = camera.matrix.tolist()
    matrix = tuple(first), tuple(second), tuple(third)
    recording = replace(context.recording, camera_matrix=matrix, options={"ipd_mm": IPD_MM})
    tracker = FaceTracker(Bundle.default(), camera, ipd_mm=IPD_MM)
    clip = [(frame, tracker.track(frame)) for frame in frames]
    known = replace(context, recording=recording)
    place = export("nerfstudio", tmp_path, known, clip, picture_format="png")
    data = json.loads((place / "transforms.json").read_text(encoding="utf-8"))
    frame, (_, (row,)) = data["frames"][5], clip[5]
    neutral = MODEL.landmarks().decode(row.shape)
    eyes = neutral[[42, 45]].mean(axis=0) - neutral[[36, 39]].mean(axis=0)
    scale = IPD_MM / float(np.linalg.norm(eyes))
    assert scale < 0.97
    seen = seen_by_nerfstudio(data, frame, scale * marks_mm(row) @ AXES / 1000.0) - 0.5
    assert np.abs(seen - published_fit_px(row, camera, scale)).max() < 0.01
    # Published landmarks lie under the nearest orthography: near, but not there.
    assert np.linalg.norm(seen - row.landmarks_px, axis=1).mean() < 0.03 * row.box_h


def test_nerfstudio_gives_every_track_a_file(
    export: Export, tmp_path: Path, context: ExportContext, clip: Clip
) -> None:
    both: Clip = []
    for frame, (row,) in clip[:4]:
        other = msgspec.structs.replace(row, track=3, observed=frame.index < 2)
        both.append((frame, [row, other]))
    place = export("nerfstudio", tmp_path, context, both, frames=(0, 2, 3))
    main = json.loads((place / "transforms.json").read_text())
    second = json.loads((place / "transforms_track_3.json").read_text())
    assert [frame["timestep_index"] for frame in main["frames"]] == [0, 2, 3]
    assert [frame["timestep_index"] for frame in second["frames"]] == [0]
    assert sorted(path.name for path in (place / "images").iterdir()) == [
        "000000.jpg",
        "000002.jpg",
        "000003.jpg",
    ]


def test_nerfstudio_of_a_film_without_faces_is_empty_but_whole(
    export: Export, tmp_path: Path, context: ExportContext, clip: Clip
) -> None:
    place = export("nerfstudio", tmp_path, context, [(frame, []) for frame, _ in clip])
    assert json.loads((place / "transforms.json").read_text())["frames"] == []


def read_eg3d(place: Path) -> list[tuple[str, np.ndarray, np.ndarray, dict[str, str]]]:
    """Name, camera to world, intrinsics and residuals of every picture."""
    labels = json.loads((place / "dataset.json").read_text(encoding="utf-8"))["labels"]
    with (place / "residuals.csv").open(encoding="utf-8", newline="") as stream:
        residuals = {row["file"]: row for row in csv.DictReader(stream)}
    found = []
    for name, numbers in labels:
        label = np.array(numbers)
        assert label.shape == (25,)
        found.append((name, label[:16].reshape(4, 4), label[16:].reshape(3, 3), residuals[name]))
    return found


def in_crop(row: FaceObservation, facts: dict[str, str], size: int = 512) -> np.ndarray:
    """(68, 2) published landmarks in the crop, pixels from the centre of the first one."""
    centre = np.array([float(facts["crop_x"]), float(facts["crop_y"])])
    scale = size / float(facts["crop_side"])
    return (row.landmarks_px - centre) * scale + (size - 1) / 2.0


def test_eg3d_forces_focal_length_and_radius_and_says_what_it_costs(
    export: Export, tmp_path: Path, context: ExportContext, clip: Clip
) -> None:
    place = export("eg3d", tmp_path, context, clip, every=8)
    found = read_eg3d(place)
    assert [name for name, *_ in found] == [f"00000/img{i:08d}_0.png" for i in (0, 8, 16)]
    for name, c2w, K, facts in found:
        np.testing.assert_allclose(K, [[4.2647, 0, 0.5], [0, 4.2647, 0.5], [0, 0, 1]], atol=1e-4)
        assert np.linalg.norm(c2w[:3, 3]) == pytest.approx(2.7)
        np.testing.assert_allclose(c2w[3], [0, 0, 0, 1])
        np.testing.assert_allclose(c2w[:3, :3] @ c2w[:3, :3].T, np.eye(3), atol=1e-9)
        assert np.linalg.det(c2w[:3, :3]) == pytest.approx(1.0)
        # A camera before the face, upright: OpenCV's y and z axes against the world's.
        assert c2w[2, 3] > 2.0
        assert c2w[1, 1] < -0.8
        assert c2w[2, 2] < -0.8
        (row,) = clip[int(facts["frame"])][1]
        R = matrix_from_quaternion(np.array([row.qw, row.qx, row.qy, row.qz]))
        # The crop's camera looks at the middle of the crop, and sees the head from there; it
        # stands farther away than the true one.
        middle = context.camera.ray(np.array([float(facts["crop_x"]), float(facts["crop_y"])]))
        apparent = rotation_between(middle, np.array([0.0, 0.0, 1.0])) @ R
        assert angle_between_deg(c2w[:3, :3].T @ AXES, apparent) < 2.5
        picture = cv2.imread(str(place / name))
        assert picture is not None
        assert picture.shape == (512, 512, 3)
        assert 0.0 < float(facts["residual_fitted_px"]) < float(facts["residual_px"]) < 12.0
        assert 2.5 < float(facts["radius_fitted"]) < 3.1
        # The recipe's standard face: eyes 62 mm apart, 29 mm up; 700 / 300 times 100 mm a side.
        eyes = in_crop(row, facts)[[36, 39, 42, 45]] / 512.0
        assert np.abs(eyes[:2].mean(axis=0) - [0.367, 0.376]).max() < 0.06
        assert np.abs(eyes[2:].mean(axis=0) - [0.633, 0.376]).max() < 0.06


def test_the_stated_residual_is_that_of_the_label(
    export: Export, tmp_path: Path, context: ExportContext, clip: Clip
) -> None:
    """The world's size and origin are recovered from labels and landmarks of several frames."""
    found = read_eg3d(export("eg3d", tmp_path, context, clip, every=4))
    rows = [clip[int(facts["frame"])][1][0] for *_, facts in found]
    # World = a * (landmarks, y up, z out) + b is linear; each label gives two equations a point.
    system, right = [], []
    for (_, c2w, _, facts), row in zip(found, rows, strict=True):
        view, place = c2w[:3, :3].T, c2w[:3, 3]
        target = (in_crop(row, facts) + 0.5) / 512.0 - 0.5
        for point, (x, y) in zip(marks_mm(row) @ AXES, target / K_FOCAL, strict=True):
            columns = np.column_stack([view @ point, view])
            for value, axis in ((x, 0), (y, 1)):
                system.append(columns[axis] - value * columns[2])
                right.append((view @ place)[axis] - value * (view @ place)[2])
    size, *origin = np.linalg.lstsq(np.array(system), np.array(right), rcond=None)[0]
    assert 1.0 / size == pytest.approx(370.4, rel=0.05)  # mm in a unit of 0.27 per 100 mm
    assert np.linalg.norm(origin) < 0.35
    for (_, c2w, _, facts), row in zip(found, rows, strict=True):
        world = size * marks_mm(row) @ AXES + origin
        points = (world - c2w[:3, 3]) @ c2w[:3, :3]
        seen = (K_FOCAL * points[:, :2] / points[:, 2:] + 0.5) * 512.0 - 0.5
        off = np.linalg.norm(seen - in_crop(row, facts), axis=1)
        # The best world for all frames cannot be much better than the one that was used.
        assert np.sqrt((off**2).mean()) < float(facts["residual_px"]) + 1.0


def test_the_turn_of_the_head_moves_the_eg3d_camera_the_other_way(
    export: Export, tmp_path: Path, context: ExportContext, clip: Clip
) -> None:
    frame, (row,) = clip[0]
    for angles, axis, sign in (((25.0, 0.0, 0.0), 0, 1.0), ((0.0, 25.0, 0.0), 1, -1.0)):
        R = matrix_from_yaw_pitch_roll(np.array(angles))
        w, x, y, z = quaternion_from_matrix(R).tolist()
        turned = msgspec.structs.replace(row, qw=w, qx=x, qy=y, qz=z, tx=0.0, ty=0.0)
        marks = published_fit_px(turned, context.camera).astype(np.float32)
        turned = msgspec.structs.replace(turned, landmarks=marks.ravel())
        ((_, c2w, _, _),) = read_eg3d(export("eg3d", tmp_path, context, [(frame, [turned])]))
        # Yaw > 0 turns the nose to the picture's left, so the camera sees its left side: the
        # world's x runs to the picture's right, and the camera stands there. Pitch > 0 is up.
        assert sign * c2w[axis, 3] > 0.8


def test_eg3d_mirrors_pictures_and_labels_alike(
    export: Export, tmp_path: Path, context: ExportContext, clip: Clip
) -> None:
    place = export("eg3d", tmp_path, context, clip, frames=(5,), mirror=True)
    (name, c2w, K, _), (mirrored, c2w_mirrored, K_mirrored, _) = read_eg3d(place)
    assert mirrored == name.replace(".png", "_mirror.png")
    one, other = cv2.imread(str(place / name)), cv2.imread(str(place / mirrored))
    assert one is not None
    assert other is not None
    np.testing.assert_array_equal(one, other[:, ::-1])
    np.testing.assert_array_equal(K, K_mirrored)
    assert np.linalg.det(c2w_mirrored[:3, :3]) == pytest.approx(1.0)

    def seen(camera: np.ndarray, world: np.ndarray) -> np.ndarray:
        points = (world - camera[:3, 3]) @ camera[:3, :3]
        return K[0, 0] * points[:, :2] / points[:, 2:] + 0.5

    world = np.random.default_rng(1).uniform(-0.3, 0.3, (20, 3))
    flipped = seen(c2w_mirrored, world * [-1.0, 1.0, 1.0])
    np.testing.assert_allclose(flipped[:, 0], 1.0 - seen(c2w, world)[:, 0])
    np.testing.assert_allclose(flipped[:, 1], seen(c2w, world)[:, 1])
