"""The fit of a picture as a mesh with the picture's colours, to be fused like a scan."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
from jaxtyping import Float, Float32, Int32, UInt8
from scipy.ndimage import map_coordinates
from scipy.spatial import KDTree

from ..mesh.triangle_mesh import TriangleMesh
from ..render.raster import rasterise, vertex_normals

_ROUNDS = 1
_MIRROR_SHARE = 0.1


def textured_face(
    neutral: Float32[np.ndarray, "N 3"],
    seen: Float32[np.ndarray, "N 3"],
    triangles: Int32[np.ndarray, "M 3"],
    image_bgr: UInt8[np.ndarray, "H W 3"],
    camera_matrix: Float[np.ndarray, "3 3"],
    camera_from_head: Float[np.ndarray, "4 4"],
) -> TriangleMesh:
    """A neutral face with the colours of a picture in which it has an expression.

    The openings of eyes and mouth are closed, triangles divided until they are finer than the
    grid's cells. What the picture hides takes its mirror image's colour, if that is seen, else
    that of what is near.

    Args:
        neutral: vertices without expression, head frame, mm.
        seen: the same with the expression of the picture.
        triangles: counter-clockwise from outside.
        image_bgr: the picture.
        camera_matrix: px.
        camera_from_head: mm.
    """
    neutral, seen, triangles = _closed(neutral, seen, triangles)
    for _ in range(_ROUNDS):
        neutral, seen, triangles = _divided(neutral, seen, triangles)
    at = seen @ camera_from_head[:3, :3].T + camera_from_head[:3, 3]
    px = at @ camera_matrix.T
    px = (px[:, :2] / np.maximum(px[:, 2:], 1e-6)).astype(np.float32)
    at_rows = np.ascontiguousarray(px[:, ::-1].T)
    channels = [
        map_coordinates(image_bgr[..., c].astype(np.float32), at_rows, order=1, mode="nearest")
        for c in (2, 1, 0)
    ]
    colours = np.stack(channels, axis=-1)
    trust = _facing(at.astype(np.float32), px, triangles, image_bgr.shape[:2])
    mirrored = _mirror(neutral)
    other = _MIRROR_SHARE * (1 - trust) * trust[mirrored]
    total = trust + other
    mixed = trust[:, None] * colours + other[:, None] * colours[mirrored]
    known = total > 0.02
    mixed[known] /= total[known, None]
    if known.any():  # what neither side shows is like what is near it
        _, nearest = KDTree(neutral[known]).query(neutral[~known])
        mixed[~known] = mixed[known][nearest]
    return TriangleMesh(
        np.ascontiguousarray(neutral, np.float32),
        triangles,
        np.clip(np.rint(mixed), 0, 255).astype(np.uint8),
    )


def _facing(
    at: Float32[np.ndarray, "N 3"],
    px: Float32[np.ndarray, "N 2"],
    triangles: Int32[np.ndarray, "M 3"],
    size: tuple[int, ...],
) -> Float32[np.ndarray, " N"]:
    """How squarely the camera sees each vertex, 0 where it does not see it."""
    normals = vertex_normals(at, triangles)
    ray = at / np.linalg.norm(at, axis=1, keepdims=True)
    cosine = np.maximum(-(normals * ray).sum(1), 0)
    height, width = int(size[0]), int(size[1])
    depth = rasterise(np.column_stack([px, at[:, 2]]), triangles, height, width).depth
    column, row = np.rint(px.T).astype(int)
    inside = (column >= 0) & (row >= 0) & (column < width) & (row < height)
    front = depth[row.clip(0, height - 1), column.clip(0, width - 1)]
    seen = inside & (at[:, 2] < np.where(np.isfinite(front), front, np.inf) + 4.0)
    return np.where(seen, np.clip((cosine - 0.15) / 0.4, 0, 1), 0).astype(np.float32)


def _mirror(vertices: Float32[np.ndarray, "N 3"]) -> Int32[np.ndarray, " N"]:
    """The vertex nearest to the mirror image of each."""
    _, index = KDTree(vertices).query(vertices * np.array([-1, 1, 1], np.float32))
    return np.asarray(index, np.int32)


def _closed(
    neutral: Float32[np.ndarray, "N 3"],
    seen: Float32[np.ndarray, "N 3"],
    triangles: Int32[np.ndarray, "M 3"],
) -> tuple[Float32[np.ndarray, "K 3"], Float32[np.ndarray, "K 3"], Int32[np.ndarray, "L 3"]]:
    """Fans over all holes but the outline, the longest boundary."""
    sides = np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]])
    known = {(a, b) for a, b in sides.tolist()}
    after: dict[int, list[int]] = defaultdict(list)
    for a, b in known:
        if (b, a) not in known:
            after[b].append(a)
    loops = []
    while after:
        start = next(iter(after))
        loop, here = [], start
        while here in after:
            loop.append(here)
            ahead = after[here].pop()
            if not after[here]:
                del after[here]
            here = ahead
        if here == start and len(loop) > 2:
            loops.append(loop)
    length = [np.linalg.norm(np.diff(neutral[[*p, p[0]]], axis=0), axis=1).sum() for p in loops]
    fans, more = [triangles], [[], []]
    count = len(neutral)
    for k, loop in enumerate(loops):
        if k == int(np.argmax(length)):
            continue
        for rows, vertices in zip(more, (neutral, seen), strict=True):
            rows.append(vertices[loop].mean(0))
        ring = np.array(loop)
        middle = np.full(len(ring), count)
        count += 1
        fans.append(np.column_stack([ring, np.roll(ring, -1), middle]))
    if len(fans) == 1:
        return neutral, seen, triangles
    grown = [
        np.vstack([v, m]).astype(np.float32) for v, m in zip((neutral, seen), more, strict=True)
    ]
    return grown[0], grown[1], np.concatenate(fans).astype(np.int32)


def _divided(
    neutral: Float32[np.ndarray, "N 3"],
    seen: Float32[np.ndarray, "N 3"],
    triangles: Int32[np.ndarray, "M 3"],
) -> tuple[Float32[np.ndarray, "K 3"], Float32[np.ndarray, "K 3"], Int32[np.ndarray, "L 3"]]:
    """Each triangle as four, by the middles of its sides."""
    sides = np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]])
    unique, number = np.unique(np.sort(sides, axis=1), axis=0, return_inverse=True)
    a, b, c = triangles.T
    ab, bc, ca = number.reshape(3, -1) + len(neutral)
    finer = np.concatenate(
        [np.column_stack(t) for t in ((a, ab, ca), (ab, b, bc), (ca, bc, c), (ab, bc, ca))]
    )
    grown = [np.vstack([v, v[unique].mean(1)]).astype(np.float32) for v in (neutral, seen)]
    return grown[0], grown[1], finer.astype(np.int32)
