"""A live session whose source hangs, whose sinks fail, and whose recording is switched."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mien.models.errors import InputError, OutputError
from mien.stream.frame import Frame
from mien.stream.observation import FaceObservation
from mien.stream.reading import read_observations
from mien.stream.sinks.base import Recording
from mien.stream.sources.base import SourceInfo, SourceStats
from mien.stream.stopwatch import Stopwatch
from mien.tools.following import Follower
from mien.tools.live import group as live_group
from mien.tools.live.group import LiveGroup
from mien.tools.live.recorder import RecordSwitch
from mien.tools.live.session import Session

DEADLINE_S = 20.0
PICTURE = np.zeros((8, 8, 3), np.uint8)
RECORDING = Recording(
    source="a.mp4", rate=30.0, width=8, height=8, bundle_hash="ab", camera_matrix=None, options={}
)


def row(frame: int) -> FaceObservation:
    vector = np.zeros(40, np.float32)
    return FaceObservation(
        frame=frame, t_media_ns=0, t_capture_ns=None, track=0, observed=True, confidence=0.9,
        box_x=1.0, box_y=1.0, box_w=2.0, box_h=2.0, yaw=0.0, pitch=0.0, roll=0.0, qw=1.0, qx=0.0,
        qy=0.0, qz=0.0, tx=0.0, ty=0.0, tz=600.0, pose_variance=np.zeros(6, np.float32),
        shape=vector, expression=vector[:10], landmarks=np.zeros(136, np.float32),
        blendshapes=np.zeros(52, np.float32),
    )  # fmt: skip


class Fake:
    """A source: some frames, then it hangs, fails or ends."""

    def __init__(self, frames: int, end: Exception | threading.Event | None = None) -> None:
        self.info = SourceInfo("fake", "video", False, 8, 8, 30.0, "none", None)
        self.stats = SourceStats()
        self.closed_by: list[str] = []
        self._frames, self._end = frames, end

    def __iter__(self) -> Iterator[Frame]:
        for index in range(self._frames):
            yield Frame(PICTURE, index, t_media_ns=index)
        if isinstance(self._end, threading.Event):
            assert self._end.wait(DEADLINE_S)
        elif self._end is not None:
            raise self._end

    def close(self) -> None:
        self.closed_by.append(threading.current_thread().name)

    def __enter__(self) -> Fake:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class OneFace(Follower):
    """Follows a face without looking."""

    def __init__(self) -> None:  # pyright: ignore[reportMissingSuperCall]
        pass

    refused: tuple[int, ...] = ()

    def follow(self, frame: Frame, boxes: Any = None) -> list[FaceObservation]:
        if frame.index in self.refused:
            raise InputError("too flat")
        return [row(frame.index)]

    def close(self) -> None:
        pass


class Kept:
    """A sink that notes what happens to it, and fails where it is told to."""

    def __init__(self, write: Exception | None = None, close: Exception | None = None) -> None:
        self.frames: list[int] = []
        self.end = ""
        self._write, self._close = write, close

    def write(self, frame: Frame, observations: Sequence[FaceObservation]) -> None:
        if self._write is not None:
            raise self._write
        self.frames.append(frame.index)

    def close(self) -> None:
        self.end = self.end or "closed"
        if self._close is not None:
            raise self._close

    def abort(self) -> None:
        self.end = self.end or "aborted"


def session(source: Fake, *sinks: Any) -> Session:
    made = Session("main", source, OneFace(), Stopwatch())
    for sink in sinks:
        made.add(sink)
    return made


def until(condition: Callable[[], object]) -> None:
    end = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


def test_a_session_that_hangs_in_its_source_is_left_and_its_files_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only the thread that reads a source may close it: another would pull it from under it."""
    monkeypatch.setattr(live_group, "_STOP_S", 0.1)
    released = threading.Event()
    source, sink = Fake(3, released), Kept()
    switch = RecordSwitch(tmp_path / "rows.parquet", "main", RECORDING, on=True)
    made = session(source, sink, switch)
    watching = iter(range(1_000))

    assert LiveGroup([made], lambda: not sink.frames[2:] and next(watching) < 999).run() is False
    made.give_up()  # as what set the session up does at the end
    assert (sink.frames, sink.end) == ([0, 1, 2], "closed")
    assert [one.frame for one in read_observations(tmp_path / "rows.parquet")] == [0, 1, 2]
    assert source.closed_by == []
    released.set()
    until(lambda: source.closed_by)
    assert source.closed_by == ["mien-main"]


def test_what_was_followed_before_a_fault_is_kept(tmp_path: Path) -> None:
    sink = Kept()
    switch = RecordSwitch(tmp_path / "rows.csv", "main", RECORDING, on=True)
    made = session(Fake(4, RuntimeError("a fault")), sink, switch)
    with pytest.raises(RuntimeError, match="a fault"):
        LiveGroup([made]).run()
    assert sink.end == "closed"
    assert len(list(read_observations(tmp_path / "rows.csv"))) == 4


def test_a_fault_of_who_watches_ends_the_sessions_first() -> None:
    source, sink = Fake(2), Kept()

    def watch() -> bool:
        raise RuntimeError("no window")

    endless = session(Fake(10**9), sink)
    with pytest.raises(RuntimeError, match="no window"):
        LiveGroup([endless, session(source, Kept())], watch).run()
    assert sink.end == "closed"
    assert source.closed_by == ["mien-main"]


def test_sinks_that_fail_leave_the_others(capsys: pytest.CaptureFixture[str]) -> None:
    worse = Kept(close=RuntimeError("a fault"))
    early, late, good = Kept(OutputError("early")), Kept(close=OutputError("late")), Kept()
    made = session(Fake(3), early, worse, late, good)
    with pytest.raises(RuntimeError, match="a fault"):
        made.run()
    assert (early.end, late.end, good.end) == ("aborted", "closed", "closed")
    assert good.frames == [0, 1, 2]
    assert made.complaints == ["early", "late"]
    assert capsys.readouterr().err.splitlines()[0] == "mien: early; main goes on without it"


@pytest.mark.parametrize("watched", [True, False])
def test_without_a_sink_it_goes_on_where_somebody_looks(watched: bool) -> None:
    made = session(Fake(3), Kept(OutputError("disk full")))
    made.watched = watched
    made.run()
    assert made.meter.frames == (3 if watched else 0)
    assert (made.problem is None) == watched


def test_what_was_given_up_does_not_run() -> None:
    source, sink = Fake(3), Kept()
    made = session(source, sink)
    made.give_up()
    made.run()
    assert (sink.frames, sink.end, len(source.closed_by)) == ([], "aborted", 1)


def test_frames_that_cannot_be_followed_are_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    sink = Kept()
    made = session(Fake(5), sink)
    made._follower.refused = (1, 2)  # pyright: ignore[reportAttributeAccessIssue, reportPrivateUsage]
    made.run()
    assert sink.frames == [0, 3, 4]
    assert made.health().drops["refused"] == 2
    assert "refused 2" in made.summary()
    assert capsys.readouterr().err == "mien: too flat; main leaves out such frames\n"
    assert made.complaints == ["too flat"]


def test_recording_is_switched_while_frames_come(tmp_path: Path) -> None:
    switch = RecordSwitch(tmp_path / "rows.csv", "main", RECORDING, on=False)
    stopped = threading.Event()
    count = 0

    def frames() -> None:
        nonlocal count
        while not stopped.is_set():
            switch.write(Frame(PICTURE, count), [row(count)])
            count += 1
            time.sleep(0.0005)

    writing = threading.Thread(target=frames)
    writing.start()
    for _ in range(5):
        assert switch.toggle().startswith("recording to")
        begun = count
        until(lambda begun=begun: count > begun + 5)
        assert switch.toggle().startswith("recorded")
    assert switch.toggle().startswith("recording to")
    stopped.set()
    writing.join()
    switch.close()
    assert switch.toggle() == "nothing more comes to be recorded"
    files = sorted(tmp_path.glob("*.csv"))
    assert len(files) == 6
    assert not list(tmp_path.glob(".*"))
    kept = [[one.frame for one in read_observations(file)] for file in files]
    assert sum(len(part) > 3 for part in kept) >= 5
    for part in kept:
        assert part == [*range(part[0], part[0] + len(part))] if part else True


def test_a_recording_that_cannot_be_finished_is_told_to_the_session(tmp_path: Path) -> None:
    place = tmp_path / "rows.csv"
    switch = RecordSwitch(place, "main", RECORDING, on=True)
    switch.write(Frame(PICTURE, 0), [row(0)])
    place.mkdir()  # so that it cannot get its name
    (place / "x").touch()
    said = switch.toggle()
    assert "rows.csv" in said
    with pytest.raises(OutputError) as told:
        switch.write(Frame(PICTURE, 1), [])
    assert str(told.value) == said
    switch.close()  # nobody need be told again


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="the system has no timer")
def test_an_interruption_that_a_callback_swallows_is_raised_again() -> None:
    program = (
        "import ctypes, os, signal, time\n"
        "from mien.tools.live.interruption import Interruption\n"
        "kind = ctypes.CFUNCTYPE(None)\n"
        "def called():\n"
        "    os.kill(os.getpid(), signal.SIGTERM)\n"
        "    time.sleep(0.01)\n"
        "with Interruption() as interruption:\n"
        "    try:\n"
        "        with interruption.insisting():\n"
        "            kind(called)()\n"
        "            time.sleep(20)\n"
        "    except KeyboardInterrupt:\n"
        "        print('obeyed')\n"
        "    with interruption.held():\n"
        "        os.kill(os.getpid(), signal.SIGINT)\n"
        "    print('noted', interruption.asked)\n"
    )
    begin_s = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.stdout, done.stderr) == ("obeyed\nnoted True\n", "")
    assert time.monotonic() - begin_s < 15.0
