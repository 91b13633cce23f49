"""A queue before a file sink: nobody waits for the disk, nothing is lost, failures are told."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from mien.models.errors import OutputError
from mien.stream.frame import Frame
from mien.stream.observation import FaceObservation
from mien.stream.sinks import FileSink
from mien.stream.sinks.queued import QueuedSink

BLANK = np.zeros((1, 1, 3), np.uint8)


class SlowSink(FileSink):
    """Writes when it may; fails at a frame."""

    def __init__(self, path: Path, fails_at: int = -1) -> None:
        super().__init__(path)
        self.may = threading.Event()
        self.frames: list[Frame] = []
        self.fails_at = fails_at

    def _write(self, frame: Frame, observations: Sequence[FaceObservation]) -> None:
        assert self.may.wait(20)
        if frame.index == self.fails_at:
            raise OutputError("the disk is gone")
        self.frames.append(frame)


def test_a_queue_lets_nobody_wait_and_holds_no_picture(
    tmp_path: Path, make_random_row: Callable[..., FaceObservation]
) -> None:
    rows = [make_random_row(i) for i in range(100)]
    slow = SlowSink(tmp_path / "a")
    with QueuedSink(slow) as sink:
        picture = np.zeros((480, 640, 3), np.uint8)
        gone = weakref.ref(picture)
        sink.write(Frame(picture, 0, t_media_ns=7), rows[:1])
        for i in range(1, 100):
            sink.write(Frame(picture, i), rows[i : i + 1])
        del picture
        assert gone() is None
        assert sink.waiting >= 99
        assert not sink.path.exists()
        slow.may.set()
    assert [frame.index for frame in slow.frames] == list(range(100))
    assert slow.frames[0].t_media_ns == 7
    assert sink.rows == 100
    assert sink.path.exists()
    sink.close()
    with pytest.raises(OutputError, match="is closed"):
        sink.write(Frame(BLANK, 100), [])


def test_a_full_queue_waits_and_loses_nothing(tmp_path: Path) -> None:
    slow = SlowSink(tmp_path / "a")
    with QueuedSink(slow, frames=4) as sink:
        letting = threading.Timer(0.05, slow.may.set)
        letting.start()
        for i in range(100):
            sink.write(Frame(BLANK, i), [])
            assert sink.waiting <= 4
        letting.join()
    assert [frame.index for frame in slow.frames] == list(range(100))


def test_a_failure_in_the_queue_is_told_once_and_by_the_next_call(tmp_path: Path) -> None:
    slow = SlowSink(tmp_path / "a", fails_at=3)
    slow.may.set()
    sink = QueuedSink(slow, frames=2)

    def write_on() -> None:
        for i in range(1000):
            sink.write(Frame(BLANK, i), [])

    with pytest.raises(OutputError, match="the disk is gone"):
        write_on()
    with pytest.raises(OutputError, match="is closed"):
        write_on()
    sink.abort()
    late = SlowSink(tmp_path / "b", fails_at=1)
    sink = QueuedSink(late)
    for i in range(5):
        sink.write(Frame(BLANK, i), [])
    late.may.set()
    with pytest.raises(OutputError, match="the disk is gone"):
        sink.close()
    assert list(tmp_path.iterdir()) == []
    assert not [thread for thread in threading.enumerate() if thread.name == "mien-writer"]


def test_a_failure_that_nobody_was_told_is_noted_on_what_ends_the_session(tmp_path: Path) -> None:
    slow = SlowSink(tmp_path / "a", fails_at=0)

    def fail() -> None:
        with QueuedSink(slow) as sink:
            sink.write(Frame(BLANK, 0), [])
            slow.may.set()
            raise RuntimeError("something else")

    with pytest.raises(RuntimeError, match="something else") as caught:
        fail()
    assert caught.value.__notes__ == ["the disk is gone"]
    assert list(tmp_path.iterdir()) == []


def test_what_is_given_up_is_not_written(tmp_path: Path) -> None:
    slow = SlowSink(tmp_path / "a")
    sink = QueuedSink(slow)
    for i in range(50):
        sink.write(Frame(BLANK, i), [])
    threading.Timer(0.05, slow.may.set).start()
    sink.abort()
    assert len(slow.frames) <= 1
    assert list(tmp_path.iterdir()) == []
