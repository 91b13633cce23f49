"""Figures of an edit: how well the input is shown, who it still is, what changed, which light."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from . import sh
from .attributes import JUDGED, AttributeClassifier
from .cameras import frontal_label, orbit_label
from .edit_options import Edit, Portrait, Wish
from .losses import Judges
from .vocabulary import Description

_VIEWS_DEG = (-20.0, 0.0, 20.0)
"""Azimuths at which attributes and light are measured."""


def psnr(
    first: Float[torch.Tensor, "1 3 S S"],
    second: Float[torch.Tensor, "1 3 S S"],
    mask: Float[torch.Tensor, "1 1 S S"] | None = None,
) -> float:
    """Peak signal over noise of pictures from -1 to 1, dB; within a mask if there is one."""
    squared = ((first - second) / 2).square().mean(1, keepdim=True)
    if mask is None:
        error = float(squared.mean())
    else:
        error = float((squared * mask).sum() / mask.sum().clamp(min=1e-6))
    return float(-10 * np.log10(max(error, 1e-10)))


def edit_figures(
    made: Edit,
    wish: Wish,
    judges: Judges,
    classifier: AttributeClassifier | None = None,
) -> dict[str, Any]:
    """Figures by name.

    Args:
        made: the edit.
        wish: what was wanted.
        judges: the losses' networks: what they say is no independent judgement.
        classifier: no loss has seen it.
    """
    label = np.asarray(wish.label)[None]
    with torch.no_grad():
        known = judges.identity(wish.image).float()
        figures: dict[str, Any] = {}
        for name, portrait in (("inversion", made.before), ("tuned", made.tuned)):
            image = portrait.seen(label).image
            figures[f"{name}_psnr_db"] = psnr(image, wish.image)
            figures[f"{name}_feature_distance"] = float(judges.features(image, wish.image).mean())
        for name, portrait in (("before", made.before), ("after", made.after)):
            found = judges.identity(portrait.seen(label).image).float()
            figures[f"identity_cosine_{name}"] = float((found * known).sum())
        if wish.light is not None:
            figures["light"] = {
                name: light_error(portrait, judges, np.asarray(wish.light))
                for name, portrait in (("before", made.before), ("after", made.after))
            }
        if classifier is not None and wish.said is not None:
            figures["attributes"] = attribute_shift(made, classifier, wish.said)
    return figures


def light_error(
    portrait: Portrait, judges: Judges, wanted: Float[np.ndarray, " 9"]
) -> dict[str, float]:
    """How far the light in some views is from the wanted one (axes of the world), by an estimator.

    ``shading`` is the root mean square over a white sphere, ``coefficients`` the distance of the
    nine numbers, ``direction_deg`` the angle between where most light comes from.
    """
    labels = np.stack([orbit_label(np.radians(yaw), 0.0) for yaw in _VIEWS_DEG])
    found = judges.light(portrait.seen(labels).image).float().cpu().numpy()
    world = [
        sh.rotate(light, sh.view_from_world(label).T)
        for light, label in zip(found, labels, strict=True)
    ]
    mean = np.mean(world, axis=0)
    off = mean - wanted
    pair = sh.dominant_direction(np.stack([mean, wanted]))
    return {
        "shading": float(np.sqrt((off**2 * sh.COSINE**2 / (4 * np.pi)).sum())),
        "coefficients": float(np.linalg.norm(off)),
        "direction_deg": float(np.degrees(np.arccos(np.clip(pair[0] @ pair[1], -1, 1)))),
    }


def attribute_shift(
    made: Edit, classifier: AttributeClassifier, said: Description
) -> dict[str, dict[str, float]]:
    """Probability of every judged property that the sentence names, before and after."""
    labels = np.stack([frontal_label()])
    pair = [
        classifier.probabilities(portrait.seen(labels).image, said)
        for portrait in (made.before, made.after)
    ]
    return {
        slot: {"before": float(pair[0][slot].mean()), "after": float(pair[1][slot].mean())}
        for slot in said.properties
        if slot in JUDGED
    }
