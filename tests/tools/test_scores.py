"""Labels read, faces scored, and the figures that come of it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mien.models.errors import LabelError
from mien.tools.evaluate.labels import TrueFace, read_labels
from mien.tools.evaluate.scores import Estimate, Scored, face_entry, score, summarise, table
from mien.tools.evaluate.sheet import TILE_PX, worst_cases

POINTS = np.stack([np.linspace(0, 100, 68), np.linspace(0, 100, 68) ** 2 / 100], axis=1)


def estimate(yaw: float = 0.0, shift: float = 0.0) -> Estimate:
    return Estimate(np.array([0.0, 0.0, 100.0, 100.0]), POINTS + shift, yaw, 0.0, 0.0, 0.9)


def write_set(folder: Path, *rows: dict[str, object]) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "labels.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def test_labels_read_with_every_key_and_with_none(tmp_path: Path) -> None:
    face = {"box": [1, 2, 3, 4], "yaw": 30, "ignore": True, "landmarks": POINTS.tolist()}
    folder = write_set(tmp_path / "set", {"image": "a.png", "faces": [face, {}]})
    (image,) = read_labels(folder)
    full, bare = image.faces
    assert (full.yaw_deg, full.pitch_deg, full.ignore) == (30.0, None, True)
    assert full.box_px is not None
    np.testing.assert_allclose(full.box_px, [0, 0, 100, 100])
    assert bare.box_px is None
    assert bare.index == 1


def test_even_and_odd_lines_part_the_set(tmp_path: Path) -> None:
    rows = [{"image": f"{i}.png", "faces": []} for i in range(5)]
    folder = write_set(tmp_path / "set", *rows)
    even = [image.name for image in read_labels(folder, "even")]
    odd = [image.name for image in read_labels(folder, "odd")]
    assert even == ["0.png", "2.png", "4.png"]
    assert odd == ["1.png", "3.png"]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"faces": []}, "'image' is missing"),
        ({"image": "a", "faces": [{"landmarks": [[1, 2]]}]}, r"landmarks has shape \[1, 2\]"),
        ({"image": "a", "faces": [{"box": [1, 2, 3, None]}]}, "box"),
        ({"image": "a", "faces": [{"yaw": "left"}]}, "left"),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, row: dict[str, object], reason: str) -> None:
    folder = write_set(tmp_path / "set", {"image": "ok.png", "faces": []}, row)
    with pytest.raises(LabelError, match=f"labels.jsonl:2: .*{reason}"):
        read_labels(folder)


def test_summary_by_hand() -> None:
    faces = [
        score("a", TrueFace(0, landmarks_px=POINTS, yaw_deg=10.0), estimate(yaw=14.0, shift=1.0)),
        score("a", TrueFace(1, yaw_deg=-50.0), estimate(yaw=-52.0)),
        score("b", TrueFace(0, yaw_deg=0.0), None),
        score("b", TrueFace(1, yaw_deg=0.0, ignore=True), estimate(yaw=90.0)),
    ]
    summary = summarise(faces, false_detections=3)
    counts = ("faces", "found", "missed", "ignored", "false_detections")
    assert [summary[key] for key in counts] == [3, 2, 1, 1, 3]
    assert summary["nme"]["mean"] == pytest.approx(np.sqrt(2.0))
    assert summary["nme_by_part"]["jaw"] == pytest.approx(np.sqrt(2.0))
    assert summary["yaw"]["mean"] == pytest.approx(3.0)
    assert summary["yaw"]["bias"] == pytest.approx(1.0)
    assert summary["yaw"]["by_yaw"] == {"0-30": 4.0, "30-60": 2.0, "60-90": None}
    assert summary["yaw"]["mean_of_bins"] is None
    assert "roll" not in summary
    assert "missed 1" in table(summary)
    json.dumps([summary, [face_entry(face) for face in faces]])


def test_errors_wrap_around() -> None:
    face = score("a", TrueFace(0, yaw_deg=170.0), estimate(yaw=-170.0))
    assert face.errors == {"yaw": pytest.approx(20.0)}
    assert summarise([face], 0)["yaw"]["bias"] == pytest.approx(20.0)


def test_an_empty_set_has_a_summary() -> None:
    assert "faces 0: found 0" in table(summarise([], 2))


def test_sheet_shows_the_worst_first_and_survives_the_unreadable() -> None:
    good = score("good", TrueFace(0, landmarks_px=POINTS), estimate(shift=0.1))
    bad = score("bad", TrueFace(0, landmarks_px=POINTS), estimate(shift=9.0))
    missed = Scored("missed", TrueFace(0), None)
    asked: list[str] = []

    def read(name: str) -> np.ndarray | None:
        asked.append(name)
        return None if name == "missed" else np.full((120, 120, 3), 90, np.uint8)

    sheet = worst_cases([good, missed, bad], read)
    assert asked == ["missed", "bad", "good"]
    assert sheet.shape == (TILE_PX, 6 * TILE_PX, 3)
    assert worst_cases([], read).shape == (TILE_PX, 6 * TILE_PX, 3)


def test_profiles_are_as_bad_as_the_turn_between_truth_and_estimate() -> None:
    # Every attitude has two sets of angles; near 90 degrees of yaw both are met.
    profile = TrueFace(0, yaw_deg=95.0, pitch_deg=30.0, roll_deg=25.0)
    said = replace(estimate(), yaw_deg=83.0, pitch_deg=30.0, roll_deg=25.0)
    flipped = replace(estimate(), yaw_deg=180.0 - 95.0, pitch_deg=-150.0, roll_deg=-155.0)
    assert score("near", profile, said).badness == pytest.approx(12.0)
    assert score("same", profile, flipped).badness == pytest.approx(0.0, abs=1e-5)
    assert score("yaw alone", TrueFace(0, yaw_deg=95.0), said).badness == pytest.approx(12.0)
