"""Displacements in the filters, with the dense posterior of the whole linear model as oracle."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import expm

from mien.models.errors import InputError
from mien.models.face.perspective import PerspectivePose
from mien.models.face.rotation import rotation_vector_from_quaternion
from mien.stream.smoother import FaceMeasurement, FaceSmoother, FaceState, SmoothingConfig
from mien.stream.smoother.displacement_fit import fit_displacements
from mien.stream.smoother.displacement_tuning import DisplacementTuning
from mien.stream.smoother.pose import Displacement, translation_from_view, view_coordinates
from mien.stream.smoother.smoother import FilterStep
from mien.stream.smoother.tuner import TruePath
from mien.stream.smoother.tuning import Tuning

from .measured_faces import NOISE, look, turned

DT = 1 / 30
WHITE, SLOW = 0.5, 0.5  # parts of the stated variance, as the configs below have them
VELOCITY_S, ERROR_S, SPEED = 0.2, 0.3, 0.5
STEP_SD = 0.3 * NOISE
Make = Callable[..., SmoothingConfig]
Frame = tuple[float, FaceMeasurement | None]
FilterTrack = Callable[..., tuple[list[FaceState | None], list[FilterStep]]]
SmoothTrack = Callable[..., list[FaceState]]


def believing(
    make: Make, gate: float = 1e9, worth: DisplacementTuning | None = None
) -> SmoothingConfig:
    """One speed only, and displacements taken as they are stated, or as is said."""
    config = make((SPEED,) * 3, gate=gate)
    assert config.tuning is not None
    worth = worth or DisplacementTuning()
    return replace(config, tuning=replace(config.tuning, displacement=worth))


def displaced(
    seen: FaceMeasurement, turn: float, farther: float, variance: float = STEP_SD**2
) -> FaceMeasurement:
    """With a displacement: so far about the camera's x axis, and so much farther away (log z)."""
    by = np.array([turn, 0.0, 0.0, 0.0, 0.0, farther])
    found = Displacement(by, np.full(6, variance))
    return msgspec.structs.replace(seen, displacement=found)


def posterior(
    dt_s: np.ndarray, z: np.ndarray, y: np.ndarray, variance: float
) -> tuple[np.ndarray, np.ndarray]:
    """Means and variances of all values given all measurements; NaN in z or y is none.

    The joint covariance of all states is written out, and conditioned in one go.
    """
    A = np.array([[0.0, 1.0, 0.0], [0.0, -1 / VELOCITY_S, 0.0], [0.0, 0.0, -1 / ERROR_S]])
    white, slow = WHITE * variance, SLOW * variance
    density = np.diag([0.0, 2 * SPEED**2 / VELOCITY_S, 2 * slow / ERROR_S])
    count = len(z)
    joint = np.zeros((3 * count, 3 * count))
    # Before the first measurement nothing was known of the value.
    joint[:3, :3] = np.diag([1e6 * variance, 0.0, slow])
    for k in range(1, count):
        whole = expm(np.block([[-A, density], [np.zeros((3, 3)), A.T]]) * dt_s[k])
        F = whole[3:, 3:].T
        now, before = slice(3 * k, 3 * k + 3), slice(3 * k - 3, 3 * k)
        joint[now, : 3 * k] = F @ joint[before, : 3 * k]
        joint[: 3 * k, now] = joint[now, : 3 * k].T
        joint[now, now] = F @ joint[before, before] @ F.T + F @ whole[:3, 3:]
    rows, values, noise = [], [], []
    for k in range(count):
        if not math.isnan(z[k]):
            row = np.zeros(3 * count)
            row[[3 * k, 3 * k + 2]] = 1.0
            rows, values, noise = [*rows, row], [*values, z[k]], [*noise, white]
        if not math.isnan(y[k]):
            row = np.zeros(3 * count)
            row[3 * k], row[3 * k - 3] = 1.0, -1.0
            rows, values, noise = [*rows, row], [*values, y[k]], [*noise, STEP_SD**2]
    H = np.array(rows)
    gain = np.linalg.solve(H @ joint @ H.T + np.diag(noise), H @ joint).T
    mean, left = gain @ np.array(values), joint - gain @ H @ joint
    return mean[::3], np.diag(left)[::3]


@given(st.integers(0, 999), st.integers(2, 25))
@settings(max_examples=12, deadline=None)
def test_filter_and_smoother_are_the_dense_posterior(
    make_smoothing: Make,
    filter_track: FilterTrack,
    smooth_track: SmoothTrack,
    seed: int,
    count: int,
) -> None:
    rng = np.random.default_rng(seed)
    dt_s = rng.uniform(0.005, 0.1, count)
    z = np.cumsum(rng.normal(size=(count, 2)) * 0.03, axis=0)
    y = np.concatenate(
        [[[np.nan] * 2], np.diff(z, axis=0) + STEP_SD * rng.normal(size=(count - 1, 2))]
    )
    seen = rng.random(count) < 0.8
    seen[0] = True
    told = rng.random(count) < 0.7
    frames: list[Frame] = []
    for k in range(count):
        here = look(turned(z[k, 0]), np.array([0.0, 0.0, 6.0 + z[k, 1]]))
        if told[k] and k:
            here = displaced(here, y[k, 0], y[k, 1])
        frames.append((dt_s[k], here if seen[k] else None))
    config = believing(make_smoothing)
    on_line, steps = filter_track(config, frames)
    # A frame that follows one without the face has nothing to be compared with.
    y[~(told & seen & np.roll(seen, 1))] = np.nan
    z[~seen] = np.nan
    assert [step.displaced is not None for step in steps[1:]] == (~np.isnan(y[1:, 0])).tolist()
    turns = posterior(dt_s, z[:, 0], y[:, 0], NOISE**2)
    depths = posterior(dt_s, z[:, 1], y[:, 1], NOISE**2)
    last = on_line[-1]
    assert last is not None
    for states, part in (([last], slice(-1, None)), (smooth_track(config, steps), slice(None))):
        vectors = rotation_vector_from_quaternion(np.array([s.pose.quat_wxyz for s in states]))
        views = np.array([view_coordinates(s.pose.translation_mm) for s in states])
        stated = np.array([s.pose_variance for s in states])
        sd = 2e-3 * NOISE
        np.testing.assert_allclose(vectors[:, 0], turns[0][part], atol=sd)
        np.testing.assert_allclose(views[:, 2] - 6.0, depths[0][part], atol=sd)
        np.testing.assert_allclose(stated[:, 0], turns[1][part], rtol=2e-3)
        in_mm = depths[1][part] * np.exp(2 * views[:, 2])
        np.testing.assert_allclose(stated[:, 5], in_mm, rtol=2e-3)


def wandering(rng: np.random.Generator, count: int) -> tuple[np.ndarray, list[FaceMeasurement]]:
    """True angles of a head that turns back and forth, and noisy measurements of it."""
    true = 0.5 * np.sin(2.0 * DT * np.arange(count))
    view = np.array([0.0, 0.0, 6.0])
    return true, [look(turned(angle + NOISE * rng.normal()), view) for angle in true]


def test_displacements_hold_a_turning_head_steady(
    make_smoothing: Make, filter_track: FilterTrack
) -> None:
    rng = np.random.default_rng(3)
    true, seen = wandering(rng, 200)
    told = [
        displaced(one, step + STEP_SD * rng.normal(), 0.0)
        for one, step in zip(seen, np.diff(true, prepend=true[0]), strict=True)
    ]
    errors = []
    for frames in (seen, told):
        states, _ = filter_track(believing(make_smoothing), [(DT, one) for one in frames])
        quats = np.array([state.pose.quat_wxyz for state in states if state is not None])
        errors.append(np.std(rotation_vector_from_quaternion(quats)[20:, 0] - true[20:]))
    assert errors[1] < 0.6 * errors[0]


@pytest.mark.parametrize("motion", [0.0, 0.3])
@pytest.mark.parametrize(
    ("turn", "farther"),
    [(40.0 * NOISE, 0.0), (-40.0 * NOISE, 0.0), (math.pi, 0.0), (0.0, 40.0 * NOISE), (0.0, 3.0)],
)
def test_a_displacement_that_both_measurements_deny_is_left_alone(
    make_smoothing: Make, filter_track: FilterTrack, turn: float, farther: float, motion: float
) -> None:
    """However much its own size adds to its variance."""
    _, seen = wandering(np.random.default_rng(4), 30)
    lied = [displaced(one, turn, farther) for one in seen]
    config = believing(make_smoothing, 20.0, DisplacementTuning(motion=(motion,) * 3))
    plain, _ = filter_track(config, [(DT, one) for one in seen])
    states, steps = filter_track(config, [(DT, one) for one in lied])
    assert all(step.displaced is None for step in steps)
    for one, other in zip(states, plain, strict=True):
        assert one is not None
        assert other is not None
        np.testing.assert_array_equal(one.pose.quat_wxyz, other.pose.quat_wxyz)


def test_without_a_word_on_their_worth_displacements_do_not_count(
    make_smoothing: Make, filter_track: FilterTrack
) -> None:
    _, seen = wandering(np.random.default_rng(5), 20)
    told = [displaced(one, 0.01, 0.0) for one in seen]
    config = make_smoothing((SPEED,) * 3)
    plain, _ = filter_track(config, [(DT, one) for one in seen])
    states, steps = filter_track(config, [(DT, one) for one in told])
    assert all(step.displaced is None for step in steps)
    assert states[-1] is not None
    assert plain[-1] is not None
    np.testing.assert_array_equal(states[-1].pose.quat_wxyz, plain[-1].pose.quat_wxyz)


def test_a_displacement_counts_as_the_tuning_says(make_smoothing: Make) -> None:
    worth = DisplacementTuning((1.5, 2.0, 3.0), (0.8, 0.9, 1.1), (0.1, 0.2, 0.3), (0.4, 0.5))
    smoother = FaceSmoother(believing(make_smoothing, worth=worth))
    by, stated = np.array([1, -2, 3, 2, -1, 4]) * 1e-3, np.array([1, 2, 3, 4, 5, 6]) * 1e-5
    seen = look(turned(0.0), np.array([0.0, 0.0, 6.0]))
    smoother.update(seen)
    smoother.predict(DT)
    smoother.update(msgspec.structs.replace(seen, displacement=Displacement(by, stated)))
    taken = smoother.step().displaced
    assert taken is not None
    gain = 1 / np.array([0.8, 0.9, 1.1])
    np.testing.assert_allclose(taken.by, [*(gain * by[:3]), *by[3:]])
    turn, across, depth = (gain * by[:3]) @ (gain * by[:3]), by[3:5] @ by[3:5], by[5] ** 2
    expected = [
        *(1.5 * gain**2 * stated[:3] + 0.1**2 * turn),
        *(2.0 * stated[3:5] + 0.2**2 * across + 0.4**2 * turn),
        3.0 * stated[5] + 0.3**2 * depth + 0.5**2 * turn,
    ]
    np.testing.assert_allclose(taken.variance, expected)


def test_modes_are_weighed_by_what_measurement_and_displacement_say(make_smoothing: Make) -> None:
    """A displacement that says nothing of a motion does not silence a measurement that does."""
    likelihood = {}
    for turn in (0.0, 3.0 * NOISE):
        for told in (False, True):
            config = make_smoothing((0.01, 0.5, 3.0), gate=1e9)
            assert config.tuning is not None
            tuning = replace(config.tuning, displacement=DisplacementTuning() if told else None)
            smoother = FaceSmoother(replace(config, tuning=tuning))
            view = np.array([0.0, 0.0, 6.0])
            for k in range(20):
                smoother.predict(DT)
                smoother.update(displaced(look(turned(turn * (k == 19)), view), 0.0, 0.0))
            likelihood[turn, told] = smoother.step().likelihood
    for turn in (0.0, 3.0 * NOISE):
        assert not np.allclose(likelihood[turn, True], likelihood[turn, False])
    moved = likelihood[3.0 * NOISE, True] - likelihood[0.0, True]
    assert moved[0, 2] - moved[0, 0] > 0.1, "fast is likelier than at rest"


def test_a_second_look_at_the_same_time_takes_no_displacement(make_smoothing: Make) -> None:
    """There was no step in between."""
    smoother = FaceSmoother(believing(make_smoothing))
    view = np.array([0.0, 0.0, 6.0])
    smoother.update(look(turned(0.0), view))
    smoother.update(displaced(look(turned(0.0), view), 0.5, 0.0))
    assert smoother.step().displaced is None


def test_a_jump_of_the_face_is_followed_though_displacements_say_nothing(
    make_smoothing: Make, filter_track: FilterTrack
) -> None:
    """A cut to another place: the alignment still fits old to new, and claims there was no step."""
    view = np.array([0.0, 0.0, 6.0])
    frames = [displaced(look(turned(0.0), view), 0.0, 0.0) for _ in range(20)]
    frames += [displaced(look(turned(1.0), view), 0.0, 0.0) for _ in range(20)]
    states, _ = filter_track(believing(make_smoothing, 20.0), [(DT, one) for one in frames])
    assert states[-1] is not None
    angle = rotation_vector_from_quaternion(states[-1].pose.quat_wxyz)[0]
    assert angle == pytest.approx(1.0, abs=0.02)


@pytest.mark.parametrize("noise", [1.0, 4.0])
@pytest.mark.parametrize("share", [1.0, 0.8])
def test_films_tell_what_displacements_are_worth(
    make_smoothing: Make, noise: float, share: float
) -> None:
    """Errors of single steps, and those that grow with the motion, each film's in its own way.

    Of turns about the camera's x axis only a share is found.
    """
    rng = np.random.default_rng(6)
    tuning = make_smoothing().tuning
    assert tuning is not None
    paths = []
    for _ in range(150):
        angles = 0.5 * np.sin(np.arange(41) / 8.0)
        views = np.zeros((41, 3)) + [0.02, -0.03, 6.4]
        views[:, 0] += 0.1 * np.sin(np.arange(41) / 2.0)
        views[:, 2] += 0.1 * np.sin(np.arange(41) / 3.0)
        turn = np.diff(angles)
        steps = np.concatenate([turn[:, None], np.zeros((40, 2)), np.diff(views, axis=0)], axis=1)
        own = np.stack([turn, steps[:, 3], steps[:, 5]])[[0, 0, 0, 1, 1, 2]].T
        found = steps.copy()
        found[:, 0] *= share
        found += rng.normal(size=steps.shape) * np.sqrt(noise) * STEP_SD
        found += rng.normal(size=6) * [0.1, 0.1, 0.1, 0.05, 0.05, 0.15] * own
        found[:, 3:] += rng.normal(size=3) * [0.01, 0.01, 0.02] * turn[:, None]
        measured = [look(turned(angles[0]), views[0])]
        for k, by in enumerate(found, 1):
            seen = look(turned(angles[k]), views[k])
            stated = Displacement(by, np.full(6, STEP_SD**2))
            measured.append(msgspec.structs.replace(seen, displacement=stated))
        times = [round(k * DT * 1e9) for k in range(41)]
        quats = np.array([turned(angle) for angle in angles])
        paths.append(
            TruePath(
                times, measured, quats, np.array([translation_from_view(view) for view in views])
            )
        )
    worth = fit_displacements(tuning, paths).displacement
    assert worth is not None
    np.testing.assert_allclose(worth.share, [share, 1.0, 1.0], rtol=0.03)
    # Divided by the share, the error of one of the rotation's three channels grows.
    np.testing.assert_allclose(worth.variance, noise, rtol=0.25)
    np.testing.assert_allclose(worth.motion, [0.1, 0.05, 0.15], rtol=0.3)
    np.testing.assert_allclose(worth.turning, [0.01, 0.02], rtol=0.4)


def test_errors_that_grow_with_the_motion_do_not_count_at_rest(make_smoothing: Make) -> None:
    """The same displacement error is believed of a head at rest, and not of one that turns."""
    errors = {}
    for speed in (0.0, 0.05):
        believed = []
        for motion in (0.0, 0.2):
            worth = DisplacementTuning(motion=(motion,) * 3)
            tuning = replace(believing(make_smoothing).filter_tuning, displacement=worth)
            smoother = FaceSmoother(replace(make_smoothing(), tuning=tuning))
            view = np.array([0.0, 0.0, 6.4])
            for k in range(30):
                smoother.predict(DT)
                seen = look(turned(speed * k), view)
                off = 0.01 if k == 29 else 0.0
                smoother.update(displaced(seen, speed + off, 0.0))
            state = smoother.state(0.0)
            assert state is not None
            believed.append(rotation_vector_from_quaternion(state.pose.quat_wxyz)[0] - 29 * speed)
        errors[speed] = believed
    assert errors[0.0][1] == pytest.approx(errors[0.0][0], rel=0.1)
    assert abs(errors[0.05][1]) < 0.7 * abs(errors[0.05][0])


def test_films_without_displacements_are_refused(make_smoothing: Make) -> None:
    tuning = make_smoothing().tuning
    assert tuning is not None
    pose = PerspectivePose(turned(0.0), np.array([0.0, 0.0, 600.0]))
    seen = look(pose.quat_wxyz, view_coordinates(pose.translation_mm))
    path = TruePath([0], [seen], turned(0.0)[None], pose.translation_mm[None])
    with pytest.raises(InputError, match="no film follows a face"):
        fit_displacements(tuning, [path])


def test_their_worth_is_kept_in_the_file(make_smoothing: Make, tmp_path: Path) -> None:
    tuning = make_smoothing().tuning
    assert tuning is not None
    path = tmp_path / "smoother.toml"
    path.write_text(tuning.text(), "utf-8")
    assert Tuning.load(path).displacement is None
    worth = DisplacementTuning(
        (1.5, 2.0, 3.25), (0.85, 0.95, 1.0), (0.125, 0.0, 0.5), (0.015625, 0.03125)
    )
    path.write_text(replace(tuning, displacement=worth).text(), "utf-8")
    assert Tuning.load(path).displacement == worth
    path.write_text(tuning.text() + "\n[displacement]\nvariance = [1, 2, 3]\n", "utf-8")
    assert Tuning.load(path).displacement == DisplacementTuning((1.0, 2.0, 3.0))
    for wrong in ("[1, 2]", "[1, 0, 1]"):
        table = f"[displacement]\nvariance = [1, 2, 3]\nshare = {wrong}\n"
        path.write_text(f"{tuning.text()}\n{table}", "utf-8")
        with pytest.raises(InputError, match=r"3 numbers|share must be positive"):
            Tuning.load(path)
    for name, wrong in (("motion", "[0, 0, -1]"), ("turning", "[0, -1]")):
        path.write_text(
            f"{tuning.text()}\n[displacement]\nvariance = [1, 2, 3]\n{name} = {wrong}\n", "utf-8"
        )
        with pytest.raises(InputError, match=f"{name} must be 0 or more"):
            Tuning.load(path)
    for wrong, told in (("[1, 2]", "3 numbers"), ("[1, 2, 0]", "positive"), ("7", "3 numbers")):
        path.write_text(tuning.text() + f"\n[displacement]\nvariance = {wrong}\n", "utf-8")
        with pytest.raises(InputError, match=told):
            Tuning.load(path)
