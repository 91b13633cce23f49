"""Is it a face that a detector points at? The regressor looks twice and says."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, UInt8

from ..models.face.crop import crop_from_box
from .association import Box, one_face
from .candidate import Candidate
from .detector.protocol import Detections
from .fit import FaceFitter
from .search import Found, K
from .tracker_config import TrackerConfig


def worth_a_look(boxes: Detections, sure_score: float, count: int) -> Detections:
    """At most so many boxes that the detector is sure of, and as many others, in their order."""
    sure = boxes[:, 4] >= sure_score
    kept: Bool[np.ndarray, " K"] = np.where(sure, np.cumsum(sure), np.cumsum(~sure)) <= count
    return boxes[kept]


def confirmed(
    fitter: FaceFitter,
    config: TrackerConfig,
    image_bgr: UInt8[np.ndarray, "H W 3"],
    boxes: Detections,
    found: Found[K],
    taken: Sequence[Box] = (),
    *,
    given: bool = False,
) -> list[Candidate]:
    """The faces among boxes, looked at there and at the landmarks found there; each once.

    Args:
        fitter: looks.
        config: which presence each box needs, and when two faces are one.
        image_bgr: the picture.
        boxes: x, y, w, h in px, score; those of ``found`` that are to be looked at.
        found: what the detector says of its boxes.
        taken: faces that are known already.
        given: a user gave the boxes: he knows that there are faces.

    Returns:
        In the order of the boxes. Where the network has no word on presence, a box that the
        detector is not sure of is none.
    """
    height, width = image_bgr.shape[:2]
    first = fitter.look(image_bgr, [crop_from_box(box, found.style) for box in boxes])
    shown = [
        (look, _needed(config, sure, given))
        for look, sure in zip(first, (boxes[:, 4] >= found.sure_score).tolist(), strict=True)
        if look and look.shows_face(config.lose_presence)
        if look.presence is not None or sure
    ]
    faces: list[Candidate] = []
    second = fitter.look(image_bgr, [look.next_crop for look, _ in shown])
    for look, (_, needed) in zip(second, shown, strict=True):
        if (
            look is not None
            and look.shows_face(needed)
            and look.plausible(width, height)
            and not any(
                one_face(look.box_xywh_px, box, config.duplicate_overlap)
                for box in (*taken, *(other.box_xywh_px for other in faces))
            )
        ):
            faces.append(look)
    return faces


def _needed(config: TrackerConfig, sure: bool, given: bool) -> float:
    if given:
        return config.regain_presence
    return config.find_presence if sure else max(config.find_presence, config.hint_presence)
