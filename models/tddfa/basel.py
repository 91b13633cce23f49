"""3DDFA_V2's Basel face model, its triangles and its statistics, as arrays.

Model frame of the Basel face: micrometres, x to the image's right, y up, z to the camera.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64, Int32
from numpy.typing import NDArray

from ..errors import InputError
from ..face.names import N_EXPRESSION, N_LANDMARKS, N_PARAMS, N_SHAPE
from .pickles import read_array, read_arrays


@dataclass(frozen=True)
class BaselFace:
    """``u + w_shp a_shape + w_exp a_expression``, raw coefficients.

    Attributes:
        mean: (N, 3) micrometres.
        shape: (40, N, 3) micrometres per unit of the coefficient.
        expression: (10, N, 3) likewise.
        landmark_vertices: (68,) vertex of each iBUG landmark.
        triangles: (M, 3) vertex indices.
    """

    mean: Float64[np.ndarray, "N 3"]
    shape: Float64[np.ndarray, "40 N 3"]
    expression: Float64[np.ndarray, "10 N 3"]
    landmark_vertices: Int32[np.ndarray, " 68"]
    triangles: Int32[np.ndarray, "M 3"]


@dataclass(frozen=True)
class Statistics:
    """With which the network's output is de-normalised: ``std * output + mean``.

    Attributes:
        mean: (62,) of the 12 pose, 40 shape and 10 expression parameters.
        std: (62,) positive.
    """

    mean: Float64[np.ndarray, " 62"]
    std: Float64[np.ndarray, " 62"]


def read_basel_face(model: Path, triangles: Path | None) -> BaselFace:
    """Read ``bfm_noneck_v3.pkl`` and ``tri.pkl``.

    Args:
        model: arrays ``u`` (3N, 1), ``w_shp`` (3N, 40 or more), ``w_exp`` (3N, 10 or more), both
            with x, y, z of a vertex one after the other, and ``keypoints`` (204), rows of ``u``.
        triangles: (3, M) or (M, 3). None takes the model's own ``tri``, which fits in the slim file
            only: that of ``bfm_noneck_v3.pkl`` belongs to a larger mesh.

    Raises:
        InputError: a file cannot be read, or its arrays are not of that form.
    """
    names = ("u", "w_shp", "w_exp", "keypoints", *(() if triangles else ("tri",)))
    arrays = read_arrays(model, names)
    mean = _finite(arrays["u"], "u", model).reshape(-1)
    if mean.size % 3 or arrays["u"].ndim > 2:
        raise InputError(f"{model}: u has shape {arrays['u'].shape}, expected (3 x vertices, 1)")
    count = mean.size // 3
    if triangles is None:
        corners = _triangles(arrays["tri"], count, f"{model}: tri", "; tri.pkl has the right ones")
    else:
        corners = _triangles(read_array(triangles), count, f"{triangles}", "")
    return BaselFace(
        mean.reshape(count, 3),
        _basis(arrays["w_shp"], "w_shp", model, count, N_SHAPE),
        _basis(arrays["w_exp"], "w_exp", model, count, N_EXPRESSION),
        _landmarks(arrays["keypoints"], model, count),
        corners,
    )


def read_statistics(path: Path) -> Statistics:
    """Read ``param_mean_std_62d_120x120.pkl``: a dictionary with ``mean`` and ``std``.

    Raises:
        InputError: the file cannot be read, or holds no 62 of each.
    """
    arrays = read_arrays(path, ("mean", "std"))
    mean, std = (_finite(arrays[name], name, path).reshape(-1) for name in ("mean", "std"))
    if (mean.size, std.size) != (N_PARAMS, N_PARAMS):
        raise InputError(
            f"{path}: {mean.size} means and {std.size} deviations, expected {N_PARAMS} of each "
            f"(12 of pose, {N_SHAPE} of shape, {N_EXPRESSION} of expression)"
        )
    if not np.all(std[12:] > 0.0) or np.any(std < 0.0):
        raise InputError(f"{path}: std must be positive")
    return Statistics(mean, std)


def _finite(array: NDArray[Any], name: str, path: Path) -> Float64[np.ndarray, ...]:
    if not np.all(np.isfinite(array)):
        raise InputError(f"{path}: {name} has values that are not finite")
    return array.astype(np.float64)


def _basis(
    array: NDArray[Any], name: str, path: Path, count: int, columns: int
) -> Float64[np.ndarray, "C N 3"]:
    """The first columns, which are the ones that the network's parameters mean."""
    if array.ndim != 2 or array.shape[0] != 3 * count or array.shape[1] < columns:
        raise InputError(
            f"{path}: {name} has shape {array.shape}, expected ({3 * count}, {columns} or more)"
        )
    used = _finite(array[:, :columns], name, path)
    return np.ascontiguousarray(used.T).reshape(columns, count, 3)


def _landmarks(array: NDArray[Any], path: Path, count: int) -> Int32[np.ndarray, " 68"]:
    rows = array.reshape(-1)
    vertices = rows[::3] // 3
    wanted = (3 * vertices[:, None] + np.arange(3)).reshape(-1)
    if (
        rows.size != 3 * N_LANDMARKS
        or not np.array_equal(rows, wanted)
        or vertices.min() < 0
        or vertices.max() >= count
    ):
        raise InputError(
            f"{path}: keypoints has shape {array.shape}, expected ({3 * N_LANDMARKS},): x, y, z "
            f"rows of u, of which there are {3 * count}, for each of {N_LANDMARKS} landmarks"
        )
    return vertices.astype(np.int32)


def _triangles(
    array: NDArray[Any], count: int, where: str, remedy: str
) -> Int32[np.ndarray, "M 3"]:
    if array.ndim != 2 or 3 not in array.shape or array.dtype.kind not in "iuf":
        raise InputError(f"{where} has shape {array.shape}, expected (3, triangles){remedy}")
    corners = array if array.shape[1] == 3 and array.shape[0] != 3 else array.T
    if corners.size == 0 or corners.min() < 0 or corners.max() >= count:
        raise InputError(
            f"{where} names vertices {corners.min()} to {corners.max()}, and the model has "
            f"{count}{remedy}"
        )
    return np.ascontiguousarray(corners, dtype=np.int32)
