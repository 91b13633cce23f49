"""What a statistical head says of a scanned face with an expression: where generation begins.

The head's coefficients are fitted to the grid of the neutral: its skin shall lie where the signed
distance is 0, by damped Gauss-Newton with Cauchy weights (a scan has holes and strays). A scan does
not lie in the head frame exactly, so a small similarity is fitted beside them and then left out:
it is the scan's error, not the face's. The head then moves as its units say, mouth and lids with
it, and is put into the grid with the scan's colours.

Encoded, that is the latent from which the diffusion generates what is left: the person's own form
and colours, and what the units do not know.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from jaxtyping import Float32, Float64, UInt8

from ..scans.box import FaceBox
from ..scans.closed_head import GUM_AND_TEETH, LEFT_EYE, MOUTH, RIGHT_EYE, TONGUE
from ..scans.template import HeadTemplate
from ..scans.truth import TruthGrids
from .volume_rendering import sample_grid

_ROUNDS: Final = 12
_COARSE_ROUNDS: Final = 5
_TURN_RAD, _SHIFT_MM, _SIZE = 0.016, 0.7, 0.02
"""Deviations of a scan's similarity: what :mod:`..scans.alignment` was measured to err."""
_TOLERANCE_MM: Final = 1.0
_CAUCHY_MM: Final = 2.0
_LEAST_SLOPE: Final = 0.3
_OBSERVED: Final = 0.9
_INSIDE: Final[dict[int, tuple[int, int, int]]] = {
    MOUTH: (96, 40, 38),
    GUM_AND_TEETH: (205, 190, 180),
    TONGUE: (170, 86, 84),
    LEFT_EYE: (190, 180, 175),
    RIGHT_EYE: (190, 180, 175),
}
"""sRGB of what a scan of a closed mouth does not show, or shows badly."""
_SKIN: Final = (178, 134, 112)
"""Where a scan has no colour at all."""


@dataclass(frozen=True)
class FittedTemplate:
    """A template that was fitted to a scan.

    Attributes:
        neutral: the head without expression, head frame, mm.
        scanned: the same head where the scan has it, eyes and mouth placed.
    """

    neutral: Float32[np.ndarray, "V 3"]
    scanned: Float32[np.ndarray, "V 3"]


class Guide:
    """Puts a fitted template with expressions into grids.

    Args:
        template: the statistical head.
        box: of the grids.
    """

    def __init__(self, template: HeadTemplate, box: FaceBox) -> None:
        self.template, self._box = template, box
        self._grids = TruthGrids(box, template)
        basis = np.concatenate([template.shapes, _similarity(template.mean)])
        self._basis = np.ascontiguousarray(basis.transpose(1, 2, 0), np.float64)
        self._seen = self._basis[template.seen]

    def fit(
        self, sdf: Float32[np.ndarray, "N N N"], seen: UInt8[np.ndarray, "N N N"]
    ) -> FittedTemplate:
        """Fit the template to the grid of a neutral face.

        Args:
            sdf: signed distance, mm, negative inside.
            seen: weight of observation, 0 where nothing was seen.
        """
        field, known = _Field(sdf), _Field((seen > 0).astype(np.float32))
        mean = self.template.mean[self.template.seen].astype(np.float64)
        said = np.zeros(self._basis.shape[2])
        for number in range(_ROUNDS):
            at = (mean + self._seen @ said).astype(np.float32)
            value, slope = field.at(at), field.slope(at, self._box)
            steep = np.linalg.norm(slope, axis=1)
            used = (known.at(at) > _OBSERVED) & (steep > _LEAST_SLOPE)
            steep = np.maximum(steep, _LEAST_SLOPE)
            away = value / steep
            soft = _CAUCHY_MM * (2 if number < _COARSE_ROUNDS else 1)
            weight = used / (1 + (away / soft) ** 2) / _TOLERANCE_MM**2
            rows = np.einsum("vik,vi->vk", self._seen, slope / steep[:, None])
            normal = (rows * weight[:, None]).T @ rows + np.eye(len(said))
            said = said - np.linalg.solve(normal, (rows * weight[:, None]).T @ away + said)
        shape = said[: len(self.template.shapes)].astype(np.float32)
        neutral = self.template.neutral(shape)
        here = (self.template.mean + self._basis @ said).astype(np.float32)
        return FittedTemplate(neutral, self.template.placer.placed(here, here))

    def grid(
        self,
        fitted: FittedTemplate,
        blendshapes: Float32[np.ndarray, " 52"],
        seen: UInt8[np.ndarray, "N N N"],
        colour: UInt8[np.ndarray, "N N N 3"],
    ) -> tuple[Float32[np.ndarray, "N N N"], UInt8[np.ndarray, "N N N 3"]]:
        """Signed distance (mm) and colour (sRGB) of a fitted head with an expression.

        Args:
            fitted: of :meth:`fit`.
            blendshapes: ARKit, in [0, 1].
            seen: of the scan.
            colour: of the scan; the skin takes it with it as it moves.
        """
        placed = self.template.placed(fitted.neutral, blendshapes)
        sdf, nearest, weights = self._grids.distance(placed)
        painted = np.zeros((*self._box.shape, 3), np.uint8)
        near = nearest >= 0
        which = nearest[near]
        corners = fitted.scanned[self.template.triangles[which]]
        v, w = np.split(weights[near], 2, axis=1)
        places = corners[:, 0] * (1 - v - w) + corners[:, 1] * v + corners[:, 2] * w
        found = self._scan_colour(places, seen, colour)
        kinds = self.template.kinds[which]
        for kind, fixed in _INSIDE.items():
            found[kinds == kind] = fixed
        painted[near] = found
        return sdf, painted

    def _scan_colour(
        self,
        places: Float32[np.ndarray, "P 3"],
        seen: UInt8[np.ndarray, "N N N"],
        colour: UInt8[np.ndarray, "N N N 3"],
    ) -> UInt8[np.ndarray, "P 3"]:
        """Colours of the scan; the mean one where it has none."""
        lit = np.asarray(colour.any(-1)) & (seen > 0)
        mean = colour[lit].mean(0) if lit.any() else np.array(_SKIN)
        share = _Field(lit.astype(np.float32)).at(places)[:, None]
        light = _Field(np.where(lit[..., None], colour, 0).astype(np.float32)).at(places)
        mixed = light + (1 - share) * mean.astype(np.float32)
        return np.clip(np.rint(mixed), 0, 255).astype(np.uint8)


class _Field:
    """A grid of numbers that is read at places in the head frame."""

    def __init__(self, values: Float32[np.ndarray, "N N N *C"]) -> None:
        grid = torch.from_numpy(np.ascontiguousarray(values))
        self._grid = grid[None, None] if grid.ndim == 3 else grid.permute(3, 0, 1, 2)[None]
        self._plain = grid.ndim == 3

    def at(self, places: Float32[np.ndarray, "P 3"]) -> Float32[np.ndarray, "P ..."]:
        found = sample_grid(self._grid, torch.from_numpy(places)[None])[0].numpy()
        return found[0] if self._plain else found.T

    def slope(self, places: Float32[np.ndarray, "P 3"], box: FaceBox) -> Float64[np.ndarray, "P 3"]:
        """Gradient, by differences over a cell."""
        steps = np.diag(box.edges / 2).astype(np.float32)
        rises = [self.at(places + step) - self.at(places - step) for step in steps]
        return np.stack(rises, axis=1).astype(np.float64) / box.edges


def _similarity(mean: Float32[np.ndarray, "V 3"]) -> Float32[np.ndarray, "7 V 3"]:
    """Displacements of small turns about the three axes, shifts along them, and of growth."""
    turns = np.stack([np.cross(axis, mean) for axis in np.eye(3)]) * _TURN_RAD
    shifts = np.broadcast_to(np.eye(3)[:, None], (3, *mean.shape)) * _SHIFT_MM
    return np.concatenate([turns, shifts, mean[None] * _SIZE]).astype(np.float32)
