"""How long do encoding, publishing and receiving a pose take, and what does idling cost?

    python bench/wire.py [--times 2000] [--idle 30] [--json FILE]

Prints median and 99th percentile, with a subscriber in this process that reads after every frame,
at 200 frames a second. The floor is sending ready bytes. Last comes the processor time of a
publisher of four streams that nobody writes or reads, over 30 seconds.
"""

from __future__ import annotations

import argparse
import platform
import time
from collections.abc import Callable

import numpy as np
import zmq
from figures import add_json_option, write_figures

from mien.stream.frame import Frame
from mien.stream.health import Health
from mien.stream.messages import PoseMessage, decode, encode, pose_message
from mien.stream.observation import FaceObservation
from mien.stream.schema import COLUMNS
from mien.stream.sinks import Recording
from mien.stream.sinks.zeromq import ZeroMQPublisher
from mien.stream.subscriber import PoseSubscriber

_PAUSE_S = 0.005


def _row() -> FaceObservation:
    rng = np.random.default_rng(0)
    fields = {
        c.name: rng.normal(100, 50, c.length).astype(np.float32)
        if c.length
        else (float(rng.normal()) if c.dtype == "float32" else 1)
        for c in COLUMNS
    }
    return FaceObservation(**{**fields, "observed": True})


class Table:
    """Prints a line a measurement, and keeps its figures."""

    def __init__(self, times: int) -> None:
        self.times = times
        self.median_and_99th_us: dict[str, tuple[float, float]] = {}

    def report(self, name: str, took_us: list[float]) -> None:
        middle, high = float(np.median(took_us)), float(np.percentile(took_us, 99))
        self.median_and_99th_us[name] = middle, high
        print(f"{name:34} {middle:8.1f} {high:8.1f}")

    def time(self, name: str, call: Callable[[], object]) -> None:
        took_us = []
        for _ in range(self.times):
            start = time.perf_counter_ns()
            call()
            took_us.append((time.perf_counter_ns() - start) / 1e3)
        self.report(name, took_us)


def _floor(payload: bytes, table: Table) -> None:
    here, there = zmq.Context(), zmq.Context()  # an I/O thread for each, as in two programs
    sender, receiver = here.socket(zmq.XPUB), there.socket(zmq.SUB)
    port = sender.bind_to_random_port("tcp://127.0.0.1")
    receiver.subscribe("")
    receiver.connect(f"tcp://127.0.0.1:{port}")
    time.sleep(0.2)
    sender.recv()  # the subscription
    took_us, arrival = [], []
    for _ in range(table.times):
        start = time.perf_counter_ns()
        sender.send_multipart([b"pose.a.0.", payload])
        took_us.append((time.perf_counter_ns() - start) / 1e3)
        receiver.recv_multipart()
        arrival.append((time.perf_counter_ns() - start) / 1e3)
        time.sleep(_PAUSE_S)
    here.destroy(linger=0)
    there.destroy(linger=0)
    table.report("floor: send ready bytes", took_us)
    table.report("floor: send and receive them", arrival)


def _idle(about: Recording, seconds: float) -> float:
    """The share of a core."""
    with ZeroMQPublisher("tcp://127.0.0.1:*") as publisher:
        for name in ("a", "b", "c", "d"):
            publisher.add(name, about, Health)
        used_s, begin_s = time.process_time(), time.monotonic()
        time.sleep(seconds)
        share = (time.process_time() - used_s) / (time.monotonic() - begin_s)
    print(f"idle, four streams: {100 * share:.2f} % of a core")
    return share


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=2000, help="that each is measured")
    parser.add_argument("--idle", type=float, default=30.0, help="seconds of idling")
    add_json_option(parser)
    options = parser.parse_args()
    table = Table(options.times)
    row = _row()
    fields = {c.name: getattr(row, c.name) for c in COLUMNS}
    message = pose_message(row, seq=0, t_publish_ns=0)
    payload = encode(message)
    frame = Frame(np.zeros((2, 2, 3), np.uint8), 0)
    print(f"{platform.machine()}, Python {platform.python_version()}; {len(payload)} bytes a pose")
    print(f"{'microseconds':34} {'median':>8} {'p99':>8}")
    table.time("build a row", lambda: FaceObservation(**fields))
    table.time("message and encode", lambda: encode(pose_message(row, seq=0, t_publish_ns=0)))
    table.time("decode and check", lambda: decode(b"pose.a.0.", payload))
    _floor(payload, table)
    about = Recording(source="bench", rate=200.0, width=2, height=2)
    with ZeroMQPublisher("tcp://127.0.0.1:*") as publisher:
        stream = publisher.add("bench", about)
        table.time("write frame and pose, no subscriber", lambda: stream.write(frame, [row]))
        with PoseSubscriber(publisher.endpoint, every=True) as subscriber:
            subscriber.receive(1.0)
            written, without, arrival = [], [], []
            for i in range(table.times):
                start = time.perf_counter_ns()
                stream.write(frame, [row] if i % 2 else [])
                (written if i % 2 else without).append((time.perf_counter_ns() - start) / 1e3)
                for received in subscriber.receive(1.0):
                    if isinstance(received.message, PoseMessage):
                        sent_ns = received.message.t_publish_ns
                        arrival.append((received.t_receive_ns - sent_ns) / 1e3)
                time.sleep(_PAUSE_S)
            table.report("write frame and pose", written)
            table.report("write frame", without)
            table.report("from publishing to checked", arrival)
    share = _idle(about, options.idle)
    write_figures(
        options.json,
        {"median_and_99th_us": table.median_and_99th_us, "idle_share_of_a_core": share},
    )


if __name__ == "__main__":
    main()
