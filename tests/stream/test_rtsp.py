"""A camera on the network that speaks RTSP: a small server in a process of its own."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Literal

import pytest

from mien.stream.frame import Frame
from mien.stream.sources import Backoff, Source, SourceOptions, open_source

from ..web_camera import ServerProcess

DEADLINE_S = 30.0

# Pictures go as FFmpeg's RTP packets over UDP to this process itself, and from there between the
# answers of the RTSP connection (interleaved) or to the ports that the client names.
SERVER = r"""
import re, socket, sys, threading, time
import av
import numpy as np

SDP = (
    "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=test\r\nc=IN IP4 0.0.0.0\r\nt=0 0\r\n"
    "m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\n"
    "a=fmtp:96 packetization-mode=1\r\na=control:track\r\n"
)
playing = []

def udp_pair():
    while True:
        first, second = (socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2))
        first.bind(("127.0.0.1", 0))
        port = first.getsockname()[1]
        try:
            if port % 2 == 0:
                second.bind(("127.0.0.1", port + 1))
                return first, second, port
        except OSError:
            pass
        first.close()
        second.close()

def relay(channel, source):
    while True:
        data = source.recv(65536)
        for client, ports in list(playing):
            try:
                if ports:
                    source.sendto(data, ("127.0.0.1", int(ports[channel])))
                else:
                    client.sendall(b"$" + bytes([channel]) + len(data).to_bytes(2, "big") + data)
            except OSError:
                playing.remove((client, ports))

def answer(client):
    text, ports = b"", None
    while True:
        while b"\r\n\r\n" not in text:
            data = client.recv(4096)
            if not data:
                return
            text += data
        head, text = text.split(b"\r\n\r\n", 1)
        lines = head.decode().split("\r\n")
        method = lines[0].split()[0]
        number = next(line.split(":")[1] for line in lines if line.lower().startswith("cseq"))
        fields, body = "Session: 1\r\n", ""
        if method == "DESCRIBE":
            body = SDP
            fields = f"Content-Type: application/sdp\r\nContent-Length: {len(SDP)}\r\n"
        elif method == "SETUP":
            asked = next(line for line in lines if line.startswith("Transport"))
            found = re.search("client_port=([0-9]+)-([0-9]+)", asked)
            ports = found.groups() if found else None
            fields += asked + "\r\n"
        client.sendall(f"RTSP/1.0 200 OK\r\nCSeq:{number}\r\n{fields}\r\n{body}".encode())
        if method == "PLAY":
            playing.append((client, ports))
            while client.recv(4096):
                pass
            if (client, ports) in playing:
                playing.remove((client, ports))
            return

def accept(server):
    while True:
        start(answer, server.accept()[0])

def start(work, *args):
    threading.Thread(target=work, args=args, daemon=True).start()

rtp, rtcp, port = udp_pair()
server = socket.create_server(("127.0.0.1", int(sys.argv[1])))
start(relay, 0, rtp)
start(relay, 1, rtcp)
start(accept, server)
print(server.getsockname()[1], flush=True)
out = av.open(f"rtp://127.0.0.1:{port}", "w", format="rtp")
stream = out.add_stream("libx264", rate=50)
stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
stream.options = {
    "preset": "ultrafast", "tune": "zerolatency", "g": "10", "x264-params": "repeat-headers=1"
}
for i in range(5000):
    image = np.full((48, 64, 3), i % 200, np.uint8)
    frame = av.VideoFrame.from_ndarray(image, format="bgr24")
    frame.pts = i
    out.mux(stream.encode(frame))
    time.sleep(0.02)
"""


class Camera(ServerProcess):
    """The server, which can be killed and started again at the same port."""

    def __init__(self) -> None:
        super().__init__("-c", SERVER)

    @property
    def address(self) -> str:
        return f"rtsp://me:secret@127.0.0.1:{self.port}/stream"


@pytest.fixture
def camera() -> Iterator[Camera]:
    made = Camera()
    made.start()
    yield made
    made.kill()


def wait_until(condition: Callable[[], object], source: Source) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, source.stats
        time.sleep(0.01)


@pytest.mark.parametrize("transport", ["tcp", "udp"])
def test_an_rtsp_server_that_is_killed_and_started_again_gives_frames_again(
    camera: Camera, transport: Literal["tcp", "udp"]
) -> None:
    options = SourceOptions(
        rtsp_transport=transport,
        read_timeout_s=1.0,
        backoff=Backoff(first_s=0.05, longest_s=0.2),
        seed=0,
        max_age_s=60.0,
    )
    frames: list[Frame] = []
    with (
        open_source(camera.address, options) as source,
        ThreadPoolExecutor(1) as reader,
    ):
        info = source.info
        assert (info.kind, info.live, info.width, info.height) == ("stream", True, 64, 48)
        assert (info.codec, info.name) == ("h264", camera.address.replace("me:secret@", ""))
        reading = reader.submit(lambda: frames.extend(iter(source)))
        try:
            wait_until(lambda: len(frames) >= 5, source)
            camera.kill()
            wait_until(lambda: "refused" in source.stats.detail, source)
            assert source.stats.state == "reconnecting"
            assert "secret" not in source.stats.detail
            came = len(frames)
            camera.start()
            wait_until(lambda: len(frames) >= came + 5, source)
            stats = source.stats
            assert (stats.state, stats.detail, stats.reconnects) == ("running", "", 1)
        finally:
            source.close()
        reading.result(DEADLINE_S)
    captures = [frame.t_capture_ns or 0 for frame in frames]
    assert captures == sorted(set(captures))
    assert [frame.index for frame in frames] == sorted({frame.index for frame in frames})
