"""Compiled measures of a crop; imported where they are first needed (numba is slow)."""

from __future__ import annotations

import math
from typing import no_type_check

import numpy as np
from jaxtyping import UInt8
from numba import njit


@njit(cache=True)
@no_type_check
def noise_and_sharpness(crop_bgr: UInt8[np.ndarray, "S S 3"]) -> tuple[float, float]:
    """Noise, grey levels, and sharpness of the green channel; see :func:`.quality.conditions`."""
    rows, columns = crop_bgr.shape[0], crop_bgr.shape[1]
    total, count = 0.0, 0
    for y in range(1, rows - 1, 2):
        for x in range(1, columns - 1, 2):
            # Second differences along both axes: nothing of a plane or of a straight edge is left.
            corners = (
                int(crop_bgr[y - 1, x - 1, 1]) + int(crop_bgr[y - 1, x + 1, 1])
                + int(crop_bgr[y + 1, x - 1, 1]) + int(crop_bgr[y + 1, x + 1, 1])
            )  # fmt: skip
            sides = (
                int(crop_bgr[y - 1, x, 1]) + int(crop_bgr[y + 1, x, 1])
                + int(crop_bgr[y, x - 1, 1]) + int(crop_bgr[y, x + 1, 1])
            )  # fmt: skip
            total += abs(corners - 2 * sides + 4 * int(crop_bgr[y, x, 1]))
            count += 1
    noise = math.sqrt(0.5 * math.pi) * total / (6.0 * count)
    steps, first, second, blocks = 0.0, 0.0, 0.0, 0
    for y in range(0, rows - 3, 4):
        before = -1.0
        for x in range(0, columns - 1, 2):
            block = 0.25 * (
                int(crop_bgr[y, x, 1]) + int(crop_bgr[y, x + 1, 1])
                + int(crop_bgr[y + 1, x, 1]) + int(crop_bgr[y + 1, x + 1, 1])
            )  # fmt: skip
            first += block
            second += block * block
            blocks += 1
            if before >= 0.0:
                steps += abs(block - before)
            before = block
    mean = first / blocks
    contrast = math.sqrt(max(second / blocks - mean * mean, 0.0))
    return noise, steps / blocks / (contrast + 4.0)
