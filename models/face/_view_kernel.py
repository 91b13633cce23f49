"""Compiled placing of the views; imported where it is first needed (numba is slow to import)."""

from __future__ import annotations

from typing import no_type_check

import numpy as np
from numba import njit

NOTHING = 0
WHOLE = 1
"""Blocks of single pixels: a view is sampled from the picture itself."""


@njit(cache=True, nogil=True)
@no_type_check
def place(left, top, scale, pose, shape, mean, basis, steps_mm, mirrored, columns, rows,
          width, height, fine, furthest, maps, facing, inside, cuts):  # fmt: skip
    """Where the pixels of each view lie in the image, and where the face looks.

    Args:
        left, top, scale: take the pose's pixels to those of the image.
        pose, shape, mean, basis: see :meth:`.views.ViewPlaces.views`.
        steps_mm: of each view's pixels.
        mirrored: number of the view that is.
        columns, rows: of a view.
        width, height: of the image.
        fine: image pixels a view's, from which on blocks of them are averaged.
        furthest: px; corners that lie further outside are as good as there.
        maps: (V, 2, 3) is filled: from a view's (x, y, 1) to the image's, or to its blocks'.
        facing: (2,) and inside: (V,) are filled, see :class:`.views.FaceViews`.
        cuts: (V, 5) is filled: size of the blocks (:data:`NOTHING` where none is seen), then left
            and top of the part of the image that they are made of, and how many across and down.

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
        inside[view] = 0.0 <= x <= width - 1.0 and 0.0 <= y <= height - 1.0
        _divide(maps[view], columns, rows, (width, height), fine, furthest, cuts[view])
    return True


@njit(cache=True, nogil=True)
@no_type_check
def _divide(to_image, columns, rows, sizes, fine, furthest, cut):
    """Choose the blocks whose means a view is sampled from, and let its map lead to them."""
    step = np.hypot(to_image[0, 0], to_image[1, 0])
    cut[0] = NOTHING if step > max(sizes) else WHOLE
    if step < fine or cut[0] == NOTHING:
        return
    block = 2 * max(int(np.rint(step / 3.0)), 1)
    for i in range(2):
        low = high = to_image[i, 2]
        for x in (0.0, columns - 1.0):
            for y in (0.0, rows - 1.0):
                at = to_image[i, 0] * x + to_image[i, 1] * y + to_image[i, 2]
                low, high = min(low, at), max(high, at)
        first = max(int(max(low, -furthest)) - block, 0)
        end = min(int(min(high, furthest)) + 2 * block, sizes[i])
        cut[1 + i], cut[3 + i] = first, (end - first) // block
        for j in range(3):
            to_image[i, j] /= block
        to_image[i, 2] -= (first + 0.5 * (block - 1)) / block
    cut[0] = block if min(cut[3], cut[4]) > 0 else NOTHING
