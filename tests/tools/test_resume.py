"""A batch that is killed goes on: the same folder in the end, and nothing beside it."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from mien.stream.export import ExportOptions
from mien.stream.sinks.partial import sweep
from mien.tools.annotate.files import Wanted

BytesOf = Callable[[Path], dict[str, bytes]]
Mien = Callable[..., subprocess.CompletedProcess[str]]
Told = Callable[..., None]
MIEN = Path(sys.executable).parent / "mien"


def killed(command: list[str], out: Path, steps: int, whole_group: bool) -> bool:
    """Run a command until the names in its folder have changed so often, then kill -9.

    Returns:
        Whether it was still running.
    """
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    seen: set[str] = set()
    changes, deadline_s = 0, time.monotonic() + 60
    while process.poll() is None and changes < steps and time.monotonic() < deadline_s:
        try:
            names = set(os.listdir(out))
        except FileNotFoundError:
            names = set()
        changes += len(names ^ seen)
        seen = names
        time.sleep(0.001)
    running = process.poll() is None
    if running:
        # The first process alone, as an administrator would, or all, as a scheduler does.
        (os.killpg if whole_group else os.kill)(process.pid, signal.SIGKILL)
    process.wait(60)
    return running


@pytest.mark.skipif(os.name != "posix", reason="kill -9")
def test_a_batch_that_is_killed_again_and_again_ends_as_an_undisturbed_one(
    bytes_of: BytesOf, mien: Mien, tmp_path: Path, portrait_video: Path
) -> None:
    films = tmp_path / "films"
    films.mkdir()
    for name in "abcd":
        shutil.copy(portrait_video, films / f"{name}.mp4")
    options = (
        *("--format", "parquet,csv", "--export", "eg3d,nerfstudio", "--export-every", "8"),
        *("--workers", "2", "--threads", "1"),
    )
    assert mien("annotate", films, "--out", "undisturbed", *options).returncode == 0
    out = tmp_path / "out"
    command = [str(MIEN), "annotate", str(films), "--out", str(out), *options]
    rng = random.Random(6)
    kills = [
        killed(command, out, steps=rng.randint(4, 30), whole_group=number % 2 == 0)
        for number in range(4)
    ]
    assert sum(kills) >= 2, kills
    done = mien("annotate", films, "--out", "out", *options)
    assert done.returncode == 0, done.stderr
    assert bytes_of(out) == bytes_of(tmp_path / "undisturbed")


@pytest.mark.skipif(os.name != "posix", reason="kill -9")
def test_workers_tidy_up_and_end_when_the_first_process_is_killed(
    bytes_of: BytesOf,
    start_mien: Callable[..., subprocess.Popen[str]],
    tmp_path: Path,
    make_video: Callable[..., Path],
) -> None:
    grey = np.full((120, 160, 3), 90, np.uint8)
    for name in ("a", "b"):
        make_video(tmp_path / f"{name}.mp4", [grey] * 3000)
    process = start_mien("annotate", "a.mp4", "b.mp4", "--out", "out", "--workers", 2)
    out = tmp_path / "out"
    deadline_s = time.monotonic() + 60
    while len(list(out.glob(".*.json.*.part"))) < 2 and time.monotonic() < deadline_s:
        time.sleep(0.002)
    process.kill()
    process.communicate(timeout=60)  # its workers hold the other ends
    assert bytes_of(out) == {}


def test_where_replacing_breaks_off_nothing_stale_counts_as_finished(
    bytes_of: BytesOf,
    mien: Mien,
    tmp_path: Path,
    portrait_video: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    command = ("annotate", portrait_video, "--out", "out")
    assert mien(*command, "--export", "nerfstudio,elan", "--export-every", "12").returncode == 0
    out = tmp_path / "out"
    before = Wanted(exports=("elan", "nerfstudio"), export=ExportOptions(every=12))
    assert before.complete(out / "portrait")

    def killed_here(path: Path) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(shutil, "rmtree", killed_here)
    with pytest.raises(KeyboardInterrupt):
        Wanted().forget(out / "portrait")
    monkeypatch.undo()
    assert not before.complete(out / "portrait")
    assert (out / "portrait.json").is_file()  # it still says what else there is to remove
    assert len(sweep(out)) == 1
    assert mien(*command, "--overwrite").returncode == 0
    assert sorted(bytes_of(out)) == ["portrait.json", "portrait.parquet"]


def test_a_sidecar_that_is_empty_after_a_power_cut_is_no_finished_one(
    bytes_of: BytesOf, mien: Mien, tmp_path: Path, empty_room_video: Path
) -> None:
    command = ("annotate", empty_room_video, "--out", "out")
    assert mien(*command).returncode == 0
    whole = bytes_of(tmp_path / "out")
    (tmp_path / "out/empty.json").write_bytes(b"")
    done = mien(*command)
    assert done.stdout.startswith("1 done;"), done.stderr
    assert bytes_of(tmp_path / "out") == whole


def test_another_file_of_the_same_name_is_not_taken_for_a_finished_one(
    bytes_of: BytesOf, mien: Mien, told: Told, tmp_path: Path, empty_room_video: Path
) -> None:
    other = tmp_path / "other" / empty_room_video.name
    other.parent.mkdir()
    assert mien("annotate", empty_room_video, "--out", "out").returncode == 0
    whole = bytes_of(tmp_path / "out")
    shutil.copy(empty_room_video, other)  # moved or copied, it is still the same
    assert mien("annotate", other, "--out", "out").stdout.startswith("1 skipped;")
    with other.open("ab") as stream:
        stream.write(b"\0" * 9)
    words = ("empty.json: was made of another file", "--overwrite")
    told(mien("annotate", other, "--out", "out"), 2, *words)
    assert bytes_of(tmp_path / "out") == whole
    assert mien("annotate", other, "--out", "out", "--overwrite").returncode == 0
