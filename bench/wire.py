"""How long do encoding, publishing and receiving a pose take, and what does idling cost?

``python bench/wire.py`` prints median and 99th percentile, with a subscriber in this process that
reads after every frame, at 200 frames a second. The floor is sending ready bytes. Last comes the
processor time of a publisher of four streams that nobody writes or reads, over 30 seconds.
"""

from __future__ import annotations

import platform
import time
from collections.abc import Callable

import numpy as np
import zmq

from mien.stream.frame import Frame
from mien.stream.health import Health
from mien.stream.messages import PoseMessage, decode, encode, pose_message
from mien.stream.observation import FaceObservation
from mien.stream.schema import COLUMNS
from mien.stream.sinks import Recording
from mien.stream.sinks.zeromq import ZeroMQPublisher
from mien.stream.subscriber import PoseSubscriber

_TIMES = 2000
_PAUSE_S = 0.005
_IDLE_S = 30.0


def _row() -> FaceObservation:
    rng = np.random.default_rng(0)
    fields = {
        c.name: rng.normal(100, 50, c.length).astype(np.float32)
        if c.length
        else (float(rng.normal()) if c.dtype == "float32" else 1)
        for c in COLUMNS
    }
    return FaceObservation(**{**fields, "observed": True})


def _report(name: str, took_us: list[float]) -> None:
    print(f"{name:34} {np.median(took_us):8.1f} {np.percentile(took_us, 99):8.1f}")


def _time(name: str, call: Callable[[], object], pause_s: float = 0.0) -> None:
    took_us = []
    for _ in range(_TIMES):
        start = time.perf_counter_ns()
        call()
        took_us.append((time.perf_counter_ns() - start) / 1e3)
        if pause_s:
            time.sleep(pause_s)
    _report(name, took_us)


def _floor(payload: bytes) -> None:
    here, there = zmq.Context(), zmq.Context()  # an I/O thread for each, as in two programs
    sender, receiver = here.socket(zmq.XPUB), there.socket(zmq.SUB)
    port = sender.bind_to_random_port("tcp://127.0.0.1")
    receiver.subscribe("")
    receiver.connect(f"tcp://127.0.0.1:{port}")
    time.sleep(0.2)
    sender.recv()  # the subscription
    took_us, arrival = [], []
    for _ in range(_TIMES):
        start = time.perf_counter_ns()
        sender.send_multipart([b"pose.a.0.", payload])
        took_us.append((time.perf_counter_ns() - start) / 1e3)
        receiver.recv_multipart()
        arrival.append((time.perf_counter_ns() - start) / 1e3)
        time.sleep(_PAUSE_S)
    here.destroy(linger=0)
    there.destroy(linger=0)
    _report("floor: send ready bytes", took_us)
    _report("floor: send and receive them", arrival)


def _idle(about: Recording) -> None:
    with ZeroMQPublisher("tcp://127.0.0.1:*") as publisher:
        for name in ("a", "b", "c", "d"):
            publisher.add(name, about, Health)
        used_s, begin_s = time.process_time(), time.monotonic()
        time.sleep(_IDLE_S)
        share = (time.process_time() - used_s) / (time.monotonic() - begin_s)
    print(f"idle, four streams: {100 * share:.2f} % of a core")


def main() -> None:
    """Print the table."""
    row = _row()
    fields = {c.name: getattr(row, c.name) for c in COLUMNS}
    message = pose_message(row, seq=0, t_publish_ns=0)
    payload = encode(message)
    frame = Frame(np.zeros((2, 2, 3), np.uint8), 0)
    print(f"{platform.machine()}, Python {platform.python_version()}; {len(payload)} bytes a pose")
    print(f"{'microseconds':34} {'median':>8} {'p99':>8}")
    _time("build a row", lambda: FaceObservation(**fields))
    _time("message and encode", lambda: encode(pose_message(row, seq=0, t_publish_ns=0)))
    _time("decode and check", lambda: decode(b"pose.a.0.", payload))
    _floor(payload)
    about = Recording(source="bench", rate=200.0, width=2, height=2)
    with ZeroMQPublisher("tcp://127.0.0.1:*") as publisher:
        stream = publisher.add("bench", about)
        _time("write frame and pose, no subscriber", lambda: stream.write(frame, [row]))
        with PoseSubscriber(publisher.endpoint, every=True) as subscriber:
            subscriber.receive(1.0)
            written, without, arrival = [], [], []
            for i in range(_TIMES):
                start = time.perf_counter_ns()
                stream.write(frame, [row] if i % 2 else [])
                (written if i % 2 else without).append((time.perf_counter_ns() - start) / 1e3)
                for received in subscriber.receive(1.0):
                    if isinstance(received.message, PoseMessage):
                        sent_ns = received.message.t_publish_ns
                        arrival.append((received.t_receive_ns - sent_ns) / 1e3)
                time.sleep(_PAUSE_S)
            _report("write frame and pose", written)
            _report("write frame", without)
            _report("from publishing to checked", arrival)
    _idle(about)


if __name__ == "__main__":
    main()
