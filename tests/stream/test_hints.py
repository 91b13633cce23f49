"""What a detector only suspects: the regressor is asked, and has to be surer."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mien.models.errors import InputError
from mien.models.face.bundle import Bundle, BundleInfo
from mien.stream import FaceTracker, TrackerConfig
from mien.stream.confirm import worth_a_look
from mien.stream.detector import OwnDetector
from mien.stream.detector.protocol import Hinting
from mien.stream.regression import Regression

from .tracked_world import CAMERA, HEIGHT, WIDTH, Person, World

STEP = 33_000_000


class Unsure(World):
    """A detector that is sure of no face that is there, and suspects each."""

    sure_score = 0.95  # a face's score is 0.9

    def detect(self, image_bgr: np.ndarray, thorough: bool = False) -> np.ndarray:
        found = self.suspect(image_bgr, thorough)
        return found[found[:, 4] >= self.sure_score]

    def suspect(self, image_bgr: np.ndarray, thorough: bool = False) -> np.ndarray:
        return super().detect(image_bgr, thorough)


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    folder = Path(str(resources.files("mien.models.weights.default")))
    return Bundle(folder, BundleInfo("test", "0", "CC0-1.0", "", "", ""), "0" * 64, {})


@pytest.fixture
def world(bundle: Bundle) -> Unsure:
    return Unsure(bundle)


def tracker_of(bundle: Bundle, world: Unsure, **settings: float) -> FaceTracker:
    config = TrackerConfig(**settings)  # pyright: ignore[reportArgumentType]
    return FaceTracker(bundle, CAMERA, detector=world, regressor=world, config=config)


def test_a_hint_needs_more_presence_and_then_is_a_face(bundle: Bundle, world: Unsure) -> None:
    world.people = [Person()]
    tracker = tracker_of(bundle, world, find_presence=0.95, hint_presence=0.99)
    world.presence = 0.98
    assert not any(tracker.update(world.image, i * STEP) for i in range(10))
    assert tracker.fit(world.image) == []
    world.presence = 0.992
    rows = [tracker.update(world.image, i * STEP) for i in range(10, 20)]
    assert all(row.observed for row in rows[-1])
    assert len(rows[-1]) == len(tracker.fit(world.image)) == 1
    assert isinstance(world, Hinting)
    world.sure_score = 0.9  # the same box, of which the detector is sure now
    world.presence = 0.96
    assert len(tracker.fit(world.image)) == 1


def test_to_find_surely_needs_no_less_than_a_hint(bundle: Bundle, world: Unsure) -> None:
    world.people, world.presence = [Person()], 0.96
    assert tracker_of(bundle, world, find_presence=0.97, hint_presence=0.95).fit(world.image) == []
    with pytest.raises(InputError, match="hint_presence"):
        TrackerConfig(hint_presence=1.1)


def test_of_a_network_without_presence_hints_are_no_faces(bundle: Bundle, world: Unsure) -> None:
    class Silent(Unsure):
        def run(self, crops: np.ndarray) -> Regression:
            return Regression(super().run(crops).params)

    silent = Silent(bundle)
    silent.people = [Person()]
    tracker = tracker_of(bundle, silent)
    assert tracker.fit(silent.image) == []
    silent.sure_score = 0.9
    assert len(tracker.fit(silent.image)) == 1
    assert all(tracker.update(silent.image, i * STEP) for i in range(10))
    silent.sure_score = 0.95
    rows = [tracker.update(silent.image, i * STEP) for i in range(10, 90)]
    assert all(r and r[0].observed for r in rows), "what is followed stays while it is suspected"


def test_many_hints_do_not_hide_a_sure_face(bundle: Bundle, world: Unsure) -> None:
    world.people, world.presence, world.sure_score = [Person()], 0.999, 0.9
    side = min(WIDTH, HEIGHT) * 1.0
    world.fakes = [np.array([10.0 * i, 0.0, side, side, 0.8]) for i in range(12)]
    tracker = tracker_of(bundle, world)
    rows = [tracker.update(world.image, i * STEP) for i in range(3)]
    assert [row.observed for row in rows[-1]] == [True]


@given(st.lists(st.floats(0, 1, width=32), max_size=20), st.integers(0, 8))
def test_as_many_of_either_kind_in_their_order(scores: list[float], count: int) -> None:
    boxes = np.zeros((len(scores), 5), np.float32)
    boxes[:, 0], boxes[:, 4] = np.arange(len(scores)), scores
    kept = worth_a_look(boxes, 0.5, count)
    assert (np.diff(kept[:, 0]) > 0).all()
    for sure in (True, False):
        mine = boxes[(boxes[:, 4] >= 0.5) == sure][:count]
        np.testing.assert_array_equal(kept[(kept[:, 4] >= 0.5) == sure], mine)


def test_detecting_is_suspecting_without_hints(astronaut: np.ndarray) -> None:
    path = Bundle.default().detector_path
    assert path is not None
    detector = OwnDetector(path)
    assert isinstance(detector, Hinting)
    for thorough in (False, True):
        suspected = detector.suspect(astronaut, thorough)
        sure = suspected[suspected[:, 4] >= detector.sure_score]
        np.testing.assert_array_equal(detector.detect(astronaut, thorough), sure)
        least = detector.config.hints * detector.sure_score
        assert (suspected[:, 4] >= least).all()
    assert len(suspected) > len(sure) >= 1
