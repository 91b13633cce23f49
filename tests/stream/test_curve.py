"""Keys, allow lists, and who is let in."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import zmq
import zmq.auth

from mien.models.errors import InputError, OutputError, SourceError
from mien.stream.curve import (
    AllowList,
    CurveClient,
    CurveServer,
    allow,
    make_keys,
    parse_allow_list,
    public_key,
)
from mien.stream.echo import EchoClient
from mien.stream.frame import Frame
from mien.stream.sinks import Recording
from mien.stream.sinks.zeromq import ZeroMQPublisher
from mien.stream.sinks.zeromq_endpoints import check_endpoint
from mien.stream.subscriber import PoseSubscriber

BLANK = np.zeros((2, 2, 3), dtype=np.uint8)
EVERYWHERE = "tcp://0.0.0.0:*"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """With the keys of a server, a listed client and a stranger, and the list."""
    for name in ("server", "client", "stranger"):
        make_keys(tmp_path / f"{name}.key")
    allow(tmp_path / "allowed", public_key(tmp_path / "client.pub"), "the client")
    return tmp_path


@pytest.fixture
def server(folder: Path) -> CurveServer:
    return CurveServer(folder / "server.key", folder / "allowed")


def here(endpoint: str) -> str:
    return endpoint.replace("0.0.0.0", "127.0.0.1")


def hears(subscriber: PoseSubscriber, limit_s: float) -> bool:
    return bool(subscriber.receive(limit_s))


def test_a_listed_client_hears_everything_and_others_nothing(
    folder: Path, server: CurveServer, recording: Recording
) -> None:
    with ZeroMQPublisher(EVERYWHERE, curve=server) as publisher:
        stream = publisher.add("a", recording)
        endpoint, echo = here(publisher.endpoint), here(publisher.echo_endpoint)
        keys = {
            name: CurveClient(folder / f"{name}.key", folder / "server.pub")
            for name in ("client", "stranger")
        }
        wrong = CurveClient(folder / "client.key", public_key(folder / "stranger.pub"))
        with (
            PoseSubscriber(endpoint, curve=keys["client"]) as listed,
            PoseSubscriber(endpoint, curve=keys["stranger"]) as stranger,
            PoseSubscriber(endpoint, curve=wrong) as deceived,
            PoseSubscriber(endpoint) as bare,
        ):
            assert hears(listed, 10.0)
            assert abs(listed.clock_offset().offset_ns) < 1e9
            frames = 0
            end = time.monotonic() + 10
            while frames < 50 and time.monotonic() < end:
                stream.write(Frame(BLANK, frames), [])
                frames += sum(x.kind == "frame" for x in listed.receive(0.02))
            assert frames >= 50
            # Meanwhile hellos and frames were sent; to these, none.
            assert not any(hears(other, 0.0) for other in (stranger, deceived, bare))
        for curve in (keys["stranger"], None):
            with (
                EchoClient(echo, curve=curve, timeout_s=0.3) as client,
                pytest.raises(SourceError, match="no clock echo"),
            ):
                client.ask()


def test_a_key_added_later_is_let_in_and_a_damaged_list_lets_nobody_in(
    folder: Path, server: CurveServer, recording: Recording
) -> None:
    curve = CurveClient(folder / "stranger.key", server.public_key)
    with ZeroMQPublisher("tcp://127.0.0.1:*", curve=server) as publisher:
        publisher.add("a", recording)
        with PoseSubscriber(publisher.endpoint, curve=curve) as early:
            assert not hears(early, 0.3)
        assert allow(folder / "allowed", curve.public_key)
        with PoseSubscriber(publisher.endpoint, curve=curve) as late:
            assert hears(late, 10.0)
            (folder / "allowed").write_text("not a key\n")
            with PoseSubscriber(publisher.endpoint, curve=curve) as refused:
                assert not hears(refused, 0.3)
            (folder / "allowed").unlink()
            with PoseSubscriber(publisher.endpoint, curve=curve) as refused:
                assert not hears(refused, 0.3)
            assert hears(late, 10.0)  # who is in stays in


def test_without_a_doorkeeper_nobody_is_let_in(folder: Path, server: CurveServer) -> None:
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    bound = context.socket(zmq.REP)
    server.secure(bound)
    port = bound.bind_to_random_port("tcp://127.0.0.1")
    client = CurveClient(folder / "client.key", server.public_key)
    with EchoClient(f"tcp://127.0.0.1:{port}", curve=client, timeout_s=0.3) as asker:
        with pytest.raises(SourceError):
            asker.ask()
        assert not bound.poll(0)
    context.destroy(linger=0)


def test_curve_opens_what_is_closed_without_it(server: CurveServer) -> None:
    with pytest.raises(InputError, match=r"--curve and --allow .* or say --insecure"):
        ZeroMQPublisher(EVERYWHERE)
    check_endpoint("tcp://eth0:5570", public=True)
    with ZeroMQPublisher(EVERYWHERE, curve=server) as publisher:
        assert publisher.endpoint.startswith("tcp://0.0.0.0:")


def test_key_files(tmp_path: Path) -> None:
    key = make_keys(tmp_path / "a.key")
    assert len(key) == 40
    assert public_key(key) == public_key(tmp_path / "a.key") == key
    assert public_key(str(tmp_path / "a.pub")) == key
    assert stat.S_IMODE((tmp_path / "a.key").stat().st_mode) == 0o600
    assert "secret" not in (tmp_path / "a.pub").read_text()
    assert zmq.auth.load_certificate(tmp_path / "a.key")[0] == key.encode()
    before = (tmp_path / "a.key").read_bytes()
    with pytest.raises(OutputError, match="exists; a key is never overwritten"):
        make_keys(tmp_path / "a.key")
    assert (tmp_path / "a.key").read_bytes() == before
    with pytest.raises(InputError, match="public half"):
        make_keys(tmp_path / "b.pub")
    with pytest.raises(OutputError, match="cannot be written"):
        make_keys(tmp_path / "no" / "b.key")
    (tmp_path / "c.pub").touch()
    with pytest.raises(OutputError, match="exists"):
        make_keys(tmp_path / "c.key")
    assert not (tmp_path / "c.key").exists()


def test_a_secret_key_that_others_may_read_is_refused(folder: Path) -> None:
    if os.name != "posix":
        pytest.skip("file modes are those of POSIX")
    (folder / "server.key").chmod(0o640)
    with pytest.raises(InputError, match=r"others may read .*\(mode 0640\); chmod 600") as caught:
        CurveServer(folder / "server.key", folder / "allowed")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (None, "No such file|no such file"),
        (b"", "no public key"),
        (b"\xff\xfe\x00", "no public key"),
        (b'curve\n    public-key = "short"\n', "not 40 characters"),
    ],
)
def test_damaged_key_files_are_one_line(
    folder: Path, content: bytes | None, complaint: str
) -> None:
    path = folder / "damaged.key"
    if content is not None:
        path.write_bytes(content)
        path.chmod(0o600)
    calls: tuple[Callable[[], object], ...] = (
        lambda: public_key(path),
        lambda: CurveServer(path, folder / "allowed"),
        lambda: CurveClient(path, folder / "server.pub"),
        lambda: CurveClient(folder / "client.key", path),
    )
    for call in calls:
        with pytest.raises(InputError, match=complaint) as caught:
            call()
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)


def test_the_public_half_is_no_secret(folder: Path) -> None:
    with pytest.raises(InputError, match="has no secret key"):
        CurveClient(folder / "client.pub", folder / "server.pub")


def test_allow_lists(tmp_path: Path) -> None:
    path = tmp_path / "list"
    keys = [make_keys(tmp_path / f"{i}.key") for i in range(3)]
    assert allow(path, keys[0], "Ada's laptop")
    assert not allow(path, keys[0], "again")
    for name in ("田中\u3000太郎", "نام\u200cمن", "a\u00a0b", ""):
        assert allow(tmp_path / "names", make_keys(tmp_path / f"{name}.key"), name)
    path.write_text(path.read_text() + f"# a remark\n\n#\n{keys[1]}")  # no line break at the end
    assert allow(path, keys[2])
    text = path.read_text()
    assert text.startswith(f"{keys[0]} Ada's laptop\n")
    assert parse_allow_list(text, path) == {key.encode() for key in keys}
    # Z85 has the sign of a remark: only a blank after it makes one.
    odd = "#" + keys[0][1:]
    assert parse_allow_list(f"{odd} name\n", path) == {odd.encode()}
    with pytest.raises(InputError, match=r"list, line 2: expected a public key"):
        parse_allow_list(f"{keys[0]}\nmallory\n", path)
    unlisted = "A" * 40  # a key for whoever reads the list, where a break before it ends a line
    for name in ("two\nlines", *(f"client{c}{unlisted}" for c in "\u2028\x85\v\f\x1c\x1e")):
        with pytest.raises(InputError, match="one line"):
            allow(path, keys[0], name)
    seen = parse_allow_list(f"{keys[0]} client\u2028{unlisted}\n", path)
    assert seen == {keys[0].encode()}
    with pytest.raises(InputError, match=r"nowhere: not an allow list: No such file"):
        AllowList(tmp_path / "nowhere")
    with pytest.raises(OutputError, match="cannot be written"):
        allow(tmp_path / "no" / "list", keys[0])
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(InputError, match="not an allow list: it is not text"):
        AllowList(path)
    with pytest.raises(InputError, match="not an allow list: it is not text"):
        allow(path, keys[0])
