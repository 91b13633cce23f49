from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mien.models.errors import InputError
from mien.models.face.names import BLENDSHAPE_INDEX
from mien.models.face.rotation import (
    matrix_from_quaternion,
    matrix_from_yaw_pitch_roll,
    pan_tilt,
    quaternion_from_matrix,
    quaternion_multiply,
)
from mien.stream.neutral import (
    AXES,
    HeadPose,
    Neutral,
    PrimaryFace,
    quaternion_from_yaw_pitch_roll,
)
from mien.stream.observation import FaceObservation

Maker = Callable[..., FaceObservation]

angles = st.tuples(st.floats(-179, 179), st.floats(-89, 89), st.floats(-179, 179))
places = st.tuples(*(st.floats(-500, 500),) * 3)


def pose_fields(
    quat_wxyz: np.ndarray, place_mm: tuple[float, ...] | np.ndarray
) -> dict[str, float]:
    names = ("qw", "qx", "qy", "qz", "tx", "ty", "tz")
    return dict(zip(names, [*map(float, quat_wxyz), *map(float, place_mm)], strict=True))


def assert_equal(one: HeadPose, other: HeadPose) -> None:
    np.testing.assert_allclose(
        matrix_from_quaternion(one.quat_wxyz), matrix_from_quaternion(other.quat_wxyz), atol=1e-9
    )
    np.testing.assert_allclose(one.translation_mm, other.translation_mm, atol=1e-9)


@pytest.fixture(scope="module")
def turned(make_face_row: Maker) -> Maker:
    def make(
        yaw_pitch_roll_deg: tuple[float, float, float] = (0.0, 0.0, 0.0),
        place_mm: tuple[float, float, float] = (0.0, 0.0, 600.0),
        **fields: Any,
    ) -> FaceObservation:
        """A head with the angles that rows have (pitch outermost)."""
        quat_wxyz = quaternion_from_matrix(matrix_from_yaw_pitch_roll(np.array(yaw_pitch_roll_deg)))
        return make_face_row(**pose_fields(quat_wxyz, place_mm), **fields)

    return make


def test_before_centring_the_camera_is_straight_ahead_and_the_first_place_is_zero(
    turned: Maker,
) -> None:
    neutral = Neutral()
    first = neutral.relative(turned((10.0, 0.0, 0.0), (50.0, -20.0, 600.0)))
    assert first.yaw_pitch_roll_deg == pytest.approx((10.0, 0.0, 0.0), abs=1e-9)
    assert first.translation_mm.tolist() == [0.0, 0.0, 0.0]
    second = neutral.relative(turned((0.0, -7.0, 3.0), (60.0, -10.0, 570.0)))
    assert second.yaw_pitch_roll_deg == pytest.approx((0.0, -7.0, 3.0), abs=1e-9)
    assert second.translation_mm.tolist() == pytest.approx([10.0, 10.0, -30.0])


@given(angles=angles, place=places)
def test_the_pose_that_was_centred_on_is_the_identity(
    make_face_row: Maker, angles: tuple[float, float, float], place: tuple[float, float, float]
) -> None:
    row = make_face_row(**pose_fields(quaternion_from_yaw_pitch_roll(*angles), place))
    neutral = Neutral()
    neutral.relative(make_face_row(track=1))
    neutral.center()
    assert_equal(neutral.relative(row), HeadPose(np.array([1.0, 0, 0, 0]), np.zeros(3)))


@given(rest=angles, move=angles, shift=places)
def test_moves_are_along_the_axes_of_the_head_that_was_centred_on(
    make_face_row: Maker,
    rest: tuple[float, float, float],
    move: tuple[float, float, float],
    shift: tuple[float, float, float],
) -> None:
    rest_wxyz, move_wxyz = (quaternion_from_yaw_pitch_roll(*one) for one in (rest, move))
    place_mm = np.array([30.0, -40.0, 700.0])
    moved_mm = place_mm + matrix_from_quaternion(rest_wxyz) @ np.array(shift)
    neutral = Neutral()
    neutral.center()
    neutral.relative(make_face_row(**pose_fields(rest_wxyz, place_mm)))
    moved = make_face_row(**pose_fields(quaternion_multiply(rest_wxyz, move_wxyz), moved_mm))
    assert_equal(neutral.relative(moved), HeadPose(move_wxyz, np.array(shift)))


@given(angles=angles)
def test_angles_give_the_rotation_back_and_point_the_nose_as_pan_and_tilt_do(
    angles: tuple[float, float, float],
) -> None:
    pose = HeadPose(quaternion_from_yaw_pitch_roll(*angles), np.zeros(3))
    again = HeadPose(quaternion_from_yaw_pitch_roll(*pose.yaw_pitch_roll_deg), np.zeros(3))
    assert_equal(again, pose)
    assert pose.yaw_pitch_roll_deg == pytest.approx(angles, abs=1e-5)


def test_yaw_is_pan_and_pitch_is_tilt() -> None:
    quat_wxyz = quaternion_from_matrix(matrix_from_yaw_pitch_roll(np.array([49.0, 48.0, 12.0])))
    yaw, pitch, _ = HeadPose(quat_wxyz, np.zeros(3)).yaw_pitch_roll_deg
    np.testing.assert_allclose((yaw, pitch), pan_tilt(np.array(49.0), np.array(48.0)), atol=1e-9)


@pytest.mark.parametrize("pitch", [90.0, -90.0])
def test_looking_straight_up_or_down_has_angles(pitch: float) -> None:
    pose = HeadPose(quaternion_from_yaw_pitch_roll(30.0, pitch, 0.0), np.zeros(3))
    again = quaternion_from_yaw_pitch_roll(*pose.yaw_pitch_roll_deg)
    assert_equal(HeadPose(again, np.zeros(3)), pose)


@given(angles=angles, place=places, axes=st.sets(st.sampled_from(AXES)))
def test_inverting_twice_changes_nothing(
    angles: tuple[float, float, float], place: tuple[float, float, float], axes: set[str]
) -> None:
    pose = HeadPose(quaternion_from_yaw_pitch_roll(*angles), np.array(place))
    assert_equal(pose.inverted(axes).inverted(axes), pose)


@pytest.mark.parametrize("axis", AXES)
def test_each_axis_is_inverted_by_itself(turned: Maker, axis: str) -> None:
    def numbers(neutral: Neutral) -> dict[str, float]:
        neutral.relative(turned())
        pose = neutral.relative(turned((8.0, 0.0, 0.0), (11.0, -12.0, 613.0)))
        nodding = neutral.relative(turned((0.0, 9.0, 0.0)))
        tilted = neutral.relative(turned((0.0, 0.0, 10.0)))
        values = [*pose.translation_mm, pose.yaw_pitch_roll_deg[0]]
        values += [nodding.yaw_pitch_roll_deg[1], tilted.yaw_pitch_roll_deg[2]]
        return dict(zip(AXES, values, strict=True))

    plain = numbers(Neutral())
    assert plain == pytest.approx({"x": 11, "y": -12, "z": 13, "yaw": 8, "pitch": 9, "roll": 10})
    assert numbers(Neutral(invert=[axis])) == pytest.approx({**plain, axis: -plain[axis]})
    both = numbers(Neutral(mirror=True, invert=[axis]))
    assert both[axis] == pytest.approx(plain[axis] * (1 if axis in {"x", "yaw", "roll"} else -1))


def test_a_mirror_swaps_left_and_right(turned: Maker, make_face_row: Maker) -> None:
    values = np.linspace(0.0, 1.0, 52, dtype=np.float32)
    row = make_face_row(blendshapes=values)
    neutral = Neutral(mirror=True)
    neutral.relative(turned())
    pose = neutral.relative(turned((20.0, 0.0, 0.0), (15.0, 5.0, 600.0)))
    assert pose.yaw_pitch_roll_deg[0] == pytest.approx(-20.0)
    assert pose.translation_mm.tolist() == pytest.approx([-15.0, 5.0, 0.0])
    mirrored = neutral.blendshapes(row)
    assert mirrored is not None
    at = BLENDSHAPE_INDEX
    assert mirrored[at["eyeBlinkLeft"]] == values[at["eyeBlinkRight"]]
    assert mirrored[at["jawLeft"]] == values[at["jawRight"]]
    assert mirrored[at["jawOpen"]] == values[at["jawOpen"]]
    again = neutral.blendshapes(msgspec.structs.replace(row, blendshapes=mirrored))
    np.testing.assert_array_equal(again, values)


def test_blendshapes_are_clipped_and_what_is_no_number_is_none(make_face_row: Maker) -> None:
    values = np.full(52, 1.25, np.float32)
    values[0] = -0.5
    clipped = Neutral().blendshapes(make_face_row(blendshapes=values))
    assert clipped is not None
    assert clipped.tolist() == [0.0] + [1.0] * 51
    values[7] = np.nan
    assert Neutral().blendshapes(make_face_row(blendshapes=values)) is None
    assert Neutral().blendshapes(make_face_row(blendshapes=None)) is None


def test_a_predicted_pose_is_not_taken_as_neutral(turned: Maker) -> None:
    neutral = Neutral()
    neutral.relative(turned())
    neutral.center()
    predicted = neutral.relative(turned((15.0, 0.0, 0.0), observed=False))
    assert predicted.yaw_pitch_roll_deg[0] == pytest.approx(15.0)
    assert neutral.relative(turned((12.0, 0.0, 0.0))).yaw_pitch_roll_deg[0] == pytest.approx(0.0)
    assert neutral.relative(turned((13.0, 0.0, 0.0))).yaw_pitch_roll_deg[0] == pytest.approx(1.0)


def test_outputs_that_share_it_agree_on_a_frame_even_when_it_is_centred(turned: Maker) -> None:
    neutral = Neutral()
    row = turned((5.0, 0.0, 0.0))
    first = neutral.relative(row)
    neutral.center()
    assert neutral.relative(row) is first
    assert neutral.relative(turned((5.0, 0.0, 0.0))).yaw_pitch_roll_deg[0] == pytest.approx(0.0)


def test_centring_from_another_thread(turned: Maker) -> None:
    neutral = Neutral()
    rows = [turned((float(i % 40), 0.0, 0.0)) for i in range(300)]
    stop = threading.Event()

    def press() -> None:
        while not stop.is_set():
            neutral.center()

    presser = threading.Thread(target=press)
    presser.start()
    try:
        poses = [neutral.relative(row) for row in rows]
    finally:
        stop.set()
        presser.join()
    assert all(pose.finite for pose in poses)
    neutral.relative(turned((7.0, 0.0, 0.0)))  # takes a request that is still pending
    neutral.center()
    assert neutral.relative(turned((9.0, 0.0, 0.0))).yaw_pitch_roll_deg[0] == pytest.approx(0.0)


@pytest.mark.parametrize("fields", [{"tx": np.nan}, {"qx": np.inf}, {"qw": 0.0}])
def test_a_pose_that_is_no_pose_is_not_finite_and_is_never_neutral(
    make_face_row: Maker, turned: Maker, fields: dict[str, float]
) -> None:
    neutral = Neutral()
    neutral.center()
    assert not neutral.relative(make_face_row(**fields)).finite
    assert neutral.relative(turned((9.0, 0.0, 0.0))).yaw_pitch_roll_deg[0] == pytest.approx(0.0)


def test_an_axis_that_there_is_not() -> None:
    with pytest.raises(InputError, match="no axis tilt"):
        Neutral(invert=["yaw", "tilt"])


def test_the_primary_face_is_the_lowest_track_until_it_ends(make_face_row: Maker) -> None:
    def track(number: int, observed: bool = True) -> FaceObservation:
        return make_face_row(track=number, observed=observed)

    def chosen(*rows: FaceObservation) -> int | None:
        row = primary.choose(rows)
        return None if row is None else row.track

    primary = PrimaryFace()
    assert chosen() is None
    assert chosen(track(2, observed=False)) is None
    assert chosen(track(5), track(3)) == 3
    assert chosen(track(1), track(3)) == 3, "kept though a lower one came"
    assert chosen(track(1), track(3, observed=False)) == 3, "kept through a gap"
    assert chosen(track(5), track(4, observed=False)) == 5
    assert chosen() is None
    assert chosen(track(1), track(5)) == 1
