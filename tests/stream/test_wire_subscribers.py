"""The subscribers in the background and for asyncio: the same messages, other ways to wait."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from mien.models.errors import InputError, SourceError
from mien.stream.curve import CurveClient, CurveServer, allow, make_keys
from mien.stream.frame import Frame
from mien.stream.messages import FrameMessage, HelloMessage
from mien.stream.observation import FaceObservation
from mien.stream.sinks import Recording
from mien.stream.sinks.zeromq import ZeroMQPublisher
from mien.stream.sinks.zeromq_stream import PublishedStream
from mien.stream.subscriber import PoseSubscriber, Received
from mien.stream.subscriber_async import AsyncPoseSubscriber
from mien.stream.subscriber_thread import ThreadedPoseSubscriber

Maker = Callable[..., FaceObservation]
BLANK = np.zeros((2, 2, 3), dtype=np.uint8)
AHEAD_NS = 3_600_000_000_000
NOBODY = "tcp://127.0.0.1:9"


@pytest.fixture
def server(tmp_path: Path) -> CurveServer:
    make_keys(tmp_path / "server.key")
    allow(tmp_path / "allowed", make_keys(tmp_path / "client.key"))
    return CurveServer(tmp_path / "server.key", tmp_path / "allowed")


@pytest.fixture
def client(tmp_path: Path, server: CurveServer) -> CurveClient:
    return CurveClient(tmp_path / "client.key", server.public_key)


@pytest.fixture
def publisher(server: CurveServer) -> Iterator[ZeroMQPublisher]:
    """Encrypted, its clock an hour ahead."""
    there = ZeroMQPublisher(
        "tcp://127.0.0.1:*", curve=server, clock=lambda: time.perf_counter_ns() + AHEAD_NS
    )
    with there:
        yield there


@pytest.fixture
def stream(publisher: ZeroMQPublisher, recording: Recording) -> PublishedStream:
    return publisher.add("a", recording)


def wait_for(condition: Callable[[], bool], limit_s: float = 10.0) -> None:
    end = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


def test_the_background_keeps_the_faces_of_the_newest_frame(
    publisher: ZeroMQPublisher, stream: PublishedStream, client: CurveClient, make_face_row: Maker
) -> None:
    with ThreadedPoseSubscriber(publisher.endpoint, curve=client) as subscriber:
        wait_for(lambda: "status.a." in subscriber.latest())
        for i, tracks in enumerate(((1,), (1, 2), (2,), (2, 3))):
            stream.write(Frame(BLANK, i), [make_face_row(track=t, frame=i) for t in tracks])

            def frame_came(index: int = i) -> bool:
                got = subscriber.latest().get("frame.a.")
                message = None if got is None else got.message
                return isinstance(message, FrameMessage) and message.frame == index

            wait_for(frame_came)
            assert [(p.track, p.frame) for p in subscriber.poses()] == [(t, i) for t in tracks]
        assert subscriber.poses(max_age_s=60.0) != []
        wait_for(lambda: subscriber.poses(max_age_s=0.05) == [])
        assert isinstance(subscriber.latest()["hello.a."].message, HelloMessage)
        offset = subscriber.clock_offset()
        assert abs(offset.offset_ns - AHEAD_NS) <= offset.round_trip_ns // 2 + 1
        assert (subscriber.stats.lost, subscriber.stats.invalid) == (0, 0)
    assert not [t for t in threading.enumerate() if t.name == "mien-subscriber"]


def test_one_can_wait_for_the_background(
    publisher: ZeroMQPublisher, stream: PublishedStream, client: CurveClient
) -> None:
    subscriber = ThreadedPoseSubscriber(publisher.endpoint, kinds=("frame",), curve=client)
    assert subscriber.wait(0, 10.0)  # the welcome
    assert not subscriber.wait(subscriber.count + 1000, 0.01)
    wait_for(lambda: (stream.write(Frame(BLANK, 0), []), "frame.a." in subscriber.latest())[1])
    before = subscriber.count
    stream.write(Frame(BLANK, 1), [])
    assert subscriber.wait(before, 10.0)
    subscriber.close()
    subscriber.close()
    with pytest.raises(SourceError, match="closed"):
        subscriber.wait(subscriber.count, 10.0)


def test_the_background_says_what_it_failed_with(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> list[Received]:
        raise ZeroDivisionError("a mistake")

    monkeypatch.setattr(PoseSubscriber, "receive", broken)
    with ThreadedPoseSubscriber(NOBODY) as subscriber:
        for call in (lambda: subscriber.wait(0, 10.0), subscriber.latest):
            with pytest.raises(SourceError, match="a mistake"):
                call()
        with pytest.raises(SourceError, match="a mistake"):
            subscriber.clock_offset(timeout_s=0.1)


def test_the_background_without_a_publisher() -> None:
    with ThreadedPoseSubscriber(NOBODY) as subscriber:
        assert subscriber.latest() == {}
        assert subscriber.poses() == []
        with pytest.raises(SourceError, match="no hello within"):
            subscriber.clock_offset(timeout_s=0.05)


def test_asyncio_iterates_over_every_message(
    publisher: ZeroMQPublisher, stream: PublishedStream, client: CurveClient, make_face_row: Maker
) -> None:
    async def write(ready: asyncio.Event) -> None:
        await ready.wait()
        for i in range(100):
            stream.write(Frame(BLANK, i), [make_face_row(frame=i)])
            await asyncio.sleep(0.001)  # the loop goes on while the subscriber waits

    async def read() -> list[Received]:
        ready = asyncio.Event()
        async with AsyncPoseSubscriber(publisher.endpoint, every=True, curve=client) as subscriber:
            writing = asyncio.create_task(write(ready))
            got = []
            async for received in subscriber:
                got.append(received)
                if received.kind == "status":  # the subscriptions have arrived
                    ready.set()
                if isinstance(received.message, FrameMessage) and received.message.frame == 99:
                    break
            await writing
            offset = await subscriber.clock_offset()
            assert abs(offset.offset_ns - AHEAD_NS) <= offset.round_trip_ns // 2 + 1
            assert subscriber.hello is not None
            assert (subscriber.stats.lost, subscriber.stats.invalid) == (0, 0)
        return got

    got = asyncio.run(asyncio.wait_for(read(), 20.0))
    assert [x.message.seq for x in got if x.kind == "frame"] == list(range(100))
    assert [x.message.seq for x in got if x.kind == "pose"] == list(range(100))


def test_asyncio_takes_the_newest_and_keeps_time_limits(
    publisher: ZeroMQPublisher, stream: PublishedStream, client: CurveClient, make_face_row: Maker
) -> None:
    async def read() -> None:
        async with AsyncPoseSubscriber(publisher.endpoint, curve=client) as subscriber:
            end = time.monotonic() + 10
            while not any(x.kind == "status" for x in await subscriber.receive(0.5)):
                assert time.monotonic() < end
            for i in range(20):
                stream.write(Frame(BLANK, i), [make_face_row(frame=i)])
                time.sleep(0.002)
            frames: list[int] = []
            while 19 not in frames and time.monotonic() < end:
                frames += [pose.frame for pose in await subscriber.poses(0.5)]
            assert frames[-1] == 19
            assert len(frames) + subscriber.stats.superseded >= 20
        async with AsyncPoseSubscriber(NOBODY) as nobody:
            assert await nobody.receive(0.05) == []
            with pytest.raises(SourceError, match="no hello within"):
                await nobody.clock_offset(timeout_s=0.05)

    asyncio.run(asyncio.wait_for(read(), 20.0))


@pytest.mark.usefixtures("stream")
def test_asking_for_the_clock_loses_no_message(
    publisher: ZeroMQPublisher, client: CurveClient
) -> None:
    with PoseSubscriber(publisher.endpoint, every=True, curve=client) as subscriber:
        assert subscriber.clock_offset(timeout_s=10.0).round_trip_ns > 0
        first = subscriber.receive(10.0)[0]
    assert first.topic == "hello.a."  # which was waited for to find the echo


def test_wrong_arguments_are_told_by_all() -> None:
    for kind in (PoseSubscriber, ThreadedPoseSubscriber, AsyncPoseSubscriber):
        with pytest.raises(InputError, match="unknown kinds"):
            kind(kinds=("poses",))
        with pytest.raises(InputError, match="cannot connect"):
            kind("5570")
