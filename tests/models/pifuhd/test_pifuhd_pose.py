"""Points in the head's axes: the same for every turn, crop and side, and about as fits are."""

from dataclasses import fields, replace
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from mien.models.face.camera import Camera
from mien.models.face.rotation import angle_between_deg, matrix_from_yaw_pitch_roll
from mien.models.pifuhd.augment import Augmentation, Placement
from mien.models.pifuhd.cases import held_out_cases
from mien.models.pifuhd.dataset import SHARES, BatchOptions, BatchSource, PeopleFolder
from mien.models.pifuhd.framing import (
    CENTRE_MM,
    CUBE_MM,
    centre_in_camera,
    cube_from_head,
    sight_from_head,
)
from mien.models.pifuhd.place import PictureCube
from mien.models.pifuhd.pose import FitError, inverse, told_pose

EXACT = FitError((0.0, 0.0, 0.0), 0.0, 0.0)
STILL = Augmentation(*[0.0] * len(fields(Augmentation)))
CAMERA = Camera.from_fov(640, 480)
angles = st.tuples(st.floats(-80, 80), st.floats(-30, 30), st.floats(-30, 30))
places = st.builds(
    Placement,
    scale=st.floats(0.8, 1.2),
    right=st.floats(-0.2, 0.2),
    down=st.floats(-0.2, 0.2),
    mirrored=st.booleans(),
    roll_deg=st.floats(-40, 40),
)


def _applied(similarity: np.ndarray, points: np.ndarray) -> np.ndarray:
    return points @ similarity[:, :3].T + similarity[:, 3]


@settings(max_examples=50, deadline=None)
@given(turned=angles, place=places, seed=st.integers(0, 99))
def test_a_point_of_the_head_is_told_the_same_however_it_is_seen(
    turned: tuple[float, float, float], place: Placement, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    points_mm = rng.uniform(-200, 200, (20, 3)) + CENTRE_MM
    cube = cube_from_head(matrix_from_yaw_pitch_roll(np.array(turned)))
    in_crop = place.points(_applied(cube, points_mm).astype(np.float32))
    told = _applied(told_pose(cube, place, EXACT, rng), in_crop)
    side = np.array([-1.0 if place.mirrored else 1.0, 1, 1])
    np.testing.assert_allclose(told, side * (points_mm - CENTRE_MM) / (CUBE_MM / 2), atol=2e-5)


@settings(max_examples=30, deadline=None)
@given(turned=angles, place=places)
def test_what_is_told_is_a_turn_and_a_size(
    turned: tuple[float, float, float], place: Placement
) -> None:
    cube = cube_from_head(matrix_from_yaw_pitch_roll(np.array(turned)))
    linear = told_pose(cube, place, EXACT, np.random.default_rng(0))[:, :3].astype(np.float64)
    np.testing.assert_allclose(linear @ linear.T * place.scale**2, np.eye(3), atol=1e-5)
    assert np.linalg.det(linear) > 0  # of mirrored pictures too


@settings(max_examples=30, deadline=None)
@given(turned=angles, x=st.floats(-0.3, 0.3), y=st.floats(-0.3, 0.3), z=st.floats(400, 2000))
def test_a_fitted_face_tells_what_training_tells(
    turned: tuple[float, float, float], x: float, y: float, z: float
) -> None:
    pose = np.eye(4)
    pose[:3, :3] = matrix_from_yaw_pitch_roll(np.array(turned))
    pose[:3, 3] = x * z, y * z, z
    centre = centre_in_camera(pose[:3, :3], pose[:3, 3])
    for roll in (0.0, 20.0):
        view = PictureCube.looking_at(centre, CUBE_MM, CAMERA.matrix, roll)
        # In training: a head's cube, turned as the line of sight sees the head.
        sight = sight_from_head(pose[:3, :3], pose[:3, 3])
        upright = matrix_from_yaw_pitch_roll(np.array([0.0, 0.0, roll])).T
        cube = cube_from_head(upright @ sight)
        trained = told_pose(cube, Placement(), EXACT, np.random.default_rng(0))
        np.testing.assert_allclose(view.head_from_cube(pose), trained, atol=2e-5)
        # By way of millimetres; what is near the middle is not bent by the perspective.
        points = np.random.default_rng(1).uniform(-0.01, 0.01, (9, 3))
        in_head = (view.camera_from_cube_points(points) - pose[:3, 3]) @ pose[:3, :3]
        told = _applied(view.head_from_cube(pose), points)
        np.testing.assert_allclose(told, (in_head - CENTRE_MM) / (CUBE_MM / 2), atol=1e-4)


def test_of_a_larger_cube_the_same_head_is_told() -> None:
    pose = np.eye(4)
    pose[:3, 3] = 50, -300, 2500
    body = PictureCube.looking_at(np.array([0.0, 400.0, 2600.0]), 2000.0, CAMERA.matrix)
    between_the_eyes = body.cube_from_camera_points(pose[None, :3, 3])
    told = _applied(body.head_from_cube(pose), between_the_eyes)
    # Perspective bends a body's cube by a few centimetres of its metre.
    np.testing.assert_allclose(told * CUBE_MM / 2, -CENTRE_MM[None], atol=120)


def test_fits_stray_as_far_as_is_said() -> None:
    error, rng = FitError(), np.random.default_rng(0)
    cube = np.c_[matrix_from_yaw_pitch_roll(np.array([30.0, -10.0, 5.0])), [0.02, 0.03, 0.0]]
    origin = -CENTRE_MM / (CUBE_MM / 2)
    before = _applied(cube, origin)
    strayed = [error.strayed(cube, rng) for _ in range(4000)]
    sizes = np.array([np.cbrt(np.linalg.det(s[:, :3])) for s in strayed])
    assert abs(np.log(sizes).std() - 0.03) < 2e-3
    moved = np.array([_applied(s, origin) - before for s in strayed])
    np.testing.assert_allclose(moved.std(0), [0.01, 0.01, 0.0], atol=6e-4)
    turns = [
        angle_between_deg(s[:, :3] / c, cube[:, :3]) for s, c in zip(strayed, sizes, strict=True)
    ]
    assert abs(np.sqrt(np.square(turns).mean()) - np.linalg.norm(error.turn_deg)) < 0.15
    np.testing.assert_allclose(EXACT.strayed(cube, rng), cube, atol=1e-12)
    np.testing.assert_allclose(_applied(inverse(cube), before), origin, atol=1e-12)


def test_a_mirrored_picture_has_the_mirrored_points_labels_and_pose(ellipsoids: Path) -> None:
    people = PeopleFolder(ellipsoids)
    batches = []
    for share in (0.0, 1.0):
        varied = replace(STILL, mirror=share, scale=0.08, shift=0.08)
        options = BatchOptions(
            64, 4, 500, SHARES["coarse"], front=True, augmentation=varied, fit=EXACT
        )
        batches.append(BatchSource(people.training, options, 5).batch(0))
    plain, mirrored = batches
    assert plain.head_from_cube is not None
    assert mirrored.head_from_cube is not None
    np.testing.assert_array_equal(plain.inside, mirrored.inside)
    for k in range(4):
        there, here = (
            _applied(pose[k].astype(np.float64), batch.points[k])
            for pose, batch in (
                (plain.head_from_cube, plain),
                (mirrored.head_from_cube, mirrored),
            )
        )
        np.testing.assert_allclose(here, there * np.array([-1, 1, 1]), atol=3e-5)
        # The right of one is the left of the other, as far as they are shifted alike.
        np.testing.assert_allclose(plain.points[k][:, 1:], mirrored.points[k][:, 1:], atol=1e-6)


def test_no_pose_is_told_unasked_and_the_same_step_tells_the_same(ellipsoids: Path) -> None:
    people = PeopleFolder(ellipsoids)
    options = BatchOptions(64, 3, 10, augmentation=Augmentation())
    assert BatchSource(people.training, options, 0).batch(0).head_from_cube is None
    asked = replace(options, fit=FitError())
    first, again = (BatchSource(people.training, asked, 0).batch(3) for _ in range(2))
    assert first.head_from_cube is not None
    assert again.head_from_cube is not None
    assert first.head_from_cube.shape == (3, 3, 4)
    assert first.head_from_cube.dtype == np.float32
    np.testing.assert_array_equal(first.head_from_cube, again.head_from_cube)


def test_of_bodies_no_pose_is_known(ellipsoids: Path, tmp_path: Path) -> None:
    heads = PeopleFolder(ellipsoids)
    assert heads.has_heads
    first, again = (next(held_out_cases(heads, 64)).head_from_cube for _ in range(2))
    assert first is not None
    assert again is not None
    np.testing.assert_array_equal(first, again)
    for path in ellipsoids.iterdir():
        (tmp_path / path.name).symlink_to(path)
    (tmp_path / "meta.json").unlink()
    text = (ellipsoids / "meta.json").read_text().replace('"heads"', '"bodies"')
    (tmp_path / "meta.json").write_text(text)
    bodies = PeopleFolder(tmp_path)
    assert not bodies.has_heads
    assert next(held_out_cases(bodies, 64)).head_from_cube is None
