"""Figures of decoded grids against the truth, cheap enough for a look during training."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, UInt8

from ..scans.box import HIGH_MM, LOW_MM, FaceBox
from .avatar import Grids
from .dataset import ScannedPerson
from .volume_rendering import sample_grid

MOVED_MM = 2.0
"""What moves farther from the neutral is where an expression shows."""

_LEAST_SLOPE = 0.02
_ON_SURFACE_MM = 1.5
"""A vertex so near the truth's surface lies on it; others are hidden inside."""


def distance_at(
    sdf: Float32[np.ndarray, "N N N"], points: Float32[np.ndarray, "V 3"]
) -> Float32[np.ndarray, " V"]:
    """Distance from a surface at places in the head frame, mm, to first order: |f| / |grad f|.

    Values alone would call a field that is nothing everywhere close to every surface.

    Args:
        sdf: signed distance or nearly, mm.
        points: mm.
    """
    box = FaceBox(len(sdf))
    grid, place = torch.from_numpy(sdf)[None, None], torch.from_numpy(points)[None]
    steps = torch.diag(torch.from_numpy(box.edges / 2))
    slopes = [
        (sample_grid(grid, place + step) - sample_grid(grid, place - step))[0, 0] / (2 * step.sum())
        for step in steps
    ]
    slope = torch.stack(slopes).norm(dim=0).clamp(min=_LEAST_SLOPE)
    return (sample_grid(grid, place)[0, 0].abs() / slope).clamp(max=box.truncation).numpy()


def visible(
    sdf: Float32[np.ndarray, "N N N"], vertices: Float32[np.ndarray, "V 3"]
) -> Bool[np.ndarray, " V"]:
    """Which vertices lie on the surface of their own true grid, and in the box."""
    edge = FaceBox(len(sdf)).edges / 2
    inside = ((vertices > np.array(LOW_MM) + edge) & (vertices < np.array(HIGH_MM) - edge)).all(1)
    return inside & (distance_at(sdf, vertices) < _ON_SURFACE_MM)


def moved(person: ScannedPerson, expression: int) -> Bool[np.ndarray, " V"]:
    """Which vertices of a true face moved from its neutral by more than 2 mm and are visible."""
    places = person.vertices[expression]
    far = np.linalg.norm(places - person.vertices[0], axis=1) > MOVED_MM
    return far & visible(person.sdf[expression].astype(np.float32), places)


def overlap(sdf: Float[np.ndarray, "F N N N"], truth: Float[np.ndarray, "F N N N"]) -> float:
    """Intersection over union of the insides."""
    ours, theirs = sdf < 0, truth < 0
    return float((ours & theirs).sum() / max(1, (ours | theirs).sum()))


def colour_psnr(
    colour: UInt8[np.ndarray, "F N N N 3"],
    truth: UInt8[np.ndarray, "F N N N 3"],
    truth_sdf: Float[np.ndarray, "F N N N"],
) -> float:
    """Peak signal to noise of the colours within a cell of the true surface, dB."""
    near = np.abs(truth_sdf) < FaceBox(truth_sdf.shape[-1]).edges.max()
    error = (colour[near].astype(np.float32) - truth[near].astype(np.float32)) / 255
    return float(-10 * np.log10(max(float(np.square(error).mean()), 1e-10)))


def grid_figures(
    grids: Grids,
    sdf: Float[np.ndarray, "F N N N"],
    colour: UInt8[np.ndarray, "F N N N 3"],
    vertices: Float32[np.ndarray, "F V 3"],
) -> dict[str, float]:
    """How well grids agree with the truth.

    Args:
        grids: decoded.
        sdf: the truth, mm.
        colour: the truth, sRGB.
        vertices: on the true surfaces, mm.

    Returns:
        ``surface_mm``: mean distance of the true surface from the decoded one; ``iou``: of the
        insides; ``colour_db``: peak signal to noise near the surface.
    """
    errors = [
        distance_at(ours, points)[visible(theirs.astype(np.float32), points)]
        for ours, theirs, points in zip(grids.sdf, sdf, vertices, strict=True)
    ]
    return {
        "surface_mm": float(np.concatenate(errors).mean()),
        "iou": overlap(grids.sdf, sdf),
        "colour_db": colour_psnr(grids.colour, colour, sdf),
    }
