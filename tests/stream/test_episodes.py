"""Closed eyes: what counts as a blink, for the report and for ELAN alike."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from mien.models.face.names import BLENDSHAPE_INDEX
from mien.stream.episodes import CLOSES, OPENS, BlinkDetector, Closure
from mien.stream.observation import FaceObservation

FRAME_S = 0.04

Maker = Callable[..., FaceObservation]


def closures(
    make: Maker, left: Sequence[float], right: Sequence[float], skip: Sequence[int] = ()
) -> list[Closure]:
    """What is found where frame ``i`` has these lids; frames of ``skip`` have no row."""
    found, detector = [], BlinkDetector()
    for i, (one, other) in enumerate(zip(left, right, strict=True)):
        if i in skip:
            continue
        lids = np.zeros(52, dtype=np.float32)
        lids[BLENDSHAPE_INDEX["eyeBlinkLeft"]] = one
        lids[BLENDSHAPE_INDEX["eyeBlinkRight"]] = other
        found.append(detector.add(make(frame=i, blendshapes=lids), i * FRAME_S))
    found.append(detector.lose(len(left) * FRAME_S))
    return [closure for closure in found if closure is not None]


def test_a_blink_has_its_frames_and_times(make_face_row: Maker) -> None:
    lids = [0.1, 0.6, 0.9, 0.4, 0.1]
    (blink,) = closures(make_face_row, lids, lids)
    assert (blink.first, blink.last, blink.whole) == (1, 3, True)
    assert (blink.begin_s, blink.end_s) == pytest.approx((0.04, 0.16))
    assert blink.is_blink()
    assert not blink.is_blink(longest_s=0.1)


@pytest.mark.parametrize("level", [OPENS, CLOSES])
def test_noise_about_one_threshold_does_not_cut_a_blink(make_face_row: Maker, level: float) -> None:
    lids = [0.0, 0.9, *(level + 0.05 * (-1) ** i for i in range(4)), 0.9, 0.0]
    if level == OPENS:
        lids = [0.0, 0.9, 0.31, 0.35, 0.31, 0.9, 0.0]
    assert len(closures(make_face_row, lids, lids)) == 1


def test_a_wink_is_none(make_face_row: Maker) -> None:
    wink, other = [0.0, 1.0, 1.0, 0.0], [0.0] * 4
    assert closures(make_face_row, wink, other) == []
    assert closures(make_face_row, other, wink) == []


def test_ends_that_nobody_saw_are_told(make_face_row: Maker) -> None:
    shut_first = [0.9, 0.9, 0.0, 0.9, 0.9]
    first, last = closures(make_face_row, shut_first, shut_first)
    assert (first.first, first.last, first.whole) == (0, 1, False)
    assert (last.first, last.last, last.whole) == (3, 4, False)
    assert last.end_s == pytest.approx(0.2)


def test_a_gap_ends_a_closure_unseen(make_face_row: Maker) -> None:
    lids = [0.0, 0.9, 0.9, 0.9, 0.0]
    (after,) = closures(make_face_row, lids, lids, skip=[2])
    assert (after.first, after.whole) == (3, False)
