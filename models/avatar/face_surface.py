"""Surfaces of grids, ready to be measured exactly, where :mod:`.figures` estimates."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float, Float16, Float32, UInt8

from ..errors import InputError
from ..mesh.compare import chamfer
from ..mesh.distance import SurfaceDistance
from ..mesh.triangle_mesh import TriangleMesh
from ..scans.box import FaceBox
from ..scans.surface import surface_of_box
from .avatar import Grids
from .figures import colour_psnr, overlap

_DRAWN = 4_000
"""Points drawn from each of two surfaces that are compared."""


class FaceSurface:
    """Where a grid's signed distance is 0.

    Attributes:
        mesh: with colours, head frame, mm; None where the grid holds no surface.
        most_mm: distances are cut off there, and are this where there is no surface.

    Args:
        sdf: signed distance at the centres of cells, mm, negative inside.
        colour: sRGB, red first.
    """

    def __init__(
        self,
        sdf: Float32[np.ndarray, "N N N"] | Float16[np.ndarray, "N N N"],
        colour: UInt8[np.ndarray, "N N N 3"],
    ) -> None:
        self.most_mm = FaceBox(len(sdf)).truncation
        self.mesh: TriangleMesh | None
        try:
            self.mesh = surface_of_box(sdf.astype(np.float32), colour)
        except InputError:
            self.mesh = None

    def distance(self, points: Float32[np.ndarray, "P 3"]) -> Float32[np.ndarray, " P"]:
        """From points of the head frame to the surface, mm."""
        return self._nearest(points)[0]

    def footpoints(self, points: Float32[np.ndarray, "P 3"]) -> Float32[np.ndarray, "F 3"]:
        """The surface's nearest points to those that it is near to at all."""
        distance, places = self._nearest(points)
        return places[distance < self.most_mm]

    @cached_property
    def _distance(self) -> SurfaceDistance | None:
        return None if self.mesh is None else SurfaceDistance(self.mesh)

    def _nearest(
        self, points: Float32[np.ndarray, "P 3"]
    ) -> tuple[Float32[np.ndarray, " P"], Float32[np.ndarray, "P 3"]]:
        if self._distance is None:
            return np.full(len(points), self.most_mm, np.float32), points
        distance, _, places = self._distance.nearest(points, self.most_mm)
        return np.minimum(distance, np.float32(self.most_mm)), places


def faces_of(grids: Grids) -> list[FaceSurface]:
    """The surface of each grid."""
    pairs = zip(grids.sdf, grids.colour, strict=True)
    return [FaceSurface(sdf, colour) for sdf, colour in pairs]


def mean_distance(face: FaceSurface, points: Float32[np.ndarray, "P 3"]) -> float:
    """Mean distance of points from a surface, mm; NaN without points."""
    return float(face.distance(points).mean(dtype=np.float64)) if len(points) else float("nan")


def mean_distances(
    faces: Sequence[FaceSurface], places: Sequence[Float32[np.ndarray, "_ 3"]]
) -> float:
    """:func:`mean_distance` of each face from its own places, mean over the faces that have any."""
    found = [mean_distance(f, points) for f, points in zip(faces, places, strict=True)]
    known = [value for value in found if np.isfinite(value)]
    return float(np.mean(known)) if known else float("nan")


def drift(face: FaceSurface, before: FaceSurface, points: Float32[np.ndarray, "P 3"]) -> float:
    """How far one surface lies from another around some places, mm; NaN where there are none.

    Args:
        face: a generated one.
        before: of the same person, say of what went in.
        points: places near ``before``: its nearest points to them are measured.
    """
    return mean_distance(face, before.footpoints(points))


def reconstruction_figures(
    grids: Grids,
    true_sdf: Float[np.ndarray, "F N N N"],
    true_colour: UInt8[np.ndarray, "F N N N 3"],
) -> dict[str, float]:
    """How well grids agree with the truth, mean over them.

    Args:
        grids: F of them.
        true_sdf: mm.
        true_colour: sRGB.

    Returns:
        ``colour_db`` near the surface; ``iou`` of the insides; ``to_truth_mm``: mean distance of
        the decoded surface from the true grid's, ``from_truth_mm`` the other way, ``chamfer_mm``
        their mean; ``normal_deg``: mean angle between their normals.
    """
    box = FaceBox(true_sdf.shape[-1])
    low, high = (box.first + box.edges / 2).astype(float), (box.last - box.edges / 2).astype(float)
    rows = []
    for ours, sdf, colour in zip(faces_of(grids), true_sdf, true_colour, strict=True):
        truth = FaceSurface(sdf.astype(np.float32), colour)
        if ours.mesh is None or truth.mesh is None:
            rows.append((ours.most_mm, ours.most_mm, ours.most_mm, float("nan")))
            continue
        found = chamfer(ours.mesh, truth.mesh, _DRAWN, within=(low, high))
        there, back = found.point_to_surface_ab, found.point_to_surface_ba
        rows.append((there, back, found.chamfer, found.normal_error_deg))
    names = ("to_truth_mm", "from_truth_mm", "chamfer_mm", "normal_deg")
    means = np.array(rows, np.float64).mean(axis=0)
    return {
        "colour_db": colour_psnr(grids.colour, true_colour, true_sdf),
        "iou": overlap(grids.sdf, true_sdf),
        **{name: float(value) for name, value in zip(names, means, strict=True)},
    }


def unseen_at(
    seen: UInt8[np.ndarray, "N N N"], points: Float32[np.ndarray, "P 3"]
) -> Bool[np.ndarray, " P"]:
    """Which places of the head frame lie in cells that a scan did not observe.

    Args:
        seen: weight of observation, 0 where nothing was seen.
        points: in the box, mm.
    """
    place = np.rint(FaceBox(len(seen)).index_from_mm(points)).astype(np.int64)
    i, j, k = np.clip(place, 0, len(seen) - 1).T
    return seen[i, j, k] == 0
