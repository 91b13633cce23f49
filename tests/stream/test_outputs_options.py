"""How the outputs are asked for, and opened."""

from __future__ import annotations

import socket
import struct
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import tyro
from tyro.conf import Positional

from mien.models.errors import InputError, OutputError
from mien.stream.frame import Frame
from mien.stream.neutral import Neutral
from mien.stream.observation import FaceObservation
from mien.stream.sinks import Recording
from mien.tools.live.outputs import (
    AddressOption,
    OutputOptions,
    RerunOption,
    open_outputs,
    parse_address,
)

Maker = Callable[..., FaceObservation]
GREY = np.zeros((4, 4, 3), np.uint8)


@dataclass(frozen=True)
class Command:
    """A command that takes sources and two outputs.

    Attributes:
        source: what to read.
        opentrack: where to.
        rerun: where to.
    """

    source: Positional[tuple[str, ...]] = ()
    opentrack: AddressOption = None
    rerun: RerunOption = None


@pytest.mark.parametrize(
    ("words", "command"),
    [
        (["0"], Command(("0",))),
        (["0", "--opentrack"], Command(("0",), ())),
        (["0", "1", "--opentrack", "box:4242"], Command(("0", "1"), "box:4242")),
        (["0", "--opentrack", "--rerun", "a.rrd"], Command(("0",), (), "a.rrd")),
        (["--opentrack", "--", "0"], Command(("0",), ())),
    ],
)
def test_an_output_is_asked_for_with_or_without_an_address(
    words: list[str], command: Command
) -> None:
    assert tyro.cli(Command, args=words) == command


def test_sources_after_an_output_are_refused_in_words(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        tyro.cli(Command, args=["--opentrack", "box:4242", "0"])
    assert "sources go before it" in " ".join(capsys.readouterr().err.replace("│", "").split())


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ((), ("127.0.0.1", 4242)),
        ("10.0.0.7:5000", ("10.0.0.7", 5000)),
        (":5000", ("127.0.0.1", 5000)),
        ("game-box.local:4242", ("game-box.local", 4242)),
        ("[::1]:4242", ("::1", 4242)),
        ("[fe80::1%eth0]:4242", ("fe80::1%eth0", 4242)),
    ],
)
def test_addresses(text: str | tuple[()], address: tuple[str, int]) -> None:
    assert parse_address(text, ("127.0.0.1", 4242), "--opentrack") == address


@pytest.mark.parametrize(
    "text", ["0", "box", "box:", "box:0", "box:65536", "box:99999999", "::1:4242", "http://box:80",
             "box:80/x", "", "box :4242"]
)  # fmt: skip
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(InputError, match=r"expected HOST:PORT, such as 127.0.0.1:4242"):
        parse_address(text, ("127.0.0.1", 4242), "--opentrack")


def test_all_outputs_of_a_head_share_the_neutral_pose(
    tmp_path: Path, recording: Recording, make_face_row: Maker
) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.bind(("127.0.0.1", 0))
        receiver.settimeout(10.0)
        address = f"127.0.0.1:{receiver.getsockname()[1]}"
        options = OutputOptions(
            opentrack=address, vmc=address, ifacialmocap=address, livelink=tmp_path / "a.csv",
            mirror=True, invert="pitch, y",
        )  # fmt: skip
        assert options.wanted
        neutral = options.neutral()
        sinks = open_outputs(options, recording, neutral, "main")
        assert [type(sink).__name__ for sink in sinks] == [
            "OpenTrackSink", "VmcSink", "IFacialMocapSink", "LiveLinkSink",
        ]  # fmt: skip
        neutral.center()
        for sink in sinks:
            sink.write(Frame(GREY, 0, t_capture_ns=0), [make_face_row(tx=40.0)])
        datagrams = [receiver.recv(65535) for _ in range(3)]
        for sink in sinks:
            sink.close()
    assert struct.unpack("<6d", datagrams[0]) == (0.0,) * 6
    assert datagrams[1].startswith(b"#bundle\0")
    assert b"=head#" in datagrams[2]
    assert (tmp_path / "a.csv").exists()
    assert not OutputOptions(mirror=True, invert="yaw").wanted
    assert open_outputs(OutputOptions(), recording, Neutral(), "main") == []


def test_where_one_cannot_be_opened_the_others_are_given_up(
    tmp_path: Path, recording: Recording
) -> None:
    options = OutputOptions(
        livelink=tmp_path / "a.csv", rerun=str(tmp_path / "no-folder" / "a.rrd")
    )
    with pytest.raises(OutputError, match="no folder"):
        open_outputs(options, recording, Neutral(), "main")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (OutputOptions(opentrack="0"), "--opentrack 0: expected HOST:PORT"),
        (OutputOptions(vmc="box"), "--vmc box: expected HOST:PORT, such as 127.0.0.1:39540"),
        (OutputOptions(ifacialmocap="no-such-host.invalid:9"), "unknown host"),
        (OutputOptions(livelink=Path("a.txt")), "--livelink a.txt: expected a name that ends .csv"),
        (OutputOptions(rerun="a.txt"), "--rerun a.txt: expected a file that ends .rrd"),
    ],
)
def test_what_cannot_be_opened_is_one_line(
    options: OutputOptions, message: str, recording: Recording
) -> None:
    with pytest.raises((InputError, OutputError), match=message) as caught:
        open_outputs(options, recording, Neutral(), "main")
    assert "\n" not in str(caught.value)


def test_an_axis_that_there_is_not_is_one_line() -> None:
    with pytest.raises(InputError, match="--invert: tilt given, expected some of x, y, z, yaw"):
        OutputOptions(invert="yaw,tilt").neutral()


def test_packages_come_when_named_and_say_how_to_get_them_where_they_are_missing() -> None:
    program = """
import sys
missing = {"pylsl": None, "rerun": None, "pythonosc": None}
sys.modules.update(missing)  # as though they were not installed
from mien.models.errors import InputError
from mien.stream.neutral import Neutral
from mien.stream.sinks import Recording
from mien.tools.live.outputs import OutputOptions, open_outputs
recording = Recording(source="a", rate=None, width=4, height=4)
sent = OutputOptions(opentrack=(), vmc=(), ifacialmocap=())
for sink in open_outputs(sent, recording, Neutral(), "main"):
    sink.close()
for options in (OutputOptions(lsl=True), OutputOptions(rerun="a.rrd")):
    try:
        open_outputs(options, recording, Neutral(), "main")
    except InputError as error:
        print(error)
"""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines() == [
        "--lsl needs pylsl: pip install '.[lsl]' in mien's checkout",
        "--rerun needs rerun-sdk: pip install '.[rerun]' in mien's checkout",
    ]
