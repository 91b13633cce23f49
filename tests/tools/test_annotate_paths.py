"""Names and places of inputs: Unicode, spaces, links, read-only folders, very many."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

Mien = Callable[..., subprocess.CompletedProcess[str]]

NAMES = (
    "naïve été",
    "日本語 ファイル",
    "a: b",
    "%03d",
    'it\'s "x"',
    "-dash",
    "[x]*?",
    "😀",
    "e\u0301",
)
only_posix = pytest.mark.skipif(os.name != "posix", reason="names and links of POSIX")


@pytest.fixture
def tiny_video(tmp_path: Path, make_video: Callable[..., Path]) -> Path:
    """Two grey frames, 64 x 48."""
    picture = np.full((48, 64, 3), 90, np.uint8)
    return make_video(tmp_path / "tiny.mp4", [picture] * 2)


@only_posix
def test_any_name_is_kept(mien: Mien, tmp_path: Path, tiny_video: Path) -> None:
    films = tmp_path / "films of Zoë"
    (films / "Größe 1").mkdir(parents=True)
    for name in NAMES:
        shutil.copy(tiny_video, films / "Größe 1" / f"{name}.mp4")
    out = "out of Zoë: 1"
    done = mien("annotate", films, "--out", out, "--overlay", "--format", "parquet,csv")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"{len(NAMES)} done;")
    suffixes = (".json", ".parquet", ".csv", ".overlay.mp4")
    expected = {f"{name}{suffix}" for name in NAMES for suffix in suffixes}
    assert {path.name for path in (tmp_path / out / "Größe 1").iterdir()} == expected


@pytest.mark.skipif(sys.platform != "linux", reason="names that are no text are Linux's")
def test_a_name_that_is_no_text_is_kept(mien: Mien, tmp_path: Path, tiny_video: Path) -> None:
    films = tmp_path / "films"
    films.mkdir()
    odd = os.fsdecode(b"odd\xff.mp4")
    shutil.copy(tiny_video, films / odd)
    done = mien("annotate", films, "--out", "out", "--overlay", "--export", "coco,elan")
    assert done.returncode == 0, done.stderr
    assert f"{odd[:-4]}.json" in os.listdir(tmp_path / "out")
    (films / odd).write_bytes(b"no film")
    again = mien("annotate", films, "--out", "again")
    assert again.returncode == 1
    assert again.stderr.startswith("mien: films/odd\\udcff.mp4".replace("films", str(films)))


@only_posix
def test_folders_of_inputs_are_left_as_they_are(
    mien: Mien, tmp_path: Path, portrait_video: Path
) -> None:
    films = tmp_path / "films"
    films.mkdir()
    shutil.copy(portrait_video, films / "a.mp4")
    (films / "a.mp4").chmod(0o444)
    films.chmod(0o555)
    before = films.stat().st_mtime_ns, (films / "a.mp4").stat().st_mtime_ns
    try:
        done = mien("annotate", films, "--out", "out", "--overlay", "--export", "eg3d")
        assert done.returncode == 0, done.stderr
        assert [path.name for path in films.iterdir()] == ["a.mp4"]
        assert (films.stat().st_mtime_ns, (films / "a.mp4").stat().st_mtime_ns) == before
    finally:
        films.chmod(0o755)


@only_posix
def test_links_lead_to_what_they_name(mien: Mien, tmp_path: Path, tiny_video: Path) -> None:
    films, elsewhere = tmp_path / "films", tmp_path / "elsewhere"
    films.mkdir()
    elsewhere.mkdir()
    shutil.copy(tiny_video, elsewhere / "far.mp4")
    shutil.copy(tiny_video, films / "near.mp4")
    (films / "linked.mp4").symlink_to(elsewhere / "far.mp4")
    (films / "folder").symlink_to(elsewhere)
    (films / "round").symlink_to(films)
    (elsewhere / "back").symlink_to(films)
    (films / "broken.mp4").symlink_to("nowhere.mp4")
    done = mien("annotate", films, "--out", "out")
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        f"mien: {films}/broken.mp4: no such file, and no camera of that name"
    ]
    out = tmp_path / "out"
    found = {path.relative_to(out).as_posix() for path in out.rglob("*.json")}
    assert found == {"near.json", "linked.json", "folder/far.json"}


def test_a_folder_of_many_tiny_films(mien: Mien, tmp_path: Path, tiny_video: Path) -> None:
    films = tmp_path / "films"
    films.mkdir()
    for number in range(25):
        shutil.copy(tiny_video, films / f"{number:04d}.mp4")
    done = mien("annotate", films, "--out", "out", "--workers", 2, "--threads", 1)
    assert done.stdout == "25 done; 50 frames, 0 with a face: out\n", done.stderr
    assert len(list((tmp_path / "out").iterdir())) == 50
    facts = json.loads((tmp_path / "out/0024.json").read_text())
    assert facts["frames_read"] == 2
    assert mien("annotate", films, "--out", "out").stdout.startswith("25 skipped;")
