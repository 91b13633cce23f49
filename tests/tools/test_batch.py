"""Batches over several processes: the same bytes, whatever dies on the way."""

from __future__ import annotations

import importlib
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mien.models.errors import InputError
from mien.tools.annotate.batch import Shard
from mien.tools.annotate.inputs import Input
from mien.tools.annotate.workers import Ended, Progress, Work, Workers

BytesOf = Callable[[Path], dict[str, bytes]]
Mien = Callable[..., subprocess.CompletedProcess[str]]


def test_two_workers_and_two_shards_write_what_one_process_writes(
    bytes_of: BytesOf, mien: Mien, tmp_path: Path, portrait_video: Path, empty_room_video: Path
) -> None:
    films = tmp_path / "films"
    for name, video in (("a b", portrait_video), ("ä/b", empty_room_video), ("c", portrait_video)):
        (films / name).parent.mkdir(parents=True, exist_ok=True)
        (films / f"{name}.mp4").write_bytes(video.read_bytes())
    (films / "broken.mp4").write_bytes(b"no video at all")
    for path in sorted(films.rglob("*.mp4")):  # one by one: what the others are compared with
        if path.stem != "broken":
            out = Path("one") / path.parent.relative_to(films)
            done = mien("annotate", path, "--out", out, "--threads", 1)
            assert done.returncode == 0, done.stderr
    both = mien("annotate", films, "--out", "two", "--workers", 2)
    assert both.returncode == 1
    assert both.stdout.startswith("3 done, 1 failed"), both.stdout
    assert [line for line in both.stderr.splitlines() if "broken.mp4" in line]
    assert len(both.stderr.splitlines()) == 1
    for number in (1, 2):
        part = mien("annotate", films, "--out", "parts", "--shard", f"{number}/2")
        assert "2 done" in part.stdout or "1 done, 1 failed" in part.stdout
    expected = bytes_of(tmp_path / "one")
    assert expected
    assert bytes_of(tmp_path / "two") == expected
    assert bytes_of(tmp_path / "parts") == expected


STRANGE = '''
import os
import signal
import time


class Strange:
    """Work on items whose names say what happens to them."""

    def __call__(self, item, tell):
        tell(1, 2)
        if item.startswith("dies"):
            os.kill(os.getpid(), signal.SIGKILL)
        if item.startswith("hangs"):
            time.sleep(600.0)
        return f"{item} done"
'''


@pytest.fixture
def strange(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], Work[str, str]]:
    """Makes such work; in a module of its own, which another process can import."""
    (tmp_path / "strange_work.py").write_text(STRANGE)
    monkeypatch.syspath_prepend(str(tmp_path))
    return importlib.import_module("strange_work").Strange


def test_what_dies_or_hangs_takes_nothing_with_it(
    strange: Callable[[], Work[str, str]],
) -> None:
    items = ["a", "dies1", "b", "hangs", "c", "dies2", "d"]
    results: dict[str, Ended[str, str]] = {}
    heard: set[str] = set()
    with Workers[str, str](2, strange, silence_s=6.0) as workers:
        for told in workers.run(items):
            if isinstance(told, Progress):
                heard.add(told.item)
            else:
                assert told.item not in results
                results[told.item] = told
    assert set(results) == set(items)
    assert heard
    for item in "abcd":
        assert results[item].result == f"{item} done"
    for item in ("dies1", "dies2"):
        assert results[item].result is None
        assert "SIGKILL" in results[item].reason
    assert "nothing happened for 6 s" in results["hangs"].reason


def test_workers_end_with_the_block(strange: Callable[[], Work[str, str]]) -> None:
    with Workers[str, str](2, strange, silence_s=60.0) as workers:
        for told in workers.run(["a", "hangs1", "hangs2"]):
            if isinstance(told, Progress) and told.item.startswith("hangs"):
                break
        processes = [worker.process for worker in workers._workers]
        begin = time.monotonic()
    assert time.monotonic() - begin < 30.0
    assert not any(process.is_alive() for process in processes)


@given(count=st.integers(1, 7), many=st.integers(0, 30))
def test_shards_share_everything_once(count: int, many: int) -> None:
    items = [Input(Path(f"{i}.mp4"), str(i)) for i in range(many)]
    parts = [Shard.parse(f"{i + 1}/{count}").of(items) for i in range(count)]
    assert sorted((item for part in parts for item in part), key=lambda i: int(i.name)) == items


@pytest.mark.parametrize("text", ["0/2", "3/2", "1", "a/b", "1/0", "-1/2", ""])
def test_a_shard_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="expected i/n"):
        Shard.parse(text)


def test_a_slurm_array_is_a_shard(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "7")
    monkeypatch.setenv("SLURM_ARRAY_TASK_COUNT", "4")
    monkeypatch.setenv("SLURM_ARRAY_TASK_MIN", "5")
    assert Shard.parse(None) == Shard(3, 4)
    assert Shard.parse("1/2") == Shard(1, 2)
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "11")
    with pytest.raises(InputError, match="gaps"):
        Shard.parse(None)
    monkeypatch.delenv("SLURM_ARRAY_TASK_ID")
    assert Shard.parse(None) == Shard(1, 1)
