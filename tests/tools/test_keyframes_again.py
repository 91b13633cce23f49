"""``mien keyframes`` a second time, and beside what others write."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mien.models.errors import InputError, OutputError
from mien.models.face.bundle import Bundle, write_bundle
from mien.stream.keyframes import KeyframeFolder
from mien.stream.keyframes.writing import KeyframeWriter
from mien.stream.sinks.partial import sweep
from mien.tools.annotate.command import Annotate
from mien.tools.keyframes import Keyframes
from mien.tools.portrait.inputs import Choice, read_input


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory, portrait_video: Path) -> Path:
    """A folder with one film under two names, and its annotations."""
    folder = tmp_path_factory.mktemp("again")
    for name in ("a", "b"):
        shutil.copy(portrait_video, folder / f"{name}.mp4")
    assert Annotate((folder,), out=folder).run() == 0
    return folder


def test_other_options_are_told_before_any_work(rows: Path, tmp_path: Path) -> None:
    assert Keyframes((rows / "b.parquet",), tmp_path, count=1).run() == 0
    with pytest.raises(OutputError, match=r"b\.keyframes: was made with other count"):
        Keyframes((rows,), tmp_path, count=2).run()
    assert [path.name for path in tmp_path.iterdir()] == ["b.keyframes"]


def test_meshes_need_the_bundle_of_the_rows(
    rows: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "other"
    shutil.copytree(Bundle.default().folder, other, ignore=shutil.ignore_patterns("*.py", "__*"))
    bundle = Bundle.load(other)
    write_bundle(other, replace(bundle.info, name="other"))
    one = (rows / "a.parquet",)
    assert Keyframes(one, tmp_path / "out", count=1, bundle=other).run() == 0
    theirs = f"no meshes: the rows are of another bundle, {Bundle.default().hash[:12]}; --bundle"
    assert theirs in capsys.readouterr().out
    # The right bundle brings what is missing; so the folder is not finished.
    with pytest.raises(OutputError, match="other bundle; --overwrite"):
        Keyframes(one, tmp_path / "out", count=1).run()
    assert Keyframes(one, tmp_path / "out", count=1, overwrite=True).run() == 0
    assert "no meshes" not in capsys.readouterr().out
    assert all(k.mesh for k in KeyframeFolder.load(tmp_path / "out/a.keyframes").keyframes)
    # The coefficients of its rows mean nothing to the other one.
    with pytest.raises(InputError, match=r"made with bundle .*: name that one with --bundle"):
        read_input(tmp_path / "out/a.keyframes", Choice(bundle=other), 64)
    # One with meshes is more than was asked for.
    assert Keyframes(one, tmp_path / "out", count=1, bundle=other).run() == 0
    assert "1 skipped" in capsys.readouterr().out


def test_a_folder_that_is_being_written_is_not_swept_away(tmp_path: Path) -> None:
    camera = [[500.0, 0.0, 160.0], [0.0, 500.0, 120.0], [0.0, 0.0, 1.0]]
    with KeyframeWriter(tmp_path / "a.keyframes", np.array(camera), None, 64):
        (hidden,) = tmp_path.iterdir()
        assert sweep(tmp_path) == []
        assert (hidden / "crops").is_dir()
    assert list(tmp_path.iterdir()) == []
