"""The README's commands and its Python are what they say."""

from __future__ import annotations

import re
from itertools import islice
from pathlib import Path

import pytest

from mien.stream.sources.opening import open_source
from mien.tools.demo import demo_clip

README = Path(__file__).resolve().parents[1] / "README.md"


def test_there_are_two_commands_that_begin_it() -> None:
    commands = [
        line.strip()
        for line in README.read_text(encoding="utf-8").splitlines()
        if line.startswith("    ")
    ]
    first, second = commands[:2]
    assert first.startswith("python3 -m venv .venv && ")
    assert first.endswith(".venv/bin/mien demo")
    assert second.endswith(".venv/bin/pytest -n auto --dist loadfile")
    assert first.count("-c constraints.txt") == second.count("-c constraints.txt") == 1


def test_the_python_of_the_readme_runs(capsys: pytest.CaptureFixture[str]) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    with demo_clip() as path, open_source(path) as source:
        frames = list(islice(source, 5))
    names = {"frames": frames, "image_bgr": frames[0].image_bgr}
    exec(compile(code, str(README), "exec"), names)
    assert len(capsys.readouterr().out.splitlines()) == 5
    assert len(names["faces"]) == 1


def test_key_frames_are_read_from_where_they_are_written() -> None:
    """``mien keyframes`` writes a folder a video, and that folder is what the others take."""
    from mien.tools.keyframes import ENDING

    text = README.read_text(encoding="utf-8")
    ((video, out),) = re.findall(r"`mien keyframes \S*?(\w+)\.parquet .*--out (\S+?)/?`", text)
    taken = re.findall(r"`mien (?:reconstruct|avatar --neutral) (\S+)", text)
    assert taken == [f"{out}/{video}{ENDING}"] * 2


def test_the_commands_of_the_table_exist() -> None:
    from mien.tools import commands

    text = Path(commands.__file__).read_text(encoding="utf-8")
    known = set(re.findall(r'_subcommand\("([a-z0-9-]+)"\)', text))
    used = set(re.findall(r"`mien ([a-z0-9-]+)", README.read_text(encoding="utf-8")))
    assert used <= known
