"""What a training came to is gone on with or kept, never replaced."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("safetensors")
pytest.importorskip("onnx")

from mien.models.avatar.train import train_avatar
from mien.models.avatar.train_config import AvatarTrainConfig
from mien.models.detector.train import DetectorTrainConfig, train_detector
from mien.models.errors import OutputError
from mien.models.learning.pace import begin_folder
from mien.models.portrait import train_generator, train_light
from mien.models.portrait.train_words import WordOptions
from mien.models.portrait.train_words import train as fit_words
from mien.models.regressor.train import train_regressor
from mien.models.regressor.train_config import TrainConfig

ABSENT = Path("absent")
TRAININGS: dict[str, tuple[Callable[[Any], Any], Any]] = {
    "regressor": (train_regressor, TrainConfig(ABSENT, ABSENT, ABSENT, images=1)),
    "detector": (train_detector, DetectorTrainConfig(ABSENT, ABSENT, images=1)),
    "avatar": (
        train_avatar, AvatarTrainConfig(data=ABSENT, out=ABSENT, stage="autodecoder", steps=1),
    ),
    "generator": (
        train_generator.train, train_generator.GeneratorOptions(ABSENT, ABSENT, steps=1),
    ),
    "light": (train_light.train, train_light.LightOptions(ABSENT, ABSENT, steps=1)),
}  # fmt: skip
KEEPING_WEIGHTS = ("avatar", "generator", "light")


@pytest.mark.parametrize("name", list(TRAININGS))
def test_a_training_of_before_is_not_replaced(name: str, tmp_path: Path) -> None:
    train, config = TRAININGS[name]
    (tmp_path / "checkpoint.pt").write_bytes(b"hours of work")
    with pytest.raises(OutputError, match=r"\(checkpoint\.pt\): --resume goes on .* --out") as said:
        train(replace(config, out=tmp_path))
    assert len(str(said.value).splitlines()) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint.pt"]


@pytest.mark.parametrize("name", KEEPING_WEIGHTS)
@pytest.mark.parametrize("resume", [False, True])
def test_weights_without_a_checkpoint_are_not_replaced(
    name: str, resume: bool, tmp_path: Path
) -> None:
    train, config = TRAININGS[name]
    (tmp_path / "weights.safetensors").write_bytes(b"hours of work")
    with pytest.raises(OutputError, match=r"\(weights\.safetensors\): another --out"):
        train(replace(config, out=tmp_path, resume=resume))


def test_words_are_not_fitted_over_other_weights(tmp_path: Path) -> None:
    (tmp_path / "weights.safetensors").write_bytes(b"a generator")
    (tmp_path / "checkpoint.pt").write_bytes(b"the generator's")
    # There is nothing to resume, so nobody is told to.
    with pytest.raises(OutputError, match=r"\(weights\.safetensors\): another --out"):
        fit_words(WordOptions(ABSENT, tmp_path, tmp_path / "weights.safetensors"))


def test_a_folder_is_made_and_gone_on_with(tmp_path: Path) -> None:
    out = tmp_path / "a" / "b"
    begin_folder(out, resume=False)
    assert out.is_dir()
    (out / "log.jsonl").touch()  # nothing came of it
    begin_folder(out, resume=False)
    begin_folder(out, resume=True)
    (out / "checkpoint.pt").touch()
    begin_folder(out, resume=True)
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="cannot be made"):
        begin_folder(tmp_path / "file" / "c", resume=False)
