"""How far the picture of a head moves by itself, as optical flow sees it.

A head that holds still breathes, nods and sways, speaks, and films repeat and drop frames: what the
picture itself does is no jitter, and no filter is to take it away. Points over brows, eyes and nose
are followed from each frame to the next (Lucas and Kanade on pyramids, OpenCV's), and the
similarity that most of them move by (RANSAC) is how the picture moved there. Nothing of mien is in
it but where the face lies.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from mien.stream.sources import open_source

GRID = (14, 12)
"""Points across and down."""
BROWS, NOSE_END = slice(17, 27), 33
BELOW_NOSE = 0.1
"""Of the face's height from the brows on, by which the grid reaches below the nose."""
WINDOW_PX = 21
LEVELS = 2
MOST_AWAY_PX = 0.5
"""From where the similarity puts a point that moves with it."""


def carried(
    path: Path, marks: np.ndarray, points: Sequence[int], stretches: Sequence[np.ndarray]
) -> np.ndarray:
    """Where the picture carries points of a face to, from the beginning of each stretch on.

    Args:
        path: the video.
        marks: (T, 68, 2) landmarks, px: where the face is.
        points: which of them are carried.
        stretches: frames of each, in order, one after the other.

    Returns:
        (T, len(points), 2) px, up to an offset in each stretch; NaN outside of them.
    """
    places = np.full((len(marks), len(points), 2), np.nan)
    begins = {int(run[0]) for run in stretches}
    wanted = {int(k) for run in stretches for k in run}
    before: np.ndarray | None = None
    with open_source(path) as source:
        for k, frame in enumerate(source):
            if k not in wanted:
                continue
            grey = cv2.cvtColor(frame.image_bgr, cv2.COLOR_BGR2GRAY)
            if k in begins or before is None:
                places[k] = marks[k, points]
            else:
                at = marks[k - 1]
                moved = similarity(before, grey, grid_on(at))
                places[k] = places[k - 1] + at[points] @ moved[:, :2].T + moved[:, 2] - at[points]
            before = grey
    return places


def grid_on(marks: np.ndarray) -> np.ndarray:
    """(K, 1, 2) float32 points over the part of a face that neither lids nor lips fill, px."""
    low, high = marks[17:].min(axis=0), marks[17:].max(axis=0)
    top, height = marks[BROWS, 1].min(), high[1] - low[1]
    bottom = marks[NOSE_END, 1] + BELOW_NOSE * height
    x, y = np.linspace(low[0], high[0], GRID[0]), np.linspace(top, bottom, GRID[1])
    return np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 1, 2).astype(np.float32)


def similarity(before: np.ndarray, after: np.ndarray, points: np.ndarray) -> np.ndarray:
    """(2, 3) that takes the pixels of one grey picture to where the next one shows them.

    Raises:
        RuntimeError: too few of the points can be followed.
    """
    ends, found, _ = cv2.calcOpticalFlowPyrLK(
        before, after, points, np.empty_like(points),
        winSize=(WINDOW_PX, WINDOW_PX), maxLevel=LEVELS,
        criteria=(cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 50, 1e-4),
    )  # fmt: skip
    kept = found[:, 0] > 0
    moved, _ = cv2.estimateAffinePartial2D(
        points[kept], ends[kept], ransacReprojThreshold=MOST_AWAY_PX, refineIters=20
    )
    if moved is None:
        raise RuntimeError("the picture's own motion cannot be seen: too few points are followed")
    return moved
