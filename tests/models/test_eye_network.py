"""The eyes' network: training on drawn eyes, checkpoint, export, and reading with it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="trains the eyes' network (extra: train)")
pytest.importorskip("onnx", reason="exports the eyes' network (extra: train)")


from mien.models.errors import BundleError, InputError, OutputError  # noqa: E402
from mien.models.eyes.checkpoint import EyeCheckpoint, is_eye_checkpoint  # noqa: E402
from mien.models.eyes.dataset import LookConfig  # noqa: E402
from mien.models.eyes.export import export_eyes, eyes_to_onnx  # noqa: E402
from mien.models.eyes.losses import eye_loss  # noqa: E402
from mien.models.eyes.network import EyeNetwork  # noqa: E402
from mien.models.eyes.sheet import eyes_sheet  # noqa: E402
from mien.models.eyes.train import EyeTrainConfig, train_eyes  # noqa: E402
from mien.models.face.bundle import Bundle  # noqa: E402
from mien.models.face.crop import CROP_SIZE, Crop  # noqa: E402
from mien.models.face.eye_views import EYE_COLUMNS, EyePlaces  # noqa: E402
from mien.stream.eyes import EyeReader  # noqa: E402
from mien.stream.onnx_session import open_session  # noqa: E402
from mien.stream.regression import Regression  # noqa: E402

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
        "not the description": lambda f: (f / "eyes.json").write_text("{"),
        "version 7": lambda f: (f / "eyes.json").write_text('{"version": 7}'),
        "not a finished shard": lambda f: (f / "shard-00001.npz").write_bytes(b"x"),
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
    assert sheet.shape[0] % 3 == 0
    assert sheet.std() > 10
