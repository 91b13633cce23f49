"""Compiled bilinear sampling; imported where it is first needed (numba is slow to import)."""

from __future__ import annotations

from typing import no_type_check

import numpy as np
from jaxtyping import UInt8
from numba import njit


@njit(cache=True, nogil=True)
@no_type_check
def sample(
    image: UInt8[np.ndarray, "H W 3"], left: float, top: float, step: float, size: int
) -> UInt8[np.ndarray, "size size 3"]:
    """Pixels at ``left + u step``, ``top + v step``; zero outside of the image.

    Weights have 11 bits, so the sums of four products stay exact in 32 and round to nearest.
    """
    height, width, _ = image.shape
    out = np.zeros((size, size, 3), np.uint8)
    column = np.empty(size, np.int64)
    share = np.empty(size, np.int32)
    for u in range(size):
        x = left + u * step
        column[u] = int(np.floor(x))
        share[u] = np.int32((x - np.floor(x)) * 2048.0 + 0.5)
    half = np.int32(1 << 21)
    for v in range(size):
        y = top + v * step
        y0 = int(np.floor(y))
        if y0 < -1 or y0 >= height:
            continue
        below = np.int32((y - np.floor(y)) * 2048.0 + 0.5)
        above = np.int32(2048 - below)
        inside = 0 <= y0 < height - 1
        for u in range(size):
            x0 = column[u]
            b = share[u]
            a = np.int32(2048 - b)
            if inside and 0 <= x0 < width - 1:
                for c in range(3):
                    upper = a * np.int32(image[y0, x0, c]) + b * np.int32(image[y0, x0 + 1, c])
                    lower = a * np.int32(image[y0 + 1, x0, c]) + b * np.int32(
                        image[y0 + 1, x0 + 1, c]
                    )
                    out[v, u, c] = (above * upper + below * lower + half) >> 22
            elif -1 <= x0 < width:
                for c in range(3):
                    total = 0
                    for i in range(2):
                        for j in range(2):
                            if 0 <= y0 + i < height and 0 <= x0 + j < width:
                                weight = (below if i else above) * (b if j else a)
                                total += weight * image[y0 + i, x0 + j, c]
                    out[v, u, c] = (total + half) >> 22
    return out
