"""``mien annotate --export``: what is written, resumed, replaced and not taken for input."""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from mien.stream.export import EXPORTERS
from mien.stream.reading import read_observations
from mien.tools.annotate.inputs import EXPORT_FOLDERS

Mien = Callable[..., subprocess.CompletedProcess[str]]
Told = Callable[..., None]

ALL = "elan,eg3d,nerfstudio,coco,gltf,obj,ply"


def test_folders_of_exports_are_known() -> None:
    assert set(EXPORT_FOLDERS) == {kind.SUFFIX for kind in EXPORTERS.values() if kind.FOLDER}


def test_every_export_is_written_once_and_with_the_rows(
    mien: Mien, tmp_path: Path, portrait_video: Path
) -> None:
    command = (
        *("annotate", portrait_video, "--out", "out", "--format", "parquet,openface"),
        *("--export", ALL, "--export-every", "8"),
    )
    done = mien(*command)
    assert done.returncode == 0, done.stderr
    out = tmp_path / "out"
    for kind in EXPORTERS.values():
        place = out / f"portrait{kind.SUFFIX}"
        assert place.is_dir() == kind.FOLDER, place
        assert place.exists()
    rows = {row.frame: row for row in read_observations(out / "portrait.parquet")}
    with (out / "portrait.openface.csv").open(newline="") as file:
        table = [{k.strip(): v for k, v in line.items()} for line in csv.DictReader(file)]
    assert len(table) == 24
    for line in table:
        row = rows.get(int(line["frame"]) - 1)
        if row is not None:
            assert float(line["pose_Tz"]) == pytest.approx(row.tz, abs=0.1)
    pictures = list((out / "portrait.nerfstudio").rglob("*.jpg"))
    assert len(pictures) == len([n for n in rows if n % 8 == 0])
    assert json.loads((out / "portrait.json").read_text())["options"]["exports"][0] == "openface"
    assert "1 skipped" in mien(*command).stdout
    shutil.rmtree(out / "portrait.eg3d")
    assert "1 done" in mien(*command).stdout
    assert (out / "portrait.eg3d").is_dir()


def test_exports_of_a_run_that_is_replaced_go(
    mien: Mien, told: Told, tmp_path: Path, portrait_video: Path
) -> None:
    command = ("annotate", portrait_video, "--out", "out")
    assert mien(*command, "--export", "coco,gltf").returncode == 0
    told(mien(*command), 2, "export", "--overwrite")
    assert mien(*command, "--overwrite").returncode == 0
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == ["portrait.json", "portrait.parquet"]


def test_outputs_among_inputs_are_not_annotated(
    mien: Mien, tmp_path: Path, portrait_video: Path
) -> None:
    shutil.copy(portrait_video, tmp_path / "film.mp4")
    command = ("annotate", ".", "--out", "out", "--export", "nerfstudio", "--export-every", "12")
    for _ in range(2):
        done = mien(*command)
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith(("1 done;", "1 skipped;"))


def test_an_export_that_is_none_is_refused(mien: Mien, told: Told, portrait_video: Path) -> None:
    command = ("annotate", portrait_video, "--out", "out")
    told(mien(*command, "--export", "fbx"), 2, "--export", "fbx", "gltf")
    told(mien(*command, "--export", "obj", "--export-frames", "a"), 2, "--export-frames", "numbers")
    told(mien(*command, "--export", "obj", "--export-every", "0"), 2, "every", "1 or more")
