"""What a row means in space: landmarks and mesh in millimetres, and other programs' axes."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Float32, Float64

from ...models.face.morphable import FaceModel
from ..observation import FaceObservation

_LEFT_EYE, _RIGHT_EYE = (42, 45), (36, 39)


class HeadGeometry:
    """Decodes the faces of rows, as they were seen, in true size.

    Args:
        model: the face model that made the rows.
        ipd_mm: distance between the pupils that the poses were told; it fixes the head's size.
            None: the model's size.
    """

    def __init__(self, model: FaceModel, ipd_mm: float | None = None) -> None:
        self.model = model
        self._ipd_mm = ipd_mm
        self._marks = model.landmarks()

    def scale(self, shape: Float[np.ndarray, " 40"]) -> float:
        """Size of this head over the model's of the same shape."""
        if self._ipd_mm is None:
            return 1.0
        marks = self._marks.decode(shape.astype(np.float32))
        eyes = marks[list(_LEFT_EYE)].mean(axis=0) - marks[list(_RIGHT_EYE)].mean(axis=0)
        return self._ipd_mm / float(np.linalg.norm(eyes))

    def landmarks_mm(self, row: FaceObservation) -> Float64[np.ndarray, "68 3"]:
        """The 68 landmarks in the head frame, mm."""
        marks = self._marks.decode_seen(row.shape, row.expression, row.blendshapes)
        return marks.astype(np.float64) * self.scale(row.shape)

    def vertices_mm(self, row: FaceObservation) -> Float64[np.ndarray, "N 3"]:
        """The mesh in the head frame, mm."""
        mesh = self.model.decode_seen(row.shape, row.expression, row.blendshapes)
        return mesh.astype(np.float64) * self.scale(row.shape)


def vertex_normals(
    vertices: Float[np.ndarray, "N 3"], triangles: np.ndarray
) -> Float32[np.ndarray, "N 3"]:
    """Unit normals, outward, of a mesh whose triangles run counter-clockwise seen from outside."""
    corners = vertices[triangles]
    faces = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normals = np.zeros((len(vertices), 3))
    for corner in range(3):
        np.add.at(normals, triangles[:, corner], faces)
    length = np.linalg.norm(normals, axis=1, keepdims=True)
    return (normals / np.maximum(length, 1e-12)).astype(np.float32)
