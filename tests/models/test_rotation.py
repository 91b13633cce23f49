"""Laws of rotations: group axioms, round trips, and the signs of the angles."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from mien.models.errors import InputError
from mien.models.face import rotation as rot

coordinate = st.floats(-10.0, 10.0, allow_subnormal=False)
batches = st.sampled_from([(), (1,), (3,), (2, 3)])


@st.composite
def quaternions(draw: st.DrawFn) -> np.ndarray:
    shape = (*draw(batches), 4)
    raw = draw(hnp.arrays(np.float64, shape, elements=coordinate))
    raw[..., 0] += np.where(np.linalg.norm(raw, axis=-1) < 1e-3, 1.0, 0.0)
    return rot.normalize_quaternion(raw)


@st.composite
def vectors(draw: st.DrawFn, limit: float = 3.1) -> np.ndarray:
    shape = (*draw(batches), 3)
    raw = draw(hnp.arrays(np.float64, shape, elements=st.floats(-1.0, 1.0, allow_subnormal=False)))
    return raw * limit / np.sqrt(3.0) * draw(st.sampled_from([1.0, 1e-3, 1e-8, 1e-12]))


@settings(deadline=None)
@given(quaternions())
def test_matrix_of_quaternion_is_a_rotation_and_comes_back(quat: np.ndarray) -> None:
    R = rot.matrix_from_quaternion(quat)
    np.testing.assert_allclose(
        R @ np.swapaxes(R, -1, -2), np.broadcast_to(np.eye(3), R.shape), atol=1e-12
    )
    np.testing.assert_allclose(np.linalg.det(R), 1.0, atol=1e-12)
    back = rot.quaternion_from_matrix(R)
    assert np.all(back[..., 0] >= 0.0)
    np.testing.assert_allclose(np.abs(np.sum(back * quat, axis=-1)), 1.0, atol=1e-12)


@settings(deadline=None)
@given(quaternions())
def test_inverse(quat: np.ndarray) -> None:
    identity = rot.quaternion_multiply(quat, rot.quaternion_conjugate(quat))
    np.testing.assert_allclose(identity[..., 0], 1.0, atol=1e-12)


@settings(deadline=None)
@given(quaternions(), st.integers(0, 2**32 - 1))
def test_product_is_the_matrix_product(quat: np.ndarray, seed: int) -> None:
    other = rot.normalize_quaternion(np.random.default_rng(seed).normal(size=4))
    product = rot.matrix_from_quaternion(rot.quaternion_multiply(quat, other))
    expected = rot.matrix_from_quaternion(quat) @ rot.matrix_from_quaternion(other)
    np.testing.assert_allclose(product, expected, atol=1e-12)


@settings(deadline=None)
@given(vectors())
def test_exponential_and_logarithm(vector: np.ndarray) -> None:
    back = rot.rotation_vector_from_quaternion(rot.quaternion_from_rotation_vector(vector))
    np.testing.assert_allclose(back, vector, atol=1e-9)
    R = rot.matrix_from_rotation_vector(vector)
    np.testing.assert_allclose(rot.rotation_vector_from_matrix(R), vector, atol=1e-7)


def test_half_turns_have_a_logarithm() -> None:
    for axis in np.eye(3):
        vector = rot.rotation_vector_from_matrix(2.0 * np.outer(axis, axis) - np.eye(3))
        np.testing.assert_allclose(np.abs(vector), np.pi * axis, atol=1e-12)


@settings(deadline=None)
@given(st.floats(-179.0, 179.0), st.floats(-89.0, 89.0), st.floats(-179.0, 179.0))
def test_angles_round_trip(yaw: float, pitch: float, roll: float) -> None:
    angles = np.array([yaw, pitch, roll])
    R = rot.matrix_from_yaw_pitch_roll(angles)
    back = rot.yaw_pitch_roll_from_matrix(R)
    assert abs(back[1]) <= 90.0
    np.testing.assert_allclose(rot.matrix_from_yaw_pitch_roll(back), R, atol=1e-9)
    if abs(abs(yaw) - 90.0) > 0.01:
        np.testing.assert_allclose(back, angles, atol=1e-6)


@settings(deadline=None)
@given(quaternions())
def test_any_rotation_survives_its_angles(quat: np.ndarray) -> None:
    R = rot.matrix_from_quaternion(quat)
    back = rot.matrix_from_yaw_pitch_roll(rot.yaw_pitch_roll_from_matrix(R))
    np.testing.assert_allclose(back, R, atol=1e-7)


@pytest.mark.parametrize("yaw", [90.0, -90.0])
def test_gimbal_lock_keeps_the_rotation(yaw: float) -> None:
    R = rot.matrix_from_yaw_pitch_roll(np.array([yaw, 20.0, 35.0]))
    back = rot.matrix_from_yaw_pitch_roll(rot.yaw_pitch_roll_from_matrix(R))
    np.testing.assert_allclose(back, R, atol=1e-7)


@settings(deadline=None)
@given(pan=st.floats(-85, 85), tilt=st.floats(-80, 80), roll=st.floats(-60, 60))
def test_the_nose_points_along_pan_and_tilt(pan: float, tilt: float, roll: float) -> None:
    """Nod and roll about the head's own axes, then turn about the vertical."""
    turned = rot.matrix_from_yaw_pitch_roll(np.array([pan, 0.0, 0.0]))
    nodded = rot.matrix_from_yaw_pitch_roll(np.array([0.0, tilt, roll]))
    angles = rot.yaw_pitch_roll_from_matrix(turned @ nodded)
    found = rot.pan_tilt(angles[:1], angles[1:2])
    np.testing.assert_allclose(found, [(pan, tilt)], atol=1e-6)


def test_signs_of_the_angles() -> None:
    nose = np.array([0.0, 0.0, -1.0])  # the nose points against z, towards the camera
    crown = np.array([0.0, -1.0, 0.0])
    yawed = rot.matrix_from_yaw_pitch_roll(np.array([30.0, 0.0, 0.0])) @ nose
    assert yawed[0] < 0.0, "yaw > 0: the nose points to the picture's left edge"
    pitched = rot.matrix_from_yaw_pitch_roll(np.array([0.0, 30.0, 0.0])) @ nose
    assert pitched[1] < 0.0, "pitch > 0: the nose points up"
    rolled = rot.matrix_from_yaw_pitch_roll(np.array([0.0, 0.0, 30.0])) @ crown
    assert rolled[0] > 0.0, "roll > 0: the crown leans to the right, clockwise"


@settings(deadline=None)
@given(vectors(), vectors())
def test_rotation_between_directions(a: np.ndarray, b: np.ndarray) -> None:
    start, end = a.reshape(-1, 3)[0], b.reshape(-1, 3)[0]
    if min(np.linalg.norm(start), np.linalg.norm(end)) < 1e-3:
        return
    start, end = start / np.linalg.norm(start), end / np.linalg.norm(end)
    if start @ end < -0.999:
        return
    R = rot.rotation_between(start, end)
    np.testing.assert_allclose(R @ start, end, atol=1e-9)
    expected = np.degrees(np.arctan2(np.linalg.norm(np.cross(start, end)), start @ end))
    assert float(rot.angle_between_deg(np.eye(3), R)) == pytest.approx(expected, abs=1e-5)


def test_batch_equals_loop() -> None:
    rng = np.random.default_rng(0)
    quats = rot.normalize_quaternion(rng.normal(size=(50, 4)))
    R = rot.matrix_from_quaternion(quats)
    np.testing.assert_array_equal(R, np.stack([rot.matrix_from_quaternion(q) for q in quats]))
    looped = np.stack([rot.yaw_pitch_roll_from_matrix(r) for r in R])
    np.testing.assert_allclose(rot.yaw_pitch_roll_from_matrix(R), looped, atol=1e-10)


def test_no_rotation_is_refused() -> None:
    with pytest.raises(InputError, match="quaternion"):
        rot.normalize_quaternion(np.zeros(4))
    with pytest.raises(InputError, match="quaternion"):
        rot.normalize_quaternion(np.array([np.nan, 0.0, 0.0, 1.0]))
