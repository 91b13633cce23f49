"""Compiled inner loop of the perspective fit; imported where it is first needed (numba is slow)."""

from __future__ import annotations

from typing import no_type_check

import numpy as np
from jaxtyping import Float64
from numba import njit

NEAREST_MM = 20.0  # nothing nearer to the camera is believed: keeps a wild start from dividing by 0
TOLERANCE = 1e-7  # rad, and relative: far below any measurement
MOST_ITERATIONS = 50  # 4 to 8 are usual


@njit(cache=True, error_model="numpy")
@no_type_check
def turn_to_ray(x: float, y: float) -> Float64[np.ndarray, "3 3"]:
    """The shortest rotation that turns the z axis into the direction (x, y, 1)."""
    length = np.sqrt(x * x + y * y + 1.0)
    a, b, c = x / length, y / length, 1.0 / length
    k = 1.0 / (1.0 + c)
    return np.array(
        [[1.0 - a * a * k, -a * b * k, a], [-a * b * k, 1.0 - b * b * k, b], [-a, -b, c]]
    )


@njit(cache=True, error_model="numpy")
@no_type_check
def product(a, b):
    """Matrix product of small matrices; a BLAS takes longer to call than this takes."""
    c = np.zeros((a.shape[0], b.shape[1]))
    for i in range(a.shape[0]):
        for k in range(a.shape[1]):
            for j in range(b.shape[1]):
                c[i, j] += a[i, k] * b[k, j]
    return c


@njit(cache=True, error_model="numpy")
@no_type_check
def inverse(m):
    """Of a 3x3 matrix, by its cofactors."""
    c = np.empty((3, 3))
    for i in range(3):
        j, k = (i + 1) % 3, (i + 2) % 3
        for a in range(3):
            n, o = (a + 1) % 3, (a + 2) % 3
            c[a, i] = m[j, n] * m[k, o] - m[j, o] * m[k, n]
    determinant = m[0, 0] * c[0, 0] + m[0, 1] * c[1, 0] + m[0, 2] * c[2, 0]
    return c / determinant


@njit(cache=True, error_model="numpy")
@no_type_check
def dot(a, b):
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


@njit(cache=True, error_model="numpy")
@no_type_check
def complete(R):
    """The third row of a rotation from the other two, in place."""
    for i in range(3):
        j, k = (i + 1) % 3, (i + 2) % 3
        R[2, i] = R[0, j] * R[1, k] - R[0, k] * R[1, j]


@njit(cache=True, error_model="numpy")
@no_type_check
def orthonormalise(R):
    """Make the rows of a nearly orthonormal matrix so, in place."""
    length = np.sqrt(dot(R[0], R[0]))
    for a in range(3):
        R[0, a] /= length
    along = dot(R[1], R[0])
    for a in range(3):
        R[1, a] -= along * R[0, a]
    length = np.sqrt(dot(R[1], R[1]))
    for a in range(3):
        R[1, a] /= length
    complete(R)


@njit(cache=True, error_model="numpy")
@no_type_check
def farthest(a, b):
    """The largest difference of two matrices' entries."""
    most = 0.0
    for i in range(a.shape[0]):
        for j in range(a.shape[1]):
            most = max(most, abs(a[i, j] - b[i, j]))
    return most


@njit(cache=True, error_model="numpy")
@no_type_check
def project_moments(
    R: Float64[np.ndarray, "3 3"],
    centre: Float64[np.ndarray, " 3"],
    points_weights: Float64[np.ndarray, "N 4"],
    intrinsics: Float64[np.ndarray, " 4"],
) -> tuple[Float64[np.ndarray, "2 3"], float, float]:
    """Moments ``sum x X^T`` (px mm) of the true projections, and their mean pixel."""
    fx, fy, cx, cy = intrinsics
    sum_u, sum_v = 0.0, 0.0
    moment = np.zeros((2, 3))
    for i in range(points_weights.shape[0]):
        x, y, z = centre
        for a in range(3):
            x += R[0, a] * points_weights[i, a]
            y += R[1, a] * points_weights[i, a]
            z += R[2, a] * points_weights[i, a]
        z = max(z, NEAREST_MM)
        u = points_weights[i, 3] * (fx * x / z + cx)
        v = points_weights[i, 3] * (fy * y / z + cy)
        sum_u += u
        sum_v += v
        for a in range(3):
            moment[0, a] += u * points_weights[i, a]
            moment[1, a] += v * points_weights[i, a]
    return moment, sum_u, sum_v


@njit(cache=True, error_model="numpy")
@no_type_check
def nearest_rotation(
    affine: Float64[np.ndarray, "2 3"],
) -> tuple[Float64[np.ndarray, "3 3"], float]:
    """Polar factor of a 2x3 matrix in closed form, completed to a rotation, and its scale."""
    m00 = dot(affine[0], affine[0])
    m01 = dot(affine[0], affine[1])
    m11 = dot(affine[1], affine[1])
    root = np.sqrt(max(m00 * m11 - m01 * m01, 1e-30))
    twice_scale = np.sqrt(m00 + m11 + 2.0 * root)
    R = np.empty((3, 3))
    for a in range(3):  # whole rows would be arrays of their own, which take longer to make
        R[0, a] = ((m11 + root) * affine[0, a] - m01 * affine[1, a]) / (root * twice_scale)
        R[1, a] = ((m00 + root) * affine[1, a] - m01 * affine[0, a]) / (root * twice_scale)
    complete(R)
    return R, 0.5 * twice_scale


@njit(cache=True, error_model="numpy")
@no_type_check
def invert_orthography(
    target_R: Float64[np.ndarray, "3 3"],
    target_scale_u_v: Float64[np.ndarray, " 3"],
    points_weights: Float64[np.ndarray, "N 4"],
    intrinsics: Float64[np.ndarray, " 4"],
) -> tuple[Float64[np.ndarray, "3 3"], Float64[np.ndarray, " 3"], int]:
    """The pose whose projection of the points has the target as nearest scaled orthography.

    The orthography seen from a pose is very nearly ``B R`` with a rotation B that hangs on the
    line of sight alone, so R is corrected to ``B^-1 target``, the depth by the ratio of scales and
    the centre by its distance in pixels, until nothing moves. It starts from the target turned by
    the ray through the mean point.

    Args:
        target_R: rotation of the orthography.
        target_scale_u_v: its scale, image px per mm, and where it puts the mean point, image px.
        points_weights: each point, mm, centred on their weighted mean, and its weight; these sum
            to 1.
        intrinsics: fx, fy, cx, cy, px.

    Returns:
        Rotation, position of the mean point in the camera frame (mm), iterations used.
    """
    fx, fy, cx, cy = intrinsics
    scale, u, v = target_scale_u_v
    x, y = (u - cx) / fx, (v - cy) / fy
    gram = np.zeros((3, 3))
    for i in range(points_weights.shape[0]):
        for a in range(3):
            weighted = points_weights[i, a] * points_weights[i, 3]
            for b in range(3):
                gram[a, b] += weighted * points_weights[i, b]
    solver = inverse(gram)
    centre = np.array([x, y, 1.0]) * (np.sqrt(fx * fy) / scale)
    R = product(turn_to_ray(x, y), target_R)
    for iteration in range(MOST_ITERATIONS):
        moment, mean_u, mean_v = project_moments(R, centre, points_weights, intrinsics)
        seen_R, seen_scale = nearest_rotation(product(moment, solver))
        new_R = product(R, product(seen_R.T, target_R))
        orthonormalise(new_R)  # products of nearly orthonormal matrices drift
        depth = max(centre[2] * seen_scale / scale, NEAREST_MM)
        du, dv = (u - mean_u) / fx, (v - mean_v) / fy
        moved = max(farthest(new_R, R), abs(depth / centre[2] - 1.0), abs(du), abs(dv))
        R = new_R
        centre = np.array([centre[0] / centre[2] + du, centre[1] / centre[2] + dv, 1.0]) * depth
        if moved < TOLERANCE:
            return R, centre, iteration + 1
    return R, centre, MOST_ITERATIONS


@njit(cache=True, error_model="numpy")
@no_type_check
def fit_orthography(
    points: Float64[np.ndarray, "N 3"],
    pixels: Float64[np.ndarray, "N 2"],
    shares: Float64[np.ndarray, " N"],
) -> Float64[np.ndarray, "3 4"]:
    """One nearest scaled orthography; ``shares`` sum to 1 and the points lie in no plane."""
    mean, mean_px = np.zeros(3), np.zeros(2)
    for i in range(points.shape[0]):
        for a in range(3):
            mean[a] += shares[i] * points[i, a]
        for a in range(2):
            mean_px[a] += shares[i] * pixels[i, a]
    gram = np.zeros((3, 3))
    moment = np.zeros((2, 3))
    for i in range(points.shape[0]):
        for a in range(3):
            weighted = shares[i] * (points[i, a] - mean[a])
            for b in range(3):
                gram[a, b] += weighted * (points[i, b] - mean[b])
            moment[0, a] += weighted * (pixels[i, 0] - mean_px[0])
            moment[1, a] += weighted * (pixels[i, 1] - mean_px[1])
    R, scale = nearest_rotation(product(moment, inverse(gram)))
    result = np.zeros((3, 4))
    result[:, :3] = scale * R
    for a in range(2):
        result[a, 3] = mean_px[a]
        for b in range(3):
            result[a, 3] -= result[a, b] * mean[b]
    return result
