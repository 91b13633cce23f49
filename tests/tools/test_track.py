"""``mien track`` with several sources, and what it sends besides its own protocol."""

from __future__ import annotations

import json
import socket
import struct
import subprocess
import urllib.request
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from mien.stream.messages import StatusMessage
from mien.stream.reading import read_observations
from mien.stream.subscriber import PoseSubscriber

Mien = Callable[..., subprocess.CompletedProcess[str]]
Start = Callable[..., subprocess.Popen[str]]
Told = Callable[..., None]


@pytest.fixture(scope="module")
def minute(
    tmp_path_factory: pytest.TempPathFactory, portrait_video: Path, make_video: Callable[..., Path]
) -> Path:
    """The portrait to and fro for a minute: whoever looks has time to."""
    from mien.stream.sources.opening import open_source

    with open_source(portrait_video) as source:
        frames = [frame.image_bgr for frame in source]
    loop = [*frames, *reversed(frames)]
    return make_video(tmp_path_factory.mktemp("minute") / "minute.mp4", (loop * 32)[:1500])


def test_a_file_gives_live_what_annotate_gives(
    mien: Mien, tmp_path: Path, portrait_video: Path
) -> None:
    raw = ("--smoothing", "raw")
    assert mien("track", portrait_video, *raw, "--record", "live.parquet").returncode == 0
    assert mien("annotate", portrait_video, *raw, "--causal", "--out", "out").returncode == 0
    live = list(read_observations(tmp_path / "live.parquet"))
    batch = list(read_observations(tmp_path / "out/portrait.parquet"))
    assert len(live) == len(batch) > 20
    for one, other in zip(live, batch, strict=True):
        assert (one.frame, one.track, one.observed) == (other.frame, other.track, other.observed)
        for name in ("yaw", "pitch", "roll", "tx", "ty", "tz", "landmarks", "blendshapes"):
            np.testing.assert_allclose(getattr(one, name), getattr(other, name), atol=1e-4)


def test_several_sources_have_a_stream_each(
    mien: Mien, tmp_path: Path, portrait_video: Path, empty_room_video: Path
) -> None:
    sources = (portrait_video, empty_room_video, portrait_video)
    done = mien("track", *sources, "--stream", "a,b,c", "--record", "rows.parquet")
    assert done.returncode == 0, done.stderr
    lines = sorted(done.stderr.splitlines())
    assert [line[:3] for line in lines] == ["a: ", "b: ", "c: "]
    rows = {name: list(read_observations(tmp_path / f"rows-{name}.parquet")) for name in "abc"}
    assert rows["a"] == rows["c"]
    assert len(rows["a"]) > 20
    assert rows["b"] == []


def test_one_source_that_fails_does_not_end_the_others(
    mien: Mien, tmp_path: Path, portrait_video: Path
) -> None:
    broken = tmp_path / "broken.mkv"
    whole = portrait_video.read_bytes()
    broken.write_bytes(whole[: len(whole) * 2 // 3])
    cut = tmp_path / "cut.avi"
    import av

    with av.open(str(portrait_video)) as source, av.open(str(cut), "w") as target:
        stream = target.add_stream("mjpeg", rate=25)
        stream.width, stream.height, stream.pix_fmt = 320, 320, "yuvj420p"
        for frame in source.decode(video=0):
            target.mux(stream.encode(frame.reformat(320, 320, "yuvj420p")))
    content = cut.read_bytes()
    cut.write_bytes(content[: len(content) // 2])
    done = mien("track", portrait_video, cut, "--record", "rows.parquet")
    assert done.returncode == 1, done.stderr
    assert "cut.avi" in done.stderr
    assert "main-0: 24 frames" in done.stderr
    assert len(list(read_observations(tmp_path / "rows-main-0.parquet"))) > 20
    assert len(list(read_observations(tmp_path / "rows-main-1.parquet"))) > 5


def test_names_of_streams_are_checked(mien: Mien, told: Told, portrait_video: Path) -> None:
    told(mien("track", portrait_video, portrait_video, "--stream", "a,a"), 2, "two streams")
    told(mien("track", portrait_video, portrait_video, "--stream", "a,b,c"), 2, "3 names for 2")
    told(mien("track", portrait_video, "--stream", "a b"), 2, "a b", "letters")
    told(mien("track", portrait_video, "--size", "big"), 2, "--size", "1280x720")


def test_opentrack_hears_the_head_and_center_makes_it_neutral(
    mien: Mien, start_mien: Start, minute: Path, port: int
) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.bind(("127.0.0.1", 0))
        receiver.settimeout(30.0)
        address = f"127.0.0.1:{receiver.getsockname()[1]}"
        process = start_mien(
            *("track", minute, "--realtime", "--publish", f"tcp://127.0.0.1:{port}"),
            *("--opentrack", address),
        )
        try:
            pose = struct.unpack("<6d", receiver.recv(64))
            assert np.isfinite(pose).all()
            done = mien("center", f"tcp://127.0.0.1:{port + 1}")
            assert done.returncode == 0, done.stderr
            assert done.stdout == "centred main\n"
            closest = np.inf
            for _ in range(60):
                pose = struct.unpack("<6d", receiver.recv(64))
                closest = min(closest, float(np.abs(pose).max()))
            assert closest < 1e-9  # the pose that was taken as neutral
            refused = mien("center", f"tcp://127.0.0.1:{port + 1}", "--stream", "other")
            assert refused.returncode == 2
            assert "other" in refused.stderr
        finally:
            process.terminate()
            process.communicate(timeout=30)


def test_a_live_session_serves_its_page_and_says_how_long_frames_take(
    start_mien: Start, minute: Path, port: int
) -> None:
    endpoint = f"tcp://127.0.0.1:{port}"
    process = start_mien(
        "track", minute, "--realtime", "--publish", endpoint, "--view", f":{port + 2}"
    )
    try:
        with PoseSubscriber(endpoint, every=True) as subscriber:
            latency: dict[str, float] = {}
            for _ in range(600):
                for received in subscriber.receive(0.2):
                    if isinstance(received.message, StatusMessage):
                        latency = received.message.latency_ms
                if {"regress", "fit", "smooth", "publish", "total"} <= set(latency):
                    break
            assert {"regress", "fit", "smooth", "publish", "total"} <= set(latency)
        with urllib.request.urlopen(f"http://127.0.0.1:{port + 2}/", timeout=20) as page:
            assert b"<html" in page.read().lower()
    finally:
        process.terminate()
        _, stderr = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "frames" in stderr.splitlines()[-1]


def test_what_was_followed_before_an_interruption_is_kept(
    start_mien: Start, tmp_path: Path, minute: Path, port: int
) -> None:
    endpoint = f"tcp://127.0.0.1:{port}"
    process = start_mien(
        "track", minute, "--realtime", "--publish", endpoint, "--record", "rows.jsonl"
    )
    with PoseSubscriber(endpoint, kinds=("pose",)) as subscriber:
        for _ in range(300):
            if subscriber.poses(0.2):
                break
    process.terminate()
    process.communicate(timeout=30)
    assert process.returncode == 130
    lines = (tmp_path / "rows.jsonl").read_text().splitlines()
    assert lines
    assert all(json.loads(line)["track"] == 0 for line in lines)
