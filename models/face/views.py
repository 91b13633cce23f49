"""The three small upright pieces of a picture in which the blendshapes' network sees a face.

A view is 64 x 48 px, upright with the head: one about each eye and its brow, one about the mouth
and the chin. That of the subject's right eye is mirrored, so that both look alike: the nose is on
the left.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from types import ModuleType
from typing import Final, NamedTuple

import cv2
import numpy as np
from jaxtyping import Bool, Float32, Float64, UInt8

from .crop import CROP_SIZE, Crop
from .morphable import FaceModel
from .names import BLENDSHAPE_NAMES

VIEW_WIDTH: Final = 64
VIEW_HEIGHT: Final = 48
N_VIEWS: Final = 3
LEFT_EYE, RIGHT_EYE, MOUTH = range(N_VIEWS)
"""The views, by the subject's side."""

STEP_MM: Final = (0.9, 0.9, 1.5)
"""Of each view's pixels, on a head of the face model's size."""

_ANCHORS: Final = (
    {42: 0.3, 45: 0.3, **dict.fromkeys(range(22, 27), 0.08)},
    {36: 0.3, 39: 0.3, **dict.fromkeys(range(17, 22), 0.08)},
    {48: 0.35, 54: 0.35, 8: 0.3},
)
"""Landmarks whose weighted mean a view lies about: an eye's corners and its brow; the mouth's
corners and the chin."""


_STEPS: Final = np.array(STEP_MM)
_SAMPLING: Final = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
_FINE: Final = 1.5
"""Image pixels a view's, from which on blocks of them are averaged."""
_FURTHEST_PX: Final = 1e6
"""Corners that lie further outside of a picture are as good as there."""


def _views_of(name: str) -> tuple[int, ...]:
    if name == "browInnerUp":
        return LEFT_EYE, RIGHT_EYE
    if name.startswith(("eye", "brow", "cheekSquint")):
        return (RIGHT_EYE if name.endswith("Right") else LEFT_EYE,)
    return (MOUTH,)


BLENDSHAPE_VIEWS: Final = tuple(_views_of(name) for name in BLENDSHAPE_NAMES)
"""The views in which each of the 52 blendshapes is seen: any one of them will do."""


class FaceViews(NamedTuple):
    """The views of one face.

    Attributes:
        pixels: (3, 48, 64, 3) BGR; zero outside of the picture.
        facing: (2,) where the face looks: the components of the head's forward direction towards
            the unmirrored views' right and down, the sine of the angle for each.
        inside: (3,) whether the middle of each view lies in the picture.
    """

    pixels: UInt8[np.ndarray, "3 48 64 3"]
    facing: Float32[np.ndarray, " 2"]
    inside: Bool[np.ndarray, " 3"]


@dataclass(frozen=True)
class ViewPlaces:
    """Where the middles of the views lie on a head, by its shape.

    Attributes:
        mean: (3, 3) of the mean head, head frame, mm.
        basis: (40, 3, 3) mm a standard deviation.
    """

    mean: Float32[np.ndarray, "3 3"]
    basis: Float32[np.ndarray, "40 3 3"]

    @classmethod
    def of(cls, model: FaceModel) -> ViewPlaces:
        """The middles on a face model's heads without expression."""
        points = model.landmarks()
        weights = np.zeros((N_VIEWS, len(points.mean)))
        for view, anchor in enumerate(_ANCHORS):
            weights[view, list(anchor)] = list(anchor.values())
        mean = weights @ points.mean
        basis = np.einsum("vl,klc->kvc", weights, points.shape_basis)
        return cls(np.ascontiguousarray(mean, np.float32), np.ascontiguousarray(basis, np.float32))

    def views(
        self,
        image_bgr: UInt8[np.ndarray, "H W 3"],
        crop: Crop,
        pose: Float32[np.ndarray, "3 4"],
        shape: Float32[np.ndarray, " 40"],
    ) -> FaceViews:
        """Cut the views out of a picture, bilinear, averaged where the face is large.

        Args:
            image_bgr: the picture.
            crop: the piece whose pixels ``pose`` counts in.
            pose: scaled orthography of the head, crop px per mm.
            shape: of the head, standard deviations.
        """
        pixels = np.zeros((N_VIEWS, VIEW_HEIGHT, VIEW_WIDTH, 3), np.uint8)
        facing, maps = np.zeros(2, np.float32), np.empty((N_VIEWS, 2, 3))
        inside, cuts = np.zeros(N_VIEWS, np.bool_), np.empty((N_VIEWS, 5), np.int64)
        height, width = image_bgr.shape[:2]
        scale = crop.side / CROP_SIZE
        middle = (CROP_SIZE - 1) / 2.0
        if not _kernel().place(
            crop.cx - scale * middle, crop.cy - scale * middle, scale, pose, shape, self.mean,
            self.basis, _STEPS, RIGHT_EYE, VIEW_WIDTH, VIEW_HEIGHT, width, height, _FINE,
            _FURTHEST_PX, maps, facing, inside, cuts,
        ):  # fmt: skip
            return FaceViews(pixels, facing, np.zeros(N_VIEWS, np.bool_))
        for view, to_blocks, cut in zip(pixels, maps, cuts.tolist(), strict=True):
            if cut[0] != _kernel().NOTHING:
                _sample(image_bgr, to_blocks, cut, view)
        return FaceViews(pixels, facing, inside)


def _sample(
    image: UInt8[np.ndarray, "H W 3"],
    to_blocks: Float64[np.ndarray, "2 3"],
    cut: list[int],
    view: UInt8[np.ndarray, "48 64 3"],
) -> None:
    """Fill a view; where the image's pixels are finer, from means of square blocks of them.

    Blocks of two, four, six pixels: of one alone every second stripe would be missed from a step of
    1.5 px on, and two of them each way have a part in a bilinear sample.
    """
    block, left, top, across, down = cut
    if block != _kernel().WHOLE:
        part = image[top : top + block * down, left : left + block * across]
        image = np.asarray(cv2.resize(part, (across, down), interpolation=cv2.INTER_AREA), np.uint8)
    cv2.warpAffine(image, to_blocks, (VIEW_WIDTH, VIEW_HEIGHT), view, _SAMPLING)


@cache
def _kernel() -> ModuleType:
    """Imported where it is first needed: numba is slow to import."""
    from . import _view_kernel

    return _view_kernel
