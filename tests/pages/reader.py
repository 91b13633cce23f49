"""A reader who types what a page prints, in a folder with no more than the page asks for."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from mien.tools.cli import main

from .amounts import reduced, words_of
from .steps import ROOT, Step

BIN = Path(sys.executable).parent
_OUTPUTS = ("--out", "--record", "--sheet", "--livelink", "--allow")
_FIRST = {"mien build-face-model", "mien synthesize evaluation-set"}
"""Commands that write what their first argument names."""
SHELL = """
srun() { "$@"; }
parallel() {
    shift 5
    while IFS= read -r -d '' file; do
        local words=("${@//'{//}'/$(dirname "$file")}")
        "${words[@]//'{}'/$file}" || return
    done
}
"""
"""What a cluster has: Slurm's starter, and GNU parallel, one after the other."""
ARRAY = {
    "SLURM_ARRAY_TASK_ID": "1", "SLURM_ARRAY_TASK_MIN": "1", "SLURM_ARRAY_TASK_COUNT": "2",
    "SLURM_CPUS_PER_TASK": "1",
}  # fmt: skip
PBS = {"PBS_ARRAY_INDEX": "1"}


@dataclass
class Reader:
    """Types commands in a folder.

    Attributes:
        folder: where the page is followed; ``data`` below it stands for ``/data``.
        patch: of the test.
        stand_ins: words of a page, and what this reader has in their place.
    """

    folder: Path
    patch: pytest.MonkeyPatch
    stand_ins: Mapping[str, Sequence[str]]

    def __post_init__(self) -> None:
        self.patch.chdir(self.folder)
        for name in ("DISPLAY", "WAYLAND_DISPLAY"):
            self.patch.delenv(name, raising=False)
        self.patch.setenv("PATH", f"{BIN}{os.pathsep}{os.environ['PATH']}")

    def words(self, step: Step) -> list[str]:
        """What is typed, with what this reader has in place of a camera or another machine."""
        return [new for word in words_of(step) for new in self.stand_ins.get(word, (word,))]

    def follow(self, step: Step, status: int = 0) -> None:
        """Type it; it ends as it should, and what it says it writes is there and new."""
        begin = time.time_ns()
        if step.line.startswith("mien ") and "$" not in step.line:
            words = self.words(step)
            if step.elided:  # the same with other options goes to another folder
                other = f"faces-{words[-2].strip('-')}"
                words = [other if word == "faces/" else word for word in words]
            ended = self.mien(words)
        else:
            words = words_of(step)
            ended = self.shell(step)
        assert ended == status, f"{step.page}: {step.line}\nended with {ended}: {words}"
        for path in outputs(words):
            place = self.folder / str(path).replace("/data", "data").partition("{")[0]
            assert is_new(place, begin), f"{step.page}: {step.line}\nwrote nothing to {path}"

    def mien(self, words: Sequence[str]) -> int:
        """In this process, which has imported most of it already."""
        handler = signal.getsignal(signal.SIGTERM)
        with self.patch.context() as patch:
            patch.setattr(sys, "argv", list(words))
            try:
                return main()
            finally:
                signal.signal(signal.SIGTERM, handler)

    def shell(self, step: Step) -> int:
        """As the shell does, on a cluster's machine."""
        line = reduced(step).replace("/data", str(self.folder / "data"))
        if not (self.folder / "bench").exists():
            line = line.replace("python bench/", f"python {ROOT}/bench/")
        environment = {**os.environ, **(ARRAY if line.startswith("srun") else PBS)}
        command = ["bash", "-euo", "pipefail", "-c", SHELL + line]
        return subprocess.run(command, env=environment, check=False, timeout=240).returncode

    def start(self, words: Sequence[str]) -> subprocess.Popen[str]:
        """In a process of its own, as in another terminal."""
        return subprocess.Popen(
            [str(BIN / words[0]), *words[1:]],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )


def outputs(words: Sequence[str]) -> list[Path]:
    """What a command says it writes."""
    found = [Path(words[k + 1]) for k, word in enumerate(words[:-1]) if word in _OUTPUTS]
    for name in _FIRST:
        if " ".join(words).startswith(f"{name} "):
            found.append(Path(words[len(name.split())]))
    return found


def is_new(place: Path, begin_ns: int) -> bool:
    """Whether a file, or one in a folder, has been written since and holds something."""
    files = place.rglob("*") if place.is_dir() else iter([place])
    states = [path.stat() for path in files if path.is_file()]
    return any(state.st_size and state.st_mtime_ns >= begin_ns - 20_000_000 for state in states)
