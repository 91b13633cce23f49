"""``mien train avatar``: what it hands to the training, and what it refuses."""

from pathlib import Path

import pytest
import tyro

pytest.importorskip("torch")
pytest.importorskip("monai")

from mien.models.avatar import train
from mien.models.avatar.train import AvatarTrainResult
from mien.models.avatar.train_config import AvatarTrainConfig
from mien.models.errors import InputError
from mien.tools.train.avatar import TrainAvatar


def _parsed(*arguments: str) -> TrainAvatar:
    return tyro.cli(TrainAvatar, args=list(arguments))


def test_options_reach_the_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    seen: list[AvatarTrainConfig] = []

    def fake(config: AvatarTrainConfig, report: object = None) -> AvatarTrainResult:
        seen.append(config)
        return AvatarTrainResult(config.out / "weights.safetensors", 7, 60.0, {"iou": 0.5})

    monkeypatch.setattr(train, "train_avatar", fake)
    command = _parsed(
        "--stage", "diffusion", "--data", str(tmp_path), "--out", str(tmp_path / "out"),
        "--init", "w.safetensors", "--minutes", "3", "--no-robust-normalisation", "--absolute",
        "--regression", "--condition", "both", "--seed", "5", "--device", "cpu", "--resume",
    )  # fmt: skip
    assert command.run() == 0
    config = seen[0]
    assert (config.stage, config.minutes, config.seed) == ("diffusion", 3.0, 5)
    assert not config.robust
    assert not config.residual
    assert config.regression
    assert config.resume
    assert config.condition == "both"
    assert config.device == "cpu"
    assert "iou 0.5" in capsys.readouterr().out


def test_defaults_are_those_of_the_issue(tmp_path: Path) -> None:
    command = _parsed("--stage", "encoder", "--data", str(tmp_path), "--out", str(tmp_path))
    assert command.robust_normalisation
    assert not command.absolute
    assert command.latent is None
    with pytest.raises(InputError, match="budget"):
        command.run()


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    command = _parsed(
        "--stage", "encoder", "--data", str(tmp_path / "no"), "--out", str(tmp_path), "--steps", "1"
    )
    with pytest.raises(InputError, match="mien synthesize scans"):
        command.run()
