"""Depth maps in files: 16-bit PNG, and floats as .npy, .tiff, .pfm or .exr's kin."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from jaxtyping import Float32

from ..archives import read_npy
from ..documents import one_line
from ..errors import InputError
from ..picture_file import decoded
from ..picture_size import content_fault, declared_size

DEPTH_SUFFIXES: Final = (".png", ".npy", ".tif", ".tiff", ".pfm")
_MOST_PX: Final = 1 << 26
NEAREST_MM, FARTHEST_MM = 80.0, 2500.0
"""Where a face is before a depth camera: the median depth must lie between."""


def read_depth(
    path: Path, unit_mm: float | None = None, disparity: bool = False
) -> Float32[np.ndarray, "H W"]:
    """Depth along the camera's axis, mm; NaN where nothing was measured (0, negative, not finite).

    Without a unit, whole numbers are mm, and so are floats unless they can only be metres.

    Args:
        path: the file.
        unit_mm: mm of a unit, where it is known.
        disparity: the numbers are inverse depths, 1/m.

    Raises:
        InputError: it cannot be read, is no depth map, holds nothing, or its depths cannot be a
            face's.
    """
    raw = _raw(path)
    if raw.dtype.kind not in "fiu":
        raise InputError(f"{path}: holds {raw.dtype}, expected numbers")
    if raw.ndim != 2:
        raise InputError(f"{path}: {raw.ndim} dimensions, expected a depth map of one channel")
    values = raw.astype(np.float64)
    known = np.isfinite(values) & (values > 0)
    if not known.any():
        raise InputError(f"{path}: no depth in it: all pixels are 0, negative or not finite")
    values[~known] = np.nan
    if disparity:
        values = 1.0 / values
    unit = unit_mm if unit_mm is not None else _found_unit(raw, float(np.nanmedian(values)))
    depth = (values * unit).astype(np.float32)
    # Background is far; a face is what is near.
    near = float(np.nanquantile(depth, 0.05))
    if not NEAREST_MM <= near <= FARTHEST_MM:
        raise InputError(
            f"{path}: the nearest depths are {near:.4g} mm; a face is {NEAREST_MM:g} to "
            f"{FARTHEST_MM:g} mm away: say depth_unit (mm, cm, m, 1/m) in the intrinsics"
        )
    return depth


def _found_unit(raw: np.ndarray, median: float) -> float:
    """Metres where floats are too small for mm."""
    return 1000.0 if raw.dtype.kind == "f" and median < 20.0 else 1.0


def _raw(path: Path) -> np.ndarray:
    suffix = path.suffix.lower()
    if suffix not in DEPTH_SUFFIXES:
        raise InputError(f"{path}: expected a depth map that ends {', '.join(DEPTH_SUFFIXES)}")
    try:
        if suffix == ".npy":
            return read_npy(path)
        if suffix == ".pfm":
            return _pfm(path)
        content = np.fromfile(path, np.uint8)
        size = declared_size(content) or (0, 0)
        if math.prod(size) > _MOST_PX:
            raise ValueError("it declares more than 64 million pixels")
        fault = content_fault(content)
        if fault:
            raise ValueError(f"it {fault}")
        raw = decoded(content, cv2.IMREAD_UNCHANGED)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from error
    except (ValueError, EOFError) as error:
        raise InputError(f"{path}: not a depth map: {one_line(error)}") from error
    if raw is None:
        raise InputError(f"{path}: not a picture")
    if raw.ndim == 3 or raw.dtype == np.uint8:
        raise InputError(
            f"{path}: {raw.dtype} of {raw.ndim} dimensions; a depth PNG has 16 bits and one channel"
        )
    return raw


def _pfm(path: Path) -> Float32[np.ndarray, "H W"]:
    """Portable float map of one channel: rows run from the bottom up."""
    with path.open("rb") as stream:
        kind = stream.readline().strip()
        if kind != b"Pf":
            raise ValueError("a PFM of one channel begins with Pf")
        width, height = (int(word) for word in stream.readline().split())
        scale = float(stream.readline())
        order = "<" if scale < 0 else ">"
        if min(width, height) < 1 or width * height * 4 > path.stat().st_size:
            raise ValueError(f"it lacks the bytes of {width} x {height} px")
        data = np.frombuffer(stream.read(), f"{order}f4", width * height)
    return data.reshape(height, width)[::-1].astype(np.float32)
