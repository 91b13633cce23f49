"""How well a reconstruction agrees with the truth, in the measures of PIFu and PIFuHD."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Final

import numpy as np
from jaxtyping import Bool, Float32

from ..mesh.compare import agreement, deviations, inside_of_cells, overlap
from ..mesh.distance import SurfaceDistance
from ..mesh.orthographic import orthographic_maps
from ..mesh.triangle_mesh import TriangleMesh

SAMPLES: Final = 10_000
"""Points drawn from each surface."""
GRID: Final = 128
"""Cells along the cube's edge for the overlap."""
MAP_SIZE: Final = 256
"""Pixels across the normal maps that are compared."""
_EDGE: Final = 0.98
"""Surfaces nearer to the cube's border are left out of distances: there both are cut off."""
_CUBE_LOW, _CUBE_HIGH = (-1.0, -1.0, -1.0), (1.0, 1.0, 1.0)
_LOW, _HIGH = (-_EDGE, -_EDGE, -_EDGE), (_EDGE, _EDGE, _EDGE)


@dataclass(frozen=True)
class Figures:
    """One reconstruction against the truth. Lengths in mm, and in percent of the object's height.

    Attributes:
        iou: intersection over union of the insides in the cube, on 128^3 cells.
        chamfer_mm: mean of the mean distances from either surface to the other.
        chamfer_percent: the same, of the height.
        point_to_surface_mm: mean distance from the reconstruction to the true surface.
        point_to_surface_percent: the same, of the height.
        back_chamfer_mm: as ``chamfer_mm``, of the parts that face away from the camera.
        back_chamfer_percent: the same, of the height.
        front_normal: mean length of the difference of front normal maps, where either is.
        back_normal: the same of the back.
        front_normal_deg: mean angle between front normal maps, where both are.
        back_normal_deg: the same of the back.
        largest_share: area of the largest connected piece, of all that was reconstructed.
        seconds: that the reconstruction took.
    """

    iou: float
    chamfer_mm: float
    chamfer_percent: float
    point_to_surface_mm: float
    point_to_surface_percent: float
    back_chamfer_mm: float
    back_chamfer_percent: float
    front_normal: float
    back_normal: float
    front_normal_deg: float
    back_normal_deg: float
    largest_share: float
    seconds: float


FIGURES: Final = tuple(field.name for field in fields(Figures))
"""Names of the figures."""
HIGHER_IS_BETTER: Final = frozenset({"iou", "largest_share"})
"""Of the others less is better."""


@dataclass(frozen=True)
class Spread:
    """A figure over people; NaN where nobody has it.

    Attributes:
        mean: over people.
        deviation: standard deviation over people; NaN of one.
        worst: of all.
        count: how many people have it.
    """

    mean: float
    deviation: float
    worst: float
    count: int


class Truth:
    """A true surface, made ready to be compared with several reconstructions.

    Args:
        mesh: closed, in the cube's coordinates; what is beyond the cube does not count.
        mm_per_unit: half the side of the cube.
        height_mm: of the object.
    """

    def __init__(self, mesh: TriangleMesh, mm_per_unit: float, height_mm: float) -> None:
        self._mesh = mesh
        self._mm = mm_per_unit
        self._percent = 100 / height_mm
        self._near = SurfaceDistance(mesh)
        self._inside = inside_of_cells(mesh, GRID, _CUBE_LOW, _CUBE_HIGH)
        self._maps = orthographic_maps(mesh, MAP_SIZE)

    def compare(
        self, mesh: TriangleMesh, seconds: float = 0.0, largest_share: float = 1.0
    ) -> Figures:
        """Measure a reconstruction.

        Args:
            mesh: closed, in the cube.
            seconds: that it took.
            largest_share: of the reconstruction, before pieces were dropped.
        """
        rng = np.random.default_rng(0)
        here = deviations(mesh, self._mesh, SAMPLES, rng, (_LOW, _HIGH), self._near)
        if not len(here.distance):  # all of it lies at the cube's border: a filled cube
            here = deviations(mesh, self._mesh, SAMPLES, rng, None, self._near)
        there = deviations(self._mesh, mesh, SAMPLES, rng, (_LOW, _HIGH))
        whole = agreement(here, there)
        away = [d.distance[d.normals[:, 2] > 0] for d in (here, there)]
        known = [part.mean(dtype=np.float64) for part in away if len(part)]
        back = float(np.mean(known)) * self._mm if known else float("nan")
        chamfer = whole.chamfer * self._mm
        surface = whole.point_to_surface_ab * self._mm
        ours, true = orthographic_maps(mesh, MAP_SIZE), self._maps
        either, both = ours.mask | true.mask, ours.mask & true.mask
        return Figures(
            iou=overlap(inside_of_cells(mesh, GRID, _CUBE_LOW, _CUBE_HIGH), self._inside),
            chamfer_mm=chamfer,
            chamfer_percent=chamfer * self._percent,
            point_to_surface_mm=surface,
            point_to_surface_percent=surface * self._percent,
            back_chamfer_mm=back,
            back_chamfer_percent=back * self._percent,
            front_normal=_difference(ours.front, true.front, either),
            back_normal=_difference(ours.back, true.back, either),
            front_normal_deg=mean_angle_deg(ours.front, true.front, both),
            back_normal_deg=mean_angle_deg(ours.back, true.back, both),
            largest_share=largest_share,
            seconds=seconds,
        )


def nothing(seconds: float = 0.0) -> Figures:
    """Figures of a reconstruction that came to nothing: no overlap, and distances of nothing."""
    unknown = dict.fromkeys(FIGURES, float("nan"))
    return Figures(**{**unknown, "iou": 0.0, "largest_share": 0.0, "seconds": seconds})


def mean_angle_deg(
    a: Float32[np.ndarray, "S S 3"], b: Float32[np.ndarray, "S S 3"], mask: Bool[np.ndarray, "S S"]
) -> float:
    """Mean angle between directions of any length where ``mask`` is, degrees; NaN where none is."""
    first, second = a[mask].astype(np.float64), b[mask].astype(np.float64)
    length = np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
    used = length > 1e-6
    cosine = np.einsum("ij,ij->i", first, second)[used] / length[used]
    if not len(cosine):
        return float("nan")
    return float(np.degrees(np.arccos(np.clip(cosine, -1, 1))).mean())


def spreads(figures: Sequence[Figures]) -> Mapping[str, Spread]:
    """Each figure over people."""
    columns = {name: np.array([asdict(f)[name] for f in figures]) for name in FIGURES}
    return {name: spread(values, name in HIGHER_IS_BETTER) for name, values in columns.items()}


def spread(values: np.ndarray, higher_is_better: bool = False) -> Spread:
    """A figure's mean, deviation and worst; NaN are left out."""
    known = values[np.isfinite(values)]
    if not len(known):
        return Spread(float("nan"), float("nan"), float("nan"), 0)
    deviation = float(known.std(ddof=1)) if len(known) > 1 else float("nan")
    worst = known.min() if higher_is_better else known.max()
    return Spread(float(known.mean()), deviation, float(worst), len(known))


def _difference(
    a: Float32[np.ndarray, "S S 3"], b: Float32[np.ndarray, "S S 3"], mask: Bool[np.ndarray, "S S"]
) -> float:
    """Mean length of the difference of normal maps (zero where there is nothing)."""
    if not mask.any():
        return float("nan")
    return float(np.linalg.norm(a[mask] - b[mask], axis=1).mean(dtype=np.float64))
