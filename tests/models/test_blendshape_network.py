"""The blendshapes' network: training on drawn faces, checkpoint, export."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="trains the blendshapes' network (extra: train)")
pytest.importorskip("onnx", reason="exports the blendshapes' network (extra: train)")


from mien.models.blendshapes.checkpoint import BlendshapeCheckpoint, is_blendshape_checkpoint  # noqa: E402
from mien.models.blendshapes.dataset import LookConfig, misjudged, reduced  # noqa: E402
from mien.models.blendshapes.export import blendshapes_to_onnx  # noqa: E402
from mien.models.blendshapes.losses import OTHERS, BlendshapeLoss  # noqa: E402
from mien.models.blendshapes.network import EYE_COLUMNS, BlendshapeNetwork  # noqa: E402
from mien.models.blendshapes.sheet import closeup_sheet  # noqa: E402
from mien.models.blendshapes.train import BlendshapeTrainConfig, train_blendshapes  # noqa: E402
from mien.models.errors import BundleError, InputError, OutputError  # noqa: E402
from mien.models.face.bundle import Bundle  # noqa: E402
from mien.models.face.crop import CROP_SIZE, Crop  # noqa: E402
from mien.models.face.views import ViewPlaces  # noqa: E402
from mien.models.synthetic.closeup_shards import CloseupLabels, save_meta, save_shard  # noqa: E402
from mien.stream.blendshapes import BlendshapeReader  # noqa: E402
from mien.stream.onnx_session import open_session  # noqa: E402

from .view_drawings import BLINK, OUT, drawn, write_drawings  # noqa: E402

MODEL = Bundle.default().face_model
PLACES = ViewPlaces.of(MODEL)
MIDDLE = (CROP_SIZE - 1) / 2
WHOLE = Crop(MIDDLE, MIDDLE, CROP_SIZE)


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
