"""Batches of views, cut from pictures as the tracker would cut them from a camera's."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import cv2
import numpy as np
from jaxtyping import Float32, UInt8

from ..face.crop import CROP_SIZE, Crop
from ..face.names import N_BLENDSHAPES
from ..face.rotation import matrix_from_rotation_vector
from ..face.views import LEFT_EYE, MOUTH, N_VIEWS, RIGHT_EYE, VIEW_HEIGHT, VIEW_WIDTH, ViewPlaces
from ..regressor.mirror import mirrored_blendshapes
from ..regressor.photometry import PhotometricConfig, Photometry
from ..synthetic.closeup_shards import CloseupShard

_CAMERA: Final = PhotometricConfig(
    low_resolution=0.1, blur=0.2, motion=0.08, occluder=0.06, frame_edge=0.04
)
_LEAST_SIZE: Final = 0.28
"""Of the smallest pictures, as a share of those rendered: faces of 70 px. Smaller ones are left to
the regressor more and more, see ``stream/blendshapes.py``."""


@dataclass(frozen=True)
class LookConfig:
    """How the fit that says where eyes and mouth are errs (standard deviations).

    Attributes:
        turn_deg: of the head's rotation, about each axis.
        shift_mm: of its place.
        stray: share of views for which this is twice as much.
        scale: of the logarithm of its size.
        shape: of each coefficient of its shape.
        reduced: share of pictures that show a smaller face.
    """

    turn_deg: float = 3.0
    shift_mm: float = 1.6
    stray: float = 0.25
    scale: float = 0.04
    shape: float = 0.5
    reduced: float = 0.75


class ViewBatch(NamedTuple):
    """B faces: the views of each, where it looks, and its blendshapes.

    Attributes:
        views: (B, 3, 48, 64, 3).
        facing: (B, 2).
        blendshapes: (B, 52) in [0, 1].
    """

    views: UInt8[np.ndarray, "B 3 48 64 3"]
    facing: Float32[np.ndarray, "B 2"]
    blendshapes: Float32[np.ndarray, "B 52"]


class ViewSource:
    """Views of the pictures of some shards.

    Args:
        shards: to draw from.
        places: where the views lie on the head.
        config: how the fit errs.
    """

    def __init__(
        self, shards: Sequence[CloseupShard], places: ViewPlaces, config: LookConfig
    ) -> None:
        self._shards = shards
        self._places = places
        self._config = config
        self._camera = Photometry(_CAMERA)
        self._starts = np.cumsum([0, *(len(shard) for shard in shards)])

    def __len__(self) -> int:
        return int(self._starts[-1])

    def batches(self, size: int, seed: int, step: int = 0) -> Iterator[ViewBatch]:
        """Endless batches of random pictures; each is a function of the seed and its step."""
        while True:
            rng = np.random.default_rng([seed, step])
            yield self.batch(rng.integers(0, len(self), size), rng)
            step += 1

    def batch(self, rows: np.ndarray, rng: np.random.Generator) -> ViewBatch:
        """Views of the pictures of these numbers."""
        count = len(rows)
        batch = ViewBatch(
            np.empty((count, N_VIEWS, VIEW_HEIGHT, VIEW_WIDTH, 3), np.uint8),
            np.empty((count, 2), np.float32),
            np.empty((count, N_BLENDSHAPES), np.float32),
        )
        for at, row in enumerate(rows):
            which = int(np.searchsorted(self._starts, row, side="right")) - 1
            self._fill(batch, at, self._shards[which], int(row) - int(self._starts[which]), rng)
        return batch

    def _fill(
        self, batch: ViewBatch, at: int, shard: CloseupShard, row: int, rng: np.random.Generator
    ) -> None:
        labels = shard.labels
        image, pose = np.asarray(shard.images[row]), labels.pose[row].astype(np.float64)
        shape, values = labels.shape[row], labels.blendshapes[row]
        mirrored = bool(rng.random() < 0.5)
        if rng.random() < self._config.reduced:
            image, pose = reduced(image, pose, rng)
        image = self._camera.apply(image, rng)
        pose = misjudged(pose, self._places.mean.mean(0), self._config, rng)
        shape = shape + rng.normal(0, self._config.shape, len(shape)).astype(np.float32)
        middle = (CROP_SIZE - 1) / 2  # a crop whose pixels are the picture's
        views = self._places.views(
            image, Crop(middle, middle, CROP_SIZE), pose.astype(np.float32), shape
        )
        batch.views[at], batch.facing[at] = views.pixels, views.facing
        batch.blendshapes[at] = values
        if mirrored:  # the view of an eye becomes that of the other, which is mirrored already
            batch.views[at, LEFT_EYE] = views.pixels[RIGHT_EYE]
            batch.views[at, RIGHT_EYE] = views.pixels[LEFT_EYE]
            batch.views[at, MOUTH] = views.pixels[MOUTH, :, ::-1]
            batch.facing[at, 0] *= -1.0
            batch.blendshapes[at] = mirrored_blendshapes(values)


def reduced(
    image: UInt8[np.ndarray, "H W 3"], pose: np.ndarray, rng: np.random.Generator
) -> tuple[UInt8[np.ndarray, "h w 3"], np.ndarray]:
    """The picture with fewer pixels, and the pose in these."""
    height, width = image.shape[:2]
    factor = float(np.exp(rng.uniform(np.log(_LEAST_SIZE), 0.0)))
    size = (round(width * factor), round(height * factor))
    small = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
    scale = np.array([size[0] / width, size[1] / height])
    pose = pose.copy()
    pose[:2, 3] = (pose[:2, 3] + 0.5) * scale - 0.5
    pose[:, :3] *= scale.mean()
    return small, pose


def misjudged(
    pose: np.ndarray, middle_mm: np.ndarray, config: LookConfig, rng: np.random.Generator
) -> np.ndarray:
    """The pose as a fit would have it, turned about the face's middle and not the head's origin."""
    worse = 2.0 if rng.random() < config.stray else 1.0
    turn = matrix_from_rotation_vector(np.radians(rng.normal(0, worse * config.turn_deg, 3)))
    size = np.linalg.norm(pose[:, :3]) / np.sqrt(3)
    out = pose.copy()
    out[:, :3] = np.exp(rng.normal(0, config.scale)) * turn @ pose[:, :3]
    out[:, 3] += (pose[:, :3] - out[:, :3]) @ middle_mm
    out[:2, 3] += size * rng.normal(0, worse * config.shift_mm, 2)
    return out
