"""``mien portrait``: refusals, and the whole way with tiny random networks."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("skimage")
pytest.importorskip("trimesh")

import torch

from mien.models.errors import InputError
from mien.models.portrait.attributes import AttributeClassifier
from mien.models.portrait.config import PortraitConfig
from mien.models.portrait.convnet import ConvnetConfig
from mien.models.portrait.generator import Generator
from mien.models.portrait.identity import IdentityEmbedder
from mien.models.portrait.light import LightEstimator
from mien.models.portrait.prior import CaptionedDiffusion, PriorConfig
from mien.models.portrait.weights import save_weights
from mien.tools.portrait.command import STATE, Portrait

TINY = PortraitConfig(
    name="tiny", z_dim=8, w_dim=8, plane_size=8, plane_channels=4, channel_max=8, decoder_hidden=8,
    feature_channels=4, render_size=16, super_channels=(4,), coarse=4, fine=4,
)  # fmt: skip
SIZES = ConvnetConfig(side=16, widths=(8, 8), blocks=1)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("weights")
    torch.manual_seed(0)
    save_weights(folder / "generator.safetensors", Generator(TINY), {})
    CaptionedDiffusion(PriorConfig(side=8, channels=(8, 8), width=16)).save(
        folder / "prior.safetensors", {}
    )
    IdentityEmbedder(SIZES).save(folder / "identity.safetensors", {})
    LightEstimator(SIZES).save(folder / "light.safetensors", {})
    AttributeClassifier(SIZES).save(folder / "attributes.safetensors", {})
    return folder


@pytest.fixture(scope="module")
def face(astronaut: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("face") / "astronaut.png"
    cv2.imwrite(str(path), astronaut[:320, 60:380])
    return path


def test_words_are_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert Portrait(words=True).run() == 0
    shown = capsys.readouterr().out
    assert "expression:" in shown
    assert "old: old, elderly" in shown


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"text": None}, "nothing to change"),
        ({"text": ""}, "the text is empty"),
        ({"text": "lit from left", "light": "right"}, "text says light 'left', --light says 'r"),
        ({"text": "an old wizrd"}, "'wizrd' is not in the vocabulary"),
        ({"light": "sideways"}, "neither a file nor one of left, right"),
        ({"keyframe": None}, "--keyframe and --out"),
        ({"out": None}, "--keyframe and --out"),
        ({"keyframe": Path("absent.png")}, "absent.png: no such"),
        ({"formats": "stl"}, "stl given"),
        ({"dpr": Path("absent.t7")}, "--dpr absent.t7: no such file"),
        ({"arcface": Path("absent.onnx")}, "--arcface absent.onnx: no such file"),
        ({"stable_diffusion": Path("absent")}, "--stable-diffusion absent: no such folder"),
        ({"weights_dir": Path("absent")}, "--weights-dir absent: no such folder"),
        ({"steps": 0}, "--steps is 0, expected 1 or more"),
        ({"tuning_steps": -1}, "--tuning-steps is -1, expected 0 or more"),
        ({"cells": 1}, "--cells is 1, expected 8 or more"),
        ({"level": 0.0}, "--level is 0, expected more than 0"),
        ({"sds": -1.0}, "--sds is -1, expected 0 or more"),
        ({"strength": 7.0}, "--strength is 7, expected 0 to 5"),
    ],
)
def test_refusals(change: dict[str, object], message: str, tmp_path: Path) -> None:
    place = tmp_path / "face.png"
    place.write_bytes(b"")
    tool = Portrait(keyframe=place, out=tmp_path / "out", text="an old man")
    with pytest.raises(InputError, match=message):
        replace(tool, **change).run()


def test_a_folder_without_a_network_is_named(tmp_path: Path) -> None:
    place = tmp_path / "face.png"
    place.write_bytes(b"")
    tool = Portrait(keyframe=place, out=tmp_path, text="an old man", weights_dir=tmp_path)
    with pytest.raises(InputError, match=r"no generator\.safetensors"):
        tool.run()


def test_a_picture_without_a_face(weights: Path, tmp_path: Path) -> None:
    place = tmp_path / "wall.png"
    cv2.imwrite(str(place), np.full((200, 200, 3), 128, np.uint8))
    tool = Portrait(keyframe=place, out=tmp_path / "out", text="smiling", weights_dir=weights)
    with pytest.raises(InputError, match=r"wall\.png: no face found"):
        tool.run()


def test_a_portrait_from_a_picture(
    face: Path, weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    tool = Portrait(
        keyframe=face, text="an old man, smiling, lit from left", out=out, weights_dir=weights,
        steps=2, invert_steps=2, tuning_steps=1, cells=16, level=0.11, formats="mp4,png,ply,glb",
    )  # fmt: skip
    assert tool.run() == 0
    found = {path.name.removeprefix("astronaut") for path in out.iterdir()}
    assert found == {
        ".turntable.mp4", ".sheet.png", ".ply", ".glb", ".json",
        *(f".view-{k}.png" for k in range(5)),
    }  # fmt: skip
    facts = json.loads((out / "astronaut.json").read_text())
    figures = facts["figures"]
    assert figures["inversion_psnr_db"] > 0
    assert set(figures["light"]) == {"before", "after"}
    assert set(figures["attributes"]) == {"age", "gender", "expression", "light"}
    assert set(figures["terms"]) >= {"rec", "id", "sds", "light", "pivot"}
    assert len(facts["label"]) == 25
    first = (out / "astronaut.view-1.png").read_bytes()
    # What is there is left; other wishes need --overwrite, and the same seed gives the same.
    capsys.readouterr()
    assert tool.run() == 0
    assert "there already" in capsys.readouterr().out
    with pytest.raises(OSError, match="other text"):
        replace(tool, text="an old man, lit from left").run()
    assert replace(tool, overwrite=True).run() == 0
    assert (out / "astronaut.view-1.png").read_bytes() == first
    # Another picture of the same name is no reason to call it done.
    other = tmp_path / "astronaut.png"
    picture = cv2.imread(str(face))
    assert picture is not None
    cv2.imwrite(str(other), picture[:, ::-1])
    with pytest.raises(OSError, match="other picture; --overwrite"):
        replace(tool, keyframe=other).run()


def test_an_interruption_says_what_is_kept(
    start_mien: Callable[..., subprocess.Popen[str]], face: Path, weights: Path, tmp_path: Path
) -> None:
    options = ("--invert-steps", "2", "--steps", "100000", "--weights-dir", weights)
    process = start_mien(
        "portrait", "--keyframe", face, "--text", "smiling", "--out", "out", *options
    )
    state = tmp_path / "out" / f"astronaut{STATE}"
    deadline_s = time.monotonic() + 120
    while not state.is_file() and time.monotonic() < deadline_s:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert f"{Path('out') / state.name}: kept; --resume goes on from there" in said
    assert "Traceback" not in said
    assert state.is_file()


def test_an_interruption_does_not_take_the_state_of_another_edit_for_its_own(
    face: Path, weights: Path, tmp_path: Path
) -> None:
    from unittest import mock

    tool = Portrait(
        keyframe=face, text="smiling", out=tmp_path, weights_dir=weights, invert_steps=2
    )
    state = tmp_path / f"astronaut{STATE}"
    state.write_bytes(b"of another edit")
    with (
        mock.patch("mien.models.portrait.edit.edit", side_effect=KeyboardInterrupt),
        pytest.raises(KeyboardInterrupt, match="nothing is kept before the inversion is done"),
    ):
        tool.run()
    assert state.read_bytes() == b"of another edit"


def test_a_profile_is_refused(face: Path, weights: Path, tmp_path: Path) -> None:
    from unittest import mock

    tool = Portrait(keyframe=face, text="smiling", out=tmp_path, weights_dir=weights)
    with (
        mock.patch("mien.models.face.eg3d_camera.yaw_pitch_of", return_value=(1.2, 0.0)),
        pytest.raises(InputError, match="turned 69 degrees away; up to 60"),
    ):
        tool.run()


def test_parts_of_a_count_ask_what_the_whole_does(face: Path, weights: Path) -> None:
    from unittest import mock

    from mien.models.portrait import evaluation
    from mien.tools.evaluate.portrait import EvaluatePortrait

    case = evaluation.Case(
        name="", image=torch.zeros(1, 3, 16, 16), mask=torch.ones(1, 1, 16, 16),
        label=np.zeros(25), words={}, others=torch.zeros(0, 3, 16, 16),
        other_labels=np.zeros((0, 25)),
    )  # fmt: skip
    people = [replace(case, name=f"person {number}") for number in range(5)]

    def asked(**options: Any) -> list[tuple[str, str]]:
        tool = EvaluatePortrait(
            data=face.parent, keyframes=(face,), weights_dir=weights, lights="",
            edits="smiling;old;a hat", **options,
        )  # fmt: skip
        found: list[tuple[str, str]] = []

        def note(_networks: Any, of: Any, text: str, *_: Any, **__: Any) -> Any:
            found.append((of.name, text))
            return {}, None

        def some(_folder: Path, count: int, _size: int, first: int = 0) -> list[Any]:
            return people[first : first + count]

        with (
            mock.patch.object(evaluation, "held_out_cases", some),
            mock.patch.object(evaluation, "inversion_of"),
            mock.patch.object(evaluation, "evaluate_case", note),
            mock.patch("mien.tools.evaluate.portrait._strips", return_value=[]),
            mock.patch.object(EvaluatePortrait, "_by_sentence", return_value={}),
        ):
            assert tool.run() == 0
        return found

    whole = asked(count=5)
    parts = asked(count=2), asked(first=2, count=3)
    assert [*parts[0][:-1], *parts[1]] == whole
    assert parts[0][-1] == whole[-1], "a key frame is asked the same beside any people"
    assert len({text for _, text in whole}) == 3


def test_evaluation_on_a_real_picture(
    face: Path, weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from unittest import mock

    from mien.models.portrait.evaluation import inversion_of
    from mien.tools.evaluate.portrait import EvaluatePortrait

    tool = EvaluatePortrait(
        keyframes=(face,), weights_dir=weights, steps=2, variants="full,planes",
        edits="an old man", lights="left", json=tmp_path / "figures.json",
        sheet=tmp_path / "sheet.png",
    )  # fmt: skip
    assert tool.run() == 0
    shown = capsys.readouterr().out
    assert "inversion PSNR" in shown
    assert "planes" in shown
    report = json.loads((tmp_path / "figures.json").read_text())
    assert set(report["variants"]) == {"full", "planes"}
    assert "light_after_shading" in report["variants"]["full"]
    assert (tmp_path / "sheet.png").stat().st_size > 1000
    every = replace(
        tool, every=True, variants="full", edits="an old man;smiling", lights="left,above"
    )
    assert every.run() == 0
    report = json.loads((tmp_path / "figures.json").read_text())
    wished = [row.get("text") or row["wanted_light"] for row in report["rows"]["full"]]
    assert wished == ["an old man", "smiling", "left", "above"]
    block = cv2.imread(str(tmp_path / "sheet.png"))
    assert block is not None
    columns = 2 + len(wished)
    assert block.shape[1] % columns == 0
    assert replace(tool, variants="full", edits="", sheet=None).run() == 0
    report = json.loads((tmp_path / "figures.json").read_text())
    assert [row.get("wanted_light") for row in report["rows"]["full"]] == ["left"]
    # Two pictures of one name have an inversion each.
    other = tmp_path / face.name
    picture = cv2.imread(str(face))
    assert picture is not None
    cv2.imwrite(str(other), picture[:, ::-1])
    both = replace(tool, keyframes=(face, other), variants="full", lights="", sheet=None)
    with mock.patch("mien.models.portrait.evaluation.inversion_of", wraps=inversion_of) as invert:
        assert both.run() == 0
    assert invert.call_count == 2
    with pytest.raises(InputError, match="both empty"):
        replace(tool, edits="", lights="").run()
    with pytest.raises(InputError, match="nothing to evaluate on"):
        EvaluatePortrait().run()
    with pytest.raises(InputError, match="vocabulary"):
        replace(tool, edits="a dragon").run()
    with pytest.raises(InputError, match="--first is -1"):
        replace(tool, first=-1).run()
