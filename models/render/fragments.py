"""Surfaces that can be seen through: every layer of a pixel is kept, sorted and blended."""

from __future__ import annotations

from typing import Any, NamedTuple, no_type_check

import numpy as np
from numba import njit

from .mesh import Mesh
from .raster import NOTHING, RELAXED, Array, edges
from .shade import shade_point
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
    name: Array
    triangle: Array
    pixel: Array
    nearness: Array
    corner: Array
    alpha: Array
    weight: Array
    reach: Array


def collect(meshes: list[Mesh], names: list[int], seen: Array) -> tuple[Fragments, int]:
    """Find all fragments in front of the opaque scene.

    Args:
        meshes: blended surfaces.
        names: the number of each.
        seen: (H, W) nearness of the opaque scene.

    Returns:
        the fragments and their count.
    """
    height, width = seen.shape
    capacity = 4 * height * width
    while True:
        fragments = Fragments(
            head=np.full((height, width), -1, np.int32),
            following=np.empty(capacity, np.int32),
            name=np.empty(capacity, np.int32),
            triangle=np.empty(capacity, np.int32),
            pixel=np.empty(capacity, np.int32),
            nearness=np.empty(capacity, np.float32),
            corner=np.empty((capacity, 2), np.float32),
            alpha=np.empty(capacity, np.float32),
            weight=np.empty(capacity, np.float32),
            reach=np.empty(capacity, np.float32),
        )
        limit = seen.copy()
        count = 0
        for mesh, name in zip(meshes, names, strict=True):
            count = _collect(mesh, name, limit, fragments, count)
        if count <= capacity:
            return fragments, count
        capacity = count


@njit(cache=True, nogil=True, fastmath=RELAXED)
@no_type_check
def _collect(mesh: Any, name: int, limit: Array, fragments: Any, count: int) -> int:
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
                            mesh, name, t, y, x, q, p0 * over, p1 * over, limit, fragments, count
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
    name: int,
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
    if count < len(fragments.name):
        fragments.name[count] = name
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
def weigh(fragments: Any, image: Array, veil: Array) -> None:
    """Sort each pixel's layers from the front and find how much of each is seen.

    Darkens ``image`` (H, W, 3) by what covers it and writes that share to ``veil`` (H, W).
    """
    order = np.empty(LAYERS, np.int32)
    height, width = fragments.head.shape
    for y in range(height):
        for x in range(width):
            layer = fragments.head[y, x]
            n = 0
            while layer >= 0:
                q = fragments.nearness[layer]
                place = n
                while place > 0 and fragments.nearness[order[place - 1]] < q:
                    if place < LAYERS:
                        order[place] = order[place - 1]
                    place -= 1
                if place < LAYERS:
                    order[place] = layer
                    n = min(n + 1, LAYERS)
                layer = fragments.following[layer]
            left = np.float32(1.0)
            for i in range(n):
                alpha = fragments.alpha[order[i]]
                fragments.weight[order[i]] = left * alpha
                fragments.reach[order[i]] = left
                left *= np.float32(1.0) - alpha
                if left < 0.02:
                    break
            if n > 0:
                veil[y, x] = np.float32(1.0) - left
                for c in range(3):
                    image[y, x, c] *= left


@njit(cache=True, nogil=True, fastmath=RELAXED)
@no_type_check
def add_fragments(
    mesh: Any, name: int, lighting: Any, camera: Array, fragments: Any, count: int, image: Array
) -> None:
    """Add the light of one surface's visible fragments to ``image``."""
    width = image.shape[1]
    for i in range(count):
        if fragments.name[i] != name or fragments.reach[i] <= 0:
            continue
        y, x = fragments.pixel[i] // width, fragments.pixel[i] % width
        z = np.float32(1.0) / fragments.nearness[i]
        px = (np.float32(x) - camera[2]) / camera[0] * z
        py = (np.float32(y) - camera[3]) / camera[1] * z
        light, shine = shade_point(
            mesh,
            lighting,
            fragments.triangle[i],
            fragments.corner[i, 0],
            fragments.corner[i, 1],
            px,
            py,
            z,
        )
        weight = fragments.weight[i]
        gloss = fragments.reach[i] if mesh.clear_coat else weight
        for c in range(3):
            image[y, x, c] += weight * light[c] + gloss * shine[c]
