"""A network that only regresses: no presence, no uncertainty, no blendshapes."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

import numpy as np
import pytest

from mien.models.errors import BundleError
from mien.models.face.bundle import Bundle, BundleInfo
from mien.models.face.crop import FACE_BOX
from mien.models.face.morphable import FaceModel
from mien.stream import FaceTracker
from mien.stream.regression import ASSUMED_VARIANCE, Regression, Regressor

STEP = 33_000_000
IMAGE = np.zeros((480, 640, 3), np.uint8)
BOX = np.array([[260.0, 180.0, 120.0, 120.0]], np.float32)
NOBODY = np.zeros((0, 4), np.float32)


class Silent:
    """Sees the same smiling face in the middle of every crop, and can say no more."""

    def __init__(self, model: FaceModel) -> None:
        marks = model.mean[model.landmark_vertices]
        low, high = marks.min(axis=0), marks.max(axis=0)
        self.params = np.zeros(62, np.float32)
        self.params[[0, 5, 10]] = scale = 120 / 1.414 / float((high - low)[:2].max())
        self.params[[3, 7]] = 59.5 - scale * (low + high)[:2] / 2
        self.params[52:] = 1.0

    def run(self, crops: np.ndarray) -> Regression:
        return Regression(np.repeat(self.params[None], len(crops), axis=0))


class Boxes:
    """A detector that sees what it is told to."""

    box_style = FACE_BOX

    def __init__(self) -> None:
        self.boxes, self.calls = np.c_[BOX, [[0.9]]].astype(np.float32), 0

    def detect(self, image_bgr: np.ndarray, thorough: bool = False) -> np.ndarray:
        self.calls += 1
        small = image_bgr.shape[1] / IMAGE.shape[1]  # a copy of the picture may be searched
        return self.boxes * np.array([small, small, small, small, 1.0], np.float32)


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    folder = Path(str(resources.files("mien.models.weights.default")))
    return Bundle(folder, BundleInfo("test", "0", "CC0-1.0", "", "", ""), "0" * 64, {})


@pytest.fixture
def silent(bundle: Bundle) -> Silent:
    return Silent(bundle.face_model)


@pytest.mark.parametrize("smoothing", ["raw", "responsive"])
def test_unknown_columns_are_null_seen_or_predicted(
    bundle: Bundle, silent: Silent, smoothing: str
) -> None:
    tracker = FaceTracker(bundle, smoothing=smoothing, regressor=silent)
    seen = [tracker.update(IMAGE, i * STEP, BOX) for i in range(5)]
    gap = [tracker.update(IMAGE, i * STEP, NOBODY) for i in range(5, 8)]
    assert [row.observed for rows in (*seen, *gap) for row in rows] == [True] * 5 + [False] * 3
    for row in (row for rows in (*seen, *gap) for row in rows):
        assert row.confidence is row.pose_variance is row.blendshapes is None
        assert np.isfinite([row.yaw, row.tz]).all()
    assert seen[-1][0].expression == pytest.approx(np.ones(10), abs=0.05)
    model = bundle.face_model
    mesh = tracker.mesh_px(seen[-1][0])
    np.testing.assert_allclose(mesh[model.landmark_vertices], seen[-1][0].landmarks_px, atol=0.05)
    smile = model.decode(np.zeros(40, np.float32), np.ones(10, np.float32))
    np.testing.assert_array_equal(
        model.decode_seen(np.zeros(40, np.float32), np.ones(10, np.float32), None), smile
    )


def test_the_detector_says_that_a_face_is_gone(bundle: Bundle, silent: Silent) -> None:
    detector = Boxes()
    tracker = FaceTracker(bundle, detector=detector, regressor=silent)
    rows = [tracker.update(IMAGE, i * STEP) for i in range(46)]
    assert all(len(r) == 1 and r[0].observed for r in rows)
    assert detector.calls in (3, 4), "asked every half second, not in every frame"
    there, detector.boxes = detector.boxes, np.zeros((0, 5), np.float32)
    gone = [tracker.update(IMAGE, i * STEP) for i in range(46, 90)]
    seen = [bool(rows and rows[0].observed) for rows in gone]
    assert seen == sorted(seen, reverse=True), "once it is doubted the network alone is no proof"
    assert seen.count(True) <= 16
    assert not gone[-1]
    detector.boxes = there
    back = [tracker.update(IMAGE, i * STEP) for i in range(90, 100)]
    assert back[-1][0].observed
    assert back[-1][0].track == 0


def test_geometry_judges_what_the_network_cannot(bundle: Bundle, silent: Silent) -> None:
    silent.params[[0, 5, 10]] *= 0.2
    tracker = FaceTracker(bundle, detector=Boxes(), regressor=silent)
    assert not any(tracker.update(IMAGE, i * STEP) for i in range(5))
    assert tracker.fit(IMAGE) == []


def test_variances_are_assumed_where_none_are_stated(silent: Silent) -> None:
    one = silent.run(np.zeros((2, 120, 120, 3), np.uint8)).one(1)
    np.testing.assert_array_equal(one.variance, ASSUMED_VARIANCE)
    assert np.all(ASSUMED_VARIANCE > 0)


def test_a_network_with_some_of_the_outputs_is_read(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx", reason="writes a network (extra: train)")
    helper, kinds = onnx.helper, onnx.TensorProto

    def write(names: dict[str, int]) -> Path:
        nodes = [helper.make_node("Cast", ["crops"], ["x"], to=kinds.FLOAT)]
        nodes.append(helper.make_node("ReduceMean", ["x"], ["m"], axes=[1, 2, 3], keepdims=0))
        nodes.append(helper.make_node("Unsqueeze", ["m"], ["column"], axes=[1]))
        outputs, weights = [], []
        for name, width in names.items():
            weights.append(helper.make_tensor(f"{name}_w", kinds.FLOAT, [1, width], range(width)))
            nodes.append(helper.make_node("MatMul", ["column", f"{name}_w"], [name]))
            outputs.append(helper.make_tensor_value_info(name, kinds.FLOAT, ["B", width]))
        inputs = [helper.make_tensor_value_info("crops", kinds.UINT8, ["B", 120, 120, 3])]
        graph = helper.make_graph(nodes, "fake", inputs, outputs, weights)
        opsets = [helper.make_opsetid("", 11)]
        onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), tmp_path / "n.onnx")
        return tmp_path / "n.onnx"

    said = Regressor(write({"presence": 1, "params": 62})).run(np.ones((2, 120, 120, 3), np.uint8))
    assert said.presence is not None
    assert (said.params.shape, said.presence.shape) == ((2, 62), (2,))
    assert said.log_variance is said.blendshapes is None
    for wrong in ({"presence": 1}, {"params": 141}, {"params": 62, "blendshapes": 51}):
        with pytest.raises(BundleError, match="expected"):
            Regressor(write(wrong))
