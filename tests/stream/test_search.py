"""A detector beside the frames: nothing waits for it, and what it finds is merged."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from mien.models.errors import BundleError
from mien.models.face.bundle import Bundle
from mien.models.face.crop import BoxStyle
from mien.stream import FaceTracker, Frame
from mien.stream.association import box_overlap
from mien.stream.detector.choice import open_detector
from mien.stream.detector.protocol import Detections, Detector
from mien.stream.latency import LatencyMeter
from mien.stream.search import FaceSearch
from mien.stream.sources.opening import open_source
from mien.stream.stopwatch import Stopwatch
from mien.stream.tracker_config import TrackerConfig

OFTEN = TrackerConfig(verify_interval_s=0.01, detect_interval_s=0.01)


class Gated:
    """A detector behind a gate: it works only while that is open."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.searched = 0
        self._detector = open_detector("own", Bundle.default())

    @property
    def box_style(self) -> BoxStyle:
        return self._detector.box_style

    def detect(self, image_bgr: np.ndarray, thorough: bool = False) -> Detections:
        assert self.gate.wait(20.0)
        found = self._detector.detect(image_bgr, thorough)
        self.searched += 1
        return found


@pytest.fixture
def gated() -> Iterator[Gated]:
    detector = Gated()
    yield detector
    detector.gate.set()


@pytest.fixture(scope="module")
def frames(portrait_video: Path) -> list[Frame]:
    with open_source(portrait_video) as source:
        return list(source)


def wait_until_found(tracker: FaceTracker, frames: list[Frame], begin_ns: int) -> int:
    """Frames go on every 40 ms of their own time until a face is seen; the time then."""
    deadline = time.monotonic() + 20.0
    t_ns = begin_ns
    while time.monotonic() < deadline:
        t_ns += 40_000_000
        if tracker.update(frames[0].image_bgr, t_ns):
            return t_ns
    raise AssertionError("the face was never found")


def wait_for_answer(search: FaceSearch[int]) -> None:
    deadline = time.monotonic() + 20.0
    while search.answer() is None and time.monotonic() < deadline:
        time.sleep(0.005)


def test_frames_do_not_wait_for_a_search(gated: Gated, frames: list[Frame]) -> None:
    with FaceTracker(detector=gated, search_beside=True, config=OFTEN) as tracker:
        for number in range(20):  # the detector has not answered: no face, no wait
            assert tracker.update(frames[0].image_bgr, number * 40_000_000) == []
        gated.gate.set()
        t_ns = wait_until_found(tracker, frames, 20 * 40_000_000)
        gated.gate.clear()
        for frame in frames[1:]:  # followed on, also while a search hangs
            t_ns += 40_000_000
            (row,) = tracker.update(frame.image_bgr, t_ns)
            assert row.track == 0


def test_what_was_found_beside_is_what_is_found_in_step(gated: Gated, frames: list[Frame]) -> None:
    gated.gate.set()
    with (
        FaceTracker(detector=gated) as in_step,
        FaceTracker(detector=gated, search_beside=True) as beside,
    ):
        (expected,) = in_step.update(frames[0].image_bgr, 0)
        t_ns = wait_until_found(beside, frames, 0)
        (found,) = beside.update(frames[0].image_bgr, t_ns + 40_000_000)
    assert found.observed
    np.testing.assert_allclose(found.landmarks, expected.landmarks, atol=3.0)


def test_a_face_that_moved_during_the_search_is_not_found_twice(
    gated: Gated, frames: list[Frame]
) -> None:
    image = frames[0].image_bgr
    moved = np.roll(image, image.shape[1] // 8, axis=1)
    gated.gate.set()
    with FaceTracker(detector=gated, max_faces=2, search_beside=True, config=OFTEN) as tracker:
        t_ns = wait_until_found(tracker, frames, 0)
        before = gated.searched
        gated.gate.clear()
        t_ns += 40_000_000
        tracker.update(image, t_ns)  # a search of this picture begins
        for part in np.linspace(0.0, 1.0, 8):
            shift = round(part * image.shape[1] / 8)
            t_ns += 40_000_000
            tracker.update(np.ascontiguousarray(np.roll(image, shift, axis=1)), t_ns)
        gated.gate.set()
        deadline = time.monotonic() + 20.0
        while gated.searched < before + 2 and time.monotonic() < deadline:
            t_ns += 40_000_000
            rows = tracker.update(moved, t_ns)
            assert [row.track for row in rows] == [0]
        assert gated.searched >= before + 2


def test_a_detector_that_cannot_be_opened_is_reported_from_its_thread(
    frames: list[Frame],
) -> None:
    def fail() -> Detector:
        raise BundleError("no weights")

    search: FaceSearch[int] = FaceSearch(fail, beside=True)
    search.ask(frames[0].image_bgr, {})
    with pytest.raises(BundleError, match="no weights"):
        wait_for_answer(search)
    search.close()


def test_a_program_ends_though_a_search_hangs() -> None:
    program = (
        "import threading\n"
        "import numpy as np\n"
        "from mien.stream import search\n"
        "search._CLOSE_S = 0.1\n"
        "search = search.FaceSearch(threading.Event().wait, beside=True)\n"
        "search.ask(np.zeros((4, 4, 3), np.uint8), {})\n"
        "search.close()\n"
        "print('closed')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "closed\n", "")


def test_a_closed_search_may_be_asked_again(frames: list[Frame]) -> None:
    search: FaceSearch[int] = FaceSearch(
        lambda: open_detector("own", Bundle.default()), beside=True
    )
    for _ in range(2):
        search.ask(frames[0].image_bgr, {})
        wait_for_answer(search)
        search.close()
        assert not search.busy
        assert not [t for t in threading.enumerate() if t.name == "mien-search"]


def test_a_stopwatch_accounts_for_all_of_a_frame() -> None:
    times = iter(range(0, 1000, 10))
    watch = Stopwatch(lambda: next(times))
    watch.begin()
    watch.lap("a")
    with watch.whole("b"):
        watch.lap("a")
        watch.lap("c")
    watch.lap("a")
    assert watch.spent_ns == {"a": 20, "b": 30}
    silent = Stopwatch()
    silent.begin()
    silent.lap("a")
    assert silent.spent_ns == {}


def test_the_account_of_a_tracked_frame_is_complete(frames: list[Frame]) -> None:
    watch = Stopwatch(time.perf_counter_ns)
    shares = []
    with FaceTracker(stopwatch=watch) as tracker:
        for frame in frames[:6]:
            begin = time.perf_counter_ns()
            tracker.track(frame)
            took = time.perf_counter_ns() - begin
            shares.append(sum(watch.spent_ns.values()) / took)
    assert {"regress", "fit", "smooth", "detect"} <= set(watch.spent_ns)
    # What is outside the laps is the check of the picture only; a busy machine adds to one or two.
    assert 0.8 <= max(shares) <= 1.0


def test_the_meter_knows_every_stage_and_forgets_old_frames() -> None:
    meter = LatencyMeter()
    picture = np.zeros((1, 1, 3), np.uint8)
    for number in range(400):
        t = number * 33_000_000
        slow = 50_000_000 if number < 50 else 0
        frame = Frame(picture, number, None, t, "cam", t + 1_000_000 + slow, t + 3_000_000 + slow)
        meter.take(frame, t + 3_500_000 + slow, {"regress": 1_000_000}, t + 5_000_000 + slow)
    assert meter.latency_ms() == {
        "total": 5.0, "capture": 1.0, "decode": 2.0, "wait": 0.5, "regress": 1.0
    }  # fmt: skip
    assert meter.latency_ms(0.99)["total"] == 5.0
    assert meter.frames == 400
    assert meter.mean_rate() == pytest.approx(1e9 / 33e6, rel=0.01)
    assert meter.rate(399 * 33_000_000 + 5_000_000) == pytest.approx(30, abs=1)


class Sized:
    """A detector that notes how large the pictures are."""

    def __init__(self) -> None:
        self.sides: list[int] = []
        self._detector = open_detector("own", Bundle.default())

    @property
    def box_style(self) -> BoxStyle:
        return self._detector.box_style

    def detect(self, image_bgr: np.ndarray, thorough: bool = False) -> Detections:
        self.sides.append(max(image_bgr.shape[:2]))
        return self._detector.detect(image_bgr, thorough)


def test_where_all_are_followed_a_small_copy_is_searched(frames: list[Frame]) -> None:
    image = frames[0].image_bgr
    side = max(image.shape[:2])
    detector = Sized()
    search: FaceSearch[int] = FaceSearch(lambda: detector)
    (whole,) = search.now(image).boxes
    x, y, w, h, _ = whole.tolist()
    place = (x, y, w, h)
    search.ask(image, {0: place}, complete=True)
    found = search.answer()
    assert found is not None
    assert max(detector.sides[1:]) < 0.7 * side
    x, y, w, h, _ = found.boxes[0].tolist()
    assert box_overlap(place, (x, y, w, h)) > 0.7
    search.ask(image, {0: place})  # others may be there, of any size
    assert detector.sides[-1] == side


def test_where_the_small_copy_shows_nobody_the_picture_is_searched(frames: list[Frame]) -> None:
    image = frames[0].image_bgr
    detector = Sized()
    search: FaceSearch[int] = FaceSearch(lambda: detector)
    everywhere = (0.0, 0.0, 1e4, 1e4)
    search.ask(image, {0: everywhere}, complete=True)  # a copy of a few pixels
    found = search.answer()
    assert found is not None
    assert len(found.boxes) == 1
    assert detector.sides[-1] == max(image.shape[:2])


def test_a_face_that_is_followed_is_looked_for_in_a_small_copy(frames: list[Frame]) -> None:
    image = frames[0].image_bgr
    detector = Sized()
    with FaceTracker(detector=detector, config=OFTEN) as tracker:
        for number in range(6):
            rows = tracker.update(image, number * 40_000_000)
            assert [row.observed for row in rows] == [True]
        assert min(detector.sides) < 0.7 * max(image.shape[:2])
