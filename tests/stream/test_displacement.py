"""Frames of one face aligned, on a mesh whose skin has a random texture, so that truth is exact."""

from __future__ import annotations

from dataclasses import dataclass, replace

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mien.models.face.bundle import Bundle
from mien.models.face.camera import Camera
from mien.models.face.crop import Crop, crop_from_landmarks, extract
from mien.models.face.morphable import FaceModel
from mien.models.face.perspective import PerspectivePose
from mien.models.face.rotation import (
    matrix_from_quaternion,
    quaternion_from_rotation_vector,
    quaternion_multiply,
    rotation_vector_from_quaternion,
)
from mien.models.render.raster import rasterise
from mien.stream import FaceTracker
from mien.stream.displacement import Alignment, DisplacementMeter, firm_points
from mien.stream.fit import FaceFitter
from mien.stream.smoother import FaceMeasurement, PoseMeasurement, SmoothingConfig
from mien.stream.smoother.displacement_tuning import DisplacementTuning
from mien.stream.smoother.pose import view_coordinates
from mien.stream.smoother.tuning import Tuning
from mien.stream.sources import open_source
from mien.tools.demo import demo_clip

CAMERA = Camera.from_fov(320, 240, 40.0)
DEGREE = np.pi / 180
BELIEVING = SmoothingConfig(
    tuning=replace(Tuning.default(), displacement=DisplacementTuning((3.0, 3.0, 3.0)))
)
FRONTAL = PerspectivePose(np.array([1.0, 0.0, 0.0, 0.0]), np.array([5.0, 10.0, 520.0]))


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return Bundle.default()


@dataclass(frozen=True)
class Skin:
    """The mean face with waves of grey on it, 10 to 30 mm long."""

    model: FaceModel
    seed: int

    def picture(self, pose: PerspectivePose) -> np.ndarray:
        """(240, 320, 3) of the face before a black wall."""
        R, t = matrix_from_quaternion(pose.quat_wxyz), pose.translation_mm
        vertices = self.model.mean @ R.T + t
        points = np.concatenate([CAMERA.project(vertices), vertices[:, 2:]], axis=1)
        seen = rasterise(points.astype(np.float32), self.model.triangles, 240, 320)
        hit = seen.triangle >= 0
        corners = self.model.mean[self.model.triangles[seen.triangle[hit]]]
        places = np.einsum("nk,nkc->nc", seen.barycentric[hit], corners)
        rng = np.random.default_rng(self.seed)
        grey = np.full(len(places), 128.0)
        for _ in range(24):
            wave = rng.normal(size=3)
            wave *= 2 * np.pi / (np.linalg.norm(wave) * rng.uniform(10.0, 30.0))
            grey += 12.0 * np.sin(places @ wave + rng.uniform(0, 6.3))
        image = np.zeros((240, 320, 3))
        image[hit] = np.clip(grey, 0, 255)[:, None]
        return image.astype(np.uint8)

    def crop(self, pose: PerspectivePose) -> Crop:
        marks = self.model.mean[self.model.landmark_vertices]
        R = matrix_from_quaternion(pose.quat_wxyz)
        return crop_from_landmarks(CAMERA.project(marks @ R.T + pose.translation_mm))


def moved(pose: PerspectivePose, by: np.ndarray) -> PerspectivePose:
    """By a displacement, as :class:`Displacement` counts it."""
    quat = quaternion_multiply(quaternion_from_rotation_vector(by[:3]), pose.quat_wxyz)
    x, y, log_z = view_coordinates(pose.translation_mm) + by[3:]
    z = np.exp(log_z)
    return PerspectivePose(quat, np.array([x * z, y * z, z]))


class Follower:
    """Compares pictures whose measured poses are off the true ones by what a test says.

    Args:
        meter: of the alignment under test.
        fitter: makes candidates, of which only the pixels and the crop are then true.
    """

    def __init__(self, meter: DisplacementMeter, fitter: FaceFitter) -> None:
        self._meter = meter
        self._blank = fitter.average_face()

    def see(
        self,
        image: np.ndarray,
        crop: Crop,
        pose: PerspectivePose,
        off: np.ndarray | None = None,
        camera: Camera = CAMERA,
    ) -> np.ndarray | None:
        """(12,) displacement and its variance since the picture before."""
        measured = pose if off is None else moved(pose, off)
        candidate = msgspec.structs.replace(self._blank, crop=crop, pixels=extract(image, crop))
        seen = FaceMeasurement(
            PoseMeasurement(measured, np.full(6, 1e-4)), np.zeros(10), np.ones(10), None
        )
        found = self._meter.compare(candidate, seen, np.zeros(40), 1.0, camera).displacement
        self._meter.believe(pose)
        return None if found is None else np.concatenate([found.by, found.variance])


@pytest.fixture
def follower(bundle: Bundle) -> Follower:
    fitter = FaceFitter.of_bundle(bundle)
    return Follower(fitter.displacement_meter(), fitter)


def pose_of(yaw: float, pitch: float, roll: float, z_mm: float) -> PerspectivePose:
    """About the camera's axes, degrees."""
    vector = np.array([pitch, yaw, roll]) * DEGREE
    return PerspectivePose(quaternion_from_rotation_vector(vector), np.array([8.0, -12.0, z_mm]))


def test_firm_points_lie_on_the_front_of_the_face_but_not_on_what_moves(bundle: Bundle) -> None:
    model = bundle.face_model
    vertices, normals = firm_points(model)
    assert len(set(vertices.tolist())) == len(vertices) > 300
    np.testing.assert_allclose(np.linalg.norm(normals, axis=1), 1.0, atol=1e-5)
    points, marks = model.mean[vertices], model.mean[model.landmark_vertices]
    for moving in (*range(36, 48), *range(49, 54), *range(55, 68), 8):
        assert np.linalg.norm(points - marks[moving], axis=1).min() > 2.0
    blink = model.blendshape_basis[:, vertices]
    assert (
        np.linalg.norm(blink, axis=-1).mean()
        < 0.6
        * np.linalg.norm(model.blendshape_basis, axis=-1)[:, np.unique(model.triangles)].mean()
    )


@given(
    st.integers(0, 9), st.floats(-35, 35), st.floats(-15, 15), st.floats(-20, 20),
    st.floats(420, 700), st.lists(st.floats(-1, 1), min_size=12, max_size=12),
)  # fmt: skip
@settings(max_examples=25, deadline=None)
def test_a_known_motion_is_found(
    bundle: Bundle, seed: int, yaw: float, pitch: float, roll: float, z_mm: float,
    chance: list[float],
) -> None:  # fmt: skip
    """From any pose, in another crop, and though both measurements are off by degrees."""
    fitter = FaceFitter.of_bundle(bundle)
    follower, skin = Follower(fitter.displacement_meter(), fitter), Skin(bundle.face_model, seed)
    step = np.array(chance[:6]) * np.array([3.0, 3.0, 3.0, 0.6, 0.6, 0.6]) * DEGREE
    off = np.array(chance[6:]) * np.array([2.0, 2.0, 1.0, 0.3, 0.3, 0.6]) * DEGREE
    before = pose_of(yaw, pitch, roll, z_mm)
    after = moved(before, step)
    assert follower.see(skin.picture(before), skin.crop(before), before) is None
    found = follower.see(skin.picture(after), skin.crop(after), after, off)
    assert found is not None
    tolerance = np.repeat([0.1 * DEGREE, 2e-4, 5e-4], [3, 2, 1])
    normalised = np.abs(found[:6] - step) / np.sqrt(found[6:] + tolerance**2)
    assert normalised.max() < 6.0


def test_light_that_changes_is_no_motion(bundle: Bundle, follower: Follower) -> None:
    skin = Skin(bundle.face_model, 1)
    image, crop = skin.picture(FRONTAL), skin.crop(FRONTAL)
    follower.see(image, crop, FRONTAL)
    darker = (image * 0.6 + 30).astype(np.uint8)
    off = np.array([1.0, -1.0, 0.5, 0.2, -0.2, 0.3]) * DEGREE
    found = follower.see(darker, crop, FRONTAL, off)
    assert found is not None
    assert np.abs(found[:3]).max() < 0.05 * DEGREE
    assert np.abs(found[3:6]).max() < 2e-4


def test_another_crop_of_the_same_picture_is_no_motion(bundle: Bundle, follower: Follower) -> None:
    skin = Skin(bundle.face_model, 2)
    image, crop = skin.picture(FRONTAL), skin.crop(FRONTAL)
    follower.see(image, crop, FRONTAL)
    other = Crop(crop.cx + 3.3, crop.cy - 2.1, 1.1 * crop.side)
    found = follower.see(image, other, FRONTAL)
    assert found is not None
    assert np.abs(found[:3]).max() < 0.15 * DEGREE
    assert np.abs(found[3:6]).max() < 8e-4


def test_in_noise_the_stated_variance_tells_how_large_errors_are(
    bundle: Bundle, follower: Follower
) -> None:
    skin, rng = Skin(bundle.face_model, 3), np.random.default_rng(0)
    clean, crop = skin.picture(FRONTAL).astype(np.float64), skin.crop(FRONTAL)
    rows = []
    for _ in range(60):
        noisy = np.clip(clean + 12.0 * rng.normal(size=clean.shape), 0, 255).astype(np.uint8)
        found = follower.see(noisy, crop, FRONTAL)
        if found is not None:
            rows.append(found[:6] ** 2 / found[6:])
    assert len(rows) == 59
    assert 0.5 < np.mean(rows) < 4.0


def test_a_face_out_of_sight_says_nothing(bundle: Bundle, follower: Follower) -> None:
    skin = Skin(bundle.face_model, 4)
    away = pose_of(175.0, 0.0, 0.0, 500.0)
    for pose in (away, away):
        assert follower.see(skin.picture(pose), skin.crop(FRONTAL), pose) is None
    aside = Crop(20.0, 20.0, 40.0)
    follower.see(skin.picture(FRONTAL), skin.crop(FRONTAL), FRONTAL)
    assert follower.see(skin.picture(FRONTAL), aside, FRONTAL) is None
    flat = np.full((240, 320, 3), 90, np.uint8)
    follower.see(flat, skin.crop(FRONTAL), FRONTAL)
    nothing = follower.see(flat, skin.crop(FRONTAL), FRONTAL)
    # No texture: the motion of the measurements stands, with all the doubt there can be.
    assert nothing is not None
    assert nothing[6:9].min() > (10 * DEGREE) ** 2


def test_after_forgetting_there_is_nothing_to_compare_with(bundle: Bundle) -> None:
    fitter = FaceFitter.of_bundle(bundle)
    meter = DisplacementMeter(Alignment(bundle.face_model))
    follower, skin = Follower(meter, fitter), Skin(bundle.face_model, 5)
    image, crop = skin.picture(FRONTAL), skin.crop(FRONTAL)
    follower.see(image, crop, FRONTAL)
    assert follower.see(image, crop, FRONTAL) is not None
    meter.forget()
    assert follower.see(image, crop, FRONTAL) is None


def test_frames_of_two_cameras_are_not_compared(bundle: Bundle, follower: Follower) -> None:
    """Their poses are in two frames of reference: the picture's size changed in mid-stream."""
    skin = Skin(bundle.face_model, 6)
    image, crop = skin.picture(FRONTAL), skin.crop(FRONTAL)
    follower.see(image, crop, FRONTAL)
    other = Camera.from_fov(320, 240, 60.0)
    assert follower.see(image, crop, FRONTAL, camera=other) is None
    assert follower.see(image, crop, FRONTAL, camera=other) is not None


def demo_frame() -> np.ndarray:
    """The first picture of the embedded clip."""
    with demo_clip() as path, open_source(path) as source:
        return next(iter(source)).image_bgr


def test_a_still_face_in_noise_is_held_still_by_the_tracker() -> None:
    """The same frame in new noise: what displacements add to the filter, end to end."""
    frame = demo_frame()
    rng = np.random.default_rng(0)
    noisy = [
        np.clip(frame + 6.0 * rng.normal(size=frame.shape), 0, 255).astype(np.uint8)
        for _ in range(70)
    ]
    jitter = []
    for smoothing in ("raw", BELIEVING):
        with FaceTracker(smoothing=smoothing) as tracker:
            rows = [tracker.update(image, round(k * 1e9 / 30)) for k, image in enumerate(noisy)]
        quats = np.array([[r[0].qw, r[0].qx, r[0].qy, r[0].qz] for r in rows[20:]])
        turns = rotation_vector_from_quaternion(quats)
        second = turns[2:] - 2 * turns[1:-1] + turns[:-2]
        jitter.append(np.sqrt(np.mean(second**2)))
    assert jitter[1] < 0.2 * jitter[0]


def test_raw_tracking_is_led_by_displacements_but_does_not_publish_them(bundle: Bundle) -> None:
    """Where to look next is the filter's business; what is said is what the network said."""
    frame = demo_frame()
    for smoothing in (BELIEVING, replace(BELIEVING, publish_raw=True)):
        with FaceTracker(bundle, smoothing=smoothing) as tracker:
            # How restless measurements are is known only after a few frames.
            rows = [tracker.update(frame, k * 33_000_000) for k in range(12)][-1]
            assert all(step is not None and step.displaced is not None for step in tracker.steps)
            measured = tracker.steps[0].measured if tracker.steps[0] else None
        assert measured is not None
        assert measured.quat_wxyz is not None
        said = np.array([rows[0].qw, rows[0].qx, rows[0].qy, rows[0].qz])
        same = np.abs(said - measured.quat_wxyz).max() < 1e-9
        assert same == smoothing.publish_raw
