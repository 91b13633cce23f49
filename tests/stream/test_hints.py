"""What a detector only suspects: the regressor is asked, and has to be surer."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mien.models.errors import InputError
from mien.models.face.bundle import Bundle, BundleInfo
from mien.models.face.crop import FACE_BOX
from mien.stream import FaceTracker, TrackerConfig
from mien.stream.confirm import worth_a_look
from mien.stream.detector import OwnDetector, OwnDetectorConfig
from mien.stream.detector.protocol import Hinting
from mien.stream.regression import Regression
from mien.stream.search import FaceSearch
from mien.stream.sources.opening import open_source
from mien.tools.demo import demo_clip

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


def test_a_hint_in_the_small_copy_is_no_end_of_the_search() -> None:
    class Whole:
        """Suspects the left of every picture, and is sure of the right of large ones."""

        box_style, sure_score = FACE_BOX, 0.8

        def detect(self, image_bgr: np.ndarray, thorough: bool = False) -> np.ndarray:
            found = self.suspect(image_bgr, thorough)
            return found[found[:, 4] >= self.sure_score]

        def suspect(self, image_bgr: np.ndarray, thorough: bool = False) -> np.ndarray:
            score = 0.9 if image_bgr.shape[1] == WIDTH else 0.5
            return np.array([[0, 0, 99, 99, 0.5], [200, 0, 99, 99, score]], np.float32)

    search = FaceSearch[int](Whole)
    search.ask(np.zeros((HEIGHT, WIDTH, 3), np.uint8), {0: (200.0, 0.0, 99.0, 99.0)}, complete=True)
    found = search.answer()
    assert found is not None
    assert (found.boxes[:, 4] >= found.sure_score).tolist() == [True, False]


def test_a_detector_without_hints_is_sure_whatever_its_scores() -> None:
    class Logits:
        box_style = FACE_BOX

        def detect(self, image_bgr: np.ndarray, thorough: bool = False) -> np.ndarray:
            return np.array([[9, 9, 99, 99, -1.0]], np.float32)

    found = FaceSearch[int](Logits).now(np.zeros((HEIGHT, WIDTH, 3), np.uint8))
    assert (found.boxes[:, 4] >= found.sure_score).all()


@given(st.lists(st.floats(0, 1, width=32), max_size=20), st.integers(0, 8))
def test_as_many_of_either_kind_in_their_order(scores: list[float], count: int) -> None:
    boxes = np.zeros((len(scores), 5), np.float32)
    boxes[:, 0], boxes[:, 4] = np.arange(len(scores)), scores
    kept = worth_a_look(boxes, 0.5, count)
    assert (np.diff(kept[:, 0]) > 0).all()
    for sure in (True, False):
        mine = boxes[(boxes[:, 4] >= 0.5) == sure][:count]
        np.testing.assert_array_equal(kept[(kept[:, 4] >= 0.5) == sure], mine)


def test_hints_are_boxes_of_lower_scores_beside_those_that_are_detected() -> None:
    with demo_clip() as path, open_source(path) as source:
        face = next(iter(source)).image_bgr
    # With a tenth of its contrast the shipped detector does not trust it any more.
    face, grey = cv2.resize(face, (160, 160)), np.full((160, 160, 3), 127, np.uint8)
    scene = np.hstack([cv2.addWeighted(face, a, grey, 1 - a, 0) for a in (1, 0.3, 0.1)])
    path = Bundle.default().detector_path
    assert path is not None
    detector, unhinting = OwnDetector(path), OwnDetector(path, OwnDetectorConfig(hints=1.0))
    assert isinstance(detector, Hinting)
    for thorough in (False, True):
        suspected, sure = detector.suspect(scene, thorough), unhinting.suspect(scene, thorough)
        np.testing.assert_array_equal(detector.detect(scene, thorough), sure)
        np.testing.assert_array_equal(suspected[: len(sure)], sure)
        hints = suspected[len(sure) :, 4]
        assert ((hints >= 0.5 * detector.sure_score) & (hints < detector.sure_score)).all()
        assert len(hints)
