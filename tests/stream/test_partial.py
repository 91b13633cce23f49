"""What a process that was killed has left is removed, and nothing that is being written."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from mien.stream.sinks.partial import PartialFile, PartialFolder, sweep

KILLED = """
import os, signal, sys
from pathlib import Path
from mien.stream.sinks.partial import PartialFile, PartialFolder
file, folder = PartialFile(Path(sys.argv[1]) / "a.csv"), PartialFolder(Path(sys.argv[1]) / "b.eg3d")
file.path.write_text("half")
(folder.path / "x").write_text("half")
os.kill(os.getpid(), signal.SIGKILL)
"""

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="open files stay there anyway")


def test_only_what_nobody_writes_is_swept(tmp_path: Path) -> None:
    place = tmp_path / "deep"
    subprocess.run([sys.executable, "-c", KILLED, place], check=False)
    assert len(list(place.iterdir())) == 2
    (place / ".hidden.part").write_text("of somebody else")
    file, folder = PartialFile(place / "c.csv"), PartialFolder(place / "d.eg3d")
    assert len(sweep(tmp_path)) == 2
    assert sorted(place.iterdir()) == sorted([place / ".hidden.part", file.path, folder.path])
    file.commit()
    folder.commit()
    assert sorted(path.name for path in place.iterdir()) == [".hidden.part", "c.csv", "d.eg3d"]
    assert sweep(tmp_path) == []


def test_a_folder_replaces_the_one_before(tmp_path: Path) -> None:
    for content in ("old", "new"):
        folder = PartialFolder(tmp_path / "a.coco")
        (folder.path / content).write_text(content)
        folder.commit()
    assert [path.name for path in tmp_path.rglob("*")] == ["a.coco", "new"]
    kept = PartialFolder(tmp_path / "b.coco")
    del kept
    assert [path.name for path in tmp_path.iterdir()] == ["a.coco"]
