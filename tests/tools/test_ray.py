"""The same bytes from a Ray cluster: a real one, begun on this machine."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

BytesOf = Callable[[Path], dict[str, bytes]]
Mien = Callable[..., subprocess.CompletedProcess[str]]
Told = Callable[..., None]

needs_ray = pytest.mark.skipif(find_spec("ray") is None, reason="needs ray (extra: ray)")


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Address of a cluster of one node with two cores, without a token that others could share."""
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    # Its sockets lie there, and their names may not be long.
    place = tempfile.mkdtemp(prefix="r")
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block"),
            *("--node-ip-address", "127.0.0.1", "--port", str(port), "--num-cpus", "2"),
            *("--include-dashboard", "false", "--disable-usage-stats", "--temp-dir", place),
            *("--object-store-memory", str(100 * 2**20)),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        assert process.stdout is not None
        deadline_s = time.monotonic() + 60
        for line in process.stdout:
            if "Ray runtime started" in line or time.monotonic() > deadline_s:
                break
        yield f"127.0.0.1:{port}"
    finally:
        process.terminate()
        process.communicate(timeout=30)
        shutil.rmtree(place, ignore_errors=True)


@needs_ray
def test_a_cluster_writes_what_one_process_writes(
    bytes_of: BytesOf,
    mien: Mien,
    told: Told,
    tmp_path: Path,
    portrait_video: Path,
    empty_room_video: Path,
    cluster: str,
) -> None:
    films = tmp_path / "films"
    films.mkdir()
    shutil.copy(portrait_video, films / "ä b.mp4")
    shutil.copy(empty_room_video, films / "empty.mp4")
    (films / "broken.mp4").write_bytes(b"no video at all")
    options = ("--format", "parquet,csv", "--export", "eg3d", "--threads", 1)
    here = mien("annotate", "films", "--out", "here", *options)
    there = mien("annotate", "films", "--out", "there", *options, "--ray", cluster)
    assert there.stdout.replace("there", "here") == here.stdout, there.stderr
    told(there, 1, "films/broken.mp4", "not a video")
    assert bytes_of(tmp_path / "there") == bytes_of(tmp_path / "here")
    assert len(bytes_of(tmp_path / "there")) > 6
    again = mien("annotate", "films/empty.mp4", "--out", "there", *options, "--ray", cluster)
    assert again.stdout.startswith("1 skipped"), again.stderr
    many = mien("annotate", "films", "--out", "x", "--threads", 64, "--ray", cluster)
    told(many, 2, "--threads", "2 cores")


@needs_ray
def test_a_cluster_that_is_not_there_is_told(
    mien: Mien, told: Told, empty_room_video: Path
) -> None:
    done = mien("annotate", empty_room_video, "--out", "out", "--ray", "here there")
    told(done, 2, "--ray here there", "cluster")


@pytest.mark.skipif(find_spec("ray") is not None, reason="ray is installed")
def test_ray_that_is_missing_is_told(mien: Mien, told: Told, empty_room_video: Path) -> None:
    command = ("annotate", empty_room_video, "--out", "out", "--ray", "auto")
    told(mien(*command), 2, "--ray needs ray", "pip install '.[ray]' in mien's checkout")


def test_a_cluster_and_workers_exclude_each_other(
    mien: Mien, told: Told, empty_room_video: Path
) -> None:
    command = ("annotate", empty_room_video, "--out", "out", "--ray", "auto", "--workers", 2)
    told(mien(*command), 2, "--ray", "--workers")
