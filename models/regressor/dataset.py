"""Batches of augmented crops with their labels, drawn from a growing folder of shards."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import Float32, UInt8
from numpy.typing import NDArray

from ..errors import InputError
from ..face.crop import CROP_SIZE
from ..synthetic.shards import Shard, ShardFolder
from .mirror import Mirror, mirrored_blendshapes, mirrored_pose
from .photometry import PhotometricConfig, Photometry

MIDDLE = (CROP_SIZE - 1) / 2
"""Centre of a crop, px: pixel centres are at integers."""


@dataclass(frozen=True)
class GeometricConfig:
    """How a crop deviates from the nominal one, as at run time (standard deviations).

    Attributes:
        scale: of the logarithm of the crop's side.
        shift: in crop sides, along each axis.
        loose: probability that the crop is a detector's or a hand's, not of landmarks: such boxes
            miss a profile's by up to a sixth of their side.
        loose_scale: ``scale`` of these.
        loose_shift: ``shift`` of these.
        drawn: share of these that are centred on what a turned face shows, as people draw boxes
            round faces: toward the nose, by this many crop sides at full profile.
        drawn_shift: the crop sides.
        rotation_deg: in the picture's plane.
        flip: probability of mirroring.
        reflect: probability that what lies beyond the picture is its reflection, black otherwise.
    """

    scale: float = 0.10
    shift: float = 0.05
    loose: float = 0.35
    loose_scale: float = 0.15
    loose_shift: float = 0.12
    drawn: float = 0.5
    drawn_shift: float = 0.15
    rotation_deg: float = 9.0
    flip: float = 0.5
    reflect: float = 0.7


@dataclass(frozen=True)
class AugmentationConfig:
    """All random changes of a training picture."""

    geometric: GeometricConfig = field(default_factory=GeometricConfig)
    photometric: PhotometricConfig = field(default_factory=PhotometricConfig)


class Batch(NamedTuple):
    """B crops and their labels, in crop pixels (rows without a face have presence 0).

    Attributes:
        crops: (B, 120, 120, 3) BGR.
        pose: (B, 3, 4) scaled orthography, crop px per mm.
        shape: (B, 40) standard deviations.
        expression: (B, 10) standard deviations.
        blendshapes: (B, 52) in [0, 1].
        points: (B, K, 2) true projections, crop px; NaN where one is not known.
        presence: (B,) 0 or 1.
        yaw_deg: (B,) apparent yaw of the picture as rendered.
    """

    crops: UInt8[np.ndarray, "B 120 120 3"]
    pose: Float32[np.ndarray, "B 3 4"]
    shape: Float32[np.ndarray, "B 40"]
    expression: Float32[np.ndarray, "B 10"]
    blendshapes: Float32[np.ndarray, "B 52"]
    points: Float32[np.ndarray, "B K 2"]
    presence: Float32[np.ndarray, " B"]
    yaw_deg: Float32[np.ndarray, " B"]


class SamplerState(NamedTuple):
    """Where a :class:`Sampler` stands.

    Attributes:
        chunk: number of the chunk being dealt.
        dealt: pictures dealt from it.
        seen: how often each picture of each shard had been dealt when the chunk began.
    """

    chunk: int
    dealt: int
    seen: dict[int, NDArray[np.uint16]]


class Sampler:
    """Deals pictures of a growing folder, those seen least first, in chunks of random order.

    Args:
        folder: whose training shards are dealt; rescanned at each chunk.
        seed: of the order.
        chunk: pictures a chunk; fewer where the folder has fewer.
        state: to continue from.

    Raises:
        InputError: there is no training shard.
    """

    def __init__(
        self, folder: ShardFolder, seed: int, chunk: int = 8192, state: SamplerState | None = None
    ) -> None:
        self._folder = folder
        self._seed = seed
        self._size = chunk
        self._seen = dict(state.seen) if state else {}
        self._chunk = state.chunk if state else 0
        self._begin_chunk()
        self._dealt = state.dealt if state else 0

    @property
    def state(self) -> SamplerState:
        """To continue from here with a new sampler."""
        return SamplerState(self._chunk, self._dealt, dict(self._before))

    def draw(self) -> tuple[Shard, int]:
        """The next picture: its shard and row."""
        if self._dealt == len(self._rows):
            self._chunk += 1
            self._begin_chunk()
        row = int(self._rows[self._dealt])
        self._dealt += 1
        which = int(np.searchsorted(self._starts, row, side="right")) - 1
        return self._shards[which], row - int(self._starts[which])

    def _begin_chunk(self) -> None:
        self._folder.rescan()
        self._shards = self._folder.training
        if not self._shards:
            held = len(self._folder.validation)
            raise InputError(
                f"{self._folder.folder}: no finished shard to train on: the first "
                f"{self._folder.held_out} are held out for validation, and {held} are there; "
                "render more"
            )
        self._before = self._seen
        seen = [
            self._seen.get(shard.number, np.zeros(len(shard), np.uint16)) for shard in self._shards
        ]
        self._starts = np.cumsum([0, *(len(shard) for shard in self._shards)])
        counts = np.concatenate(seen)
        rng = np.random.default_rng((self._seed, self._chunk))
        order = np.argsort(counts + rng.random(len(counts)))[: self._size]
        self._rows = rng.permutation(order)
        self._dealt = 0
        counts[self._rows] += 1
        self._seen = {
            shard.number: counts[start : start + len(shard)].copy()
            for shard, start in zip(self._shards, self._starts, strict=False)
        }


def crop_affine(
    size: int, config: GeometricConfig, rng: np.random.Generator, yaw_deg: float = 0.0
) -> Float32[np.ndarray, "2 3"]:
    """A random similarity from picture pixels to crop pixels, near the nominal crop.

    Args:
        size: side of the picture, px; its middle 120 pixels are the nominal crop.
        config: the deviations.
        rng: source of chance.
        yaw_deg: apparent yaw of the face, degrees.
    """
    angle = np.deg2rad(rng.normal(0.0, config.rotation_deg))
    loose = rng.random() < config.loose
    spread, offset = (
        (config.loose_scale, config.loose_shift) if loose else (config.scale, config.shift)
    )
    scale = np.exp(-rng.normal(0.0, spread))  # a larger crop shows a smaller face
    shift = rng.normal(0.0, offset, 2) * CROP_SIZE
    if loose and rng.random() < config.drawn:
        shift[0] += config.drawn_shift * np.sin(np.deg2rad(yaw_deg)) * CROP_SIZE
    cosine, sine = scale * np.cos(angle), scale * np.sin(angle)
    linear = np.array([[cosine, -sine], [sine, cosine]])
    origin = MIDDLE + shift - linear @ np.full(2, (size - 1) / 2)
    return np.column_stack([linear, origin]).astype(np.float32)


def nominal_affine(size: int) -> Float32[np.ndarray, "2 3"]:
    """The nominal crop of a picture: its middle, without any deviation."""
    offset = (CROP_SIZE - size) / 2
    return np.array([[1, 0, offset], [0, 1, offset]], dtype=np.float32)


def moved_pose(
    pose: Float32[np.ndarray, "3 4"], affine: Float32[np.ndarray, "2 3"]
) -> Float32[np.ndarray, "3 4"]:
    """The scaled orthography after a similarity of the picture; its depth row is scaled alike."""
    moved = np.empty_like(pose)
    moved[:2] = affine[:, :2] @ pose[:2]
    moved[:2, 3] += affine[:, 2]
    moved[2] = np.sqrt(np.linalg.det(affine[:, :2])) * pose[2]
    return moved


def moved_points(
    points: Float32[np.ndarray, "K 2"], affine: Float32[np.ndarray, "2 3"]
) -> Float32[np.ndarray, "K 2"]:
    """Points after an affine map of the picture."""
    return points @ affine[:, :2].T + affine[:, 2]


class Augmenter:
    """Turns a labelled picture into a crop with its labels.

    Args:
        config: the random changes; None gives the nominal crop, unchanged.
        mirror: label maps for flips; None for no flips.
    """

    def __init__(self, config: AugmentationConfig | None, mirror: Mirror | None) -> None:
        self._config = config
        self._mirror = mirror
        self._photometry = Photometry(config.photometric) if config else None

    def fill(self, batch: Batch, at: int, shard: Shard, row: int, rng: np.random.Generator) -> None:
        """Write crop and labels of picture ``row`` of ``shard`` into place ``at`` of a batch."""
        labels = shard.labels
        picture = np.asarray(shard.images[row])
        size = picture.shape[0]
        geometric = self._config.geometric if self._config else None
        flip = self._mirror is not None and geometric and rng.random() < geometric.flip
        yaw_deg = float(-labels.angles[row, 0] if flip else labels.angles[row, 0])
        affine = crop_affine(size, geometric, rng, yaw_deg) if geometric else nominal_affine(size)
        batch.presence[at] = labels.presence[row]
        batch.yaw_deg[at] = yaw_deg
        pose, points = labels.pose[row], labels.points[row]
        shape, expression = labels.shape[row], labels.expression[row]
        blendshapes = labels.blendshapes[row]
        if flip and self._mirror is not None:
            picture = cv2.flip(picture, 1)
            pose = mirrored_pose(pose, size)
            points = self._mirror.mirrored_points(points, size)
            shape, expression = shape @ self._mirror.shape, expression @ self._mirror.expression
            blendshapes = mirrored_blendshapes(blendshapes)
        present = labels.presence[row] > 0
        batch.pose[at] = moved_pose(pose, affine) if present else 0.0
        batch.points[at] = moved_points(points, affine) if present else np.nan
        batch.shape[at], batch.expression[at] = shape, expression
        batch.blendshapes[at] = blendshapes
        crop = self._warped(picture, affine, rng)
        batch.crops[at] = self._photometry.apply(crop, rng) if self._photometry else crop

    def _warped(
        self,
        picture: UInt8[np.ndarray, "S S 3"],
        affine: Float32[np.ndarray, "2 3"],
        rng: np.random.Generator,
    ) -> UInt8[np.ndarray, "120 120 3"]:
        if self._config is None:
            start = -int(affine[0, 2])
            return picture[start : start + CROP_SIZE, start : start + CROP_SIZE]
        reflect = rng.random() < self._config.geometric.reflect
        border = cv2.BORDER_REFLECT_101 if reflect else cv2.BORDER_CONSTANT
        warped = cv2.warpAffine(
            picture, affine, (CROP_SIZE, CROP_SIZE), flags=cv2.INTER_LINEAR, borderMode=border
        )
        return np.asarray(warped, dtype=np.uint8)


def empty_batch(size: int, points: int) -> Batch:
    """A batch of ``size`` places to be filled."""
    return Batch(
        crops=np.empty((size, CROP_SIZE, CROP_SIZE, 3), np.uint8),
        pose=np.empty((size, 3, 4), np.float32),
        shape=np.empty((size, 40), np.float32),
        expression=np.empty((size, 10), np.float32),
        blendshapes=np.empty((size, 52), np.float32),
        points=np.empty((size, points, 2), np.float32),
        presence=np.empty(size, np.float32),
        yaw_deg=np.empty(size, np.float32),
    )


def training_batches(
    folder: ShardFolder,
    augmenter: Augmenter,
    batch_size: int,
    seed: int,
    *,
    state: SamplerState | None = None,
    step: int = 0,
) -> Iterator[tuple[Batch, SamplerState]]:
    """Endless augmented batches, each with the state that continues after it.

    A batch depends only on the folder, ``seed``, its step and the sampler's state, so a training
    that goes on from a checkpoint sees what it would have seen without the break.
    """
    sampler = Sampler(folder, seed, state=state)
    points = len(folder.meta.point_vertices)
    while True:
        rng = np.random.default_rng((seed, step, 1))
        batch = empty_batch(batch_size, points)
        for at in range(batch_size):
            augmenter.fill(batch, at, *sampler.draw(), rng)
        yield batch, sampler.state
        step += 1


def validation_batches(
    folder: ShardFolder, batch_size: int, limit: int | None = None
) -> Iterator[Batch]:
    """The held-out pictures as they are, in order, in nominal crops.

    Args:
        folder: whose validation shards are read.
        batch_size: pictures a batch; the last one may be smaller.
        limit: at most so many pictures.
    """
    augmenter = Augmenter(None, None)
    rng = np.random.default_rng(0)
    rows = [(shard, row) for shard in folder.validation for row in range(len(shard))][:limit]
    for start in range(0, len(rows), batch_size):
        chosen = rows[start : start + batch_size]
        batch = empty_batch(len(chosen), len(folder.meta.point_vertices))
        for at, (shard, row) in enumerate(chosen):
            augmenter.fill(batch, at, shard, row, rng)
        yield batch
