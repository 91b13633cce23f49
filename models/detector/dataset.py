"""Batches of composed scenes, as a camera and a network connection would deliver them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Final

import cv2
import numpy as np
from jaxtyping import UInt8

from ..regressor.photometry import PhotometricConfig, Photometry
from ..synthetic.scenes_bank import CutOutShard
from ..synthetic.scenes_compose import Composer, Scene
from ..synthetic.scenes_ground import Grounds
from .targets import DetectorBatch, batch_of

NOMINAL: Final = 224
"""Side of the square picture of which a batch holds its nominal number, px."""
_SIZES: Final = ((128, 160), (160, 160), (160, 192), (192, 192), (224, 224))
"""Heights and widths of pictures, px, in turn by chance."""
_CAMERA: Final = PhotometricConfig(
    noise=0.35, blur=0.12, motion=0.04, low_resolution=0.0, jpeg=0.3, occluder=0.0, frame_edge=0.0
)
_COARSE, _DIM = 0.15, 0.04
"""Shares of pictures that were enlarged, and that were taken in the dark."""
_LEAST_COARSE: Final = 6.0
"""Side of the smallest face in a picture before it was enlarged, px."""


class SceneSource:
    """Scenes by number: each is a function of the seed and its number.

    Args:
        shards: cut-outs to compose of.
        grounds: backgrounds.
        seed: of everything random.
    """

    def __init__(self, shards: Sequence[CutOutShard], grounds: Grounds, seed: int) -> None:
        self._composer = Composer(shards, grounds)
        self._camera = Photometry(_CAMERA)
        self._seed = seed

    def scene(self, step: int, number: int, height: int, width: int) -> Scene:
        """Scene ``number`` of a step, of that size, px."""
        rng = np.random.default_rng([self._seed, step, number])
        scene = self._composer.compose(rng, height, width)
        image = scene.image
        if rng.random() < _COARSE:
            image = _coarsened(scene, rng)
        if rng.random() < _DIM:
            levels = np.arange(256) * rng.uniform(0.18, 0.6)
            image = cv2.LUT(image, levels.astype(np.uint8))
        image = self._camera.apply(np.asarray(image, np.uint8), rng)
        return replace(scene, image=np.ascontiguousarray(image))

    def batches(self, count: int, step: int = 0) -> Iterator[DetectorBatch]:
        """Batches from a step on, of about ``count`` pictures of 224 x 224 px."""
        while True:
            rng = np.random.default_rng([self._seed, step])
            height, width = _SIZES[rng.integers(len(_SIZES))]
            pictures = max(2, round(count * NOMINAL**2 / (height * width)))
            yield batch_of([self.scene(step, i, height, width) for i in range(pictures)])
            step += 1


def _coarsened(scene: Scene, rng: np.random.Generator) -> UInt8[np.ndarray, "H W 3"]:
    """Enlarged from fewer pixels, as many as leave the smallest face recognisable."""
    height, width = scene.image.shape[:2]
    sides = scene.boxes[scene.counted, 2:].max(1)
    least = _LEAST_COARSE / float(sides.min()) if len(sides) else 0.0
    factor = rng.uniform(np.clip(least, 0.25, 1.0), 1.0)
    size = (max(8, round(width * factor)), max(8, round(height * factor)))
    small = cv2.resize(scene.image, size, interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(small, (width, height)), np.uint8)
