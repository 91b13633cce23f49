"""Files are whole or not there; what fails is said once, of the right file."""

from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np
import pytest

from mien.models.errors import InputError, OutputError
from mien.models.writing import make_folder, whole_file


def test_a_file_takes_its_name_when_it_is_complete(tmp_path: Path) -> None:
    path = tmp_path / "a b.npz"
    with whole_file(path) as part:
        np.savez(part, x=np.arange(3))
        assert not path.exists()
        assert part.parent == tmp_path
    assert [file.name for file in tmp_path.iterdir()] == ["a b.npz"]
    np.testing.assert_array_equal(np.load(path)["x"], np.arange(3))


@pytest.mark.parametrize(
    "error", [RuntimeError("stop"), KeyboardInterrupt("now"), InputError("bad")]
)
def test_what_was_there_stays_whole(tmp_path: Path, error: BaseException) -> None:
    path = tmp_path / "table.json"
    path.write_text("old")

    def write() -> None:
        with whole_file(path) as part:
            part.write_text("half")
            raise error

    with pytest.raises(type(error), match=str(error)):
        write()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_what_killed_writers_left_is_swept_a_day_later(tmp_path: Path) -> None:
    path = tmp_path / "a[1].npz"
    writers = [whole_file(path) for _ in range(2)]
    old, young = (writer.__enter__() for writer in writers)  # and killed
    old.write_text("half")
    young.write_text("half")
    other = tmp_path / ".a1.01234567.part.npz"
    other.write_text("of another file")
    before = time.time() - 2 * 24 * 3600
    for left in (old, other):
        os.utime(left, (before, before))
    with whole_file(path) as part:
        part.write_text("new")
    assert sorted(tmp_path.iterdir()) == sorted([path, young, other])
    writers.clear()


@pytest.mark.parametrize("name", ["absent/file.txt", "taken", "file/below.txt"])
def test_a_file_that_cannot_be_written_is_named_once(tmp_path: Path, name: str) -> None:
    (tmp_path / "taken").mkdir()
    (tmp_path / "file").write_text("a file")
    path = tmp_path / name
    with pytest.raises(OutputError) as caught, whole_file(path) as part:
        part.write_text("new")
    said = str(caught.value)
    assert said.startswith(f"{path}: cannot be written: ")
    assert "\n" not in said
    assert "None" not in said
    assert sorted(file.name for file in tmp_path.iterdir()) == ["file", "taken"]


def test_folders_are_made_with_those_above_them(tmp_path: Path) -> None:
    make_folder(tmp_path / "a" / "b")
    make_folder(tmp_path / "a" / "b")
    assert (tmp_path / "a" / "b").is_dir()
    (tmp_path / "file").write_text("a file")
    with pytest.raises(OutputError, match=r"file: is a file, expected a folder$"):
        make_folder(tmp_path / "file")
    with pytest.raises(OutputError, match=r"below: cannot be made: "):
        make_folder(tmp_path / "file" / "below")
