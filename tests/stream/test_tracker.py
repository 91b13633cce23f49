"""Lives of tracks, frame by frame, with exact labels in place of the networks."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from importlib import resources
from pathlib import Path

import numpy as np
import pytest

from mien.models.errors import InputError
from mien.models.face.bundle import Bundle, BundleInfo
from mien.models.face.crop import crop_from_landmarks
from mien.models.face.rotation import angle_between_deg, matrix_from_yaw_pitch_roll
from mien.stream import FaceObservation, FaceTracker, Frame, TrackerConfig

from .tracked_world import CAMERA, WIDTH, Person, World

MS = 1_000_000
STEP = 33 * MS


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    folder = Path(str(resources.files("mien.models.weights.default")))
    info = BundleInfo("test", "0", "CC0-1.0", "", "", "")
    return Bundle(folder, info, "0" * 64, {})


@pytest.fixture
def world(bundle: Bundle) -> World:
    return World(bundle)


MakeTracker = Callable[..., FaceTracker]


@pytest.fixture
def make(bundle: Bundle, world: World) -> MakeTracker:
    def build(max_faces: int = 1, **settings: object) -> FaceTracker:
        return FaceTracker(
            bundle,
            CAMERA,
            max_faces=max_faces,
            detector=world,
            regressor=world,
            **settings,  # pyright: ignore[reportArgumentType] - forwarded by name in tests only
        )

    return build


def run(
    tracker: FaceTracker,
    world: World,
    frames: int,
    start: int = 0,
    move: Callable[[int], None] | None = None,
) -> list[list[FaceObservation]]:
    rows = []
    for frame in range(start, start + frames):
        if move is not None:
            move(frame)
        rows.append(tracker.update(world.image, frame * STEP))
    return rows


def test_the_pose_published_is_the_true_one(make: MakeTracker, world: World) -> None:
    rng = np.random.default_rng(0)
    for smoothing in ("raw", "responsive"):
        person = Person((120.0, 60.0, 500.0), (25.0, -10.0, 8.0))
        person.shape = rng.normal(size=40).astype(np.float32) * 0.7
        person.blendshapes = rng.uniform(0, 0.6, 52).astype(np.float32)
        world.people = [person]
        row = run(make(smoothing=smoothing), world, 10)[-1][0]
        assert row.observed
        assert (row.yaw, row.pitch, row.roll) == pytest.approx(person.angles, abs=0.6)
        assert (row.tx, row.ty, row.tz) == pytest.approx(person.t, rel=0.02)
        error = np.abs(row.landmarks_px - world.marks(person)).mean()
        # The landmarks' orthography leaves out a close-up's foreshortening.
        assert error < 0.015 * np.sqrt(row.box_w * row.box_h)
        x, y, w, h = row.box_x, row.box_y, row.box_w, row.box_h
        low, high = row.landmarks_px.min(axis=0), row.landmarks_px.max(axis=0)
        assert (x, y, x + w, y + h) == pytest.approx((*low, *high), abs=1e-3)
        assert row.blendshapes is not None
        np.testing.assert_allclose(row.blendshapes, person.blendshapes, atol=0.02)


def test_the_detector_runs_once_while_the_only_face_is_followed(
    make: MakeTracker, world: World
) -> None:
    world.people = [Person()]
    rows = run(make(), world, 60)
    assert world.detections == 1
    assert all(len(r) == 1 and r[0].observed and r[0].track == 0 for r in rows)
    assert world.looks == 2 + 59, "two looks confirm the detection, then one a frame"


def test_a_moving_face_is_followed_without_detection(make: MakeTracker, world: World) -> None:
    person = Person()
    world.people = [person]

    def move(frame: int) -> None:
        person.t = (150.0 * np.sin(frame / 12.0), -30.0, 600.0 + 100.0 * np.sin(frame / 20.0))
        person.angles = (40.0 * np.sin(frame / 10.0), 0.0, 10.0 * np.cos(frame / 10.0))

    rows = run(make(), world, 100, move=move)
    assert world.detections == 2, "the first, and a check after 2 s"
    assert all(r[0].observed for r in rows)
    assert abs(rows[-1][0].tx - person.t[0]) < 10.0


def test_a_face_that_goes_is_predicted_then_lost_and_comes_back_as_itself(
    make: MakeTracker, world: World
) -> None:
    person = Person()
    tracker = make()
    world.people = [person]
    run(tracker, world, 10)
    world.people = []
    gone = run(tracker, world, 30, start=10)
    counts = [len(r) for r in gone]
    assert counts == [1] * 15 + [0] * 15, "33 ms a frame: 15 frames are predictions"
    assert not any(r.observed for rows in gone for r in rows)
    first, last = gone[0][0].pose_variance, gone[14][0].pose_variance
    assert first is not None
    assert last is not None
    assert np.all(last > first)
    world.people = [person]
    back = run(tracker, world, 6, start=40)
    found = [i for i, rows in enumerate(back) if rows and rows[0].observed]
    assert found[0] <= 4
    assert back[-1][0].track == 0, "near, soon and of the same shape: the same person"


def test_a_number_is_never_used_for_another_face(make: MakeTracker, world: World) -> None:
    tracker = make()
    world.people = [Person((-150.0, -30.0, 600.0))]
    run(tracker, world, 10)
    world.people = []
    run(tracker, world, 30, start=10)
    other = Person((150.0, 20.0, 900.0), shape=np.full(40, 1.5, np.float32))
    world.people = [other]
    rows = run(tracker, world, 10, start=40)
    assert rows[-1][0].track == 1
    world.people = []
    run(tracker, world, 200, start=50)
    world.people = [other]
    assert run(tracker, world, 10, start=250)[-1][0].track == 2, "forgotten after the memory's time"


def test_presence_has_hysteresis(make: MakeTracker, world: World) -> None:
    config = TrackerConfig(find_presence=0.9, regain_presence=0.6, lose_presence=0.35)
    tracker = make(config=config)
    world.people = [Person()]
    world.presence = 0.7
    assert not any(run(tracker, world, 5)), "not enough to be found"
    world.presence = 0.95
    run(tracker, world, 5, start=5)
    world.presence = 0.5
    assert all(r[0].observed for r in run(tracker, world, 5, start=10)), "enough to stay"
    world.presence = 0.3
    assert not any(r[0].observed for r in run(tracker, world, 3, start=15))
    world.presence = 0.5
    assert not any(r[0].observed for r in run(tracker, world, 3, start=18)), "not yet back"
    world.presence = 0.7
    assert run(tracker, world, 1, start=21)[0][0].observed
    assert run(tracker, world, 1, start=22)[0][0].track == 0


def test_what_the_presence_does_not_confirm_is_no_face(make: MakeTracker, world: World) -> None:
    world.fakes = [np.array([300.0, 200.0, 80.0, 80.0, 0.9])]
    assert not any(run(make(max_faces=3), world, 20))
    assert world.detections in range(4, 8), "searched at intervals, not in every frame"


def test_two_faces_cross_and_keep_their_numbers(make: MakeTracker, world: World) -> None:
    rng = np.random.default_rng(5)
    near = Person((0, -30, 600), shape=rng.normal(size=40).astype(np.float32))
    far = Person((0, -20, 800), shape=rng.normal(size=40).astype(np.float32))
    world.people = [near, far]

    def move(frame: int) -> None:
        near.t = (-200.0 + 8.0 * frame, -30.0, 600.0)
        far.t = (220.0 - 8.0 * frame, -20.0, 800.0)

    tracker = make(max_faces=2)
    rows = run(tracker, world, 52, move=move)
    start = {r.track: r.tx for r in rows[5] if r.observed}
    end = {r.track: r.tx for r in rows[-1] if r.observed}
    assert set(start) == set(end) == {0, 1}
    for number in (0, 1):
        assert np.sign(start[number]) != np.sign(end[number]), "each went on to the other side"
    hidden = [sum(r.observed for r in frame) for frame in rows]
    assert min(hidden) == 1, "the far one was covered for a while"


def test_two_tracks_never_stay_on_one_face(make: MakeTracker, world: World) -> None:
    person = Person()
    world.people = [person]
    tracker = make(max_faces=3)
    x, y = world.marks(person).mean(axis=0)
    world.fakes = [np.array([x - 60, y - 80, 100.0, 100.0, 0.8])]  # a second box on the same face
    rows = run(tracker, world, 40)
    assert all(len(r) == 1 for r in rows)


def test_a_track_that_slid_off_goes_back_to_its_face(make: MakeTracker, world: World) -> None:
    person = Person((-60.0, -30.0, 600.0))
    world.people = [person]
    tracker = make()
    run(tracker, world, 10)
    elsewhere = Person((60.0, 60.0, 700.0))
    world.people = [elsewhere]
    drifted = tracker._tracks[0]
    drifted.restart(tracker.smoothing)
    drifted.take(
        tracker._fitter.look(world.image, [crop_from_landmarks(world.marks(elsewhere))])[0]
        or pytest.fail("the fake network sees every face"),
        CAMERA,
    )
    # The network goes on to see something there; only the detector knows better.
    world.detectable = [person]
    world.people = [person, elsewhere]
    rows = run(tracker, world, 70, start=10)
    assert rows[5][0].tx > 0.0
    assert rows[-1][0].tx < 0.0, "back after the interval of the check"
    assert {r.track for frame in rows for r in frame} == {0}


def test_a_second_face_is_found_at_the_interval(make: MakeTracker, world: World) -> None:
    world.people = [Person((-120.0, -30.0, 600.0))]
    tracker = make(max_faces=2)
    run(tracker, world, 10)
    world.people = [*world.people, Person((150.0, 0.0, 700.0))]
    rows = run(tracker, world, 20, start=10)
    assert len(rows[0]) == 1
    assert len(rows[-1]) == 2
    assert [r.track for r in rows[-1]] == [0, 1]
    assert world.detections <= 4


def test_a_face_that_leaves_the_frame_is_not_seen(make: MakeTracker, world: World) -> None:
    person = Person()
    world.people = [person]

    def move(frame: int) -> None:
        person.t = (15.0 * frame, -30.0, 600.0)

    rows = run(make(), world, 60, move=move)
    for row in (r for frame in rows for r in frame if r.observed):
        assert row.box_x < WIDTH
        assert row.box_x + row.box_w > 0
    assert not rows[-1]


def test_time_may_stand_still_or_go_back(make: MakeTracker, world: World) -> None:
    world.people = [Person()]
    tracker = make()
    for t in (0, 40, 40, 20, -5, 100, 10_000, 10_040):
        rows = tracker.update(world.image, t * MS)
        assert len(rows) == 1
        assert rows[0].observed
        assert np.isfinite(rows[0].tz)
    world.people = []
    counts = [len(tracker.update(world.image, 10_040 * MS)) for _ in range(80)]
    assert counts[-1] == 0, "without time, frames end the gap"


def test_a_frame_of_a_source_gives_its_times(make: MakeTracker, world: World) -> None:
    world.people = [Person()]
    tracker = make()
    file = tracker.track(Frame(world.image, 7, t_media_ns=280 * MS))[0]
    assert (file.frame, file.t_media_ns, file.t_capture_ns) == (7, 280 * MS, None)
    live = tracker.track(Frame(world.image, 8, t_capture_ns=320 * MS))[0]
    assert (live.frame, live.t_media_ns, live.t_capture_ns) == (8, None, 320 * MS)


def test_two_runs_are_equal_and_reset_starts_over(make: MakeTracker, world: World) -> None:
    world.people = [Person(angles=(20.0, 5.0, 0.0))]
    tracker = make()
    first = run(tracker, world, 5)
    tracker.reset()
    assert run(tracker, world, 5) == first
    assert run(make(), world, 5) == first


def test_given_boxes_replace_the_detector(make: MakeTracker, world: World) -> None:
    person = Person()
    world.people = [person]
    x, y = world.marks(person).mean(axis=0)
    boxes = np.array([[x - 60, y - 75, 120, 130]], np.float32)
    rows = make().update(world.image, 0, boxes)
    assert world.detections == 0
    assert rows[0].observed
    still = make().fit(world.image, boxes)
    assert world.detections == 0
    assert still[0].tz == pytest.approx(600.0, rel=0.02)
    world.presence = 0.8
    assert make().update(world.image, 0, boxes), "a person vouches for it"
    assert not make().update(world.image, 0), "a detector's word needs more"
    assert make().fit(world.image, np.zeros((0, 4), np.float32)) == []


def test_a_still_is_fitted_without_memory(make: MakeTracker, world: World) -> None:
    world.people = [Person((-120.0, 0.0, 600.0)), Person((140.0, 0.0, 700.0))]
    tracker = make(max_faces=5)
    rows = tracker.fit(world.image)
    assert sorted(round(r.tx, -1) for r in rows) == [-120.0, 140.0]
    assert [r.track for r in rows] == [0, 1]
    assert tracker.fit(world.image) == rows
    assert len(make(max_faces=1).fit(world.image)) == 1


def test_the_pupils_distance_sets_the_size(make: MakeTracker, world: World) -> None:
    world.people = [Person()]
    plain = run(make(), world, 5)[-1][0]
    scaled = run(make(ipd_mm=66.0), world, 5)[-1][0]
    marks = world.model.mean[world.model.landmark_vertices]
    ipd = np.linalg.norm(marks[[42, 45]].mean(axis=0) - marks[[36, 39]].mean(axis=0))
    assert scaled.tz / plain.tz == pytest.approx(66.0 / float(ipd), rel=1e-3)
    np.testing.assert_allclose(scaled.landmarks, plain.landmarks, atol=0.05)
    assert scaled.pose_variance is not None
    assert plain.pose_variance is not None
    assert scaled.pose_variance[5] < 0.25 * plain.pose_variance[5], "the size is known"
    assert np.sqrt(plain.pose_variance[5]) > 0.04 * plain.tz
    with pytest.raises(InputError, match="ipd_mm"):
        make(ipd_mm=6.5)


def test_the_mesh_lies_where_the_landmarks_do(make: MakeTracker, world: World) -> None:
    world.people = [Person(angles=(30.0, 0.0, 0.0))]
    tracker = make()
    row = run(tracker, world, 3)[-1][0]
    mesh = tracker.mesh_px(row)
    np.testing.assert_allclose(mesh[world.model.landmark_vertices], row.landmarks_px, atol=0.05)
    turned = matrix_from_yaw_pitch_roll(np.array([row.yaw, row.pitch, row.roll]))
    assert float(angle_between_deg(turned, world.people[0].rotation)) < 0.6


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((4, 4), np.uint8),
        np.zeros((4, 4, 3), np.float32),
        np.zeros((4, 4, 4), np.uint8),
        np.zeros((0, 4, 3), np.uint8),
    ],
)
def test_what_is_no_picture_is_refused(make: MakeTracker, image: np.ndarray) -> None:
    with pytest.raises(InputError, match="expected a"):
        make().update(image, 0)


def test_impossible_settings_are_refused(make: MakeTracker, world: World) -> None:
    with pytest.raises(InputError, match="max_faces"):
        make(max_faces=0)
    for wrong in ({"lose_presence": 0.9}, {"regain_presence": 0.96}, {"find_presence": 1.1}):
        with pytest.raises(InputError, match="lose_presence <= regain_presence <= find_presence"):
            replace(TrackerConfig(), **wrong)
    with pytest.raises(InputError, match="memory_s"):
        TrackerConfig(memory_s=-1.0)
    with pytest.raises(InputError, match="boxes"):
        make().fit(world.image, np.array([[1.0, 2.0, 0.0, 4.0]], np.float32))
    with pytest.raises(InputError, match="boxes"):
        make().fit(world.image, np.ones((2, 3), np.float32))


@pytest.mark.parametrize(
    ("call", "words"),
    [
        ("checked_time(0.5)", "0.5, expected integer nanoseconds"),
        ("FaceTracker(camera='60')", "'60', expected a Camera"),
    ],
)
def test_values_of_another_type_are_refused(call: str, words: str) -> None:
    # In another process: here the tests check every type before mien does.
    imports = "from mien.stream import FaceTracker; from mien.stream.rows import checked_time"
    done = subprocess.run(
        [sys.executable, "-c", f"{imports}; {call}"], capture_output=True, text=True, check=False
    )
    last = done.stderr.splitlines()[-1]
    assert last.startswith("mien.models.errors.InputError: ")
    assert words in last


def test_a_given_camera_holds_for_its_aspect_ratio(make: MakeTracker) -> None:
    tracker = make()
    tracker.update(np.zeros((240, 320, 3), np.uint8), 0)
    with pytest.raises(InputError, match="another aspect ratio"):
        tracker.update(np.zeros((360, 640, 3), np.uint8), 1)


@pytest.mark.parametrize("size", [(1, 1), (8, 640), (480, 640)])
def test_pictures_of_any_size(bundle: Bundle, world: World, size: tuple[int, int]) -> None:
    tracker = FaceTracker(bundle, detector=world, regressor=world)
    assert tracker.update(np.zeros((*size, 3), np.uint8), 0) == []
    assert tracker.camera is not None
    assert (tracker.camera.height, tracker.camera.width) == size
