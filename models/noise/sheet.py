"""Pictures of the video noise, to be looked at: each noise at graded strengths, and a clip."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from jaxtyping import Float64, Int32, UInt8

from ..face.crop import CROP_SCALE, CROP_SIZE, tight_box
from ..face.rotation import matrix_from_yaw_pitch_roll
from .degradation import compression, defocus_blur, gaussian_noise, low_resolution, motion_blur
from .placed_face import PlacedFace
from .video import VideoNoise, compose, degraded, moved_picture, short_video, similarity

TILE: Final = 150
"""Side of a tile of the sheet, px: the crop of 120 that the regressor sees, and a margin."""
_HEADER: Final = 20
_GREEN: Final = (90, 230, 90)

Picture = UInt8[np.ndarray, "H W 3"]


@dataclass(frozen=True)
class Still:
    """A picture with its face.

    Attributes:
        image_bgr: (H, W, 3) uint8.
        face: in it.
        landmark_vertices: (68,) of its mesh.
    """

    image_bgr: Picture
    face: PlacedFace
    landmark_vertices: Int32[np.ndarray, " 68"]

    def close_up(self, tile: int) -> Float64[np.ndarray, "2 3"]:
        """The similarity that fills a tile with the nominal crop and its margin."""
        x, y, w, h = tight_box(self.face.pixels[self.landmark_vertices])
        scale = tile * CROP_SIZE / TILE / (CROP_SCALE * max(w, h))
        middle = np.array([x + w / 2, y + h / 2])
        return similarity(scale, 0.0, (tile - 1) / 2 - middle, middle)


def _moved(
    still: Still, yaw: float = 0.0, pitch: float = 0.0, roll: float = 0.0, scale: float = 1.0
) -> Picture:
    middle = np.full(2, (TILE - 1) / 2)
    in_plane = similarity(scale, roll, np.zeros(2), middle)
    affine = compose(in_plane, still.close_up(TILE))
    turn = matrix_from_yaw_pitch_roll(np.array([yaw, pitch, 0.0]))
    return moved_picture(still.image_bgr, still.face, turn, affine, size=(TILE, TILE))[0]


_ROWS: Final[list[tuple[str, tuple[float, ...], Callable[[Still, float], Picture]]]] = [
    (
        "Gaussian noise, sigma",
        (0, 3, 6, 12, 24),
        lambda s, k: gaussian_noise(_moved(s), k, np.random.default_rng(0)),
    ),
    ("motion blur, px", (0, 3, 5, 9, 15), lambda s, k: motion_blur(_moved(s), k, np.pi / 5)),
    ("defocus, radius px", (0, 1, 2, 3, 5), lambda s, k: defocus_blur(_moved(s), k)),
    ("low resolution, factor", (1, 1.5, 2, 3, 5), lambda s, k: low_resolution(_moved(s), k)),
    ("compression, 100 - quality", (0, 40, 70, 85, 95), lambda s, k: compression(_moved(s), k)),
    ("scale", (0.8, 0.9, 1, 1.1, 1.2), lambda s, k: _moved(s, scale=k)),
    ("rotation, degrees", (-30, -10, 0, 10, 30), lambda s, k: _moved(s, roll=k)),
    ("profiling, yaw degrees", (-20, -10, 0, 10, 20), lambda s, k: _moved(s, yaw=k)),
    ("profiling, pitch degrees", (-20, -10, 0, 10, 20), lambda s, k: _moved(s, pitch=k)),
]


def noise_sheet(stills: Sequence[Still]) -> Picture:
    """A row for each noise; five strengths of it on each still, side by side."""
    rows = []
    for name, strengths, change in _ROWS:
        tiles = [
            _captioned(change(still, strength), f"{name} {strength:g}")
            for still in stills
            for strength in strengths
        ]
        rows.append(np.hstack(tiles))
    return np.vstack(rows)


def noise_clip(
    stills: Sequence[Still], config: VideoNoise, seed: int = 0, tile: int = 200
) -> list[Picture]:
    """Frames of a short video of each still, there and back, so that it can be played in a loop.

    Above, what moved, with the landmarks of its labels; below, the same degraded, as it is trained
    on.
    """
    columns: list[list[Picture]] = []
    config = config.for_crop(tile * CROP_SIZE / TILE)
    clean = config.scaled(degradation=0.0)
    for k, still in enumerate(stills):
        rng = np.random.default_rng([seed, k])
        video = short_video(
            still.image_bgr, still.face, clean, rng, first=still.close_up(tile), size=(tile, tile)
        )
        column = []
        for frame in video:
            above = frame.image_bgr.copy()
            if frame.face is not None:
                for point in frame.face.pixels[still.landmark_vertices]:
                    at = tuple(np.round(point * 8).astype(int).tolist())
                    cv2.circle(above, at, 10, _GREEN, -1, cv2.LINE_AA, 3)
            column.append(np.vstack([above, degraded(frame.image_bgr, config, rng)]))
        columns.append(column)
    there = [np.hstack(pictures) for pictures in zip(*columns, strict=True)]
    return there + there[-2:0:-1]


def _captioned(tile: Picture, text: str) -> Picture:
    header = np.full((_HEADER, tile.shape[1], 3), 32, np.uint8)
    font = cv2.FONT_HERSHEY_SIMPLEX
    cv2.putText(header, text, (4, 14), font, 0.34, (235, 235, 235), 1, cv2.LINE_AA)
    return np.vstack([header, tile])
