"""``mien train pifuhd``: what it says where it cannot begin; that it hands on what was asked."""

import json
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch", reason="the networks need torch")

from mien.models.errors import InputError
from mien.models.pifuhd import train
from mien.models.pifuhd.train_config import PifuhdTrainConfig
from mien.tools.train.pifuhd import TrainPifuhd


def test_what_is_missing_is_said_in_one_line(tmp_path: Path):
    asked: dict[str, Any] = {"data": tmp_path, "out": tmp_path / "out"}
    with pytest.raises(InputError, match="--steps, --minutes"):
        TrainPifuhd(**asked, stage="coarse").run()
    with pytest.raises(InputError, match="not a folder of"):
        TrainPifuhd(**asked, stage="coarse", steps=1).run()
    (tmp_path / "meta.json").write_text(json.dumps({"count": 2}))
    with pytest.raises(InputError, match="held-out ones"):
        TrainPifuhd(**asked, stage="coarse", steps=1).run()
    with pytest.raises(InputError, match="train every stage first"):
        TrainPifuhd(**asked, stage="export").run()


def test_every_option_reaches_the_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    seen: list[PifuhdTrainConfig] = []

    def trained(config: PifuhdTrainConfig, report: object) -> train.TrainResult:
        seen.append(config)
        part = train.PartResult("fine", tmp_path / "c.pt", 7, 90.0, {"held_out_1_iou": 0.125})
        return train.TrainResult((part,), tmp_path / "weights.safetensors")

    monkeypatch.setattr(train, "train_pifuhd", trained)
    options: dict[str, Any] = {
        "preset": "paper", "minutes": 2.0, "steps": 9, "batch": 3, "points": 70,
        "learning_rate": 0.5, "seed": 4, "threads": 2, "device": "cpu", "resume": True,
        "earlier": tmp_path / "earlier", "true_normals": True, "fine_only": True,
        "vgg": tmp_path / "vgg.pth", "side": "back",
    }  # fmt: skip
    assert TrainPifuhd(tmp_path, tmp_path / "out", "fine", **options).run() == 0
    for name, value in options.items():
        assert getattr(seen[0], name) == value, name
    assert seen[0].use_normals
    assert TrainPifuhd(tmp_path, tmp_path, "fine", steps=1, no_normals=True).run() == 0
    assert not seen[1].use_normals
    printed = capsys.readouterr().out
    assert "fine: 7 steps in 1.5 min; held_out_1_iou 0.125" in printed
    assert "weights.safetensors" in printed
