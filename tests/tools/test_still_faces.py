"""Which face of a picture comes first."""

from __future__ import annotations

import numpy as np
import pytest

from mien.models.errors import InputError
from mien.models.face.bundle import Bundle
from mien.stream.sources.opening import open_source
from mien.tools.demo import demo_clip
from mien.tools.options import load_bundle
from mien.tools.still_faces import faces_of


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return load_bundle(None)


@pytest.fixture(scope="module")
def portrait() -> np.ndarray:
    with demo_clip() as path, open_source(path) as source:
        return next(iter(source)).image_bgr


def test_a_whole_face_comes_before_a_larger_one_that_is_cut_off(
    portrait: np.ndarray, bundle: Bundle
) -> None:
    import cv2

    _, (alone,) = faces_of(portrait, None, bundle)
    large = cv2.resize(portrait, None, fx=1.3, fy=1.3, interpolation=cv2.INTER_LINEAR)
    begin = int(1.3 * (alone.box_x + 0.45 * alone.box_w))
    cut = large[:, begin:]
    room = np.full((len(large), cut.shape[1] + portrait.shape[1], 3), 90, np.uint8)
    room[:, : cut.shape[1]] = cut
    room[: len(portrait), cut.shape[1] :] = portrait
    _, found = faces_of(room, None, bundle)
    first, second = found
    assert first.box_x > cut.shape[1]
    assert second.box_x < 0
    assert second.box_w * second.box_h > first.box_w * first.box_h


def test_the_camera_is_as_said_or_assumed(portrait: np.ndarray, bundle: Bundle) -> None:
    assumed, _ = faces_of(portrait, None, bundle)
    narrow, _ = faces_of(portrait, "30", bundle)
    assert narrow.fx > 1.9 * assumed.fx
    with pytest.raises(InputError):
        faces_of(portrait, "no-camera", bundle)
