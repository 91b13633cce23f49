"""One depth picture with its colours and camera."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Float64, UInt8

from ..errors import InputError


@dataclass(frozen=True)
class Intrinsics:
    """A pinhole camera, pixels; the centre of the top-left pixel is (0, 0).

    Attributes:
        fx, fy: focal lengths.
        cx, cy: principal point.
        width, height: of the picture they hold for.
    """

    fx: float
    fy: float
    cx: float
    cy: float
    width: int
    height: int

    def __post_init__(self) -> None:
        values = (self.fx, self.fy, self.cx, self.cy)
        if not np.isfinite(values).all() or self.fx <= 0 or self.fy <= 0:
            raise InputError(f"intrinsics: fx {self.fx}, fy {self.fy}; expected positive numbers")
        if self.width <= 0 or self.height <= 0:
            raise InputError(f"intrinsics: a picture of {self.width} x {self.height} px")

    def resized(self, width: int, height: int) -> Intrinsics:
        """The same camera for a picture of another size (pixel corners stay corners)."""
        sx, sy = width / self.width, height / self.height
        cx, cy = (self.cx + 0.5) * sx - 0.5, (self.cy + 0.5) * sy - 0.5
        return Intrinsics(self.fx * sx, self.fy * sy, cx, cy, width, height)

    @property
    def matrix(self) -> Float64[np.ndarray, "3 3"]:
        """Pixels (times depth) from mm of the camera frame."""
        return np.array([[self.fx, 0, self.cx], [0, self.fy, self.cy], [0, 0, 1.0]])


@dataclass(frozen=True)
class DepthFrame:
    """What a depth camera saw at one moment.

    Attributes:
        depth: (H, W) mm along the camera's axis; NaN where nothing was measured.
        image: (h, w, 3) BGR, of the same view, maybe of another size; None without colours.
        camera: of the depth.
        head_from_camera: (4, 4) rigid, mm; camera frame x right, y down, z forward.
    """

    depth: Float32[np.ndarray, "H W"]
    image: UInt8[np.ndarray, "h w 3"] | None
    camera: Intrinsics
    head_from_camera: Float64[np.ndarray, "4 4"]

    def points(self) -> Float32[np.ndarray, "H W 3"]:
        """Places of the pixels in the camera frame, mm; NaN where nothing was measured."""
        height, width = self.depth.shape
        x = (np.arange(width, dtype=np.float32) - np.float32(self.camera.cx)) / np.float32(
            self.camera.fx
        )
        y = (np.arange(height, dtype=np.float32) - np.float32(self.camera.cy)) / np.float32(
            self.camera.fy
        )
        return np.stack([self.depth * x, self.depth * y[:, None], self.depth], axis=-1)
