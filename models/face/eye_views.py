"""The two small upright pieces of a picture in which the eyes' network sees the eyes.

A view is 64 x 40 px of 0.75 mm each about the middle of an eye's corners, upright with the head.
The subject's right eye is mirrored, so that both look alike: the nose is on the left.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from types import ModuleType
from typing import Final, NamedTuple

import numpy as np
from jaxtyping import Bool, Float32, UInt8

from .crop import CROP_SIZE, Crop
from .morphable import FaceModel
from .names import BLENDSHAPE_INDEX

VIEW_WIDTH: Final = 64
VIEW_HEIGHT: Final = 40
VIEW_STEP_MM: Final = 0.75
"""Of a view's pixels, at the eye of a head of the face model's size."""

EYE_UNITS: Final = (
    "eyeBlink",
    "eyeLookDown",
    "eyeLookIn",
    "eyeLookOut",
    "eyeLookUp",
    "eyeSquint",
    "eyeWide",
)
"""Blendshapes of one eye, in the order in which its network says them."""

BLINK, LOOK_DOWN, LOOK_IN, LOOK_OUT, LOOK_UP = range(5)
"""Places in ``EYE_UNITS``."""

EYE_COLUMNS: Final = tuple(
    tuple(BLENDSHAPE_INDEX[unit + side] for unit in EYE_UNITS) for side in ("Left", "Right")
)
"""Where these lie among the 52, of the subject's left and right eye."""

_CORNERS: Final = ((42, 45), (36, 39))
"""Landmarks at the corners of the subject's left and right eye."""


class EyeViews(NamedTuple):
    """Both eyes of one face: first the subject's left, then the right, mirrored.

    Attributes:
        pixels: (2, 40, 64, 3) BGR; zero outside of the picture.
        facing: (2, 2) where the face looks: the components of the head's forward direction
            towards the view's right and down, the sine of the angle for each.
        inside: (2,) whether the middle of each eye lies in the picture.
    """

    pixels: UInt8[np.ndarray, "2 40 64 3"]
    facing: Float32[np.ndarray, "2 2"]
    inside: Bool[np.ndarray, " 2"]


@dataclass(frozen=True)
class EyePlaces:
    """Where the eyes of a head lie, by its shape.

    Attributes:
        mean: (2, 3) of the mean head, head frame, mm.
        basis: (40, 2, 3) mm a standard deviation.
    """

    mean: Float32[np.ndarray, "2 3"]
    basis: Float32[np.ndarray, "40 2 3"]

    @classmethod
    def of(cls, model: FaceModel) -> EyePlaces:
        """The middles between the corners of a face model's eyes."""
        points = model.landmarks()
        mean = np.stack([points.mean[list(pair)].mean(0) for pair in _CORNERS])
        basis = np.stack([points.shape_basis[:, list(pair)].mean(1) for pair in _CORNERS], 1)
        return cls(np.ascontiguousarray(mean, np.float32), np.ascontiguousarray(basis, np.float32))

    def views(
        self,
        image_bgr: UInt8[np.ndarray, "H W 3"],
        crop: Crop,
        pose: Float32[np.ndarray, "3 4"],
        shape: Float32[np.ndarray, " 40"],
    ) -> EyeViews:
        """Cut the eyes out of a picture, bilinear, averaged where the face is large.

        Args:
            image_bgr: the picture.
            crop: the piece whose pixels ``pose`` counts in.
            pose: scaled orthography of the head, crop px per mm.
            shape: of the head, standard deviations.
        """
        pixels = np.zeros((2, VIEW_HEIGHT, VIEW_WIDTH, 3), np.uint8)
        facing, inside = np.zeros((2, 2), np.float32), np.zeros(2, np.bool_)
        scale = crop.side / CROP_SIZE
        middle = (CROP_SIZE - 1) / 2.0
        # One layout only: the kernel is compiled for each that it meets.
        _kernel().cut(
            np.ascontiguousarray(image_bgr), crop.cx - scale * middle, crop.cy - scale * middle,
            scale, pose, shape, self.mean, self.basis, VIEW_STEP_MM, pixels, facing, inside,
        )  # fmt: skip
        return EyeViews(pixels, facing, inside)


@cache
def _kernel() -> ModuleType:
    """Imported where it is first needed: numba is slow to import."""
    from . import _eye_kernel

    return _eye_kernel
