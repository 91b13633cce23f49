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

    Weights have 11 bits, so the sums of four products stay exact in 32 and round to nearest.
    """
    height, width, _ = image.shape
    _sample(image, 1, 0, 0, width, height, left, top, step, size, out)


@njit(cache=True, nogil=True)
@no_type_check
def sample_half(
    image: UInt8[np.ndarray, "H W 3"], x0: int, y0: int, x1: int, y1: int,
    left: float, top: float, step: float, size: int, out,
):  # fmt: skip
    """As :func:`sample` of what :func:`cv2.resize` by area makes of the part at half its size.

    ``left``, ``top`` and ``step`` are in pixels of the half-sized part.
    """
    _sample(image, 2, x0, y0, x1, y1, left, top, step, size, out)


@njit(cache=True, nogil=True)
@no_type_check
def _sample(image, block, x0, y0, x1, y1, left, top, step, size, out):
    """Sample a part of the image of which ``block`` pixels each way are one.

    Rows are mixed along x first: each serves the two or more rows of ``out`` that lie beside it.
    """
    out[:] = 0
    wide, rows = (x1 - x0 + block - 1) // block, (y1 - y0 + block - 1) // block
    first = int(np.floor(left))
    last = int(np.floor(left + (size - 1) * step)) + 1
    low, high = max(first, 0), min(last + 1, wide)
    if high <= low:
        return
    apart = 3 * block
    begin = x0 + block * low
    count = min(apart * (high - low), 3 * (x1 - begin))
    sums, halves = np.zeros(count + 3, np.uint16), np.zeros(apart * (high - low), np.uint16)
    pairs = np.zeros(apart * (last - first + 2), np.int32)
    inside = pairs[apart * (low - first) : apart * (high - first + 1)]
    found = np.empty(3 * size, np.int32)
    place, share = np.empty(size, np.uint32), np.empty(3 * size, np.int32)
    for u in range(size):
        x = left + u * step
        at = np.floor(x)
        place[u] = apart * (int(at) - first + 1)
        for c in range(3):
            share[3 * u + c] = np.int32((x - at) * 2048.0 + 0.5)
    mixed, held = np.empty((2, 3 * size), np.int32), np.full(2, -9)
    for v in range(size):
        y = top + v * step
        row = int(np.floor(y))
        if row < -1 or row >= rows:
            continue
        for r in range(row, row + 2):
            if held[r & 1] == r:
                continue
            held[r & 1] = r
            if r < 0 or r >= rows:
                mixed[r & 1] = 0
                continue
            if block == 2:
                halve(image, begin, y0 + 2 * r, sums, halves[:count])
                pair(halves, apart, inside)
            else:
                pair(image[y0 + r].reshape(-1)[3 * begin : 3 * begin + count], apart, inside)
            mix(pairs, place, share, found, mixed[r & 1])
        upper, lower = mixed[row & 1], mixed[(row + 1) & 1]
        below = np.int32((y - np.floor(y)) * 2048.0 + 0.5)
        above = np.int32(2048 - below)
        pixels = out[v].reshape(-1)
        for k in range(3 * size):
            # Casts keep it in 32 bits, of which a register holds twice as many.
            both = np.int32(above * upper[k]) + np.int32(below * lower[k])
            pixels[k] = np.uint8(np.int32(both + np.int32(1 << 21)) >> np.int32(22))


@njit(cache=True, nogil=True)
@no_type_check
def halve(image, x, y, sums, line):
    """A row of the picture shrunk by two, from pixel (x, y) on: value u, c is at 6 u + c."""
    count = line.shape[0]
    here = image[y].reshape(-1)[3 * x : 3 * x + count]
    if y + 1 < image.shape[0]:
        under = image[y + 1].reshape(-1)[3 * x : 3 * x + count]
        for k in range(count):
            sums[k] = np.uint16(here[k]) + np.uint16(under[k])
    else:
        for k in range(count):
            sums[k] = here[k]
    for k in range(count):
        line[k] = np.uint16(np.uint16(sums[k] + sums[k + 3] + np.uint16(2)) >> np.uint16(2))


@njit(cache=True, nogil=True)
@no_type_check
def pair(line, apart, pairs):
    """Each value of a line and the one ``apart`` from it in one word; zero beyond the ends.

    Scattered loads are what takes time: so neighbours are fetched at once.
    """
    count = line.shape[0]
    for k in range(apart):
        pairs[k] = np.int32(line[k]) << np.int32(16)
        pairs[count + k] = line[count - apart + k]
    beside, within = line[apart:], pairs[apart:]
    for k in range(count - apart):
        within[k] = np.int32(line[k]) | np.int32(np.int32(beside[k]) << np.int32(16))


@njit(cache=True, nogil=True)
@no_type_check
def mix(pairs, place, share, found, mixed):
    """Values between neighbours, with weights of 11 bits."""
    for u in range(place.shape[0]):
        o = place[u]
        found[3 * u] = pairs[o]
        found[3 * u + 1] = pairs[o + np.uint32(1)]
        found[3 * u + 2] = pairs[o + np.uint32(2)]
    for k in range(share.shape[0]):
        left = np.int32(found[k] & np.int32(0xFFFF))
        right = np.int32(found[k] >> np.int32(16))
        mixed[k] = np.int32(left << np.int32(11)) + np.int32(share[k] * np.int32(right - left))


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
