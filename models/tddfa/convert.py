"""From 3DDFA_V2's conventions to mien's: frames, units, and standardised coefficients.

3DDFA_V2 (Guo et al., ECCV 2020) reads a crop of 120 px as ``V = T3 S + t`` with 62 raw parameters
(``T = [T3 | t]`` row-major, then the coefficients of the face S, micrometres), and places vertex V
at the crop's pixel ``(V_0 - 1, 120 - V_1)``, counted from 0; V_1 points up, V_2 to the camera.

With ``F = diag(1, -1, -1)`` and the sellion ``o`` of the neutral mean face, a point of mien's head
frame is ``X = F (S - o) / 1000`` mm, so that ``S = o + 1000 F X``. Turned down and into the picture
the same pixel is ``F V + (-1, 120, .) = (1000 F T3 F) X + F (T3 o + t) + (-1, 120, .)``: the matrix
is ``1000 F T3 F`` px per mm, the translation ``(T_0 o + t_0 - 1, 120 - T_1 o - t_1)``. Depth has no
origin in an orthography; mien writes 0.

The network's outputs are already ``(a - mean) / std``: with the bases scaled by ``std`` and
``A mean`` added to the mean face, its shape and expression stand as they are.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float64, Int32

from ..errors import InputError
from ..face.crop import CROP_SIZE
from ..face.morphable import FaceModel
from ..face.names import N_PARAMS, N_POSE, N_SHAPE
from .basel import BaselFace, Statistics

_UM_PER_MM = 1000.0
_FLIP = np.array([1.0, -1.0, -1.0])
_BROWS, _BRIDGE, _TIP, _INNER_CORNERS = slice(17, 27), slice(27, 31), 30, [39, 42]
_SHAPE, _EXPRESSION = slice(N_POSE, N_POSE + N_SHAPE), slice(N_POSE + N_SHAPE, N_PARAMS)


def sellion_um(face: BaselFace, statistics: Statistics) -> Float64[np.ndarray, " 3"]:
    """Deepest point of the nose bridge of the neutral mean face, Basel frame, micrometres.

    Sought on the cut of the mesh by the plane through the middle of the bridge, between brows and
    tip of the nose, in front of the inner corners of the eyes (behind which nostrils may lie).

    Raises:
        InputError: the mesh has no surface there.
    """
    neutral = face.mean + np.tensordot(statistics.mean[_SHAPE], face.shape, axes=1)
    marks = neutral[face.landmark_vertices]
    middle = marks[_BRIDGE, 0].mean()
    high, low = marks[_BROWS, 1].mean(), marks[_TIP, 1]
    line = _cut(neutral, face.triangles, middle)
    before = line[:, 2] > marks[_INNER_CORNERS, 2].mean()
    line = line[(line[:, 1] < high) & (line[:, 1] > low) & before]
    if not len(line):
        raise InputError("the face model has no surface between its brows and the tip of its nose")
    return line[np.argmin(line[:, 2])]


def _cut(
    vertices: Float64[np.ndarray, "N 3"], triangles: Int32[np.ndarray, "M 3"], x: float
) -> Float64[np.ndarray, "K 3"]:
    """Where the edges of a mesh cross the plane of this x."""
    edges = np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]])
    start, end = vertices[edges[:, 0]], vertices[edges[:, 1]]
    crossing = (start[:, 0] <= x) != (end[:, 0] <= x)
    start, end = start[crossing], end[crossing]
    share = (x - start[:, 0]) / (end[:, 0] - start[:, 0])
    return start + share[:, None] * (end - start)


def to_face_model(
    face: BaselFace, statistics: Statistics, origin_um: Float64[np.ndarray, " 3"]
) -> FaceModel:
    """The same faces in mien's head frame, mm and standard deviations; no blendshapes, no uv.

    ``mean`` is the face whose coefficients are the statistics' means: neutral in shape, with their
    mean expression.
    """
    to_mm = _FLIP / _UM_PER_MM
    shape = face.shape * statistics.std[_SHAPE, None, None]
    expression = face.expression * statistics.std[_EXPRESSION, None, None]
    mean = (
        face.mean
        + np.tensordot(statistics.mean[_SHAPE], face.shape, axes=1)
        + np.tensordot(statistics.mean[_EXPRESSION], face.expression, axes=1)
    )
    vertices = (mean - origin_um) * to_mm
    return FaceModel(
        mean=vertices.astype(np.float32),
        shape_basis=(shape * to_mm).astype(np.float32),
        expression_basis=(expression * to_mm).astype(np.float32),
        blendshape_basis=np.zeros((0, *vertices.shape), np.float32),
        triangles=_outward(face.triangles, vertices),
        landmark_vertices=face.landmark_vertices,
        uv=np.zeros((0, 2), np.float32),
    )


def _outward(
    triangles: Int32[np.ndarray, "M 3"], vertices: Float64[np.ndarray, "N 3"]
) -> Int32[np.ndarray, "M 3"]:
    """Counter-clockwise seen from outside: a face looks against z on the whole."""
    a, b, c = (vertices[triangles[:, corner]] for corner in range(3))
    into_the_head = float(np.cross(b - a, c - a)[:, 2].sum()) > 0.0
    return np.ascontiguousarray(triangles[:, ::-1]) if into_the_head else triangles


def parameter_map(
    statistics: Statistics, origin_um: Float64[np.ndarray, " 3"]
) -> tuple[Float64[np.ndarray, "62 62"], Float64[np.ndarray, " 62"]]:
    """Matrix and offset that turn the network's output into mien's 62 parameters.

    ``params = matrix @ output + offset``: de-normalised, then as the module says.
    """
    matrix = np.eye(N_PARAMS)
    offset = np.zeros(N_PARAMS)
    pose = np.zeros((N_POSE, N_POSE))
    for row in range(3):
        for column in range(3):
            at = 4 * row + column
            pose[at, at] = _UM_PER_MM * _FLIP[row] * _FLIP[column]
            if row < 2:
                pose[4 * row + 3, at] = _FLIP[row] * origin_um[column]
        if row < 2:
            pose[4 * row + 3, 4 * row + 3] = _FLIP[row]
    matrix[:N_POSE, :N_POSE] = pose * statistics.std[:N_POSE]
    offset[:N_POSE] = pose @ statistics.mean[:N_POSE]
    offset[3] -= 1.0
    offset[7] += CROP_SIZE
    return matrix, offset
