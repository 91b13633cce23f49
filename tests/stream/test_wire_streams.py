"""Several streams on one pair of sockets, their health, and requests on the echo."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

import msgspec
import numpy as np
import pytest

from mien.models.errors import InputError, OutputError, SourceError
from mien.stream.echo import EchoClient
from mien.stream.frame import Frame
from mien.stream.health import Health
from mien.stream.messages import (
    EchoRequest,
    FrameMessage,
    HelloMessage,
    StatusMessage,
    encode,
)
from mien.stream.observation import FaceObservation
from mien.stream.sinks import Recording, Sink
from mien.stream.sinks.zeromq import ZeroMQPublisher
from mien.stream.subscriber import PoseSubscriber, Received

BLANK = np.zeros((2, 2, 3), dtype=np.uint8)
ANY = "tcp://127.0.0.1:*"


@pytest.fixture
def publisher() -> Iterator[ZeroMQPublisher]:
    with ZeroMQPublisher(ANY) as publisher:
        yield publisher


def collect(
    subscriber: PoseSubscriber, enough: Callable[[list[Received]], bool], limit_s: float = 10.0
) -> list[Received]:
    messages: list[Received] = []
    end = time.monotonic() + limit_s
    while not enough(messages):
        assert time.monotonic() < end, [x.topic for x in messages]
        messages += subscriber.receive(0.1)
    return messages


def statuses(messages: list[Received], stream: str) -> list[StatusMessage]:
    found = [m.message for m in messages if m.stream == stream]
    return [message for message in found if isinstance(message, StatusMessage)]


def test_streams_written_from_threads_keep_their_own_sequences(
    publisher: ZeroMQPublisher, recording: Recording, make_face_row: Callable[..., FaceObservation]
) -> None:
    names = ["a", "b", "c"]
    streams = [publisher.add(name, recording) for name in names]
    assert all(isinstance(stream, Sink) for stream in streams)
    # A few messages on the way at once: more would be dropped where the machine is busy.
    windows = [threading.Semaphore(5) for _ in names]

    def write(index: int) -> None:
        for i in range(200):
            assert windows[index].acquire(timeout=10)
            row = make_face_row(track=index, frame=i)
            streams[index].write(Frame(BLANK, i), [row] if i % 2 else [])

    threads = [threading.Thread(target=write, args=(i,)) for i in range(3)]
    with PoseSubscriber(publisher.endpoint, every=True) as subscriber:
        collect(subscriber, lambda m: {x.stream for x in m if x.kind == "status"} == set(names))
        for thread in threads:
            thread.start()
        got: list[Received] = []
        end = time.monotonic() + 30
        while sum(x.kind == "frame" for x in got) < 600 and time.monotonic() < end:
            for received in subscriber.receive(0.1):
                got.append(received)
                if received.kind == "frame":
                    windows[names.index(received.stream)].release()
        for thread in threads:
            thread.join()
    assert subscriber.stats.lost == 0
    assert subscriber.hellos.keys() == set(names)
    for index, name in enumerate(names):
        frames = [x.message for x in got if x.topic == f"frame.{name}."]
        assert [f.frame for f in frames if isinstance(f, FrameMessage)] == list(range(200))
        poses = [x.message.seq for x in got if x.topic == f"pose.{name}.{index}."]
        assert poses == list(range(100))


def test_who_connects_hears_hello_of_every_stream_at_once(recording: Recording) -> None:
    slow = 10  # a second of the publisher's lasts ten: what is heard is not the next beat
    with ZeroMQPublisher(ANY, clock=lambda: time.perf_counter_ns() // slow) as publisher:
        for name in ("a", "b", "c"):
            publisher.add(name, recording)
        for stream in (None, "b", "c", "a", None):  # also where others subscribed to the same
            wanted = {"a", "b", "c"} if stream is None else {stream}
            with PoseSubscriber(publisher.endpoint, stream=stream) as subscriber:
                got = collect(subscriber, lambda _, s=subscriber, w=wanted: s.hellos.keys() == w)
                assert {x.kind for x in got} == {"hello"}


def test_a_stream_ends_and_the_others_go_on(
    publisher: ZeroMQPublisher, recording: Recording
) -> None:
    first, second, third = (publisher.add(name, recording) for name in ("a", "b", "c"))
    with PoseSubscriber(publisher.endpoint, every=True) as subscriber:
        collect(subscriber, lambda _: len(subscriber.hellos) == 3)
        first.close()
        first.close()
        second.fail("the cable was pulled")
        second.close()
        with pytest.raises(OutputError, match="a is closed"):
            first.write(Frame(BLANK, 0), [])
        third.write(Frame(BLANK, 0), [])
        got = collect(
            subscriber,
            lambda m: all(
                len([s for s in statuses(m, name) if s.source_state != "stalled"]) >= 2
                for name in ("a", "b")
            ),
        )
    assert {s.source_state for s in statuses(got, "a")[-2:]} == {"ended"}
    assert statuses(got, "b")[-1].source_state == "failed"
    assert statuses(got, "b")[-1].detail == "the cable was pulled"
    assert any(x.topic == "frame.c." for x in got)
    publisher.abort()
    with pytest.raises(OutputError, match="is closed"):
        third.write(Frame(BLANK, 1), [])
    with pytest.raises(OutputError, match="is closed"):
        publisher.add("d", recording)


def test_a_name_is_given_once(publisher: ZeroMQPublisher, recording: Recording) -> None:
    publisher.add("a", recording)
    with pytest.raises(InputError, match="'a' is given twice"):
        publisher.add("a", recording)


def test_an_exception_leaves_the_stream_failed(recording: Recording) -> None:
    with (
        ZeroMQPublisher(ANY) as publisher,
        PoseSubscriber(publisher.endpoint, every=True) as subscriber,
    ):
        first = publisher.add("a", recording)
        publisher.add("b", recording)
        collect(subscriber, lambda m: bool(statuses(m, "a") and statuses(m, "b")))
        with pytest.raises(SourceError), first:
            raise SourceError("the cable was pulled")
        with pytest.raises(RuntimeError), publisher:
            raise RuntimeError
        got = collect(subscriber, lambda m: bool(statuses(m, "a") and statuses(m, "b")))
    ends = [(s.source_state, s.detail) for name in "ab" for s in statuses(got, name)]
    assert ends == [("failed", "the cable was pulled"), ("failed", "")]


def test_health_is_asked_also_while_no_frame_comes(
    publisher: ZeroMQPublisher, recording: Recording
) -> None:
    healths = [Health({"fit": 0.5}, {"fit": 2.0}, {"stale": 1}, "reconnecting", "no route to host")]
    asked_by: set[str] = set()

    def probe() -> Health:
        asked_by.add(threading.current_thread().name)
        return healths[-1]

    publisher.add("a", recording, probe)
    with PoseSubscriber(publisher.endpoint, every=True) as subscriber:
        got = collect(
            subscriber,
            lambda m: any(s.source_state == "reconnecting" for s in statuses(m, "a")),
        )
        status = statuses(got, "a")[-1]
        assert (status.latency_ms, status.latency_99_ms) == ({"fit": 0.5}, {"fit": 2.0})
        assert (status.drops, status.detail) == ({"stale": 1}, "no route to host")
        healths.append(Health(state="running", detail="old news"))
        got = collect(
            subscriber, lambda m: any(s.source_state == "stalled" for s in statuses(m, "a"))
        )
    assert statuses(got, "a")[-1].detail == ""
    assert asked_by == {"mien-publisher"}


def test_what_the_thread_fails_with_is_raised_by_write(recording: Recording) -> None:
    def probe() -> Health:
        raise ZeroDivisionError("a mistake in the probe")

    with ZeroMQPublisher(ANY) as publisher:
        stream = publisher.add("a", recording, probe)

        def write_for(seconds: float) -> None:
            end = time.monotonic() + seconds
            while time.monotonic() < end:
                stream.write(Frame(BLANK, 0), [])
                time.sleep(0.02)

        with pytest.raises(OutputError, match="a mistake in the probe"):
            write_for(10.0)


def test_requests_on_the_echo(recording: Recording) -> None:
    asked: list[str | None] = []

    def center(stream: str | None) -> str:
        asked.append(stream)
        if stream == "nobody":
            raise InputError("no stream nobody")
        return "centred"

    with ZeroMQPublisher(ANY, requests={"center": center}) as publisher:
        publisher.add("a", recording)
        with EchoClient(publisher.echo_endpoint, timeout_s=5.0) as client:
            done = client.ask(encode(EchoRequest(request="center")))
            assert (done.reply, done.error) == ("centred", "")
            assert abs(done.t_ns - time.perf_counter_ns()) < 60e9
            client.ask(msgspec.msgpack.encode({"request": "center", "stream": "a", "more": 1}))
            refused = client.ask(encode(EchoRequest(request="center", stream="nobody")))
            assert (refused.reply, refused.error) == ("", "no stream nobody")
            assert asked == [None, "a", "nobody"]
            for other in (
                b"",
                b"?",
                encode(EchoRequest(request="reboot")),
                msgspec.msgpack.encode({"request": 3}),
                msgspec.msgpack.encode(["center"]),
                b"\x81\xa7request\xa6\xff\xff\xff\xff\xff\xff",  # text that is no UTF-8
                b"\xdf\xff\xff\xff\xff",
            ):
                plain = client.ask(other)
                assert (plain.reply, plain.error) == ("", "")
            assert len(asked) == 3


def test_without_a_stream_nothing_is_said_and_the_clock_answers() -> None:
    with ZeroMQPublisher(ANY) as publisher, PoseSubscriber(publisher.endpoint) as subscriber:
        assert subscriber.clock_offset(publisher.echo_endpoint, count=2).round_trip_ns > 0
        assert subscriber.receive(0.05) == []


def test_the_numbers_of_many_tracks_are_not_kept_for_ever(
    publisher: ZeroMQPublisher, recording: Recording, make_face_row: Callable[..., FaceObservation]
) -> None:
    stream = publisher.add("a", recording)
    with PoseSubscriber(publisher.endpoint, every=True) as subscriber:
        collect(subscriber, lambda m: any(x.kind == "status" for x in m))
        got = []
        for track in (1, *range(2, 400), 399, 1):
            stream.write(Frame(BLANK, track), [make_face_row(track=track)])
            got += collect(subscriber, lambda m: any(x.kind == "pose" for x in m))
    seqs = {x.topic: x.message.seq for x in got if x.kind == "pose"}
    assert (seqs["pose.a.399."], seqs["pose.a.1."]) == (1, 0)
    assert (subscriber.stats.lost, subscriber.stats.restarts) == (0, 1)
    assert isinstance(subscriber.hello, HelloMessage)
