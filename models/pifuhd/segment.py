"""The person of a fitted face, cut out of a picture without anything learned.

GrabCut (Rother, Kolmogorov and Blake, 2004) with three changes. Where head, hair and shoulders may
be is expected from the pose of the face (:mod:`~mien.models.pifuhd.silhouette_prior`), not from a
box drawn by hand. Colours are told apart by soft histograms, over the whole crop and around each
place, for a dark coat before a bright wall and dark hair before a dark curtain need different
answers. The cut is solved in its convex form, and its edge refined by a guided filter (He, Sun and
Tang, 2010).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from jaxtyping import Bool, Float32, UInt8

from .minimal_cut import edge_weights, minimal_cut

WORK_PX: Final = 192
"""Side at which the cut is made."""
ROUNDS: Final = 5
"""Of learning the colours and cutting."""
_CERTAIN: Final = 12.0
_BINS: Final = 20
_ZONES: Final = 5
_SMOOTH: Final = 5.0
_COLOUR: Final = 0.9
_BOUNDARY: Final = 5.0
LOW_QUALITY: Final = 0.5


@dataclass(frozen=True)
class Segmentation:
    """A person in a crop.

    Attributes:
        alpha: 0 (background) to 255 (the person).
        quality: 0 to 1: how far to trust it. 1 for a mask that was given.
        doubts: in words, what speaks against it; empty where nothing does.
    """

    alpha: UInt8[np.ndarray, "S S"]
    quality: float
    doubts: tuple[str, ...] = ()

    @property
    def mask(self) -> Bool[np.ndarray, "S S"]:
        """Where the person is."""
        return self.alpha > 127


def segment(
    image_bgr: UInt8[np.ndarray, "S S 3"],
    inside: Bool[np.ndarray, "S S"],
    expected: Float32[np.ndarray, "S S"],
    certain: Bool[np.ndarray, "S S"],
) -> Segmentation:
    """Cut the person out of a crop.

    Args:
        image_bgr: the crop.
        inside: where it shows the picture.
        expected: log-odds of foreground, from the pose.
        certain: what is the person for sure.
    """
    small = cv2.resize(image_bgr, (WORK_PX, WORK_PX), interpolation=cv2.INTER_AREA)
    within = _resized(inside) > 0.99
    seed = (_resized(certain) > 0.5) & within
    prior = cv2.resize(expected, (WORK_PX, WORK_PX), interpolation=cv2.INTER_AREA)
    mask = _whole(_cut(small, within, seed, prior, _COLOUR) > 0.5, seed)
    # The same again, with more faith in the form: where both agree, it hangs on no choice of ours.
    other = _whole(_cut(small, within, seed, prior, 0.5 * _COLOUR) > 0.5, seed)
    quality, doubts = _trust(small, mask, other, within, prior)
    alpha = _refined(image_bgr, mask)
    alpha[~inside] = 0
    return Segmentation(alpha, quality, doubts)


def _cut(
    image: UInt8[np.ndarray, "S S 3"],
    within: Bool[np.ndarray, "S S"],
    seed: Bool[np.ndarray, "S S"],
    prior: Float32[np.ndarray, "S S"],
    faith: float,
) -> Float32[np.ndarray, "S S"]:
    """The share of foreground; ``faith`` weighs the colours against the form."""
    bins = _bins(image)
    weights = edge_weights(image)
    weights *= _BOUNDARY
    share = 1.0 / (1.0 + np.exp(-prior))
    share[seed] = 1.0
    cut = share
    for number in range(ROUNDS):
        colour = _colour_odds(bins, share, within)
        cost = -(faith * colour + prior)
        cost[seed] = -_CERTAIN
        cost[~within] = np.where(prior[~within] > 0, -0.1, 0.1)
        cut = minimal_cut(cost.astype(np.float32), weights)
        trust = min(1.0, 0.5 + 0.25 * number)
        share = trust * cut + (1.0 - trust) * share
    return cut


def _bins(image: UInt8[np.ndarray, "S S 3"]) -> np.ndarray:
    lab = cv2.cvtColor(cv2.GaussianBlur(image, (0, 0), 0.6), cv2.COLOR_BGR2LAB)
    # Lab bytes of photographs fill about half of the range of a and b.
    stretched = lab.astype(np.float32)
    stretched[..., 1:] = np.clip((stretched[..., 1:] - 128.0) * 2.0 + 128.0, 0.0, 255.0)
    return np.minimum((stretched * (_BINS / 256.0)).astype(np.int64), _BINS - 1)


def _colour_odds(
    bins: np.ndarray, share: np.ndarray, within: Bool[np.ndarray, "S S"]
) -> Float32[np.ndarray, "S S"]:
    """Log-odds of foreground by colour: of the whole crop's histograms and those of the zones."""
    size = len(share)
    flat = (bins[..., 0] * _BINS + bins[..., 1]) * _BINS + bins[..., 2]
    rows, columns = np.mgrid[0:size, 0:size] * _ZONES // size
    zone = rows * _ZONES + columns
    count = _BINS**3
    histograms = []
    for part in (share, 1.0 - share):
        index = (zone * count + flat)[within]
        counts = np.bincount(index, part[within], minlength=count * _ZONES**2)
        cells = counts.reshape(_ZONES, _ZONES, _BINS, _BINS, _BINS).astype(np.float32)
        for axis in (2, 3, 4):
            cells = _spread(cells, axis, 0.28)
        near = cells
        for axis in (0, 1):
            near = _spread(near, axis, 0.35)
        histograms.append((cells.sum(axis=(0, 1)).reshape(-1), near.reshape(-1)))
    (whole_in, near_in), (whole_out, near_out) = histograms
    total_in, total_out = whole_in.sum(), whole_out.sum()
    # As many of either: otherwise the larger side would win every doubtful colour.
    balance = float(total_out / max(total_in, 1.0))
    whole = np.log((balance * whole_in + _SMOOTH) / (whole_out + _SMOOTH))
    near = np.log((near_in + 1.0) / (near_out + 1.0))
    index = zone * count + flat
    odds = 0.5 * whole[flat] + 0.5 * near[index]
    return np.clip(odds, -4.0, 4.0).astype(np.float32)


def _spread(cells: np.ndarray, axis: int, share: float) -> np.ndarray:
    """A share of each cell goes to its neighbours along an axis."""
    moved = np.moveaxis(cells, axis, 0)
    out = (1.0 - share) * moved
    out[1:] += 0.5 * share * moved[:-1]
    out[:-1] += 0.5 * share * moved[1:]
    return np.moveaxis(out, 0, axis)


def _whole(mask: Bool[np.ndarray, "S S"], seed: Bool[np.ndarray, "S S"]) -> Bool[np.ndarray, "S S"]:
    """The piece around the face, its small holes filled."""
    _, labels = cv2.connectedComponents((mask | seed).astype(np.uint8), connectivity=4)
    names = labels[seed]
    kept = labels == (np.bincount(names).argmax() if len(names) else 1)
    kept &= mask | seed
    count, holes, stats, _ = cv2.connectedComponentsWithStats((~kept).astype(np.uint8))
    for hole in range(1, count):
        x, y, w, h, area = stats[hole]
        touches = x == 0 or y == 0 or x + w == len(mask) or y + h == len(mask)
        if not touches and area < 0.015 * mask.size:
            kept[holes == hole] = True
    return kept


def _trust(
    image: UInt8[np.ndarray, "S S 3"],
    mask: Bool[np.ndarray, "S S"],
    other: Bool[np.ndarray, "S S"],
    within: Bool[np.ndarray, "S S"],
    prior: Float32[np.ndarray, "S S"],
) -> tuple[float, tuple[str, ...]]:
    """How far a cut can be trusted, 0 to 1, and why not."""
    kernel = np.ones((3, 3), np.uint8)
    border = mask & ~cv2.erode(mask.astype(np.uint8), kernel, borderValue=1).astype(bool)
    border &= cv2.erode(within.astype(np.uint8), kernel, borderValue=0).astype(bool)
    lab = cv2.cvtColor(image, cv2.COLOR_BGR2LAB).astype(np.float32)
    edge = np.zeros(mask.shape, np.float32)
    for axis in (0, 1):
        step = np.linalg.norm(np.roll(lab, 2, axis) - np.roll(lab, -2, axis), axis=2)
        edge = np.maximum(edge, step)
    weak = float((edge[border] < 12.0).mean()) if border.any() else 1.0
    seen = float(np.clip(1.0 - weak / 0.6, 0.0, 1.0))
    agreed = float((mask & other).sum() / max(1, (mask | other).sum()))
    steady = float(np.clip((agreed - 0.7) / 0.3, 0.0, 1.0))
    expected = (prior > 1.0) & within
    missing = float((expected & ~mask).sum() / max(1, expected.sum()))
    extra = float((mask & (prior < -2.0) & within).sum() / max(1, mask.sum()))
    usual = float(np.clip(1.0 - (missing + extra) / 0.4, 0.0, 1.0))
    doubts = []
    if seen < 0.4:
        doubts.append("its outline hardly differs from the background")
    if steady < 0.4:
        doubts.append("person and background have the same colours")
    if usual < 0.4:
        doubts.append("it has not the form that the pose lets expect")
    return round(float((seen * steady * usual) ** (1 / 3)), 3), tuple(doubts)


def _refined(
    image_bgr: UInt8[np.ndarray, "S S 3"], mask: Bool[np.ndarray, "w w"]
) -> UInt8[np.ndarray, "S S"]:
    """The mask at the crop's size, its edge drawn to that of the picture."""
    size = len(image_bgr)
    start = cv2.resize(mask.astype(np.float32), (size, size), interpolation=cv2.INTER_LINEAR)
    radius = max(2, round(size / 48))
    alpha = guided_filter(image_bgr.astype(np.float32) / 255.0, start, radius, 1e-4)
    # What is far from the edge is as it was cut.
    width = 2 * radius + 1
    kernel = np.ones((width, width), np.uint8)
    sure_in = cv2.erode((start > 0.5).astype(np.uint8), kernel, borderValue=1)
    sure_out = cv2.dilate((start > 0.5).astype(np.uint8), kernel)
    alpha = np.where(sure_in > 0, 1.0, np.where(sure_out == 0, 0.0, alpha))
    sharper = np.clip((alpha - 0.5) * 1.6 + 0.5, 0.0, 1.0)
    return np.round(255.0 * sharper).astype(np.uint8)


def guided_filter(
    guide: Float32[np.ndarray, "S S 3"],
    values: Float32[np.ndarray, "S S"],
    radius: int,
    epsilon: float,
) -> Float32[np.ndarray, "S S"]:
    """Values smoothed so that their edges are those of a coloured guide.

    In each window of ``2 radius + 1`` px, values are a linear function of the guide's colour, found
    by least squares with the ridge ``epsilon`` (He, Sun and Tang, 2010, equations 19 to 21).
    """
    side = (2 * radius + 1, 2 * radius + 1)

    def mean(x: np.ndarray) -> np.ndarray:
        return cv2.blur(x, side)

    middle, average = mean(guide), mean(values)
    covariance = np.stack(
        [mean(guide[..., c] * values) - middle[..., c] * average for c in range(3)], axis=-1
    )
    spread = np.empty((*values.shape, 3, 3), np.float32)
    for a in range(3):
        for b in range(3):
            spread[..., a, b] = (
                mean(guide[..., a] * guide[..., b]) - middle[..., a] * middle[..., b]
            )
            spread[..., a, b] += epsilon * (a == b)
    slope = np.linalg.solve(spread, covariance[..., None])[..., 0].astype(np.float32)
    offset = average - (slope * middle).sum(axis=-1)
    return (mean(slope) * guide).sum(axis=-1) + mean(offset)


def _resized(mask: Bool[np.ndarray, "S S"]) -> Float32[np.ndarray, "w w"]:
    return cv2.resize(mask.astype(np.float32), (WORK_PX, WORK_PX), interpolation=cv2.INTER_AREA)
