"""Compiled measures of a crop; imported where they are first needed (numba is slow)."""

from __future__ import annotations

import math
from typing import no_type_check

import numpy as np
from jaxtyping import UInt8
from numba import njit


@njit(cache=True, error_model="numpy")
@no_type_check
def noise_and_sharpness(crop_bgr: UInt8[np.ndarray, "S S 3"]) -> tuple[float, float]:
    """Noise, grey levels, and sharpness of the green channel; see :func:`.quality.conditions`.

    Whole numbers throughout, so that the compiler can do many at once.
    """
    rows, columns = crop_bgr.shape[0], crop_bgr.shape[1]
    green = np.empty((rows, columns), np.int32)
    for y in range(rows):
        line = crop_bgr[y].reshape(-1)
        for x in range(columns):
            green[y, x] = line[3 * x + 1]
    total = 0
    beside, value = np.empty(columns, np.int32), np.zeros(columns, np.int32)
    for y in range(1, rows - 1, 2):
        over, here, under = green[y - 1], green[y], green[y + 1]
        for x in range(columns):
            beside[x] = over[x] + under[x]
        # Second differences along both axes: nothing of a plane or of a straight edge is left.
        for x in range(columns - 2):
            value[x] = abs(
                beside[x] + beside[x + 2] + 4 * here[x + 1]
                - 2 * (beside[x + 1] + here[x] + here[x + 2])
            )  # fmt: skip
        for x in range(0, columns - 2, 2):
            total += value[x]
    count = ((rows - 1) // 2) * ((columns - 1) // 2)
    noise = math.sqrt(0.5 * math.pi) * total / (6.0 * count)
    steps, first, second = 0, 0, 0
    half = columns // 2
    block = np.empty(half, np.int32)
    for y in range(0, rows - 3, 4):
        over, under = green[y], green[y + 1]
        for x in range(half):
            block[x] = over[2 * x] + over[2 * x + 1] + under[2 * x] + under[2 * x + 1]
        for x in range(half):
            first += block[x]
            second += block[x] * block[x]
        for x in range(half - 1):
            steps += abs(block[x + 1] - block[x])
    blocks = ((rows - 3 + 3) // 4) * half
    mean = 0.25 * first / blocks
    contrast = math.sqrt(max(second / 16.0 / blocks - mean * mean, 0.0))
    return noise, 0.25 * steps / blocks / (contrast + 4.0)


@njit(cache=True, error_model="numpy")
@no_type_check
def conditions(crop_bgr, side_px, size, facing):
    """See :func:`.quality.conditions`."""
    noise, sharpness = noise_and_sharpness(crop_bgr)
    return np.array(
        [math.log(noise + 0.5), math.log(sharpness + 0.01), math.log(side_px / size), 1.0 - facing]
    )
