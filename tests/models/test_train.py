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

from mien.models.regressor.checkpoint import Checkpoint
from mien.models.regressor.network import NetworkConfig
from mien.models.regressor.train import TrainConfig, train_regressor

WriteShard = Callable[[Path, int, int], Labels]
STILL = AugmentationConfig(
    GeometricConfig(scale=0.0, shift=0.0, rotation_deg=0.0, flip=0.0),
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
    with pytest.raises(InputError, match=r"gone\.pt: not a checkpoint"):
        train_regressor(replace(config, init=tmp_path / "gone.pt"))
