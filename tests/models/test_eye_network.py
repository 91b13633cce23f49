"""The eyes' network: training on drawn eyes, checkpoint, export, and reading with it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="trains the eyes' network (extra: train)")
pytest.importorskip("onnx", reason="exports the eyes' network (extra: train)")

import onnx  # noqa: E402
import onnx.numpy_helper  # noqa: E402

from mien.models.errors import BundleError, InputError, OutputError  # noqa: E402
from mien.models.eyes.checkpoint import EyeCheckpoint, is_eye_checkpoint  # noqa: E402
from mien.models.eyes.dataset import LookConfig, misjudged, reduced  # noqa: E402
from mien.models.eyes.export import export_eyes, eyes_to_onnx  # noqa: E402
from mien.models.eyes.losses import eye_loss  # noqa: E402
from mien.models.eyes.network import EyeNetwork  # noqa: E402
from mien.models.eyes.sheet import eyes_sheet  # noqa: E402
from mien.models.eyes.train import EyeTrainConfig, train_eyes  # noqa: E402
from mien.models.face.bundle import Bundle, write_bundle  # noqa: E402
from mien.models.face.crop import CROP_SIZE, Crop, extract  # noqa: E402
from mien.models.face.eye_views import EYE_COLUMNS, EyePlaces  # noqa: E402
from mien.models.synthetic.eye_shards import EyeLabels, save_meta, save_shard  # noqa: E402
from mien.stream.eyes import EyeReader  # noqa: E402
from mien.stream.fit import FaceFitter  # noqa: E402
from mien.stream.onnx_session import open_session  # noqa: E402
from mien.stream.regression import Regression, Regressor  # noqa: E402

from .eye_drawings import BLINK, IN, OUT, drawn, write_drawings  # noqa: E402

MODEL = Bundle.default().face_model
PLACES = EyePlaces.of(MODEL)
MIDDLE = (CROP_SIZE - 1) / 2
WHOLE = Crop(MIDDLE, MIDDLE, CROP_SIZE)
MILD = LookConfig(turn_deg=1.0, shift_mm=0.5, stray=0.0, scale=0.02, shape=0.1, reduced=0.0)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> EyeTrainConfig:
    """A training that has learned drawn eyes; its checkpoint lies in ``out``."""
    folder = tmp_path_factory.mktemp("eyes")
    write_drawings(folder / "shards", PLACES, shards=3, each=120)
    config = EyeTrainConfig(
        shards=folder / "shards",
        out=folder / "out",
        face_model=Bundle.default().folder / "face_model.npz",
        images=9600,
        look=MILD,
        batch=32,
        warmup_steps=20,
        average_decay=0.95,
        validation_shards=1,
        log_steps=50,
        validate_steps=100,
    )
    train_eyes(config)
    return config


@pytest.fixture(scope="module")
def exported(trained: EyeTrainConfig) -> Path:
    return export_eyes(trained.out / "checkpoint.pt", trained.out)


def random_network() -> EyeNetwork:
    """Random weights, with running statistics that are not those of an untrained network."""
    torch.manual_seed(2)
    network = EyeNetwork().train()
    with torch.no_grad():
        for seed in range(4):
            network(*map(torch.from_numpy, random_eyes(seed, 8)))
        network.say.weight.normal_(0, 0.5)
    return network.eval()


def random_eyes(seed: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    eyes = rng.integers(0, 256, (count, 2, 40, 64, 3), dtype=np.uint8)
    return eyes, rng.uniform(-1, 1, (count, 2, 2)).astype(np.float32)


def said(network: EyeNetwork, eyes: np.ndarray, facing: np.ndarray) -> np.ndarray:
    with torch.inference_mode():
        return network(torch.from_numpy(eyes), torch.from_numpy(facing)).numpy()


def test_the_export_says_what_the_network_says_one_by_one_and_together() -> None:
    network = random_network()
    eyes, facing = random_eyes(9, 5)
    expected = said(network, eyes, facing)
    assert expected.std(0).min() > 1e-3  # it tells pictures apart
    session = open_session(eyes_to_onnx(network).SerializeToString())
    found = np.asarray(session.run(None, {"eyes": eyes, "facing": facing})[0])
    np.testing.assert_allclose(found, expected, atol=1e-4)
    for i in range(5):
        one = {"eyes": eyes[i : i + 1], "facing": facing[i : i + 1]}
        alone = np.asarray(session.run(None, one)[0])
        np.testing.assert_allclose(alone[0], found[i], atol=1e-5)


def test_eyes_that_change_places_change_what_is_said_of_them() -> None:
    network = random_network()
    eyes, facing = random_eyes(3, 4)
    here = said(network, eyes, facing)
    there = said(network, eyes[:, ::-1].copy(), facing[:, ::-1].copy())
    np.testing.assert_allclose(there, here[:, ::-1], atol=1e-5)
    assert np.abs(here[:, 0] - here[:, 1]).max() > 1e-3


def test_the_loss_is_zero_for_the_truth_and_heeds_no_gaze_of_closed_eyes() -> None:
    true = torch.rand(6, 2, 7)
    assert float(eye_loss(true, true)[0]) == 0.0
    off = true.clone()
    off[..., OUT] = 1 - off[..., OUT]
    costs = []
    for lid in (0.0, 1.0):
        true[..., BLINK] = off[..., BLINK] = lid
        costs.append(float(eye_loss(off, true)[0]))
    assert costs[1] == pytest.approx(0.1 * costs[0], rel=1e-4)


def test_training_learns_lids_and_gaze(trained: EyeTrainConfig) -> None:
    lines = (trained.out / "log.jsonl").read_text("utf-8").splitlines()
    last = json.loads(lines[-1])["validation"]
    assert last["blink_error"] < 0.1
    assert last["winks"] > 0.9
    assert last["gaze_deg"] < 0.5 * last["gaze_constant_deg"]
    assert (trained.out / "curves.png").stat().st_size > 1000


def test_a_training_goes_on_where_it_stopped(trained: EyeTrainConfig, tmp_path: Path) -> None:
    straight = replace(trained, out=tmp_path / "straight", images=192)
    parts = replace(trained, out=tmp_path / "parts", images=192)
    train_eyes(straight)

    def stop(line: dict[str, Any]) -> None:
        if line["step"] == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_eyes(replace(parts, log_steps=3), stop)
    assert EyeCheckpoint.load(parts.out / "checkpoint.pt").progress.step == 3
    with pytest.raises(OutputError, match="--resume"):
        train_eyes(parts)
    train_eyes(replace(parts, resume=True))
    one, two = (EyeCheckpoint.load(c.out / "checkpoint.pt") for c in (straight, parts))
    assert two.progress.images == one.progress.images == 192
    for name, value in one.weights.items():
        torch.testing.assert_close(two.weights[name], value, rtol=1e-4, atol=1e-5)


def test_the_reader_puts_lids_and_gaze_in_and_leaves_the_rest(exported: Path) -> None:
    reader = EyeReader(exported, MODEL)
    rng = np.random.default_rng(50)
    right = []
    for _ in range(12):
        image, pose, values = drawn(PLACES, rng)
        blendshapes = np.full((2, 52), 0.3, np.float32)
        params = np.zeros((2, 62), np.float32)
        params[:, :12] = pose.ravel()
        params[1, 3] = 9000.0  # this face's eyes are outside of the picture
        before = Regression(params, blendshapes=blendshapes.copy())
        after = reader.read(image, [WHOLE, WHOLE], before)
        assert after.params is before.params
        np.testing.assert_array_equal(before.blendshapes, blendshapes)
        assert after.blendshapes is not None
        np.testing.assert_array_equal(after.blendshapes[1], blendshapes[1])
        columns = np.array(EYE_COLUMNS)
        others = np.setdiff1d(np.arange(52), columns)
        np.testing.assert_array_equal(after.blendshapes[0, others], np.float32(0.3))
        found, true = after.blendshapes[0, columns], values[columns]
        right += [*((found[:, BLINK] > 0.5) == (true[:, BLINK] > 0.5))]
        opened = true[:, BLINK] < 0.5
        off = (found[:, OUT] - found[:, IN]) - (true[:, OUT] - true[:, IN])
        assert np.all(np.abs(off[opened]) < 0.5)
    assert np.mean(right) > 0.9


def test_lids_of_small_faces_are_left_to_the_regressor_more_and_more(exported: Path) -> None:
    """The same eyes in crops of 120 and of 60 px; gaze is the eyes' alone in both."""
    reader = EyeReader(exported, MODEL)
    image, pose, _ = drawn(PLACES, np.random.default_rng(8))
    shares, gazes = [], []
    for times in (1, 2):
        params = np.zeros((1, 62), np.float32)
        params[0, :12] = (times * pose).ravel()  # in pixels of the crop, which are so much finer
        crop = Crop(MIDDLE / times, MIDDLE / times, CROP_SIZE / times)
        told = [np.full((1, 52), value, np.float32) for value in (0.0, 1.0)]
        after = [reader.read(image, [crop], Regression(params, blendshapes=b)) for b in told]
        low, high = (np.asarray(said.blendshapes)[0, np.array(EYE_COLUMNS)] for said in after)
        shares.append(1 - (high - low)[:, BLINK])
        gazes.append(low[:, [OUT, IN]])
        np.testing.assert_allclose(high[:, OUT], low[:, OUT], atol=1e-6)
    np.testing.assert_allclose(shares[0], 2 / 3, atol=1e-5)
    np.testing.assert_allclose(shares[1], 1 / 6, atol=1e-5)
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
    after = EyeReader(exported, MODEL).read(image, [WHOLE, WHOLE], before)
    assert after.blendshapes is not None
    assert not after.blendshapes[0].any()
    assert after.blendshapes[1].any()


def test_the_fitter_of_a_bundle_reads_the_eyes(exported: Path, tmp_path: Path) -> None:
    """A picture of noise: whatever the networks say of it, the fitter takes the eyes' word."""
    folder = tmp_path / "bundle"
    shutil.copytree(Bundle.default().folder, folder)
    shutil.copy(exported, folder / "eyes.onnx")
    bundle = write_bundle(folder, Bundle.default().info)
    image = np.random.default_rng(0).integers(0, 256, (200, 200, 3), dtype=np.uint8)
    image = np.asarray(cv2.GaussianBlur(image, (0, 0), 4.0), np.uint8)
    crop = Crop(100.0, 100.0, 150.0)
    regressor = Regressor(bundle.regressor_path)
    said = regressor.run(extract(image, crop)[None])
    assert said.presence is not None
    said.presence[:] = 1.0
    expected = EyeReader(folder / "eyes.onnx", bundle.face_model).read(image, [crop], said)

    class Sure:
        def run(self, crops: np.ndarray) -> Regression:
            return said

    eyes = EyeReader(folder / "eyes.onnx", bundle.face_model)
    (seen,) = FaceFitter(bundle.face_model, Sure(), eyes=eyes).look(image, [crop])
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
                nan = np.full(7, np.nan, np.float32)
                value.CopyFrom(onnx.numpy_helper.from_array(nan, value.name))

    def one_face(model: onnx.ModelProto) -> None:
        for value in (*model.graph.input, *model.graph.output):
            value.type.tensor_type.shape.dim[0].dim_value = 1

    for name, change in {"nan.onnx": endless, "one.onnx": one_face}.items():
        with pytest.raises(BundleError, match=name) as caught:
            EyeReader(spoilt(name, change), MODEL)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("seed", range(4))
def test_a_smaller_picture_has_the_same_views_in_training(seed: int) -> None:
    rng = np.random.default_rng(seed)
    image, pose, _ = drawn(PLACES, rng)
    image = np.asarray(cv2.GaussianBlur(image, (0, 0), 3.0), np.uint8)
    small, smaller = reduced(image, pose, rng)
    assert small.shape[0] < image.shape[0]
    plain = np.zeros(40, np.float32)
    one = PLACES.views(image, WHOLE, pose, plain)
    two = PLACES.views(small, WHOLE, smaller.astype(np.float32), plain)
    np.testing.assert_allclose(two.facing, one.facing, atol=1e-6)
    assert np.abs(two.pixels.astype(int) - one.pixels.astype(int)).mean() < 4


def test_a_misjudged_head_turns_about_its_eyes() -> None:
    rng = np.random.default_rng(0)
    _, pose, _ = drawn(PLACES, rng)
    eyes = PLACES.mean.mean(0).astype(np.float64)
    steady = replace(LookConfig(), shift_mm=0.0)
    for _ in range(20):
        moved = misjudged(pose.astype(np.float64), eyes, steady, rng)
        assert np.abs(moved[:, :3] - pose[:, :3]).max() > 1e-3
        there = moved[:2, :3] @ eyes + moved[:2, 3]
        np.testing.assert_allclose(there, pose[:2, :3] @ eyes + pose[:2, 3], atol=1e-3)


def test_a_network_without_blendshapes_gets_none(exported: Path) -> None:
    reader = EyeReader(exported, MODEL)
    silent = Regression(np.zeros((1, 62), np.float32))
    assert reader.read(np.zeros((50, 50, 3), np.uint8), [WHOLE], silent) is silent


def test_what_is_no_such_file_is_said_in_one_line(
    trained: EyeTrainConfig, tmp_path: Path, exported: Path
) -> None:
    with pytest.raises(BundleError, match="expected"):
        EyeReader(Bundle.default().regressor_path, MODEL)
    assert is_eye_checkpoint(trained.out / "checkpoint.pt")
    assert not is_eye_checkpoint(exported)
    with pytest.raises(InputError, match="not a checkpoint"):
        EyeCheckpoint.load(exported)
    spoils: dict[str, Callable[[Path], object]] = {
        # What is written first is found first.
        "not the description": lambda f: (f / "eyes.json").write_text("{"),
        "version 7": lambda f: (f / "eyes.json").write_text('{"version": 7}'),
        "another face model": lambda f: save_meta(f, {"seed": 0, "face_model": 5}),
        "not a finished shard": lambda f: (f / "shard-00001.npz").write_bytes(b"x"),
        "no picture, or labels": lambda f: save_shard(
            f,
            1,
            np.zeros((1, 104, 208, 3), np.uint8),
            EyeLabels(*(np.full((1, *size), 2, np.float32) for size in ((3, 4), (40,), (52,)))),
        ),
        "pictures are": lambda f: np.save(
            f / "shard-00002.images.npy", np.zeros((120, 2, 2, 3), np.uint8)
        ),
    }
    for number, (reason, spoil) in enumerate(spoils.items()):
        folder = tmp_path / f"shards{number}"
        write_drawings(folder, PLACES, shards=3, each=120)
        spoil(folder)
        with pytest.raises(InputError, match=reason) as caught:
            train_eyes(replace(trained, shards=folder, out=tmp_path / f"out{number}"))
        assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match="held out"):
        train_eyes(replace(trained, validation_shards=3, out=tmp_path / "none"))


def test_a_sheet_shows_pictures_over_their_views(trained: EyeTrainConfig) -> None:
    sheet = eyes_sheet(trained.shards, trained.face_model, count=12, columns=4)
    assert sheet.shape[1] == 4 * 208
    assert sheet.shape[0] == 3 * (104 + 65)
    assert sheet.std() > 10
