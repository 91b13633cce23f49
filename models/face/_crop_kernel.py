"""Compiled bilinear sampling; imported where it is first needed (numba is slow to import)."""

from __future__ import annotations

from typing import no_type_check

import numpy as np
from jaxtyping import UInt8
from numba import njit


@njit(cache=True, nogil=True)
@no_type_check
def sample(image: UInt8[np.ndarray, "H W 3"], left: float, top: float, step: float, size: int, out):
    """Pixels at ``left + u step``, ``top + v step``; zero outside of the image.

    Weights have 11 bits, so the sums of four products stay exact in 32 and round to nearest. Rows
    are weighed first, all their pixels in one go, into a line that is zero outside of the image.
    """
    height, width, _ = image.shape
    out[:] = 0
    first = int(np.floor(left))
    last = int(np.floor(left + (size - 1) * step)) + 1
    low = min(max(first, 0), width)
    count = 3 * max(min(last + 1, width) - low, 0)
    line = np.zeros(3 * (last - first + 1), np.int32)
    inside = line[3 * (low - first) : 3 * (low - first) + count] if count else line[:0]
    place = np.empty(3 * size, np.uint32)
    share = np.empty(3 * size, np.int32)
    for u in range(size):
        x = left + u * step
        x0 = np.floor(x)
        for c in range(3):
            place[3 * u + c] = 3 * (int(x0) - first) + c
            share[3 * u + c] = np.int32((x - x0) * 2048.0 + 0.5)
    half = np.int32(1 << 21)
    for v in range(size):
        y = top + v * step
        y0 = int(np.floor(y))
        if y0 < -1 or y0 >= height:
            continue
        below = np.int32((y - np.floor(y)) * 2048.0 + 0.5)
        above = np.int32(2048 - below)
        if y0 < 0:
            lower = image[0].reshape(-1)[3 * low : 3 * low + count]
            for k in range(count):
                inside[k] = below * np.int32(lower[k])
        elif y0 + 1 >= height:
            upper = image[y0].reshape(-1)[3 * low : 3 * low + count]
            for k in range(count):
                inside[k] = above * np.int32(upper[k])
        else:
            upper = image[y0].reshape(-1)[3 * low : 3 * low + count]
            lower = image[y0 + 1].reshape(-1)[3 * low : 3 * low + count]
            for k in range(count):
                inside[k] = above * np.int32(upper[k]) + below * np.int32(lower[k])
        row = out[v].reshape(-1)
        for k in range(3 * size):
            o, b = place[k], share[k]
            pair = (np.int32(2048) - b) * line[o] + b * line[o + np.uint32(3)]
            row[k] = (pair + half) >> 22


@njit(cache=True, nogil=True)
@no_type_check
def half_line(image, x0, y0, row, count, sums, line):
    """A row of the picture shrunk by two, from (x0, y0) on: its value u, c at 6 u + c of a line."""
    height = image.shape[0]
    y = y0 + 2 * row
    if y < 0 or y >= height or row < 0:
        for k in range(count):
            line[k] = 0
        return
    upper = image[y].reshape(-1)[3 * x0 : 3 * x0 + count]
    if y + 1 < height:
        lower = image[y + 1].reshape(-1)[3 * x0 : 3 * x0 + count]
        for k in range(count):
            sums[k] = np.uint16(upper[k]) + np.uint16(lower[k])
    else:
        for k in range(count):
            sums[k] = np.uint16(upper[k])
    for k in range(count):
        line[k] = (sums[k] + sums[k + 3] + np.uint16(2)) >> np.uint16(2)


@njit(cache=True, nogil=True)
@no_type_check
def sample_half(
    image: UInt8[np.ndarray, "H W 3"], x0: int, y0: int, x1: int, y1: int,
    left: float, top: float, step: float, size: int, out,
):  # fmt: skip
    """As :func:`sample` of what :func:`cv2.resize` by area makes of the part at half its size.

    ``left``, ``top`` and ``step`` are in pixels of the half-sized part.
    """
    out[:] = 0
    wide, rows = (x1 - x0 + 1) // 2, (y1 - y0 + 1) // 2
    first = int(np.floor(left))
    last = int(np.floor(left + (size - 1) * step)) + 1
    low, high = max(first, 0), min(last + 1, wide)
    if high <= low:
        return
    begin = x0 + 2 * low
    count = min(6 * (high - low), 3 * (x1 - begin))
    offset = 6 * (low - first)
    sums = np.zeros(count + 3, np.uint16)
    line = np.zeros(6 * (last - first + 1), np.int32)
    above_line, below_line = np.zeros(count, np.int32), np.zeros(count, np.int32)
    above_row, below_row = -9, -9
    inside = line[offset : offset + count]
    place = np.empty(3 * size, np.uint32)
    share = np.empty(3 * size, np.int32)
    for u in range(size):
        x = left + u * step
        at = np.floor(x)
        for c in range(3):
            place[3 * u + c] = 6 * (int(at) - first) + c
            share[3 * u + c] = np.int32((x - at) * 2048.0 + 0.5)
    half = np.int32(1 << 21)
    for v in range(size):
        y = top + v * step
        row = int(np.floor(y))
        if row < -1 or row >= rows:
            continue
        below = np.int32((y - np.floor(y)) * 2048.0 + 0.5)
        above = np.int32(2048 - below)
        if row != above_row:
            if row == below_row:
                above_line, below_line = below_line, above_line
                below_row = above_row
            else:
                half_line(image, begin, y0, row, count, sums, above_line)
            above_row = row
        if row + 1 != below_row:
            half_line(image, begin, y0, row + 1 if row + 1 < rows else -9, count, sums, below_line)
            below_row = row + 1
        for k in range(count):
            inside[k] = above * above_line[k] + below * below_line[k]
        pixels = out[v].reshape(-1)
        for k in range(3 * size):
            o, b = place[k], share[k]
            pair = (np.int32(2048) - b) * line[o] + b * line[o + np.uint32(6)]
            pixels[k] = (pair + half) >> 22


@njit(cache=True)
@no_type_check
def bounds(points):
    """Lowest and highest x and y of points."""
    x0, x1 = points[0, 0], points[0, 0]
    y0, y1 = points[0, 1], points[0, 1]
    finite = True
    for i in range(points.shape[0]):
        x, y = points[i, 0], points[i, 1]
        finite = finite and not (np.isnan(x) or np.isnan(y))
        x0, x1 = min(x0, x), max(x1, x)
        y0, y1 = min(y0, y), max(y1, y)
    if not finite:
        return np.nan, np.nan, np.nan, np.nan
    return float(x0), float(y0), float(x1 - x0), float(y1 - y0)
