"""A few weighted points stand for the whole mesh where labels and fit have to agree."""

from importlib import resources
from pathlib import Path

import numpy as np
import pytest

from mien.models.face.camera import Camera
from mien.models.face.crop import crop_from_landmarks
from mien.models.face.morphable import FaceModel
from mien.models.face.perspective import fit_perspective, nearest_scaled_orthography
from mien.models.face.quadrature import Quadrature
from mien.models.face.rotation import (
    angle_between_deg,
    matrix_from_yaw_pitch_roll,
    rotation_between,
)


@pytest.fixture(scope="module")
def model() -> FaceModel:
    return FaceModel.load(
        Path(str(resources.files("mien.models.weights.default"))) / "face_model.npz"
    )


def test_sums_are_those_over_all_vertices(model: FaceModel) -> None:
    quadrature = Quadrature.of(model)
    rng = np.random.default_rng(0)
    shape = rng.normal(size=40).astype(np.float32)
    blendshapes = rng.uniform(size=52).astype(np.float32)
    vertices = model.decode(shape, None, blendshapes)
    points = quadrature.points.decode(shape, None, blendshapes)
    assert quadrature.weights.sum() == pytest.approx(1.0)
    np.testing.assert_allclose(quadrature.weights @ points, vertices.mean(axis=0), atol=1e-3)
    spread = np.cov(vertices.T, bias=True)
    quick = np.cov(points.T, bias=True, aweights=quadrature.weights)
    np.testing.assert_allclose(np.diag(quick), np.diag(spread), rtol=0.07)


def test_the_pose_comes_back_over_the_whole_view(model: FaceModel) -> None:
    """Labels of all vertices, fitted by the few: well under half a degree from 350 mm on."""
    quadrature = Quadrature.of(model)
    camera = Camera.from_fov(640, 480)
    rng = np.random.default_rng(1)
    for _ in range(150):
        depth = np.exp(rng.uniform(np.log(350.0), np.log(3000.0)))
        ray = camera.ray(rng.uniform([0.0, 0.0], [639.0, 479.0]))
        t = ray / ray[2] * depth
        angles = rng.uniform([-90.0, -40.0, -40.0], [90.0, 40.0, 40.0])
        R = rotation_between(np.array([0.0, 0.0, 1.0]), ray) @ matrix_from_yaw_pitch_roll(angles)
        shape = rng.normal(size=40).astype(np.float32)
        blendshapes = rng.uniform(0.0, 0.5, 52).astype(np.float32)
        vertices = model.decode(shape, None, blendshapes).astype(np.float64)
        pixels = camera.project(vertices @ R.T + t)
        marks = pixels[model.landmark_vertices]
        crop = crop_from_landmarks(marks)
        label = nearest_scaled_orthography(vertices, crop.from_image(pixels))
        points = quadrature.points.decode(shape, None, blendshapes)
        pose = fit_perspective(label, crop, camera, points, quadrature.weights)
        assert float(angle_between_deg(pose.rotation, R)) < 0.3
        assert np.linalg.norm(pose.translation_mm - t) < 0.005 * depth
        seen = camera.project(pose.apply(vertices[model.landmark_vertices]))
        box = float(np.sqrt(np.prod(np.ptp(marks, axis=0))))
        assert np.abs(seen - marks).mean() < 0.001 * box
