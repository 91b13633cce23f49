"""Compiled steps of the photometric alignment; imported where they are first needed."""

from __future__ import annotations

import math
from typing import no_type_check

import numpy as np
from numba import njit

from ._fit_kernels import rotation

# Cosines from which a point counts at all, and fully; in between as their square: it lies close to
# the outline, where the background shines into its grey level.
_FACING, _FACING_WELL = 0.25, 0.6
_MARGIN = 2.0  # px, from the crop's edge
_LEAST_POINTS = 40
_COARSE = 160  # points of the first steps: the first of all points are spread over the face too
_COARSE_STEPS, _STEPS = 4, 8
_HUBER = 1.5  # times the median residual
_LEAST_SPREAD = 0.05  # of the residuals, squared grey levels: they are rounded
# What a step is held back by where the picture says nothing: turns of 0.5 rad, shifts of 0.2 of the
# distance, a zoom by a half.
_HOLD = np.array([0.5, 0.5, 0.5, 0.2, 0.2, 0.5]) ** -2
# Of all numbers of a step (rad, and shares of the distance): after which all points count, and
# after which the last step is done.
_NEAR, _CLOSE = 6e-3, 1e-3


@njit(cache=True, error_model="numpy")
@no_type_check
def soften(crop_bgr, out):
    """Grey levels (B + 2 G + R) / 4 under the binomial mask 1 4 6 4 1 along both axes.

    Whole numbers, so that the compiler can do many at once. The outermost two pixels are zero.
    """
    rows, columns = crop_bgr.shape[0], crop_bgr.shape[1]
    across = np.empty((rows, columns), np.int32)
    grey = np.empty(columns, np.int32)
    for y in range(rows):
        line, row = crop_bgr[y].reshape(-1), across[y]
        for x in range(columns):
            grey[x] = line[3 * x] + 2 * np.int32(line[3 * x + 1]) + line[3 * x + 2]
        for x in range(2, columns - 2):
            row[x] = grey[x - 2] + grey[x + 2] + 4 * (grey[x - 1] + grey[x + 1]) + 6 * grey[x]
    out[:] = 0.0
    for y in range(2, rows - 2):
        a, b, c, d, e = across[y - 2], across[y - 1], across[y], across[y + 1], across[y + 2]
        row = out[y]
        for x in range(2, columns - 2):
            row[x] = np.float32(a[x] + e[x] + 4 * (b[x] + d[x]) + 6 * c[x]) * np.float32(
                1.0 / 1024.0
            )


@njit(cache=True, error_model="numpy")
@no_type_check
def align(
    before, before_crop, now, now_crop, points, normals, quat, translation, old_quat,
    old_translation, new_quat, new_translation, camera, out,
):  # fmt: skip
    """See :func:`.displacement.Alignment.displacement`; False where too little is seen.

    Args:
        before, now: (S, S) float32, softened grey levels of the two crops.
        before_crop, now_crop: (cx, cy, side) of these in their pictures, px.
        points, normals: (K, 3) float64 on the head, model frame, mm; spread so that the first of
            them lie all over the face too.
        quat, translation: the pose then, model to camera, mm.
        old_quat, old_translation, new_quat, new_translation: two poses whose difference is where
            the search begins.
        camera: (fx, fy, cx, cy), px.
        out: (12,) float64, takes up the displacement (rotation vector in the camera frame, rad;
            x/z, y/z, log z) and its variance.
    """
    count = points.shape[0]
    R, t = rotation(quat), translation
    seen, grey = np.empty((count, 4)), np.empty(count)
    kept = _remembered(before, before_crop, points, normals, R, t, camera, seen, grey)
    if kept < _LEAST_POINTS:
        return False
    step, view = np.empty(3), np.empty(3)
    _difference(rotation(new_quat), rotation(old_quat), step)
    turn = R.copy()
    _turn_by(turn, step)
    new, old = new_translation, old_translation
    view[0] = t[0] / t[2] + new[0] / new[2] - old[0] / old[2]
    view[1] = t[1] / t[2] + new[1] / new[2] - old[1] / old[2]
    view[2] = math.log(t[2] * new[2] / old[2])
    # A row a point: slopes by the six numbers, grey then and now, residual, its size, its weight.
    J, grey_of = np.empty((kept, 6)), np.empty((5, kept))
    H, g, d = np.empty((6, 6)), np.empty(6), np.empty(6)
    spread, limit = 1.0, 1.0
    coarse = kept > 2 * _COARSE
    for number in range(_STEPS):
        first = _COARSE if coarse else kept
        used = _look(now, now_crop, seen, grey, first, turn, view, camera, J, grey_of)
        if used < _LEAST_POINTS:
            return False
        _light(grey_of, used)
        if coarse or number == 0:
            limit = _HUBER * np.median(grey_of[3, :used]) + 1e-3
        spread = _normal_equations(J, grey_of, used, limit, H, g)
        if not _factorise(H):
            return False
        _solve(H, g, d)
        _turn_by(turn, d)
        largest = 0.0
        for k in range(3):
            view[k] += d[3 + k]
            largest = max(largest, abs(d[k]), abs(d[3 + k]))
        if coarse:
            coarse = number < _COARSE_STEPS - 1 and largest > _NEAR
        elif largest < _CLOSE:
            break
    return _told(turn, view, R, t, H, spread, out)


@njit(cache=True, error_model="numpy")
@no_type_check
def _project(x, y, z, camera, crop, size):
    """Whether a point of the camera frame lies well within a crop, and where in it, px."""
    fx, fy, cx, cy = camera
    middle, zoom = 0.5 * (size - 1), size / crop[2]
    u = (fx * x / z + cx - crop[0]) * zoom + middle
    v = (fy * y / z + cy - crop[1]) * zoom + middle
    edge = size - 1 - _MARGIN
    return _MARGIN <= u < edge and _MARGIN <= v < edge, u, v


@njit(cache=True, error_model="numpy")
@no_type_check
def _remembered(before, crop, points, normals, R, t, camera, seen, grey):
    """Points that faced the camera within the crop, with weights, and how grey they were.

    Returns how many.
    """
    size = before.shape[0]
    kept = 0
    for i in range(points.shape[0]):
        x, y, z = t[0], t[1], t[2]
        nx, ny, nz = 0.0, 0.0, 0.0
        for b in range(3):
            p, n = points[i, b], normals[i, b]
            x, y, z = x + R[0, b] * p, y + R[1, b] * p, z + R[2, b] * p
            nx, ny, nz = nx + R[0, b] * n, ny + R[1, b] * n, nz + R[2, b] * n
        facing = -(nx * x + ny * y + nz * z) / math.sqrt(x * x + y * y + z * z)
        if not facing > _FACING:
            continue
        inside, u, v = _project(x, y, z, camera, crop, size)
        if not inside:
            continue
        iu, iv = int(u), int(v)
        du, dv = u - iu, v - iv
        upper = (1.0 - du) * before[iv, iu] + du * before[iv, iu + 1]
        lower = (1.0 - du) * before[iv + 1, iu] + du * before[iv + 1, iu + 1]
        grey[kept] = (1.0 - dv) * upper + dv * lower
        for b in range(3):
            seen[kept, b] = points[i, b]
        seen[kept, 3] = min(1.0, facing / _FACING_WELL) ** 2
        kept += 1
    return kept


@njit(cache=True, error_model="numpy")
@no_type_check
def _look(now, crop, seen, grey, first, turn, view, camera, J, grey_of):
    """The ``first`` points under a pose: slopes, and grey levels then and now; returns how many.

    0 where one lies behind the camera.
    """
    size = now.shape[0]
    across, down = camera[0] * size / crop[2], camera[1] * size / crop[2]
    tz = math.exp(view[2])
    tx, ty = view[0] * tz, view[1] * tz
    used = 0
    for i in range(first):
        rx, ry, rz = 0.0, 0.0, 0.0
        for b in range(3):
            p = seen[i, b]
            rx, ry, rz = rx + turn[0, b] * p, ry + turn[1, b] * p, rz + turn[2, b] * p
        x, y, z = rx + tx, ry + ty, rz + tz
        if z <= 1.0:
            return 0
        inside, u, v = _project(x, y, z, camera, crop, size)
        if not inside:
            continue
        iu, iv = int(u), int(v)
        du, dv = u - iu, v - iv
        p00, p01 = now[iv, iu], now[iv, iu + 1]
        p10, p11 = now[iv + 1, iu], now[iv + 1, iu + 1]
        upper, lower = p00 + du * (p01 - p00), p10 + du * (p11 - p10)
        grey_of[0, used], grey_of[1, used] = grey[i], upper + dv * (lower - upper)
        grey_of[4, used] = seen[i, 3]
        # Of the picture along x and y, over the depth.
        gx = ((1.0 - dv) * (p01 - p00) + dv * (p11 - p10)) * across / z
        gy = (lower - upper) * down / z
        gz = -(gx * x + gy * y) / z
        J[used, 0] = gz * ry - gy * rz
        J[used, 1] = gx * rz - gz * rx
        J[used, 2] = gy * rx - gx * ry
        J[used, 3] = gx * tz
        J[used, 4] = gy * tz
        J[used, 5] = gx * tx + gy * ty + gz * tz
        used += 1
    return used


@njit(cache=True, error_model="numpy")
@no_type_check
def _light(grey_of, used):
    """Residuals and their sizes, the gain and offset of the light between the pictures fitted."""
    a, c, r, size_of = grey_of[0], grey_of[1], grey_of[2], grey_of[3]
    ma, mc = 0.0, 0.0
    for i in range(used):
        ma, mc = ma + a[i], mc + c[i]
    ma, mc = ma / used, mc / used
    aa, ac = 1e-9, 0.0
    for i in range(used):
        aa += (a[i] - ma) ** 2
        ac += (a[i] - ma) * (c[i] - mc)
    gain = ac / aa
    for i in range(used):
        r[i] = gain * (a[i] - ma) + mc - c[i]
        size_of[i] = abs(r[i])


@njit(cache=True, error_model="numpy")
@no_type_check
def _normal_equations(J, grey_of, used, limit, H, g):
    """``H`` (its lower half) and ``g`` under Huber's weights; returns the residuals' variance."""
    r, size_of, weight = grey_of[2], grey_of[3], grey_of[4]
    total, squares = 0.0, 0.0
    H[:], g[:] = 0.0, 0.0
    for i in range(used):
        w = weight[i] if size_of[i] <= limit else weight[i] * limit / size_of[i]
        total += w
        squares += w * r[i] * r[i]
        for k in range(6):
            wk = w * J[i, k]
            g[k] += wk * r[i]
            for m in range(k + 1):
                H[k, m] += wk * J[i, m]
    spread = max(squares / max(total - 8.0, 1.0), _LEAST_SPREAD)
    for k in range(6):
        H[k, k] += _HOLD[k] * spread
    return spread


@njit(cache=True, error_model="numpy")
@no_type_check
def _told(turn, view, R, t, factor, spread, out):
    """Displacement and its variance, the residuals' times the diagonal of ``H^-1``."""
    _difference(turn, R, out)
    out[3] = view[0] - t[0] / t[2]
    out[4] = view[1] - t[1] / t[2]
    out[5] = view[2] - math.log(t[2])
    unit, column = np.empty(6), np.empty(6)
    for k in range(6):
        unit[:] = 0.0
        unit[k] = 1.0
        _solve(factor, unit, column)
        out[6 + k] = column[k] * spread
    good = True
    for k in range(12):
        good = good and math.isfinite(out[k])
    return good


@njit(cache=True, error_model="numpy")
@no_type_check
def _factorise(H):
    """Cholesky, in place of the lower half; False where the matrix is not positive."""
    for k in range(6):
        for m in range(k + 1):
            total = H[k, m]
            for j in range(m):
                total -= H[k, j] * H[m, j]
            if k == m:
                if not total > 0.0:
                    return False
                H[k, k] = math.sqrt(total)
            else:
                H[k, m] = total / H[m, m]
    return True


@njit(cache=True, error_model="numpy")
@no_type_check
def _solve(factor, right, solution):
    """``L L^T solution = right``."""
    for k in range(6):
        total = right[k]
        for m in range(k):
            total -= factor[k, m] * solution[m]
        solution[k] = total / factor[k, k]
    for k in range(5, -1, -1):
        total = solution[k]
        for m in range(k + 1, 6):
            total -= factor[m, k] * solution[m]
        solution[k] = total / factor[k, k]


@njit(cache=True, error_model="numpy")
@no_type_check
def _turn_by(R, d):
    """``R = exp(d) R``, in place (Rodrigues' formula)."""
    angle = math.sqrt(d[0] * d[0] + d[1] * d[1] + d[2] * d[2])
    sine = 1.0 if angle < 1e-8 else math.sin(angle) / angle
    half = 0.5 if angle < 1e-4 else (1.0 - math.cos(angle)) / (angle * angle)
    for b in range(3):
        x, y, z = R[0, b], R[1, b], R[2, b]
        cx, cy, cz = d[1] * z - d[2] * y, d[2] * x - d[0] * z, d[0] * y - d[1] * x
        R[0, b] = x + sine * cx + half * (d[1] * cz - d[2] * cy)
        R[1, b] = y + sine * cy + half * (d[2] * cx - d[0] * cz)
        R[2, b] = z + sine * cz + half * (d[0] * cy - d[1] * cx)


@njit(cache=True, error_model="numpy")
@no_type_check
def _difference(A, B, out):
    """Rotation vector of ``A B^T``, into the first three of ``out``."""
    D = np.zeros((3, 3))
    for i in range(3):
        for j in range(3):
            for k in range(3):
                D[i, j] += A[i, k] * B[j, k]
    x, y, z = 0.5 * (D[2, 1] - D[1, 2]), 0.5 * (D[0, 2] - D[2, 0]), 0.5 * (D[1, 0] - D[0, 1])
    sine = math.sqrt(x * x + y * y + z * z)
    cosine = 0.5 * (D[0, 0] + D[1, 1] + D[2, 2] - 1.0)
    factor = 1.0 if sine < 1e-8 else math.atan2(sine, cosine) / sine
    out[0], out[1], out[2] = factor * x, factor * y, factor * z
