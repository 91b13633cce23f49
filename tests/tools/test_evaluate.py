"""``mien evaluate`` on a tiny set made on the spot, and on what is no set."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

Mien = Callable[..., subprocess.CompletedProcess[str]]
Told = Callable[..., None]
FACE_BOX = [172, 72, 96, 120]
"""Of the portrait, px: brows to chin."""


@pytest.fixture
def tiny_set(tmp_path: Path, astronaut: np.ndarray) -> Path:
    """A frontal portrait, the same moved far away, and an empty wall."""
    folder = tmp_path / "tiny"
    (folder / "img").mkdir(parents=True)
    moved = np.full((600, 900, 3), 60, np.uint8)
    moved[50:562, 300:812] = astronaut
    cv2.imwrite(str(folder / "img/a.png"), astronaut)
    cv2.imwrite(str(folder / "img/b.png"), moved)
    cv2.imwrite(str(folder / "img/wall.png"), np.full((240, 320, 3), 120, np.uint8))
    shifted = [FACE_BOX[0] + 300, FACE_BOX[1] + 50, *FACE_BOX[2:]]
    rows = [
        {"image": "img/a.png", "faces": [{"box": FACE_BOX, "yaw": 0, "pitch": 0, "roll": 0}]},
        {"image": "img/b.png", "faces": [{"box": shifted, "yaw": 75, "ignore": False}]},
        {"image": "img/wall.png", "faces": []},
    ]
    (folder / "labels.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def test_detection_table_json_and_sheet(mien: Mien, tmp_path: Path, tiny_set: Path) -> None:
    done = mien("evaluate", tiny_set, "--json", "r.json", "--sheet", "r.png")
    assert done.returncode == 0, done.stderr
    assert "faces 2: found 2, missed 0" in done.stdout
    report = json.loads((tmp_path / "r.json").read_text())
    summary, faces = report["summary"], report["faces"]
    assert (summary["images"], summary["found"], summary["false_detections"]) == (3, 2, 0)
    assert report["false_detections"] == []
    assert [(face["image"], face["index"]) for face in faces] == [
        ("img/a.png", 0),
        ("img/b.png", 0),
    ]
    for face in faces:
        assert (face["index"], face["found"]) == (0, True)
        assert len(face["box"]) == 4
        assert np.shape(face["landmarks"]) == (68, 2)
        assert len(face["blendshapes"]) == 52
    assert summary["yaw"]["count"] == 2
    assert summary["roll"]["count"] == 1
    assert cv2.imread(str(tmp_path / "r.png")) is not None


def test_the_same_face_elsewhere_is_apparently_the_same(
    mien: Mien, tmp_path: Path, tiny_set: Path
) -> None:
    done = mien("evaluate", tiny_set, "--use-boxes", "--json", "r.json")
    assert done.returncode == 0, done.stderr
    first, second = json.loads((tmp_path / "r.json").read_text())["faces"]
    moved = np.array(second["landmarks"]) - (300, 50)
    np.testing.assert_allclose(moved, first["landmarks"], atol=0.5)
    for angle in ("yaw", "pitch", "roll"):
        assert abs(first[angle] - second[angle]) < 2.0


def test_a_given_box_is_looked_at_twice(mien: Mien, tmp_path: Path, tiny_set: Path) -> None:
    """What the first look finds says where to look: rough boxes give what good ones do."""
    found = []
    for off in (0, 20, -20):
        box = [FACE_BOX[0] + off, FACE_BOX[1], FACE_BOX[2], FACE_BOX[3] + off]
        row = {"image": "img/a.png", "faces": [{"box": box}]}
        (tiny_set / "labels.jsonl").write_text(json.dumps(row) + "\n")
        done = mien("evaluate", tiny_set, "--use-boxes", "--json", "r.json")
        assert done.returncode == 0, done.stderr
        (face,) = json.loads((tmp_path / "r.json").read_text())["faces"]
        found.append(np.array(face["landmarks"]))
    for other in found[1:]:
        assert np.linalg.norm(other - found[0], axis=1).mean() < 2.5, "3.2 and 3.6 px at one look"


def test_limits_and_lines_choose_faces(mien: Mien, tmp_path: Path, tiny_set: Path) -> None:
    mien("evaluate", tiny_set, "--use-boxes", "--yaw-max", "60", "--json", "r.json")
    report = json.loads((tmp_path / "r.json").read_text())
    assert report["summary"]["faces"] == 1
    assert report["summary"]["yaw_max"] == 60
    mien("evaluate", tiny_set, "--lines", "odd", "--json", "r.json")
    report = json.loads((tmp_path / "r.json").read_text())
    assert [face["image"] for face in report["faces"]] == ["img/b.png"]


def test_an_unreadable_image_is_a_failure_and_its_faces_are_missed(
    mien: Mien, told: Told, tmp_path: Path, tiny_set: Path
) -> None:
    (tiny_set / "img/a.png").write_text("no picture")
    done = mien("evaluate", tiny_set, "--json", "r.json")
    told(done, 1, "a.png", "not a readable picture")
    summary = json.loads((tmp_path / "r.json").read_text())["summary"]
    assert (summary["missed"], summary["images_failed"]) == (1, 1)


def test_an_absent_set_is_told(mien: Mien, told: Told, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "file").touch()
    for place, words in (
        ("nowhere", "no such folder; expected a folder of pictures with labels.jsonl"),
        ("photos", "there is no labels.jsonl in it"),
        ("file", "is a file; expected a folder"),
    ):
        done = mien("evaluate", place)
        told(done, 2, f"{place}: no evaluation set: {words}")
        assert "Errno" not in done.stderr


def test_a_damaged_set_is_told_by_line(mien: Mien, told: Told, tiny_set: Path) -> None:
    (tiny_set / "labels.jsonl").write_text('{"image": "a.png", "faces": []}\n{"image": \n')
    told(mien("evaluate", tiny_set), 2, "labels.jsonl:2", "JSON")
    # JSON has no word for it; Python's has.
    (tiny_set / "labels.jsonl").write_text('{"image": "a.png", "faces": [{"yaw": NaN}]}\n')
    told(mien("evaluate", tiny_set), 2, "labels.jsonl:1", "yaw is nan, expected degrees")


def test_an_unwritable_report_is_told_before_the_work(
    mien: Mien, told: Told, tiny_set: Path
) -> None:
    told(mien("evaluate", tiny_set, "--json", "no/folder/r.json"), 2, "--json no/folder")
