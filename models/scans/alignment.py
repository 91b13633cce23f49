"""A scan brought into the head frame: by its landmarks, then by the face model's surface.

The landmarks of a face fit, looked up in the depth map, give points of the scan; those of the
fitted model are where they lie in the head frame. A robust similarity (Umeyama 1991) of the two is
refined by iterated closest points, point to plane (Chen & Medioni 1991): forehead and nose bridge,
which no expression moves, count in full, the rest of the face a little. Shape is fitted along with
the pose: the head frame is that of the model's mean face, to which each person's face is laid by a
similarity, and a pose found against the wrong shape would be off. The similarity's scale is the
size of this head against the mean one's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int32

from ..errors import InputError
from ..face.rotation import matrix_from_rotation_vector
from ..makehuman.head import Similarity
from ..makehuman.head import align as least_squares_similarity
from ..render.raster import vertex_normals
from .frame import DepthFrame

INNER: Final = slice(17, 68)
"""Landmarks that are used: those of the jaw line lie on edges of depth."""
_LEAST_LANDMARKS: Final = 12
_SCALES: Final = (0.6, 1.6)
_WORST_MM: Final = 12.0
"""Median distance of the landmarks after the fit, at the head frame's size, over which a scan is
not a face."""
_PATCH: Final = 3
_ROUNDS: Final = 25
_FAR_MM, _NEAR_MM = 14.0, 5.0
_ELSEWHERE: Final = 0.3
_SURFACE_MM, _LANDMARK_MM = 1.5, 4.0
"""Deviations of the model's surface and of landmarks."""
_POINTS: Final = 150.0
"""As how many independent points the surface counts: neighbours err together."""


@dataclass(frozen=True)
class Alignment:
    """Where a scan lies in the head frame.

    Attributes:
        head_from_scan: similarity; its scale undoes the size of this head.
        landmark_mm: median distance of the landmarks from the fit's.
        surface_mm: rms distance over the stable region; NaN where too little of it was scanned.
        matched: share of the stable region that the scan covers.
    """

    head_from_scan: Similarity
    landmark_mm: float
    surface_mm: float
    matched: float

    @property
    def matrix(self) -> Float64[np.ndarray, "4 4"]:
        """The similarity as a matrix."""
        s = self.head_from_scan
        return np.vstack(
            [np.column_stack([s.scale * s.rotation, s.translation]), [0.0, 0.0, 0.0, 1.0]]
        )


@dataclass(frozen=True)
class FittedHead:
    """What a face fit says: a linear model of the neutral face, and how it is to begin.

    Attributes:
        mean: (N, 3) mean face with the expression that was seen, head frame, mm.
        basis: (S, N, 3) mm per standard deviation of shape.
        triangles: (M, 3).
        landmark_vertices: (68,) vertex of each landmark.
        shape: (S,) of the fit.
    """

    mean: Float32[np.ndarray, "N 3"]
    basis: Float32[np.ndarray, "S N 3"]
    triangles: Int32[np.ndarray, "M 3"]
    landmark_vertices: Int32[np.ndarray, " 68"]
    shape: Float32[np.ndarray, " S"]

    def vertices(self, shape: Float64[np.ndarray, " S"]) -> Float32[np.ndarray, "N 3"]:
        """Of a shape, mm."""
        return self.mean + np.tensordot(shape.astype(np.float32), self.basis, axes=1)

    def weights(self) -> Float64[np.ndarray, " N"]:
        """How much each vertex counts: 1 on forehead and nose bridge, less elsewhere."""
        x, y, z = self.mean.T
        forehead = (y < -20) & (np.abs(x) < 48) & (z < 45)
        bridge = (np.abs(x) < 9) & (y > -20) & (y < 22)
        return np.where(forehead | bridge, 1.0, _ELSEWHERE)


def landmark_points(
    frame: DepthFrame, landmarks_px: Float32[np.ndarray, "68 2"]
) -> Float64[np.ndarray, "68 3"]:
    """Landmarks in the camera frame, mm; NaN where the depth map has nothing.

    Args:
        frame: depth map with picture.
        landmarks_px: in the picture's pixels, or the depth map's where there is no picture.
    """
    height, width = frame.depth.shape
    shape = (height, width) if frame.image is None else frame.image.shape[:2]
    scale = np.array([width / shape[1], height / shape[0]])
    px = (landmarks_px + 0.5) * scale - 0.5
    lens = frame.camera
    points = np.full((68, 3), np.nan)
    for point, (x, y) in zip(points, px, strict=True):
        u, v = round(float(x)), round(float(y))
        if not (0 <= u < width and 0 <= v < height):
            continue
        patch = frame.depth[
            max(v - _PATCH, 0) : v + _PATCH + 1, max(u - _PATCH, 0) : u + _PATCH + 1
        ]
        if np.isfinite(patch).mean() < 0.25:
            continue
        # The nearer side of an edge is the face; the median ignores noise.
        z = float(np.nanmedian(patch))
        point[:] = z * (x - lens.cx) / lens.fx, z * (y - lens.cy) / lens.fy, z
    return points


def align_scan(
    landmarks: Float64[np.ndarray, "68 3"], cloud: Float32[np.ndarray, "P 3"], head: FittedHead
) -> Alignment:
    """Align a scan of a face.

    Args:
        landmarks: in the scan's frame, mm; NaN where unknown.
        cloud: points of its surface, same frame.
        head: what the face fit says.

    Raises:
        InputError: too few landmarks are known, or they are not a face's.
    """
    vertices = head.vertices(head.shape.astype(np.float64)).astype(np.float64)
    start, miss = _from_landmarks(landmarks, vertices[head.landmark_vertices])
    finite = np.isfinite(cloud).all(axis=1)
    if finite.sum() < 50:
        raise InputError(f"scan: {int(finite.sum())} points in it, expected a surface")
    fit = _ModelFit(head, cloud[finite].astype(np.float64), landmarks, start)
    fit.run()
    return Alignment(fit.pose, miss, fit.rms, fit.matched)


def _from_landmarks(
    scan: Float64[np.ndarray, "68 3"], head: Float64[np.ndarray, "68 3"]
) -> tuple[Similarity, float]:
    """A similarity that does not mind single landmarks with a wrong depth."""
    known = np.asarray(np.isfinite(scan).all(axis=1))
    known[: INNER.start] = False
    if known.sum() < _LEAST_LANDMARKS:
        raise InputError(
            f"scan: depth at {int(known.sum())} of the face's {68 - INNER.start} landmarks, "
            f"expected {_LEAST_LANDMARKS} or more: the face was not scanned"
        )
    fit = least_squares_similarity(scan[known], head[known])
    distance = np.zeros(68)
    for _ in range(6):
        distance = np.linalg.norm(fit.apply(scan) - head, axis=1)
        limit = max(3.0, 2.5 * float(np.median(distance[known])))
        kept = known & (distance < limit)
        if kept.sum() < _LEAST_LANDMARKS:
            break
        fit = least_squares_similarity(scan[kept], head[kept])
    miss = float(np.median(np.linalg.norm(fit.apply(scan) - head, axis=1)[known]))
    if not _SCALES[0] < fit.scale < _SCALES[1]:
        raise InputError(
            f"scan: its face would be {1 / fit.scale:.3g} times as large as a mean one; expected "
            f"{1 / _SCALES[1]:.2g} to {1 / _SCALES[0]:.2g}: its unit is wrong"
        )
    if miss > _WORST_MM:
        raise InputError(
            f"scan: the face's landmarks miss it by {miss:.1f} mm: picture and depth do not belong "
            "together, or it is no face"
        )
    return fit, miss


class _ModelFit:
    """Pose and shape of the face model in a cloud of points."""

    def __init__(
        self,
        head: FittedHead,
        cloud: Float64[np.ndarray, "P 3"],
        landmarks: Float64[np.ndarray, "68 3"],
        start: Similarity,
    ) -> None:
        from scipy.spatial import KDTree

        self._head = head
        self._cloud = cloud
        self._tree = KDTree(cloud)
        known = np.asarray(np.isfinite(landmarks).all(axis=1))
        known[: INNER.start] = False
        self._known = np.asarray(np.flatnonzero(known))
        self._landmarks = landmarks[self._known]
        self._weights = head.weights()
        self._shape = head.shape.astype(np.float64)
        self.pose = start
        self.rms, self.matched = float("nan"), 0.0

    def run(self) -> None:
        """Gauss-Newton with new closest points in each round."""
        for step in range(_ROUNDS):
            limit = _NEAR_MM + (_FAR_MM - _NEAR_MM) * max(0.0, 1 - step / 10)
            rows, miss, near = self._surface(limit)
            self.matched = float(near.mean())
            marks, off = self._marks()
            count = 7 + len(self._shape)
            normal = rows.T @ rows + marks.T @ marks
            right = rows.T @ miss + marks.T @ off
            # Shape is a deviate of 1 beforehand; the errors above are in units of theirs.
            prior = np.zeros(count)
            prior[7:] = 1.0
            right[7:] -= self._shape
            change = np.linalg.solve(normal + np.diag(prior + 1e-9), right)
            self._move(change)
            if np.abs(change[:7] * (50, 50, 50, 1, 1, 1, 50)).max() < 0.01 and step > 10:
                break

    def _surface(
        self, limit: float
    ) -> tuple[Float64[np.ndarray, "K U"], Float64[np.ndarray, " K"], Bool[np.ndarray, " N"]]:
        """Equations of vertices near the scan: along their normals, in deviations."""
        vertices = self._head.vertices(self._shape)
        normals = vertex_normals(vertices, self._head.triangles).astype(np.float64)
        pose = self.pose
        back = (vertices - pose.translation) @ pose.rotation / pose.scale
        distance, index = self._tree.query(back)
        near = (distance * pose.scale < limit) & (np.linalg.norm(normals, axis=1) > 0.5)
        points = pose.apply(self._cloud[np.asarray(index)[near]]).astype(np.float64)
        n = normals[near]
        miss = ((vertices[near] - points) * n).sum(1)
        if near.any():
            self.rms = float(np.sqrt((miss**2).mean()))
        weight = self._weights[near] / (1 + (miss / 2.0) ** 2)
        root = np.sqrt(weight * _POINTS / max(len(self._weights), 1)) / _SURFACE_MM
        rows = np.column_stack(
            [
                np.cross(points, n),
                n,
                (points * n).sum(1),
                -np.einsum("sni,ni->ns", self._head.basis[:, near], n),
            ]
        )
        return rows * root[:, None], miss * root, near

    def _marks(self) -> tuple[Float64[np.ndarray, "K U"], Float64[np.ndarray, " K"]]:
        """Equations of the landmarks, in deviations."""
        at = self._head.landmark_vertices[self._known]
        wanted = self._head.vertices(self._shape)[at].astype(np.float64)
        points = self.pose.apply(self._landmarks).astype(np.float64)
        miss = wanted - points
        far = np.linalg.norm(miss, axis=1)
        root = np.sqrt(1 / (1 + (far / 4.0) ** 2)) / _LANDMARK_MM
        rows = np.zeros((len(at), 3, 7 + len(self._shape)))
        for axis in range(3):
            unit = np.eye(3)[axis]
            rows[:, axis, :3] = np.cross(points, unit)
            rows[:, axis, 3:6] = unit
            rows[:, axis, 6] = points[:, axis]
            rows[:, axis, 7:] = -self._head.basis[:, at, axis].T
        rows *= root[:, None, None]
        return rows.reshape(-1, rows.shape[-1]), (miss * root[:, None]).reshape(-1)

    def _move(self, change: Float64[np.ndarray, " U"]) -> None:
        turn = matrix_from_rotation_vector(change[:3])
        grow = float(np.exp(np.clip(change[6], -0.1, 0.1)))
        old = self.pose
        self.pose = Similarity(
            old.scale * grow,
            turn @ old.rotation,
            grow * turn @ old.translation + change[3:6],
        )
        self._shape = self._shape + change[7:]
