"""The web view: who may ask, and what is sent."""

from __future__ import annotations

import json
import socket
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import replace
from importlib import resources
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("websockets", reason="serves the web view (extra: view)")

from websockets.exceptions import InvalidStatus
from websockets.sync.client import ClientConnection, connect

from mien.models.errors import InputError, OutputError
from mien.models.face.morphable import FaceModel
from mien.models.face.names import BLENDSHAPE_NAMES
from mien.stream.frame import Frame
from mien.stream.health import Health
from mien.stream.observation import FaceObservation
from mien.stream.sinks import Recording, Sink
from mien.stream.view import WebStream, WebView
from mien.stream.view.encoding import FACE, FRAME, HEADER, MODEL

Maker = Callable[..., FaceObservation]
BLANK = np.zeros((2, 2, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def face_model() -> FaceModel:
    folder = Path(str(resources.files("mien.models.weights.default")))
    return FaceModel.load(folder / "face_model.npz")


@pytest.fixture
def view() -> Iterator[WebView]:
    with WebView(":0") as view:
        yield view


@pytest.fixture
def stream(view: WebView, recording: Recording, face_model: FaceModel) -> WebStream:
    return view.add("main", recording, face_model)


def visit(view: WebView, **options: Any) -> ClientConnection:
    address = f"ws{view.url.removeprefix('http')}socket"
    return connect(address, max_size=None, proxy=None, **options)


def messages(client: ClientConnection, limit_s: float = 10.0) -> Iterator[Any]:
    """What comes, decoded, each answered as the page does."""
    end = time.monotonic() + limit_s
    while True:
        data = client.recv(timeout=max(0.01, end - time.monotonic()))
        client.send("ready")
        if isinstance(data, str):
            yield SimpleNamespace(**json.loads(data))
        elif np.frombuffer(data, "<u4", 1)[0] == MODEL:
            yield SimpleNamespace(type="model", data=data)
        else:
            header = np.frombuffer(data, HEADER, 1)[0]
            assert header["kind"] == FRAME
            faces = np.frombuffer(data, FACE, offset=HEADER.itemsize)
            assert len(faces) == header["faces"]
            yield SimpleNamespace(type="frame", header=header, faces=faces)


def await_message(client: ClientConnection, wanted: Callable[[Any], bool]) -> Any:
    return next(message for message in messages(client) if wanted(message))


def get(url: str, **headers: str) -> tuple[int, dict[str, str], str]:
    request = urllib.request.Request(url, headers=headers)
    try:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request) as answer:
            return answer.status, dict(answer.headers), answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, dict(error.headers), error.read().decode()


@pytest.mark.parametrize(
    ("address", "why"),
    [
        ("8080", "expected an address"),
        (":70000", "expected an address"),
        ("a:b:1", "expected an address"),
        ("0.0.0.0:0", "--insecure"),
        ("192.0.2.1:8080", "--insecure"),
        ("[::]:8080", "--insecure"),
        ("example.org:8080", "--insecure"),
    ],
)
def test_addresses_that_are_malformed_or_that_others_reach_are_refused(
    address: str, why: str
) -> None:
    with pytest.raises(InputError, match=why):
        WebView(address)


def test_who_says_insecure_may_serve_to_others_by_number_but_to_no_foreign_name(
    recording: Recording,
) -> None:
    with WebView("0.0.0.0:0", insecure=True) as view:
        port = int(view.url.rstrip("/").rpartition(":")[2])
        url = f"http://127.0.0.1:{port}/"
        assert get(url, Host=f"192.0.2.7:{port}")[0] == 200
        assert get(url, Host=f"rebound.example:{port}")[0] == 421


def test_a_taken_port_is_one_line(view: WebView) -> None:
    port = view.url.rstrip("/").rpartition(":")[2]
    with pytest.raises(OutputError, match=f"^127.0.0.1:{port}: the port is in use[^\n]*--view$"):
        WebView(f":{port}")


def test_the_package_that_serves_is_asked_for_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "websockets.asyncio.server", None)
    with pytest.raises(InputError, match=r"^--view needs websockets: pip install '\.\[view\]' in"):
        WebView(":0")


def test_the_page_and_all_that_it_names_are_served_with_their_types(view: WebView) -> None:
    kinds = {
        "": "text/html; charset=utf-8",
        "style.css": "text/css; charset=utf-8",
        "app.js": "text/javascript; charset=utf-8",
        "face.js": "text/javascript; charset=utf-8",
        "mesh.js": "text/javascript; charset=utf-8",
        "plots.js": "text/javascript; charset=utf-8",
        "icon.svg": "image/svg+xml",
    }
    for name, kind in kinds.items():
        status, headers, text = get(view.url + name)
        assert (status, headers["Content-Type"]) == (200, kind)
        assert "default-src 'none'" in headers["Content-Security-Policy"]
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert "://" not in text.replace("http://www.w3.org/2000/svg", "").replace('"}://$', "")
    for name in ("../server.py", "%2e%2e/server.py", "page/app.js", "server.py", "favicon.ico"):
        assert get(view.url + name)[0] == 404


@pytest.mark.parametrize(
    "host", ["example.org", "localhost.example.org:80", "192.0.2.1", "127.0.0.1@a", "", "[::1"]
)
def test_requests_for_other_hosts_are_refused(view: WebView, host: str) -> None:
    assert get(view.url, Host=host)[0] == 421
    with pytest.raises(InvalidStatus) as refused, visit(view, additional_headers={"Host": host}):
        pass
    assert refused.value.response.status_code in (400, 421)


def test_pages_of_other_sites_may_not_listen(view: WebView) -> None:
    port = view.url.rstrip("/").rpartition(":")[2]
    for origin in ("https://example.org", f"http://127.0.0.1.example:{port}", "null", "file://"):
        with pytest.raises(InvalidStatus) as refused, visit(view, origin=origin):
            pass
        assert refused.value.response.status_code == 403
    with visit(view, origin=view.url.rstrip("/")) as own:
        assert next(messages(own)).type == "hello"


def test_who_comes_is_told_of_streams_status_and_model(
    view: WebView, stream: WebStream, recording: Recording, face_model: FaceModel
) -> None:
    view.add("side", replace(recording, source="b.mp4"), face_model)
    with visit(view) as client:
        incoming = messages(client)
        hello, first, second, model = (next(incoming) for _ in range(4))
    assert [s["name"] for s in hello.streams] == ["main", "side"]
    assert [s["source"] for s in hello.streams] == [recording.source, "b.mp4"]
    assert [s["model"] for s in hello.streams] == [0, 0]  # one model, sent once
    assert hello.streams[0]["camera_matrix"] == [list(row) for row in recording.camera_matrix or ()]
    assert hello.blendshapes == list(BLENDSHAPE_NAMES)
    assert (first.type, first.state, second.state) == ("status", "stalled", "stalled")
    head = np.frombuffer(model.data, "<u4", 8)
    n, m = len(face_model.mean), len(face_model.triangles)
    assert head.tolist() == [MODEL, 0, n, m, 68, 40, 10, 52]
    mean = np.frombuffer(model.data, "<f4", 3 * n, 40)
    scale = np.frombuffer(model.data, "<f4", 102, 40 + 12 * n)
    triangles = np.frombuffer(model.data, "<u4", 3 * m, 448 + 12 * n)
    bases = np.frombuffer(model.data, "<i2", offset=448 + 12 * n + 12 * m + 4 * 68)
    np.testing.assert_array_equal(triangles.reshape(-1, 3), face_model.triangles)
    rng = np.random.default_rng(1)
    shape = rng.normal(size=40).astype(np.float32)
    blendshapes = rng.uniform(size=52).astype(np.float32)
    values = np.concatenate([shape, np.zeros(10), blendshapes])
    vertices = mean + (values * scale) @ bases.reshape(102, -1)
    wanted = face_model.decode_seen(shape, np.zeros(10, np.float32), blendshapes)
    np.testing.assert_allclose(vertices.reshape(-1, 3), wanted, atol=0.02)  # mm


def test_a_model_without_blendshapes_is_sent_as_it_is(
    view: WebView, recording: Recording, face_model: FaceModel
) -> None:
    bare = replace(face_model, blendshape_basis=face_model.blendshape_basis[:0])
    view.add("main", recording, bare)
    with visit(view) as client:
        model = await_message(client, lambda m: m.type == "model")
    n, m = len(bare.mean), len(bare.triangles)
    assert np.frombuffer(model.data, "<u4", 8)[5:].tolist() == [40, 10, 0]
    assert len(model.data) == 40 + 12 * n + 4 * 50 + 12 * m + 4 * 68 + 2 * 50 * 3 * n


def test_the_numbers_of_a_frame_are_those_of_its_rows(
    view: WebView, stream: WebStream, make_random_row: Maker
) -> None:
    assert isinstance(stream, Sink)
    rows = [make_random_row(1, track=3), make_random_row(2, track=-1, confidence=None)]
    rows.append(make_random_row(3, track=7, blendshapes=None))
    with visit(view) as client:
        await_message(client, lambda m: m.type == "model")
        captured_ns = time.perf_counter_ns() - 25_000_000
        stream.write(Frame(BLANK, 2**32 + 5, t_capture_ns=captured_ns), rows)
        frame = await_message(client, lambda m: m.type == "frame")
        stream.write(Frame(BLANK, 6, t_media_ns=1), [])
        empty = await_message(client, lambda m: m.type == "frame")
    assert (frame.header["stream"], frame.header["frame"]) == (0, 5)
    assert 25.0 <= frame.header["latency_ms"] < 10_000.0
    assert frame.header["t_s"] < empty.header["t_s"]
    assert np.isnan(empty.header["latency_ms"])
    assert len(empty.faces) == 0
    for face, row in zip(frame.faces, rows, strict=True):
        assert (face["track"], bool(face["observed"])) == (row.track, row.observed)
        for name, values in {
            "confidence": np.nan if row.confidence is None else row.confidence,
            "box": (row.box_x, row.box_y, row.box_w, row.box_h),
            "angles": (row.yaw, row.pitch, row.roll),
            "quat_wxyz": (row.qw, row.qx, row.qy, row.qz),
            "translation": (row.tx, row.ty, row.tz),
            "shape": row.shape,
            "expression": row.expression,
            "blendshapes": np.full(52, np.nan) if row.blendshapes is None else row.blendshapes,
        }.items():
            np.testing.assert_array_equal(face[name], np.asarray(values, np.float32))


def test_a_client_that_never_reads_slows_nobody_and_wakes_to_the_newest(
    view: WebView, stream: WebStream, make_face_row: Maker
) -> None:
    row = make_face_row()
    with visit(view) as sleeper, visit(view) as reader:
        await_message(reader, lambda m: m.type == "model")
        await_message(sleeper, lambda m: m.type == "model")
        for i in range(3000):  # 1.5 MB, were all of it sent
            stream.write(Frame(BLANK, i), [row])
        await_message(reader, lambda m: m.type == "frame" and m.header["frame"] == 2999)
        seen = []
        for message in messages(sleeper):
            if message.type == "frame":
                seen.append(int(message.header["frame"]))
                if seen[-1] == 2999:
                    break
    assert len(seen) <= 4  # what was on its way, then the newest
    # It has two unanswered messages and gets no more, whatever is written.
    with visit(view) as mute, visit(view) as reader:
        first = [mute.recv(timeout=10) for _ in range(2)]
        assert len(first) == 2
        await_message(reader, lambda m: m.type == "model")
        stream.write(Frame(BLANK, 5000), [row])
        await_message(reader, lambda m: m.type == "frame" and m.header["frame"] == 5000)
        with pytest.raises(TimeoutError):
            mute.recv(timeout=0.05)


def test_where_nobody_looks_nothing_is_asked_or_kept(
    view: WebView, recording: Recording, face_model: FaceModel, make_face_row: Maker
) -> None:
    asked = threading.Event()

    def probe() -> Health:
        asked.set()
        return Health({"total": 6.5}, {"total": 9.0}, {"stale": 2}, "reconnecting", "no answer")

    stream = view.add("main", recording, face_model, probe)
    stream.write(Frame(BLANK, 0), [make_face_row()])
    assert not asked.wait(1.3)  # longer than a beat
    with visit(view) as client:
        status = await_message(client, lambda m: m.type == "status")
        assert (status.state, status.detail) == ("reconnecting", "no answer")
        assert (status.latency_ms, status.drops) == ({"total": 6.5}, {"stale": 2})
        assert status.latency_99_ms == {"total": 9.0}
        await_message(client, lambda m: m.type == "model")
        stream.write(Frame(BLANK, 1), [])
        assert await_message(client, lambda m: m.type == "frame").header["frame"] == 1
        rate = 0.0
        for message in messages(client):
            stream.write(Frame(BLANK, 2), [])
            if message.type == "status" and message.rate > 0:
                rate = message.rate
                break
        assert 0.5 < rate < 1e5


def test_streams_come_and_end_while_somebody_looks(
    view: WebView, stream: WebStream, recording: Recording, face_model: FaceModel
) -> None:
    with visit(view) as client:
        await_message(client, lambda m: m.type == "model")
        side = view.add("side", recording, face_model)
        hello = await_message(client, lambda m: m.type == "hello")
        assert [s["name"] for s in hello.streams] == ["main", "side"]
        side.write(Frame(BLANK, 4), [])
        frame = await_message(client, lambda m: m.type == "frame")
        assert (frame.header["stream"], frame.header["frame"]) == (1, 4)
        side.abort()
        stream.close()
        stream.close()
        await_message(client, lambda m: m.type == "status" and (m.stream, m.state) == (1, "failed"))
        await_message(client, lambda m: m.type == "status" and (m.stream, m.state) == (0, "ended"))
        with pytest.raises(InputError, match="side: the web view has a stream of this name"):
            view.add("side", recording, face_model)
    with pytest.raises(OutputError, match="stream side is closed"):
        side.write(Frame(BLANK, 5), [])


def test_closing_frees_the_port_at_once_whoever_looks(
    recording: Recording, face_model: FaceModel
) -> None:
    with WebView(":0") as view:
        stream = view.add("main", recording, face_model)
        address = view.url.removeprefix("http://127.0.0.1").rstrip("/")
        with visit(view):  # it never reads
            view.close()
            with pytest.raises(OutputError, match="cannot be served: is closed"):
                stream.write(Frame(BLANK, 0), [])
            with WebView(address) as again:
                assert get(again.url)[0] == 200


def test_closing_waits_for_nobody_who_connected_and_said_nothing() -> None:
    with WebView(":0") as view:
        port = int(view.url.rstrip("/").rpartition(":")[2])
        with socket.create_connection(("127.0.0.1", port), 5) as early:
            assert get(view.url)[0] == 200  # so the one before was accepted
            begin_s = time.monotonic()
            view.close()
            assert time.monotonic() - begin_s < 4.0  # the handshake alone may take 5 s
            assert early.recv(1000) == b""


def test_garbage_harms_nothing_and_is_no_news(
    view: WebView,
    stream: WebStream,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    port = int(view.url.rstrip("/").rpartition(":")[2])
    rng = np.random.default_rng(5)
    junk = (
        b"",
        b"\r\n\r\n",
        b"\x16\x03\x01\x02\x00",
        b"POST / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.0\r\n\r\n",
    )
    for data in (*junk, b"GET /" + 20_000 * b"a", rng.bytes(100_000)):
        with socket.create_connection(("127.0.0.1", port), 5) as stranger:
            try:
                stranger.sendall(data)
            except (BrokenPipeError, ConnectionResetError):
                continue
    with visit(view) as loud:
        loud.send(b"x" * 5000)  # more than a client may say
    with visit(view) as client:
        for _ in range(50):
            client.send("{")
        await_message(client, lambda m: m.type == "model")
        stream.write(Frame(BLANK, 9), [])
        assert await_message(client, lambda m: m.type == "frame").header["frame"] == 9
    assert capfd.readouterr() == ("", "")
    assert caplog.records == []
