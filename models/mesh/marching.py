"""From values on a grid to the surface where they pass a level."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Float32

from ..errors import InputError, how_to_install
from .triangle_mesh import TriangleMesh

_FAR = np.float32(1000.0)
"""Padding lies this many times the values' range beyond the level: the cap is at the border."""


def surface_of_grid(
    values: Float32[np.ndarray, "X Y Z"],
    level: float,
    low: Float[np.ndarray, " 3"] | tuple[float, float, float],
    high: Float[np.ndarray, " 3"] | tuple[float, float, float],
    inside_above: bool,
) -> TriangleMesh:
    """Marching cubes (Lewiner et al., 2003): a closed surface, its triangles facing outwards.

    Where the inside reaches the grid's border, the surface is closed there.

    Args:
        values: at the grid's corners, the first at ``low``, the last at ``high``.
        level: the surface's value.
        low: (3,) place of ``values[0, 0, 0]``.
        high: (3,) place of ``values[-1, -1, -1]``.
        inside_above: values above the level are inside (occupancy); else those below (distance).

    Raises:
        InputError: fewer than 2 values along an axis, values that are not finite, or scikit-image
            is missing.
    """
    if min(values.shape) < 2:
        raise InputError(f"grid of {values.shape} values, expected 2 or more along each axis")
    if not np.isfinite(values).all():
        raise InputError("grid: values that are not finite")
    try:
        from skimage.measure import marching_cubes
    except ModuleNotFoundError as error:
        raise InputError(f"surfaces need scikit-image: {how_to_install('heavy')}") from error

    # Inside is positive from here on, and nothing is exactly at the level: vertices stay apart.
    above = (values - np.float32(level)) * np.float32(1 if inside_above else -1)
    reach = max(float(above.max()), -float(above.min()), 1e-6)
    least = 1e-5 * reach
    above[(above > -least) & (above < least)] = -least
    if not (above > 0).any():
        return TriangleMesh(np.zeros((0, 3), np.float32), np.zeros((0, 3), np.int32))
    padded = np.pad(above, 1, constant_values=-_FAR * np.float32(reach))
    vertices, triangles, _, _ = marching_cubes(padded, 0.0, gradient_direction="ascent")
    start, end = np.asarray(low, np.float64), np.asarray(high, np.float64)
    last = np.array(values.shape) - 1
    placed = start + np.clip(vertices.astype(np.float64) - 1, 0, last) * ((end - start) / last)
    if np.prod(np.sign(end - start)) < 0:
        triangles = triangles[:, ::-1]
    return TriangleMesh(placed.astype(np.float32), np.ascontiguousarray(triangles, np.int32))
