"""A function on a grid, asked only where it matters: from coarse to fine.

As in PIFuHD (Saito et al., 2020) and occupancy networks: a cell whose corners agree and lie clearly
on one side of the surface is filled by interpolation; the rest is divided. Two things are added, so
that what comes out is what a dense query gives: cells beside those to be divided are divided too
(a part thinner than a cell may hide there), and on each grid the surface is followed from cell to
cell until every cell that it crosses has all its corners asked.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, TypeAlias, no_type_check

import numpy as np
import numpy.typing as npt
from jaxtyping import Float32, UInt8
from numba import njit

from ..errors import InputError

Array = npt.NDArray[Any]

Occupancy: TypeAlias = Callable[[Float32[np.ndarray, "P 3"]], Float32[np.ndarray, " P"]]
"""Points in cube coordinates, in [-1, 1]^3, to the probability that each is inside."""

LEVEL: Final = 0.5
"""Value of the surface."""
LIKELY_SHARE: Final = 0.03
"""Of the finest grid's points, what is usually asked; only the progress goes by it."""
BYTES_PER_CORNER: Final = 6.0
"""Of the finest grid: values and marks, and those of the grid before it."""


@dataclass(frozen=True)
class Field:
    """The function on the corners of a grid over the cube.

    Attributes:
        values: at the corners, index order x, y, z.
        known: 1 where the function was asked, 0 where it was interpolated.
        asked: points that it was asked for.
    """

    values: Float32[np.ndarray, "X X X"]
    known: UInt8[np.ndarray, "X X X"]
    asked: int


def refine(
    occupancy: Occupancy,
    resolution: int,
    *,
    start: int = 64,
    tolerance: float = 0.05,
    points_per_call: int = 100_000,
    progress: Callable[[float], None] | None = None,
) -> Field:
    """Values of a function on ``resolution + 1`` corners along each edge of the cube.

    Args:
        occupancy: the function.
        resolution: cells along an edge: the first grid's, times a power of two.
        start: cells of the first grid, at most; it is asked everywhere.
        tolerance: corners that differ by less, and are farther than this from the surface's value,
            agree.
        points_per_call: that the function is asked for at once, at most.
        progress: told the share that is done, 0 to 1.

    Raises:
        InputError: an argument is impossible, or the function gives something else than a finite
            number a point.
    """
    cells = first_grid(resolution, start)
    if not 0.0 <= tolerance < LEVEL:
        raise InputError(f"tolerance is {tolerance}, expected 0 to {LEVEL}")
    if points_per_call < 1:
        raise InputError(f"points_per_call is {points_per_call}, expected 1 or more")
    likely = float((cells + 1) ** 3 + LIKELY_SHARE * (resolution + 1) ** 3)
    asked = 0

    def ask(values: Array, wanted: Array, cells: int) -> None:
        nonlocal asked
        flat = values.reshape(-1)
        places = np.flatnonzero(wanted)
        for first in range(0, len(places), points_per_call):
            some = places[first : first + points_per_call]
            flat[some] = _answers(occupancy, _corners(some, cells))
            asked += len(some)
            if progress is not None:
                progress(min(0.99, asked / max(likely, asked)))

    values = np.zeros((cells + 1,) * 3, np.float32)
    known = np.ones(values.shape, np.uint8)
    ask(values, known, cells)
    while cells < resolution:
        wanted = np.zeros((2 * cells + 1,) * 3, np.uint8)
        # Parts that hide beside the surface are thin ones; the last grid would add little of them.
        reach = 1 if 2 * cells < resolution or cells < 64 else 0
        _mark(values, np.float32(tolerance), reach, wanted)
        values, known = _double(values, known)
        cells *= 2
        while True:
            _keep_unknown(wanted, known)
            if not wanted.any():
                break
            ask(values, wanted, cells)
            np.maximum(known, wanted, out=known)
            wanted[...] = 0
            _follow(values, known, wanted)
    if progress is not None:
        progress(1.0)
    return Field(values, known, asked)


def first_grid(resolution: int, start: int) -> int:
    """Cells of the first grid: the resolution halved until it is at most ``start``.

    Raises:
        InputError: the resolution is impossible, or odd before it is small enough.
    """
    if not 2 <= resolution <= 2048:
        raise InputError(f"resolution is {resolution}, expected 2 to 2048 cells")
    if start < 2:
        raise InputError(f"start is {start}, expected 2 cells or more")
    cells = resolution
    while cells > start:
        if cells % 2:
            raise InputError(
                f"resolution is {resolution}, expected a number up to {start} times a power of two"
            )
        cells //= 2
    return cells


def memory_mb(resolution: int) -> float:
    """What :func:`refine` takes at its peak, without the function itself, MB."""
    return BYTES_PER_CORNER * (resolution + 1) ** 3 / 1e6


def _corners(places: Array, cells: int) -> Float32[np.ndarray, "P 3"]:
    """Cube coordinates of corners; a corner of a coarse grid has the same ones in the finer."""
    index = np.stack(np.unravel_index(places, (cells + 1,) * 3), axis=1)
    return (index * (2.0 / cells) - 1.0).astype(np.float32)


def _answers(occupancy: Occupancy, points: Float32[np.ndarray, "P 3"]) -> Array:
    answers = np.asarray(occupancy(points))
    if answers.shape != (len(points),):
        raise InputError(
            f"the occupancy of {len(points)} points has shape {answers.shape}, expected one number "
            "a point"
        )
    if not np.isfinite(answers).all():
        raise InputError("the occupancy is not finite: the network's weights or input are damaged")
    return answers


@njit(cache=True, nogil=True)
@no_type_check
def _mark(values: Array, tolerance: float, reach: int, wanted: Array) -> None:
    """Mark the corners, on the doubled grid, of cells that do not agree, and their neighbours."""
    cells = values.shape[0] - 1
    top = wanted.shape[0] - 1
    for i in range(cells):
        for j in range(cells):
            for k in range(cells):
                low = values[i, j, k]
                high = low
                for corner in range(1, 8):
                    v = values[i + (corner >> 2), j + ((corner >> 1) & 1), k + (corner & 1)]
                    low = min(low, v)
                    high = max(high, v)
                outside = high < 0.5 - tolerance
                inside = low > 0.5 + tolerance
                if high - low < tolerance and (inside or outside):
                    continue
                for a in range(max(0, 2 * (i - reach)), min(top, 2 * (i + 1 + reach)) + 1):
                    for b in range(max(0, 2 * (j - reach)), min(top, 2 * (j + 1 + reach)) + 1):
                        for c in range(max(0, 2 * (k - reach)), min(top, 2 * (k + 1 + reach)) + 1):
                            wanted[a, b, c] = 1


@njit(cache=True, nogil=True)
@no_type_check
def _double(values: Array, known: Array) -> tuple[Array, Array]:
    """The grid with half the cells, by linear interpolation; old corners keep their values."""
    count = 2 * values.shape[0] - 1
    fine = np.empty((count, count, count), np.float32)
    marks = np.zeros((count, count, count), np.uint8)
    for a in range(count):
        i, di = a >> 1, a & 1
        for b in range(count):
            j, dj = b >> 1, b & 1
            for c in range(count):
                k, dk = c >> 1, c & 1
                total = np.float32(0.0)
                for p in range(di + 1):
                    for q in range(dj + 1):
                        for r in range(dk + 1):
                            total += values[i + p, j + q, k + r]
                fine[a, b, c] = total / np.float32((di + 1) * (dj + 1) * (dk + 1))
                if di + dj + dk == 0:
                    marks[a, b, c] = known[i, j, k]
    return fine, marks


@njit(cache=True, nogil=True)
@no_type_check
def _keep_unknown(wanted: Array, known: Array) -> None:
    """What is known already need not be asked."""
    one, other = wanted.reshape(-1), known.reshape(-1)
    for i in range(len(one)):
        if other[i]:
            one[i] = 0


@njit(cache=True, nogil=True)
@no_type_check
def _follow(values: Array, known: Array, wanted: Array) -> None:
    """Mark the corners of cells that the surface crosses and whose corners are not all known."""
    cells = values.shape[0] - 1
    for i in range(cells):
        for j in range(cells):
            # Cells share four corners with the one before: how many are inside, how many known.
            above, sure = 0, 0
            for k in range(cells + 1):
                before, sure_before = above, sure
                above = (
                    np.int64(values[i, j, k] > 0.5)
                    + np.int64(values[i, j + 1, k] > 0.5)
                    + np.int64(values[i + 1, j, k] > 0.5)
                    + np.int64(values[i + 1, j + 1, k] > 0.5)
                )
                sure = (
                    np.int64(known[i, j, k])
                    + np.int64(known[i, j + 1, k])
                    + np.int64(known[i + 1, j, k])
                    + np.int64(known[i + 1, j + 1, k])
                )
                inside = before + above
                if k == 0 or inside == 0 or inside == 8 or sure_before + sure == 8:  # noqa: PLR1714
                    continue
                wanted[i : i + 2, j : j + 2, k - 1 : k + 1] = 1
