"""The model card's places for figures, and what the figures of a report become."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mien.models.errors import InputError
from mien.models.face.bundle import BundleInfo
from mien.tools.evaluate.card_text import group_text, real_text, training_text
from mien.tools.evaluate.model_card import ModelCard, filled

CARD = Path(__file__).resolve().parents[2] / "models/weights/default/MODEL_CARD.md"


def test_a_place_is_filled_and_the_rest_kept() -> None:
    text = "a\n<!-- begin real -->\nold\n<!-- end real -->\nb\n"
    once = filled(text, "real", "new\nfigures\n")
    assert once == "a\n<!-- begin real -->\nnew\nfigures\n<!-- end real -->\nb\n"
    assert filled(once, "real", "new\nfigures") == once
    with pytest.raises(InputError, match="no place for figures"):
        filled(text, "rendered", "x")


def test_the_shipped_card_has_all_places() -> None:
    text = CARD.read_text(encoding="utf-8")
    for name in ("training", "real", "rendered", "groups", "failures"):
        assert filled(text, name, "x") != text


def test_its_pictures_exist_and_none_is_of_a_real_set() -> None:
    text = CARD.read_text(encoding="utf-8")
    links = [part.partition(")")[0] for part in text.split("](")[1:]]
    pictures = [link for link in links if link.endswith((".png", ".jpg"))]
    for link in pictures:
        assert (CARD.parent / link).resolve().is_file(), link
        assert "eval" not in link


def made_set(folder: Path, faces: list[dict[str, Any]]) -> None:
    folder.mkdir(parents=True)
    lines = [json.dumps({"image": f"{i}.jpg", "faces": [face]}) for i, face in enumerate(faces)]
    (folder / "labels.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")


def entry(number: int, nme: float, yaw: float) -> dict[str, Any]:
    return {
        "image": f"{number}.jpg",
        "index": 0,
        "found": True,
        "ignore": False,
        "nme": nme,
        "nme_without_jaw": nme - 1,
        "angle_errors": {"yaw": yaw, "pitch": 2 * yaw},
    }


def test_figures_of_real_sets_are_those_of_the_faces_that_count(tmp_path: Path) -> None:
    marks = np.random.default_rng(0).uniform(0, 100, (68, 2)).tolist()
    for name in ("helen", "dlib", "noface"):
        made_set(tmp_path / name, [{"landmarks": marks}] * 4)
    angles = [(0, 0), (75, 0), (30, 60), (-60, -30)]
    made_set(tmp_path / "pointing04", [{"yaw": yaw, "pitch": pitch} for yaw, pitch in angles])
    faces = [entry(i, nme, yaw) for i, (nme, yaw) in enumerate([(2, 1), (4, 5), (6, 9), (8, 3)])]
    summary = {"found": 4, "faces": 5, "false_detections": 2}
    report = {"summary": summary, "faces": faces}
    names = ("helen", "dlib", "pointing04", "noface")
    reports = {(name, boxes): report for name in names for boxes in (True, False)}
    rows = real_text(reports, tmp_path).splitlines()
    assert "NME 5.00 % (median 5.00), without jaw 4.00 %" in rows[2]
    assert "NME 6.00 %" in rows[3]  # lines 1 and 3
    assert "4 of 5 found, 2 false" in rows[4]
    wide = [row for row in rows if "yaw to 60" in row]
    assert "yaw 2.00, pitch 4.00 degrees (2 faces)" in wide[0]
    assert "yaw 3.00, pitch 6.00 degrees (1 faces)" in wide[1]
    assert "yaw 3.00, pitch 6.00 degrees (3 faces)" in next(r for r in rows if "yaw to 90" in r)
    assert rows[-1].endswith("| 2 false detections |")


def test_training_and_groups() -> None:
    info = BundleInfo(
        "tiny", "0.0.1", "Apache-2.0", "a test", "nobody", "mien train regressor",
        training={"images": 12, "calibrated_on": "3 faces", "log_variance_offset": "0.1 0.2"},
    )  # fmt: skip
    text = training_text(info, "../curves.png")
    assert "`mien train regressor`" in text
    assert "**Images**: 12" in text
    assert "0.1 0.2" not in text
    assert "](../curves.png)" in text
    row = {"mean": 3.0, "standard_error": 0.1, "count": 7}
    table = group_text({"nme_by_group": {"age": {"9 to 15": row, "3 to 8": row}}})
    assert table.splitlines()[-1] == ("| age | 3 to 8 3.00 ± 0.10 (7), 9 to 15 3.00 ± 0.10 (7) |")


def test_what_is_not_given_stays(tmp_path: Path) -> None:
    """A log alone changes the training's part; nothing at all is a mistake."""
    card, log = tmp_path / "CARD.md", tmp_path / "log.jsonl"
    card.write_text(CARD.read_text(encoding="utf-8"), encoding="utf-8")
    row = {"step": 1, "images": 32, "seconds": 1.0, "learning_rate": 1e-3, "loss": 2.0}
    log.write_text(json.dumps(row) + "\n", encoding="utf-8")
    ModelCard(card, log=log, pictures=tmp_path).run()
    text = card.read_text(encoding="utf-8")
    assert "](curves.png)" in text
    before, after = CARD.read_text(encoding="utf-8"), text
    assert (
        before.partition("<!-- end training -->")[2] == after.partition("<!-- end training -->")[2]
    )
    with pytest.raises(InputError, match="nothing to measure"):
        ModelCard(card).run()


@pytest.mark.parametrize(
    ("module", "options"),
    [
        ("mien.tools.evaluate.model_card", ["absent.md"]),
        ("mien.tools.demo_clip", ["absent.png", "clip.mp4"]),
        ("mien.tools.synthesize.noise_sheet", ["absent.png", "--sheet", "sheet.jpg"]),
    ],
)
def test_helpers_end_a_mistake_with_one_line(
    module: str, options: list[str], tmp_path: Path
) -> None:
    command = [sys.executable, "-m", module, *options]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ended.returncode == 2, ended.stderr
    assert "Traceback" not in ended.stderr
