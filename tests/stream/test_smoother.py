"""Laws of the on-line filter of one face."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from mien.models.face.perspective import PerspectivePose
from mien.models.face.rotation import (
    angle_between_deg,
    matrix_from_rotation_vector,
    quaternion_from_rotation_vector,
    quaternion_multiply,
    rotation_vector_from_matrix,
)
from mien.stream.smoother import FaceMeasurement, FaceSmoother, FaceState, SmoothingConfig
from mien.stream.smoother.pose import translation_variance, view_coordinates

DT = 1 / 30
NOISE = 0.01
"""Standard deviation that the network states of every pose channel: rad, or 1."""
ONE_SPEED = (0.5, 0.5, 0.5)
FAR_AWAY = 1e9
Make = Callable[..., SmoothingConfig]
Look = Callable[..., FaceMeasurement]
Now = Callable[[FaceSmoother], FaceState]
Follow = Callable[..., list[FaceState]]
Same = Callable[..., None]


@given(st.integers(0, 999), st.tuples(*(st.floats(-3.0, 3.0),) * 3))
@settings(max_examples=15, deadline=None)
def test_turning_all_measurements_turns_the_estimates(
    make_smoothing: Make,
    make_look: Look,
    follow_face: Follow,
    seed: int,
    axis: tuple[float, float, float],
) -> None:
    rng = np.random.default_rng(seed)
    turn = quaternion_from_rotation_vector(np.array(axis))
    frames: list[FaceMeasurement | None] = []
    turned: list[FaceMeasurement | None] = []
    for angle in np.cumsum(rng.normal(size=(25, 3)) * 0.1, axis=0):
        seen = make_look(angle)
        quat = quaternion_multiply(turn, seen.pose.pose.quat_wxyz)
        pose = PerspectivePose(quat, seen.pose.pose.translation_mm)
        frames.append(seen)
        turned.append(structs.replace(seen, pose=structs.replace(seen.pose, pose=pose)))
    config = make_smoothing()
    G = matrix_from_rotation_vector(np.array(axis))
    for plain, other in zip(
        follow_face(FaceSmoother(config), frames),
        follow_face(FaceSmoother(config), turned),
        strict=True,
    ):
        np.testing.assert_allclose(other.pose.rotation, G @ plain.pose.rotation, atol=1e-8)
        np.testing.assert_allclose(other.pose_variance, plain.pose_variance)


def test_a_spin_through_many_turns_is_followed_with_less_lag_than_a_frame(
    make_smoothing: Make, make_look: Look, follow_face: Follow
) -> None:
    rate = np.array([0.5, 4.0, -1.0])
    frames = [rate * (k * DT) for k in range(300)]
    assert np.linalg.norm(frames[-1]) > 6 * 2 * math.pi
    states = follow_face(FaceSmoother(make_smoothing()), [make_look(angle) for angle in frames])
    lags = [
        angle_between_deg(state.pose.rotation, matrix_from_rotation_vector(angle))
        for angle, state in zip(frames, states, strict=True)
    ]
    assert np.max(lags[30:]) < math.degrees(np.linalg.norm(rate) * DT)


def test_both_quaternions_of_a_rotation_mean_it(
    make_smoothing: Make, make_look: Look, follow_face: Follow, expect_same: Same
) -> None:
    rng = np.random.default_rng(1)
    frames = [make_look(angle) for angle in np.cumsum(rng.normal(size=(30, 3)) * 0.2, axis=0)]
    flipped: list[FaceMeasurement | None] = []
    for number, seen in enumerate(frames):
        quat = seen.pose.pose.quat_wxyz * (-1.0 if number % 2 else 1.0)
        pose = PerspectivePose(quat, seen.pose.pose.translation_mm)
        flipped.append(structs.replace(seen, pose=structs.replace(seen.pose, pose=pose)))
    config = make_smoothing()
    for plain, other in zip(
        follow_face(FaceSmoother(config), [*frames]),
        follow_face(FaceSmoother(config), flipped),
        strict=True,
    ):
        expect_same(plain, other)
        assert other.pose.quat_wxyz[0] >= 0.0


def test_small_angles_are_filtered_as_any_number_is(
    make_smoothing: Make, make_look: Look, follow_face: Follow
) -> None:
    rng = np.random.default_rng(2)
    smoother = FaceSmoother(make_smoothing(ONE_SPEED, gate=FAR_AWAY))
    for x, y in rng.normal(size=(40, 2)) * 1e-4:
        (state,) = follow_face(smoother, [make_look((x, y, 0.0), (x, y, 0.0))])
        vector = rotation_vector_from_matrix(state.pose.rotation)
        view = view_coordinates(state.pose.translation_mm)
        np.testing.assert_allclose(vector[:2], view[:2], atol=1e-8)
        np.testing.assert_allclose(state.pose_variance[:2], state.pose_variance[3:5], rtol=1e-5)


def test_a_still_face_is_held_and_a_sudden_turn_followed(
    make_smoothing: Make, make_look: Look, follow_face: Follow
) -> None:
    rng = np.random.default_rng(3)
    noise = NOISE * rng.normal(size=(150, 3))
    true = np.zeros((150, 3))
    true[100:, 1] = np.minimum(3.0 * DT * np.arange(1, 51), 1.0)  # 3 rad/s, out of nothing
    smoother = FaceSmoother(make_smoothing(white=1.0, slow=1e-3))
    states, shares = [], []
    for angle in true + noise:
        states += follow_face(smoother, [make_look(angle)])
        shares.append(smoother.step().shares.copy())
    angles = np.array([rotation_vector_from_matrix(s.pose.rotation) for s in states])
    jitter = np.diff(angles[30:100], axis=0).std() / np.diff(noise[30:100], axis=0).std()
    assert jitter < 0.3
    left_behind = np.abs(angles - true)[:, 1]
    assert left_behind[102:].max() < 4 * NOISE, "from the third frame on"
    chances = np.array(shares)
    np.testing.assert_allclose(chances.sum(axis=2), 1.0)
    assert chances.min() >= 0.0
    assert chances[90:100, 0, 2].mean() < 0.02
    assert chances[100:103, 0, 2].max() > 0.5


def test_raw_publishes_measurements_with_all_of_their_variance(
    make_smoothing: Make, make_look: Look, follow_face: Follow
) -> None:
    rng = np.random.default_rng(5)
    smoother = FaceSmoother(
        replace(make_smoothing(white=0.7, slow=0.9, share=0.25), publish_raw=True)
    )
    for _ in range(5):
        seen = make_look(rng.normal(size=3), (0.1, -0.2, 6.5), 0.3, rng.uniform(size=52))
        shape = rng.normal(size=40)
        smoother.predict(DT)
        np.testing.assert_array_equal(smoother.update_shape(shape, np.ones(40)), shape)
        smoother.update(seen)
        state = smoother.state(0.045)
        assert state is not None
        np.testing.assert_array_equal(state.pose.quat_wxyz, seen.pose.pose.quat_wxyz)
        np.testing.assert_array_equal(state.pose.translation_mm, seen.pose.pose.translation_mm)
        np.testing.assert_array_equal(state.shape, shape)
        np.testing.assert_array_equal(state.expression, seen.expression)
        np.testing.assert_array_equal(state.blendshapes, seen.blendshapes)
        whole = 1.6 * seen.pose.variance
        in_mm = translation_variance(seen.pose.pose.translation_mm, whole, 0.045)
        np.testing.assert_allclose(state.pose_variance, np.concatenate([whole[:3], in_mm]))
    (bridged,) = follow_face(smoother, [None])
    assert bridged.blendshapes is not None
    assert (bridged.pose_variance > 0.0).all()


def test_errors_that_stay_for_good_are_no_less_after_any_time(
    make_smoothing: Make, make_look: Look, follow_face: Follow
) -> None:
    states = {
        share: follow_face(
            FaceSmoother(make_smoothing(ONE_SPEED, share=share)), [make_look()] * 100
        )[-1]
        for share in (1.0, 0.5)
    }
    assert (states[0.5].pose_variance[:3] > 0.25 * NOISE**2).all()
    assert (states[0.5].pose_variance > states[1.0].pose_variance).all()


@pytest.mark.parametrize("publish_raw", [False, True])
def test_a_network_without_blendshapes_has_none_throughout(
    make_smoothing: Make, make_look: Look, follow_face: Follow, publish_raw: bool
) -> None:
    smoother = FaceSmoother(replace(make_smoothing(), publish_raw=publish_raw))
    frames = [
        make_look(blendshapes=None),
        make_look(blendshapes=None),
        None,
        make_look(blendshapes=None),
    ]
    assert all(state.blendshapes is None for state in follow_face(smoother, frames))


def test_a_shape_begins_among_people_and_ends_at_the_persons(make_smoothing: Make) -> None:
    rng = np.random.default_rng(6)
    true = rng.normal(size=40)
    smoother = FaceSmoother(make_smoothing(white=1.0, slow=0.5))
    smoother.predict(3.0)
    first = smoother.update_shape(true, np.full(40, 2.0))
    np.testing.assert_allclose(first, true / (1.0 + 2.0 + 1.0))  # N(0, 1), errors of 2 and of 1
    for _ in range(900):
        smoother.predict(DT)
        smoother.update_shape(true + 0.5 * rng.normal(size=40), np.full(40, 0.25))
    assert np.abs(smoother.shape - true).max() < 0.2
    np.testing.assert_array_equal(smoother.shape, smoother.identity)


def test_who_it_is_outlives_a_restart(make_smoothing: Make, make_look: Look) -> None:
    rng = np.random.default_rng(7)
    config = make_smoothing()
    present, twin, restarted = (FaceSmoother(config) for _ in range(3))
    for shape in rng.normal(size=(30, 40)):
        for smoother in (present, twin):
            smoother.predict(DT)
            smoother.update_shape(shape, np.full(40, 0.5))
            smoother.update(make_look((0.1, 0.0, 0.0)))
    restarted.inherit_identity(present)
    assert restarted.state(0.0) is None
    np.testing.assert_array_equal(restarted.identity, twin.identity)
    for smoother in (restarted, twin):
        smoother.predict(DT)
        smoother.update_shape(np.ones(40), np.full(40, 0.5))
    np.testing.assert_array_equal(restarted.identity, twin.identity)


def test_the_unknown_size_of_the_head_stays_in_the_variance() -> None:
    variance = np.array([1e-4, 1e-4, 1e-4, 1e-6, 2e-6, 1e-6])
    t = np.array([100.0, -50.0, 800.0])
    known = translation_variance(t, variance, 0.0)
    unknown = translation_variance(t, variance, 0.045)
    np.testing.assert_allclose(unknown - known, (0.045 * t) ** 2)
    # The same by sampling.
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(200_000, 3)) * np.sqrt(variance[3:])
    z = 800.0 * np.exp(noise[:, 2]) * (1 + 0.045 * rng.normal(size=200_000))
    samples = np.stack([(0.125 + noise[:, 0]) * z, (-0.0625 + noise[:, 1]) * z, z], axis=1)
    np.testing.assert_allclose(samples.var(axis=0), unknown, rtol=0.03)
