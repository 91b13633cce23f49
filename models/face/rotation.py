"""Rotations as quaternions (w, x, y, z), matrices, rotation vectors and, for people, angles.

Every function takes and returns float64 arrays with any leading batch axes. Quaternions that come
out are of unit length with w >= 0. A rotation vector has the axis as direction and the angle in
radians as length.

Angles are degrees, and mean what ``R = Rx(-pitch) Ry(yaw) Rz(roll)`` says, with right-handed
rotations about the camera's axes (x right, y down, z forward): yaw > 0 turns the nose to the
picture's left edge, pitch > 0 is up, roll > 0 is clockwise in the picture.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from jaxtyping import Float

from ..errors import InputError

FLIP: Final = np.diag([1.0, -1.0, -1.0])
"""Between OpenCV's axes (y down, z forward) and those of graphics (y up, z backward), either way.

Applied to the head frame, y is up and z comes out of the face.
"""
_SMALL = 1e-7  # below this angle (rad) the series are exact to double precision
_GIMBAL = 1e-9  # |cos yaw| below which pitch and roll turn about one axis


def _components(quat_wxyz: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """w, x, y, z as float64 arrays (views where possible)."""
    quat = np.asarray(quat_wxyz, dtype=np.float64)
    return quat[..., 0], quat[..., 1], quat[..., 2], quat[..., 3]


def normalize_quaternion(quat_wxyz: Float[np.ndarray, "*B 4"]) -> Float[np.ndarray, "*B 4"]:
    """The unit quaternion of the same rotation that has w >= 0.

    Raises:
        InputError: a quaternion is zero or not finite.
    """
    quat = np.asarray(quat_wxyz, dtype=np.float64)
    length = np.sqrt((quat * quat).sum(axis=-1, keepdims=True))
    if not ((length > 0.0) & (length < np.inf)).all():
        raise InputError("a quaternion is zero or not finite: it states no rotation")
    return quat / np.copysign(length, quat[..., :1])


def quaternion_multiply(
    left_wxyz: Float[np.ndarray, "*#B 4"], right_wxyz: Float[np.ndarray, "*#B 4"]
) -> Float[np.ndarray, "*B 4"]:
    """The rotation ``left`` after ``right`` (as the matrix product ``L @ R``)."""
    lw, lx, ly, lz = _components(left_wxyz)
    rw, rx, ry, rz = _components(right_wxyz)
    w = lw * rw - lx * rx - ly * ry - lz * rz
    product = np.empty((*w.shape, 4))
    product[..., 0] = w
    product[..., 1] = lw * rx + lx * rw + ly * rz - lz * ry
    product[..., 2] = lw * ry - lx * rz + ly * rw + lz * rx
    product[..., 3] = lw * rz + lx * ry - ly * rx + lz * rw
    return normalize_quaternion(product)


def quaternion_conjugate(quat_wxyz: Float[np.ndarray, "*B 4"]) -> Float[np.ndarray, "*B 4"]:
    """The inverse rotation of a unit quaternion."""
    return np.asarray(quat_wxyz, dtype=np.float64) * np.array([1.0, -1.0, -1.0, -1.0])


def matrix_from_quaternion(quat_wxyz: Float[np.ndarray, "*B 4"]) -> Float[np.ndarray, "*B 3 3"]:
    """Rotation matrices of quaternions (normalised first)."""
    w, x, y, z = _components(normalize_quaternion(quat_wxyz))
    R = np.empty((*w.shape, 3, 3))
    xx, yy, zz, xy, xz, yz = x * x, y * y, z * z, x * y, x * z, y * z
    wx, wy, wz = w * x, w * y, w * z
    R[..., 0, 0] = 1.0 - 2.0 * (yy + zz)
    R[..., 0, 1] = 2.0 * (xy - wz)
    R[..., 0, 2] = 2.0 * (xz + wy)
    R[..., 1, 0] = 2.0 * (xy + wz)
    R[..., 1, 1] = 1.0 - 2.0 * (xx + zz)
    R[..., 1, 2] = 2.0 * (yz - wx)
    R[..., 2, 0] = 2.0 * (xz - wy)
    R[..., 2, 1] = 2.0 * (yz + wx)
    R[..., 2, 2] = 1.0 - 2.0 * (xx + yy)
    return R


def quaternion_from_matrix(rotation: Float[np.ndarray, "*B 3 3"]) -> Float[np.ndarray, "*B 4"]:
    """Quaternions of rotation matrices."""
    matrix = np.asarray(rotation, dtype=np.float64)
    trace = np.trace(matrix, axis1=-2, axis2=-1)
    diagonal = np.diagonal(matrix, axis1=-2, axis2=-1)
    # The outer product 4 q q^T: its row with the largest diagonal is the well-conditioned one.
    outer = np.empty((*matrix.shape[:-2], 4, 4))
    outer[..., 0, 0] = 1.0 + trace
    for i in range(3):
        j, k = (i + 1) % 3, (i + 2) % 3
        outer[..., i + 1, i + 1] = 1.0 + 2.0 * diagonal[..., i] - trace
        outer[..., 0, i + 1] = outer[..., i + 1, 0] = matrix[..., k, j] - matrix[..., j, k]
        symmetric = matrix[..., i, j] + matrix[..., j, i]
        outer[..., i + 1, j + 1] = outer[..., j + 1, i + 1] = symmetric
    best = np.argmax(np.diagonal(outer, axis1=-2, axis2=-1), axis=-1)
    return normalize_quaternion(
        np.take_along_axis(outer, best[..., None, None], axis=-2)[..., 0, :]
    )


def quaternion_from_rotation_vector(
    rotation_rad: Float[np.ndarray, "*B 3"],
) -> Float[np.ndarray, "*B 4"]:
    """The exponential map: quaternions of rotation vectors."""
    vector = np.asarray(rotation_rad, dtype=np.float64)
    angle = np.linalg.norm(vector, axis=-1, keepdims=True)
    small = angle < _SMALL
    safe = np.where(small, 1.0, angle)
    factor = np.where(small, 0.5 - angle**2 / 48.0, np.sin(0.5 * safe) / safe)
    return normalize_quaternion(np.concatenate([np.cos(0.5 * angle), factor * vector], axis=-1))


def rotation_vector_from_quaternion(
    quat_wxyz: Float[np.ndarray, "*B 4"],
) -> Float[np.ndarray, "*B 3"]:
    """The logarithm: rotation vectors, of length in [0, pi], of quaternions."""
    quat = normalize_quaternion(quat_wxyz)
    sine = np.linalg.norm(quat[..., 1:], axis=-1, keepdims=True)
    small = sine < _SMALL
    safe = np.where(small, 1.0, sine)
    angle = 2.0 * np.arctan2(sine, quat[..., :1])
    return np.where(small, 2.0, angle / safe) * quat[..., 1:]


def matrix_from_rotation_vector(
    rotation_rad: Float[np.ndarray, "*B 3"],
) -> Float[np.ndarray, "*B 3 3"]:
    """The exponential map: rotation matrices of rotation vectors."""
    return matrix_from_quaternion(quaternion_from_rotation_vector(rotation_rad))


def rotation_vector_from_matrix(
    rotation: Float[np.ndarray, "*B 3 3"],
) -> Float[np.ndarray, "*B 3"]:
    """The logarithm: rotation vectors, of length in [0, pi], of rotation matrices."""
    return rotation_vector_from_quaternion(quaternion_from_matrix(rotation))


def rotation_between(
    from_direction: Float[np.ndarray, "*#B 3"], to_direction: Float[np.ndarray, "*#B 3"]
) -> Float[np.ndarray, "*B 3 3"]:
    """The shortest rotation matrix that turns one direction into another, not its opposite."""
    a = np.asarray(from_direction, dtype=np.float64)
    b = np.asarray(to_direction, dtype=np.float64)
    ax, ay, az = np.moveaxis(a / np.linalg.norm(a, axis=-1, keepdims=True), -1, 0)
    bx, by, bz = np.moveaxis(b / np.linalg.norm(b, axis=-1, keepdims=True), -1, 0)
    # Half of the turn: 1 + cosine, and the vector product (np.cross costs 40 microseconds).
    half = [1.0 + ax * bx + ay * by + az * bz]
    half += [ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx]
    return matrix_from_quaternion(np.stack(half, axis=-1))


def angle_between_deg(
    left: Float[np.ndarray, "*#B 3 3"], right: Float[np.ndarray, "*#B 3 3"]
) -> Float[np.ndarray, "*B"]:
    """The angle in degrees, 0 to 180, of the rotation from one matrix to another."""
    relative = np.matmul(np.swapaxes(left, -1, -2), right)
    return np.asarray(np.degrees(np.linalg.norm(rotation_vector_from_matrix(relative), axis=-1)))


def pan_tilt(
    yaw_deg: Float[np.ndarray, "*B"], pitch_deg: Float[np.ndarray, "*B"]
) -> Float[np.ndarray, "*B 2"]:
    """Where the nose points, degrees: about the vertical (pan, sign of yaw), then up (tilt).

    Pitch is turned about the camera's x axis after yaw, so a nose at pan 60 and tilt 30 has a yaw
    of 49 and a pitch of 49. People told to look at markers are labelled by pan and tilt.
    """
    yaw, pitch = np.radians(yaw_deg), np.radians(pitch_deg)
    pan = np.arctan2(np.sin(yaw), np.cos(pitch) * np.cos(yaw))
    tilt = np.arcsin(np.clip(np.sin(pitch) * np.cos(yaw), -1.0, 1.0))
    return np.degrees(np.stack([pan, tilt], axis=-1))


def matrix_from_yaw_pitch_roll(
    yaw_pitch_roll_deg: Float[np.ndarray, "*B 3"],
) -> Float[np.ndarray, "*B 3 3"]:
    """``Rx(-pitch) Ry(yaw) Rz(roll)`` of angles in degrees."""
    yaw, pitch, roll = np.moveaxis(np.radians(np.asarray(yaw_pitch_roll_deg, np.float64)), -1, 0)
    cy, sy = np.cos(yaw), np.sin(yaw)
    cp, sp = np.cos(pitch), np.sin(pitch)
    cr, sr = np.cos(roll), np.sin(roll)
    rows = [
        [cy * cr, -cy * sr, sy],
        [cp * sr - sp * sy * cr, cp * cr + sp * sy * sr, sp * cy],
        [-sp * sr - cp * sy * cr, cp * sy * sr - sp * cr, cp * cy],
    ]
    return np.stack([np.stack(row, axis=-1) for row in rows], axis=-2)


def yaw_pitch_roll_from_matrix(
    rotation: Float[np.ndarray, "*B 3 3"],
) -> Float[np.ndarray, "*B 3"]:
    """Angles in degrees of rotation matrices: yaw and roll in (-180, 180], |pitch| <= 90.

    Of the two solutions the one with |pitch| <= 90 is given, so that yaw runs past 90. Where yaw is
    exactly +-90, only the sum of pitch and roll is determined: pitch is then 0.
    """
    R = np.asarray(rotation, dtype=np.float64)
    sign = np.where(R[..., 2, 2] < 0.0, -1.0, 1.0)
    cos_yaw = np.hypot(R[..., 1, 2], R[..., 2, 2])
    gimbal = cos_yaw < _GIMBAL
    yaw = np.arctan2(R[..., 0, 2], sign * cos_yaw)
    pitch = np.where(gimbal, 0.0, np.arctan2(sign * R[..., 1, 2], sign * R[..., 2, 2]))
    roll = np.where(
        gimbal,
        np.arctan2(R[..., 1, 0], R[..., 1, 1]),
        np.arctan2(-sign * R[..., 0, 1], sign * R[..., 0, 0]),
    )
    return np.degrees(np.stack([yaw, pitch, roll], axis=-1))
