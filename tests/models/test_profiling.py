"""Face profiling: the pixels follow the mesh."""

from __future__ import annotations

from importlib.resources import as_file, files

import cv2
import numpy as np
import pytest

from mien.models.face.camera import Camera
from mien.models.face.morphable import FaceModel
from mien.models.face.rotation import matrix_from_yaw_pitch_roll
from mien.models.noise.profiling import turn_in_head_frame, warp_face

CAMERA = Camera.from_fov(320, 320)


@pytest.fixture(scope="module")
def model() -> FaceModel:
    with as_file(files("mien.models.weights.default") / "face_model.npz") as path:
        return FaceModel.load(path)


def noise_picture() -> np.ndarray:
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 255, (40, 40, 3), dtype=np.uint8)
    return np.asarray(cv2.resize(coarse, (320, 320), interpolation=cv2.INTER_CUBIC), np.uint8)


def place(points: np.ndarray) -> np.ndarray:
    return points.astype(np.float64) + [0.0, -20.0, 420.0]


def test_no_movement_changes_nothing(model: FaceModel) -> None:
    image = noise_picture()
    mesh = place(model.mean)
    np.testing.assert_array_equal(warp_face(image, mesh, mesh, model.triangles, CAMERA), image)


@pytest.mark.parametrize("yaw", [-12.0, 8.0, 15.0])
def test_a_mark_on_the_face_moves_with_its_vertex(model: FaceModel, yaw: float) -> None:
    turned = turn_in_head_frame(
        model.mean.astype(np.float64), matrix_from_yaw_pitch_roll(np.array([yaw, 5.0, 3.0]))
    )
    for landmark in (27, 30, 33, 51, 57, 39, 42):
        vertex = model.landmark_vertices[landmark]
        image = np.zeros((320, 320, 3), np.uint8)
        at = CAMERA.project(place(model.mean[[vertex]]))[0]
        cv2.circle(image, tuple(np.round(at).astype(int).tolist()), 3, (255, 255, 255), -1)
        warped = warp_face(image, place(model.mean), place(turned), model.triangles, CAMERA)
        rows, columns = np.nonzero(warped[..., 0] > 100)
        seen = np.array([columns.mean(), rows.mean()])
        wanted = CAMERA.project(place(turned[[vertex]]))[0] + np.round(at) - at
        assert np.linalg.norm(seen - wanted) < 1.5, landmark


def test_the_far_background_stays(model: FaceModel) -> None:
    image = noise_picture()
    turned = turn_in_head_frame(
        model.mean.astype(np.float64), matrix_from_yaw_pitch_roll(np.array([12.0, 0.0, 0.0]))
    )
    far = place(model.mean) + [0, 0, 900]
    warped = warp_face(image, far, place(turned) + [0, 0, 900], model.triangles, CAMERA)
    np.testing.assert_array_equal(warped[:20], image[:20])
    assert (warped != image).any()
