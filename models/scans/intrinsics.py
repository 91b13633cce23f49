"""Intrinsics as apps write them, in JSON: which spellings are accepted.

- ``fx``, ``fy``, ``cx``, ``cy`` (also ``fl_x``, ``fl_y``, ``ppx``, ``ppy``), at the top or under
  ``intrinsics``, ``camera``, ``calibration`` or ``depth_camera``;
- or a 3 x 3 matrix, nested or flat, under ``camera_matrix``, ``intrinsic_matrix``,
  ``intrinsics``, ``intrinsicMatrix``, ``cameraIntrinsics`` or ``K``, by rows or, as ARKit prints
  its ``simd_float3x3``, by columns: which of the two is seen by where the principal point stands;
- ``width`` and ``height`` (also ``image_width``, ``image_height``, ``resolution``,
  ``imageResolution``, ``intrinsicMatrixReferenceDimensions``: [width, height]) of the picture they
  hold for; they are scaled to the depth map's size;
- ``depth_unit``: ``mm``, ``cm``, ``m``, or ``1/m`` for disparities; or ``depth_scale``: units a
  metre (1000 for mm), as RealSense and TUM have it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from jaxtyping import Float64

from ..documents import json_of
from ..errors import InputError
from .frame import Intrinsics

_INSIDE: Final = ("intrinsics", "camera", "calibration", "depth_camera", "depth_intrinsics")
_MATRICES: Final = (
    "camera_matrix", "intrinsic_matrix", "intrinsics", "intrinsicMatrix", "cameraIntrinsics", "K",
)  # fmt: skip
_SIZES: Final = ("resolution", "imageResolution", "intrinsicMatrixReferenceDimensions", "size")
_LARGEST: Final = 1e9
UNITS_MM: Final = {"mm": 1.0, "cm": 10.0, "m": 1000.0}
DISPARITY: Final = "1/m"


@dataclass(frozen=True)
class CameraFile:
    """What a file of intrinsics says.

    Attributes:
        fx, fy, cx, cy: px.
        size: width and height of the picture they hold for; None where it is not said.
        unit_mm: mm of a unit of depth; None where it is not said.
        disparity: depths are inverse, 1/m.
        path: of the file.
    """

    fx: float
    fy: float
    cx: float
    cy: float
    size: tuple[int, int] | None
    unit_mm: float | None
    disparity: bool
    path: Path

    def at(
        self, depth_size: tuple[int, int], image_size: tuple[int, int] | None = None
    ) -> Intrinsics:
        """Of the depth map.

        Args:
            depth_size: width and height of the depth map.
            image_size: of the picture beside it: taken where the file does not say its size and the
                principal point lies outside of the depth map.

        Raises:
            InputError: the principal point lies in none of the pictures.
        """
        size = self.size
        if size is None:
            sizes = [depth_size] + ([image_size] if image_size else [])
            # A principal point is near the middle: the size that it halves best is meant.
            size = min(sizes, key=lambda s: abs(np.log(max(2 * self.cx, 1e-3) / s[0])))
        if not (0.2 < self.cx / size[0] < 0.8 and 0.2 < self.cy / size[1] < 0.8):
            raise InputError(
                f"{self.path}: principal point ({self.cx:g}, {self.cy:g}) of a picture of "
                f"{size[0]} x {size[1]} px; expected near its middle: say width and height"
            )
        lens = Intrinsics(self.fx, self.fy, self.cx, self.cy, *size)
        return lens.resized(*depth_size)


def read_intrinsics(path: Path) -> CameraFile:
    """Read a file of intrinsics; see the module for what is accepted.

    Raises:
        InputError: it is missing, no JSON, or holds no intrinsics.
    """
    try:
        content = json_of(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise InputError(f"{path}: not JSON: {error}") from error
    return intrinsics_of(content, path)


def intrinsics_of(content: Any, path: Path) -> CameraFile:
    """Intrinsics in a JSON document.

    Raises:
        InputError: it holds none, or impossible ones.
    """
    if not isinstance(content, Mapping):
        raise InputError(f"{path}: expected an object with fx, fy, cx, cy or a 3 x 3 matrix")
    tables = list(_tables(content))
    values = next(filter(None, (_scalars(t) or _matrix(t) for t in tables)), None)
    if values is None:
        raise InputError(
            f"{path}: no intrinsics: expected fx, fy, cx, cy, or a 3 x 3 camera_matrix"
        )
    if not np.isfinite(values).all() or min(values[:2]) <= 0:
        raise InputError(f"{path}: intrinsics {values}; expected positive focal lengths, px")
    unit, disparity = _unit(tables, path)
    size = next(filter(None, (_size(t) for t in tables)), None)
    return CameraFile(*values, size, unit, disparity, path)


def _tables(content: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield content
    for name in _INSIDE:
        inner = content.get(name)
        if isinstance(inner, Mapping):
            yield from _tables(inner)


def _number(value: Any) -> float | None:
    """A number that is one; None for other values, and for sizes beyond any."""
    known = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if known and abs(value) < _LARGEST else None


def _scalars(table: Mapping[str, Any]) -> tuple[float, float, float, float] | None:
    cx, cy = table.get("cx", table.get("ppx")), table.get("cy", table.get("ppy"))
    fx = table.get("fx", table.get("fl_x"))
    fy = table.get("fy", table.get("fl_y", fx))
    a, b, c, d = (_number(v) for v in (fx, fy, cx, cy))
    return None if a is None or b is None or c is None or d is None else (a, b, c, d)


def _matrix(table: Mapping[str, Any]) -> tuple[float, float, float, float] | None:
    for name in _MATRICES:
        try:
            matrix: Float64[np.ndarray, ...] = np.asarray(table.get(name), np.float64)
        except (TypeError, ValueError, OverflowError):
            continue
        if matrix.size == 9:
            k = matrix.reshape(3, 3)
            if abs(k[0, 2]) < 1e-9 and abs(k[2, 0]) > 1e-9:
                k = k.T  # by columns
            return float(k[0, 0]), float(k[1, 1]), float(k[0, 2]), float(k[1, 2])
    return None


def _size(table: Mapping[str, Any]) -> tuple[int, int] | None:
    for wide, high in (("width", "height"), ("image_width", "image_height"), ("w", "h")):
        a, b = _number(table.get(wide)), _number(table.get(high))
        if a and b and min(a, b) >= 1:
            return round(a), round(b)
    for name in _SIZES:
        pair = table.get(name)
        if isinstance(pair, Mapping):
            pair = [pair.get("width"), pair.get("height")]
        if isinstance(pair, list) and len(pair) == 2:
            a, b = _number(pair[0]), _number(pair[1])
            if a and b and min(a, b) >= 1:
                return round(a), round(b)
    return None


def _unit(tables: list[Mapping[str, Any]], path: Path) -> tuple[float | None, bool]:
    """mm of a unit of depth, and whether depths are inverse."""
    for table in tables:
        name = table.get("depth_unit", table.get("depthUnit"))
        if name == DISPARITY:
            return 1000.0, True
        if name is not None:
            if not isinstance(name, str) or name not in UNITS_MM:
                raise InputError(f"{path}: depth_unit {name!r:.40}; expected mm, cm, m or 1/m")
            return UNITS_MM[name], False
        scale = _number(table.get("depth_scale", table.get("depthScale")))
        if scale is not None:
            if scale <= 0:
                raise InputError(f"{path}: depth_scale {scale:g}; expected units a metre, over 0")
            return 1000.0 / scale, False
    return None, False
