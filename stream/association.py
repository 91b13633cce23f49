"""Which face is which: overlaps, duplicates, and faces known again."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float32

from .candidate import Candidate
from .detector.protocol import overlap
from .track import Track

_YOUNG_FRAMES = 5  # a track seen so few times gives way at once to an older one on the same face
_SHAPE_WEIGHT = 0.15  # of the shape's distance against a distance of one face's size
_MOST_SHAPE_DISTANCE = 4.0  # from which two looks show two people
_MOST_SIZE_RATIO = 1.8
_SLIDE_SIZES = 2.5  # a track that slid off lies within so many sizes of its true face
_NEAR_SIZES = 0.8  # a face is known again within so many of its sizes,
_IN_PLACE_SIZES, _IN_PLACE_S = 0.5, 0.6  # so near and so soon nobody else can have come
_SIZES_PER_S = 2.0  # and so many more for every second that it was gone

Box = tuple[float, float, float, float]


def box_overlap(one: Box, other: Box) -> float:
    """Intersection over union of two boxes (x, y, w, h)."""
    return float(overlap(np.asarray(one, np.float32), np.asarray([other], np.float32))[0])


def box_distance(one: Box, other: Box) -> float:
    """Distance of two boxes' centres in units of their mean size."""
    dx = one[0] + one[2] / 2 - other[0] - other[2] / 2
    dy = one[1] + one[3] / 2 - other[1] - other[3] / 2
    return math.hypot(dx, dy) / max(0.5 * (box_size(one) + box_size(other)), 1e-6)


def box_size(box: Box) -> float:
    """Side of the square of the same area, px."""
    return math.sqrt(max(box[2] * box[3], 1e-12))


def one_face(one: Box, other: Box, most_overlap: float) -> bool:
    """Whether two boxes are on the same face: they overlap, or one's centre is deep in the other.

    A face before another overlaps it, too, for a moment; that is for the caller to judge.
    """
    if box_overlap(one, other) >= most_overlap:
        return True
    smaller = min(box_size(one), box_size(other))
    mean = 0.5 * (box_size(one) + box_size(other))
    return box_distance(one, other) * mean < 0.3 * smaller


def settle_duplicates(
    looks: Sequence[tuple[Track, Candidate]], most_overlap: float
) -> tuple[list[tuple[Track, Candidate]], list[Track]]:
    """Of tracks that see the same face, the one that it fits best keeps it.

    Fit is the distance of the face from the track's prediction and its shape from the track's; a
    track that was seen only a few times yields to an older one.

    Returns:
        The looks that stand, and the tracks that lost theirs.
    """
    if len(looks) < 2:
        return list(looks), []
    ranked = sorted(looks, key=lambda look: (look[0].seen_frames < _YOUNG_FRAMES, misfit(*look)))
    kept: list[tuple[Track, Candidate]] = []
    losers: list[Track] = []
    for track, candidate in ranked:
        box = candidate.box_xywh_px
        if any(one_face(box, other.box_xywh_px, most_overlap) for _, other in kept):
            losers.append(track)
        else:
            kept.append((track, candidate))
    order = {id(track): i for i, (track, _) in enumerate(looks)}
    kept.sort(key=lambda look: order[id(look[0])])
    return kept, losers


def misfit(track: Track, candidate: Candidate) -> float:
    """How badly a face fits a track's prediction and identity, in sizes of the face."""
    box, predicted = candidate.box_xywh_px, track.box_xywh_px
    size = abs(math.log(box_size(box) / max(box_size(predicted), 1e-6)))
    shape = min(track.shape_distance(candidate), _MOST_SHAPE_DISTANCE)
    return box_distance(box, predicted) + size + _SHAPE_WEIGHT * shape


def is_young(track: Track) -> bool:
    """Whether it was seen only a few times yet."""
    return track.seen_frames < _YOUNG_FRAMES


def known_again(candidate: Candidate, absent: Sequence[Track]) -> Track | None:
    """The absent track that this face most likely continues, None where it is a new one."""
    box = candidate.box_xywh_px
    best: tuple[float, Track] | None = None
    for track in absent:
        reach = _NEAR_SIZES + _SIZES_PER_S * track.unseen_s
        ratio = box_size(box) / max(box_size(track.box_xywh_px), 1e-6)
        away = box_distance(box, track.box_xywh_px)
        if away > reach or not 1.0 / _MOST_SIZE_RATIO < ratio < _MOST_SIZE_RATIO:
            continue
        in_place = away < _IN_PLACE_SIZES and track.unseen_s < _IN_PLACE_S
        if not in_place and track.shape_distance(candidate) > _MOST_SHAPE_DISTANCE:
            continue
        cost = misfit(track, candidate)
        if best is None or cost < best[0]:
            best = (cost, track)
    return None if best is None else best[1]


def uncovered(
    boxes: Float32[np.ndarray, "_ 5"], taken: Sequence[Box], most_overlap: float
) -> Float32[np.ndarray, "_ 5"]:
    """The detected boxes that lie on none of the faces already seen."""
    free = [
        not any(_covers(face, box, most_overlap) for face in taken)
        for box in boxes[:, :4].astype(float).tolist()
    ]
    return boxes[np.array(free, dtype=bool)] if len(boxes) else boxes


def covered(face: Box, boxes: Float32[np.ndarray, "_ 5"], most_overlap: float) -> bool:
    """Whether a detected box lies on this face."""
    return any(_covers(face, box, most_overlap) for box in boxes[:, :4].astype(float).tolist())


def slid_off(candidate: Candidate, suspects: Sequence[Track]) -> Track | None:
    """The track, among those on no detected face, that has most likely lost this one."""
    box = candidate.box_xywh_px
    near = []
    for track in suspects:
        mean = 0.5 * (box_size(box) + box_size(track.box_xywh_px))
        away = box_distance(box, track.box_xywh_px) * mean / box_size(box)
        if away < _SLIDE_SIZES:
            near.append((away, track))
    return min(near, key=lambda pair: pair[0])[1] if near else None


def _covers(face: Box, detected: Sequence[float], most_overlap: float) -> bool:
    box: Box = (detected[0], detected[1], detected[2], detected[3])
    centre_x, centre_y = face[0] + face[2] / 2, face[1] + face[3] / 2
    inside = box[0] < centre_x < box[0] + box[2] and box[1] < centre_y < box[1] + box[3]
    same_size = 0.4 < box_size(face) / box_size(box) < 2.0
    return (inside and same_size) or box_overlap(face, box) >= most_overlap
