"""Compiled steps of the fit; imported where they are first needed (numba is slow to import)."""

from __future__ import annotations

import math
from typing import no_type_check

import numpy as np
from jaxtyping import Float32, Float64, UInt8
from numba import njit

from ..models.face._perspective_kernels import farthest, fit_orthography, invert_orthography
from ._quality_kernel import conditions

_NEWTON_STEPS = 30  # 4 or 5 are usual
_NEAREST_MM = 1.0


@njit(cache=True, error_model="numpy")
@no_type_check
def decode_into(
    first: int,
    mean: Float32[np.ndarray, "K 3"],
    shape_basis: Float32[np.ndarray, "S K 3"],
    shape: Float64[np.ndarray, " S"],
    other_basis: Float32[np.ndarray, "E K 3"],
    other: Float64[np.ndarray, " E"],
    points: Float64[np.ndarray, "K 3"],
) -> None:
    """Points of a linear model from the ``first`` on, head frame, mm, into a given array."""
    flat = mean.reshape(-1)[3 * first :].copy()
    for k in range(shape.shape[0]):
        weight, row = np.float32(shape[k]), shape_basis[k].reshape(-1)[3 * first :]
        for j in range(flat.shape[0]):
            flat[j] += weight * row[j]
    for k in range(other.shape[0]):
        weight, row = np.float32(other[k]), other_basis[k].reshape(-1)[3 * first :]
        for j in range(flat.shape[0]):
            flat[j] += weight * row[j]
    for i in range(points.shape[0]):
        for a in range(3):
            points[i, a] = flat[3 * i + a]


@njit(cache=True, error_model="numpy")
@no_type_check
def decode(
    first: int,
    mean: Float32[np.ndarray, "K 3"],
    shape_basis: Float32[np.ndarray, "S K 3"],
    shape: Float64[np.ndarray, " S"],
    other_basis: Float32[np.ndarray, "E K 3"],
    other: Float64[np.ndarray, " E"],
) -> Float64[np.ndarray, "K 3"]:
    """As :func:`decode_into`, into a new array."""
    points = np.empty((mean.shape[0] - first, 3))
    decode_into(first, mean, shape_basis, shape, other_basis, other, points)
    return points


@njit(cache=True, error_model="numpy")
@no_type_check
def nearest_rotation(
    matrix: Float64[np.ndarray, "3 3"],
) -> tuple[Float64[np.ndarray, "3 3"], float]:
    """Polar factor and mean singular value (Newton's iteration); a scale of 0 where it has none.

    That is also said of a reflection, whose nearest rotation is not its polar factor.
    """
    size = math.sqrt((matrix * matrix).sum() / 3.0)
    X = matrix / max(size, 1e-300)
    cofactor, following = np.empty((3, 3)), np.empty((3, 3))
    for _ in range(_NEWTON_STEPS):
        for i in range(3):
            j, k = (i + 1) % 3, (i + 2) % 3
            for a in range(3):
                b, c = (a + 1) % 3, (a + 2) % 3
                cofactor[i, a] = X[j, b] * X[k, c] - X[j, c] * X[k, b]
        determinant = X[0, 0] * cofactor[0, 0] + X[0, 1] * cofactor[0, 1] + X[0, 2] * cofactor[0, 2]
        if not determinant > 1e-9:
            return X, 0.0
        for i in range(3):
            for a in range(3):
                following[i, a] = 0.5 * (X[i, a] + cofactor[i, a] / determinant)
        moved = farthest(following, X)
        X, following = following, X
        if moved < 1e-14:
            break
    return X, (X * matrix).sum() / 3.0


@njit(cache=True, error_model="numpy")
@no_type_check
def read(  # noqa: PLR0912 - compiled: a call more is an array more
    params: Float32[np.ndarray, " 62"],
    log_variance: Float32[np.ndarray, " 62"],
    other: Float32[np.ndarray, " E"],
    pixels: UInt8[np.ndarray, "S S 3"],
    crop: tuple[float, float, float],
    mean: Float32[np.ndarray, "P 3"],
    shape_basis: Float32[np.ndarray, "S P 3"],
    other_basis: Float32[np.ndarray, "E P 3"],
    weights: Float64[np.ndarray, " K"],
    points,
    nearest,
    marks,
    box,
    variance,
    quality,
):
    """What the network's numbers mean: points, orthography, landmarks, their box, variances and
    the conditions of the crop.

    ``points`` are the landmarks, then those that stand for the mesh, with these weights. The first
    result says whether the numbers are finite and the matrix has a nearest rotation.
    """
    size = pixels.shape[0]
    matrix = np.empty((3, 4))
    good = True
    for i in range(params.shape[0]):
        good = good and math.isfinite(params[i])
    for i in range(other.shape[0]):
        good = good and math.isfinite(other[i])
    for i in range(12):
        matrix[i // 4, i % 4] = params[i]
    shape = params[12 : 12 + shape_basis.shape[0]].astype(np.float64)
    decode_into(0, mean, shape_basis, shape, other_basis, other, points)
    landmarks = points.shape[0] - weights.shape[0]
    R, scale = nearest_rotation(np.ascontiguousarray(matrix[:, :3]))
    if not good or scale <= 1e-6:
        return False
    for a in range(3):
        for b in range(3):
            nearest[a, b] = scale * R[a, b]
    nearest[2, 3] = 0.0
    # The mean of the face stays where the network put it, not the origin between the eyes.
    middle_mm = np.zeros(3)
    for i in range(weights.shape[0]):
        for a in range(3):
            middle_mm[a] += weights[i] * points[landmarks + i, a]
    for a in range(2):
        nearest[a, 3] = matrix[a, 3]
        for b in range(3):
            nearest[a, 3] += (matrix[a, b] - nearest[a, b]) * middle_mm[b]
    cx, cy, side = crop
    zoom, middle = side / size, 0.5 * (size - 1)
    x0, y0, x1, y1 = np.inf, np.inf, -np.inf, -np.inf
    for i in range(landmarks):
        x, y = matrix[0, 3] - middle, matrix[1, 3] - middle
        for b in range(3):
            x += matrix[0, b] * points[i, b]
            y += matrix[1, b] * points[i, b]
        x, y = cx + x * zoom, cy + y * zoom
        marks[i, 0], marks[i, 1] = x, y
        x0, x1, y0, y1 = min(x0, x), max(x1, x), min(y0, y), max(y1, y)
    for i in range(params.shape[0]):
        variance[i] = math.exp(min(max(np.float64(log_variance[i]), -30.0), 30.0))
    box[0], box[1], box[2], box[3] = x0, y0, x1 - x0, y1 - y0
    seen = conditions(pixels, side, size, R[2, 2])
    for i in range(4):
        quality[i] = seen[i]
    return True


@njit(cache=True, error_model="numpy")
@no_type_check
def quaternion(R: Float64[np.ndarray, "3 3"]) -> Float64[np.ndarray, " 4"]:
    """Of a rotation matrix, w >= 0."""
    outer = np.empty((4, 4))
    trace = R[0, 0] + R[1, 1] + R[2, 2]
    outer[0, 0] = 1.0 + trace
    best = 0
    for i in range(3):
        j, k = (i + 1) % 3, (i + 2) % 3
        outer[i + 1, i + 1] = 1.0 + 2.0 * R[i, i] - trace
        outer[0, i + 1] = outer[i + 1, 0] = R[k, j] - R[j, k]
        outer[i + 1, j + 1] = outer[j + 1, i + 1] = R[i, j] + R[j, i]
    for i in range(1, 4):
        if outer[i, i] > outer[best, best]:
            best = i
    q = outer[best]
    length = math.sqrt(q[0] * q[0] + q[1] * q[1] + q[2] * q[2] + q[3] * q[3])
    return q / math.copysign(length, q[0])


@njit(cache=True, error_model="numpy")
@no_type_check
def rotation(quat: Float64[np.ndarray, " 4"]) -> Float64[np.ndarray, "3 3"]:
    """Matrix of a unit quaternion."""
    w, x, y, z = quat[0], quat[1], quat[2], quat[3]
    return np.array(
        [
            [1.0 - 2.0 * (y * y + z * z), 2.0 * (x * y - w * z), 2.0 * (x * z + w * y)],
            [2.0 * (x * y + w * z), 1.0 - 2.0 * (x * x + z * z), 2.0 * (y * z - w * x)],
            [2.0 * (x * z - w * y), 2.0 * (y * z + w * x), 1.0 - 2.0 * (x * x + y * y)],
        ]
    )


@njit(cache=True, error_model="numpy")
@no_type_check
def stand(  # noqa: PLR0912 - as above
    orthography: Float64[np.ndarray, "3 4"],
    variance: Float64[np.ndarray, "3 4"],
    own: Float64[np.ndarray, "P 3"],
    own_shape: Float64[np.ndarray, " S"],
    shape: Float64[np.ndarray, " S"],
    other: Float64[np.ndarray, " E"],
    mean_face: Float32[np.ndarray, "P 3"],
    shape_basis: Float32[np.ndarray, "S P 3"],
    other_basis: Float32[np.ndarray, "E P 3"],
    weights: Float64[np.ndarray, " K"],
    crop: tuple[float, float, float],
    size: int,
    camera: tuple[float, float, float, float],
    out,
):
    """The pose of a face whose orthography is given for points of its own, and its variance.

    Returns:
        Quaternion, translation (mm), and the variance of rotation (camera frame), direction and log
        distance: with noise E on the matrix ``s R``, ``N = E R^T / s`` holds the rotation vector in
        its antisymmetric part and the relative scale in its trace; entries of E are independent.
    """
    anew = False
    for k in range(shape.shape[0]):
        anew = anew or shape[k] != own_shape[k]
    count = weights.shape[0]
    first = own.shape[0] - count
    stood = own[first:]
    if anew:
        stood = decode(first, mean_face, shape_basis, shape, other_basis, other)
    fitted = orthography
    if anew:
        pixels = np.empty((count, 2))
        for i in range(count):
            for a in range(2):
                pixels[i, a] = orthography[a, 3]
                for b in range(3):
                    pixels[i, a] += orthography[a, b] * own[first + i, b]
        fitted = fit_orthography(stood, pixels, weights)
    scale = math.sqrt(fitted[0, 0] ** 2 + fitted[0, 1] ** 2 + fitted[0, 2] ** 2)
    R = fitted[:, :3] / scale
    mean = np.zeros(3)
    for i in range(count):
        for a in range(3):
            mean[a] += weights[i] * stood[i, a]
    centred = np.empty((count, 4))
    for i in range(count):
        for a in range(3):
            centred[i, a] = stood[i, a] - mean[a]
        centred[i, 3] = weights[i]
    cx, cy, side = crop
    zoom, middle = side / size, 0.5 * (size - 1)
    target = np.empty(3)
    target[0] = scale * zoom
    for a in range(2):
        at = fitted[a, 3] - middle
        for b in range(3):
            at += fitted[a, b] * mean[b]
        target[1 + a] = (cx if a == 0 else cy) + at * zoom
    solution, centre, _ = invert_orthography(R, target, centred, np.array(camera))
    translation = np.empty(3)
    for a in range(3):
        translation[a] = centre[a]
        for b in range(3):
            translation[a] -= solution[a, b] * mean[b]
    quat = quaternion(solution)
    errors = _variance(orthography, variance, solution, zoom, camera)
    for i in range(4):
        out[i] = quat[i]
    for i in range(3):
        out[4 + i] = translation[i]
    for i in range(6):
        out[7 + i] = errors[i]


@njit(cache=True, error_model="numpy")
@no_type_check
def _variance(orthography, variance, pose, zoom, camera):
    scale = math.sqrt(orthography[0, 0] ** 2 + orthography[0, 1] ** 2 + orthography[0, 2] ** 2)
    entries, to_camera = np.zeros((3, 3)), np.zeros((3, 3))
    for a in range(3):
        for b in range(3):
            for c in range(3):
                other = orthography[b, c] / scale
                entries[a, b] += variance[a, c] * other * other / (scale * scale)
                to_camera[a, b] += pose[a, c] * other
    result = np.zeros(6)
    for a in range(3):
        result[a] = 0.25 * (
            to_camera[a, 0] ** 2 * (entries[2, 1] + entries[1, 2])
            + to_camera[a, 1] ** 2 * (entries[0, 2] + entries[2, 0])
            + to_camera[a, 2] ** 2 * (entries[1, 0] + entries[0, 1])
        )
    for a in range(2):
        result[3 + a] = zoom * zoom * variance[a, 3] / (camera[a] * camera[a])
    result[5] = (entries[0, 0] + entries[1, 1] + entries[2, 2]) / 9.0
    return result


@njit(cache=True, error_model="numpy")
@no_type_check
def place(
    quat: Float64[np.ndarray, " 4"],
    translation: Float64[np.ndarray, " 3"],
    head_scale: float,
    shape: Float64[np.ndarray, " S"],
    other: Float64[np.ndarray, " E"],
    mean_face: Float32[np.ndarray, "P 3"],
    shape_basis: Float32[np.ndarray, "S P 3"],
    other_basis: Float32[np.ndarray, "E P 3"],
    weights: Float64[np.ndarray, " K"],
    camera: tuple[float, float, float, float],
    marks,
    orthography_out,
):
    """Landmarks of a posed face in the image, under its nearest scaled orthography, and that."""
    points = decode(0, mean_face, shape_basis, shape, other_basis, other)
    count = weights.shape[0]
    first = points.shape[0] - count
    R = rotation(quat)
    fx, fy, cx, cy = camera
    pixels = np.empty((count, 2))
    for i in range(count):
        x, y, z = translation[0], translation[1], translation[2]
        for b in range(3):
            p = head_scale * points[first + i, b]
            x += R[0, b] * p
            y += R[1, b] * p
            z += R[2, b] * p
        z = max(z, _NEAREST_MM)
        pixels[i, 0], pixels[i, 1] = fx * x / z + cx, fy * y / z + cy
    orthography = fit_orthography(np.ascontiguousarray(points[first:]), pixels, weights)
    for a in range(3):
        for b in range(4):
            orthography_out[a, b] = orthography[a, b]
    for i in range(first):
        for a in range(2):
            marks[i, a] = orthography[a, 3]
            for b in range(3):
                marks[i, a] += orthography[a, b] * points[i, b]


@njit(cache=True, error_model="numpy")
@no_type_check
def angles_of(quat: Float64[np.ndarray, " 4"]) -> tuple[float, float, float]:
    """Yaw, pitch, roll in degrees, as ``models.face.rotation`` has them."""
    R = rotation(quat)
    sign = -1.0 if R[2, 2] < 0.0 else 1.0
    cos_yaw = math.hypot(R[1, 2], R[2, 2])
    yaw = math.atan2(R[0, 2], sign * cos_yaw)
    if cos_yaw < 1e-9:
        pitch, roll = 0.0, math.atan2(R[1, 0], R[1, 1])
    else:
        pitch = math.atan2(sign * R[1, 2], sign * R[2, 2])
        roll = math.atan2(-sign * R[0, 1], sign * R[0, 0])
    return math.degrees(yaw), math.degrees(pitch), math.degrees(roll)
