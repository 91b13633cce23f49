"""What a source that is opened anew does with connections that follow a script."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from random import Random

import numpy as np
import pytest

from mien.models.errors import InputError, SourceError
from mien.stream.frame import Frame
from mien.stream.sources import Backoff, ReconnectingSource, Source, SourceInfo, SourceStats

BLANK = np.zeros((2, 2, 3), dtype=np.uint8)
SOON = Backoff(first_s=0.02, longest_s=0.1)
DEADLINE_S = 20.0


class Script:
    """A connection that does what a list says: frames, pauses (Event) and failures."""

    def __init__(self, steps: list[Frame | threading.Event | Exception]) -> None:
        self.steps = steps
        self.closed = threading.Event()
        self.stats = SourceStats()
        self.info = SourceInfo(
            name="script", kind="camera", live=True, width=2, height=2, rate=30.0, codec="",
            frames=None,
        )  # fmt: skip

    def __iter__(self) -> Iterator[Frame]:
        for step in self.steps:
            if isinstance(step, threading.Event):
                step.wait(DEADLINE_S)
            elif isinstance(step, Exception):
                raise step
            else:
                self.stats.frames += 1
                yield step

    def close(self) -> None:
        self.closed.set()

    def __enter__(self) -> Script:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self.close()


def scripted(*connections: Script | Exception, **options: object) -> ReconnectingSource:
    """The connections one after the other; failures are attempts that fail."""
    coming = iter(connections[1:])

    def reopen() -> Source:
        connection = next(coming)
        if isinstance(connection, Exception):
            raise connection
        return connection

    first = connections[0]
    assert isinstance(first, Script)
    return ReconnectingSource(first, reopen, backoff=SOON, rng=Random(0), **options)  # pyright: ignore[reportArgumentType]


def frame_at(index: int, t_capture_ns: int) -> Frame:
    return Frame(BLANK, index, t_capture_ns=t_capture_ns)


def test_a_device_that_hangs_is_left_to_its_driver() -> None:
    stuck, end = threading.Event(), threading.Event()
    first = Script([frame_at(0, 50), stuck, frame_at(1, 60)])
    second = Script([frame_at(0, 20), end])
    source = scripted(first, SourceError("busy"), second, read_timeout_s=0.2, give_up_s=DEADLINE_S)
    with source:
        frames = iter(source)
        assert next(frames).t_capture_ns == 50
        frame = next(frames)  # that of the second connection: the first gives none
        assert (frame.index, frame.t_capture_ns) == (1, 51)
        assert not first.closed.is_set()  # it is in a call: closing it would crash
        assert source.stats.reconnects == 1
        stuck.set()
        assert first.closed.wait(DEADLINE_S)
        assert source.stats.frames == 2  # what came too late does not count
        end.set()


def test_a_program_that_was_stopped_does_not_blame_its_source() -> None:
    now_ns = [0]
    gate, end = threading.Event(), threading.Event()
    first = Script([frame_at(0, 1), gate, frame_at(1, 2), end])
    with scripted(first, read_timeout_s=5.0, clock=lambda: now_ns[0]) as source:
        frames = iter(source)
        assert next(frames).index == 0

        def stopped_for_a_minute() -> None:
            time.sleep(0.1)  # the consumer waits by then; if not, the test is only weaker
            now_ns[0] += 60 * 10**9
            gate.wait(0.6)  # several looks at the clock later
            gate.set()

        thread = threading.Thread(target=stopped_for_a_minute)
        thread.start()
        assert next(frames).index == 1
        thread.join()
        assert (source.stats.state, source.stats.reconnects) == ("running", 0)
        end.set()


def test_what_is_no_failure_of_the_source_is_raised() -> None:
    source = scripted(Script([frame_at(0, 1), ZeroDivisionError("a bug")]))
    with source, pytest.raises(ZeroDivisionError):
        list(source)
    assert source.stats.reconnects == 0


def test_an_unread_source_is_closed() -> None:
    first = Script([])
    with scripted(first) as source:
        assert source.info.name == "script"
    assert first.closed.is_set()
    assert list(source) == []


def test_waits_grow_with_jitter_and_are_repeatable() -> None:
    delays = [d for d, _ in zip(Backoff().delays(Random(1)), range(40), strict=False)]
    again = [d for d, _ in zip(Backoff().delays(Random(1)), range(40), strict=False)]
    plain = [d for d, _ in zip(Backoff(jitter=0.0).delays(Random(1)), range(9), strict=False)]
    assert delays == again
    assert plain == [0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 15.0, 15.0]
    assert all(0.5 * p <= d <= 1.5 * p for p, d in zip(plain, delays, strict=False))
    assert 7.5 <= min(delays[6:]) < 11.0
    assert 19.0 < max(delays[6:]) <= 22.5


def test_limits_are_checked() -> None:
    with pytest.raises(InputError):
        scripted(Script([]), give_up_s=0.0)
