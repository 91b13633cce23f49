from __future__ import annotations

import gc
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec
import numpy as np
import pyarrow.parquet as pq
import pytest

from mien.models.errors import OutputError
from mien.stream.frame import Frame
from mien.stream.observation import FaceObservation
from mien.stream.reading import read_observations
from mien.stream.schema import rounded
from mien.stream.sinks import FileSink, Recording
from mien.stream.sinks.csv import CsvSink
from mien.stream.sinks.jsonl import JsonLinesSink
from mien.stream.sinks.parquet import ParquetSink
from mien.stream.sinks.queued import QueuedSink
from mien.stream.sinks.reserve import Reserve

BLANK = np.zeros((1, 1, 3), np.uint8)
SUFFIXES = (".parquet", ".csv", ".jsonl")


def open_sink(path: Path, recording: Recording, *, salvage: bool = True) -> FileSink:
    if path.suffix == ".parquet":
        return ParquetSink(path, recording, salvage=salvage)
    return (CsvSink if path.suffix == ".csv" else JsonLinesSink)(path, salvage=salvage)


@contextmanager
def files_at_most(size: int) -> Iterator[None]:
    """No file of this process grows beyond a size: the next write fails with EFBIG."""
    resource = pytest.importorskip("resource", reason="limits are those of POSIX systems")
    assert signal.getsignal(signal.SIGXFSZ) is signal.SIG_IGN  # Python's own setting
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.fixture(scope="module")
def rows() -> list[FaceObservation]:
    """3,000 rows that cannot be compressed, one a frame."""
    rng = np.random.default_rng(0)

    def floats(count: int) -> np.ndarray:
        bits = rng.integers(0, 2**32, size=count, dtype=np.uint32).view(np.float32)
        return np.where(np.isfinite(bits), bits, np.float32(1.5))

    def row(i: int) -> FaceObservation:
        names = ("confidence", "box_x", "box_y", "box_w", "box_h", "yaw", "pitch", "roll")
        names += ("qw", "qx", "qy", "qz", "tx", "ty", "tz")
        scalars = dict(zip(names, floats(len(names)).tolist(), strict=True))
        if i % 3 == 0:
            scalars["confidence"] = None
        return FaceObservation(
            **scalars,
            frame=i,
            t_media_ns=int(rng.integers(2**62)),
            t_capture_ns=int(rng.integers(2**62)) if i % 2 else None,
            track=int(rng.integers(2**31)),
            observed=bool(rng.integers(2)),
            pose_variance=floats(6),
            shape=floats(40),
            expression=floats(10),
            landmarks=floats(136),
            blendshapes=floats(52) if i % 5 else None,
        )

    return [row(i) for i in range(3000)]


def write_until_full(
    sink: FileSink | QueuedSink, frames: Iterable[Sequence[FaceObservation]]
) -> str:
    """What the sink says when it can write no more of the faces of frames."""

    def write_all() -> None:
        with sink:
            for faces in frames:
                sink.write(Frame(BLANK, faces[0].frame), faces)

    with pytest.raises(OutputError) as caught:
        write_all()
    return str(caught.value)


def expect_kept(path: Path, rows: Sequence[FaceObservation], count: int) -> None:
    """The file is all there is, and holds the first rows, whole."""
    assert list(path.parent.iterdir()) == [path]
    assert list(read_observations(path)) == [rounded(row) for row in rows[:count]]
    if path.suffix == ".parquet":
        table = pq.read_table(path)
        assert table.num_rows == count
        assert table["frame"].to_pylist() == [row.frame for row in rows[:count]]
    else:
        assert path.read_bytes().endswith(b"\n")


@pytest.mark.parametrize("queued", [False, True])
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_what_was_recorded_is_kept_where_a_file_may_not_grow(
    tmp_path: Path, recording: Recording, rows: list[FaceObservation], suffix: str, queued: bool
) -> None:
    path = tmp_path / f"a{suffix}"
    sink = open_sink(path, recording)
    with files_at_most(2_000_000):
        said = write_until_full(QueuedSink(sink) if queued else sink, ([row] for row in rows))
    count = sink.rows
    assert 300 < count < len(rows)
    assert said == (
        f"files may not grow further here: {count} rows up to frame {count - 1} are kept in {path}"
    )
    expect_kept(path, rows, count)
    assert path.stat().st_size <= 2_000_000


@pytest.mark.parametrize("allocates", [True, False])
@pytest.mark.parametrize("count", [1, 511, 512, 513, 1100])
def test_parquet_can_be_finished_wherever_the_disk_fills(
    tmp_path: Path,
    recording: Recording,
    rows: list[FaceObservation],
    monkeypatch: pytest.MonkeyPatch,
    count: int,
    allocates: bool,
) -> None:
    if not allocates:
        monkeypatch.delattr(os, "posix_fallocate", raising=False)
    path = tmp_path / "a.parquet"
    sink = open_sink(path, recording)
    for row in rows[:count]:
        sink.write(Frame(BLANK, row.frame), [row])
    (hidden,) = tmp_path.iterdir()
    with files_at_most(hidden.stat().st_size):  # what it has now is all that it gets
        said = write_until_full(sink, ([row] for row in rows[count:]))
    kept = -(-(count + 1) // 512) * 512  # it knows when the row group is full
    assert f"{kept} rows up to frame {kept - 1} are kept" in said
    expect_kept(path, rows, kept)


def test_parquet_says_what_is_lost_where_the_reserve_was_no_use(
    tmp_path: Path,
    recording: Recording,
    rows: list[FaceObservation],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # As on a file system that cannot hold space.
    monkeypatch.setattr(Reserve, "hold", lambda *_: None)
    path = tmp_path / "a.parquet"
    with files_at_most(700_000):
        said = write_until_full(open_sink(path, recording), ([row] for row in rows))
    assert said == (
        f"{path}: files may not grow further here, and the 1023 rows before could not be kept: "
        "a row group broke off in the middle"
    )
    assert list(tmp_path.iterdir()) == []


def test_a_frame_of_many_faces_is_kept_whole_or_not_at_all(
    tmp_path: Path, recording: Recording, rows: list[FaceObservation]
) -> None:
    for suffix in SUFFIXES:
        folder = tmp_path / suffix[1:]
        folder.mkdir()
        sink = open_sink(folder / f"a{suffix}", recording)
        frames = [
            sorted(
                (msgspec.structs.replace(row, frame=at // 50) for row in rows[at : at + 50]),
                key=lambda row: row.track,
            )
            for at in range(0, len(rows), 50)
        ]
        with files_at_most(1_900_000):
            write_until_full(sink, frames)
        assert sink.rows % 50 == 0
        expect_kept(sink.path, [row for faces in frames for row in faces], sink.rows)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_without_salvage_a_full_disk_leaves_nothing(
    tmp_path: Path, recording: Recording, rows: list[FaceObservation], suffix: str
) -> None:
    sink = open_sink(tmp_path / f"a{suffix}", recording, salvage=False)
    with files_at_most(1_000_000):
        said = write_until_full(sink, ([row] for row in rows))
    assert said == f"{sink.path}: cannot be written: File too large"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_disk_that_is_full_from_the_start(
    tmp_path: Path, recording: Recording, rows: list[FaceObservation], suffix: str
) -> None:
    def record() -> None:
        with open_sink(tmp_path / f"a{suffix}", recording) as sink:
            sink.write(Frame(BLANK, 0), rows[:1])

    limit = 100_000 if suffix == ".parquet" else 1_000
    with files_at_most(limit), pytest.raises(OutputError, match=r"a\.\w+: (files may|cannot be)"):
        record()
    assert list(tmp_path.iterdir()) == []


ON_A_SMALL_DISK = """
import json, shutil, sys
from pathlib import Path
import numpy as np
from mien.models.errors import OutputError
from mien.stream.frame import Frame
from mien.stream.reading import read_observations
from mien.stream.sinks import Recording
from mien.stream.sinks.queued import QueuedSink
from mien.stream.sinks.{module} import {kind}

disk, rows, out, other = (Path(name) for name in sys.argv[1:])
options = [Recording(source="a", rate=30.0, width=640, height=480)] * ({kind!r} == "ParquetSink")
inner = {kind}(disk / "rows{suffix}", *options, salvage=True)
sink = QueuedSink(inner) if {queued} else inner
blank = np.zeros((1, 1, 3), np.uint8)
try:
    with sink:
        for i, row in enumerate(read_observations(rows)):
            sink.write(Frame(blank, i), [row])
            if i == 200 and other.name == "other":
                # Another program takes every byte that is left.
                with open(disk / "filler", "wb", buffering=0) as filler:
                    try:
                        while filler.write(bytes(4096)):
                            pass
                    except OSError:
                        pass
except OutputError as error:
    shutil.copy(disk / "rows{suffix}", out)
    names = sorted(path.name for path in disk.iterdir())
    print(json.dumps({{"said": str(error), "rows": sink.rows, "names": names}}))
"""


@pytest.fixture(scope="module")
def small_disk(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, Path, list[str]], str]:
    """Runs a script with a file system of 3 MB of its own; what it prints."""
    place = tmp_path_factory.mktemp("disk")
    enter = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-ec"]
    mount = 'mount -t tmpfs -o size=3m tmpfs "$0"; exec "$@"'
    if shutil.which("unshare") is None:
        pytest.skip("needs unshare, to mount a small disk")
    # Python itself is tried: whoever is mapped to root may lose the way to its folder.
    nothing = [sys.executable, "-c", ""]
    tried = subprocess.run([*enter, mount, place, *nothing], capture_output=True, check=False)
    if tried.returncode:
        pytest.skip("this system lets nobody mount a small disk")

    def run(script: str, rows: Path, rest: list[str]) -> str:
        command = [sys.executable, "-c", script, str(place), str(rows), *rest]
        done = subprocess.run(
            [*enter, mount, place, *command],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


@pytest.mark.parametrize(
    ("module", "kind", "suffix", "queued", "other"),
    [
        ("parquet", "ParquetSink", ".parquet", False, "nobody"),
        ("parquet", "ParquetSink", ".parquet", True, "other"),
        ("csv", "CsvSink", ".csv", True, "nobody"),
        ("jsonl", "JsonLinesSink", ".jsonl", False, "other"),
    ],
)
def test_what_was_recorded_is_kept_on_a_disk_that_fills(
    tmp_path: Path,
    recording: Recording,
    rows: list[FaceObservation],
    small_disk: Callable[[str, Path, list[str]], str],
    module: str,
    kind: str,
    suffix: str,
    queued: bool,
    other: str,
) -> None:
    with ParquetSink(tmp_path / "all.parquet", recording) as sink:
        for row in rows:
            sink.write(Frame(BLANK, row.frame), [row])
    (tmp_path / "out").mkdir()
    out = tmp_path / "out" / f"rows{suffix}"
    script = ON_A_SMALL_DISK.format(module=module, kind=kind, suffix=suffix, queued=queued)
    told = json.loads(small_disk(script, tmp_path / "all.parquet", [str(out), other]))
    count = told["rows"]
    assert 200 < count < len(rows)
    assert told["said"].startswith(f"disk full: {count} rows up to frame {count - 1} are kept in ")
    assert told["names"] == ["filler"] * (other == "other") + [f"rows{suffix}"]
    expect_kept(out, rows, count)


def test_text_lies_in_the_hidden_file_whole_frame_by_frame(
    tmp_path: Path, rows: list[FaceObservation], recording: Recording
) -> None:
    for suffix in (".csv", ".jsonl"):
        sink = open_sink(tmp_path / f"a{suffix}", recording)
        for row in rows[:5]:
            sink.write(Frame(BLANK, row.frame), [row])
        (hidden,) = tmp_path.iterdir()
        copy = tmp_path / f"copy{suffix}"  # as after a kill
        shutil.copy(hidden, copy)
        assert list(read_observations(copy)) == [rounded(row) for row in rows[:5]]
        sink.abort()
        copy.unlink()


@pytest.mark.parametrize("queued", [False, True])
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_recording_outlives_what_ends_the_session(
    tmp_path: Path, recording: Recording, rows: list[FaceObservation], suffix: str, queued: bool
) -> None:
    def fail_after(count: int) -> None:
        inner = open_sink(tmp_path / f"a{suffix}", recording)
        with QueuedSink(inner) if queued else inner as sink:
            for row in rows[:count]:
                sink.write(Frame(BLANK, row.frame), [row])
            raise RuntimeError("something else")

    with pytest.raises(RuntimeError, match="something else"):
        fail_after(0)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(RuntimeError, match="something else"):
        fail_after(700)
    expect_kept(tmp_path / f"a{suffix}", rows, 700)


def test_a_recording_that_cannot_get_its_name_is_left_under_the_hidden_one(
    tmp_path: Path, recording: Recording, rows: list[FaceObservation]
) -> None:
    path = tmp_path / "a.jsonl"

    def record() -> None:
        with open_sink(path, recording) as sink:
            sink.write(Frame(BLANK, 0), rows[:1])
            path.mkdir()

    with pytest.raises(OutputError, match=r"the recording lies in .*\.part$") as caught:
        record()
    left = Path(str(caught.value).rsplit(" ", 1)[1])
    del caught
    gc.collect()
    assert left.read_bytes().count(b"\n") == 1
