"""Shards, mirroring, augmentation: labels move exactly as pixels do, and nothing is dealt twice."""

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from mien.models.errors import InputError
from mien.models.face.crop import CROP_SIZE
from mien.models.face.morphable import FaceModel
from mien.models.face.names import BLENDSHAPE_MIRROR, LANDMARK_MIRROR
from mien.models.regressor.dataset import (
    MIDDLE,
    AugmentationConfig,
    Augmenter,
    GeometricConfig,
    Sampler,
    crop_affine,
    empty_batch,
    moved_points,
    moved_pose,
    nominal_affine,
    training_batches,
    validation_batches,
)
from mien.models.regressor.mirror import Mirror, mirrored_pose
from mien.models.regressor.photometry import PhotometricConfig, Photometry
from mien.models.synthetic.shards import Labels, Shard, ShardFolder

SIZE = 144
WriteShard = Callable[[Path, int, int], Labels]
NO_PIXEL_CHANGES = PhotometricConfig(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, write_shard: WriteShard) -> Path:
    path = tmp_path_factory.mktemp("shards")
    for number in range(3):
        write_shard(path, number, 12)
    return path


@pytest.fixture(scope="module")
def mirror(face_model: FaceModel, point_vertices: tuple[int, ...]) -> Mirror:
    return Mirror.of(face_model, point_vertices)


def spot_at(x: float, y: float) -> np.ndarray:
    """A soft bright spot about a place, which interpolation moves without bias."""
    rows, columns = np.mgrid[0:SIZE, 0:SIZE]
    bright = 255 * np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * 3.0**2))
    return np.repeat(bright[..., None], 3, axis=2).astype(np.uint8)


def centroid(image: np.ndarray) -> np.ndarray:
    weight = image[..., 0].astype(np.float64)
    rows, columns = np.mgrid[0 : image.shape[0], 0 : image.shape[1]]
    return np.array([(weight * columns).sum(), (weight * rows).sum()]) / weight.sum()


def shard_of_spot(point: np.ndarray, count: int) -> Shard:
    """One picture with a spot where all of its points are."""
    labels = Labels(
        pose=np.tile(np.eye(3, 4, dtype=np.float32), (1, 1, 1)),
        shape=np.zeros((1, 40), np.float32),
        expression=np.zeros((1, 10), np.float32),
        blendshapes=np.zeros((1, 52), np.float32),
        points=np.tile(point.astype(np.float32), (1, count, 1)),
        presence=np.ones(1, np.float32),
        angles=np.array([[20.0, 0.0, 0.0]], np.float32),
    )
    return Shard(0, spot_at(*point)[None], labels)


@settings(max_examples=25, deadline=None)
@given(
    x=st.floats(55, 90),
    y=st.floats(55, 90),
    seed=st.integers(0, 2**20),
    flip=st.sampled_from([0, 1]),
)
def test_a_spot_stays_under_its_label(
    mirror: Mirror, x: float, y: float, seed: int, flip: int
) -> None:
    count = len(mirror.points)
    geometric = GeometricConfig(scale=0.1, shift=0.03, flip=float(flip), reflect=0.0)
    augmenter = Augmenter(AugmentationConfig(geometric, NO_PIXEL_CHANGES), mirror)
    batch = empty_batch(1, count)
    augmenter.fill(batch, 0, shard_of_spot(np.array([x, y]), count), 0, np.random.default_rng(seed))
    # A spot that the edge of the crop cuts has its centroid elsewhere.
    assume(float(np.abs(batch.points[0, 0] - (CROP_SIZE - 1) / 2).max()) < CROP_SIZE / 2 - 12)
    np.testing.assert_allclose(centroid(batch.crops[0]), batch.points[0, 0], atol=0.12)
    assert batch.yaw_deg[0] == (-20 if flip else 20)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**20))
def test_pose_moves_with_the_points(face_model: FaceModel, seed: int) -> None:
    """Projecting, then mapping, is projecting with the mapped pose; that stays a rotation."""
    rng = np.random.default_rng(seed)
    head = face_model.mean[::50].astype(np.float64)
    rotation = cv2.Rodrigues(rng.normal(0, 0.5, 3))[0]
    pose = np.column_stack([0.7 * rotation, [70.0, 75.0, 0.0]]).astype(np.float32)
    affine = crop_affine(SIZE, GeometricConfig(), rng)
    moved = moved_pose(pose, affine)
    points = (head @ pose[:, :3].T + pose[:, 3])[:, :2].astype(np.float32)
    np.testing.assert_allclose(
        (head @ moved[:, :3].T + moved[:, 3])[:, :2], moved_points(points, affine), atol=1e-3
    )
    gram = moved[:, :3] @ moved[:, :3].T
    np.testing.assert_allclose(gram, gram[0, 0] * np.eye(3), atol=1e-4)
    assert np.linalg.det(moved[:, :3]) > 0


def test_a_drawn_crop_lies_toward_the_nose() -> None:
    """A nose that points to the picture's left edge (yaw > 0) draws the crop to the left."""
    drawn = GeometricConfig(loose=1.0, loose_scale=0.0, loose_shift=0.0, drawn=1.0)
    middle = np.full((1, 2), (SIZE - 1) / 2, np.float32)
    for yaw_deg, toward in ((0.0, 0.0), (90.0, 1.0), (-90.0, -1.0), (30.0, 0.5)):
        affine = crop_affine(SIZE, drawn, np.random.default_rng(0), yaw_deg)
        x, y = moved_points(middle, affine)[0] - MIDDLE
        assert x == pytest.approx(toward * drawn.drawn_shift * 120, abs=1e-3)
        assert y == pytest.approx(0.0, abs=1e-3)


def test_nominal_crop_is_the_middle(folder: Path) -> None:
    shards = ShardFolder(folder, validation=1)
    batch = next(validation_batches(shards, 12))
    shard = shards.validation[0]
    np.testing.assert_array_equal(batch.crops, shard.images[:, 12:132, 12:132])
    np.testing.assert_allclose(batch.points[:-1], shard.labels.points[:-1] - 12, atol=1e-4)
    assert np.isnan(batch.points[-1]).all()
    assert batch.presence.tolist() == [1.0] * 11 + [0.0]
    np.testing.assert_array_equal(nominal_affine(SIZE), [[1, 0, -12], [0, 1, -12]])
    box = batch.points[0, :68]
    side = 1.414 * (box.max(0) - box.min(0)).max()
    assert side == pytest.approx(120, rel=1e-3)


def test_mirrored_decode_is_the_decode_mirrored(
    face_model: FaceModel, point_vertices: tuple[int, ...], mirror: Mirror
) -> None:
    rng = np.random.default_rng(5)
    shape, expression = (rng.normal(0, 0.7, n).astype(np.float32) for n in (40, 10))
    units = (rng.random(52) ** 3).astype(np.float32)
    rotation = cv2.Rodrigues(rng.normal(0, 0.4, 3))[0]
    pose = np.column_stack([0.7 * rotation, [70.0, 75.0, 0.0]]).astype(np.float32)
    model = face_model.subset(np.array(point_vertices, dtype=np.int32))

    def project(head: np.ndarray, pose: np.ndarray) -> np.ndarray:
        return (head @ pose[:, :3].T + pose[:, 3])[:, :2].astype(np.float32)

    turned = mirrored_pose(pose, SIZE)
    assert np.linalg.det(turned[:, :3]) > 0
    for mine, theirs in (
        (
            model.decode(shape, expression),
            model.decode(shape @ mirror.shape, expression @ mirror.expression),
        ),
        (
            model.decode(shape, blendshapes=units),
            model.decode(shape @ mirror.shape, blendshapes=units[list(BLENDSHAPE_MIRROR)]),
        ),
    ):
        flipped = mirror.mirrored_points(project(mine, pose), SIZE)
        error = np.linalg.norm(project(theirs, turned) - flipped, axis=1)[:68]
        assert error.mean() < 0.25  # px; the two sides of the mesh differ by tenths of a millimetre
    assert mirror.points[:68].tolist() == list(LANDMARK_MIRROR)


def test_mirror_needs_a_symmetric_mesh(
    face_model: FaceModel, point_vertices: tuple[int, ...]
) -> None:
    with pytest.raises(InputError, match=r"from its mirror image, 0\.01 mm would do"):
        Mirror.of(face_model, point_vertices, limit_mm=0.01)
    mean = face_model.mean.copy()
    mean[0] = mean[1] + 0.001  # now both are nearest to one mirror image
    with pytest.raises(InputError, match="two have the same one"):
        Mirror.of(replace(face_model, mean=mean), point_vertices, limit_mm=50.0)
    with pytest.raises(InputError, match="not this face model's"):
        Mirror.of(face_model, (int(face_model.landmark_vertices[0]),) * 68)


def test_sampler_deals_everything_once_before_anything_twice(folder: Path) -> None:
    sampler = Sampler(ShardFolder(folder, validation=1), seed=0, chunk=10)
    drawn = [(shard.number, row) for shard, row in (sampler.draw() for _ in range(48))]
    assert set(Counter(drawn[:20]).values()) == {1}
    assert max(Counter(drawn).values()) - min(Counter(drawn).values()) <= 2
    assert {number for number, _ in drawn} == {1, 2}


def test_sampler_goes_on_from_its_state(folder: Path) -> None:
    shards = ShardFolder(folder, validation=1)
    sampler = Sampler(shards, seed=4, chunk=10)
    for _ in range(27):
        sampler.draw()
    again = Sampler(shards, seed=4, chunk=10, state=sampler.state)
    for _ in range(30):
        (mine, row), (theirs, other) = sampler.draw(), again.draw()
        assert (mine.number, row) == (theirs.number, other)


def test_new_shards_are_found_and_dealt_first(tmp_path: Path, write_shard: WriteShard) -> None:
    for number in range(2):
        write_shard(tmp_path, number, 6)
    shards = ShardFolder(tmp_path, validation=1)
    sampler = Sampler(shards, seed=0, chunk=6)
    for _ in range(12):
        sampler.draw()
    write_shard(tmp_path, 2, 6)
    assert {sampler.draw()[0].number for _ in range(6)} == {2}
    assert shards.validation[0].number == 0


def test_no_training_shard_is_one_line(tmp_path: Path, write_shard: WriteShard) -> None:
    write_shard(tmp_path, 0, 3)
    with pytest.raises(InputError, match="no finished shard to train on"):
        Sampler(ShardFolder(tmp_path, validation=1), seed=0)


def test_damaged_folders(tmp_path: Path, write_shard: WriteShard) -> None:
    with pytest.raises(InputError, match=r"meta\.json"):
        ShardFolder(tmp_path)
    write_shard(tmp_path, 0, 3)
    (tmp_path / "shard-00001.npz").write_bytes(b"no archive")
    with pytest.raises(InputError, match=r"shard-00001\.npz: not a finished shard"):
        ShardFolder(tmp_path)
    (tmp_path / "shard-00001.npz").unlink()
    meta = json.loads((tmp_path / "meta.json").read_text(encoding="utf-8"))
    meta["point_vertices"].append(1)
    (tmp_path / "meta.json").write_text(json.dumps(meta), encoding="utf-8")
    with pytest.raises(InputError, match="points has shape"):
        ShardFolder(tmp_path)
    meta["version"] = 2
    (tmp_path / "meta.json").write_text(json.dumps(meta), encoding="utf-8")
    with pytest.raises(InputError, match="version 2, this program reads 1"):
        ShardFolder(tmp_path)


def test_batches_are_the_same_for_a_seed(folder: Path, mirror: Mirror) -> None:
    shards = ShardFolder(folder, validation=1)
    augmenter = Augmenter(AugmentationConfig(), mirror)
    first, second = (training_batches(shards, augmenter, 8, seed=3) for _ in range(2))
    for _ in range(3):
        (mine, _), (theirs, _) = next(first), next(second)
        for field in mine._fields:
            np.testing.assert_array_equal(getattr(mine, field), getattr(theirs, field))


@pytest.mark.parametrize("change", PhotometricConfig.__dataclass_fields__)
def test_each_pixel_change_changes_pixels_only(change: str) -> None:
    probabilities = dict.fromkeys(PhotometricConfig.__dataclass_fields__, 0.0) | {change: 1.0}
    photometry = Photometry(PhotometricConfig(**probabilities))
    rng = np.random.default_rng(1)
    noise = rng.integers(0, 256, (15, 15, 3), dtype=np.uint8)
    picture = np.asarray(cv2.resize(noise, (120, 120)), dtype=np.uint8)
    before = picture.copy()
    changed = [photometry.apply(picture, np.random.default_rng(seed)) for seed in range(10)]
    np.testing.assert_array_equal(picture, before)
    assert all(image.shape == picture.shape and image.dtype == np.uint8 for image in changed)
    assert any((image != picture).any() for image in changed)


def test_noise_has_its_strength() -> None:
    photometry = Photometry(PhotometricConfig(0, 0, 0, 0, 0, 0, 1.0, 0, 0, 0, 0))
    grey = np.full((120, 120, 3), 128, np.uint8)
    spread = [
        float(photometry.apply(grey, np.random.default_rng(seed)).std()) for seed in range(40)
    ]
    assert 2.5 < np.median(spread) < 8
    assert max(spread) < 26
