"""Surfaces that can be seen through: every layer of a pixel is kept, sorted and blended."""

# ruff: noqa: PLR0917 - compiled loops take their arrays one by one.

from __future__ import annotations

from typing import Any, NamedTuple, no_type_check

import numpy as np
from numba import njit

from .mesh import Mesh
from .raster import NOTHING, RELAXED, Array, edges
from .shadow import opacity

FAINTEST = 1.0 / 255.0
"""Fragments of less opacity are dropped, unless they carry a clear coat."""
OPAQUE = 0.98
"""From this opacity a fragment hides all behind it."""
LAYERS = 48
"""Layers kept in a pixel; what lies deeper is dropped."""


class Fragments(NamedTuple):
    """Layers of all pixels: a linked list for each, starting at ``head``."""

    head: Array
    following: Array
    triangle: Array
    pixel: Array
    nearness: Array
    corner: Array
    alpha: Array
    weight: Array
    reach: Array


def collect(meshes: list[Mesh], seen: Array) -> tuple[Fragments, list[int]]:
    """Find all fragments in front of the opaque scene.

    Args:
        meshes: blended surfaces.
        seen: (H, W) nearness of the opaque scene.

    Returns:
        the fragments, and where those of each surface begin and the last ends.
    """
    height, width = seen.shape
    capacity = 4 * height * width
    while True:
        fragments = Fragments(
            head=np.full((height, width), -1, np.int32),
            following=np.empty(capacity, np.int32),
            triangle=np.empty(capacity, np.int32),
            pixel=np.empty(capacity, np.int32),
            nearness=np.empty(capacity, np.float32),
            corner=np.empty((capacity, 2), np.float32),
            alpha=np.empty(capacity, np.float32),
            weight=np.empty(capacity, np.float32),
            reach=np.empty(capacity, np.float32),
        )
        limit = seen.copy()
        bounds = [0]
        for mesh in meshes:
            bounds.append(_collect(mesh, limit, fragments, bounds[-1]))
        if bounds[-1] <= capacity:
            return fragments, bounds
        capacity = bounds[-1]


@njit(cache=True, nogil=True, fastmath=RELAXED)
@no_type_check
def _collect(mesh: Any, limit: Array, fragments: Any, count: int) -> int:
    height, width = limit.shape
    for t in range(len(mesh.triangles)):
        corners = mesh.triangles[t]
        q0, q1 = mesh.nearness[corners[0]], mesh.nearness[corners[1]]
        q2 = mesh.nearness[corners[2]]
        if min(q0, q1, q2) <= NOTHING:
            continue
        box, start, steps, rule, area = edges(
            mesh.fixed, corners, width, height, not mesh.two_sided
        )
        if box[0] > box[1]:
            continue
        scale = 1.0 / np.float64(area)
        e0, e1, e2 = start
        for y in range(box[2], box[3] + 1):
            w0, w1, w2 = e0, e1, e2
            for x in range(box[0], box[1] + 1):
                if ((w0 + rule[0]) | (w1 + rule[1]) | (w2 + rule[2])) >= 0:
                    p0, p1 = np.float32(w0 * scale) * q0, np.float32(w1 * scale) * q1
                    q = p0 + p1 + np.float32(w2 * scale) * q2
                    if q > limit[y, x]:
                        over = np.float32(1.0) / q
                        count = _keep(
                            mesh, t, y, x, q, p0 * over, p1 * over, limit, fragments, count
                        )
                w0 += steps[0]
                w1 += steps[1]
                w2 += steps[2]
            e0 += steps[3]
            e1 += steps[4]
            e2 += steps[5]
    return count


@njit(cache=True, nogil=True, fastmath=RELAXED)
@no_type_check
def _keep(
    mesh: Any,
    t: int,
    y: int,
    x: int,
    q: float,
    b0: float,
    b1: float,
    limit: Array,
    fragments: Any,
    count: int,
) -> int:
    """Append a fragment unless it is too faint; returns the new count, even when out of room."""
    alpha = opacity(mesh, t, b0, b1)
    if alpha < FAINTEST and not mesh.clear_coat:
        return count
    if alpha >= OPAQUE:
        alpha = np.float32(1.0)
        limit[y, x] = q
    if count < len(fragments.triangle):
        fragments.triangle[count] = t
        fragments.pixel[count] = y * limit.shape[1] + x
        fragments.nearness[count] = q
        fragments.corner[count, 0] = b0
        fragments.corner[count, 1] = b1
        fragments.alpha[count] = alpha
        fragments.weight[count] = 0.0
        fragments.reach[count] = 0.0
        fragments.following[count] = fragments.head[y, x]
        fragments.head[y, x] = count
    return count + 1


@njit(cache=True, nogil=True, fastmath=RELAXED)
@no_type_check
def weigh(fragments: Any, left: Array) -> None:
    """Sort each pixel's layers from the front and find how much of each is seen.

    Writes to ``left`` (H, W) the share that the opaque scene or the background keeps.
    """
    order = np.empty(LAYERS, np.int32)
    head, following, nearness = fragments.head, fragments.following, fragments.nearness
    weight, reach, opaqueness = fragments.weight, fragments.reach, fragments.alpha
    height, width = left.shape
    for y in range(height):
        for x in range(width):
            layer = head[y, x]
            n = 0
            while layer >= 0:
                place = n
                while place > 0 and nearness[order[place - 1]] < nearness[layer]:
                    if place < LAYERS:
                        order[place] = order[place - 1]
                    place -= 1
                if place < LAYERS:
                    order[place] = layer
                    n = min(n + 1, LAYERS)
                layer = following[layer]
            share = np.float32(1.0)
            for i in range(n):
                weight[order[i]] = share * opaqueness[order[i]]
                reach[order[i]] = share
                share *= np.float32(1.0) - opaqueness[order[i]]
                if share < 0.02:
                    share = np.float32(0.0)
                    break
            left[y, x] = share
