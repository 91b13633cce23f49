"""The blendshapes' network: training on drawn faces, checkpoint, export, and reading with it."""

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

torch = pytest.importorskip("torch", reason="trains the blendshapes' network (extra: train)")
pytest.importorskip("onnx", reason="exports the blendshapes' network (extra: train)")

import onnx  # noqa: E402
import onnx.numpy_helper  # noqa: E402

from mien.models.blendshapes.checkpoint import BlendshapeCheckpoint, is_blendshape_checkpoint  # noqa: E402
from mien.models.blendshapes.dataset import LookConfig, misjudged, reduced  # noqa: E402
from mien.models.blendshapes.export import blendshapes_to_onnx, export_blendshapes  # noqa: E402
from mien.models.blendshapes.losses import OTHERS, BlendshapeLoss  # noqa: E402
from mien.models.blendshapes.network import EYE_COLUMNS, BlendshapeNetwork  # noqa: E402
from mien.models.blendshapes.sheet import closeup_sheet  # noqa: E402
from mien.models.blendshapes.train import BlendshapeTrainConfig, train_blendshapes  # noqa: E402
from mien.models.errors import BundleError, InputError, OutputError  # noqa: E402
from mien.models.face.bundle import Bundle, write_bundle  # noqa: E402
from mien.models.face.crop import CROP_SIZE, Crop, extract  # noqa: E402
from mien.models.face.names import BLENDSHAPE_NAMES  # noqa: E402
from mien.models.face.views import BLENDSHAPE_VIEWS, ViewPlaces  # noqa: E402
from mien.models.synthetic.closeup_shards import CloseupLabels, save_meta, save_shard  # noqa: E402
from mien.stream.blendshapes import BlendshapeReader  # noqa: E402
from mien.stream.fit import FaceFitter  # noqa: E402
from mien.stream.onnx_session import open_session  # noqa: E402
from mien.stream.regression import Regression, Regressor  # noqa: E402

from .view_drawings import BLINK, IN, JAW, OUT, drawn, write_drawings  # noqa: E402

MODEL = Bundle.default().face_model
PLACES = ViewPlaces.of(MODEL)
MIDDLE = (CROP_SIZE - 1) / 2
WHOLE = Crop(MIDDLE, MIDDLE, CROP_SIZE)
MILD = LookConfig(turn_deg=1.0, shift_mm=0.5, stray=0.0, scale=0.02, shape=0.1, reduced=0.0)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> BlendshapeTrainConfig:
    """A training that has learned drawn faces; its checkpoint lies in ``out``."""
    folder = tmp_path_factory.mktemp("blendshapes")
    write_drawings(folder / "shards", PLACES, shards=3, each=120)
    config = BlendshapeTrainConfig(
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
    train_blendshapes(config)
    return config


@pytest.fixture(scope="module")
def exported(trained: BlendshapeTrainConfig) -> Path:
    return export_blendshapes(trained.out / "checkpoint.pt", trained.out)


def random_network() -> BlendshapeNetwork:
    """Random weights, with running statistics that are not those of an untrained network."""
    torch.manual_seed(2)
    network = BlendshapeNetwork().train()
    with torch.no_grad():
        for seed in range(4):
            network(*map(torch.from_numpy, random_views(seed, 8)))
        network.say.weight.normal_(0, 0.5)
        network.say_rest.weight.normal_(0, 0.5)
    return network.eval()


def random_views(seed: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    views = rng.integers(0, 256, (count, 3, 48, 64, 3), dtype=np.uint8)
    return views, rng.uniform(-1, 1, (count, 2)).astype(np.float32)


def said(network: BlendshapeNetwork, views: np.ndarray, facing: np.ndarray) -> np.ndarray:
    with torch.inference_mode():
        return network(torch.from_numpy(views), torch.from_numpy(facing)).numpy()


def test_the_export_says_what_the_network_says_one_by_one_and_together() -> None:
    network = random_network()
    views, facing = random_views(9, 5)
    expected = said(network, views, facing)
    assert expected.std(0).min() > 1e-3  # it tells pictures apart
    session = open_session(blendshapes_to_onnx(network).SerializeToString())
    found = np.asarray(session.run(None, {"views": views, "facing": facing})[0])
    np.testing.assert_allclose(found, expected, atol=1e-4)
    for i in range(5):
        one = {"views": views[i : i + 1], "facing": facing[i : i + 1]}
        alone = np.asarray(session.run(None, one)[0])
        np.testing.assert_allclose(alone[0], found[i], atol=1e-5)


def test_eyes_that_change_places_change_what_is_said_of_them() -> None:
    network = random_network()
    views, facing = random_views(3, 4)
    here = said(network, views, facing)
    there = said(network, views[:, [1, 0, 2]], facing * np.array([-1, 1], np.float32))
    left, right = np.split(np.array(EYE_COLUMNS), 2)
    np.testing.assert_allclose(there[:, left], here[:, right], atol=1e-5)
    np.testing.assert_allclose(there[:, right], here[:, left], atol=1e-5)
    assert np.abs(here[:, left] - here[:, right]).max() > 1e-3


def test_every_view_is_heeded() -> None:
    network = random_network()
    views, facing = random_views(3, 1)
    here = said(network, views, facing)
    for view in range(3):
        other = views.copy()
        other[:, view] = random_views(4, 1)[0][:, view]
        assert np.abs(said(network, other, facing) - here).max() > 1e-3
    assert np.abs(said(network, views, -facing) - here).max() > 1e-5


def test_the_loss_is_zero_for_the_truth_and_heeds_no_gaze_of_closed_eyes() -> None:
    loss = BlendshapeLoss(MODEL)
    true = torch.rand(6, 52)
    nothing, terms = loss(true, true)
    assert float(nothing) == pytest.approx(float(terms["points"]))
    assert float(nothing) < 0.05
    off = true.clone()
    off[:, OUT] = 1 - off[:, OUT]
    costs = []
    for lid in (0.0, 1.0):
        true[:, BLINK] = off[:, BLINK] = lid
        terms = loss(off, true)[1]
        costs.append(float(terms["gaze"] + terms["sideways"]))
    assert costs[1] == pytest.approx(0.1 * costs[0], rel=1e-3)
    worse = true.clone()
    worse[:, OTHERS] += 0.1
    assert loss(worse, true)[1]["others"] > 0
    assert loss(worse, true)[1]["points"] > 10 * nothing


def test_training_learns_lids_gaze_and_mouth(trained: BlendshapeTrainConfig) -> None:
    lines = (trained.out / "log.jsonl").read_text("utf-8").splitlines()
    last = json.loads(lines[-1])["validation"]
    assert last["blink_error"] < 0.1
    assert last["winks"] > 0.9
    assert last["gaze_deg"] < 0.5 * last["gaze_constant_deg"]
    assert last["points_mm"] < 0.4 * last["points_constant_mm"]
    assert (trained.out / "curves.png").stat().st_size > 1000


def test_a_training_goes_on_where_it_stopped(
    trained: BlendshapeTrainConfig, tmp_path: Path
) -> None:
    straight = replace(trained, out=tmp_path / "straight", images=192)
    parts = replace(trained, out=tmp_path / "parts", images=192)
    train_blendshapes(straight)

    def stop(line: dict[str, Any]) -> None:
        if line["step"] == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_blendshapes(replace(parts, log_steps=3), stop)
    assert BlendshapeCheckpoint.load(parts.out / "checkpoint.pt").progress.step == 3
    with pytest.raises(OutputError, match="--resume"):
        train_blendshapes(parts)
    train_blendshapes(replace(parts, resume=True))
    one, two = (BlendshapeCheckpoint.load(c.out / "checkpoint.pt") for c in (straight, parts))
    assert two.progress.images == one.progress.images == 192
    for name, value in one.weights.items():
        torch.testing.assert_close(two.weights[name], value, rtol=1e-4, atol=1e-5)


def test_a_damaged_checkpoint_is_not_gone_on_with(
    trained: BlendshapeTrainConfig, tmp_path: Path
) -> None:
    whole = torch.load(trained.out / "checkpoint.pt", weights_only=True)
    first = whole["optimiser"]["state"][0]
    state = {**whole["optimiser"]["state"], 0: {**first, "exp_avg": torch.zeros(3)}}
    damages = (
        {"weights": {}},
        {"optimiser": {**whole["optimiser"], "state": state}},
        {"progress": {**whole["progress"], "seconds": None}},
        {"progress": {**whole["progress"], "step": "3"}},
    )
    for number, damage in enumerate(damages):
        out = tmp_path / str(number)
        out.mkdir()
        torch.save({**whole, **damage}, out / "checkpoint.pt")
        with pytest.raises(InputError, match=r"checkpoint\.pt") as caught:
            train_blendshapes(replace(trained, out=out, resume=True))
        assert "\n" not in str(caught.value)


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


def test_a_misjudged_head_turns_about_its_face() -> None:
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
    reader = BlendshapeReader(exported, MODEL)
    silent = Regression(np.zeros((1, 62), np.float32))
    assert reader.read(np.zeros((50, 50, 3), np.uint8), [WHOLE], silent) is silent


def test_what_is_no_such_file_is_said_in_one_line(
    trained: BlendshapeTrainConfig, tmp_path: Path, exported: Path
) -> None:
    with pytest.raises(BundleError, match="expected"):
        BlendshapeReader(Bundle.default().regressor_path, MODEL)
    assert is_blendshape_checkpoint(trained.out / "checkpoint.pt")
    assert not is_blendshape_checkpoint(exported)
    with pytest.raises(InputError, match="not a checkpoint"):
        BlendshapeCheckpoint.load(exported)
    spoils: dict[str, Callable[[Path], object]] = {
        # What is written first is found first.
        "holds no closeups.json; expected": lambda f: (f / "closeups.json").unlink(),
        "not the description": lambda f: (f / "closeups.json").write_text("{"),
        "version 7": lambda f: (f / "closeups.json").write_text('{"version": 7}'),
        "another face model": lambda f: save_meta(f, {"seed": 0, "face_model": 5}),
        "not a finished shard": lambda f: (f / "shard-00001.npz").write_bytes(b"x"),
        "no picture, or labels": lambda f: save_shard(
            f,
            1,
            np.zeros((1, 232, 200, 3), np.uint8),
            CloseupLabels(*(np.full((1, *size), 2, np.float32) for size in ((3, 4), (40,), (52,)))),
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
            train_blendshapes(replace(trained, shards=folder, out=tmp_path / f"out{number}"))
        assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match="held out"):
        train_blendshapes(replace(trained, validation_shards=3, out=tmp_path / "none"))


def test_a_sheet_shows_pictures_beside_their_views(trained: BlendshapeTrainConfig) -> None:
    sheet = closeup_sheet(trained.shards, trained.face_model, count=12, columns=4)
    assert sheet.shape[1] == 4 * (200 + 103)
    assert sheet.shape[0] == 3 * 232
    assert sheet.std() > 10
