"""Between what the network regresses and the true pose: orthography and perspective.

The network states a *scaled orthography*: a 3x4 matrix ``[s R | (u, v, 0)]`` in pixels per mm. What
it means is fixed by :func:`nearest_scaled_orthography`, which makes the labels that it is trained
on. :func:`fit_perspective` is the exact inverse: it finds the pose in the camera frame of which the
true projection has the given matrix as its nearest scaled orthography. PnP on the orthographic
image points would leave the close-up's foreshortening in the pose (degrees at 350 mm, see
``bench/perspective.py``); the inverse leaves nothing.

The matrix depends on the points that it is fitted to, by degrees in a close-up. The labels use all
vertices of the face model; :mod:`~mien.models.face.quadrature` stands in for them at run time.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float, Float64

from ..errors import InputError
from .camera import Camera
from .crop import CROP_SIZE, Crop
from .rotation import matrix_from_quaternion, quaternion_from_matrix, rotation_between

_FORWARD = np.array([0.0, 0.0, 1.0])


@dataclass(frozen=True)
class PerspectivePose:
    """``camera_from_head``: turns and moves points of the head frame into the camera frame.

    Attributes:
        quat_wxyz: (4,) float64 unit quaternion, w >= 0.
        translation_mm: (3,) float64 position of the head's origin in the camera frame, mm.
    """

    quat_wxyz: Float64[np.ndarray, " 4"]
    translation_mm: Float64[np.ndarray, " 3"]

    @cached_property
    def rotation(self) -> Float64[np.ndarray, "3 3"]:
        """The rotation as a matrix."""
        return matrix_from_quaternion(self.quat_wxyz)

    def apply(self, points_head_mm: Float[np.ndarray, "N 3"]) -> Float64[np.ndarray, "N 3"]:
        """Points in the camera frame, mm."""
        return points_head_mm @ self.rotation.T + self.translation_mm


def nearest_scaled_orthography(
    points_head_mm: Float[np.ndarray, "*#B N 3"],
    points_px: Float[np.ndarray, "*#B N 2"],
    weights: Float[np.ndarray, " N"] | None = None,
) -> Float64[np.ndarray, "*B 3 4"]:
    """The scaled rotation nearest to the least-squares affine map from points to their pixels.

    With both centred, ``A`` (2x3) minimises ``|A X - x|^2``; ``s [r1; r2]`` is the scaled pair of
    orthonormal rows nearest to A (its polar factor, and the mean of its singular values); the third
    row is ``s r1 x r2`` with translation 0; the first two translations put the mean point on the
    mean pixel. A similarity of the pixels (as from image to crop) commutes with it.

    Args:
        points_head_mm: the points, mm; not all in one plane.
        points_px: their true projections.
        weights: of the points; equal where not given.

    Returns:
        ``[s R | t]``, pixels per mm and pixels; any leading batch axes.

    Raises:
        InputError: the points lie in one plane, or all on one pixel.
    """
    X = np.asarray(points_head_mm, dtype=np.float64)
    x = np.asarray(points_px, dtype=np.float64)
    w = _shares(weights, X.shape[-2])[:, None]
    mean_X = np.sum(w * X, axis=-2, keepdims=True)
    mean_x = np.sum(w * x, axis=-2, keepdims=True)
    X_T = np.swapaxes(w * (X - mean_X), -1, -2)
    try:
        affine = np.swapaxes(np.linalg.solve(X_T @ (X - mean_X), X_T @ (x - mean_x)), -1, -2)
    except np.linalg.LinAlgError as error:
        raise InputError("scaled orthography: the points lie in one plane") from error
    a, b = affine[..., 0, :], affine[..., 1, :]
    # Polar factor (A A^T)^(-1/2) A of a 2x3 matrix in closed form.
    m00, m01, m11 = np.sum(a * a, -1), np.sum(a * b, -1), np.sum(b * b, -1)
    root = np.sqrt(np.maximum(m00 * m11 - m01 * m01, 0.0))
    twice_scale = np.sqrt(m00 + m11 + 2.0 * root)
    if not np.all(root > 1e-12 * np.maximum(m00 + m11, 1e-30)):
        raise InputError("scaled orthography: the pixels lie on one line or are not finite")
    factor = (1.0 / (2.0 * root))[..., None]  # twice_scale cancels: rows come out times the scale
    row0 = factor * ((m11 + root)[..., None] * a - m01[..., None] * b)
    row1 = factor * ((m00 + root)[..., None] * b - m01[..., None] * a)
    row2 = np.cross(row0, row1) * (2.0 / twice_scale)[..., None]
    matrix = np.zeros((*row0.shape[:-1], 3, 4))
    matrix[..., :3] = np.stack([row0, row1, row2], axis=-2)
    matrix[..., :2, 3] = (
        mean_x[..., 0, :] - np.matmul(matrix[..., :2, :3], np.swapaxes(mean_X, -1, -2))[..., 0]
    )
    return matrix


def quick_orthography(
    points_head_mm: Float64[np.ndarray, "N 3"],
    points_px: Float64[np.ndarray, "N 2"],
    weights: Float64[np.ndarray, " N"],
) -> Float64[np.ndarray, "3 4"]:
    """:func:`nearest_scaled_orthography` of one set of points, compiled and unchecked.

    Args:
        points_head_mm: in no one plane.
        points_px: finite.
        weights: sum to 1.
    """
    from ._perspective_kernels import fit_orthography

    return fit_orthography(points_head_mm, points_px, weights)


def split_orthography(
    orthography: Float[np.ndarray, "3 4"],
) -> tuple[Float64[np.ndarray, "3 3"], float, Float64[np.ndarray, " 2"]]:
    """Rotation, scale (px per mm) and translation (px) nearest to a matrix that a network gave.

    Raises:
        InputError: the matrix is not finite, or has no scale.
    """
    matrix = np.asarray(orthography, dtype=np.float64)
    if not np.all(np.isfinite(matrix)):
        raise InputError("scaled orthography: a value is not finite")
    left, singular, right = np.linalg.svd(matrix[:, :3])
    R = left @ right
    (a, b, c), (d, e, f), (g, h, i) = R.tolist()
    if a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g) < 0.0:  # a reflection
        left[:, 2] *= -1.0
        singular[2] *= -1.0
        R = left @ right
    scale = float(singular.sum()) / 3.0
    if scale <= 1e-6:
        raise InputError(f"scaled orthography: its scale of {scale:.3g} px per mm shows no face")
    return R, scale, matrix[:2, 3]


def orthography_to_image(
    orthography: Float[np.ndarray, "3 4"], crop: Crop
) -> Float64[np.ndarray, "3 4"]:
    """The same scaled orthography in image pixels instead of crop pixels."""
    matrix = np.asarray(orthography, dtype=np.float64) * (crop.side / CROP_SIZE)
    matrix[:2, 3] = crop.to_image(np.asarray(orthography, dtype=np.float64)[:2, 3])
    return matrix


def apply_orthography(
    orthography: Float[np.ndarray, "3 4"], points_head_mm: Float[np.ndarray, "N 3"]
) -> Float64[np.ndarray, "N 2"]:
    """Pixels of points under a scaled orthography."""
    return points_head_mm @ orthography[:2, :3].T.astype(np.float64) + orthography[:2, 3]


def fit_perspective(
    orthography: Float[np.ndarray, "3 4"],
    crop: Crop,
    camera: Camera,
    points_head_mm: Float[np.ndarray, "N 3"],
    weights: Float[np.ndarray, " N"] | None = None,
) -> PerspectivePose:
    """The pose whose true projection has this matrix as its nearest scaled orthography.

    It starts from the matrix turned by the ray through the crop and converges in a few steps.

    Args:
        orthography: the network's matrix in crop pixels per mm (made a scaled rotation first).
        crop: where the 120 px crop lies in the image.
        camera: of the image.
        points_head_mm: this face with its shape and expression, mm: the points that define the
            matrix, for a network trained on mien's labels all vertices or their
            :class:`~mien.models.face.quadrature.Quadrature`.
        weights: of the points; equal where not given.

    Returns:
        ``camera_from_head``.

    Raises:
        InputError: the matrix is not finite, or has no scale.
    """
    from ._perspective_kernels import invert_orthography

    R, scale, translation = split_orthography(orthography)
    points = np.asarray(points_head_mm, dtype=np.float64)
    shares = _shares(weights, len(points))
    mean = shares @ points
    scale_px = scale * crop.side / CROP_SIZE
    centre_px = crop.to_image(translation + scale * (R[:2] @ mean))
    solution, centre, _ = invert_orthography(
        R,
        np.array([scale_px, *centre_px]),
        np.column_stack([points - mean, shares]),
        np.array([camera.fx, camera.fy, camera.cx, camera.cy]),
    )
    return PerspectivePose(quaternion_from_matrix(solution), centre - solution @ mean)


def _shares(weights: Float[np.ndarray, " N"] | None, count: int) -> Float64[np.ndarray, " N"]:
    """Weights that sum to 1."""
    if weights is None:
        return np.full(count, 1.0 / count)
    shares = np.asarray(weights, dtype=np.float64)
    return shares / shares.sum()


def apparent_rotation(
    rotation: Float[np.ndarray, "*#B 3 3"], translation_mm: Float[np.ndarray, "*#B 3"]
) -> Float64[np.ndarray, "*B 3 3"]:
    """``camera_from_head``'s rotation relative to the ray through the head's origin.

    It is what a still picture's crop shows, and what labels such as AFLW2000-3D's mean.
    """
    return rotation_between(translation_mm, _FORWARD) @ np.asarray(rotation, dtype=np.float64)
