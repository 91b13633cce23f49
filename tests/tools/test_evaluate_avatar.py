"""``mien evaluate-models avatar``: its tables, files and refusals, with tiny networks."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("monai")
pytest.importorskip("skimage")
pytest.importorskip("safetensors")
pytest.importorskip("onnx")

from mien.models.avatar.weights import save_weights
from mien.models.errors import InputError, OutputError
from mien.tools.evaluate.avatar import EvaluateAvatar, read_steps
from mien.tools.evaluate.models import EvaluateModels

Run = Callable[..., EvaluateAvatar]


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory, tiny_avatar: Callable[..., Any]) -> Path:
    """A folder with files of weights, never trained."""
    folder = tmp_path_factory.mktemp("weights")
    save_weights(folder / "main.safetensors", tiny_avatar(), {"minutes": 0})
    save_weights(folder / "regression.safetensors", tiny_avatar(regression=True), {})
    save_weights(folder / "plain.safetensors", tiny_avatar(robust=False), {})
    return folder


@pytest.fixture
def command(ellipsoid_scans: Path, weights: Path) -> Run:
    def make(**options: Any) -> EvaluateAvatar:
        usual = {
            "data": ellipsoid_scans, "weights": weights / "main.safetensors", "expressions": 2,
            "steps": 2, "seeds": 2, "calibration": 2, "device": "cpu",
        }  # fmt: skip
        return EvaluateAvatar(**{**usual, **options})

    return make


def test_the_command_writes_all_figures(
    command: Run, weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = command(
        regression=weights / "regression.safetensors",
        also=(f"plain={weights / 'plain.safetensors'}",),
        steps_sweep="2,3",
        json=tmp_path / "figures.json",
        sheet=tmp_path / "sheet.png",
    )
    assert EvaluateModels(asked).run() == 0
    printed = capsys.readouterr().out
    heading = next(line for line in printed.splitlines() if "regression" in line)
    assert heading.split() == ["diffusion", "regression", "plain"]
    for words in ("copied neutral", "x autoencoded", "drift", "true renders", "best of the seeds"):
        assert words in printed
    content = json.loads((tmp_path / "figures.json").read_text())
    assert set(content["methods"]) == {"diffusion", "regression", "plain"}
    assert set(content["sweep"]) == {"2", "3"}
    assert content["weights"]["diffusion"] == {"name": "main.safetensors", "facts": {"minutes": 0}}
    assert [person["person"] for person in content["people"]] == [5]
    assert (tmp_path / "sheet.png").stat().st_size > 1000
    assert sorted(path.name for path in tmp_path.iterdir()) == ["figures.json", "sheet.png"]


def test_the_command_refuses_what_cannot_end_well(
    command: Run, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    regression = weights / "regression.safetensors"
    with pytest.raises(InputError, match="no such file"):
        command(weights=tmp_path / "absent.safetensors").run()
    with pytest.raises(InputError, match="mien synthesize scans"):
        command(data=tmp_path).run()
    with pytest.raises(InputError, match="--count is 0"):
        command(count=0).run()
    with pytest.raises(InputError, match="--sheet-count is 0"):
        command(sheet_count=0).run()
    with pytest.raises(InputError, match="expected 2 or more"):
        command(steps_sweep="8,1").run()
    with pytest.raises(InputError, match="expected NAME=FILE"):
        command(also=("plain",)).run()
    with pytest.raises(InputError, match="taken"):
        command(also=(f"diffusion={regression}",)).run()
    with pytest.raises(InputError, match="behind --regression"):
        command(weights=regression).run()
    with pytest.raises(InputError, match="no regression"):
        command(regression=weights / "main.safetensors").run()
    with pytest.raises(OutputError, match="no folder"):
        command(json=tmp_path / "absent" / "figures.json").run()
    monkeypatch.setattr("mien.models.avatar.weights.shipped", lambda: tmp_path / "absent")
    with pytest.raises(InputError, match="--weights"):
        command(weights=None).run()


def test_weights_for_other_grids_are_refused(
    command: Run, tmp_path: Path, make_person: Callable[[int], dict[str, np.ndarray]]
) -> None:
    (tmp_path / "meta.json").write_text(json.dumps({"cells": 8}))
    for number in range(2):
        person = make_person(number)
        for name in ("sdf", "colour", "scan_sdf", "scan_seen", "scan_colour"):
            person[name] = person[name][:, ::2, ::2, ::2]
        np.savez(tmp_path / f"person-{number:05d}.npz", **person)  # pyright: ignore[reportArgumentType]
    with pytest.raises(InputError, match=r"weights for 16\^3 cells, the data have 8\^3"):
        command(data=tmp_path).run()


def test_steps_are_whole_numbers() -> None:
    assert read_steps("8, 16,") == (8, 16)
    assert read_steps("") == ()
    with pytest.raises(InputError, match="whole numbers"):
        read_steps("8,x")
