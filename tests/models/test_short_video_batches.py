"""Batches of short videos: whole videos of one picture, labels where the pixels are."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mien.models.errors import InputError
from mien.models.face.morphable import FaceModel
from mien.models.noise.video import VideoNoise
from mien.models.regressor.dataset import (
    AugmentationConfig,
    Augmenter,
    Batch,
    GeometricConfig,
    training_batches,
)
from mien.models.regressor.mirror import Mirror
from mien.models.regressor.photometry import PhotometricConfig
from mien.models.regressor.short_video_batches import (
    ShortVideoConfig,
    VideoAugmenter,
    short_video_batches,
)
from mien.models.synthetic.shards import Labels, ShardFolder

WriteShard = Callable[[Path, int, int], Labels]
NO_CHANGE = PhotometricConfig(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)
STILL = VideoNoise(frames=2).scaled(0.0, 0.0)


@pytest.fixture
def folder(tmp_path: Path, write_shard: WriteShard) -> ShardFolder:
    write_shard(tmp_path, 0, 9)
    return ShardFolder(tmp_path, validation=0)


def make(
    folder: ShardFolder, model: FaceModel, noise: VideoNoise, geometric: GeometricConfig
) -> VideoAugmenter:
    vertices = folder.meta.point_vertices
    mirror = Mirror.of(model, vertices) if geometric.flip else None
    augmentation = AugmentationConfig(geometric, NO_CHANGE)
    return VideoAugmenter(model, vertices, augmentation, ShortVideoConfig(noise), mirror)


def first_batch(
    folder: ShardFolder, model: FaceModel, noise: VideoNoise, geometric: GeometricConfig, size: int
) -> Batch:
    augmenter = make(folder, model, noise, geometric)
    return next(short_video_batches(folder, augmenter, size, 0))[0]


def test_a_video_that_stands_still_is_the_crop(folder: ShardFolder, face_model: FaceModel) -> None:
    geometric = GeometricConfig(scale=0, shift=0, loose=0, rotation_deg=0, flip=0)
    videos = first_batch(folder, face_model, STILL, geometric, 18)
    crops = Augmenter(AugmentationConfig(geometric, NO_CHANGE), None)
    single = next(training_batches(folder, crops, 9, 0))[0]
    for frame in range(2):
        for name in ("shape", "expression", "blendshapes", "presence", "yaw_deg"):
            np.testing.assert_array_equal(getattr(videos, name)[frame::2], getattr(single, name))
        np.testing.assert_allclose(videos.pose[frame::2], single.pose, atol=1e-3)
        np.testing.assert_allclose(videos.points[frame::2], single.points, atol=1e-2)
        difference = videos.crops[frame::2].astype(int) - single.crops
        # What lies beyond the picture is black in some of the single crops.
        assert np.abs(difference[:, 20:100, 20:100]).max() <= 1


def test_labels_are_where_the_pixels_are(folder: ShardFolder, face_model: FaceModel) -> None:
    """Pose and points move together, in every frame, flipped or not, and frames differ."""
    noise = replace(VideoNoise().scaled(1.0, 0.0), frames=4)
    batch = first_batch(folder, face_model, noise, GeometricConfig(flip=0.5), 36)
    points_model = face_model.subset(np.array(folder.meta.point_vertices, np.int32))
    for at in np.flatnonzero(batch.presence > 0):
        head = points_model.decode(batch.shape[at], blendshapes=batch.blendshapes[at])
        pose = batch.pose[at]
        drawn = head @ pose[:2, :3].T + pose[:2, 3]
        known = np.isfinite(batch.points[at, :, 0])
        assert known.sum() >= 68
        # An orthography is a few pixels off a close-up's perspective, more where heads turn far.
        assert np.linalg.norm(drawn - batch.points[at], axis=1)[known].mean() < 4.0
        squared = pose[:, :3] @ pose[:, :3].T  # a scaled rotation
        np.testing.assert_allclose(squared, squared[0, 0] * np.eye(3), atol=1e-3)
    videos = batch.points[:, :68].reshape(9, 4, 68, 2)[batch.presence[::4] > 0]
    assert (np.abs(np.diff(videos, axis=1)).mean((2, 3)) > 0.1).all()


def test_the_same_seed_gives_the_same_videos_and_goes_on(
    folder: ShardFolder, face_model: FaceModel
) -> None:
    augmenter = make(folder, face_model, VideoNoise(frames=2), GeometricConfig())
    stream = short_video_batches(folder, augmenter, 4, 7)
    batches = [next(stream) for _ in range(3)]
    again = next(short_video_batches(folder, augmenter, 4, 7, state=batches[0][1], step=1))[0]
    for name in Batch._fields:
        np.testing.assert_array_equal(getattr(again, name), getattr(batches[1][0], name))


def test_a_video_is_never_cut(folder: ShardFolder, face_model: FaceModel) -> None:
    with pytest.raises(InputError, match="no whole number of videos of 8 frames"):
        first_batch(folder, face_model, VideoNoise(), GeometricConfig(), 12)
