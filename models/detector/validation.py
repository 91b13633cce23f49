"""How good a detector is on scenes of people it has not seen, and the threshold it should use."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from jaxtyping import Float32

from ..synthetic.scenes_compose import Scene
from .boxes import Detections, decode, overlap, suppress
from .network import DetectorNetwork

MOST_OVERLAP: Final = 0.35
"""Intersection over union above which the weaker of two detections goes."""
_MATCHED: Final = 0.4
"""Intersection over union from which a detection is of a face."""
_LEAST_SCORE: Final = 0.05
_FALSE_PER_PICTURE: Final = 0.02
"""False detections a picture that the threshold admits."""


@dataclass(frozen=True)
class DetectorValidation:
    """Figures on held-out scenes.

    Attributes:
        average_precision: area under precision over recall, 0 to 1.
        threshold: least score with one false detection in 50 pictures, which are fuller
            of things like faces than any photograph; the regressor looks at each again.
        recall: share of the faces found there.
        recall_small: the same of faces below 16 px.
        false_per_picture: false detections there.
    """

    average_precision: float
    threshold: float
    recall: float
    recall_small: float
    false_per_picture: float


def find(network: DetectorNetwork, scene: Scene, threshold: float = _LEAST_SCORE) -> Detections:
    """What a network in evaluation mode finds in a scene, best first."""
    with torch.inference_mode():
        output = network(torch.from_numpy(scene.image[None]))
    heat = torch.sigmoid(output.heat[0, 0]).numpy()
    return suppress(decode(heat, output.box[0].numpy(), threshold), MOST_OVERLAP)


def validate(network: DetectorNetwork, scenes: Sequence[Scene]) -> DetectorValidation:
    """Measure a network; faces that count neither way are left out."""
    network.eval()
    scores: list[float] = []
    hits: list[float] = []  # side of the face that was found, 0 where there is none
    sides: list[float] = []
    for scene in scenes:
        sides += scene.boxes[scene.counted, 2:].max(1).tolist()
        for score, side in _matched(find(network, scene), scene):
            scores.append(score)
            hits.append(side)
    order = np.argsort(-np.array(scores, np.float64), kind="stable")
    score, hit = np.array(scores)[order], np.array(hits)[order]
    return _figures(score, hit, np.array(sides), len(scenes))


def _matched(found: Detections, scene: Scene) -> list[tuple[float, float]]:
    """Score of each detection and side of its face, 0 for none; those set aside are left out."""
    free = list(range(len(scene.boxes)))
    matched: list[tuple[float, float]] = []
    for row in found:
        shares = overlap(row[:4], scene.boxes[free])
        best = int(shares.argmax()) if free else -1
        if best < 0 or shares[best] < _MATCHED:
            # On a face that is set aside even a poor box does no harm.
            aside = overlap(row[:4], scene.boxes[~scene.counted])
            if not (aside > 0.1).any():
                matched.append((float(row[4]), 0.0))
            continue
        face = free.pop(best)
        if scene.counted[face]:
            matched.append((float(row[4]), float(scene.boxes[face, 2:].max())))
    return matched


def _figures(
    score: Float32[np.ndarray, " D"] | np.ndarray,
    hit: np.ndarray,
    sides: np.ndarray,
    pictures: int,
) -> DetectorValidation:
    """From detections, best first, and the sides of all faces."""
    if not len(score) or not len(sides):
        return DetectorValidation(0.0, 1.0, 0.0, 0.0, 0.0)
    true, false = np.cumsum(hit > 0), np.cumsum(hit == 0)
    precision = np.maximum.accumulate((true / (true + false))[::-1])[::-1]
    gained = np.diff(np.concatenate([[0.0], true / len(sides)]))
    admitted = np.flatnonzero(false <= _FALSE_PER_PICTURE * pictures)
    last = int(admitted[-1]) if len(admitted) else 0
    kept = hit[: last + 1]
    small = max(int((sides < 16).sum()), 1)
    return DetectorValidation(
        average_precision=float((precision * gained).sum()),
        threshold=float(score[last]),
        recall=float((kept > 0).sum() / len(sides)),
        recall_small=float(((kept > 0) & (kept < 16)).sum() / small),
        false_per_picture=float((kept == 0).sum() / pictures),
    )
