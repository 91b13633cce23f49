"""Mirroring a labelled picture: what each label becomes when left and right are swapped."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Int64

from ..errors import InputError
from ..face.morphable import FaceModel
from ..face.names import BLENDSHAPE_MIRROR, N_LANDMARKS

_FLIP = np.array([-1.0, 1.0, 1.0], dtype=np.float32)


@dataclass(frozen=True)
class Mirror:
    """Linear maps of the labels under ``x -> size - 1 - x``.

    The principal components of a symmetric mesh are not symmetric themselves: a mirrored face is a
    mixture of them, found once by least squares (a residual near 2 % of their size).

    Attributes:
        shape: (40, 40) mirrored shape = ``shape @ a``.
        expression: (10, 10) likewise.
        points: (K,) index of each point's partner, or -1 where the labelled points lack it.
    """

    shape: Float32[np.ndarray, "40 40"]
    expression: Float32[np.ndarray, "10 10"]
    points: Int64[np.ndarray, " K"]

    @classmethod
    def of(cls, model: FaceModel, point_vertices: tuple[int, ...], limit_mm: float = 1.0) -> Mirror:
        """Find the maps from the face model's own symmetry.

        Args:
            model: a face model of symmetric topology.
            point_vertices: vertex behind each labelled point.
            limit_mm: how far a vertex may lie from the mirror image of its partner.

        Raises:
            InputError: the mesh has no such symmetry, or the points are another mesh's.
        """
        foreign = InputError(
            "the labelled points are not this face model's: give the one that the pictures were "
            "rendered with"
        )
        if not 0 <= min(point_vertices) <= max(point_vertices) < len(model.mean):
            raise foreign
        partner = _partners(model.mean, limit_mm)
        index = {vertex: k for k, vertex in enumerate(point_vertices)}
        points = [index.get(int(partner[vertex]), -1) for vertex in point_vertices]
        if min(points[:N_LANDMARKS]) < 0:
            raise foreign
        return cls(
            shape=_basis_map(model.shape_basis, partner),
            expression=_basis_map(model.expression_basis, partner),
            points=np.array(points, dtype=np.int64),
        )

    def mirrored_points(
        self, points: Float32[np.ndarray, "K 2"], size: int
    ) -> Float32[np.ndarray, "K 2"]:
        """Points of the mirrored picture, NaN where the partner was not labelled."""
        mirrored = points[self.points]
        mirrored[:, 0] = (size - 1) - mirrored[:, 0]
        mirrored[self.points < 0] = np.nan
        return mirrored


def mirrored_pose(pose: Float32[np.ndarray, "3 4"], size: int) -> Float32[np.ndarray, "3 4"]:
    """Scaled orthography of the mirrored head in the mirrored picture; stays a rotation."""
    mirrored = pose.copy()
    mirrored[:, 0] *= -1
    mirrored[0] *= -1
    mirrored[0, 3] += size - 1
    return mirrored


def mirrored_blendshapes(values: Float32[np.ndarray, " 52"]) -> Float32[np.ndarray, " 52"]:
    """Blendshapes with the subject's left and right swapped."""
    return values[list(BLENDSHAPE_MIRROR)]


def _partners(mean: Float32[np.ndarray, "N 3"], limit_mm: float) -> Int64[np.ndarray, " N"]:
    """Vertex nearest to the mirror image of each vertex."""
    image = mean * _FLIP
    partner = np.empty(len(mean), dtype=np.int64)
    worst = 0.0
    for start in range(0, len(mean), 512):
        block = image[start : start + 512]
        squared = ((block[:, None] - mean[None]) ** 2).sum(-1)
        partner[start : start + 512] = squared.argmin(1)
        worst = max(worst, float(np.sqrt(squared.min(1).max())))
    if worst > limit_mm:
        raise InputError(
            f"the face model is not symmetric: a vertex lies {worst:.1f} mm from its mirror image, "
            f"{limit_mm:g} mm would do"
        )
    if not np.array_equal(partner[partner], np.arange(len(mean))):
        raise InputError(
            f"the face model is not symmetric: vertices lie up to {worst:.1f} mm from their mirror "
            "images, and two have the same one; a model of more identities is more symmetric"
        )
    return partner


def _basis_map(
    basis: Float32[np.ndarray, "C N 3"], partner: Int64[np.ndarray, " N"]
) -> Float32[np.ndarray, "C C"]:
    rows = basis.reshape(len(basis), -1)
    mirrored = (basis * _FLIP)[:, partner].reshape(len(basis), -1)
    solution = np.linalg.lstsq(rows.T.astype(np.float64), mirrored.T, rcond=None)[0]
    return np.ascontiguousarray(solution.T, dtype=np.float32)
