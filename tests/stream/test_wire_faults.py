"""What others do to a publisher: stop, come in crowds, talk nonsense, knock without a key."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zmq

from mien.stream.curve import CurveClient, allow, make_keys
from mien.stream.echo import EchoClient
from mien.stream.frame import Frame
from mien.stream.messages import FrameMessage
from mien.stream.observation import FaceObservation
from mien.stream.sinks import Recording
from mien.stream.sinks.zeromq import ZeroMQPublisher
from mien.stream.subscriber import PoseSubscriber

BLANK = np.zeros((2, 2, 3), dtype=np.uint8)
LIMIT_S = 30

PUBLISHER = """
import json, os, sys, threading, time
from pathlib import Path
import numpy as np
from mien.stream.curve import CurveServer
from mien.stream.frame import Frame
from mien.stream.sinks import Recording
from mien.stream.sinks.zeromq import ZeroMQPublisher

folder = Path(sys.argv[1]) if len(sys.argv) > 1 else None
curve = None if folder is None else CurveServer(folder / "server.key", folder / "allowed")
blank = np.zeros((2, 2, 3), np.uint8)
about = Recording(source="test", rate=100.0, width=2, height=2)
with ZeroMQPublisher("tcp://127.0.0.1:*", curve=curve) as publisher:
    streams = [publisher.add(name, about) for name in ("a", "b")]
    print(json.dumps([publisher.endpoint, publisher.echo_endpoint]), flush=True)
    stopping = threading.Event()
    written = 0

    def write():
        global written
        while not stopping.wait(0.01):
            for stream in streams:
                stream.write(Frame(blank, written), [])
            written += 1

    writer = threading.Thread(target=write)
    writer.start()
    for _ in sys.stdin:
        resident = int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        files = len(os.listdir("/proc/self/fd"))
        state = {"files": files, "resident_mb": resident / 1e6, "written": written}
        print(json.dumps({**state, "writing": writer.is_alive()}), flush=True)
    stopping.set()
    writer.join()
"""

SUBSCRIBER = """
import sys
from mien.stream.messages import FrameMessage
from mien.stream.subscriber import PoseSubscriber

with PoseSubscriber(sys.argv[1], every=True) as subscriber:
    for received in subscriber:
        if isinstance(received.message, FrameMessage):
            print(received.message.frame, subscriber.stats.lost, flush=True)
"""

CROWD = """
import sys
import zmq

context = zmq.Context()
context.max_sockets = 2000
for wave in range(10):
    crowd = []
    for i in range(100):
        one = context.socket(zmq.SUB)
        one.linger = 0
        one.subscribe("" if i % 2 else f"pose.{wave}.{i}.")
        one.subscribe("hello.")
        one.connect(sys.argv[1])
        crowd.append(one)
    for one in crowd:
        if not one.poll(20_000):
            sys.exit(f"nothing came in wave {wave}")
    for one in crowd:
        one.close()
print("1000 came and went")
"""


EVIL = """
import contextlib, random, sys, time
import zmq

rng = random.Random(8)
parts = [b"", b"\\0", b"\\x01", b"\\x01hello.", b"\\0never", b"\\x07?"]
parts += [rng.randbytes(9), rng.randbytes(4000)]
messages, echo = sys.argv[1:]
kinds = zmq.DEALER, zmq.REQ, zmq.PUSH, zmq.ROUTER
pairs = [(kind, place) for kind in kinds for place in (messages, echo)]
with zmq.Context() as context:
    for kind, place in pairs:
        peer = context.socket(kind)
        peer.linger = 200
        peer.sndtimeo = 50
        peer.connect(place)
        with contextlib.suppress(zmq.ZMQError):  # refused, or not its turn
            for i in range(60):
                said = [rng.choice(parts) for _ in range(1 + i % 4)]
                peer.send_multipart([b"", *said] if i % 3 else said)
            peer.send(b"\\x01" + bytes(10_000_000))  # longer than any client's message
        time.sleep(0.05)
        peer.close()
    # Many subscriptions at once, and the same ones taken back.
    peer = context.socket(zmq.XSUB)
    peer.linger = 5000
    peer.sndhwm = 0
    peer.connect(messages)
    for sign in (b"\\x01", b"\\0"):
        for i in range(5000):
            peer.send(sign + b"pose.%d." % i)
    peer.close()
"""


class Publisher:
    """Publishes two streams, 100 frames a second, in a process of its own.

    Attributes:
        endpoint: of the messages.
        echo: of the clock.
    """

    def __init__(self, *arguments: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", PUBLISHER, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.endpoint, self.echo = self._line()

    def state(self) -> dict[str, Any]:
        """Of the process: files, resident_mb, written, writing."""
        assert self.process.stdin is not None
        self.process.stdin.write("?\n")
        self.process.stdin.flush()
        return self._line()

    def _line(self) -> Any:
        assert self.process.stdout is not None
        return json.loads(self.process.stdout.readline())

    def __enter__(self) -> Publisher:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.communicate(timeout=LIMIT_S)  # closes its standard input, which ends it
        assert self.process.returncode == 0


@pytest.fixture
def plain() -> Iterator[Publisher]:
    if not Path("/proc/self/fd").exists():
        pytest.skip("counts open files in /proc")
    with Publisher() as publisher:
        yield publisher


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[Publisher]:
    """With CURVE; the keys of a listed client and of a stranger are in the test's folder."""
    if not Path("/proc/self/fd").exists():
        pytest.skip("counts open files in /proc")
    for name in ("server", "client", "stranger"):
        make_keys(tmp_path / f"{name}.key")
    allow(
        tmp_path / "allowed",
        CurveClient(tmp_path / "client.key", tmp_path / "server.pub").public_key,
    )
    with Publisher(str(tmp_path)) as publisher:
        yield publisher


def wait_for(condition: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + LIMIT_S
    while not condition():
        assert time.monotonic() < end, what
        time.sleep(0.02)


def assert_well(publisher: Publisher, curve: CurveClient | None = None) -> None:
    """Somebody new hears both streams and the clock."""
    with PoseSubscriber(publisher.endpoint, curve=curve) as subscriber:
        heard: set[str] = set()
        end = time.monotonic() + LIMIT_S
        while not {"hello.a.", "hello.b.", "frame.a.", "frame.b.", "status.a."} <= heard:
            assert time.monotonic() < end, heard
            heard |= {received.topic for received in subscriber.receive(0.1)}
    with EchoClient(publisher.echo, curve=curve, timeout_s=LIMIT_S) as client:
        assert client.ask().t_ns > 0
    assert publisher.state()["writing"]


def test_a_stopped_subscriber_costs_the_others_nothing(
    recording: Recording, make_face_row: Callable[..., FaceObservation]
) -> None:
    with (
        ZeroMQPublisher("tcp://127.0.0.1:*") as publisher,
        publisher.add("a", recording) as stream,
        zmq.Context() as context,
        context.socket(zmq.SUB) as other,
        subprocess.Popen(
            [sys.executable, "-c", SUBSCRIBER, publisher.endpoint],
            stdout=subprocess.PIPE,
        ) as sleeper,
    ):
        other.linger = 0
        other.subscribe("pose.")
        other.subscribe("frame.")
        other.connect(publisher.endpoint)
        rows = [make_face_row(track=track) for track in range(10)]
        topics = [f"pose.a.{track}.".encode() for track in range(10)] + [b"frame.a."]
        assert sleeper.stdout is not None
        os.set_blocking(sleeper.stdout.fileno(), False)
        try:
            # Until both hear it.
            heard, told = False, b""
            end = time.monotonic() + LIMIT_S
            while not (heard and told):
                assert time.monotonic() < end
                stream.write(Frame(BLANK, -1), [])
                heard |= bool(other.poll(10))
                told += sleeper.stdout.read() or b""
            while other.poll(200):
                other.recv_multipart()
            sleeper.send_signal(signal.SIGSTOP)
            # 30 MB, more than the system's buffers hold; every message is awaited by the other.
            for i in range(1200):
                stream.write(Frame(BLANK, i), rows)
                for topic in topics:
                    assert other.poll(LIMIT_S * 1000), f"frame {i} did not come"
                    assert other.recv_multipart()[0] == topic
            sleeper.send_signal(signal.SIGCONT)
            frame, lost = 0, 0
            end = time.monotonic() + LIMIT_S
            while frame < 5000:
                assert time.monotonic() < end, "the sleeper never caught up"
                stream.write(Frame(BLANK, 5000), [])
                other.poll(10)
                told += sleeper.stdout.read() or b""
                lines = told.split(b"\n")  # a line that is not ended yet is the last
                if len(lines) > 1:
                    frame, lost = map(int, lines[-2].split())
            assert lost > 0  # its buffers were full, and it knows
        finally:
            sleeper.kill()


def test_a_thousand_subscribers_come_and_go(plain: Publisher) -> None:
    assert_well(plain)
    before = plain.state()
    crowd = subprocess.run(
        [sys.executable, "-c", CROWD, plain.endpoint],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert crowd.returncode == 0, crowd.stderr
    assert "1000 came and went" in crowd.stdout
    wait_for(lambda: plain.state()["files"] <= before["files"], "files are open still")
    after = plain.state()
    assert after["resident_mb"] < before["resident_mb"] + 20.0
    assert after["written"] > before["written"]
    assert_well(plain)


def nonsense() -> list[bytes]:
    """What a program that is no ZeroMQ might say, and what an evil one might."""
    rng = random.Random(7)
    greeting = b"\xff" + bytes(8) + b"\x7f\x03\x00" + b"NULL".ljust(20, b"\0") + bytes(32)
    ready = b"\x04\x19\x05READY\x0bSocket-Type\x00\x00\x00\x03SUB"
    asks = ready.replace(b"SUB", b"REQ")
    more = b"\x01\x06\x01hello" * 50 + b"\x01\x00" * 50 + b"\x01\x03\x07ab"
    huge = b"\x02" + (2**62).to_bytes(8, "big") + b"x" * 100
    return [
        b"",
        b"\0",
        b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + rng.randbytes(200),
        *(rng.randbytes(size) for size in (1, 10, 64, 1000, 100_000)),
        b"\xff" * 5000,
        greeting[:20],
        greeting,
        greeting.replace(b"NULL", b"EVIL"),
        greeting.replace(b"NULL\0", b"CURVE") + b"\x04\xc8\x05HELLO" + rng.randbytes(194),
        greeting.replace(b"NULL\0", b"CURVE") + b"\x04\xc8\x05HELLO" + bytes(194),
        greeting + ready[:10],
        greeting + rng.randbytes(500),
        greeting + ready + huge,
        greeting + ready + rng.randbytes(3000),
        greeting + ready + b"\x00\x05\x01pose" + b"\x01\x00" * 200 + b"\x04\x03\x02AB",
        *(greeting + kind + more + end for kind in (ready, asks) for end in (b"", b"\x00\x00")),
        *(greeting + kind + b"\x00\x01x" * 500 for kind in (ready, asks)),
        greeting + ready + b"\x00\x06\x00never" * 500 + b"\x00\x00" * 500,
        greeting + asks + b"\x01\x00\x00\x02hi" * 500,
    ]


def throw(endpoint: str) -> None:
    """Everything at a listening socket, some twice at once and left hanging for a while."""
    host, port = endpoint.removeprefix("tcp://").split(":")
    hanging = []
    for said in nonsense() * 2:
        knock = socket.create_connection((host, int(port)), timeout=5.0)
        # It may be thrown out in the middle of it.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            knock.sendall(said)
        hanging.append(knock)
    time.sleep(0.1)
    for knock in hanging:
        knock.close()


@pytest.mark.parametrize("kind", ["plain", "guarded"])
def test_nonsense_on_the_listening_sockets(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    publisher: Publisher = request.getfixturevalue(kind)
    curve = None
    if kind == "guarded":
        curve = CurveClient(tmp_path / "client.key", tmp_path / "server.pub")
    assert_well(publisher, curve)
    before = publisher.state()
    with PoseSubscriber(publisher.endpoint, curve=curve) as witness:
        assert witness.receive(LIMIT_S)
        for endpoint in (publisher.endpoint, publisher.echo):
            throw(endpoint)
        newest = publisher.state()["written"]

        def goes_on() -> bool:
            messages = [received.message for received in witness.receive(0.1)]
            return any(isinstance(m, FrameMessage) and m.frame > newest for m in messages)

        wait_for(goes_on, "the witness hears no more")
        assert witness.stats.invalid == witness.stats.restarts == 0
    wait_for(lambda: publisher.state()["files"] <= before["files"], "files are open still")
    assert publisher.state()["resident_mb"] < before["resident_mb"] + 20.0
    assert_well(publisher, curve)


def test_nonsense_in_good_messages(plain: Publisher) -> None:
    """Peers that speak ZeroMQ, but not as a subscriber or a client of the echo should."""
    assert_well(plain)
    before = plain.state()
    evil = subprocess.run(
        [sys.executable, "-c", EVIL, plain.endpoint, plain.echo],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert evil.returncode == 0, evil.stderr
    wait_for(lambda: plain.state()["files"] <= before["files"], "files are open still")
    assert plain.state()["resident_mb"] < before["resident_mb"] + 30.0
    assert_well(plain)


def test_strangers_get_nothing_and_friends_go_on(guarded: Publisher, tmp_path: Path) -> None:
    server_key = tmp_path / "server.pub"
    friend = CurveClient(tmp_path / "client.key", server_key)
    stranger = CurveClient(tmp_path / "stranger.key", server_key)
    before = guarded.state()
    with PoseSubscriber(guarded.endpoint, curve=friend, every=True) as listed:
        assert listed.receive(LIMIT_S)
        strangers = [
            PoseSubscriber(guarded.endpoint, curve=curve) for curve in (stranger, None) * 20
        ]
        frames = 0
        end = time.monotonic() + LIMIT_S
        while frames < 200:
            assert time.monotonic() < end
            frames += sum(received.kind == "frame" for received in listed.receive(0.1))
        assert not any(one.receive(0.0) for one in strangers)
        for one in strangers:
            one.close()
    wait_for(lambda: guarded.state()["files"] <= before["files"], "files are open still")
    assert_well(guarded, friend)
