"""Depth frames of one face brought together: their poses refined against each other.

A phone's own poses of its frames are off by some millimetres, which would blur what is fused. Each
frame in turn is laid onto the points of all others by iterated closest points, point to plane (Chen
& Medioni 1991), rigidly; one frame stays where it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import cv2
import numpy as np
from jaxtyping import Float64

from ..errors import InputError
from ..face.rotation import matrix_from_rotation_vector
from .frame import DepthFrame

_POINTS: Final = 2500
"""Of each frame."""
_SWEEPS: Final = 3
_ROUNDS: Final = 10
_FAR_MM, _NEAR_MM = 14.0, 4.0
"""Closest points count up to so far, at first and at last."""
_ROBUST_MM: Final = 1.5
_ALIKE: Final = 0.6
"""Least cosine between normals of two points that are one."""
_EDGE_MM: Final = 8.0
_LEAST_SHARE: Final = 0.15
"""Of a frame's points that must lie near the others'."""
_LEAST_POINTS: Final = 60


@dataclass(frozen=True)
class Registration:
    """Frames that fit together.

    Attributes:
        frames: with refined poses; those that came near no other are left out.
        kept: their numbers in what was given.
        before_mm: median distance, along the normals, of the frames' points from the others'
            surfaces, at the poses given.
        after_mm: likewise at those found.
    """

    frames: list[DepthFrame]
    kept: list[int]
    before_mm: float
    after_mm: float


@dataclass
class _Cloud:
    """Points (N, 3) mm and normals of a frame in its own camera's frame, and its pose."""

    points: Float64[np.ndarray, "N 3"]
    normals: Float64[np.ndarray, "N 3"]
    pose: Float64[np.ndarray, "4 4"]

    def placed(self) -> tuple[Float64[np.ndarray, "N 3"], Float64[np.ndarray, "N 3"]]:
        turn = self.pose[:3, :3]
        return self.points @ turn.T + self.pose[:3, 3], self.normals @ turn.T


def register_frames(
    frames: Sequence[DepthFrame],
    reference: int,
    centre: Float64[np.ndarray, " 3"],
    radius_mm: float = 130.0,
) -> Registration:
    """Refine the poses of frames.

    Args:
        frames: ``head_from_camera`` is the pose in any frame that they share.
        reference: number of the frame that stays.
        centre: the middle of the face in the shared frame, mm.
        radius_mm: what is farther from it is no part of the face.

    Raises:
        InputError: no frame comes near the reference.
    """
    clouds = [_cloud(frame, centre, radius_mm) for frame in frames]
    useful = [i for i, cloud in enumerate(clouds) if len(cloud.points) >= _LEAST_POINTS]
    if reference not in useful:
        raise InputError("scan: the frame that shows the face has no depth there")
    before = _misses(clouds, useful)
    joined = [reference]
    waiting = [i for i in useful if i != reference]
    # The nearest views first: a profile hardly meets the front, but what lies between.
    waiting.sort(key=lambda i: _angle(clouds[i].pose, clouds[reference].pose))
    for i in waiting:
        if _lay(clouds[i], [clouds[j] for j in joined]):
            joined.append(i)
    if len(joined) < 2 <= len(frames):
        raise InputError(
            f"scan: of {len(frames)} frames none comes near the first that shows the face: their "
            "poses are wrong (camera_axes: arkit or opencv? metres?)"
        )
    for _ in range(_SWEEPS - 1):
        for i in joined[1:]:
            _lay(clouds[i], [clouds[j] for j in joined if j != i])
    kept = sorted(joined)
    after = _misses(clouds, kept)
    found = [replace(frames[i], head_from_camera=clouds[i].pose) for i in kept]
    return Registration(found, kept, before, after)


def _cloud(frame: DepthFrame, centre: Float64[np.ndarray, " 3"], radius_mm: float) -> _Cloud:
    """Points of a frame near the face, evenly over its picture."""
    depth = frame.depth
    known = np.isfinite(depth)
    filled = np.where(known, depth, 0).astype(np.float32)
    share = cv2.blur(known.astype(np.float32), (5, 5))
    # Averaged over a few pixels: single ones are too noisy for a normal.
    smooth = np.asarray(cv2.blur(filled, (5, 5)) / np.maximum(share, 1e-6), np.float32)
    places = replace(frame, depth=smooth).points().astype(np.float64)
    across, down = np.gradient(places, axis=1), np.gradient(places, axis=0)
    normals = np.cross(down, across)
    length = np.linalg.norm(normals, axis=-1)
    jump = np.maximum(np.abs(across[..., 2]), np.abs(down[..., 2]))
    pose = frame.head_from_camera
    away = np.linalg.norm(places @ pose[:3, :3].T + pose[:3, 3] - centre, axis=-1)
    good = known & (share > 0.9) & (jump < _EDGE_MM) & (length > 1e-9) & (away < radius_mm)
    index = np.flatnonzero(good)
    if len(index) > _POINTS:
        index = index[np.linspace(0, len(index) - 1, _POINTS).astype(int)]
    normal = normals.reshape(-1, 3)[index] / length.reshape(-1)[index, None]
    return _Cloud(places.reshape(-1, 3)[index], normal, pose.copy())


def _lay(cloud: _Cloud, others: Sequence[_Cloud]) -> bool:
    """Move a frame onto others; False, and unmoved, where it does not meet them."""
    from scipy.spatial import KDTree

    target, target_normals = (np.concatenate(part) for part in _placed(others))
    tree = KDTree(target)
    first = cloud.pose.copy()
    for step in range(_ROUNDS):
        limit = max(_NEAR_MM, _FAR_MM * (1 - step / (_ROUNDS - 2)))
        points, normals = cloud.placed()
        distance, index = tree.query(points, distance_upper_bound=limit)
        met = np.flatnonzero(np.isfinite(distance))
        goal = np.asarray(index)[met]
        alike = (normals[met] * target_normals[goal]).sum(1) > _ALIKE
        met, goal = met[alike], goal[alike]
        if len(met) < max(_LEAST_POINTS, _LEAST_SHARE * len(points)):
            cloud.pose = first
            return False
        n = target_normals[goal]
        miss = ((target[goal] - points[met]) * n).sum(1)
        weight = 1 / (1 + (miss / _ROBUST_MM) ** 2)
        # About the middle of what is moved a turn and a shift are hardly coupled.
        middle = points[met].mean(0)
        rows = np.column_stack([np.cross(points[met] - middle, n), n])
        normal = rows.T @ (weight[:, None] * rows)
        normal += np.diag(1e-6 * np.maximum(normal.diagonal(), 1e-9))
        change = np.linalg.solve(normal, rows.T @ (weight * miss))
        turn = matrix_from_rotation_vector(change[:3])
        motion = np.eye(4)
        motion[:3, :3], motion[:3, 3] = turn, change[3:] + middle - turn @ middle
        cloud.pose = motion @ cloud.pose
        if np.abs(change * (100, 100, 100, 1, 1, 1)).max() < 5e-3 and limit == _NEAR_MM:
            break
    return True


def _placed(clouds: Sequence[_Cloud]) -> tuple[list[np.ndarray], list[np.ndarray]]:
    both = [cloud.placed() for cloud in clouds]
    return [points for points, _ in both], [normals for _, normals in both]


def _misses(clouds: Sequence[_Cloud], numbers: Sequence[int]) -> float:
    """Median distance of each frame's points from the others', where they meet, mm."""
    from scipy.spatial import KDTree

    if len(numbers) < 2:
        return float("nan")
    found = []
    for i in numbers:
        others = [clouds[j] for j in numbers if j != i]
        target, normals = (np.concatenate(part) for part in _placed(others))
        points = clouds[i].placed()[0]
        distance, index = KDTree(target).query(points, distance_upper_bound=_FAR_MM)
        met = np.isfinite(distance)
        goal = np.asarray(index)[met]
        found.append(np.abs(((target[goal] - points[met]) * normals[goal]).sum(1)))
    together = np.concatenate(found)
    return float(np.median(together)) if len(together) else float("nan")


def _angle(a: Float64[np.ndarray, "4 4"], b: Float64[np.ndarray, "4 4"]) -> float:
    """Between two views, radians."""
    cosine = (np.trace(a[:3, :3].T @ b[:3, :3]) - 1) / 2
    return float(np.arccos(np.clip(cosine, -1, 1)))
