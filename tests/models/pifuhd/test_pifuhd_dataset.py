"""People on disk, their split, and batches with everything moved together."""

import json
import shutil
from dataclasses import fields, replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mien.models.errors import InputError
from mien.models.pifuhd.augment import (
    Augmentation,
    Placement,
    photograph,
    placed_normals,
    placed_picture,
)
from mien.models.pifuhd.dataset import (
    SHARES,
    BatchOptions,
    BatchSource,
    PeopleFolder,
    Subject,
    split,
    subject_path,
)
from mien.models.pifuhd.mapped import map_arrays

STILL = Augmentation(*[0.0] * len(fields(Augmentation)))
PLACES = st.builds(
    Placement,
    scale=st.floats(0.9, 1.1),
    right=st.floats(-0.1, 0.1),
    down=st.floats(-0.1, 0.1),
    mirrored=st.booleans(),
    roll_deg=st.one_of(st.just(0.0), st.floats(-10, 10)),
)


@pytest.mark.parametrize("compressed", [False, True])
def test_mapped_arrays_are_numpys(tmp_path: Path, compressed: bool):
    arrays = {"a": np.arange(12.0).reshape(3, 4), "empty": np.zeros((0, 3)), "s": np.float32(2)}
    arrays["f"] = np.asfortranarray(np.arange(6, dtype=np.int8).reshape(2, 3))
    path = tmp_path / "arrays.npz"
    (np.savez_compressed if compressed else np.savez)(path, **arrays)
    found = map_arrays(path)
    assert found.keys() == arrays.keys()
    for name, array in arrays.items():
        np.testing.assert_array_equal(found[name], array)
        assert found[name].dtype == np.asarray(array).dtype


def test_a_file_that_is_none_is_said(tmp_path: Path):
    path = tmp_path / "arrays.npz"
    for content in (b"", b"PK\x03\x04 broken"):
        path.write_bytes(content)
        with pytest.raises(InputError, match="not a file of arrays"):
            map_arrays(path)
    np.savez(path, a=np.array([{}], dtype=object))
    with pytest.raises(InputError, match="Python objects"):
        map_arrays(path)


@given(st.integers(2, 2000))
def test_the_last_part_is_held_out(count: int):
    training, held_out = split({"count": count})
    assert [*training, *held_out] == list(range(count))
    assert len(held_out) == max(1, round(0.15 * count))


def test_the_folder_is_split_by_identity(ellipsoids: Path, tmp_path: Path):
    people = PeopleFolder(ellipsoids)
    assert sorted(people.training) == [0, 1, 2, 3, 4]
    assert sorted(people.held_out) == [5]
    folder = shutil.copytree(ellipsoids, tmp_path / "people")
    shutil.copy(subject_path(folder, 0), subject_path(folder, 5))
    with pytest.raises(InputError, match="identity 0 is both"):
        PeopleFolder(folder)
    subject_path(folder, 5).unlink()
    with pytest.raises(InputError, match="held-out"):
        PeopleFolder(folder)
    with pytest.raises(InputError, match="mien synthesize heads"):
        PeopleFolder(tmp_path)
    np.savez(subject_path(folder, 2), points=np.zeros((1, 3)))
    with pytest.raises(InputError, match="it has no back"):
        Subject.load(subject_path(folder, 2))


def test_a_step_always_gives_the_same_batch(ellipsoids: Path):
    people = PeopleFolder(ellipsoids)
    options = BatchOptions(64, 3, 100, front=True, augmentation=Augmentation())
    first, again = (BatchSource(people.training, options, 7) for _ in range(2))
    ahead = first.batches(4)
    for step in (4, 5):
        batch, other = next(ahead), again.batch(step)
        np.testing.assert_array_equal(batch.image, other.image)
        np.testing.assert_array_equal(batch.points, other.points)
    assert not np.array_equal(first.batch(5).image, first.batch(6).image)
    assert batch.back is None
    assert batch.corner is None


@pytest.mark.parametrize("level", ["coarse", "fine"])
def test_as_many_points_are_inside_as_outside(ellipsoids: Path, level: str):
    people = PeopleFolder(ellipsoids)
    options = BatchOptions(64, 4, 2000, SHARES[level])
    batch = BatchSource(people.training, options, 0).batch(0)
    assert batch.points.shape == (4, 2000, 3)
    np.testing.assert_allclose(batch.inside.mean(1), 0.5, atol=0.01)
    assert (batch.weight == (np.abs(batch.points) <= 1).all(-1)).all()


def test_uniform_points_come_as_they_are(ellipsoids: Path):
    people = PeopleFolder(ellipsoids)
    subject = people.training[0]
    options = BatchOptions(64, 1, 4000, (0, 0, 0, 1.0), balanced=False)
    batch = BatchSource({0: subject}, options, 0).batch(0)
    share = subject.inside[subject.scale == 3].mean()
    assert batch.inside.mean() == pytest.approx(share, abs=0.03)


def test_points_of_weight_lie_in_their_window(ellipsoids: Path):
    people = PeopleFolder(ellipsoids)
    options = BatchOptions(64, 6, 300, SHARES["fine"], window=32, augmentation=Augmentation())
    batch = BatchSource(people.training, options, 0).batch(0)
    assert batch.corner is not None
    assert (batch.corner % 2 == 0).all()
    assert batch.corner.min() >= 0
    assert batch.corner.max() <= 32
    pixel = ((batch.points[..., :2] + 1) * 64 - 1) / 2 - batch.corner[:, None]
    kept = batch.weight > 0
    assert kept.mean() > 0.6
    assert pixel[kept].min() >= 0
    assert pixel[kept].max() <= 31


@settings(max_examples=25, deadline=None)
@given(place=PLACES, size=st.sampled_from([48, 64, 96]))
def test_picture_normals_and_points_move_together(place: Placement, size: int, ellipsoids: Path):
    subject = Subject.load(subject_path(ellipsoids, 1))
    axis = (2 * np.arange(64) + 1) / 64 - 1
    x, y = np.meshgrid(axis, axis)
    ramp = np.clip(127.5 * (1 + np.stack([x, y, 0 * x], -1)), 0, 255)
    moved = placed_picture(np.round(ramp).astype(np.uint8), place, size)
    # What the picture says of where it was, at points that were moved.
    before = np.array([[0.3, -0.2, 0.1], [-0.4, 0.5, -0.3], [0.0, 0.0, 0.0]], np.float32)
    after = place.points(before)
    pixel = ((after[:, :2] + 1) * size - 1) / 2
    column, row = np.round(pixel).astype(int).T
    told = moved[row, column, :2] / 127.5 - 1
    np.testing.assert_allclose(told, before[:, :2], atol=1.2 / size + 0.02)
    # Depth keeps the proportions.
    np.testing.assert_allclose(after[:, 2], before[:, 2] * place.scale, rtol=1e-6)
    # A normal is mirrored as a direction.
    normals = placed_normals(subject.front[0], place, size)
    opposite = replace(place, mirrored=False, roll_deg=-place.roll_deg)
    plain = placed_normals(subject.front[0], opposite, size)
    if place.mirrored and place.right == 0:
        np.testing.assert_allclose(normals[0], -plain[0, :, ::-1], atol=0.05)
    assert np.abs(normals).max() <= 1.001


@settings(max_examples=20, deadline=None)
@given(view=st.integers(0, 1), scale=st.floats(0.92, 1.08), down=st.floats(-0.08, 0.08))
def test_mirroring_twice_is_nothing_and_once_mirrors_all(
    view: int, scale: float, down: float, ellipsoids: Path
):
    subject = Subject.load(subject_path(ellipsoids, 0))
    plain, mirrored = Placement(scale, 0, down), Placement(scale, 0, down, True)
    for map_, name in ((subject.front, "front"), (subject.back, "back")):
        there = placed_normals(map_[view], plain, 64)
        back = (
            placed_normals(map_[view], mirrored, 64)[:, :, ::-1]
            * np.array([-1, 1, 1])[:, None, None]
        )
        np.testing.assert_allclose(back, there, atol=2 / 127, err_msg=name)
    picture = placed_picture(subject.images[view], plain, 64)
    other = placed_picture(subject.images[view], mirrored, 64)[:, ::-1]
    assert np.abs(picture.astype(int) - other).max() <= 2
    points = np.random.default_rng(0).uniform(-1, 1, (9, 3)).astype(np.float32)
    np.testing.assert_allclose(
        mirrored.points(points), plain.points(points) * np.array([-1, 1, 1]), rtol=1e-6
    )


@settings(max_examples=20, deadline=None)
@given(roll=st.floats(-180, 180), mirrored=st.booleans())
def test_a_rolled_normal_points_where_the_rolled_surface_does(
    roll: float, mirrored: bool, ellipsoids: Path
):
    subject = Subject.load(subject_path(ellipsoids, 2))
    place = Placement(0.9, 0.05, -0.02, mirrored, roll)
    plain = subject.front[0].astype(np.float64) / 127
    rows, columns = np.nonzero(cv2.erode(subject.mask[0], np.ones((9, 9))))
    where = np.stack([2 * columns + 1, 2 * rows + 1, 64 + 0 * rows], -1) / 64 - 1
    there = place.points(where.astype(np.float32))
    kept = (np.abs(there[:, :2]) < 0.95).all(1)
    column, row = np.round(((there[kept, :2] + 1) * 64 - 1) / 2).astype(int).T
    found = placed_normals(subject.front[0], place, 64)[:, row, column].T
    # A normal is carried as a step along it is: y of normals is up, z towards the viewer.
    flip = np.array([1, -1, -1])
    carried = plain[rows, columns][kept] * flip @ place.affine[:, :3].T / place.scale * flip
    assert np.median(np.linalg.norm(found - carried, axis=1)) < 0.06


def test_gamma_changes_the_middle_and_leaves_the_ends():
    picture = np.repeat(np.arange(256, dtype=np.uint8), 3).reshape(16, 16, 3)
    full = np.full((16, 16), 255, np.uint8)
    shown = [
        photograph(picture, full, replace(STILL, gamma=0.5), np.random.default_rng(s))[0].ravel()
        for s in range(20)
    ]
    for image in shown:
        assert image[0] == -1
        assert image[-1] == 1
        assert (np.diff(image) >= 0).all()
    assert np.ptp([image[128] for image in shown]) > 0.2


def test_labels_still_agree_with_the_picture_after_augmentation(ellipsoids: Path):
    people = PeopleFolder(ellipsoids)
    options = BatchOptions(
        64, 8, 1500, front=True, back=True, augmentation=replace(Augmentation(), edge=0.0)
    )
    batch = BatchSource(people.training, options, 3).batch(0)
    assert batch.front is not None
    for k in range(8):
        kept = (batch.weight[k] > 0) & (batch.inside[k] > 0)
        points = batch.points[k][kept]
        column, row = np.round(((points[:, :2] + 1) * 64 - 1) / 2).astype(int).clip(0, 63).T
        seen = np.abs(batch.image[k][:, row, column]).sum(0) > 0
        assert seen.mean() > 0.97
        # The right half of a convex body has normals that point right.
        middle = points[:, 0].mean()
        right = batch.front[k][0][row, column]
        assert right[points[:, 0] > middle + 0.1].mean() > 0.1
        assert right[points[:, 0] < middle - 0.1].mean() < -0.1


def test_a_person_cut_by_the_lower_edge_stays_cut():
    rng = np.random.default_rng(0)
    for _ in range(200):
        place = Augmentation().placement(rng, cut=True)
        # So do both ends of its lower edge in a rolled one.
        ends = place.points(np.array([[-1, 1, 0], [1, 1, 0]], np.float32))
        assert ends[:, 1].min() >= 1 - 1e-6


def test_no_augmentation_is_the_picture_itself():
    rng = np.random.default_rng(1)
    picture = rng.integers(0, 256, (16, 16, 3)).astype(np.uint8)
    mask = np.zeros((16, 16), np.uint8)
    mask[:, 8:] = 255
    for varied in (None, STILL):
        image = photograph(picture, mask, varied, rng)
        assert (image[:, :, :8] == 0).all()
        expected = picture[:, 8:, ::-1].transpose(2, 0, 1) / 127.5 - 1
        np.testing.assert_allclose(image[:, :, 8:], expected, atol=1e-4)
    everything = Augmentation(grey=1.0, blur=1.0, noise=1.0, edge=1.0)
    image = photograph(picture, mask, everything, rng)
    assert np.abs(image).max() <= 1


def test_background_bleeds_in_where_the_edge_wanders():
    picture = np.full((64, 64, 3), 255, np.uint8)
    mask = np.zeros((64, 64), np.uint8)
    mask[16:48, 16:48] = 255
    varied = replace(STILL, edge=1.0)
    # A white person before white: what is not zero was let through.
    bled = [photograph(picture, mask, varied, np.random.default_rng(s))[0] for s in range(20)]
    assert any((b[mask == 0] > 0.2).any() for b in bled)
    assert all((b[:10] < 0.05).all() for b in bled)
    assert all((b[24:40, 24:40] > 0.9).all() for b in bled)


def test_pictures_of_another_size_are_fitted(ellipsoids: Path):
    people = PeopleFolder(ellipsoids)
    for size in (32, 128):
        options = BatchOptions(size, 2, 10, front=True, normal_size=48)
        batch = BatchSource(people.training, options, 0).batch(0)
        assert batch.image.shape == (2, 3, size, size)
        assert batch.front is not None
        assert batch.front.shape == (2, 3, 48, 48)


def test_meta_must_say_how_many(tmp_path: Path):
    (tmp_path / "meta.json").write_text(json.dumps({"kind": "heads"}))
    with pytest.raises(InputError, match="count"):
        PeopleFolder(tmp_path)
