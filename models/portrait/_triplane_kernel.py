"""Reading and writing three planes at scattered points, compiled."""

from __future__ import annotations

from typing import no_type_check

import numba
import numpy as np
from jaxtyping import Float32

Pairs = tuple[tuple[int, int], ...]


@numba.njit(cache=True, nogil=True, fastmath={"contract", "reassoc", "nsz"})
@no_type_check
def gather(
    cells: Float32[np.ndarray, "b h w 3 c"],
    points: Float32[np.ndarray, "b n 3"],
    pairs: Pairs,
    out: Float32[np.ndarray, "b n c"],
) -> None:
    """Fill ``out`` with the mean over the planes of the four cells around each point.

    Args:
        cells: planes, a cell's channels side by side.
        points: from -1 to 1 inside the planes.
        pairs: the coordinates that are column and row of each plane.
        out: filled.
    """
    batch, height, width, _, channels = cells.shape
    third = np.float32(1.0 / 3.0)
    for b in range(batch):
        for n in range(points.shape[1]):
            for c in range(channels):
                out[b, n, c] = np.float32(0.0)
            for plane in range(3):
                column = ((points[b, n, pairs[plane][0]] + 1) * width - 1) * np.float32(0.5)
                row = ((points[b, n, pairs[plane][1]] + 1) * height - 1) * np.float32(0.5)
                if not (-1 < column < width and -1 < row < height):
                    continue
                left, top = int(np.floor(column)), int(np.floor(row))
                right_share, low_share = np.float32(column - left), np.float32(row - top)
                # Beyond the border a cell counts for nothing, so that any will do.
                x0, x1 = max(left, 0), min(left + 1, width - 1)
                y0, y1 = max(top, 0), min(top + 1, height - 1)
                west = (1 - right_share) * third if left >= 0 else np.float32(0.0)
                east = right_share * third if left + 1 < width else np.float32(0.0)
                north = 1 - low_share if top >= 0 else np.float32(0.0)
                south = low_share if top + 1 < height else np.float32(0.0)
                nw, ne = np.float32(north * west), np.float32(north * east)
                sw, se = np.float32(south * west), np.float32(south * east)
                for c in range(channels):
                    out[b, n, c] += (
                        nw * cells[b, y0, x0, plane, c]
                        + ne * cells[b, y0, x1, plane, c]
                        + sw * cells[b, y1, x0, plane, c]
                        + se * cells[b, y1, x1, plane, c]
                    )


@numba.njit(cache=True, nogil=True, fastmath={"contract", "reassoc", "nsz"})
@no_type_check
def scatter(
    gradients: Float32[np.ndarray, "b n c"],
    points: Float32[np.ndarray, "b n 3"],
    pairs: Pairs,
    cells: Float32[np.ndarray, "b h w 3 c"],
) -> None:
    """Add to ``cells`` what gradients of :func:`gather`'s output are to its planes."""
    batch, height, width, _, channels = cells.shape
    third = np.float32(1.0 / 3.0)
    for b in range(batch):
        for n in range(points.shape[1]):
            for plane in range(3):
                column = ((points[b, n, pairs[plane][0]] + 1) * width - 1) * np.float32(0.5)
                row = ((points[b, n, pairs[plane][1]] + 1) * height - 1) * np.float32(0.5)
                if not (-1 < column < width and -1 < row < height):
                    continue
                left, top = int(np.floor(column)), int(np.floor(row))
                right_share, low_share = np.float32(column - left), np.float32(row - top)
                for dy in range(2):
                    y = top + dy
                    if y < 0 or y >= height:
                        continue
                    share = (low_share if dy else 1 - low_share) * third
                    for dx in range(2):
                        x = left + dx
                        if x < 0 or x >= width:
                            continue
                        weight = np.float32(share * (right_share if dx else 1 - right_share))
                        for c in range(channels):
                            cells[b, y, x, plane, c] += weight * gradients[b, n, c]
