"""Training: it learns, goes on exactly where it stopped, and says what is wrong."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mien.models.errors import InputError
from mien.models.regressor.dataset import AugmentationConfig, GeometricConfig
from mien.models.regressor.photometry import PhotometricConfig
from mien.models.synthetic.shards import Labels

pytest.importorskip("torch")

import torch

from mien.models.noise.video import VideoNoise
from mien.models.regressor.checkpoint import Checkpoint
from mien.models.regressor.learner import OptimiserConfig
from mien.models.regressor.network import NetworkConfig
from mien.models.regressor.objective import PaperLossConfig
from mien.models.regressor.short_video_batches import ShortVideoConfig
from mien.models.regressor.train import train_regressor
from mien.models.regressor.train_config import TrainConfig

WriteShard = Callable[[Path, int, int], Labels]
STILL = AugmentationConfig(
    GeometricConfig(scale=0.0, shift=0.0, loose=0.0, rotation_deg=0.0, flip=0.0),
    PhotometricConfig(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0),
)


@pytest.fixture
def config(tmp_path: Path, write_shard: WriteShard, face_model_path: Path) -> TrainConfig:
    """A small network on two small shards."""
    shards = tmp_path / "shards"
    shards.mkdir()
    for number in range(2):
        write_shard(shards, number, 17)
    return TrainConfig(
        shards=shards,
        out=tmp_path / "out",
        face_model=face_model_path,
        images=48,
        network=NetworkConfig(0.25),
        batch=8,
        warmup_images=8,
        validation_shards=1,
        log_images=16,
        validate_images=1000,
        checkpoint_images=16,
    )


def read_log(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "log.jsonl").read_text("utf-8").splitlines()]


def assert_same_weights(mine: Path, theirs: Path) -> None:
    first, second = Checkpoint.load(mine), Checkpoint.load(theirs)
    assert first.progress.images == second.progress.images
    for name, value in first.weights.items():
        torch.testing.assert_close(value, second.weights[name], atol=0, rtol=0)
        torch.testing.assert_close(first.averaged[name], second.averaged[name], atol=0, rtol=0)


def test_it_learns_a_small_set(config: TrainConfig) -> None:
    config = replace(config, images=800, augmentation=STILL, log_images=80, average_decay=0.9)
    result = train_regressor(config)
    lines = [line for line in read_log(config.out) if "loss" in line]
    assert lines[-1]["landmarks"] < 0.65 * lines[0]["landmarks"]
    assert lines[-1]["presence"] < 0.2
    assert result.images == 800
    assert result.validation.faces == 16
    assert result.validation.nme_percent < 15


def test_resuming_equals_not_having_stopped(config: TrainConfig) -> None:
    whole = train_regressor(config)
    stopped = replace(config, out=config.out.with_name("parts"))

    def interrupt(line: dict[str, Any]) -> None:
        if line["images"] == 32:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_regressor(stopped, report=interrupt)
    assert Checkpoint.load(stopped.out / "checkpoint.pt").progress.images == 32
    resumed = train_regressor(replace(stopped, resume=True))
    assert_same_weights(whole.checkpoint, resumed.checkpoint)


def test_resuming_a_finished_training_changes_nothing(config: TrainConfig) -> None:
    first = train_regressor(config)
    before = Checkpoint.load(first.checkpoint)
    again = train_regressor(replace(config, resume=True))
    assert again.images == first.images
    torch.testing.assert_close(
        Checkpoint.load(again.checkpoint).weights, before.weights, atol=0, rtol=0
    )


def test_a_damaged_checkpoint_is_not_gone_on_with(config: TrainConfig) -> None:
    path = train_regressor(config).checkpoint
    whole = torch.load(path, weights_only=True)
    weights, first = dict(whole["weights"]), next(iter(whole["weights"]))
    weights[first] = weights[first][:1]
    groups = {**whole["optimiser"], "param_groups": whole["optimiser"]["param_groups"][:1]}
    for damage in ({"weights": weights}, {"optimiser": groups}):
        torch.save({**whole, **damage}, path)
        with pytest.raises(InputError, match=path.name) as caught:
            train_regressor(replace(config, resume=True))
        assert "\n" not in str(caught.value)


def test_the_same_seed_gives_the_same_weights(config: TrainConfig) -> None:
    first = train_regressor(config)
    second = train_regressor(replace(config, out=config.out.with_name("second")))
    assert_same_weights(first.checkpoint, second.checkpoint)


def test_start_from_averaged_weights(config: TrainConfig) -> None:
    first = train_regressor(config)
    later = replace(
        config, out=config.out.with_name("later"), init=first.checkpoint, images=8,
        network=NetworkConfig(0.5), learning_rate=1e-9,
    )  # fmt: skip
    second = Checkpoint.load(train_regressor(later).checkpoint)
    assert second.network == config.network
    assert second.progress.images == 8
    old = Checkpoint.load(first.checkpoint).averaged["params_head.weight"]
    torch.testing.assert_close(second.weights["params_head.weight"], old, atol=1e-6, rtol=0)


def test_minutes_are_a_budget(config: TrainConfig) -> None:
    now = iter(np.arange(0, 1e6, 7.0))
    config = replace(config, images=None, minutes=1.0)
    result = train_regressor(config, clock=lambda: float(next(now)))
    assert result.seconds == pytest.approx(63.0)
    assert result.images == 9 * config.batch


def test_learning_rate_rises_and_falls(config: TrainConfig) -> None:
    lines: list[dict[str, Any]] = []
    train_regressor(replace(config, images=80, log_images=8, warmup_images=24), report=lines.append)
    rates = [line["lr"] for line in lines if "lr" in line]
    peak = int(np.argmax(rates))
    assert 1 <= peak <= 4
    assert rates[:peak] == sorted(rates[:peak])
    assert rates[peak:] == sorted(rates[peak:], reverse=True)
    assert rates[-1] < 0.1 * config.learning_rate
    assert [line["done"] for line in lines] == sorted(line["done"] for line in lines)


def test_settings_of_the_process_are_left_as_they_were(config: TrainConfig) -> None:
    before = torch.get_num_threads()
    train_regressor(replace(config, images=8, threads=before + 1))
    assert torch.get_num_threads() == before


def test_budget_is_asked_for(config: TrainConfig) -> None:
    with pytest.raises(InputError, match="needs a budget"):
        replace(config, images=None)
    with pytest.raises(InputError, match="batch >= 2"):
        replace(config, batch=1)


def test_bad_checkpoint_is_one_line(config: TrainConfig, tmp_path: Path) -> None:
    bad = tmp_path / "bad.pt"
    bad.write_bytes(b"not a checkpoint")
    with pytest.raises(InputError, match=r"bad\.pt: not a checkpoint") as caught:
        train_regressor(replace(config, init=bad))
    assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match=r"gone\.pt: no such file"):
        train_regressor(replace(config, init=tmp_path / "gone.pt"))


META = PaperLossConfig("meta", look_ahead=2)


def test_meta_joint_training_goes_on_from_the_end_of_a_block(config: TrainConfig) -> None:
    """Interrupted within a block, it begins that block anew and ends where it would have."""
    config = replace(
        config, images=72, losses=META, optimiser=OptimiserConfig.of_the_paper(),
        network=NetworkConfig(0.1, landmark_head=True), log_images=8, checkpoint_images=8,
    )  # fmt: skip
    whole = train_regressor(config)
    stopped = replace(config, out=config.out.with_name("parts"))

    def interrupt(line: dict[str, Any]) -> None:
        if line["images"] == 32:  # the fourth batch is the first of the second block
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_regressor(stopped, report=interrupt)
    assert Checkpoint.load(stopped.out / "checkpoint.pt").progress.images == 24
    resumed = train_regressor(replace(stopped, resume=True))
    assert_same_weights(whole.checkpoint, resumed.checkpoint)
    lines = [line for line in read_log(config.out) if "vdc_branch_chosen" in line]
    assert len(lines) == 3
    assert all(line["vdc_branch_chosen"] + line["fwpdc_branch_chosen"] == 1 for line in lines)


def test_a_budget_that_ends_within_a_block_ends_the_block(config: TrainConfig) -> None:
    losses = PaperLossConfig("meta", look_ahead=100)
    result = train_regressor(replace(config, images=16, losses=losses, network=NetworkConfig(0.1)))
    assert result.images == 24  # a further batch chose
    assert Checkpoint.load(result.checkpoint).progress.images == 24


@pytest.mark.parametrize("method", ["vdc", "fwpdc", "joint"])
def test_objectives_of_the_paper_learn(config: TrainConfig, method: Any) -> None:
    config = replace(
        config, images=480, losses=PaperLossConfig(method), augmentation=STILL, log_images=48,
        learning_rate=5e-3, average_decay=0.0, network=NetworkConfig(0.25, landmark_head=True),
    )  # fmt: skip
    train_regressor(config)
    lines = [line for line in read_log(config.out) if "loss" in line]
    name = "vdc" if method == "vdc" else "fwpdc"
    assert lines[-1][name] < 0.9 * lines[0][name]
    assert lines[-1]["landmark_head"] < 0.7 * lines[0]["landmark_head"]


def test_batches_of_short_videos_are_trained_on(config: TrainConfig) -> None:
    videos = ShortVideoConfig(VideoNoise(frames=4))
    config = replace(config, images=16, short_video=videos, network=NetworkConfig(0.1))
    assert train_regressor(config).images == 16
    other = replace(config, out=config.out.with_name("other"))
    with pytest.raises(InputError, match="no whole number of videos"):
        train_regressor(replace(other, short_video=ShortVideoConfig(VideoNoise(frames=3))))


def test_where_weights_come_from_is_recorded(config: TrainConfig) -> None:
    small = replace(config, images=8, command="mien train regressor --seed 5", seed=5)
    first = train_regressor(small)
    begun = read_log(config.out)[0]["begun"]
    assert begun["command"] == "mien train regressor --seed 5"
    assert begun["seed"] == 5
    assert begun["resumed"] is False
    train_regressor(replace(small, images=16, command="again", resume=True))
    later = replace(
        small, out=config.out.with_name("later"), init=first.checkpoint, command="later", seed=6,
        network=NetworkConfig(0.5, landmark_head=True),
    )  # fmt: skip
    last = Checkpoint.load(train_regressor(later).checkpoint)
    assert [(o.command, o.seed, o.images) for o in last.history] == [
        ("mien train regressor --seed 5", 5, 0), ("again", 5, 8), ("later", 6, 0),
    ]  # fmt: skip
    assert last.network == NetworkConfig(0.25, landmark_head=True)
    assert (config.out / "curves.png").stat().st_size > 1000


def test_device_and_optimiser_are_checked(config: TrainConfig) -> None:
    small = replace(config, images=8, network=NetworkConfig(0.1))
    if not torch.cuda.is_available():
        with pytest.raises(InputError, match="finds no such device"):
            train_regressor(replace(small, device="cuda"))
    train_regressor(replace(small, device="cpu"))
    other = replace(small, resume=True, optimiser=OptimiserConfig("sgd"))
    with pytest.raises(InputError, match="trained with adamw, cannot go on with sgd"):
        train_regressor(other)
