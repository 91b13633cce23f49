from __future__ import annotations

import http.server
import io
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from mien.models.errors import InputError, SourceError
from mien.stream.frame import Frame
from mien.stream.sources import (
    LatestSlot,
    LatestSource,
    PacedSource,
    SlotClosed,
    SourceInfo,
    SourceOptions,
    SourceStats,
    list_cameras,
    open_source,
)
from mien.stream.sources.container import ContainerSource

Maker = Callable[..., Path]
BLANK = np.zeros((2, 2, 3), dtype=np.uint8)
SECOND = 10**9
PATTERN = "lavfi:testsrc2=size=64x48:rate=100,realtime"


class FakeClock:
    """Time that passes only when somebody sleeps."""

    def __init__(self) -> None:
        self.now_ns = 5_000_000_000
        self.slept_s: list[float] = []

    def __call__(self) -> int:
        return self.now_ns

    def sleep(self, seconds: float) -> None:
        self.slept_s.append(seconds)
        self.now_ns += round(seconds * 1e9)


class FakeSource:
    """Frames from a list; an exception in the list is raised."""

    def __init__(self, items: list[Frame | Exception], pause: Callable[[], object] = int) -> None:
        self.items = items
        self.pause = pause
        self.closed = 0
        self.stats = SourceStats()
        self.info = SourceInfo(
            name="fake",
            kind="camera",
            live=True,
            width=2,
            height=2,
            rate=30.0,
            codec="",
            frames=None,
        )

    def __iter__(self) -> Iterator[Frame]:
        for item in self.items:
            self.pause()
            if isinstance(item, Exception):
                raise item
            yield item

    def close(self) -> None:
        self.closed += 1

    def __enter__(self) -> FakeSource:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def test_a_newer_item_replaces_an_older_one() -> None:
    slot: LatestSlot[int] = LatestSlot()
    for i in range(5):
        slot.put(i)
    assert slot.take(0.0) == 4
    assert slot.dropped == 4
    with pytest.raises(TimeoutError):
        slot.take(0.01)
    slot.put(7)
    slot.close()
    slot.put(8)
    assert slot.take() == 7
    with pytest.raises(SlotClosed):
        slot.take()


def test_an_item_that_is_too_old_is_not_given_out() -> None:
    clock = FakeClock()
    slot: LatestSlot[str] = LatestSlot(max_age_ns=1000, clock=clock)
    slot.put("old")
    clock.now_ns += 1001
    with pytest.raises(TimeoutError):
        slot.take(0.0)
    slot.put("new")
    clock.now_ns += 1000
    assert slot.take(0.0) == "new"
    assert (slot.stale, slot.dropped) == (1, 0)


def test_a_slot_gives_its_item_before_its_error() -> None:
    slot: LatestSlot[int] = LatestSlot()
    slot.put(1)
    slot.close(SourceError("gone"))
    assert slot.take() == 1
    with pytest.raises(SourceError, match="gone"):
        slot.take()


def test_a_waiting_consumer_is_woken() -> None:
    slot: LatestSlot[int] = LatestSlot()
    timer = threading.Timer(0.05, slot.put, (3,))
    timer.start()
    assert slot.take(5.0) == 3
    timer.join()


def test_a_slow_consumer_gets_the_newest_frame_of_a_pattern() -> None:
    with open_source(PATTERN) as source:
        assert isinstance(source, LatestSource)
        ages_ms, indices = [], []
        for frame in source:
            assert frame.t_capture_ns is not None
            assert frame.t_media_ns is None
            ages_ms.append((time.perf_counter_ns() - frame.t_capture_ns) / 1e6)
            indices.append(frame.index)
            time.sleep(0.05)
            if len(indices) == 10:
                break
        stats = source.stats
    assert (stats.state, stats.reconnects) == ("running", 0)
    assert stats.dropped >= 20  # 5 frames come while 1 is worked on
    assert indices == sorted(set(indices))
    assert indices[-1] >= 30
    assert np.median(ages_ms) < 30.0
    assert not [t for t in threading.enumerate() if t.name == "mien-source"]


def test_a_fast_consumer_gets_every_frame_at_an_even_pace() -> None:
    with open_source(PATTERN, SourceOptions(latest=False)) as source:
        frames = [frame for frame, _ in zip(source, range(30), strict=False)]
    times = np.array([frame.t_capture_ns for frame in frames])
    assert [frame.index for frame in frames] == list(range(30))
    steps_ms = np.diff(times) / 1e6
    assert abs(float(np.median(steps_ms)) - 10.0) < 1.0


def test_a_pattern_without_realtime_is_no_live_source() -> None:
    with open_source("lavfi:testsrc2=size=64x48:rate=10:duration=1") as source:
        frames = list(source)
    assert not source.info.live
    assert [frame.t_media_ns for frame in frames] == [i * 100_000_000 for i in range(10)]


def test_a_wrong_pattern_gives_one_clear_line() -> None:
    with pytest.raises(SourceError, match="lavfi:nothing") as caught:
        open_source("lavfi:nothing=1")
    assert "\n" not in str(caught.value)


@pytest.mark.filterwarnings("error")
def test_the_thread_hands_its_failure_to_the_consumer() -> None:
    inner = FakeSource([Frame(BLANK, 0), SourceError("cable pulled")], lambda: time.sleep(0.02))
    seen = []
    with LatestSource(inner) as source, pytest.raises(SourceError, match="cable pulled"):
        seen.extend(source)
    assert [frame.index for frame in seen] == [0]
    assert inner.closed == 1


def test_a_silent_source_is_a_failure() -> None:
    inner = FakeSource([Frame(BLANK, 0)] * 3, lambda: time.sleep(0.3))
    with (
        LatestSource(inner, timeout_s=0.05) as source,
        pytest.raises(SourceError, match=r"fake: no frame for 0\.05 s"),
    ):
        list(source)


def test_a_source_that_ends_ends_the_iteration() -> None:
    inner = FakeSource([Frame(BLANK, i) for i in range(3)], lambda: time.sleep(0.02))
    with LatestSource(inner) as source:
        assert [frame.index for frame in source] == [0, 1, 2]
    source.close()
    assert list(source) == []


def test_a_paced_file_plays_at_its_own_pace() -> None:
    clock = FakeClock()
    media_ns = [7_000, 40_007_000, 50_007_000, 950_007_000]
    inner = FakeSource([Frame(BLANK, i, t_media_ns=t) for i, t in enumerate(media_ns)])
    start_ns = clock.now_ns
    frames = []
    with PacedSource(inner, clock, clock.sleep) as source:
        for frame in source:
            frames.append(frame)
            if frame.index == 1:
                clock.now_ns += 30_000_000  # a consumer too slow for the next frame
    assert [f.t_capture_ns for f in frames] == [start_ns + t - 7_000 for t in media_ns]
    assert [f.t_media_ns for f in frames] == media_ns
    assert clock.slept_s == pytest.approx([0.04, 0.88])
    assert source.info.live
    assert inner.closed == 1


def test_realtime_reads_the_clock_it_is_given(
    tmp_path: Path, make_clip: Maker, corner_picture: np.ndarray
) -> None:
    path = make_clip(tmp_path / "a.mp4", [corner_picture] * 4, rate=50)
    start_ns = time.perf_counter_ns()
    with open_source(path, SourceOptions(realtime=True)) as source:
        frames = list(source)
    took_s = (time.perf_counter_ns() - start_ns) / 1e9
    assert 0.06 <= took_s < 1.0
    assert np.diff([f.t_capture_ns or 0 for f in frames]).tolist() == [20_000_000] * 3


def test_the_list_of_cameras_opens_none() -> None:
    assert isinstance(list_cameras(), list)


def test_a_camera_says_what_differs_from_what_was_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    # A pattern in the place of a camera: FFmpeg takes any option in silence there, too.
    pattern = "testsrc2=size=64x48:rate=100,realtime"
    monkeypatch.setattr("mien.stream.sources.opening.capture_format", lambda: "lavfi")
    monkeypatch.setattr("mien.stream.sources.opening.find_camera", lambda spec: pattern)
    asked = SourceOptions(size=(1280, 720), rate=60.0, input_format="mjpeg")
    with open_source("My Camera", asked) as source:
        assert source.info.kind == "camera"
        assert source.info.notes == (
            "asked for 1280x720, the camera gives 64x48",
            "asked for 60 frames a second, the camera says 100",
            "asked for mjpeg, the camera gives wrapped_avframe (yuv420p)",
        )
        assert next(iter(source)).t_capture_ns is not None
    with open_source("My Camera", SourceOptions(size=(64, 48), rate=100.0)) as source:
        assert source.info.notes == ()


def test_what_a_camera_cannot_be_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mien.stream.sources.opening.find_camera", lambda spec: "size=1x")
    monkeypatch.setattr("mien.stream.sources.opening.capture_format", lambda: "lavfi")
    with pytest.raises(SourceError, match=r"My Camera: cannot be opened: .*track --list"):
        open_source("My Camera")
    monkeypatch.setattr("mien.stream.sources.opening.capture_format", lambda: "dshow")
    with pytest.raises(InputError, match="mjpeg is no pixel format, and dshow"):
        open_source("My Camera", SourceOptions(input_format="mjpeg"))


def test_what_only_cameras_can_be_asked_for_is_said() -> None:
    with open_source(PATTERN, SourceOptions(rate=30.0)) as source:
        assert source.info.notes == ("only cameras can be asked for a size, a rate or a format",)


def test_a_film_over_http_is_a_file(
    tmp_path: Path, make_clip: Maker, corner_picture: np.ndarray
) -> None:
    make_clip(tmp_path / "a.mp4", [corner_picture] * 6, options={"movflags": "faststart"})
    with serve(tmp_path) as address, open_source(f"{address}/a.mp4") as source:
        assert not source.info.live
        assert len(list(source)) == 6


def test_an_image_over_http_is_an_image(tmp_path: Path, corner_picture: np.ndarray) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), corner_picture)
    with serve(tmp_path) as address, open_source(f"{address}/a.png") as source:
        assert (source.info.kind, source.info.live) == ("image", False)
        (frame,) = source
    assert np.array_equal(frame.image_bgr, corner_picture)
    assert frame.t_capture_ns is None


def test_standard_input_is_live_where_that_is_said(
    tmp_path: Path, make_clip: Maker, corner_picture: np.ndarray
) -> None:
    data = make_clip(tmp_path / "a.ts", [corner_picture] * 30, codec="mpeg2video").read_bytes()
    program = (
        "from mien.stream.sources import SourceOptions, open_source\n"
        "with open_source('-', SourceOptions(live=True)) as source:\n"
        "    frames = list(source)\n"
        "    good = [f.t_capture_ns <= f.t_arrival_ns <= f.t_ready_ns for f in frames]\n"
        "    print(source.info.live, all(good), source.stats.frames, frames[-1].index)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], input=data, capture_output=True, check=True, timeout=60
    )
    assert done.stdout.split() == [b"True", b"True", b"30", b"29"]


def test_pictures_without_times_are_taken_when_they_come(corner_picture: np.ndarray) -> None:
    # FFmpeg would say that a multipart stream has 25 frames a second, whatever it has.
    jpeg = cv2.imencode(".jpg", corner_picture)[1].tobytes()
    head = b"--part\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n" % len(jpeg)
    clock = FakeClock()

    class Parts(io.RawIOBase):
        """Gives one picture a read, 100 ms apart."""

        def readable(self) -> bool:
            return True

        def read(self, size: int = -1) -> bytes:
            clock.now_ns += 100_000_000
            return head + jpeg + b"\r\n" if clock.now_ns < 8 * SECOND else b""

    container = av.open(Parts(), "r", format="mpjpeg", buffer_size=1 << 16)
    with ContainerSource(container, "parts", kind="stream", live=True, clock=clock) as source:
        frames = [frame for frame, _ in zip(source, range(12), strict=False)]
    assert source.info.rate is None
    assert all(frame.t_capture_ns == frame.t_arrival_ns for frame in frames)
    assert np.diff([frame.t_capture_ns or 0 for frame in frames]).sum() >= 8 * 100_000_000


def test_a_server_that_says_nothing_is_given_up(tmp_path: Path) -> None:
    with serve(tmp_path, silence_s=1.5) as address:
        start = time.monotonic()
        with pytest.raises(SourceError, match=r"no answer within 0\.3 s"):
            open_source(f"{address}/a.mp4", SourceOptions(open_timeout_s=0.3))
        assert time.monotonic() - start < 1.4


class serve:  # noqa: N801 - used like a function
    """A web server of one folder, for one test."""

    def __init__(self, folder: Path, silence_s: float = 0.0) -> None:
        class Handler(http.server.SimpleHTTPRequestHandler):
            def __init__(self, *args: object) -> None:
                super().__init__(*args, directory=str(folder))  # pyright: ignore[reportArgumentType]

            def do_GET(self) -> None:
                time.sleep(silence_s)
                super().do_GET()

            def log_message(self, *args: object) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
                pass

            def copyfile(self, source: object, outputfile: object) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
                try:
                    super().copyfile(source, outputfile)  # pyright: ignore[reportArgumentType]
                except OSError:  # the reader hangs up when it has what it wants
                    self.close_connection = True

        class Server(http.server.ThreadingHTTPServer):
            def handle_error(self, request: object, client_address: object) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
                """The reader hung up: what is tested."""

        self.server = Server(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever)

    def __enter__(self) -> str:
        self.thread.start()
        return f"http://127.0.0.1:{self.server.server_address[1]}"

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()
