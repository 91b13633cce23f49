"""Live sources against servers that die, stall, end, and send what no one expects."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
import pytest

from mien.models.errors import SourceError
from mien.stream.frame import Frame
from mien.stream.sources import (
    Backoff,
    LatestSource,
    Source,
    SourceOptions,
    open_source,
)
from mien.stream.sources.addresses import without_secrets

from ..web_camera import WebCamera

Maker = Callable[..., Path]
SOON = Backoff(first_s=0.02, longest_s=0.1)
DEADLINE_S = 20.0


@pytest.fixture
def server(tmp_path: Path) -> Iterator[WebCamera]:
    """Serves 3 pictures over and over."""
    folder = tmp_path / "served"
    folder.mkdir()
    for i in range(3):
        write_jpeg(folder / f"{i}.jpg", 64, 48, 80 * i)
    made = WebCamera(folder)
    made.start()
    yield made
    made.kill()


def write_jpeg(path: Path, width: int, height: int, level: int) -> None:
    data = cv2.imencode(".jpg", np.full((height, width, 3), level, np.uint8))[1].tobytes()
    path.write_bytes(data)


def live(address: str, **options: object) -> Source:
    chosen: dict[str, object] = {"backoff": SOON, "seed": 0, "max_age_s": 60.0, **options}
    return open_source(address, SourceOptions(**chosen))  # pyright: ignore[reportArgumentType]


class Watched:
    """A source read by a thread of the test's: what came, and what states were seen."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.frames: list[Frame] = []
        self.error: Exception | None = None
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        try:
            for frame in self.source:
                self.frames.append(frame)
        except Exception as error:  # noqa: BLE001 - looked at by the test
            self.error = error

    def until(self, condition: Callable[[], object]) -> None:
        deadline = time.monotonic() + DEADLINE_S
        while not condition():
            assert time.monotonic() < deadline, (self.source.stats, self.error)
            time.sleep(0.005)

    def more(self, count: int) -> None:
        have = len(self.frames)
        self.until(lambda: len(self.frames) >= have + count)

    def join(self) -> None:
        self._thread.join(DEADLINE_S)
        assert not self._thread.is_alive()


@contextmanager
def watching(source: Source) -> Iterator[Watched]:
    with source:
        watched = Watched(source)
        try:
            yield watched
        finally:
            source.close()
            watched.join()
    check_times(watched.frames)


def check_times(frames: list[Frame]) -> None:
    """Indices and times of capture go on, and nothing comes before what it follows."""
    now_ns = time.perf_counter_ns()
    for frame in frames:
        assert frame.t_capture_ns is not None
        assert frame.t_arrival_ns is not None
        assert frame.t_ready_ns is not None
        assert frame.t_media_ns is None
        assert frame.t_arrival_ns <= frame.t_ready_ns <= now_ns
        assert frame.t_capture_ns <= frame.t_ready_ns
    assert all(np.diff([frame.index for frame in frames]) >= 1)
    assert all(np.diff([frame.t_capture_ns or 0 for frame in frames]) >= 1)


def test_a_server_that_is_killed_and_started_again_gives_frames_again(server: WebCamera) -> None:
    with watching(live(server.address)) as watched:
        stats = watched.source.stats
        watched.more(5)
        assert (stats.state, stats.detail, stats.reconnects) == ("running", "", 0)
        server.kill()
        watched.until(lambda: watched.source.stats.state == "reconnecting")
        detail = watched.source.stats.detail
        assert server.address in detail
        assert "\n" not in detail
        watched.until(lambda: "refused" in watched.source.stats.detail)
        came = len(watched.frames)
        server.start()
        watched.until(lambda: watched.source.stats.state == "running")
        watched.until(lambda: len(watched.frames) >= came + 5)
        stats = watched.source.stats
        assert (stats.detail, stats.reconnects) == ("", 1)
        assert stats.frames >= watched.frames[-1].index
    assert watched.error is None


def test_a_server_that_stalls_without_closing_is_left(server: WebCamera) -> None:
    (server.folder / "9-stall.jpg").touch()
    with watching(live(server.address, read_timeout_s=0.4)) as watched:
        watched.until(lambda: watched.source.stats.reconnects >= 2)
        watched.until(lambda: len(watched.frames) >= 7)
    assert watched.error is None


def test_a_live_stream_that_ends_is_opened_anew(server: WebCamera) -> None:
    (server.folder / "9-end.jpg").touch()
    with watching(live(server.address)) as watched:
        watched.until(lambda: watched.source.stats.reconnects >= 3)
        watched.until(lambda: len(watched.frames) >= 9)
    assert watched.error is None


def test_a_server_that_never_comes_back_is_given_up(server: WebCamera) -> None:
    with watching(live(server.address, give_up_s=0.6)) as watched:
        watched.more(3)
        server.kill()
        watched.join()
    assert isinstance(watched.error, SourceError)
    message = str(watched.error)
    assert "live: lost for 0." in message
    assert "refused" in message
    assert "\n" not in message


def test_give_up_at_once_hands_over_the_failure_itself(server: WebCamera) -> None:
    with live(server.address, give_up_s=0.0) as source:
        assert isinstance(source, LatestSource)
        frames = iter(source)
        next(frames)
        server.kill()
        try:
            list(frames)
        except SourceError as error:
            assert "broke off" in str(error)  # noqa: PT017 - a clean end is as good
        assert source.stats.reconnects == 0


@pytest.mark.parametrize("waits", ["between attempts", "for an answer"])
def test_closing_is_quick_while_a_server_is_gone(server: WebCamera, waits: str) -> None:
    backoff = Backoff(first_s=60.0) if waits == "between attempts" else SOON
    (server.folder / "9-end.jpg").touch()
    with watching(live(server.address, backoff=backoff)) as watched:
        if waits == "for an answer":
            (server.folder / "0-stall.jpg").touch()
            asked = server.asked()
            watched.until(lambda: server.asked() > asked)
        watched.until(lambda: watched.source.stats.state == "reconnecting")
        begin = time.monotonic()
        watched.source.close()
        watched.join()
        assert time.monotonic() - begin < 5.0
    assert watched.error is None


def test_a_program_ends_while_its_source_is_stuck(server: WebCamera) -> None:
    (server.folder / "9-stall.jpg").touch()
    program = (
        "import sys\n"
        "from mien.stream.sources import open_source\n"
        "with open_source(sys.argv[1]) as source:\n"
        "    for frame in source:\n"
        "        if frame.index >= 2:  # nothing more comes\n"
        "            break\n"
    )
    begin = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", program, server.address],
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert time.monotonic() - begin < 8.0  # not the 10 seconds that its read may take


def test_frames_may_change_their_size(server: WebCamera) -> None:
    write_jpeg(server.folder / "4.jpg", 32, 80, 50)
    with watching(live(server.address)) as watched:
        watched.until(lambda: len({frame.image_bgr.shape for frame in watched.frames}) == 2)
        watched.more(3)
    assert watched.source.stats.reconnects == 0
    assert {frame.image_bgr.shape for frame in watched.frames} == {(48, 64, 3), (80, 32, 3)}
    assert all(frame.image_bgr.flags.c_contiguous for frame in watched.frames)


def test_damaged_pictures_are_counted_and_passed_over(server: WebCamera) -> None:
    good = (server.folder / "0.jpg").read_bytes()
    (server.folder / "1.jpg").write_bytes(b"\xff\xd8" + bytes(300))
    with watching(live(server.address)) as watched:
        watched.until(lambda: watched.source.stats.decode_errors >= 3)
        watched.more(3)
    assert len(good) > 300
    assert watched.error is None
    assert watched.source.stats.reconnects == 0


def test_times_may_jump_and_sizes_change_in_a_transport_stream(
    server: WebCamera, tmp_path: Path, make_clip: Maker
) -> None:
    for path in server.folder.iterdir():
        path.unlink()
    rng = np.random.default_rng(0)
    for part, (shape, hours) in enumerate([((48, 64), 1), ((48, 64), 7), ((80, 96), 0)]):
        pictures = [rng.integers(0, 255, (*shape, 3), dtype=np.uint8) for _ in range(12)]
        path = server.folder / f"{part}.ts"
        make_clip(
            path, pictures, codec="mpeg2video", options={"output_ts_offset": str(hours * 3600)}
        )
    with watching(live(server.address)) as watched:
        watched.until(lambda: (80, 96, 3) in {frame.image_bgr.shape for frame in watched.frames})
        watched.until(lambda: watched.frames[-1].image_bgr.shape == (48, 64, 3))
        watched.more(20)
    assert watched.source.info.codec == "mpeg2video"
    assert watched.source.stats.reconnects == 0
    ages_s = [((f.t_arrival_ns or 0) - (f.t_capture_ns or 0)) / 1e9 for f in watched.frames]
    assert min(ages_s) >= 0.0
    assert max(ages_s) < 5.0
    # Time passes after each jump, too: it does not stand still, at the next nanosecond.
    assert np.median(np.diff([frame.t_capture_ns or 0 for frame in watched.frames])) > 1e4


def test_a_transport_stream_over_udp_may_pause(tmp_path: Path, make_clip: Maker) -> None:
    rng = np.random.default_rng(0)
    pictures = [rng.integers(0, 255, (48, 64, 3), dtype=np.uint8) for _ in range(12)]
    data = make_clip(tmp_path / "a.ts", pictures, codec="mpeg2video").read_bytes()
    sending, over = threading.Event(), threading.Event()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]

    def send() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            while not over.is_set():
                for at in range(0, len(data), 1316):
                    if sending.wait(0.1):
                        sender.sendto(data[at : at + 1316], ("127.0.0.1", port))
                    time.sleep(0.002)

    thread = threading.Thread(target=send)
    thread.start()
    try:
        sending.set()
        with watching(live(f"udp://127.0.0.1:{port}", read_timeout_s=0.5)) as watched:
            watched.more(5)
            sending.clear()
            watched.until(lambda: watched.source.stats.state == "reconnecting")
            assert "no data within" in watched.source.stats.detail
            came = len(watched.frames)
            sending.set()
            watched.until(lambda: watched.source.stats.reconnects >= 1)
            watched.until(lambda: len(watched.frames) >= came + 5)
        assert watched.error is None
    finally:
        over.set()
        thread.join()


def test_a_camera_that_is_pulled_out_and_put_in_again(monkeypatch: pytest.MonkeyPatch) -> None:
    # A pattern in the place of a camera; it ends after some pictures.
    pattern = "testsrc2=size=64x48:rate=100:duration=0.1,realtime"
    answers = iter([pattern, "", "", pattern])

    def find(spec: str) -> str:
        found = next(answers, pattern)
        if not found:
            raise SourceError("camera 0: there is none; no camera is connected")
        return found

    monkeypatch.setattr("mien.stream.sources.opening.capture_format", lambda: "lavfi")
    monkeypatch.setattr("mien.stream.sources.opening.find_camera", find)
    with watching(live("My Camera")) as watched:
        watched.until(lambda: watched.source.stats.reconnects >= 2)
    assert watched.error is None
    assert len({frame.index for frame in watched.frames}) == len(watched.frames)


def test_an_address_that_cannot_be_opened_fails_at_once(server: WebCamera) -> None:
    server.kill()
    with pytest.raises(SourceError, match="refused") as caught:
        live(server.address)
    assert "\n" not in str(caught.value)


def test_secrets_are_not_shown() -> None:
    shown = without_secrets("rtsp://me:p@ss@cam:554/a@b?channel=1&password=x&user=me&token=y#z")
    assert shown == "rtsp://cam:554/a@b?channel=1&password=***&user=me&token=***#z"
    assert without_secrets("http://cam/a?b=c@d") == "http://cam/a?b=c@d"
