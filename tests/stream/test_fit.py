"""From a network's numbers to a measured pose: variances, refits, and what cannot be a face."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

import numpy as np
import pytest
from msgspec.structs import replace

from mien.models.face.camera import Camera
from mien.models.face.crop import Crop, crop_from_landmarks
from mien.models.face.morphable import FaceModel
from mien.models.face.perspective import (
    apply_orthography,
    nearest_scaled_orthography,
    split_orthography,
)
from mien.models.face.rotation import matrix_from_yaw_pitch_roll, rotation_vector_from_matrix
from mien.stream.candidate import Candidate
from mien.stream.fit import FaceFitter
from mien.stream.regression import Regression

CAMERA = Camera.from_fov(640, 480)
T = np.array([-90.0, 40.0, 450.0])
R = matrix_from_yaw_pitch_roll(np.array([35.0, 10.0, -12.0]))


class Told:
    """A network that says what it is told to."""

    def __init__(self) -> None:
        self.params = np.zeros(62, np.float32)
        self.log_variance = np.zeros(62, np.float32)

    def run(self, crops: np.ndarray) -> Regression:
        n = len(crops)
        return Regression(
            np.repeat(self.params[None], n, axis=0),
            np.repeat(self.log_variance[None], n, axis=0),
            np.zeros((n, 52), np.float32),
            np.ones(n, np.float32),
        )


@pytest.fixture(scope="module")
def model() -> FaceModel:
    folder = Path(str(resources.files("mien.models.weights.default")))
    return FaceModel.load(folder / "face_model.npz")


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def fitter(model: FaceModel, told: Told) -> FaceFitter:
    return FaceFitter(model, told)


def crop_of(model: FaceModel, shape: np.ndarray) -> tuple[np.ndarray, np.ndarray, Crop]:
    """Vertices, their pixels and the nominal crop of a face at the fixed pose."""
    vertices = model.decode(shape.astype(np.float32)).astype(np.float64)
    pixels = CAMERA.project(vertices @ R.T + T)
    return vertices, pixels, crop_from_landmarks(pixels[model.landmark_vertices])


def seen(fitter: FaceFitter, told: Told, shape: np.ndarray) -> Candidate:
    vertices, pixels, crop = crop_of(fitter.model, shape)
    label = nearest_scaled_orthography(vertices, crop.from_image(pixels))
    told.params[:12] = label.reshape(-1)
    told.params[12:52] = shape
    candidate = fitter.look(np.zeros((480, 640, 3), np.uint8), [crop])[0]
    assert candidate is not None
    return candidate


def test_variance_is_what_noise_on_the_matrix_does(fitter: FaceFitter, told: Told) -> None:
    sd = np.full((3, 4), 0.004)
    sd[:2, 3] = 0.4
    told.log_variance[:12] = np.log(sd.reshape(-1) ** 2)
    candidate = seen(fitter, told, np.zeros(40))
    plain = fitter.measure(candidate, candidate.shape, CAMERA)
    assert plain is not None
    rng = np.random.default_rng(0)
    samples = []
    for _ in range(400):
        noisy = candidate.orthography + rng.normal(size=(3, 4)) * sd
        turned, scale, shift = split_orthography(noisy)
        matrix = np.concatenate([scale * turned, [[shift[0]], [shift[1]], [0.0]]], axis=1)
        found = fitter.measure(replace(candidate, orthography=matrix), candidate.shape, CAMERA)
        assert found is not None
        x, y, z = found.pose.pose.translation_mm
        turn = rotation_vector_from_matrix(found.pose.pose.rotation @ plain.pose.pose.rotation.T)
        samples.append([*turn, x / z, y / z, np.log(z)])
    measured = np.var(np.array(samples), axis=0)
    # The close-up couples rotation, place and distance a little, which the formula leaves out.
    np.testing.assert_allclose(plain.pose.variance, measured, rtol=0.4)


def test_a_filtered_shape_leaves_the_points_in_place(fitter: FaceFitter, told: Told) -> None:
    rng = np.random.default_rng(1)
    own = rng.normal(size=40) * 0.5
    candidate = seen(fitter, told, own)
    other = own + rng.normal(size=40) * 0.3
    kept = fitter.measure(candidate, other, CAMERA)
    naive = fitter.measure(replace(candidate, shape=other), other, CAMERA)
    assert kept is not None
    assert naive is not None
    _, pixels, _ = crop_of(fitter.model, own)
    marks = pixels[fitter.model.landmark_vertices]
    vertices = fitter.model.decode(other.astype(np.float32)).astype(np.float64)
    errors = [
        np.abs(CAMERA.project(m.pose.pose.apply(vertices[fitter.model.landmark_vertices])) - marks)
        for m in (kept, naive)
    ]
    assert errors[0].mean() < errors[1].mean()


def test_landmarks_of_the_orthography_are_near_the_true_ones(
    fitter: FaceFitter, told: Told
) -> None:
    candidate = seen(fitter, told, np.zeros(40))
    _, pixels, crop = crop_of(fitter.model, np.zeros(40))
    marks = pixels[fitter.model.landmark_vertices]
    assert np.abs(candidate.landmarks_px - marks).mean() < 0.03 * crop.side
    assert candidate.plausible(640, 480)
    assert not candidate.plausible(120, 100), "outside of so small a frame"


def test_a_networks_shear_stays_in_its_landmarks_and_the_mean_in_place(
    fitter: FaceFitter, told: Told
) -> None:
    crop = seen(fitter, told, np.zeros(40)).crop
    told.params[0] *= 1.1
    candidate = fitter.look(np.zeros((480, 640, 3), np.uint8), [crop])[0]
    assert candidate is not None
    matrix = told.params[:12].reshape(3, 4).astype(np.float64)
    vertices = fitter.model.decode(np.zeros(40, np.float32)).astype(np.float64)
    own = apply_orthography(matrix, vertices)
    rigid = apply_orthography(candidate.orthography, vertices)
    marks = crop.to_image(own[fitter.model.landmark_vertices])
    np.testing.assert_allclose(candidate.landmarks_px, marks, atol=1e-3)
    assert np.abs(own - rigid).max() > 1.0
    np.testing.assert_allclose(own.mean(axis=0), rigid.mean(axis=0), atol=1e-3)


@pytest.mark.parametrize(
    "change", [{3: 200.0}, {0: 0.0, 5: 0.0, 10: 0.0}, {0: 3.0, 5: 3.0, 10: 3.0}]
)
def test_what_does_not_fill_its_crop_as_a_face_is_not_plausible(
    fitter: FaceFitter, told: Told, change: dict[int, float]
) -> None:
    told.params[[0, 5, 10]] = 0.6
    told.params[[3, 7]] = 59.5
    for index, value in change.items():
        told.params[index] = value
    candidate = fitter.look(np.zeros((480, 640, 3), np.uint8), [Crop(320.0, 240.0, 150.0)])[0]
    assert candidate is None or not candidate.plausible(640, 480)


def test_numbers_that_are_none_are_no_face(fitter: FaceFitter, told: Told) -> None:
    told.params[:] = np.nan
    assert fitter.look(np.zeros((9, 9, 3), np.uint8), [Crop(4.0, 4.0, 9.0)]) == [None]
    assert fitter.look(np.zeros((9, 9, 3), np.uint8), []) == []


def test_a_face_behind_the_camera_is_not_measured(fitter: FaceFitter, told: Told) -> None:
    told.params[[0, 5, 10]] = 0.6
    told.params[[3, 7]] = 59.5
    huge = fitter.look(np.zeros((480, 640, 3), np.uint8), [Crop(320.0, 240.0, 9000.0)])[0]
    assert huge is not None
    assert fitter.measure(huge, huge.shape, CAMERA) is None
