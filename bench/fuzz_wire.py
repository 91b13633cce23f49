"""Parsers of what comes over sockets, of keys, addresses and command lines."""

from __future__ import annotations

import contextlib
import io
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
import zmq
import zmq.auth
from fuzz_parser import Parser, as_text, fixed

from mien.models.errors import MienError
from mien.stream import curve
from mien.stream.echo import EchoClient
from mien.stream.messages import (
    EchoReply,
    EchoRequest,
    FrameMessage,
    HelloMessage,
    StatusMessage,
    check_stream_name,
    decode,
    encode,
    pose_message,
)
from mien.stream.observation import FaceObservation
from mien.stream.schema import schema_table
from mien.stream.sinks.zeromq_echo import answer
from mien.stream.sinks.zeromq_endpoints import check_endpoint, next_endpoint
from mien.stream.sources.addresses import is_endless, is_network, without_secrets
from mien.stream.subscription import Subscription
from mien.stream.view.address import ViewAddress

_CUT: Final = b"\n--\n"
_TIMES: Final[dict[str, Any]] = {"v": 1, "seq": 0, "t_publish_ns": 5}
_KEYS: Final = (
    "rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7",
    "JTKVSB%%)wK0E.X)V>+}o?pNmC{O&4W4b!Ni{Lh6",
)
PAIR: Final = (
    f'#   A key of mien.\n\nmetadata\ncurve\n    public-key = "{_KEYS[0]}"\n'
    f'    secret-key = "{_KEYS[1]}"\n'
)


def row(frame: int = 0, track: int = 0) -> FaceObservation:
    """A face."""
    rng = np.random.default_rng(frame)
    arrays = {
        "pose_variance": 6,
        "shape": 40,
        "expression": 10,
        "landmarks": 136,
        "blendshapes": 52,
    }
    lists: dict[str, Any] = {n: rng.random(k).astype(np.float32) for n, k in arrays.items()}
    return FaceObservation(
        frame=frame, t_media_ns=frame * 40_000_000, t_capture_ns=None, track=track, observed=True,
        confidence=0.9, box_x=10.0, box_y=12.0, box_w=50.0, box_h=60.0, yaw=1.0, pitch=2.0,
        roll=3.0, qw=1.0, qx=0.0, qy=0.0, qz=0.0, tx=1.0, ty=2.0, tz=500.0, **lists,
    )  # fmt: skip


def _messages(_: Path) -> Sequence[bytes]:
    hello = HelloMessage(
        **_TIMES, stream="main", columns=schema_table(), conventions={"camera": "x"},
        camera_matrix=[[1.0, 0.0, 2.0], [0.0, 1.0, 2.0], [0.0, 0.0, 1.0]], bundle_hash="ab",
        source="0", width=640, height=480, rate=30.0, landmark_names=["a"], blendshape_names=["b"],
        clock_monotonic_ns=1, clock_unix_ns=2, echo="tcp://127.0.0.1:5571",
    )  # fmt: skip
    status = StatusMessage(
        **_TIMES, rate=30.0, latency_ms={"fit": 1.0}, drops={"a": 1}, source_state="running"
    )
    frame = FrameMessage(**_TIMES, frame=0, t_media_ns=None, t_capture_ns=7, tracks=[0, 1])
    pose = pose_message(row(), seq=0, t_publish_ns=5)
    return [
        b"pose.main.0.\n" + encode(pose), b"frame.main.\n" + encode(frame),
        b"status.main.\n" + encode(status), b"hello.main.\n" + encode(hello),
    ]  # fmt: skip


def _decode(data: bytes, _: Path) -> object:
    topic, _end, payload = data.partition(b"\n")
    return decode(topic, payload)


class _Socket:
    """Gives a few multipart messages, and takes what is sent."""

    def __init__(self, messages: list[list[bytes]]) -> None:
        self._messages = messages

    def recv_multipart(self, _: int = 0) -> list[bytes]:
        if not self._messages:
            raise zmq.Again
        return self._messages.pop(0)

    def recv(self) -> bytes:
        return self._messages.pop(0)[0]

    def send(self, _: bytes) -> None: ...

    def send_multipart(self, _: object) -> None: ...

    def poll(self, _: int) -> int:
        return 1


def _stream(folder: Path) -> Sequence[bytes]:
    every = _messages(folder)
    return [*every, _CUT.join(every), every[3].replace(b"\n", b"", 1)]


_subscriptions: list[Any] = []


def _subscribe(data: bytes, _: Path) -> object:
    if not _subscriptions:
        clock: Callable[[], int] = lambda: 0  # noqa: E731
        made = Subscription(
            "inproc://none", stream=None, kinds=("pose",), every=True, curve=None, clock=clock
        )
        made.close()
        _subscriptions.append(made)
    subscription = _subscriptions[0]
    subscription.hello = None
    # What other topics begin with, libzmq does not let through.
    kinds = (b"pose.", b"frame.", b"status.", b"hello.")
    messages = [part.split(b"\n", 1) for part in data.split(_CUT) if part.startswith(kinds)]
    subscription.socket = _Socket(messages)
    received = subscription.take()
    return [(one.kind, one.stream) for one in received]


def _echo(data: bytes, _: Path) -> bytes:
    def center(stream: str | None) -> str:
        return check_stream_name(stream or "main")

    return answer(data, {"center": center}, lambda: 0)


def _reply(data: bytes, _: Path) -> EchoReply:
    client = object.__new__(EchoClient)
    client.endpoint, client.timeout_s = "inproc://none", 1.0
    client.__dict__["_socket"] = _Socket([[data]])
    return client.ask()


def _question(data: bytes, folder: Path) -> None:
    place = folder / "allowed"
    place.write_text(f"{_KEYS[0]} one\n")
    keeper = object.__new__(curve.Doorkeeper)
    keeper.__dict__.update(_allowed=curve.AllowList(place), socket=_Socket([data.split(_CUT)]))
    keeper.answer()


def _key_file(data: bytes, folder: Path) -> object:
    path = folder / "a.key"
    path.write_bytes(data)
    path.chmod(0o600)
    return curve.CurveClient(path, path).server_key


def _allow_list(data: bytes, folder: Path) -> object:
    path = folder / "allowed"
    path.write_bytes(data)
    return curve.AllowList(path).admits(b"k" * 32)


def _address(text: str) -> object:
    check_endpoint(text, public=True)
    return next_endpoint(text)


def _view(text: str) -> object:
    own = ViewAddress("127.0.0.1", 80).admits(text), ViewAddress("0.0.0.0", 80).admits(text)
    return own, ViewAddress.parse(text, insecure=True).url(1)


def _source(text: str) -> object:
    return is_network(text), is_endless(text), without_secrets(text)


def _command(text: str) -> object:
    from mien.tools.commands import parse

    try:
        words = shlex.split(text)
    except ValueError:
        words = text.split()
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        return parse(words)


PARSERS: Final = (
    Parser("wire-message", "message", _messages, _decode),
    Parser("wire-subscriber", "message", _stream, _subscribe, raises=()),
    Parser(
        "wire-echo-request",
        "msgpack",
        lambda _: [encode(EchoRequest("center", "main")), encode(EchoRequest("center")), b"?"],
        _echo,
        raises=(),
    ),
    Parser(
        "wire-echo-reply",
        "msgpack",
        lambda _: [encode(EchoReply(5, "done")), msgspec.msgpack.encode({"t_ns": 5, "error": "x"})],
        _reply,
    ),
    Parser(
        "wire-zap",
        "bytes",
        fixed(_CUT.join([b"1.0", b"1", b"mien", b"127.0.0.1", b"", b"CURVE", b"k" * 32])),
        _question,
        raises=(),
    ),
    Parser("curve-key", "text", fixed(PAIR), _key_file),
    Parser("curve-allow-list", "text", fixed(f"# list\n{_KEYS[0]} one\n{_KEYS[1]}\n"), _allow_list),
    Parser(
        "address-endpoint", "text", fixed("tcp://127.0.0.1:5570", "ipc:///tmp/a"), as_text(_address)
    ),
    Parser("address-view", "text", fixed("127.0.0.1:8080", ":80", "[::1]:8080"), as_text(_view)),
    Parser(
        "address-source",
        "text",
        fixed("rtsp://user:pass@cam/1?token=a&b=c", "http://a/b.m3u8?key=1"),
        as_text(_source),
        raises=(),
    ),
    Parser(
        "command-line",
        "text",
        fixed(
            "annotate a.mp4 --out b --workers 2",
            "track 0 --publish tcp://127.0.0.1:5570",
            "keyframes a.parquet --out k --count 3",
            "evaluate a --yaw-max 60 --use-boxes",
        ),
        as_text(_command),
        raises=(MienError, SystemExit),
        share=0.002,
    ),
)
