"""PIFuHD on held-out people: the whole model, parts of it, the baseline and the ceiling."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias

import numpy as np
import torch
from jaxtyping import Float32

from ..mesh.triangle_mesh import TriangleMesh
from .baselines import MeanShape
from .cases import Case
from .extract import surface
from .feature_map import Features
from .figures import Figures, Truth, mean_angle_deg, nothing
from .network import Level, Pifuhd
from .octree import LEVEL, Occupancy, refine

Row: TypeAlias = Literal["full", "coarse", "mean shape", "true normals"]
ROWS: Final[Mapping[Row, str]] = {
    "full": "both levels, predicted normals",
    "coarse": "coarse level only",
    "mean shape": "mean shape in the mask's box",
    "true normals": "both levels, true normals (ceiling)",
}
"""What is measured, and what it is called."""


@dataclass(frozen=True)
class NormalFigures:
    """The normal networks against the true maps, over the mask.

    Attributes:
        front_deg: mean angle of the front map.
        back_deg: of the back map.
        flat_deg: of normals that all face the camera, against the front map: the trivial baseline.
    """

    front_deg: float
    back_deg: float
    flat_deg: float


@dataclass(frozen=True)
class Evaluated:
    """One case, reconstructed in all ways.

    Attributes:
        case: the picture and its truth.
        figures: by row.
        normals: of the normal networks; None for a model without.
        meshes: the reconstructions, in the cube; a row that came to nothing has none.
        drawn: (S, S, 3) front and back normals as the networks drew them; None for a model without.
    """

    case: Case
    figures: Mapping[Row, Figures]
    normals: NormalFigures | None
    meshes: Mapping[Row, TriangleMesh] = field(repr=False)
    drawn: tuple[Float32[np.ndarray, "n n 3"], Float32[np.ndarray, "n n 3"]] | None = None


class Evaluator:
    """Reconstructs cases and measures what comes out.

    Args:
        model: in evaluation mode, on the device that it is to run on.
        mean_shape: the baseline; None leaves it out.
        resolution: cells along the cube's edge, of the octree.
        rows: which ones; those that the model cannot do (a model without normals, or without a
            coarse level) are left out.
    """

    def __init__(
        self,
        model: Pifuhd,
        mean_shape: MeanShape | None,
        resolution: int = 128,
        rows: tuple[Row, ...] = tuple(ROWS),
    ) -> None:
        config = model.config
        impossible: set[Row] = set()
        if config.fine_only:
            impossible.add("coarse")
        if not config.use_normals:
            impossible.add("true normals")
        if mean_shape is None:
            impossible.add("mean shape")
        self.rows: tuple[Row, ...] = tuple(row for row in rows if row not in impossible)
        self._model = model
        self._mean_shape = mean_shape
        self._resolution = resolution
        self._device = next(model.parameters()).device

    def evaluate(self, cases: Iterator[Case]) -> Iterator[Evaluated]:
        """Reconstruct one case after the other."""
        for case in cases:
            yield self.case(case)

    def case(self, case: Case) -> Evaluated:
        """Reconstruct one picture in all ways and measure."""
        features, normals, drawn, encoding = self._encoded(case)
        truth = Truth(case.truth, case.mm_per_unit, case.height_mm)
        figures: dict[Row, Figures] = {}
        meshes: dict[Row, TriangleMesh] = {}
        for row in self.rows:
            start = time.perf_counter()
            if row == "mean shape":
                found = self._mean(case)
            elif row == "true normals":
                found = self._extracted(self._with_true_normals(case), "fine")
            else:
                found = self._extracted(features, "coarse" if row == "coarse" else "fine")
            seconds = time.perf_counter() - start
            seconds += encoding if row in ("full", "coarse") else 0.0
            if found is None:
                figures[row] = nothing(seconds)
                continue
            mesh, share = found
            meshes[row] = mesh
            figures[row] = truth.compare(mesh, seconds, share)
        return Evaluated(case, figures, normals, meshes, drawn)

    def _encoded(
        self, case: Case
    ) -> tuple[
        Features,
        NormalFigures | None,
        tuple[Float32[np.ndarray, "n n 3"], Float32[np.ndarray, "n n 3"]] | None,
        float,
    ]:
        """Features, the drawn normals' figures, those normals, and the seconds it took."""
        start = time.perf_counter()
        with torch.inference_mode():
            features = self._model.encode(self._tensor(case.image), None, self._told(case))
        seconds = time.perf_counter() - start
        if features.front is None or features.back is None:
            return features, None, None, seconds
        drawn = (_channels_last(features.front), _channels_last(features.back))
        size = len(drawn[0])
        true = [_shrunk(part, size) for part in (case.front, case.back)]
        mask = np.linalg.norm(true[0], axis=-1) > 0.5
        flat = np.zeros_like(true[0])
        flat[..., 2] = 1
        normals = NormalFigures(
            front_deg=mean_angle_deg(drawn[0], true[0], mask),
            back_deg=mean_angle_deg(drawn[1], true[1], mask),
            flat_deg=mean_angle_deg(flat, true[0], mask),
        )
        return features, normals, drawn, seconds

    def _with_true_normals(self, case: Case) -> Features:
        size = self._model.config.normal.size
        front, back = (
            self._tensor(np.ascontiguousarray(_shrunk(part, size).transpose(2, 0, 1)))
            for part in (case.front, case.back)
        )
        with torch.inference_mode():
            return self._model.encode(self._tensor(case.image), (front, back), self._told(case))

    def _told(self, case: Case) -> torch.Tensor | None:
        return None if case.head_from_cube is None else self._tensor(case.head_from_cube)

    def _mean(self, case: Case) -> tuple[TriangleMesh, float] | None:
        if self._mean_shape is None:
            return None
        return self._mean_shape.fitted(case.cube_from_subject, case.mask), 1.0

    def _extracted(self, features: Features, level: Level) -> tuple[TriangleMesh, float] | None:
        """The largest piece and its share of the area; None where nothing is solid."""
        values = refine(occupancy_function(self._model, features, level), self._resolution).values
        if not (values > LEVEL).any():
            return None
        whole = surface(values, least_share=0.0)
        largest = whole.largest_component()
        return largest, largest.area() / max(whole.area(), 1e-12)

    def _tensor(self, array: Float32[np.ndarray, "*s"]) -> torch.Tensor:
        return torch.from_numpy(array)[None].to(self._device)


def occupancy_function(model: Pifuhd, features: Features, level: Level = "fine") -> Occupancy:
    """What the octree asks: occupancy of points of the cube, of one picture's features."""
    device = next(model.parameters()).device

    def occupancy(points: Float32[np.ndarray, "P 3"]) -> Float32[np.ndarray, " P"]:
        with torch.inference_mode():
            asked = torch.from_numpy(np.ascontiguousarray(points))[None].to(device)
            return model.occupancy(features, asked, level)[0].float().cpu().numpy()

    return occupancy


def _channels_last(normals: torch.Tensor) -> Float32[np.ndarray, "n n 3"]:
    return np.ascontiguousarray(normals[0].float().cpu().numpy().transpose(1, 2, 0))


def _shrunk(normals: Float32[np.ndarray, "3 S S"], size: int) -> Float32[np.ndarray, "n n 3"]:
    """A map of another size, channels last."""
    if normals.shape[-1] == size:
        return np.ascontiguousarray(normals.transpose(1, 2, 0))
    resized = torch.nn.functional.interpolate(
        torch.from_numpy(np.ascontiguousarray(normals))[None],
        size=(size, size),
        mode="bilinear",
        antialias=True,
    )
    return _channels_last(resized)
