"""A placed face: its labels follow every turn and similarity, and come back with the inverse."""

from __future__ import annotations

from importlib.resources import as_file, files

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mien.models.errors import InputError
from mien.models.face.camera import Camera
from mien.models.face.morphable import FaceModel
from mien.models.face.perspective import apply_orthography, nearest_scaled_orthography
from mien.models.face.rotation import angle_between_deg, matrix_from_yaw_pitch_roll
from mien.models.noise.placed_face import LabelledFaces, PlacedFace, fit_projection
from mien.models.noise.profiling import HEAD_CENTRE_MM, turn_in_head_frame
from mien.models.noise.video import compose, inverse, similarity
from mien.models.regressor.dataset import moved_points, moved_pose

with as_file(files("mien.models.weights.default") / "face_model.npz") as _path:
    MODEL = FaceModel.load(_path)
CAMERA = Camera.from_fov(320, 240)
POINTS = [*MODEL.landmark_vertices.tolist(), *range(3, len(MODEL.mean), 31)]
LABELLED = LabelledFaces(MODEL, POINTS)

angles = st.tuples(st.floats(-60, 60), st.floats(-30, 30), st.floats(-30, 30))
small_turns = st.tuples(st.floats(-20, 20), st.floats(-20, 20)).map(
    lambda a: matrix_from_yaw_pitch_roll(np.array([*a, 0.0]))
)
similarities = st.builds(
    lambda scale, turn, x, y: similarity(scale, turn, np.array([x, y]), np.array([160.0, 120.0])),
    st.floats(0.5, 2.0),
    st.floats(-180, 180),
    st.floats(-50, 50),
    st.floats(-50, 50),
)


def orthographic(pose_angles: tuple[float, float, float]) -> PlacedFace:
    rotation = matrix_from_yaw_pitch_roll(np.array(pose_angles))
    pose = np.column_stack([0.6 * rotation, [70.0, 65.0, 0.0]])
    return PlacedFace.orthographic(MODEL.mean, MODEL.triangles, pose)


def perspective(
    pose_angles: tuple[float, float, float], place: tuple[float, float, float] = (40, -30, 420)
) -> PlacedFace:
    rotation = matrix_from_yaw_pitch_roll(np.array(pose_angles))
    place_mm = np.array(place, np.float64)
    return PlacedFace.perspective(MODEL.mean, MODEL.triangles, rotation, place_mm, CAMERA)


def labelled(seed: int) -> PlacedFace:
    """Labels of a shard's kind: pose and points of a true mesh that the model cannot quite say."""
    rng = np.random.default_rng(seed)
    shape = rng.normal(0, 0.7, 40).astype(np.float32)
    blendshapes = (rng.random(52) ** 4).astype(np.float32)
    true = MODEL.decode(shape, blendshapes=blendshapes).astype(np.float64)
    true += 1.5 * np.sin(true / 40.0 + rng.uniform(0, 6, 3))
    rotation = matrix_from_yaw_pitch_roll(rng.normal(0, (35, 12, 8)))
    pixels = CAMERA.project(true @ rotation.T + (60.0, 20.0, 500.0))
    pose = nearest_scaled_orthography(true, pixels)
    return LABELLED.place(shape, blendshapes, pose, pixels[POINTS])


LABELLED_FACE = labelled(3)


@settings(max_examples=25, deadline=None)
@given(angles=angles)
def test_a_pose_and_its_pixels_are_those_that_were_given(
    angles: tuple[float, float, float],
) -> None:
    face = orthographic(angles)
    rotation = matrix_from_yaw_pitch_roll(np.array(angles))
    np.testing.assert_allclose(face.pose[:, :3], 0.6 * rotation, atol=1e-9)
    np.testing.assert_allclose(face.pose[:, 3], [70, 65, 0], atol=1e-9)
    np.testing.assert_allclose(face.pixels, apply_orthography(face.pose, MODEL.mean), atol=1e-9)
    seen = perspective(angles)
    placed = MODEL.mean @ rotation.T + (40, -30, 420)
    np.testing.assert_allclose(seen.pixels, CAMERA.project(placed), atol=1e-9)
    nearest = nearest_scaled_orthography(MODEL.mean, seen.pixels)
    np.testing.assert_allclose(seen.pose, nearest, atol=1e-9)


@settings(max_examples=25, deadline=None)
@given(angles=angles, affine=similarities, turn=small_turns)
def test_a_change_and_its_inverse_restore_the_labels(
    angles: tuple[float, float, float], affine: np.ndarray, turn: np.ndarray
) -> None:
    for face in (orthographic(angles), perspective(angles), LABELLED_FACE):
        for again in (
            face.moved(affine).moved(inverse(affine)),
            face.turned(turn).turned(turn.T),
            face.turned(turn).moved(affine).turned(turn.T).moved(inverse(affine)),
        ):
            np.testing.assert_allclose(again.pixels, face.pixels, atol=1e-7)
            np.testing.assert_allclose(again.pose, face.pose, atol=1e-7)
            np.testing.assert_allclose(again.depth_mm, face.depth_mm, atol=1e-6)


@settings(max_examples=25, deadline=None)
@given(affine=similarities, turn=small_turns)
def test_turns_and_similarities_commute_and_accumulate(
    affine: np.ndarray, turn: np.ndarray
) -> None:
    face = LABELLED_FACE
    one, other = face.turned(turn).moved(affine), face.moved(affine).turned(turn)
    np.testing.assert_allclose(one.pixels, other.pixels, atol=1e-7)
    np.testing.assert_allclose(one.pose, other.pose, atol=1e-7)
    twice = face.moved(affine).moved(affine)
    np.testing.assert_allclose(twice.pixels, face.moved(compose(affine, affine)).pixels, atol=1e-6)
    np.testing.assert_allclose(
        face.turned(turn).turned(turn).pixels, face.turned(turn @ turn).pixels, atol=1e-7
    )


@settings(max_examples=25, deadline=None)
@given(affine=similarities)
def test_a_similarity_moves_labels_as_it_does_in_training(affine: np.ndarray) -> None:
    face = LABELLED_FACE
    moved = face.moved(affine)
    np.testing.assert_allclose(
        moved.pose, moved_pose(face.pose.astype(np.float32), affine.astype(np.float32)), atol=2e-3
    )
    np.testing.assert_allclose(
        moved.pixels,
        moved_points(face.pixels.astype(np.float32), affine.astype(np.float32)),
        atol=2e-3,
    )


@settings(max_examples=25, deadline=None)
@given(angles=angles, turn=small_turns)
def test_an_orthographic_turn_is_the_paper_s_formula(
    angles: tuple[float, float, float], turn: np.ndarray
) -> None:
    """``R_new = R dR``, translation plus ``f R (I - dR) s_c``."""
    face = orthographic(angles)
    turned = face.turned(turn)
    linear = face.pose[:, :3]
    np.testing.assert_allclose(turned.pose[:, :3], linear @ turn, atol=1e-9)
    offset = linear @ (np.eye(3) - turn) @ HEAD_CENTRE_MM
    np.testing.assert_allclose(turned.pose[:2, 3], face.pose[:2, 3] + offset[:2], atol=1e-9)
    mesh = turn_in_head_frame(MODEL.mean.astype(np.float64), turn)
    np.testing.assert_allclose(turned.pixels, apply_orthography(face.pose, mesh), atol=1e-9)


@settings(max_examples=25, deadline=None)
@given(angles=angles, turn=small_turns)
def test_a_turn_before_a_camera_is_the_true_one(
    angles: tuple[float, float, float], turn: np.ndarray
) -> None:
    face = perspective(angles).turned(turn)
    rotation = matrix_from_yaw_pitch_roll(np.array(angles))
    mesh = turn_in_head_frame(MODEL.mean.astype(np.float64), turn)
    pixels = CAMERA.project(mesh @ rotation.T + (40, -30, 420))
    np.testing.assert_allclose(face.pixels, pixels, atol=1e-8)
    np.testing.assert_allclose(face.pose, nearest_scaled_orthography(MODEL.mean, pixels), atol=1e-8)


@settings(max_examples=25, deadline=None)
@given(angles=angles, distance=st.floats(350, 3000))
def test_perspective_is_found_from_points(
    angles: tuple[float, float, float], distance: float
) -> None:
    face = perspective(angles, (0.2 * distance, 0.1 * distance, distance))
    known = [*POINTS[:68], *POINTS[68::3]]
    found = fit_projection(face.vertices_mm[known], face.pixels[known])
    truth = face.projection / face.projection[2, 3]
    np.testing.assert_allclose(found / found[2, 3], truth, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("seed", range(4))
def test_labels_of_a_shard_are_met_exactly_and_turn_nearly_as_the_true_head(seed: int) -> None:
    rng = np.random.default_rng(seed)
    shape = rng.normal(0, 0.7, 40).astype(np.float32)
    blendshapes = (rng.random(52) ** 4).astype(np.float32)
    true = MODEL.decode(shape, blendshapes=blendshapes).astype(np.float64)
    true += 1.5 * np.sin(true / 40.0 + rng.uniform(0, 6, 3))
    rotation = matrix_from_yaw_pitch_roll(rng.normal(0, (35, 12, 8)))
    place = (60.0, 20.0, 500.0)
    pixels = CAMERA.project(true @ rotation.T + place)
    pose = nearest_scaled_orthography(true, pixels)
    face = LABELLED.place(shape, blendshapes, pose, pixels[POINTS])
    np.testing.assert_allclose(face.pixels[POINTS], pixels[POINTS], atol=1e-6)
    np.testing.assert_allclose(face.pose, pose, atol=1e-9)
    for angle in ((12.0, 0.0, 0.0), (-8.0, 10.0, 0.0)):
        turn = matrix_from_yaw_pitch_roll(np.array(angle))
        turned = face.turned(turn)
        wanted = CAMERA.project(turn_in_head_frame(true, turn) @ rotation.T + place)
        size = np.ptp(pixels[:, 1])
        error = np.linalg.norm(turned.pixels - wanted, axis=1) / size
        assert error[MODEL.landmark_vertices].mean() < 0.004
        nearest = nearest_scaled_orthography(true, wanted)
        scales = np.linalg.norm(nearest[0, :3]), np.linalg.norm(turned.pose[0, :3])
        assert scales[0] == pytest.approx(scales[1], rel=0.01)
        apart = angle_between_deg(nearest[:, :3] / scales[0], turned.pose[:, :3] / scales[1])
        assert float(apart) < 0.5


def test_points_that_are_not_known_are_left_out() -> None:
    whole = labelled(7)
    points = whole.pixels[POINTS].copy()
    points[::4] = np.nan
    rng = np.random.default_rng(7)
    shape = rng.normal(0, 0.7, 40).astype(np.float32)
    blendshapes = (rng.random(52) ** 4).astype(np.float32)
    face = LABELLED.place(shape, blendshapes, whole.pose, points)
    known = np.isfinite(points[:, 0])
    np.testing.assert_allclose(face.pixels[POINTS][known], points[known], atol=1e-6)
    assert np.linalg.norm(face.pixels - whole.pixels, axis=1).mean() < 0.5
    points[5:] = np.nan
    with pytest.raises(InputError, match="3 points are known"):
        LABELLED.place(shape, blendshapes, whole.pose, points)


def test_a_side_whose_points_are_unknown_stays_finite() -> None:
    """A mirrored picture lacks whole neighbourhoods of points."""
    pose = np.column_stack([0.6 * np.eye(3), [70.0, 65.0, 0.0]]).astype(np.float32)
    points = apply_orthography(pose.astype(np.float64), MODEL.mean[POINTS]).astype(np.float32)
    points[MODEL.mean[POINTS, 0] > 5.0] = np.nan
    none = np.zeros(52, np.float32)
    face = LABELLED.place(np.zeros(40, np.float32), none, pose, points)
    assert np.isfinite(face.pixels).all()
    assert np.isfinite(face.facing).all()


def test_labels_without_points_are_orthographic() -> None:
    pose = orthographic((20.0, 5.0, -3.0)).pose
    face = LABELLED.place(np.zeros(40, np.float32), np.zeros(52, np.float32), pose)
    np.testing.assert_allclose(face.pixels, apply_orthography(pose, MODEL.mean), atol=1e-6)
