"""Compiled cutting of the views; imported where it is first needed (numba is slow to import)."""

from __future__ import annotations

from typing import no_type_check

import numpy as np
from numba import njit

_MOST = 4
"""Samples of a view's pixel each way, at most."""


@njit(cache=True, nogil=True)
@no_type_check
def cut(image, left, top, scale, pose, shape, mean, basis, steps_mm, mirrored,
        pixels, facing, inside):  # fmt: skip
    """Fill what the arguments from ``pixels`` on are of, see :class:`.views.FaceViews`.

    ``left``, ``top`` and ``scale`` take the pose's pixels to those of the image; the view of number
    ``mirrored`` is mirrored.
    """
    height, width, _ = image.shape
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
        return
    down_x, down_y = down_x / length, down_y / length
    forward_x, forward_y = -matrix[0, 2] / size, -matrix[1, 2] / size
    facing[0] = forward_x * down_y - forward_y * down_x
    facing[1] = forward_x * down_x + forward_y * down_y
    for view in range(pixels.shape[0]):
        turn = -1.0 if view == mirrored else 1.0
        right_x, right_y = turn * down_y, -turn * down_x
        x, y = left + scale * pose[0, 3], top + scale * pose[1, 3]
        for j in range(3):
            place = mean[view, j]
            for k in range(shape.shape[0]):
                place += shape[k] * basis[k, view, j]
            x += matrix[0, j] * place
            y += matrix[1, j] * place
        inside[view] = x >= 0.0 and y >= 0.0 and x <= width - 1.0 and y <= height - 1.0
        step = size * steps_mm[view]
        _sample(image, x, y, step * right_x, step * right_y, step * down_x, step * down_y,
                step, pixels[view])  # fmt: skip


@njit(cache=True, nogil=True)
@no_type_check
def _sample(image, x, y, across_x, across_y, down_x, down_y, step, out):
    """The view about (x, y): bilinear, or the mean of many nearest pixels where it shrinks."""
    rows, columns, _ = out.shape
    count = min(int(np.ceil(step - 0.5)), _MOST)
    x -= 0.5 * (columns - 1) * across_x + 0.5 * (rows - 1) * down_x
    y -= 0.5 * (columns - 1) * across_y + 0.5 * (rows - 1) * down_y
    for v in range(rows):
        left, top = x + v * down_x, y + v * down_y
        if count <= 1:
            _between(image, left, top, across_x, across_y, out[v])
        else:
            _mean(image, left, top, across_x, across_y, down_x, down_y, count, out[v])


@njit(cache=True, nogil=True)
@no_type_check
def _between(image, x, y, across_x, across_y, out):
    """A row of bilinear samples from (x, y) on; zero outside of the image. Weights of 8 bits."""
    height, width, _ = image.shape
    # Signed sizes, unsigned places: no index is counted from the end.
    for u in range(out.shape[0]):
        px, py = x + u * across_x, y + u * across_y
        if not (px >= 0.0 and py >= 0.0 and px < width - 1 and py < height - 1):
            out[u] = 0
            continue
        i, j = np.uintp(px), np.uintp(py)
        fx, fy = np.int32((px - i) * 256.0), np.int32((py - j) * 256.0)
        gx, gy = np.int32(256) - fx, np.int32(256) - fy
        nw, ne, sw, se = gx * gy, fx * gy, gx * fy, fx * fy
        right, under = i + np.uintp(1), j + np.uintp(1)
        for c in range(3):
            total = nw * image[j, i, c] + ne * image[j, right, c]
            total += sw * image[under, i, c] + se * image[under, right, c]
            out[u, c] = np.uint8((total + 32768) >> 16)


@njit(cache=True, nogil=True)
@no_type_check
def _mean(image, x, y, across_x, across_y, down_x, down_y, count, out):
    """A row of means of ``count`` x ``count`` pixels each; what lies outside counts as zero."""
    height, width, _ = image.shape
    whole = count * count
    for u in range(out.shape[0]):
        blue = green = red = whole // 2
        for b in range(count):
            dv = (b + 0.5) / count - 0.5
            for a in range(count):
                du = u + (a + 0.5) / count - 0.5
                px = x + du * across_x + dv * down_x + 0.5
                py = y + du * across_y + dv * down_y + 0.5
                if px >= 0.0 and py >= 0.0 and px < width and py < height:
                    i, j = np.uintp(px), np.uintp(py)
                    blue += image[j, i, 0]
                    green += image[j, i, 1]
                    red += image[j, i, 2]
        out[u, 0] = blue // whole
        out[u, 1] = green // whole
        out[u, 2] = red // whole
