"""Compiled loops of the nearest point of a surface: a tree of boxes around triangles."""

from __future__ import annotations

from typing import Any, no_type_check

import numpy as np
import numpy.typing as npt
from numba import njit

Array = npt.NDArray[Any]

LEAF = 4
"""Triangles that a box without boxes inside holds, at most."""


@njit(cache=True, nogil=True)
@no_type_check
def build(corners: Array) -> tuple[Array, Array, Array]:
    """Boxes around triangles (M, 3, 3), split at the middle of their longer side.

    Returns:
        boxes (N, 6) float32, low then high; nodes (N, 2) int32: the first of a box's two children
        (they follow each other) and 0, or its first place in the order and how many triangles;
        the order (M,) int32 of the triangles.
    """
    count = len(corners)
    order = np.arange(count).astype(np.int32)
    middles = np.empty((count, 3), np.float32)
    for t in range(count):
        for k in range(3):
            middles[t, k] = (corners[t, 0, k] + corners[t, 1, k] + corners[t, 2, k]) / 3
    boxes = np.empty((2 * count + 1, 6), np.float32)
    nodes = np.zeros((2 * count + 1, 2), np.int32)
    ranges = np.empty((2 * count + 1, 2), np.int32)
    ranges[0, 0], ranges[0, 1] = 0, count
    used = 1
    node = 0
    while node < used:
        first, last = ranges[node, 0], ranges[node, 1]
        _enclose(corners, order, first, last, boxes[node])
        split = -1
        if last - first > LEAF:
            split = _split(middles, order, first, last)
        if split < 0:
            nodes[node, 0], nodes[node, 1] = first, last - first
        else:
            nodes[node, 0] = used
            ranges[used, 0], ranges[used, 1] = first, split
            ranges[used + 1, 0], ranges[used + 1, 1] = split, last
            used += 2
        node += 1
    return boxes[:used].copy(), nodes[:used].copy(), order


@njit(cache=True, nogil=True)
@no_type_check
def _enclose(corners: Array, order: Array, first: int, last: int, box: Array) -> None:
    box[:3] = np.inf
    box[3:] = -np.inf
    for i in range(first, last):
        for j in range(3):
            for k in range(3):
                value = corners[order[i], j, k]
                box[k] = min(box[k], value)
                box[3 + k] = max(box[3 + k], value)


@njit(cache=True, nogil=True)
@no_type_check
def _split(middles: Array, order: Array, first: int, last: int) -> int:
    """Sort a range into two halves of space; where the second begins."""
    low, high = np.full(3, np.inf, np.float32), np.full(3, -np.inf, np.float32)
    for i in range(first, last):
        for k in range(3):
            low[k] = min(low[k], middles[order[i], k])
            high[k] = max(high[k], middles[order[i], k])
    axis = np.argmax(high - low)
    half = (low[axis] + high[axis]) / np.float32(2)
    i, j = first, last - 1
    while i <= j:
        if middles[order[i], axis] < half:
            i += 1
        else:
            order[i], order[j] = order[j], order[i]
            j -= 1
    # Many triangles at one place: cut their list in two.
    return i if first < i < last else (first + last) // 2


@njit(cache=True, nogil=True)
@no_type_check
def nearest(  # noqa: PLR0912
    points: Array,
    turn: Array,
    limit: float,
    corners: Array,
    boxes: Array,
    nodes: Array,
    order: Array,
    distance: Array,
    triangle: Array,
    position: Array,
) -> None:
    """Nearest point of the surface to each point; beyond ``limit``: infinity, -1 and the point.

    ``turn`` is the order in which the points are taken: neighbours after each other are faster.
    """
    stack = np.empty(128, np.int32)
    above = np.empty(128, np.float32)
    found = np.empty(3, np.float32)
    last = -1
    for i in turn:
        x, y, z = points[i, 0], points[i, 1], points[i, 2]
        best = np.float32(limit) * np.float32(limit)
        named = -1
        if not (np.isfinite(x) and np.isfinite(y) and np.isfinite(z)):
            best = np.float32(-1.0)
        if last >= 0:  # points often follow each other
            squared = closest(corners[last], x, y, z, found)
            if squared < best:
                best, named = squared, last
                position[i] = found
        stack[0], above[0] = 0, box_distance(boxes[0], x, y, z)
        depth = 1
        while depth:
            depth -= 1
            if above[depth] >= best:
                continue
            node = stack[depth]
            start, count = nodes[node, 0], nodes[node, 1]
            if count:
                for k in range(start, start + count):
                    squared = closest(corners[order[k]], x, y, z, found)
                    if squared < best:
                        best, named = squared, order[k]
                        position[i] = found
                continue
            left, right = (
                box_distance(boxes[start], x, y, z),
                box_distance(boxes[start + 1], x, y, z),
            )
            near, far = (start, start + 1) if left <= right else (start + 1, start)
            if max(left, right) < best:
                stack[depth], above[depth] = far, max(left, right)
                depth += 1
            if min(left, right) < best:
                stack[depth], above[depth] = near, min(left, right)
                depth += 1
        triangle[i] = named
        if named >= 0:
            distance[i] = np.sqrt(best)
            last = named
        else:
            distance[i] = np.inf
            position[i] = points[i]


@njit(cache=True, nogil=True)
@no_type_check
def box_distance(box: Array, x: float, y: float, z: float) -> float:
    """Square of the distance to a box; 0 inside."""
    zero = np.float32(0.0)
    dx = max(box[0] - x, zero, x - box[3])
    dy = max(box[1] - y, zero, y - box[4])
    dz = max(box[2] - z, zero, z - box[5])
    return dx * dx + dy * dy + dz * dz


@njit(cache=True, nogil=True)
@no_type_check
def closest(corners: Array, x: float, y: float, z: float, found: Array) -> float:
    """Write a triangle's closest point (Ericson, Real-Time Collision Detection, 5.1.5).

    Returns:
        the square of the distance.
    """
    zero, one = np.float32(0.0), np.float32(1.0)
    ax, ay, az = corners[0, 0], corners[0, 1], corners[0, 2]
    abx, aby, abz = corners[1, 0] - ax, corners[1, 1] - ay, corners[1, 2] - az
    acx, acy, acz = corners[2, 0] - ax, corners[2, 1] - ay, corners[2, 2] - az
    apx, apy, apz = x - ax, y - ay, z - az
    d1 = abx * apx + aby * apy + abz * apz
    d2 = acx * apx + acy * apy + acz * apz
    bpx, bpy, bpz = apx - abx, apy - aby, apz - abz
    d3 = abx * bpx + aby * bpy + abz * bpz
    d4 = acx * bpx + acy * bpy + acz * bpz
    cpx, cpy, cpz = apx - acx, apy - acy, apz - acz
    d5 = abx * cpx + aby * cpy + abz * cpz
    d6 = acx * cpx + acy * cpy + acz * cpz
    va, vb, vc = d3 * d6 - d5 * d4, d5 * d2 - d1 * d6, d1 * d4 - d3 * d2
    v, w = zero, zero
    if d1 <= 0 and d2 <= 0:
        pass
    elif d3 >= 0 and d4 <= d3:
        v = one
    elif d6 >= 0 and d5 <= d6:
        w = one
    elif vc <= 0 and d1 >= 0 and d3 <= 0:
        v = d1 / (d1 - d3) if d1 != d3 else zero
    elif vb <= 0 and d2 >= 0 and d6 <= 0:
        w = d2 / (d2 - d6) if d2 != d6 else zero
    elif va <= 0 and d4 - d3 >= 0 and d5 - d6 >= 0:
        span = (d4 - d3) + (d5 - d6)
        w = (d4 - d3) / span if span > 0 else zero
        v = one - w
    else:
        whole = va + vb + vc
        if whole > 0:
            v, w = vb / whole, vc / whole
    dx = v * abx + w * acx - apx
    dy = v * aby + w * acy - apy
    dz = v * abz + w * acz - apz
    found[0], found[1], found[2] = x + dx, y + dy, z + dz
    return dx * dx + dy * dy + dz * dz
