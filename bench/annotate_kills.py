"""Is a batch that was killed, and begun again, the same as an undisturbed one?

    python bench/annotate_kills.py [--kills 10] [--seed 0] [--workers 2]

A folder of clips is annotated once undisturbed. Then, as often as asked: ``kill -9`` at a random
moment of that time, in turns of the first process alone and of all at once, and the same command
again, to its end; or, with ``--again``, killed once more before that. The folders are compared byte
by byte, hidden files too. Exit status 1 where they differ.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from annotate_clips import make_clip

MIEN = Path(sys.executable).parent / "mien"


def content(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() if path.is_file() else b""
        for path in sorted(folder.rglob("*"))
    }


def run(command: list[str | Path], end_s: float | None, whole_group: bool = False) -> str:
    """Run a command, to its end or until it is killed; how it ended, in words."""
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True
    )
    try:
        _, told = process.communicate(timeout=end_s)
    except subprocess.TimeoutExpired:
        (os.killpg if whole_group else os.kill)(process.pid, signal.SIGKILL)
        process.wait()
        return "killed"
    if process.returncode:
        raise SystemExit(f"status {process.returncode}: {told.decode()}")
    return "had ended"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--again", action="store_true")
    options = parser.parse_args()
    rng = random.Random(options.seed)
    differing = 0
    with tempfile.TemporaryDirectory() as place:
        films, out, whole = (Path(place) / name for name in ("films", "out", "whole"))
        films.mkdir()
        make_clip(films / "a.mp4", None, (160, 120), 179)
        for name in "bcd":
            shutil.copy(films / "a.mp4", films / f"{name}.mp4")

        def command(folder: Path) -> list[str | Path]:
            return [
                *(MIEN, "annotate", films, "--out", folder, "--workers", str(options.workers)),
                *("--format", "parquet,csv,jsonl,openface", "--overlay", "--export-every", "60"),
                *("--export", "elan,eg3d,nerfstudio,coco,gltf,obj"),
            ]

        begin = time.monotonic()
        run(command(whole), None)
        took_s = time.monotonic() - begin
        expected = content(whole)
        print(f"undisturbed: {took_s:.1f} s, {len(expected)} files and folders")
        for number in range(options.kills):
            shutil.rmtree(out, ignore_errors=True)
            told = []
            group = number % 2 == 1
            for _ in range(1 + options.again):
                at_s = rng.uniform(0.0, took_s)
                told.append(f"{run(command(out), at_s, group)} after {at_s:.1f} s")
            # What was not killed tidies up meanwhile.
            left = [name for _, folders, files in os.walk(out) for name in (*folders, *files)]
            hidden = sum(name.startswith(".") for name in left)
            run(command(out), None)
            same = content(out) == expected
            differing += not same
            print(
                f"{number + 1}: {' and '.join(told)} ({'all' if group else 'the first process'}; "
                f"{len(left)} names then, {hidden} hidden): {'same' if same else 'DIFFERENT'}",
                flush=True,
            )
    raise SystemExit(bool(differing))


if __name__ == "__main__":
    main()
