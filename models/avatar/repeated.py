"""What varies between samples of one request, and what becomes of the missing part of a scan.

Where neutral and vector say the result, samples agree, and a regression does as well. Of half a
face or one with holes they do not say it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float32

from .cases import LEAST_MOVED, Case, Torn
from .contender import Contender, Sampler
from .face_surface import FaceSurface, drift, faces_of, mean_distance
from .sample import reconstruct


def repeated_figures(
    case: Case, contender: Contender, sampler: Sampler, ceiling: FaceSurface
) -> dict[str, float]:
    """Several samples of a case's first expression, from the complete scan and from torn ones.

    Args:
        case: a person.
        contender: who is asked.
        sampler: how.
        ceiling: the true face with that expression through the autoencoder.

    Returns:
        ``seed_spread_mm``: how far samples from the complete scan lie from each other where the
        face moves. By kind of torn scan, over what it did not see, in mm from the truth:
        ``half_copy_mm`` of the scan through the autoencoder, ``half_guide_mm`` of what a
        statistical head says, if one guides, ``half_ceiling_mm``, ``half_made_mm``
        of samples, ``half_best_mm`` of the best sample, ``half_mean_mm`` of their mean grid, and
        ``half_spread_mm`` between samples.
    """
    found: dict[str, list[float]] = {}
    if not contender.regression and sampler.settings.seeds > 1:
        faces = faces_of(sampler.repeated(contender, case, case.scan))
        found["seed_spread_mm"] = [spread_mm(faces, case.asked[0].moved)]
    for torn in case.torn:
        if len(torn.missing) < LEAST_MOVED:
            continue
        for name, value in _torn(case, torn, contender, sampler, ceiling).items():
            found.setdefault(f"{torn.kind}_{name}", []).append(value)
    return {name: float(np.mean(values)) for name, values in found.items()}


def spread_mm(faces: Sequence[FaceSurface], places: Float32[np.ndarray, "P 3"]) -> float:
    """How far samples lie from the first one around some places, mm; 0 for one sample."""
    others = [drift(face, faces[0], places) for face in faces[1:]]
    return float(np.mean(others)) if others else 0.0


def _torn(
    case: Case, torn: Torn, contender: Contender, sampler: Sampler, ceiling: FaceSurface
) -> dict[str, float]:
    samples = sampler.repeated(contender, case, torn.scan)
    faces = faces_of(samples)
    mixed = FaceSurface(samples.sdf.mean(axis=0), samples.colour[0])
    errors = [mean_distance(face, torn.missing) for face in faces]
    (copied,) = faces_of(reconstruct(contender.avatar, torn.scan))
    guides = sampler.guides(contender, torn.scan, contender.vectors(case, case.entries[:1]))
    guided = {}
    if guides is not None:
        guided["guide_mm"] = mean_distance(faces_of(guides)[0], torn.missing)
    return {
        **guided,
        "copy_mm": mean_distance(copied, torn.missing),
        "ceiling_mm": mean_distance(ceiling, torn.missing),
        "made_mm": float(np.mean(errors)),
        "best_mm": min(errors),
        "mean_mm": mean_distance(mixed, torn.missing),
        "spread_mm": spread_mm(faces, torn.missing),
    }
