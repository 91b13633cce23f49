"""Surfaces that can be seen through: every layer of a pixel is kept, sorted and blended."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple, no_type_check

import numpy as np
from numba import njit

from .mesh import Mesh
from .raster import NOTHING, RELAXED, Array, edges
from .shade import Hits
from .shadow import opacity

FAINTEST = 1.0 / 255.0
"""Fragments of less opacity are dropped, unless they carry a clear coat."""
OPAQUE = 0.98
"""From this opacity a fragment hides all behind it."""
LAYERS = 48
"""Layers kept in a pixel; what lies deeper is dropped."""


class Layers(NamedTuple):
    """Layers of all pixels: a linked list for each, starting at ``head``."""

    head: Array
    following: Array
    pixel: Array
    alpha: Array
    triangle: Array
    corner: Array
    nearness: Array
    weight: Array
    reach: Array


@dataclass(frozen=True)
class Fragments:
    """Points of blended surfaces in front of the opaque scene.

    Attributes:
        hits: where they lie, and how much of them is seen.
        pixel: flat index of the pixel of each.
        bounds: where the fragments of each surface begin, and the last ones end.
    """

    hits: Hits
    pixel: Array
    bounds: list[int]

    def visible(self, meshes: list[Mesh]) -> Iterator[tuple[Mesh, Array, Array]]:
        """For each surface, which of its fragments are seen, and their pixels."""
        for mesh, first, last in zip(meshes, self.bounds[:-1], self.bounds[1:], strict=True):
            where = first + np.flatnonzero(self.hits.reach[first:last] > 0)
            yield mesh, where, self.pixel[where].astype(np.int64)


def collect(meshes: list[Mesh], seen: Array, left: Array) -> Fragments:
    """Find the fragments in front of the opaque scene, and how much of each is seen.

    Args:
        meshes: blended surfaces.
        seen: (H, W) nearness of the opaque scene.
        left: (H, W), receives the share of each pixel that is left to what is behind.
    """
    height, width = seen.shape
    capacity = 4 * height * width
    while True:
        layers = _room(height, width, capacity)
        limit = seen.copy()
        bounds = [0]
        for mesh in meshes:
            bounds.append(_collect(mesh, limit, layers, bounds[-1]))
        if bounds[-1] <= capacity:
            break
        capacity = bounds[-1]
    _weigh(layers, left)
    hits = Hits(layers.triangle, layers.corner, layers.nearness, layers.weight, layers.reach)
    return Fragments(hits, layers.pixel, bounds)


def _room(height: int, width: int, capacity: int) -> Layers:
    """Empty lists for a picture, with room for so many fragments."""
    return Layers(
        head=np.full((height, width), -1, np.int32),
        following=np.empty(capacity, np.int32),
        pixel=np.empty(capacity, np.int32),
        alpha=np.empty(capacity, np.float32),
        triangle=np.empty(capacity, np.int32),
        corner=np.empty((capacity, 2), np.float32),
        nearness=np.empty(capacity, np.float32),
        weight=np.empty(capacity, np.float32),
        reach=np.empty(capacity, np.float32),
    )


@njit(cache=True, nogil=True, fastmath=RELAXED)
@no_type_check
def _collect(mesh: Any, limit: Array, layers: Any, count: int) -> int:
    """Append the fragments of a surface; returns their new count, even when out of room."""
    triangles, fixed, nearness = mesh.triangles, mesh.fixed, mesh.nearness
    vertex_alpha, uv, level = mesh.alpha, mesh.uv, mesh.level
    texels, levels = mesh.texels, mesh.levels
    faintest = np.float32(-1.0 if mesh.clear_coat else FAINTEST)
    height, width = limit.shape
    for t in range(len(triangles)):
        corners = triangles[t]
        q0, q1, q2 = nearness[corners[0]], nearness[corners[1]], nearness[corners[2]]
        if min(q0, q1, q2) <= NOTHING:
            continue
        box, start, steps, rule, area = edges(fixed, corners, width, height, not mesh.two_sided)
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
                        b0, b1 = p0 / q, p1 / q
                        alpha = opacity(
                            triangles, vertex_alpha, uv, texels, levels, level, t, b0, b1
                        )
                        if alpha >= OPAQUE:
                            alpha = np.float32(1.0)
                            limit[y, x] = q
                        if alpha >= faintest:
                            _keep(layers, count, t, y, x, q, b0, b1, alpha)
                            count += 1
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
    layers: Any, n: int, t: int, y: int, x: int, q: float, b0: float, b1: float, alpha: float
) -> None:
    """Write fragment ``n`` and put it first in its pixel's list, if there is room."""
    head = layers.head
    if n >= len(layers.triangle):
        return
    layers.triangle[n] = t
    layers.pixel[n] = y * head.shape[1] + x
    layers.nearness[n] = q
    layers.corner[n, 0] = b0
    layers.corner[n, 1] = b1
    layers.alpha[n] = alpha
    layers.weight[n] = 0.0
    layers.reach[n] = 0.0
    layers.following[n] = head[y, x]
    head[y, x] = n


@njit(cache=True, nogil=True, fastmath=RELAXED)
@no_type_check
def _weigh(layers: Any, left: Array) -> None:
    """Sort each pixel's layers from the front and find how much of each is seen.

    Writes to ``left`` (H, W) the share that the opaque scene or the background keeps.
    """
    order = np.empty(LAYERS, np.int32)
    head, following, nearness = layers.head, layers.following, layers.nearness
    weight, reach, opaqueness = layers.weight, layers.reach, layers.alpha
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
