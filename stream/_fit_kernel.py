"""Compiled geometry of a face: decoding, orthography, pose; imported where it is first needed.

One call does what a frame needs, for calls cost more than the sums in them. Linear models come as
(mean, shape basis, second basis), float32, flattened over points and axes; the second is that of
the blendshapes or of the expression components. The first 68 points are the landmarks, the others
stand for the mesh, with weights that sum to 1.
"""

from __future__ import annotations

from typing import no_type_check

import numpy as np
from jaxtyping import Float32, Float64
from numba import njit

from ..models.face._perspective_kernels import fit_orthography, invert_orthography

LANDMARKS = 68
LEAST_SCALE = 1e-6  # px per mm, below which a matrix shows no face


@njit(cache=True)
@no_type_check
def decode(
    mean: Float32[np.ndarray, " K3"],
    shape_basis: Float32[np.ndarray, "S K3"],
    second_basis: Float32[np.ndarray, "E K3"],
    shape: Float64[np.ndarray, " S"],
    second: Float64[np.ndarray, " E"],
) -> Float64[np.ndarray, "K 3"]:
    """Points in the head frame, mm."""
    flat = mean + np.dot(shape.astype(np.float32), shape_basis)
    flat += np.dot(second.astype(np.float32), second_basis)
    return flat.astype(np.float64).reshape(-1, 3)


@njit(cache=True)
@no_type_check
def nearest_scaled_rotation(
    matrix: Float64[np.ndarray, "3 3"],
) -> tuple[Float64[np.ndarray, "3 3"], float]:
    """The rotation nearest to a matrix, and its scale."""
    left, singular, right = np.linalg.svd(matrix)
    R = left @ right
    if np.linalg.det(R) < 0.0:  # a reflection
        left[:, 2] *= -1.0
        singular[2] *= -1.0
        R = left @ right
    return R, singular.sum() / 3.0


@njit(cache=True)
@no_type_check
def apply(
    orthography: Float64[np.ndarray, "3 4"], points: Float64[np.ndarray, "N 3"]
) -> Float64[np.ndarray, "N 2"]:
    """Pixels of points under a scaled orthography."""
    pixels = np.empty((points.shape[0], 2))
    for i in range(points.shape[0]):
        for a in range(2):
            pixels[i, a] = orthography[a, 3]
            for b in range(3):
                pixels[i, a] += orthography[a, b] * points[i, b]
    return pixels


@njit(cache=True)
@no_type_check
def read_matrix(
    matrix: Float64[np.ndarray, "3 4"],
    points: Float64[np.ndarray, "K 3"],
    weights: Float64[np.ndarray, " N"],
) -> tuple[Float64[np.ndarray, "3 4"], Float64[np.ndarray, "68 2"], float]:
    """What a network's matrix says of a face whose points are decoded.

    Returns:
        The nearest scaled rotation, which puts the mean of the mesh where the matrix does; the
        landmarks under the matrix as it is, crop px; the scale, not above LEAST_SCALE where the
        matrix shows no face.
    """
    R, scale = nearest_scaled_rotation(np.ascontiguousarray(matrix[:, :3]))
    orthography = np.zeros((3, 4))
    orthography[:, :3] = scale * R
    mean = weights @ points[LANDMARKS:]
    for a in range(2):
        orthography[a, 3] = matrix[a, 3]
        for b in range(3):
            orthography[a, 3] += (matrix[a, b] - orthography[a, b]) * mean[b]
    return orthography, apply(matrix, points[:LANDMARKS]), scale


@njit(cache=True)
@no_type_check
def fit_pose(
    orthography: Float64[np.ndarray, "3 4"],
    seen_points: Float64[np.ndarray, "K 3"],
    points: Float64[np.ndarray, "K 3"],
    same: bool,
    weights: Float64[np.ndarray, " N"],
    crop: Float64[np.ndarray, " 3"],
    intrinsics: Float64[np.ndarray, " 4"],
) -> tuple[Float64[np.ndarray, "3 3"], Float64[np.ndarray, " 3"]]:
    """The pose in perspective of a face that a scaled rotation shows; see ``fit_perspective``.

    Args:
        orthography: scaled rotation, crop px per mm.
        seen_points: of the face that it was found for.
        points: of the face that is posed.
        same: whether these are the same points.
        weights: of the mesh's points.
        crop: centre x, y and side over the network's, image px.
        intrinsics: fx, fy, cx, cy, px.

    Returns:
        Rotation and translation (mm) from the head to the camera frame.
    """
    mesh = points[LANDMARKS:]
    if not same:
        pixels = apply(orthography, seen_points[LANDMARKS:])
        orthography = fit_orthography(mesh, pixels, weights)
    rows = np.ascontiguousarray(orthography[:, :3])
    scale = np.sqrt((rows * rows).sum() / 3.0)
    R = rows / scale
    mean = weights @ mesh
    middle = (120 - 1) / 2.0
    target = np.empty(3)
    target[0] = scale * crop[2]
    for a in range(2):
        at = orthography[a, 3] + rows[a, 0] * mean[0] + rows[a, 1] * mean[1] + rows[a, 2] * mean[2]
        target[1 + a] = crop[a] + (at - middle) * crop[2]
    weighted = np.empty((mesh.shape[0], 4))
    weighted[:, :3] = mesh - mean
    weighted[:, 3] = weights
    solution, centre, _ = invert_orthography(R, target, weighted, intrinsics)
    return solution, centre - solution @ mean


@njit(cache=True)
@no_type_check
def place_landmarks(
    points: Float64[np.ndarray, "K 3"],
    weights: Float64[np.ndarray, " N"],
    R: Float64[np.ndarray, "3 3"],
    translation: Float64[np.ndarray, " 3"],
    size: float,
    intrinsics: Float64[np.ndarray, " 4"],
) -> Float64[np.ndarray, "68 2"]:
    """Landmarks in the image, px, under the nearest scaled orthography of a pose."""
    return apply(
        nearest_orthography(points[LANDMARKS:], weights, R, translation, size, intrinsics),
        points[:LANDMARKS],
    )


@njit(cache=True)
@no_type_check
def nearest_orthography(
    mesh: Float64[np.ndarray, "N 3"],
    weights: Float64[np.ndarray, " N"],
    R: Float64[np.ndarray, "3 3"],
    translation: Float64[np.ndarray, " 3"],
    size: float,
    intrinsics: Float64[np.ndarray, " 4"],
) -> Float64[np.ndarray, "3 4"]:
    """The nearest scaled orthography of a pose, image px per mm of the face model.

    Args:
        mesh: its points, mm of the face model.
        weights: of these.
        R: of the pose.
        translation: of the pose, mm.
        size: of this head over the model's.
        intrinsics: fx, fy, cx, cy, px.
    """
    fx, fy, cx, cy = intrinsics
    pixels = np.empty((mesh.shape[0], 2))
    for i in range(mesh.shape[0]):
        x, y, z = translation
        for b in range(3):
            x += R[0, b] * mesh[i, b] * size
            y += R[1, b] * mesh[i, b] * size
            z += R[2, b] * mesh[i, b] * size
        z = max(z, 1.0)
        pixels[i, 0] = fx * x / z + cx
        pixels[i, 1] = fy * y / z + cy
    return fit_orthography(mesh, pixels, weights)


@njit(cache=True)
@no_type_check
def pose_variance(
    orthography: Float64[np.ndarray, "3 4"],
    variance: Float64[np.ndarray, "3 4"],
    R: Float64[np.ndarray, "3 3"],
    px_per_crop_px: float,
    intrinsics: Float64[np.ndarray, " 4"],
) -> Float64[np.ndarray, " 6"]:
    """Variance of rotation (camera frame), direction and log distance from that of the matrix.

    With noise E on the matrix ``s R``, ``N = E R^T / s`` holds the rotation vector in its
    antisymmetric part and the relative scale in its trace; entries of E are independent.
    """
    scale = np.sqrt((orthography[0, :3] ** 2).sum())
    own = orthography[:, :3] / scale
    entries = np.zeros((3, 3))
    for a in range(3):
        for b in range(3):
            for c in range(3):
                entries[a, b] += variance[a, c] * own[b, c] ** 2
    entries /= scale * scale
    about = np.empty(3)
    about[0] = entries[2, 1] + entries[1, 2]
    about[1] = entries[0, 2] + entries[2, 0]
    about[2] = entries[1, 0] + entries[0, 1]
    result = np.zeros(6)
    for a in range(3):
        for b in range(3):
            turn = 0.0  # from the ray's frame to the camera's
            for c in range(3):
                turn += R[a, c] * own[b, c]
            result[a] += turn * turn * about[b] / 4.0
    result[3] = px_per_crop_px**2 * variance[0, 3] / intrinsics[0] ** 2
    result[4] = px_per_crop_px**2 * variance[1, 3] / intrinsics[1] ** 2
    result[5] = (entries[0, 0] + entries[1, 1] + entries[2, 2]) / 9.0
    return result
