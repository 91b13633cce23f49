"""Reading blendshapes from near: what both networks say, and what lies outside of a picture."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("torch", reason="the network that is read with is trained first (extra: train)")
pytest.importorskip("onnx", reason="and exported (extra: train)")

import onnx
import onnx.numpy_helper

from mien.models.errors import BundleError
from mien.models.face.bundle import Bundle, write_bundle
from mien.models.face.crop import CROP_SIZE, Crop, extract
from mien.models.face.names import BLENDSHAPE_NAMES
from mien.models.face.views import BLENDSHAPE_VIEWS, ViewPlaces
from mien.stream.blendshapes import BlendshapeReader
from mien.stream.fit import FaceFitter
from mien.stream.regression import Regression, Regressor

from .view_drawings import BLINK, IN, JAW, OUT, drawn

MODEL = Bundle.default().face_model
PLACES = ViewPlaces.of(MODEL)
MIDDLE = (CROP_SIZE - 1) / 2
WHOLE = Crop(MIDDLE, MIDDLE, CROP_SIZE)


def test_doubtful_blinks_count_more_and_nonsense_counts_nothing(
    exported: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader = BlendshapeReader(exported, MODEL)
    image, pose, _ = drawn(PLACES, np.random.default_rng(7))
    params = np.zeros((1, 62), np.float32)
    params[0, :12] = pose.ravel()
    before = Regression(params, blendshapes=np.zeros((1, 52), np.float32))
    word = np.full((1, 52), 0.4, np.float32)
    word[0, BLINK[1]] = 0.95
    monkeypatch.setattr(reader, "_say", lambda _: word.copy())
    after = reader.read(image, [WHOLE], before).blendshapes
    assert after is not None
    expected = np.full(52, 0.8 * 0.4)
    expected[BLINK] = 0.8 * 1.15 * 0.4, 0.8
    expected[[i for i, name in enumerate(BLENDSHAPE_NAMES) if "Look" in name]] = 0.4
    np.testing.assert_allclose(after[0], expected, atol=1e-6)
    word[0, 3] = np.nan
    assert reader.read(image, [WHOLE], before) is before


@pytest.mark.parametrize("mirrored", [False, True])
def test_brows_are_read_where_one_eye_is_outside(exported: Path, mirrored: bool) -> None:
    reader = BlendshapeReader(exported, MODEL)
    image, pose, _ = drawn(PLACES, np.random.default_rng(4))
    params = np.zeros((1, 62), np.float32)
    params[0, :12] = pose.ravel()
    cut = image.copy()[:, :90]  # between the eyes
    if mirrored:
        cut, params[0, 3] = image[:, 110:], params[0, 3] - 110
    before = Regression(params, blendshapes=np.full((1, 52), 0.3, np.float32))
    after = reader.read(np.ascontiguousarray(cut), [WHOLE], before).blendshapes
    assert after is not None
    inner = BLENDSHAPE_NAMES.index("browInnerUp")
    assert after[0, inner] != np.float32(0.3)
    assert (after[0, BLINK] != np.float32(0.3)).tolist() == [mirrored, not mirrored]


def test_the_reader_mixes_in_what_it_sees_and_leaves_who_is_outside(exported: Path) -> None:
    reader = BlendshapeReader(exported, MODEL)
    rng = np.random.default_rng(50)
    right, jaws, mouths = [], [], []
    for _ in range(16):
        image, pose, true = drawn(PLACES, rng)
        blendshapes = np.full((2, 52), 0.3, np.float32)
        params = np.zeros((2, 62), np.float32)
        params[:, :12] = pose.ravel()
        params[1, 3] = 9000.0  # this face is outside of the picture
        before = Regression(params, blendshapes=blendshapes.copy())
        after = reader.read(image, [WHOLE, WHOLE], before)
        assert after.params is before.params
        np.testing.assert_array_equal(before.blendshapes, blendshapes)
        assert after.blendshapes is not None
        np.testing.assert_array_equal(after.blendshapes[1], blendshapes[1])
        found = after.blendshapes[0]
        right += [*((found[BLINK] > 0.5) == (true[BLINK] > 0.5))]
        opened = true[BLINK] < 0.5
        off = (found[OUT] - found[IN]) - (true[OUT] - true[IN])
        assert np.all(np.abs(off[opened]) < 0.5)
        jaws.append(true[JAW])
        mouths.append(found[JAW])
    assert np.mean(right) > 0.9
    assert np.corrcoef(jaws, mouths)[0, 1] > 0.9


def test_a_view_outside_of_the_picture_says_nothing(exported: Path) -> None:
    """The picture ends above the mouth: eyes are read, the mouth is the regressor's."""
    reader = BlendshapeReader(exported, MODEL)
    image, pose, _ = drawn(PLACES, np.random.default_rng(4))
    params = np.zeros((1, 62), np.float32)
    params[0, :12] = pose.ravel()
    before = Regression(params, blendshapes=np.full((1, 52), 0.3, np.float32))
    after = reader.read(np.ascontiguousarray(image[:120]), [WHOLE], before).blendshapes
    assert after is not None
    mouth = np.array([2 in views for views in BLENDSHAPE_VIEWS])
    np.testing.assert_array_equal(after[0, mouth], np.float32(0.3))
    assert np.all(after[0, ~mouth] != np.float32(0.3))


def test_small_faces_are_left_to_the_regressor_more_and_more(exported: Path) -> None:
    """The same face in crops of 120 and of 60 px; gaze is the reader's alone in both."""
    reader = BlendshapeReader(exported, MODEL)
    image, pose, _ = drawn(PLACES, np.random.default_rng(8))
    shares, gazes = [], []
    for times in (1, 2):
        params = np.zeros((1, 62), np.float32)
        params[0, :12] = (times * pose).ravel()  # in pixels of the crop, which are so much finer
        crop = Crop(MIDDLE / times, MIDDLE / times, CROP_SIZE / times)
        told = [np.full((1, 52), value, np.float32) for value in (0.0, 1.0)]
        after = [reader.read(image, [crop], Regression(params, blendshapes=b)) for b in told]
        low, high = (np.asarray(said.blendshapes)[0] for said in after)
        shares.append(1 - (high - low)[[*BLINK, JAW]])
        gazes.append(low[OUT + IN])
        np.testing.assert_allclose(high[OUT], low[OUT], atol=1e-6)
    np.testing.assert_allclose(shares[0], 0.8, atol=1e-5)
    np.testing.assert_allclose(shares[1], 0.2, atol=1e-5)
    np.testing.assert_allclose(gazes[1], gazes[0], atol=1e-4)


def test_a_face_that_is_hardly_there_is_not_looked_at(exported: Path) -> None:
    image, pose, _ = drawn(PLACES, np.random.default_rng(5))
    params = np.zeros((2, 62), np.float32)
    params[:, :12] = pose.ravel()
    before = Regression(
        params,
        blendshapes=np.zeros((2, 52), np.float32),
        presence=np.array([0.01, 0.9], np.float32),
    )
    after = BlendshapeReader(exported, MODEL).read(image, [WHOLE, WHOLE], before)
    assert after.blendshapes is not None
    assert not after.blendshapes[0].any()
    assert after.blendshapes[1].any()


def test_the_fitter_of_a_bundle_reads_from_near(exported: Path, tmp_path: Path) -> None:
    """A picture of noise: whatever the networks say of it, the fitter heeds both."""
    folder = tmp_path / "bundle"
    shutil.copytree(Bundle.default().folder, folder)
    shutil.copy(exported, folder / "blendshapes.onnx")
    bundle = write_bundle(folder, Bundle.default().info)
    image = np.random.default_rng(0).integers(0, 256, (200, 200, 3), dtype=np.uint8)
    image = np.asarray(cv2.GaussianBlur(image, (0, 0), 4.0), np.uint8)
    crop = Crop(100.0, 100.0, 150.0)
    regressor = Regressor(bundle.regressor_path)
    said = regressor.run(extract(image, crop)[None])
    assert said.presence is not None
    said.presence[:] = 1.0
    reader = BlendshapeReader(folder / "blendshapes.onnx", bundle.face_model)
    expected = reader.read(image, [crop], said)

    class Sure:
        def run(self, crops: np.ndarray) -> Regression:
            return said

    (seen,) = FaceFitter(bundle.face_model, Sure(), blendshapes=reader).look(image, [crop])
    (of_bundle,) = FaceFitter.of_bundle(bundle).look(image, [crop])
    (blind,) = FaceFitter(bundle.face_model, Sure()).look(image, [crop])
    assert seen is not None
    assert of_bundle is not None
    assert blind is not None
    np.testing.assert_array_equal(seen.blendshapes, np.asarray(expected.blendshapes)[0])
    assert not np.array_equal(np.asarray(seen.blendshapes), np.asarray(blind.blendshapes))
    assert not np.array_equal(seen.landmarks_px, blind.landmarks_px)  # the lids moved


def test_a_network_that_is_not_what_it_says_is_refused(tmp_path: Path, exported: Path) -> None:
    def spoilt(name: str, change: Callable[[onnx.ModelProto], object]) -> Path:
        model = onnx.load(exported)
        change(model)
        onnx.save(model, tmp_path / name)
        return tmp_path / name

    def endless(model: onnx.ModelProto) -> None:
        for value in model.graph.initializer:
            if value.name == "logits.bias":
                nan = np.full(52, np.nan, np.float32)
                value.CopyFrom(onnx.numpy_helper.from_array(nan, value.name))

    def one_face(model: onnx.ModelProto) -> None:
        for value in (*model.graph.input, *model.graph.output):
            value.type.tensor_type.shape.dim[0].dim_value = 1

    for name, change in {"nan.onnx": endless, "one.onnx": one_face}.items():
        with pytest.raises(BundleError, match=name) as caught:
            BlendshapeReader(spoilt(name, change), MODEL)
        assert "\n" not in str(caught.value)


def test_a_network_without_blendshapes_gets_none(exported: Path) -> None:
    reader = BlendshapeReader(exported, MODEL)
    silent = Regression(np.zeros((1, 62), np.float32))
    assert reader.read(np.zeros((50, 50, 3), np.uint8), [WHOLE], silent) is silent
