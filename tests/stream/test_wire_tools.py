"""``mien keys``, ``mien center`` and ``mien listen`` against a publisher."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from mien.models.errors import InputError, SourceError
from mien.stream.curve import public_key
from mien.stream.frame import Frame
from mien.stream.sinks import Recording
from mien.stream.sinks.zeromq import ZeroMQPublisher
from mien.tools.live.center import Center
from mien.tools.live.keys import Keys, client_keys, server_keys
from mien.tools.live.listen import Listen

BLANK = np.zeros((2, 2, 3), dtype=np.uint8)


def test_keys_makes_shows_and_allows(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, allowed = tmp_path / "client.key", tmp_path / "allowed"
    assert Keys(file).run() == 0
    made = capsys.readouterr()
    key = public_key(file)
    assert made.out == f"{key}\n"
    assert "client.pub" in made.err
    assert Keys(file).run() == 0  # again: the same key, nothing made
    assert capsys.readouterr() == (f"{key}\n", "")
    assert Keys(tmp_path / "client.pub", allow=allowed, name="Ada").run() == 0
    assert "Ada: let in by" in capsys.readouterr().err
    assert Keys(file, allow=allowed).run() == 0
    assert "client: was in" in capsys.readouterr().err
    assert allowed.read_text() == f"{key} Ada\n"
    with pytest.raises(InputError, match="--allow"):
        Keys(file, name="Ada").run()
    with pytest.raises(InputError, match=r"other\.pub: not a key file"):
        Keys(tmp_path / "other.pub").run()


def test_keys_go_in_pairs(tmp_path: Path) -> None:
    assert client_keys(None, None) is None
    assert server_keys(None, None) is None
    for wrong in ((tmp_path, None), (None, "x")):
        with pytest.raises(InputError, match=r"--key .* --server-key"):
            client_keys(*wrong)
    for files in ((tmp_path, None), (None, tmp_path)):
        with pytest.raises(InputError, match=r"--curve .* --allow"):
            server_keys(*files)


def test_center_and_listen_under_curve(
    tmp_path: Path, recording: Recording, capsys: pytest.CaptureFixture[str]
) -> None:
    server, client, allowed = (tmp_path / name for name in ("s.key", "c.key", "allowed"))
    Keys(server).run()
    Keys(client, allow=allowed).run()
    asked: list[str | None] = []

    def center(stream: str | None) -> str:
        if stream == "nobody":
            raise InputError("no stream nobody")
        asked.append(stream)
        return f"{stream or 'all'} centred"

    with ZeroMQPublisher(
        "tcp://127.0.0.1:*", curve=server_keys(server, allowed), requests={"center": center}
    ) as publisher:
        streams = [publisher.add(name, recording) for name in ("a", "b")]
        capsys.readouterr()
        keys = {"key": client, "server_key": str(tmp_path / "s.pub")}
        assert Center(publisher.echo_endpoint, **keys).run() == 0
        assert Center(publisher.echo_endpoint, stream="b", **keys).run() == 0
        assert capsys.readouterr().out == "all centred\nb centred\n"
        assert asked == [None, "b"]
        with pytest.raises(SourceError, match="no stream nobody"):
            Center(publisher.echo_endpoint, stream="nobody", **keys).run()

        def end() -> None:
            """The one stream ends; once that was heard for a while, the other."""
            for stream in streams:
                time.sleep(0.5)
                stream.write(Frame(BLANK, 7), [])
                stream.close()

        ending = threading.Thread(target=end)
        ending.start()
        listen = Listen(publisher.endpoint, every=True, json=True, until_end=True, duration=30)
        assert Listen(**{**vars(listen), **keys}).run() == 0
        ending.join()
    heard = capsys.readouterr()
    messages = [json.loads(line) for line in heard.out.splitlines()]
    states = {m["topic"]: m["source_state"] for m in messages if "source_state" in m}
    assert states == {"status.a.": "ended", "status.b.": "ended"}
    assert "frame.b." in {m["topic"] for m in messages}
    assert "lost 0" in heard.err


def test_a_publisher_that_cannot_center_is_told(recording: Recording) -> None:
    with ZeroMQPublisher("tcp://127.0.0.1:*") as publisher:
        publisher.add("a", recording)
        with pytest.raises(SourceError, match="has no neutral pose"):
            Center(publisher.echo_endpoint).run()


def test_silence_is_wondered_about_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("mien.tools.live.listen._PATIENCE_S", 0.1)
    assert Listen("tcp://127.0.0.1:9", duration=0.7).run() == 0
    err = capsys.readouterr().err
    assert err.count("nothing heard from tcp://127.0.0.1:9") == 1
    assert "--server-key" in err
