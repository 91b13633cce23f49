"""The command as a whole: help, usage, exit status, and how quickly it answers."""

from __future__ import annotations

import importlib.metadata
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest

Mien = Callable[..., CompletedProcess[str]]
COMMANDS = (
    "demo",
    "track",
    "listen",
    "annotate",
    "evaluate",
    "build-face-model",
    "synthesize",
    "train",
    "export",
    "import-3ddfa",
)


def test_help_lists_every_command_and_is_quick(mien: Mien) -> None:
    took = []
    done = mien("--help")
    for _ in range(3):
        # Time of the processor, since others may be busy too.
        begin = os.times()
        mien("--help")
        end = os.times()
        took.append(end.children_user + end.children_system - begin[2] - begin[3])
    assert done.returncode == 0
    assert done.stderr == ""
    for command in COMMANDS:
        assert command in done.stdout
    assert "130 interrupted" in done.stdout
    assert min(took) < 1.0


PARTS = {
    "synthesize": (
        "faces",
        "closeups",
        "scenes",
        "heads",
        "bodies",
        "scans",
        "portraits",
        "evaluation-set",
    ),
    "train": ("regressor", "detector", "blendshapes", "pifuhd", "avatar", "portrait"),
    "evaluate-models": ("pifuhd", "portrait", "avatar", "meshes"),
}
"""Commands that have sub-commands of their own."""
WORDS = [(command,) for command in COMMANDS if command not in PARTS] + [
    (command, part) for command, parts in PARTS.items() for part in parts
]


@pytest.mark.parametrize("command", WORDS, ids=" ".join)
def test_help_of_a_command_explains_every_option(mien: Mien, command: tuple[str, ...]) -> None:
    done = mien(*command, "--help")
    assert done.returncode == 0
    assert done.stdout.startswith(f"usage: mien {' '.join(command)} [-h] ")
    lines = [line.strip("│ ") for line in done.stdout.splitlines()]
    starts = [i for i, line in enumerate(lines) if line.startswith("--")]
    assert starts
    for begin, end in zip(starts, [*starts[1:], len(lines)], strict=True):
        # Name, metavar, help over one line or several, then the default or that there is none.
        block = " ".join(lines[begin:end]).split("(default")[0].split("(required")[0]
        assert len(block.split()) > 3, f"{command}: {lines[begin]} is not explained"


@pytest.mark.parametrize(("command", "parts"), PARTS.items())
def test_help_lists_the_parts_of_a_command(
    mien: Mien, command: str, parts: tuple[str, ...]
) -> None:
    done = mien(command, "--help")
    assert done.returncode == 0
    assert done.stdout.startswith(f"usage: mien {command} [-h] {{{','.join(parts)}}}")
    assert mien(command).returncode == 2


def test_version(mien: Mien) -> None:
    assert mien("--version").stdout == f"mien {importlib.metadata.version('mien')}\n"


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("frobnicate",),
        ("annotate", "a.mp4"),
        ("annotate", "--out", "out"),
        ("annotate", "a.mp4", "--out", "out", "--frobnicate"),
        ("track",),
        ("train", "regressor", "--shards", "a", "--out", "b", "--batch", "many"),
    ],
)
def test_usage_errors_end_with_2_and_without_a_traceback(
    mien: Mien, arguments: tuple[str, ...]
) -> None:
    done = mien(*arguments)
    assert done.returncode == 2
    assert done.stderr
    assert "Traceback" not in done.stderr


def test_an_interruption_while_a_library_is_loaded_is_one(
    tmp_path: Path, portrait_video: Path
) -> None:
    """What Ctrl-C stops in the middle of its loading says only that it failed."""
    (tmp_path / "onnxruntime.py").write_text(
        'raise ImportError("initialization failed") from KeyboardInterrupt()\n'
    )
    done = subprocess.run(
        [sys.executable, "-m", "mien.tools.cli", "track", portrait_video],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout) == (130, "")
    assert done.stderr.splitlines()[-1] == "mien: interrupted"
    assert "Traceback" not in done.stderr
