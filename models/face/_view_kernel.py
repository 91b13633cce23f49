"""Compiled placing of the views; imported where it is first needed (numba is slow to import)."""

from __future__ import annotations

from typing import no_type_check

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
@no_type_check
def place(left, top, scale, pose, shape, mean, basis, steps_mm, mirrored, columns, rows,
          maps, facing):  # fmt: skip
    """Where the pixels of each view lie in the image, and where the face looks.

    Args:
        left, top, scale: take the pose's pixels to those of the image.
        pose, shape, mean, basis: see :meth:`.views.ViewPlaces.views`.
        steps_mm: of each view's pixels.
        mirrored: number of the view that is.
        columns, rows: of a view.
        maps: (V, 2, 3) is filled: from a view's (x, y, 1) to the image's.
        facing: (2,) is filled, see :class:`.views.FaceViews`.

    Returns:
        Whether they lie anywhere: not of a head seen from right above or below.
    """
    matrix = np.empty((3, 3))
    square = 0.0
    for i in range(3):
        for j in range(3):
            matrix[i, j] = pose[i, j] * scale
            square += matrix[i, j] ** 2
    size = np.sqrt(square / 3.0)
    down_x, down_y = matrix[0, 1], matrix[1, 1]
    length = np.hypot(down_x, down_y)
    if not np.isfinite(size) or not length > 1e-3 * size:
        return False
    down_x, down_y = down_x / length, down_y / length
    forward_x, forward_y = -matrix[0, 2] / size, -matrix[1, 2] / size
    facing[0] = forward_x * down_y - forward_y * down_x
    facing[1] = forward_x * down_x + forward_y * down_y
    for view in range(maps.shape[0]):
        step = size * steps_mm[view]
        turn = -step if view == mirrored else step
        x, y = left + scale * pose[0, 3], top + scale * pose[1, 3]
        for j in range(3):
            at = mean[view, j]
            for k in range(shape.shape[0]):
                at += shape[k] * basis[k, view, j]
            x += matrix[0, j] * at
            y += matrix[1, j] * at
        if not np.isfinite(x + y):
            return False
        maps[view, 0, 0], maps[view, 1, 0] = turn * down_y, -turn * down_x
        maps[view, 0, 1], maps[view, 1, 1] = step * down_x, step * down_y
        for i, middle in enumerate((x, y)):
            aside = 0.5 * (columns - 1) * maps[view, i, 0] + 0.5 * (rows - 1) * maps[view, i, 1]
            maps[view, i, 2] = middle - aside
    return True
