"""mien's own detector at run time: coordinates at every look, thresholds, what is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from mien.models.errors import BundleError, InputError
from mien.models.face.bundle import Bundle
from mien.models.face.crop import LANDMARK_BOX
from mien.stream import FaceTracker
from mien.stream.detector import Detector, Hinting, OwnDetector, OwnDetectorConfig
from mien.stream.detector.choice import open_detector

onnx = pytest.importorskip("onnx", reason="makes small networks (extra: train)")
from onnx import TensorProto, helper  # noqa: E402

SIDE = 24.0  # of every box that the network below gives, px of its input

MakeNetwork = Callable[..., Path]


@pytest.fixture(scope="module")
def make_network(tmp_path_factory: pytest.TempPathFactory) -> MakeNetwork:
    """A network to which whatever is purely red is a face of 24 px."""

    def make(threshold: str | None = "0.6", box: str = "box") -> Path:
        red = np.zeros((1, 3, 4, 4), np.float32)
        red[0, 2], red[0, :2] = 1 / (16 * 255), -1 / (16 * 255)
        sizes = np.log(np.array([1, 1, SIDE / 4, SIDE / 4], np.float32))
        tensors = {"red": red, "none": np.zeros((4, 3, 4, 4), np.float32), "sizes": sizes}
        square: dict[str, Any] = {"kernel_shape": [4, 4], "strides": [4, 4]}
        nodes = [
            helper.make_node("Cast", ["pictures"], ["float"], to=TensorProto.FLOAT),
            helper.make_node("Transpose", ["float"], ["planes"], perm=[0, 3, 1, 2]),
            helper.make_node("Conv", ["planes", "red"], ["redness"], **square),
            helper.make_node("Relu", ["redness"], ["heat"]),
            helper.make_node("Conv", ["planes", "none", "sizes"], [box], **square),
        ]
        picture = helper.make_tensor_value_info("pictures", TensorProto.UINT8, ["b", "h", "w", 3])
        outputs = [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, ["b", n, "r", "c"])
            for name, n in (("heat", 1), (box, 4))
        ]
        values = [onnx.numpy_helper.from_array(array, name) for name, array in tensors.items()]
        graph = helper.make_graph(nodes, "red", [picture], outputs, values)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        if threshold is not None:
            helper.set_model_props(model, {"threshold": threshold})
        path = tmp_path_factory.mktemp("network") / "detector.onnx"
        path.write_bytes(model.SerializeToString())
        return path

    return make


@pytest.fixture(scope="module")
def detector(make_network: MakeNetwork) -> OwnDetector:
    return OwnDetector(make_network())


def picture(height: int, width: int, *middles: tuple[float, float], side: int) -> np.ndarray:
    """Grey, with red squares about the middles (x, y)."""
    image = np.full((height, width, 3), 127, np.uint8)
    for x, y in middles:
        left, top = round(x - side / 2), round(y - side / 2)
        image[max(0, top) : top + side, max(0, left) : left + side] = (0, 0, 255)
    return image


def test_it_is_a_detector_whose_boxes_are_those_of_landmarks(detector: OwnDetector) -> None:
    assert isinstance(detector, Detector)
    assert detector.box_style == LANDMARK_BOX
    assert detector.threshold == pytest.approx(0.6)


@pytest.mark.parametrize(("height", "width"), [(240, 320), (480, 640), (100, 70), (721, 433)])
def test_boxes_are_in_pixels_of_the_picture(detector: OwnDetector, height: int, width: int) -> None:
    shrink = min(1.0, 320 / max(height, width))
    x, y = 0.6 * width, 0.4 * height
    boxes = detector.detect(picture(height, width, (x, y), side=round(8 / shrink)))
    assert boxes.shape == (1, 5)
    assert boxes.dtype == np.float32
    left, top, w, h, score = boxes[0].tolist()
    assert (w, h) == pytest.approx((SIDE / shrink, SIDE / shrink), rel=0.02)
    assert (left + w / 2, top + h / 2) == pytest.approx((x, y), abs=4.0 / shrink)
    assert score > 0.6


def test_a_face_too_small_for_the_first_look_is_found_in_the_second(
    detector: OwnDetector,
) -> None:
    image = picture(720, 960, (300, 500), side=8)
    assert len(detector.detect(image)) == 1
    image[100:124, 700:724] = (0, 0, 255)
    for thorough, found in ((False, False), (True, True)):
        boxes = detector.detect(image, thorough)
        middles = boxes[:, :2] + boxes[:, 2:4] / 2
        assert (np.abs(middles - (712, 112)).max(axis=1) < 12).any()
        assert (np.abs(middles - (300, 500)).max(axis=1) < 12).any() == found


def test_what_is_suspected_hides_no_face_that_only_the_second_look_shows(
    detector: OwnDetector,
) -> None:
    image = picture(720, 960, (300, 500), side=8)
    image[100:148, 700:748] = (0, 0, 115)  # 0.45: from half of the threshold on, a hint
    boxes = detector.detect(image)
    assert boxes.shape == (1, 5)
    assert np.abs(boxes[0, :2] + boxes[0, 2:4] / 2 - (300, 500)).max() < 12
    suspected = detector.suspect(image)
    assert len(suspected) > 1
    assert suspected[1:, 4] == pytest.approx(0.45, abs=0.02)


@pytest.mark.parametrize("size", [(1, 1), (31, 500), (240, 320)])
def test_no_face_no_box(detector: OwnDetector, size: tuple[int, int]) -> None:
    for thorough in (False, True):
        boxes = detector.detect(np.full((*size, 3), 120, np.uint8), thorough)
        assert boxes.shape == (0, 5)
        assert boxes.dtype == np.float32


def test_the_threshold_is_the_weights_own_unless_it_is_given(make_network: MakeNetwork) -> None:
    path = make_network("0.25")
    assert OwnDetector(path).threshold == pytest.approx(0.25)
    assert OwnDetector(path, OwnDetectorConfig(threshold=0.9)).threshold == pytest.approx(0.9)
    assert OwnDetector(make_network(None)).threshold == pytest.approx(0.5)


def test_what_is_no_detector_is_refused(make_network: MakeNetwork, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="no detector"):
        OwnDetector(make_network(box="other"))
    with pytest.raises(BundleError, match="threshold"):
        OwnDetector(make_network("high"))
    with pytest.raises(BundleError):
        OwnDetector(tmp_path / "absent.onnx")


@pytest.mark.parametrize(
    "settings", [{"side": 8}, {"threshold": 1.5}, {"most_overlap": -0.1}, {"near_side": 0}]
)
def test_the_config_is_checked(settings: dict[str, float]) -> None:
    with pytest.raises(InputError, match="detector"):
        OwnDetectorConfig(**settings)  # pyright: ignore[reportArgumentType]


def test_nothing_without_a_face_is_taken_for_one(eval_dir: Path) -> None:
    """Lights in the dark among them, which the detector alone suspects."""
    detector, suspected = open_detector("own", Bundle.default()), 0
    assert isinstance(detector, Hinting)
    with FaceTracker(max_faces=8, detector="own") as tracker:
        for path in sorted((eval_dir / "noface" / "img").iterdir()):
            image = cv2.imread(str(path))
            assert image is not None
            suspected += len(detector.suspect(image, thorough=True))
            assert tracker.fit(image) == [], path
    assert suspected > 0
