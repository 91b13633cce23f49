"""A pinhole camera: millimetres in the camera frame (x right, y down, z forward) to pixels."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Float64

from ..documents import json_of, one_line, toml_of
from ..errors import InputError

DEFAULT_FOV_DEG = 60.0
"""Field of view across the longer side that is assumed of an unknown camera, degrees."""


@dataclass(frozen=True)
class Camera:
    """Intrinsics in pixels; the centre of the top-left pixel is (0, 0).

    Attributes:
        fx: focal length along x, px.
        fy: focal length along y, px.
        cx: principal point, x, px.
        cy: principal point, y, px.
        width: of the image, px.
        height: of the image, px.

    Raises:
        InputError: a focal length or a size is not positive, or a value is not finite.
    """

    fx: float
    fy: float
    cx: float
    cy: float
    width: int
    height: int

    def __post_init__(self) -> None:
        if not all(math.isfinite(v) for v in (self.fx, self.fy, self.cx, self.cy)):
            raise InputError(f"camera: {self} holds a value that is not finite")
        if min(self.fx, self.fy, self.width, self.height) <= 0:
            raise InputError(f"camera: focal lengths and image size must be positive, got {self}")

    @classmethod
    def from_fov(cls, width: int, height: int, fov_deg: float = DEFAULT_FOV_DEG) -> Camera:
        """Square pixels, centred, with this field of view across the longer side, degrees.

        Raises:
            InputError: the field of view is not between 1 and 175 degrees.
        """
        if not 1.0 <= fov_deg <= 175.0:
            raise InputError(f"field of view must be 1 to 175 degrees, got {fov_deg}")
        focal = max(width, height) / (2.0 * math.tan(math.radians(fov_deg) / 2.0))
        return cls(focal, focal, (width - 1) / 2.0, (height - 1) / 2.0, width, height)

    @classmethod
    def load(cls, path: Path) -> Camera:
        """Read a camera file.

        A ``.toml`` or ``.json`` file has fx, fy, cx, cy (px), width and height. A ``.yaml``,
        ``.yml`` or ``.xml`` file is one of OpenCV's calibration programs or ROS's ``camera_info``:
        of it the camera matrix and the size of the image are taken, and what it says of lens
        distortion is not (pictures are taken as they are).

        Raises:
            InputError: the file cannot be read or lacks one of the six numbers.
        """
        try:
            text = path.read_text(encoding="utf-8")
            suffix = path.suffix.lower()
            if suffix in (".yaml", ".yml", ".xml"):
                from .opencv_camera import numbers_of_calibration

                return cls(**numbers_of_calibration(text))
            values: dict[str, Any] = json_of(text) if suffix == ".json" else toml_of(text)
            numbers = {field.name: float(values[field.name]) for field in fields(cls)}
            width, height = round(numbers.pop("width")), round(numbers.pop("height"))
            return cls(**numbers, width=width, height=height)
        except InputError as error:
            raise InputError(f"{path}: {error}") from error
        except OSError as error:
            raise InputError(f"{path}: not a camera file: {error.strerror}") from error
        except (ValueError, KeyError, TypeError, OverflowError) as error:
            lacking = isinstance(error, KeyError)
            why = f"{error.args[0]} is missing" if lacking else one_line(error)
            raise InputError(
                f"{path}: not a camera file (fx, fy, cx, cy, width, height in pixels): {why}"
            ) from error

    def save(self, path: Path) -> None:
        """Write the six numbers as JSON, or as TOML where the name ends so."""
        values = asdict(self)
        if path.suffix.lower() == ".json":
            path.write_text(json.dumps(values, indent=1) + "\n", encoding="utf-8")
        else:
            lines = [f"{name} = {value}\n" for name, value in values.items()]
            path.write_text("".join(lines), encoding="utf-8")

    def resized(self, width: int, height: int) -> Camera:
        """The same camera delivering pictures of another size (same view, other pixels).

        Raises:
            InputError: that size has another aspect ratio, so that it cannot show the same view.
        """
        sx, sy = width / self.width, height / self.height
        # Scaled sizes are rounded to whole, often even, pixels.
        if abs(sx / sy - 1.0) > 0.02:
            raise InputError(
                f"the camera is of {self.width}x{self.height} pictures, this one is "
                f"{width}x{height}: another aspect ratio"
            )
        return Camera(
            fx=self.fx * sx,
            fy=self.fy * sy,
            cx=(self.cx + 0.5) * sx - 0.5,
            cy=(self.cy + 0.5) * sy - 0.5,
            width=width,
            height=height,
        )

    @property
    def matrix(self) -> Float64[np.ndarray, "3 3"]:
        """The 3x3 camera matrix, px."""
        return np.array([[self.fx, 0.0, self.cx], [0.0, self.fy, self.cy], [0.0, 0.0, 1.0]])

    def project(self, points_mm: Float[np.ndarray, "*B 3"]) -> Float[np.ndarray, "*B 2"]:
        """Pixels of points in the camera frame, mm; z must be positive."""
        z = points_mm[..., 2]
        return np.stack(
            [
                self.fx * points_mm[..., 0] / z + self.cx,
                self.fy * points_mm[..., 1] / z + self.cy,
            ],
            axis=-1,
        )

    def ray(self, points_px: Float[np.ndarray, "*B 2"]) -> Float[np.ndarray, "*B 3"]:
        """Unit directions in the camera frame through pixels."""
        x = (points_px[..., 0] - self.cx) / self.fx
        y = (points_px[..., 1] - self.cy) / self.fy
        ray = np.stack([x, y, np.ones_like(x)], axis=-1)
        return ray / np.linalg.norm(ray, axis=-1, keepdims=True)
