"""How a tuning is made: laws of all groups, motions as channels, variances that are true."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mien.models.errors import InputError
from mien.models.face.morphable import FaceModel
from mien.models.face.perspective import PerspectivePose
from mien.models.face.rotation import (
    matrix_from_quaternion,
    matrix_from_rotation_vector,
    quaternion_from_rotation_vector,
    quaternion_multiply,
)
from mien.stream.smoother import PRESETS, FaceMeasurement, PoseMeasurement, SmoothingConfig
from mien.stream.smoother.channels import (
    BLENDSHAPES,
    EXPRESSION,
    GROUPS,
    INDEPENDENT,
    MODES_OF,
    POSE_GROUPS,
    SHAPE_GROUPS,
)
from mien.stream.smoother.error_fit import MeasuredErrors
from mien.stream.smoother.pose import translation_from_view
from mien.stream.smoother.tuner import (
    TruePath,
    calibrate,
    correlate_pose,
    normalised_errors,
    trajectory,
    tune_errors,
)
from mien.stream.smoother.tuning import CONDITIONS, MODE_NAMES, Tuning, channels_of

DT = 1 / 30

STATED = np.array([1e-4, 1e-4, 1e-4, 1e-4, 1e-4, 0.25])
"""Of a depth so doubtful that the unknown size of the head, 4.5 %, hardly adds to it."""
WHITE, SLOW, SHARE, ERROR_S = 0.2, 2.0, 0.2, 0.3
Make = Callable[..., SmoothingConfig]


@pytest.fixture
def tuning(make_smoothing: Make) -> Tuning:
    """Of errors that are parts of the stated variance; of most a part stays for good."""
    made = make_smoothing((0.01, 0.1, 0.5), white=WHITE, slow=SLOW, share=SHARE).tuning
    assert made is not None
    return made


def true_path(
    rng: np.random.Generator, count: int, larger: float = 1.0, missed: tuple[int, ...] = ()
) -> TruePath:
    """A slowly turning head whose lasting errors have this much more variance than is stated."""
    keeps = math.exp(-DT / ERROR_S)
    new, passes = rng.normal(size=(2, count, 6))
    for frame in range(1, count):
        passes[frame] = keeps * passes[frame - 1] + math.sqrt(1.0 - keeps**2) * passes[frame]
    lasting = math.sqrt(SHARE) * passes + math.sqrt(1.0 - SHARE) * rng.normal(size=6)
    error = np.sqrt(STATED) * (math.sqrt(WHITE) * new + math.sqrt(larger * SLOW) * lasting)
    turns = 0.1 * DT * np.arange(count)[:, None] * rng.normal(size=3)
    start = quaternion_from_rotation_vector(rng.normal(size=3))
    quats = quaternion_multiply(quaternion_from_rotation_vector(turns), start)
    off = quaternion_multiply(quaternion_from_rotation_vector(error[:, :3]), quats)
    place = np.array([0.1, -0.1, 6.5])
    measured: list[FaceMeasurement | None] = [None] * count
    for frame in set(range(count)) - set(missed):
        pose = PerspectivePose(off[frame], translation_from_view(place + error[frame, 3:]))
        measured[frame] = FaceMeasurement(
            PoseMeasurement(pose, STATED), np.zeros(10), np.ones(10), None
        )
    t_ns = [1_000_000_000 + round(frame * DT * 1e9) for frame in range(count)]
    return TruePath(t_ns, measured, quats, np.tile(translation_from_view(place), (count, 1)))


@pytest.mark.parametrize("larger", [0.25, 6.0])
def test_calibrated_variances_are_true(tuning: Tuning, larger: float) -> None:
    rng = np.random.default_rng(0)
    paths = [true_path(rng, 9, larger, (4, 5)) for _ in range(40)]
    found = calibrate(tuning, paths)
    config = replace(PRESETS["responsive"], tuning=found)
    np.testing.assert_allclose(normalised_errors(config, paths), 1.0, atol=0.05)
    for name in tuning.groups:
        before, after = tuning.groups[name], found.groups[name]
        if name in POSE_GROUPS:
            moved = np.subtract(after.slow.level, before.slow.level)
            np.testing.assert_allclose(moved, math.log(larger), atol=0.45)
            level = before.slow.level
            assert replace(after, slow=replace(after.slow, level=level)) == before
        else:
            assert after == before
    assert found.modes == tuning.modes


def test_normalised_errors_are_of_each_part_and_of_what_was_seen(tuning: Tuning) -> None:
    """A film that ends without the face counts as far as the face was seen."""
    rng = np.random.default_rng(1)
    config = replace(PRESETS["responsive"], tuning=tuning)
    path = true_path(rng, 20)
    longer = TruePath(
        [*path.t_ns, path.t_ns[-1] + 10**9],
        [*path.measured, None],
        np.concatenate([path.quats, path.quats[-1:]]),
        np.concatenate([path.translation_mm, path.translation_mm[-1:] + 500.0]),
    )
    found = normalised_errors(config, [path])
    assert normalised_errors(config, [longer]) == found
    away = replace(path, translation_mm=path.translation_mm * 9.0)
    rotation, direction, depth = normalised_errors(config, [away])
    assert (rotation, direction) == pytest.approx(found[:2])
    assert depth > 5.0 * found[2]


def test_films_tell_how_the_poses_errors_last(tuning: Tuning) -> None:
    rng = np.random.default_rng(2)
    paths = [true_path(rng, 150, missed=(20,)) for _ in range(30)]  # the longer stretch counts
    found = correlate_pose(tuning, [*paths, true_path(rng, 100)], DT)
    for name in tuning.groups:
        before, after = tuning.groups[name], found.groups[name]
        if name not in POSE_GROUPS:
            assert after == before
            continue
        assert after.error_s == pytest.approx(ERROR_S, rel=0.35)
        assert after.error_share == before.error_share
        assert after.error_ratio == pytest.approx(SHARE * SLOW / WHITE, rel=0.4)
        assert (after.white, after.slow) == (before.white, before.slow)


def test_films_must_follow_a_face_for_long_enough(tuning: Tuning) -> None:
    short = true_path(np.random.default_rng(4), 200, missed=(100,))
    for paths in ([], [short]):
        with pytest.raises(InputError, match="120 frames"):
            correlate_pose(tuning, paths, DT)


def test_a_motion_is_laid_out_as_channels() -> None:
    rng = np.random.default_rng(5)
    points = 90
    expression = rng.normal(size=(10, points, 3)).astype(np.float32)
    mixed = rng.normal(size=(52, 10))
    units = np.einsum("be,enc->bnc", mixed, expression).astype(np.float32)
    model = FaceModel(
        mean=np.zeros((points, 3), np.float32),
        shape_basis=np.zeros((40, points, 3), np.float32),
        expression_basis=expression,
        blendshape_basis=units,
        triangles=np.array([[0, 1, 2]], np.int32),
        landmark_vertices=np.arange(68, dtype=np.int32),
        uv=np.zeros((points, 2), np.float32),
    )
    angles = np.array([[30.0, 0.0, 0.0], [0.0, 20.0, 0.0], [0.0, 0.0, -10.0]])
    place = np.array([[100.0, -50.0, 500.0], [0.0, 0.0, 900.0], [30.0, 60.0, 600.0]])
    blendshapes = rng.uniform(size=(3, 52))
    found = trajectory(model, DT, angles, place, blendshapes)
    assert found.dt_s == DT
    axes = np.radians([[0.0, 30.0, 0.0], [-20.0, 0.0, 0.0], [0.0, 0.0, -10.0]])
    for quat, axis in zip(found.quats, axes, strict=True):
        np.testing.assert_allclose(
            matrix_from_quaternion(quat), matrix_from_rotation_vector(axis), atol=1e-12
        )
    view = [[0.2, -0.1, math.log(500.0)], [0.0, 0.0, math.log(900.0)], [0.05, 0.1, math.log(600.0)]]
    np.testing.assert_allclose(found.values[:, 3:6], view)
    np.testing.assert_array_equal(found.values[:, BLENDSHAPES], blendshapes)
    np.testing.assert_allclose(found.values[:, EXPRESSION], blendshapes @ mixed, rtol=1e-4)


def measured_errors(rng: np.random.Generator, videos: int) -> dict[str, MeasuredErrors]:
    """Of every group; each has its own size."""
    errors = {}
    conditions = rng.normal(size=(videos, 1, len(CONDITIONS))) * np.ones((1, 9, 1))
    for number, name in enumerate((*GROUPS, *SHAPE_GROUPS)):
        shape = (videos, 9, len(channels_of(name)))
        stays = np.ones(shape) * rng.normal(size=(videos, 1, shape[-1]))
        error = 0.01 * 2.0**number * (rng.normal(size=shape) + stays)
        stated = -3.0 + 0.1 * rng.normal(size=shape)
        errors[name] = MeasuredErrors(error, stated, conditions, np.ones(videos, bool))
    return errors


def test_every_group_gets_its_laws_and_every_set_of_modes_its_shares(tmp_path: Path) -> None:
    rng = np.random.default_rng(6)
    found = tune_errors(measured_errors(rng, 150), DT)
    assert set(found.groups) == {*GROUPS, *SHAPE_GROUPS}
    assert set(found.modes) == set(MODE_NAMES)
    middle = np.zeros(len(CONDITIONS))
    for bank, names in ((found.face, GROUPS), (found.identity, SHAPE_GROUPS)):
        stated = np.full(len(bank.group), -3.0)
        white, passing, lasting = found.variances(bank, stated, middle)
        for name in names:
            own = channels_of(name)
            true = (0.01 * 2.0 ** (*GROUPS, *SHAPE_GROUPS).index(name)) ** 2
            assert np.mean(white[own]) == pytest.approx(true, rel=0.5)
            assert np.mean((passing + lasting)[own]) == pytest.approx(true, rel=0.5)
    for name, group in found.groups.items():
        evidence = found.modes[MODES_OF[name]].evidence
        assert (evidence == 1.0) == (name in INDEPENDENT), "of more channels, less than each"
        if name in POSE_GROUPS:
            assert group.white.stated == group.slow.stated == 1.0
    assert (np.array(found.lowest) < found.highest).all()
    file = tmp_path / "smoother.toml"
    file.write_text(found.text(), encoding="utf-8")
    assert set(Tuning.load(file).groups) == set(found.groups)


def test_too_few_errors_make_no_tuning() -> None:
    with pytest.raises(InputError, match="7 videos"):
        tune_errors(measured_errors(np.random.default_rng(7), 7), DT)
