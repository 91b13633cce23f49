"""What the on-line filter makes of wild frames, jumps, gaps and clocks that stand still."""

from __future__ import annotations

import math
from collections.abc import Callable
from copy import deepcopy

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from mien.models.face.perspective import PerspectivePose
from mien.models.face.rotation import (
    angle_between_deg,
    quaternion_from_rotation_vector,
    quaternion_multiply,
)
from mien.stream.smoother import FaceMeasurement, FaceSmoother, FaceState, SmoothingConfig
from mien.stream.smoother.bank import BEGUN, CORRECTED, PREDICTED
from mien.stream.smoother.channels import BLENDSHAPES, EXPRESSION, GROUPS
from mien.stream.smoother.pose import view_coordinates
from mien.stream.smoother.tuning import channels_of

DT = 1 / 30
NOISE = 0.01
"""Standard deviation that the network states of every pose channel: rad, or 1."""
Make = Callable[..., SmoothingConfig]
Look = Callable[..., FaceMeasurement]
Now = Callable[[FaceSmoother], FaceState]
Follow = Callable[..., list[FaceState]]
Same = Callable[..., None]


def test_a_wild_frame_counts_as_none(
    make_smoothing: Make, make_look: Look, follow_face: Follow, expect_same: Same
) -> None:
    rng = np.random.default_rng(4)
    config = make_smoothing()
    smoother, twin = FaceSmoother(config), FaceSmoother(config)
    for frame in range(40):
        a, b, c = rng.normal(size=(3, 3)) * NOISE
        seen = make_look(a, b + [0.0, 0.0, 6.0], c[0], 0.5 + c[1])
        if frame == 20:
            wild = make_look((0.0, 2.0, 0.0), (3.0, 3.0, 9.0), 50.0, np.tile([0.0, 1.0], 26))
            (state,) = follow_face(smoother, [wild])
            assert (smoother.step().events == PREDICTED).all()
            (other,) = follow_face(twin, [None])
        else:
            (state,), (other,) = follow_face(smoother, [seen]), follow_face(twin, [seen])
        expect_same(state, other)


@pytest.mark.parametrize("rate", [60, 15, 10])
def test_a_single_wild_frame_is_refused_at_any_rate(
    make_smoothing: Make, make_look: Look, follow_face: Follow, rate: int, expect_same: Same
) -> None:
    """However often: between them the face is where it was."""
    # So slow that nothing else explains them, at any of these rates.
    config = make_smoothing((0.01, 0.02, 0.03), patience_s=SmoothingConfig().patience_s)
    smoother, twin = FaceSmoother(config), FaceSmoother(config)
    wild = make_look((0.0, 2.0, 0.0), (3.0, 3.0, 9.0), 50.0, np.tile([0.0, 1.0], 26))
    for frame in range(40):
        odd = frame >= 20 and frame % 2 == 0
        (state,) = follow_face(smoother, [wild if odd else make_look()], 1.0 / rate)
        (other,) = follow_face(twin, [None if odd else make_look()], 1.0 / rate)
        events = PREDICTED if odd else CORRECTED if frame else BEGUN
        assert (smoother.step().events == events).all()
        expect_same(state, other)


@pytest.mark.parametrize("rate", [30, 15])
def test_at_usual_rates_a_jump_is_taken_in_the_second_frame(
    make_smoothing: Make, make_look: Look, follow_face: Follow, rate: int
) -> None:
    config = make_smoothing((0.01, 0.02, 0.03), patience_s=SmoothingConfig().patience_s)
    smoother = FaceSmoother(config)
    follow_face(smoother, [make_look()] * 20, 1.0 / rate)
    for expected in (PREDICTED, BEGUN, CORRECTED):
        follow_face(smoother, [make_look(expression=50.0)], 1.0 / rate)
        assert (smoother.step().events[smoother.tuning.face.group][EXPRESSION] == expected).all()


def test_a_step_stays_as_it_was(make_smoothing: Make, make_look: Look, follow_face: Follow) -> None:
    rng = np.random.default_rng(9)
    smoother = FaceSmoother(make_smoothing())
    follow_face(smoother, [make_look(rng.normal(size=3) * NOISE) for _ in range(3)])
    step = smoother.step()
    kept = deepcopy(step)
    follow_face(smoother, [make_look((0.2, 0.0, 0.0)), None, make_look(expression=9.0)])
    for name in ("lasting", "shares", "likelihood", "events", "shape"):
        np.testing.assert_array_equal(getattr(step, name), getattr(kept, name))
    assert step.measured is not None
    assert kept.measured is not None
    for name in ("values", "white", "slow", "quat_wxyz"):
        np.testing.assert_array_equal(getattr(step.measured, name), getattr(kept.measured, name))


@given(st.sampled_from(GROUPS), st.floats(0.01, 0.09))
@settings(max_examples=25, deadline=None)
def test_a_group_that_jumps_for_good_is_taken_after_the_patience(
    make_smoothing: Make,
    make_look: Look,
    state_now: Now,
    follow_face: Follow,
    group: str,
    dt_s: float,
) -> None:
    patience_s = 0.1
    jump = math.floor(patience_s / dt_s) + 2
    assume(abs(patience_s / dt_s - round(patience_s / dt_s)) > 1e-6)
    channels = channels_of(group)
    view, expression, blendshapes = np.array([0.0, 0.0, 6.0]), 0.0, np.full(52, 0.1)
    angle = (0.0, 2.5, 0.0) if group == "rotation" else (0.0, 0.0, 0.0)
    if group in ("direction", "depth"):
        view[np.array(channels) - 3] += 4.0
    elif group == "expression":
        expression = 30.0
    elif group != "rotation":
        blendshapes[np.array(channels) - BLENDSHAPES.start] = 1.0
    there = make_look(angle, view, expression, blendshapes)
    # So slow that nothing else explains the jump, at any of these frame rates.
    config = make_smoothing((0.01, 0.02, 0.03), gate=10.0, patience_s=patience_s)
    smoother, newborn = FaceSmoother(config), FaceSmoother(config)
    before = follow_face(smoother, [make_look(blendshapes=0.1)] * 20, dt_s)[-1]
    for frame in range(1, jump + 1):
        (state,) = follow_face(smoother, [there], dt_s)
        events = smoother.step().events[smoother.tuning.face.group]
        assert (events[channels] == (BEGUN if frame == jump else PREDICTED)).all()
        assert (np.delete(events, channels) == CORRECTED).all()
        if frame < jump:
            assert angle_between_deg(state.pose.rotation, before.pose.rotation) < 1.0
            np.testing.assert_allclose(state.expression, before.expression, atol=0.1)
    (born,) = follow_face(newborn, [there], dt_s)
    after = state_now(smoother)
    np.testing.assert_allclose(after.pose.rotation, born.pose.rotation, atol=1e-9)
    np.testing.assert_allclose(after.pose.translation_mm, born.pose.translation_mm, rtol=1e-6)
    np.testing.assert_allclose(after.expression, born.expression, atol=1e-9)
    assert after.blendshapes is not None
    np.testing.assert_allclose(after.blendshapes, blendshapes, atol=1e-9)
    if group == "rotation":
        np.testing.assert_allclose(after.pose_variance[:3], born.pose_variance[:3])


@given(
    st.lists(
        st.tuples(
            st.sampled_from((-3.0, 0.0, 1e-9, 0.004, 0.03, 0.4, 20.0)),
            st.sampled_from(("seen", "wild", "missed", "skipped")),
        ),
        max_size=30,
    ),
    st.integers(0, 999),
)
@settings(max_examples=30, deadline=None)
def test_whatever_the_clock_and_the_face_do_states_are_finite_and_recover(
    make_smoothing: Make,
    make_look: Look,
    state_now: Now,
    follow_face: Follow,
    frames: list[tuple[float, str]],
    seed: int,
) -> None:
    rng = np.random.default_rng(seed)
    smoother = FaceSmoother(make_smoothing())
    for dt_s, kind in [(DT, "seen"), *frames]:
        smoother.predict(dt_s)
        if kind in ("seen", "wild"):
            size = NOISE if kind == "seen" else 1.0
            angle, move = size * rng.normal(size=(2, 3))
            smoother.update_shape(rng.normal(size=40), np.full(40, 0.3))
            smoother.update(make_look(angle, move + [0.0, 0.0, 6.0], size, rng.uniform(size=52)))
        elif kind == "missed":
            smoother.miss()
        state = state_now(smoother)
        for values in (state.pose.quat_wxyz, state.pose.translation_mm, state.expression):
            assert np.isfinite(values).all()
        assert state.blendshapes is not None
        assert (state.blendshapes >= 0.0).all()
        assert (state.blendshapes <= 1.0).all()
        assert (state.pose_variance > 0.0).all()
        assert np.isfinite(state.pose_variance).all()
    state = follow_face(smoother, [make_look()] * 60)[-1]
    assert angle_between_deg(state.pose.rotation, np.eye(3)) < 0.5
    np.testing.assert_allclose(state.pose.translation_mm, [0.0, 0.0, math.exp(6.0)], atol=4.0)


@pytest.mark.parametrize("dt_s", [0.0, -5.0])
def test_time_that_does_not_pass_leaves_the_state(
    make_smoothing: Make, make_look: Look, follow_face: Follow, dt_s: float, expect_same: Same
) -> None:
    smoother = FaceSmoother(make_smoothing())
    before = follow_face(smoother, [make_look(), make_look((0.1, 0.0, 0.0))])[-1]
    (after,) = follow_face(smoother, [None], dt_s)
    expect_same(after, before)


def test_a_gap_goes_on_as_it_went_calms_down_grows_uncertain_and_is_forgotten(
    make_smoothing: Make, make_look: Look, follow_face: Follow
) -> None:
    smoother = FaceSmoother(make_smoothing())

    def moving(frame: int) -> FaceMeasurement:
        return make_look(view=(0.01 * frame, 0.0, 6.0))

    before = follow_face(smoother, [moving(frame) for frame in range(60)])[-2:]
    gap = follow_face(smoother, [None] * 15)
    x = [view_coordinates(state.pose.translation_mm)[0] for state in (*before, *gap)]
    steps = np.diff(x)
    assert 0.004 < steps[1] < 0.01, "it goes on"
    assert (np.diff(steps[1:]) < 0.0).all(), "and slows"
    assert (steps > 0.0).all(), "and does not turn back"
    variances = np.array([state.pose_variance[:3] for state in (before[-1], *gap)])
    assert (np.diff(variances, axis=0) > 0.0).all()
    after = follow_face(smoother, [moving(frame) for frame in range(75, 135)])[-1]
    np.testing.assert_allclose(after.pose_variance[:3], variances[0], rtol=0.02)


def test_before_the_first_face_there_is_no_state(make_smoothing: Make) -> None:
    smoother = FaceSmoother(make_smoothing())
    smoother.predict(0.1)
    smoother.miss()
    assert smoother.state(0.0) is None


def test_a_tracker_may_ask_for_the_prediction_before_it_looks(
    make_smoothing: Make, make_look: Look, state_now: Now, expect_same: Same
) -> None:
    """As it must, to know where to look: nothing changes by it, wild frames included."""
    rng = np.random.default_rng(8)
    config = make_smoothing()
    asked, idle = FaceSmoother(config), FaceSmoother(config)
    for frame in range(40):
        angle = np.array([0.0, 2.0, 0.0]) if frame == 30 else NOISE * rng.normal(size=3)
        for smoother in (asked, idle):
            smoother.predict(DT)
            if smoother is asked and frame:
                assert (state_now(smoother).pose_variance > 0.0).all()
            smoother.update(make_look(angle))
        expect_same(state_now(asked), state_now(idle))
    assert angle_between_deg(state_now(asked).pose.rotation, np.eye(3)) < 1.0


def test_missed_frames_of_a_steady_turn_are_no_unrest(
    make_smoothing: Make, make_look: Look, follow_face: Follow
) -> None:
    """New errors are what the unrest says here: those of a still face, whatever is missed."""
    config = make_smoothing(unrest=1.0)
    found = []
    for rate in (0.0, 3.0):
        rng = np.random.default_rng(10)
        smoother = FaceSmoother(config)
        errors = []
        for frame in range(90):
            true = quaternion_from_rotation_vector(np.array([0.0, rate * frame * DT, 0.0]))
            seen = make_look(NOISE * rng.normal(size=3))
            quat = quaternion_multiply(seen.pose.pose.quat_wxyz, true)
            pose = PerspectivePose(quat, seen.pose.pose.translation_mm)
            missed = frame % 7 in (3, 5, 6)
            turned = replace(seen, pose=replace(seen.pose, pose=pose))
            follow_face(smoother, [None if missed else turned])
            measured = smoother.step().measured
            if measured is not None:
                errors.append(math.log(measured.white[0]))
        found.append(errors)
    # On the mean: errors turn with the head, and the median steps from one of them to the next.
    assert np.abs(np.subtract(found[1], found[0]))[10:].mean() < 0.15
