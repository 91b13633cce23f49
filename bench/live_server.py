"""Serves a clip with a moving face as an HTTP camera: motion JPEG, every frame at its due time.

    python bench/live_server.py [VIDEO] [--rate 30] [--port 0] [--epoch-ns T]

Frames lie on an exact grid of the monotonic clock (``time.perf_counter_ns``, the same in all
processes of a Linux machine): frame n is due at epoch + n / rate, and is sent then, encoded long
before. The due time is the time of capture. The clip runs to and fro, resized to 640x480.

The first line on standard output is JSON with port, epoch and rate. Standard input takes
``stall SECONDS`` (nothing is sent, nothing closed) and ``close`` (all connections are). ``--log``
takes a line a connection and, on SIGTERM, when each frame left.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import signal
import socket
import sys
import threading
import time
from contextlib import nullcontext
from pathlib import Path
from types import FrameType

import cv2
import numpy as np
from live_measures import Grid, fold
from tracked_frame import demo_video, read_frames

_HEAD = (
    b"HTTP/1.0 200 OK\r\nCache-Control: no-cache\r\n"
    b"Content-Type: multipart/x-mixed-replace; boundary=frame\r\n\r\n"
)
_SEND_TIMEOUT_S = 5.0


class Server:
    """One clip, any number of connections, each with a thread that keeps the grid."""

    def __init__(self, pictures: list[bytes], grid: Grid, port: int) -> None:
        self._parts = [
            b"--frame\r\nContent-Type: image/jpeg\r\n"
            b"Content-Length: %d\r\n\r\n%s\r\n" % (len(one), one)
            for one in pictures
        ]
        self._grid = grid
        self._stalled_ns = 0
        self._connections: set[socket.socket] = set()
        self.sent: list[tuple[int, int, int, int]] = []  # connection, frame, begun, done
        self._socket = socket.create_server(("127.0.0.1", port), reuse_port=False)
        self.port: int = self._socket.getsockname()[1]

    def serve(self) -> None:
        """Accept connections for ever."""
        number = 0
        while True:
            connection, _ = self._socket.accept()
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection.settimeout(_SEND_TIMEOUT_S)
            self._connections.add(connection)
            threading.Thread(target=self._play, args=(connection, number), daemon=True).start()
            number += 1

    def stall(self, seconds: float) -> None:
        """Send nothing for a while."""
        self._stalled_ns = time.perf_counter_ns() + round(seconds * 1e9)

    def close_all(self) -> None:
        """Break all connections off."""
        for one in tuple(self._connections):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def _play(self, connection: socket.socket, number: int) -> None:
        try:
            connection.recv(4096)
            connection.sendall(_HEAD)
            n = int(self._grid.number(time.perf_counter_ns())) + 1
            while True:
                due_ns = int(self._grid.due_ns(n))
                late_ns = time.perf_counter_ns() - due_ns
                if late_ns < 0:
                    time.sleep(-late_ns * 1e-9)
                begun_ns = time.perf_counter_ns()
                if begun_ns >= self._stalled_ns:
                    connection.sendall(self._parts[fold(n, len(self._parts))])
                    self.sent.append((number, n, begun_ns, time.perf_counter_ns()))
                n += 1
        except OSError:
            pass  # the client went, or was sent away
        finally:
            self._connections.discard(connection)
            connection.close()


def encode(frames: list[np.ndarray], quality: int) -> list[bytes]:
    """Each as JPEG."""
    pictures = []
    for frame in frames:
        done, data = cv2.imencode(".jpg", frame, [cv2.IMWRITE_JPEG_QUALITY, quality])
        if not done:
            raise SystemExit("a frame cannot be encoded")
        pictures.append(data.tobytes())
    return pictures


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("video", nargs="?", type=Path, help="default: the demo's clip")
    parser.add_argument("--rate", type=float, default=30.0)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--epoch-ns", type=int, help="default: the start")
    parser.add_argument("--quality", type=int, default=85, help="of the JPEG pictures")
    parser.add_argument("--frames", type=int, default=180)
    parser.add_argument("--log", type=Path, help=".npy: connection, frame, begun ns, done ns")
    options = parser.parse_args()
    with demo_video() if options.video is None else nullcontext(options.video) as path:
        frames = [frame.image_bgr for frame in read_frames(path, options.frames)]
    pictures = encode(frames, options.quality)
    del frames
    epoch_ns = time.perf_counter_ns() if options.epoch_ns is None else options.epoch_ns
    server = Server(pictures, Grid(epoch_ns, options.rate), options.port)

    def end(_signal: int, _frame: FrameType | None) -> None:
        if options.log is not None:
            np.save(options.log, np.array(server.sent, np.int64).reshape(-1, 4))
        raise SystemExit(0)

    signal.signal(signal.SIGTERM, end)
    about = {
        "port": server.port,
        "epoch_ns": epoch_ns,
        "rate": options.rate,
        "jpeg_bytes": round(float(np.mean([len(one) for one in pictures]))),
    }
    print(json.dumps(about), flush=True)
    threading.Thread(target=server.serve, daemon=True).start()
    for line in sys.stdin:
        words = line.split()
        if words[:1] == ["stall"]:
            server.stall(float(words[1]))
        elif words == ["close"]:
            server.close_all()
    signal.pause()  # standard input was closed: play on


if __name__ == "__main__":
    main()
