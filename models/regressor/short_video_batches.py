"""Batches of short videos: each picture becomes several correlated frames of one batch.

Short-video synthesis of 3DDFA_V2 (Guo et al. 2020, 3.3): no loss looks across frames, the
composition of the batch is all there is to it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import cv2
import numpy as np

from ..errors import InputError
from ..face.crop import CROP_SIZE
from ..face.morphable import FaceModel
from ..noise.placed_face import LabelledFaces
from ..noise.video import VideoNoise, short_video
from ..synthetic.shards import Shard, ShardFolder
from .dataset import (
    AugmentationConfig,
    Batch,
    Sampler,
    SamplerState,
    crop_affine,
    empty_batch,
)
from .mirror import Mirror, mirrored_blendshapes, mirrored_pose
from .photometry import Photometry


@dataclass(frozen=True)
class ShortVideoConfig:
    """What becomes of each picture.

    Attributes:
        noise: the frames, how they move and how each is degraded. The network's batch size must be
            a multiple of their number.
    """

    noise: VideoNoise = field(default_factory=VideoNoise)


class VideoAugmenter:
    """Turns a labelled picture into the frames of a short video with their labels.

    The crop, a flip and the changes of tone and cover are drawn once a video; what moves and
    degrades from frame to frame is the video noise's.

    Args:
        model: the face model of the labels.
        point_vertices: vertex behind each labelled point.
        augmentation: of the first frame.
        config: of the others.
        mirror: label maps for flips; None for no flips.
    """

    def __init__(
        self,
        model: FaceModel,
        point_vertices: tuple[int, ...],
        augmentation: AugmentationConfig,
        config: ShortVideoConfig,
        mirror: Mirror | None,
    ) -> None:
        self._faces = LabelledFaces(model, point_vertices)
        self._vertices = np.array(point_vertices, dtype=np.int64)
        self._geometric = augmentation.geometric
        self._photometry = Photometry(augmentation.photometric)
        self._noise = config.noise
        self._mirror = mirror

    @property
    def frames(self) -> int:
        """Of each video."""
        return self._noise.frames

    def fill(self, batch: Batch, at: int, shard: Shard, row: int, rng: np.random.Generator) -> None:
        """Write picture ``row`` of ``shard`` as a video into a batch, from place ``at`` on."""
        labels = shard.labels
        picture = np.asarray(shard.images[row])
        size = picture.shape[0]
        pose, points = labels.pose[row], labels.points[row]
        shape, expression = labels.shape[row], labels.expression[row]
        blendshapes, yaw = labels.blendshapes[row], labels.angles[row, 0]
        if self._mirror is not None and rng.random() < self._geometric.flip:
            picture = np.asarray(cv2.flip(picture, 1), np.uint8)
            pose, points = mirrored_pose(pose, size), self._mirror.mirrored_points(points, size)
            shape, expression = shape @ self._mirror.shape, expression @ self._mirror.expression
            blendshapes, yaw = mirrored_blendshapes(blendshapes), -yaw
        present = labels.presence[row] > 0
        frames = short_video(
            self._photometry.apply(picture, rng),
            self._faces.place(shape, blendshapes, pose, points) if present else None,
            self._noise,
            rng,
            first=crop_affine(size, self._geometric, rng, float(yaw)),
            size=(CROP_SIZE, CROP_SIZE),
        )
        part = slice(at, at + len(frames))
        batch.presence[part], batch.yaw_deg[part] = labels.presence[row], yaw
        batch.shape[part], batch.expression[part] = shape, expression
        batch.blendshapes[part] = blendshapes
        for place, frame in enumerate(frames, at):
            batch.crops[place] = frame.image_bgr
            batch.pose[place] = 0.0 if frame.face is None else frame.face.pose
            batch.points[place] = (
                np.nan if frame.face is None else frame.face.pixels[self._vertices]
            )


def short_video_batches(
    folder: ShardFolder,
    augmenter: VideoAugmenter,
    batch_size: int,
    seed: int,
    *,
    state: SamplerState | None = None,
    step: int = 0,
) -> Iterator[tuple[Batch, SamplerState]]:
    """Endless batches of whole videos; else as :func:`.dataset.training_batches`.

    Raises:
        InputError: ``batch_size`` is no multiple of the frames of a video.
    """
    if batch_size % augmenter.frames:
        raise InputError(
            f"a batch of {batch_size} crops holds no whole number of videos of "
            f"{augmenter.frames} frames"
        )
    sampler = Sampler(folder, seed, state=state)
    points = len(folder.meta.point_vertices)
    while True:
        rng = np.random.default_rng((seed, step, 1))
        batch = empty_batch(batch_size, points)
        for at in range(0, batch_size, augmenter.frames):
            augmenter.fill(batch, at, *sampler.draw(), rng)
        yield batch, sampler.state
        step += 1
