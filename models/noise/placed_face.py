"""A face's mesh where a picture shows it, and how labels follow when head or picture move."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Final

import numpy as np
from jaxtyping import Float, Float32, Float64, Int, Int32

from ..errors import InputError
from ..face.camera import Camera
from ..face.morphable import FaceModel
from ..face.perspective import quick_orthography
from ..render.raster import vertex_normals
from .profiling import HEAD_CENTRE_MM

_RETREAT: Final = 0.02
"""How far samples keep off a silhouette behind which new surface appears, in sizes of the face."""
_NEIGHBOURS: Final = 6
"""Labelled points that say where a vertex between them is."""
_LEAST_POINTS: Final = 12
"""Below so many labelled points a projection with perspective is not determined well."""


@dataclass(frozen=True, eq=False)
class PlacedFace:
    """A mesh and its projection into a picture: what pixels show, and the labels that say so.

    A vertex X (head frame, mm) is seen at ``(P[:2] (X, 1)) / (P[2] (X, 1)) + offset``. A similarity
    of the picture multiplies P from the left, a turn of the head from the right: the two commute,
    and any sequence of both is one of each, exactly.

    Attributes:
        vertices_mm: (N, 3) with shape and expression, head frame.
        triangles: (M, 3) counter-clockwise seen from outside.
        projection: (3, 4) homogeneous; the last row is (0, 0, 0, 1) where it is orthographic.
        offset_px: (N, 2) where the picture shows the vertices, less their projection.
        correction: (4, 4) head-frame map from the pose that is labelled to the one that is fitted
            to the pixels: they differ where the picture's true mesh is not quite this one.
    """

    vertices_mm: Float64[np.ndarray, "N 3"]
    triangles: Int32[np.ndarray, "M 3"]
    projection: Float64[np.ndarray, "3 4"]
    offset_px: Float64[np.ndarray, "N 2"]
    correction: Float64[np.ndarray, "4 4"]

    @classmethod
    def orthographic(
        cls,
        vertices_mm: Float[np.ndarray, "N 3"],
        triangles: Int32[np.ndarray, "M 3"],
        pose: Float[np.ndarray, "3 4"],
    ) -> PlacedFace:
        """A face under a scaled orthography, as a network's fit of a photograph gives it.

        Args:
            vertices_mm: with shape and expression, head frame.
            triangles: of the mesh.
            pose: pixels per mm, of the picture itself (``orthography_to_image`` of a crop's).
        """
        projection = np.zeros((3, 4))
        projection[:2], projection[2, 3] = pose[:2], 1.0
        return cls._corrected(vertices_mm, triangles, projection, None, pose)

    @classmethod
    def perspective(
        cls,
        vertices_mm: Float[np.ndarray, "N 3"],
        triangles: Int32[np.ndarray, "M 3"],
        rotation: Float[np.ndarray, "3 3"],
        translation_mm: Float[np.ndarray, " 3"],
        camera: Camera,
    ) -> PlacedFace:
        """A face before a camera whose intrinsics and pose are known; its pose is the nearest.

        Args:
            vertices_mm: with shape and expression, head frame; all of the face model's, of which
                the labels are made.
            triangles: of the mesh.
            rotation: ``camera_from_head``.
            translation_mm: of the head's origin in the camera frame.
            camera: of the picture.
        """
        placed = np.column_stack([rotation, translation_mm])
        return cls._corrected(vertices_mm, triangles, camera.matrix @ placed, None, None)

    @classmethod
    def _corrected(
        cls,
        vertices_mm: Float[np.ndarray, "N 3"],
        triangles: Int32[np.ndarray, "M 3"],
        projection: Float64[np.ndarray, "3 4"],
        offset_px: Float64[np.ndarray, "N 2"] | None,
        pose: Float[np.ndarray, "3 4"] | None,
    ) -> PlacedFace:
        """With the correction that makes its pose the labelled one, or the fitted one if None."""
        vertices = np.ascontiguousarray(vertices_mm, np.float64)
        offset = np.zeros((len(vertices), 2)) if offset_px is None else offset_px
        face = cls(vertices, triangles, projection, offset, np.eye(4))
        if pose is None:
            return face
        labelled = np.vstack([pose.astype(np.float64), [0.0, 0.0, 0.0, 1.0]])
        fitted = np.vstack([face.pose, [0.0, 0.0, 0.0, 1.0]])
        return replace(face, correction=np.linalg.solve(fitted, labelled))

    @cached_property
    def pixels(self) -> Float64[np.ndarray, "N 2"]:
        """Where the picture shows each vertex, px."""
        seen = self.vertices_mm @ self.projection[:, :3].T + self.projection[:, 3]
        return seen[:, :2] / seen[:, 2:] + self.offset_px

    @cached_property
    def pose(self) -> Float64[np.ndarray, "3 4"]:
        """The label: nearest scaled orthography of the projection, picture px per mm."""
        weights = np.full(len(self.vertices_mm), 1.0 / len(self.vertices_mm))
        fitted = quick_orthography(self.vertices_mm, self.pixels, weights)
        pose = fitted[:, :3] @ self.correction[:3]
        pose[:2, 3] += fitted[:2, 3]
        pose[2, 3] = 0.0  # not to be seen, and 0 by convention
        return pose

    @cached_property
    def depth_mm(self) -> Float64[np.ndarray, " N"]:
        """How far behind the head's origin each vertex lies along the line of sight."""
        axis = self.pose[2, :3]
        return self.vertices_mm @ (axis / np.linalg.norm(axis))

    @cached_property
    def normals(self) -> Float32[np.ndarray, "N 3"]:
        """Unit normals of the vertices, head frame, outwards."""
        return vertex_normals(self.vertices_mm.astype(np.float32), self.triangles)

    @cached_property
    def facing(self) -> Float64[np.ndarray, " N"]:
        """Cosine between normal and line of sight: -1 towards the viewer, 0 on a silhouette."""
        # The centre of projection spans the null space: a point, or a direction at infinity.
        centre = np.linalg.svd(self.projection)[2][3]
        sight = self.vertices_mm * centre[3] - centre[:3]
        sight *= np.sign(sight.mean(0) @ self.pose[2, :3])
        along = np.einsum("nc,nc->n", self.normals, sight)
        return along / np.linalg.norm(sight, axis=1)

    def samples_for(self, after: PlacedFace) -> Float64[np.ndarray, "N 2"]:
        """Where in this picture the surface that ``after`` shows is to be sampled, px.

        The vertices' pixels; where the head turned new surface into view, a little inside of the
        silhouette behind which it was: it shows skin, not the edge and what lies beyond.
        """
        grazing = np.exp(-((self.facing / 0.35) ** 2))
        revealed = np.clip((self.facing - after.facing) / 0.1, 0.0, 1.0)
        outwards = self.normals @ self.pose[:2, :3].T
        outwards /= np.maximum(np.linalg.norm(outwards, axis=1, keepdims=True), 1e-9)
        size = float(np.ptp(self.pixels, axis=0).max())
        return self.pixels - (_RETREAT * size * grazing * revealed)[:, None] * outwards

    def moved(self, affine: Float[np.ndarray, "2 3"]) -> PlacedFace:
        """After a similarity of the picture: pixels x go to ``affine (x, 1)``."""
        whole = np.vstack([affine, [0.0, 0.0, 1.0]])
        return replace(
            self,
            projection=whole @ self.projection,
            offset_px=self.offset_px @ affine[:, :2].T.astype(np.float64),
        )

    def turned(self, turn: Float[np.ndarray, "3 3"]) -> PlacedFace:
        """After the head turned about its centre: ``R_new = R turn``, in the head frame."""
        about = np.eye(4)
        about[:3, :3] = turn
        about[:3, 3] = HEAD_CENTRE_MM - turn @ HEAD_CENTRE_MM
        return replace(self, projection=self.projection @ about)


class LabelledFaces:
    """Makes placed faces of the labels of rendered pictures.

    The labels state the true perspective projections of some vertices, a nearest scaled
    orthography, and a shape that misses what its 40 components cannot say. The projection is
    therefore fitted anew, with perspective, and what it leaves is spread over the mesh as offsets:
    the placed mesh goes through every labelled point.

    Args:
        model: the face model of the labels.
        point_vertices: vertex of each labelled point.
    """

    def __init__(self, model: FaceModel, point_vertices: Sequence[int]) -> None:
        self._model = model
        self._vertices: Int[np.ndarray, " K"] = np.asarray(point_vertices, np.intp)
        mean = model.mean.astype(np.float64)
        between = np.linalg.norm(mean[:, None] - mean[self._vertices][None], axis=2)
        count = min(_NEIGHBOURS, len(self._vertices))
        self._near = np.argpartition(between, count - 1, axis=1)[:, :count]
        # All of the weight is a point's own where a vertex is one.
        self._share = 1.0 / (np.take_along_axis(between, self._near, 1) ** 2 + 1e-9)
        shape = model.shape_basis.reshape(len(model.shape_basis), -1)
        blendshapes = model.blendshape_basis.reshape(len(model.blendshape_basis), -1)
        self._basis = np.concatenate([shape, blendshapes])

    def place(
        self,
        shape: Float[np.ndarray, " 40"],
        blendshapes: Float[np.ndarray, " 52"],
        pose: Float[np.ndarray, "3 4"],
        points_px: Float[np.ndarray, "K 2"] | None = None,
    ) -> PlacedFace:
        """The face that a picture's labels state.

        Args:
            shape: standard deviations.
            blendshapes: in [0, 1].
            pose: nearest scaled orthography, picture px per mm.
            points_px: true projections; NaN where one is not known. None leaves the orthography.
        """
        values = np.concatenate([shape, blendshapes]).astype(np.float32)
        vertices = (self._model.mean.reshape(-1) + values @ self._basis).reshape(-1, 3)
        vertices = vertices.astype(np.float64)
        face = PlacedFace.orthographic(vertices, self._model.triangles, pose)
        if points_px is None:
            return face
        known = np.asarray(np.isfinite(points_px).all(axis=1), bool)
        if known.sum() < _LEAST_POINTS:
            raise InputError(f"labels: {known.sum()} points are known, expected {_LEAST_POINTS}")
        own = vertices[self._vertices]
        target = np.where(known[:, None], points_px, 0.0).astype(np.float64)
        projection = fit_projection(own[known], target[known])
        seen = own @ projection[:, :3].T + projection[:, 3]
        left = np.where(known[:, None], target - seen[:, :2] / seen[:, 2:], 0.0)
        share = self._share * known[self._near]
        # No offset where none of the points nearby is known.
        share /= np.maximum(share.sum(1, keepdims=True), np.finfo(np.float64).tiny)
        offset = np.einsum("nk,nkc->nc", share, left[self._near])
        return PlacedFace._corrected(vertices, self._model.triangles, projection, offset, pose)


def fit_projection(
    points_mm: Float64[np.ndarray, "K 3"], points_px: Float64[np.ndarray, "K 2"]
) -> Float64[np.ndarray, "3 4"]:
    """The perspective projection of points to their pixels, by linear least squares.

    Minimises ``|A (X, 1) - x (1 + p X)|^2`` over A (2x4) and p (3), centred and scaled for
    condition: exact where the pixels are a pinhole camera's, also off its axis.
    """
    middle, mean = points_mm.mean(0), points_px.mean(0)
    X = (points_mm - middle) / 100.0
    size = np.sqrt(((points_px - mean) ** 2).mean()) or 1.0
    x = (points_px - mean) / size
    own = np.column_stack([X, np.ones(len(X))])
    rows = np.zeros((2, len(X), 11))
    rows[0, :, :4] = own
    rows[1, :, 4:8] = own
    rows[:, :, 8:] = -x.T[..., None] * X
    system = rows.reshape(-1, 11)
    solved = np.linalg.solve(system.T @ system, system.T @ x.T.reshape(-1))
    local = np.vstack([solved[:8].reshape(2, 4), [*solved[8:], 1.0]])
    to_head = np.eye(4)
    to_head[:3] = np.column_stack([np.eye(3), -middle]) / 100.0
    to_pixels = np.array([[size, 0.0, mean[0]], [0.0, size, mean[1]], [0.0, 0.0, 1.0]])
    return to_pixels @ local @ to_head
