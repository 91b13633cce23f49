"""What is seen of a face from in front: a picture, its features, what the tracker reads."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from jaxtyping import Float32, UInt8

from ..face.names import N_BLENDSHAPES
from ..scans.picture import FacePicture
from .face_surface import FaceSurface
from .generation_figures import picture_features
from .perceptual import Features

_SEEN: Final = 128
"""Pixels across the pictures whose features are taken: about the size of the regressor's crops."""
TILE: Final = 144
"""Pixels across the pictures that are kept."""
_NOTHING: Final = 60

Tracker = Callable[[UInt8[np.ndarray, "H W 3"]], Float32[np.ndarray, " 52"] | None]
"""Blendshapes of the face in a picture (BGR) of :class:`FacePicture`; None where it finds none."""


@dataclass(frozen=True)
class Look:
    """One face, seen.

    Attributes:
        blendshapes: that the tracker read; None where it found no face.
        features: of the picture.
        picture: small, BGR.
    """

    blendshapes: Float32[np.ndarray, " 52"] | None
    features: Float32[np.ndarray, " d"]
    picture: UInt8[np.ndarray, "t t 3"]


class Watcher:
    """Draws surfaces from in front and looks at the pictures.

    Args:
        tracker: reads expressions.
        features: of pictures.
        size: of the pictures that the tracker gets, px.
    """

    def __init__(self, tracker: Tracker, features: Features, size: int = FacePicture.size) -> None:
        self._tracker, self._features = tracker, features
        self._drawer = FacePicture(size)

    def look(self, face: FaceSurface) -> Look:
        """At one face."""
        if face.mesh is None:
            size = self._drawer.size
            picture = np.full((size, size, 3), _NOTHING, np.uint8)
            found = None
        else:
            picture = self._drawer.draw(face.mesh)
            found = self._tracker(picture)
        features = picture_features(self._features, _resized(picture, _SEEN))
        return Look(found, features, _resized(picture, TILE))

    def looks(self, faces: Sequence[FaceSurface]) -> list[Look]:
        """At several."""
        return [self.look(face) for face in faces]


def changes(looks: Sequence[Look], neutral: Look) -> Float32[np.ndarray, "F 52"]:
    """What the tracker read of faces less what it read of one; no change where it found none."""
    rows = np.zeros((len(looks), N_BLENDSHAPES), np.float32)
    for row, look in zip(rows, looks, strict=True):
        if look.blendshapes is not None and neutral.blendshapes is not None:
            row[:] = look.blendshapes - neutral.blendshapes
    return rows


def features_of(looks: Sequence[Look]) -> Float32[np.ndarray, "F d"]:
    """Features of several."""
    return np.stack([look.features for look in looks])


def found_share(looks: Sequence[Look]) -> float:
    """Share of the faces that the tracker found."""
    return sum(look.blendshapes is not None for look in looks) / max(len(looks), 1)


def _resized(picture: UInt8[np.ndarray, "H W 3"], size: int) -> UInt8[np.ndarray, "t t 3"]:
    kind = cv2.INTER_AREA if len(picture) >= size else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(picture, (size, size), interpolation=kind), np.uint8)
