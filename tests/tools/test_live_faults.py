"""``mien track`` while things go wrong: the real command, real servers, signals and disks."""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import av
import cv2
import pytest
import zmq

from mien.stream.reading import read_observations
from mien.stream.subscriber import PoseSubscriber

from ..web_camera import WebCamera

Mien = Callable[..., subprocess.CompletedProcess[str]]
Start = Callable[..., subprocess.Popen[str]]
Told = Callable[..., None]
DEADLINE_S = 40.0


@pytest.fixture
def camera(tmp_path: Path, portrait_video: Path) -> Iterator[WebCamera]:
    """Shows the portrait for about a second, then as long in pictures of twice the size."""
    folder = tmp_path / "served"
    folder.mkdir()
    with av.open(str(portrait_video)) as clip:
        pictures = [picture.to_ndarray(format="bgr24") for picture in clip.decode(video=0)]
    for i, image in enumerate([*pictures, *(cv2.resize(p, None, fx=2, fy=2) for p in pictures)]):
        (folder / f"{i:02}.jpg").write_bytes(cv2.imencode(".jpg", image)[1].tobytes())
    made = WebCamera(folder)
    made.start()
    yield made
    made.kill()


@pytest.fixture
def start(start_mien: Start) -> Iterator[Start]:
    """``mien ARGUMENTS`` in the background, killed with the test."""
    started: list[subprocess.Popen[str]] = []

    def begin(*arguments: object) -> subprocess.Popen[str]:
        started.append(start_mien(*arguments))
        return started[-1]

    yield begin
    for process in started:
        process.kill()
        process.communicate()


def until(
    subscriber: PoseSubscriber, process: subprocess.Popen[str], wanted: Callable[[Any], bool]
) -> Any:
    """The first message that is wanted, of what comes from now on."""
    end = time.monotonic() + DEADLINE_S
    while time.monotonic() < end:
        assert process.poll() is None, process.communicate()[1]
        for received in subscriber.receive(0.2):
            if wanted(received.message):
                return received.message
    raise AssertionError("it did not come")


def state(name: str) -> Callable[[Any], bool]:
    return lambda message: getattr(message, "source_state", None) == name


def width_px(least: float, most: float) -> Callable[[Any], bool]:
    return lambda m: getattr(m, "observed", False) and least < m.box_w < most


def a_face(message: Any) -> bool:
    return bool(getattr(message, "tracks", ()))


def interrupted(process: subprocess.Popen[str], number: int = signal.SIGINT) -> str:
    """What it says when it is told to end; it must do so soon."""
    process.send_signal(number)
    _, stderr = process.communicate(timeout=30)
    assert process.returncode == 130, stderr
    assert "Traceback" not in stderr
    return stderr


def test_a_camera_that_goes_and_comes_back_and_stalls(
    camera: WebCamera, start: Start, tmp_path: Path, port: int
) -> None:
    """Its pictures change their size all the time, too."""
    endpoint = f"tcp://127.0.0.1:{port}"
    process = start(
        *("track", camera.address, "--publish", endpoint, "--record", "rows.csv"),
        *("--read-timeout", "1"),
    )
    with PoseSubscriber(endpoint, every=True, kinds=("frame", "pose", "status")) as subscriber:
        until(subscriber, process, width_px(60, 110))
        until(subscriber, process, width_px(140, 220))
        until(subscriber, process, width_px(60, 110))
        first = until(subscriber, process, a_face)
        camera.kill()
        assert camera.address in until(subscriber, process, state("reconnecting")).detail
        camera.start()
        second = until(subscriber, process, a_face)
        assert second.frame > first.frame
        assert second.t_capture_ns > first.t_capture_ns
        camera.stall(True)
        until(subscriber, process, state("reconnecting"))
        camera.stall(False)
        assert until(subscriber, process, a_face).frame > second.frame
        camera.kill()
        until(subscriber, process, state("reconnecting"))
    assert "reconnected" in interrupted(process)
    assert list(read_observations(tmp_path / "rows.csv"))


def test_whatever_holds_a_source_up_an_interruption_is_obeyed(start: Start, tmp_path: Path) -> None:
    """A server that never answers, a pipe that nobody fills."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(DEADLINE_S)
        address = f"http://127.0.0.1:{silent.getsockname()[1]}/"
        process = start("track", address)
        connection, _ = silent.accept()
        with connection:
            begin_s = time.monotonic()
            assert interrupted(process) == "mien: interrupted\n"
            assert time.monotonic() - begin_s < 9.0  # FFmpeg's own limit is 10 s
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    process = start("track", pipe)
    filler = os.open(pipe, os.O_WRONLY)  # when the other end has been opened
    try:
        assert interrupted(process, signal.SIGTERM) == "mien: interrupted\n"
    finally:
        os.close(filler)


def test_what_came_through_a_pipe_is_kept_where_nothing_more_comes(
    start: Start, tmp_path: Path, make_video: Callable[..., Path], portrait_video: Path, port: int
) -> None:
    with av.open(str(portrait_video)) as clip:
        pictures = [picture.to_ndarray(format="bgr24") for picture in clip.decode(video=0)]
    stream = make_video(tmp_path / "stream.ts", (pictures * 3)[:60])
    pipe, endpoint = tmp_path / "pipe", f"tcp://127.0.0.1:{port}"
    os.mkfifo(pipe)
    process = start("track", pipe, "--record", "rows.parquet", "--publish", endpoint, "--realtime")
    filler = os.open(pipe, os.O_WRONLY)
    try:
        content = stream.read_bytes()
        writing = threading.Thread(target=os.write, args=(filler, content), daemon=True)
        writing.start()
        with PoseSubscriber(endpoint, every=True, kinds=("frame", "status")) as subscriber:
            until(subscriber, process, a_face)
            writing.join(DEADLINE_S)
            until(subscriber, process, state("stalled"))
        assert "frames" in interrupted(process, signal.SIGTERM)
    finally:
        os.close(filler)
    assert len(list(read_observations(tmp_path / "rows.parquet"))) > 30


def test_ports_that_are_taken_are_told(
    mien: Mien, told: Told, portrait_video: Path, port: int
) -> None:
    with zmq.Context() as context, context.socket(zmq.PUB) as taken:
        taken.bind(f"tcp://127.0.0.1:{port}")
        echo = ("--publish", "tcp://127.0.0.1:*", "--echo", f"tcp://127.0.0.1:{port}")
        told(mien("track", portrait_video, *echo), 2, "in use", "--echo")
        told(mien("track", portrait_video, "--view", f":{port}"), 2, "in use", "--view")
    told(mien("track", portrait_video, "--publish", "tcp://127.0.0.1:65535"), 2, "--echo")


def test_numbers_that_are_none_are_told(mien: Mien, told: Told, portrait_video: Path) -> None:
    told(mien("track", portrait_video, "--read-timeout", "nan"), 2, "--read-timeout is nan")
    told(mien("track", portrait_video, "--give-up", "nan"), 2, "--give-up is nan")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A folder on a disk of 3 MB."""
    folder = tmp_path / "small"
    folder.mkdir()
    libc = ctypes.CDLL(None, use_errno=True)
    if not hasattr(libc, "mount") or libc.mount(
        b"tmpfs", str(folder).encode(), b"tmpfs", 0, b"size=3m"
    ):
        pytest.skip("no file system can be mounted here")
    yield folder
    libc.umount2(str(folder).encode(), 2)  # MNT_DETACH


def fill(folder: Path) -> None:
    """Leave no room on the folder's disk."""
    with (folder / "other").open("wb", buffering=0) as other, suppress(OSError):
        while other.write(bytes(1 << 12)):
            pass


def test_a_disk_that_fills_ends_the_recording_and_nothing_else(
    camera: WebCamera, start: Start, small_disk: Path, port: int
) -> None:
    endpoint = f"tcp://127.0.0.1:{port}"
    kept = small_disk / "rows.csv"
    process = start("track", camera.address, "--publish", endpoint, "--record", kept)
    assert process.stderr is not None
    with PoseSubscriber(endpoint, every=True, kinds=("frame", "status")) as subscriber:
        begun = until(subscriber, process, a_face).frame
        until(subscriber, process, lambda m: a_face(m) and m.frame > begun + 20)
        while sum(file.stat().st_size for file in small_disk.iterdir()) < 20_000:
            time.sleep(0.05)  # rows are published before they are written
        fill(small_disk)
        lines = iter(process.stderr.readline, "")
        complaint = next(line for line in lines if "disk full" in line)
        assert str(kept) in complaint
        assert "main goes on without it" in complaint
        subscriber.receive()  # what was sent before
        last = until(subscriber, process, lambda m: hasattr(m, "tracks")).frame
        until(subscriber, process, lambda m: getattr(m, "frame", 0) > last + 20)
    interrupted(process)
    assert list(read_observations(kept))


def test_a_second_interruption_does_not_cost_the_recording(
    camera: WebCamera, start: Start, tmp_path: Path, port: int
) -> None:
    endpoint = f"tcp://127.0.0.1:{port}"
    process = start(
        *("track", camera.address, camera.address, "--publish", endpoint),
        *("--record", "rows.parquet"),
    )
    with PoseSubscriber(endpoint, every=True, kinds=("frame",)) as subscriber:
        until(subscriber, process, lambda m: a_face(m) and m.frame > 5)
    process.send_signal(signal.SIGTERM)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=20)
    assert process.returncode in (130, -signal.SIGINT), stderr
    assert "Traceback" not in stderr
    found = [list(read_observations(tmp_path / f"rows-main-{i}.parquet")) for i in range(2)]
    assert any(found)


def test_a_pipe_that_is_read_no_more_ends_quietly(
    mien: Mien, camera: WebCamera, tmp_path: Path
) -> None:
    del mien
    command = [Path(sys.executable).parent / "mien", "track", camera.address]
    with subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert "yaw" in process.stdout.readline()
        process.stdout.close()
        assert process.wait(20) == 130
        assert "Traceback" not in process.stderr.read()
