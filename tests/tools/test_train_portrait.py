"""``mien train portrait``: which training each stage starts, and with what."""

from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("safetensors")
pytest.importorskip("onnx")

from mien.models.errors import InputError
from mien.models.portrait import (
    train_attributes,
    train_generator,
    train_identity,
    train_light,
    train_prior,
)
from mien.models.portrait.config import SMALL
from mien.models.portrait.fitting import FitResult
from mien.tools.train.portrait import Stage, TrainPortrait

MODULES = {
    "generator": train_generator,
    "prior": train_prior,
    "identity": train_identity,
    "light": train_light,
    "attributes": train_attributes,
}


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What each stage's training was asked for; nothing is trained."""
    options: dict[str, Any] = {}
    for name, module in MODULES.items():

        def train(some: Any, report: Any, name: str = name) -> FitResult:
            options[name] = some
            report({"done": 1.0, "loss": 0.5})
            return FitResult(some.out / "weights.safetensors", 7, 90.0, {"psnr": 24.5})

        monkeypatch.setattr(module, "train", train)
    return options


@pytest.mark.parametrize("stage", list(MODULES))
def test_a_stage_starts_its_own_training(
    stage: Stage, asked: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tool = TrainPortrait(
        data=tmp_path / "data", out=tmp_path, stage=stage, minutes=2.5, batch=6, seed=3,
        threads=2, device="cpu", resume=True,
    )  # fmt: skip
    assert tool.run() == 0
    assert list(asked) == [stage]
    options = asked[stage]
    assert (options.data, options.out) == (tmp_path / "data", tmp_path)
    assert (options.minutes, options.steps, options.batch) == (2.5, None, 6)
    assert (options.seed, options.threads, options.device, options.resume) == (3, 2, "cpu", True)
    # What was not said is what the stage has of itself.
    own = {field.name: field.default for field in fields(options)}
    assert options.learning_rate == own["learning_rate"]
    told = capsys.readouterr().out.splitlines()
    assert told == [f"{stage}: 7 steps in 1.5 min; psnr 24.5",
                    f"wrote {tmp_path / 'weights.safetensors'}"]  # fmt: skip


def test_the_generator_takes_its_own_options(asked: dict[str, Any], tmp_path: Path) -> None:
    TrainPortrait(
        data=tmp_path, out=tmp_path, stage="generator", steps=5, views=3, learning_rate=0.001,
        regressor=tmp_path / "r.onnx",
    ).run()  # fmt: skip
    options = asked["generator"]
    assert options.sizes == SMALL
    assert (options.views, options.steps, options.learning_rate) == (3, 5, 0.001)
    assert options.regressor == tmp_path / "r.onnx"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({}, "budget"),
        ({"stage": "light", "views": 2, "steps": 1}, "--views"),
    ],
)
def test_what_cannot_be_is_said(
    change: dict[str, Any], said: str, asked: dict[str, Any], tmp_path: Path
) -> None:
    tool = TrainPortrait(**{"data": tmp_path, "out": tmp_path, "stage": "generator", **change})
    with pytest.raises(InputError, match=said):
        tool.run()
    assert not asked


def test_without_torch_there_is_a_way_to_get_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(InputError, match="pip install"):
        TrainPortrait(tmp_path, tmp_path, "generator", steps=1).run()
