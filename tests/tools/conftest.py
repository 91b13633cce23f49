"""The real ``mien`` command, as a person would run it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

MIEN = Path(sys.executable).parent / "mien"
Mien = Callable[..., "subprocess.CompletedProcess[str]"]


def quiet_environment() -> dict[str, str]:
    """This environment without a display, whatever the machine has."""
    hidden = ("DISPLAY", "WAYLAND_DISPLAY", "PYTHONPATH")
    return {name: value for name, value in os.environ.items() if name not in hidden}


@pytest.fixture
def mien(tmp_path: Path) -> Mien:
    """Run ``mien ARGUMENTS`` in the test's folder, and return how it ended."""

    def run(*arguments: object, timeout: float = 120.0) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [MIEN, *map(str, arguments)],
            cwd=tmp_path,
            env=quiet_environment(),
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=timeout,
            check=False,
        )

    return run


@pytest.fixture
def start_mien(tmp_path: Path) -> Callable[..., subprocess.Popen[str]]:
    """Start ``mien ARGUMENTS`` in the background; the test waits for it or ends it."""

    def start(*arguments: object) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [MIEN, *map(str, arguments)],
            cwd=tmp_path,
            env=quiet_environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    return start


def _one_line(done: subprocess.CompletedProcess[str], status: int, words: Sequence[str]) -> None:
    """The command ended with a status and one line on stderr that has all the words."""
    lines = done.stderr.splitlines()
    assert done.returncode == status, done.stderr
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("mien: ")
    for word in words:
        assert word in lines[0], f"{word!r} is not in {lines[0]!r}"


@pytest.fixture
def told() -> Callable[..., None]:
    """``told(done, status, *words)``: asserts the exit status and the one line on stderr."""

    def check(done: subprocess.CompletedProcess[str], status: int, *words: str) -> None:
        _one_line(done, status, words)

    return check
