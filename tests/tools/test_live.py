"""``mien track`` and ``mien listen``: two processes, every message, and what goes wrong."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import zmq

from mien.stream.reading import read_observations
from mien.stream.sources import list_cameras
from mien.stream.sources.opening import open_source

Mien = Callable[..., subprocess.CompletedProcess[str]]
Start = Callable[..., subprocess.Popen[str]]
Told = Callable[..., None]


def free_endpoint() -> str:
    """A loopback endpoint whose port, and the next one, nobody uses now."""
    for _ in range(20):
        with socket.socket() as first, socket.socket() as second:
            first.bind(("127.0.0.1", 0))
            port = first.getsockname()[1]
            try:
                second.bind(("127.0.0.1", port + 1))
            except OSError:
                continue
            return f"tcp://127.0.0.1:{port}"
    raise AssertionError("no two free ports in a row")


@pytest.fixture(scope="module")
def long_video(
    tmp_path_factory: pytest.TempPathFactory, portrait_video: Path, make_video: Callable[..., Path]
) -> Path:
    """The portrait to and fro for eight seconds: time for others to connect."""
    with open_source(portrait_video) as source:
        frames = [frame.image_bgr for frame in source]
    loop = [*frames, *reversed(frames)]
    return make_video(tmp_path_factory.mktemp("long") / "long.mp4", (loop * 5)[:200])


def listening(process: subprocess.Popen[str]) -> subprocess.Popen[str]:
    """Wait until a listener is ready."""
    assert process.stderr is not None
    assert process.stderr.readline().startswith("listening to")
    return process


def test_every_message_arrives_in_another_process(
    mien: Mien, start_mien: Start, tmp_path: Path, long_video: Path
) -> None:
    endpoint = free_endpoint()
    listener = listening(start_mien("listen", endpoint, "--every", "--json", "--until-end"))
    recorder = listening(start_mien("listen", endpoint, "--record", "heard.parquet", "--until-end"))
    done = mien(
        *("track", long_video, "--realtime", "--publish", endpoint),
        *("--stream", "cam-1", "--record", "kept.parquet"),
    )
    assert done.returncode == 0, done.stderr
    assert "200 frames" in done.stderr
    stdout, stderr = listener.communicate(timeout=60)
    assert listener.returncode == 0, stderr
    assert "lost 0" in stderr
    messages = [json.loads(line) for line in stdout.splitlines()]
    topics = {message["topic"] for message in messages}
    assert {"frame.cam-1.", "hello.cam-1.", "status.cam-1.", "pose.cam-1.0."} <= topics
    for topic in topics:
        sequence = [message["seq"] for message in messages if message["topic"] == topic]
        # The welcome may repeat the newest hello.
        assert sorted(set(sequence)) == list(range(min(sequence), max(sequence) + 1))
    _, stderr = recorder.communicate(timeout=60)
    assert recorder.returncode == 0, stderr
    kept = list(read_observations(tmp_path / "kept.parquet"))
    heard = list(read_observations(tmp_path / "heard.parquet"))
    assert len(kept) >= 190
    assert len(heard) >= 20
    assert heard == kept[-len(heard) :]


def test_listen_prints_poses_until_it_is_interrupted(
    mien: Mien, start_mien: Start, long_video: Path
) -> None:
    endpoint = free_endpoint()
    listener = listening(start_mien("listen", endpoint))
    assert mien("track", long_video, "--realtime", "--publish", endpoint).returncode == 0
    listener.send_signal(signal.SIGINT)
    stdout, stderr = listener.communicate(timeout=60)
    assert listener.returncode == 130
    assert "yaw" in stdout
    assert "Traceback" not in stderr


@pytest.mark.parametrize("ending", ["parquet", "csv"])
def test_a_recording_is_kept_however_often_one_asks_for_its_end(
    ending: str, mien: Mien, start_mien: Start, portrait_video: Path, tmp_path: Path
) -> None:
    endpoint, file = free_endpoint(), tmp_path / f"heard.{ending}"
    listener = listening(start_mien("listen", endpoint, "--record", file))
    assert mien("track", portrait_video, "--realtime", "--publish", endpoint).returncode == 0
    for _ in range(2):  # "timeout" signals twice, too
        listener.send_signal(signal.SIGINT)
        time.sleep(0.003)
    _, stderr = listener.communicate(timeout=60)
    # The second one may come when all is done and Python itself is on its way out.
    assert listener.returncode in (130, -signal.SIGINT), stderr
    assert "recorded" in stderr
    assert len(list(read_observations(file))) > 10


def test_track_prints_poses_where_nothing_else_is_asked_for(
    mien: Mien, portrait_video: Path
) -> None:
    done = mien("track", portrait_video)
    assert done.returncode == 0, done.stderr
    assert len([line for line in done.stdout.splitlines() if " mm" in line]) >= 22


def test_a_busy_port_is_told(mien: Mien, told: Told, portrait_video: Path) -> None:
    endpoint = free_endpoint()
    with zmq.Context() as context, context.socket(zmq.PUB) as taken:
        taken.bind(endpoint)
        done = mien("track", portrait_video, "--publish", endpoint)
    told(done, 2, endpoint, "in use")


def test_an_unknown_device_is_told(mien: Mien, told: Told) -> None:
    told(mien("track", "/dev/video77"), 2, "/dev/video77")
    told(mien("track", "No Such Camera"), 2, "No Such Camera")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--camera", "500"), ("--camera is 500", "1 to 175 degrees", "camera file")),
        (("--camera", "part.toml"), ("--camera part.toml: not a camera file", "fy is missing")),
        (("--smoothing", "part.toml"), ("--smoothing part.toml",)),
        (("--bundle", "part.toml"), ("--bundle part.toml", "is a file, expected a folder")),
        (("--publish", "here"), ("--publish 'here'", "tcp://127.0.0.1:5570")),
        (("--record", "none/rows.csv"), ("--record none/rows.csv", "no folder none")),
        (("--livelink", "none/face.csv"), ("--livelink none/face.csv", "no folder none")),
        (("--stream", "a b"), ("--stream", "'a b'", "letters")),
        (("--rate", "0"), ("--rate is 0",)),
        (("--size", "0x480"), ("--size is '0x480'", "1280x720")),
        (("--give-up", "nan"), ("--give-up is nan",)),
        (("--live", "--realtime"), ("--live and --realtime",)),
    ],
)
def test_an_impossible_option_is_told(
    mien: Mien,
    told: Told,
    tmp_path: Path,
    portrait_video: Path,
    options: tuple[str, ...],
    words: tuple[str, ...],
) -> None:
    (tmp_path / "part.toml").write_text("fx = 3\n", encoding="utf-8")
    told(mien("track", portrait_video, *options), 2, *words)


def test_a_negative_duration_is_told(mien: Mien, told: Told) -> None:
    told(mien("listen", "--duration", "-1"), 2, "--duration", "seconds")


def test_an_echo_without_a_publisher_is_told(mien: Mien, told: Told) -> None:
    told(mien("track", "0", "--echo", "tcp://127.0.0.1:5571"), 2, "--echo", "--publish")


def test_an_address_that_others_reach_needs_a_word(
    mien: Mien, told: Told, portrait_video: Path
) -> None:
    told(mien("track", portrait_video, "--publish", "tcp://0.0.0.0:5599"), 2, "--insecure")


def test_without_a_display_tracking_goes_on_without_a_preview(
    mien: Mien, portrait_video: Path
) -> None:
    done = mien("track", portrait_video, "--preview")
    assert done.returncode == 0, done.stderr
    notice, summary = done.stderr.splitlines()
    assert "--preview: no display" in notice
    assert summary.startswith("24 frames")
    assert len(done.stdout.splitlines()) >= 22  # poses are printed instead


def test_a_record_with_an_unknown_ending_is_told(
    mien: Mien, told: Told, portrait_video: Path
) -> None:
    told(mien("track", portrait_video, "--record", "rows.xml"), 2, "rows.xml", ".parquet")
    told(mien("listen", "--record", "rows.xml"), 2, "rows.xml", ".parquet")


def test_a_truncated_file_is_tracked_as_far_as_it_goes(
    mien: Mien, tmp_path: Path, make_video: Callable[..., Path], portrait_video: Path
) -> None:
    content = portrait_video.read_bytes()
    (tmp_path / "cut.mp4").write_bytes(content[: len(content) // 2])
    done = mien("track", "cut.mp4", "--record", "rows.csv")
    assert done.returncode in (1, 2)
    assert "cut.mp4" in done.stderr
    assert "Traceback" not in done.stderr


def test_list_needs_no_source(mien: Mien) -> None:
    done = mien("track", "--list")
    assert (done.returncode, done.stderr) == (0, "")
    named = [line for line in done.stdout.splitlines() if line and not line.startswith("  ")]
    cameras = [f"{camera.name}  {camera.description}" for camera in list_cameras()]
    assert named == (cameras or ["no camera is connected"])
