"""PROTOCOL.md against the code: its tables, its words, and the readers in it."""

from __future__ import annotations

import importlib.resources
import json
import os
import queue
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mien.stream import axes
from mien.stream.curve import CurveServer, allow, make_keys, public_key
from mien.stream.frame import Frame
from mien.stream.messages import (
    CONVENTIONS,
    DEFAULT_ENDPOINT,
    MESSAGES,
    EchoReply,
    EchoRequest,
    PoseMessage,
)
from mien.stream.observation import FaceObservation
from mien.stream.schema import COLUMNS, SCHEMA_VERSION, columns_of, markdown_table
from mien.stream.sinks import Recording
from mien.stream.sinks.zeromq import ZeroMQPublisher

Maker = Callable[..., FaceObservation]
DOCUMENT = importlib.resources.files("mien.stream").joinpath("PROTOCOL.md").read_text("utf-8")
BLANK = np.zeros((2, 2, 3), dtype=np.uint8)


def code(language: str) -> str:
    (block,) = re.findall(rf"^```{language}\n(.*?)^```$", DOCUMENT, re.MULTILINE | re.DOTALL)
    return block


def test_the_tables_are_those_of_the_code() -> None:
    extra = [c for c in columns_of(PoseMessage) if c not in COLUMNS]
    tables = [
        markdown_table(COLUMNS),
        markdown_table(extra),
        markdown_table(columns_of(EchoReply)),
        markdown_table(columns_of(EchoRequest)),
        *(markdown_table(columns_of(m)) for kind, m in MESSAGES.items() if kind != "pose"),
    ]
    for table in tables:
        assert table in DOCUMENT, f"PROTOCOL.md lacks this table:\n{table}"
    assert len(re.findall(r"^\| field \|", DOCUMENT, re.MULTILINE)) == len(tables)


def test_the_words_are_those_of_the_code() -> None:
    assert f"version {SCHEMA_VERSION}\n" in DOCUMENT.splitlines(keepends=True)[0]
    assert DEFAULT_ENDPOINT in DOCUMENT
    for name, words in CONVENTIONS.items():
        assert f"- **{name}**: {words}." in DOCUMENT
    for kind in MESSAGES:
        assert re.search(rf"^## {kind}\.\\<stream\\>\.", DOCUMENT, re.MULTILINE)


def test_the_picture_is_drawn_by_the_code() -> None:
    assert "](axes.svg)" in DOCUMENT
    assert axes.PICTURE.read_text("utf-8") == axes.draw(), "run python -m mien.stream.axes"


@pytest.mark.parametrize(
    ("angle", "axis", "sign"),
    [("yaw", 0, -1), ("pitch", 1, -1)],  # to the picture's left, up
)
def test_the_picture_turns_the_nose_as_the_words_say(angle: str, axis: int, sign: int) -> None:
    nose = np.array([[0.0, 0.0, -1.0]])  # points out of the face, against z
    angles = {"yaw": 0.0, "pitch": 0.0, "roll": 0.0, angle: 30.0}
    assert axes.camera_points(nose, **angles)[0, axis] * sign == pytest.approx(0.5)


def test_the_picture_rolls_clockwise() -> None:
    ear = np.array([[1.0, 0.0, 0.0]])  # towards the picture's right
    assert axes.camera_points(ear, 0.0, 0.0, 30.0)[0, 1] == pytest.approx(0.5)  # down


class Reader:
    """A reader program, running; its lines come through a queue."""

    def __init__(self, command: list[str], environment: dict[str, str]) -> None:
        self.process = subprocess.Popen(
            command,
            env={**os.environ, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.lines: queue.Queue[dict[str, Any] | None] = queue.Queue()
        self.thread = threading.Thread(target=self._read)
        self.thread.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.put(json.loads(line))
        self.lines.put(None)

    def next(self, timeout_s: float) -> dict[str, Any] | None:
        try:
            line = self.lines.get(timeout=timeout_s)
        except queue.Empty:
            return None
        if line is None:
            assert self.process.stderr is not None
            raise AssertionError(f"the reader ended: {self.process.stderr.read()}")
        return line

    def __enter__(self) -> Reader:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        self.process.wait()
        self.thread.join()
        for pipe in (self.process.stdout, self.process.stderr):
            assert pipe is not None
            pipe.close()


def same(seen: Any, sent: object) -> bool:
    """Whether a reader's JSON says the value; JavaScript writes large integers as text."""
    if seen is None or isinstance(sent, bool):
        return seen == sent
    if isinstance(sent, int):
        return int(seen) == sent
    if isinstance(sent, np.ndarray):
        return [float(value) for value in seen] == sent.tolist()
    return float(seen) == sent


def follow(
    command: list[str],
    environment: dict[str, str],
    row: Maker,
    about: Recording,
    curve: tuple[CurveServer, list[str]] | None = None,
) -> None:
    """Publish to a reader, and see that it read every message and every value."""
    server, keys = (None, []) if curve is None else curve
    with (
        ZeroMQPublisher("tcp://127.0.0.1:*", curve=server) as publisher,
        publisher.add("doc", about) as stream,
        Reader([*command, publisher.endpoint, *keys], environment) as reader,
    ):
        hello = reader.next(30.0)
        assert hello is not None
        assert hello["topic"] == "hello.doc."  # the welcome, or the first hello
        assert hello["blendshape_names"][-1] == "tongueOut"
        assert hello["camera_matrix"][0] == [554, 0, 319.5]
        for _ in range(200):  # until all subscriptions are there
            stream.write(Frame(BLANK, -1), [])
            line = reader.next(0.05)
            if line is not None and line["topic"] == "frame.doc.":
                break
        rows = [row(i, frame=i, track=3, pose_variance=None) for i in range(20)]
        for i, face in enumerate(rows):
            stream.write(Frame(BLANK, i, t_capture_ns=2**60 + i), [face])
            time.sleep(0.002)
        poses, frames, states = [], [], []
        end = time.monotonic() + 10
        while (len(frames) < 20 or not states) and time.monotonic() < end:
            line = reader.next(0.5)
            if line is None:
                continue
            assert line["lost"] == 0
            kind = line["topic"].split(".")[0]
            if kind == "pose":
                poses.append(line)
            elif kind == "frame" and int(line["frame"]) >= 0:
                frames.append(line)
            elif kind == "status":
                states.append(line["source_state"])
    assert set(states) <= {"running", "stalled"}
    assert [int(p["seq"]) for p in poses] == list(range(20))
    for pose, sent in zip(poses, rows, strict=True):
        assert pose["topic"] == "pose.doc.3."
        different = [c.name for c in COLUMNS if not same(pose[c.name], getattr(sent, c.name))]
        assert different == []
    assert [int(f["t_capture_ns"]) for f in frames] == [2**60 + i for i in range(20)]
    assert all([int(t) for t in f["tracks"]] == [3] for f in frames)


@pytest.fixture(params=["plain", "CURVE"])
def guard(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[CurveServer, list[str]] | None:
    """None, or a publisher's keys with the three that a reader is given."""
    if request.param == "plain":
        return None
    server, client = tmp_path / "server.key", tmp_path / "client.key"
    key = make_keys(server)
    allow(tmp_path / "allowed", make_keys(client), "reader")
    (secret,) = re.findall('secret-key = "(.*)"', client.read_text())
    return CurveServer(server, tmp_path / "allowed"), [key, public_key(client), secret]


Guard = tuple[CurveServer, list[str]] | None


def test_the_python_reader_reads_everything(
    tmp_path: Path, make_random_row: Maker, recording: Recording, guard: Guard
) -> None:
    (tmp_path / "reader.py").write_text(code("python"))
    command = [sys.executable, str(tmp_path / "reader.py")]
    follow(command, {}, make_random_row, recording, guard)


def test_the_node_reader_reads_everything(
    tmp_path: Path,
    make_random_row: Maker,
    recording: Recording,
    guard: Guard,
    pytestconfig: pytest.Config,
) -> None:
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        pytest.skip("needs Node.js and npm, to run the reader of PROTOCOL.md")
    modules = install_packages(npm, pytestconfig)
    (tmp_path / "reader.js").write_text(code("javascript"))
    environment = {"NODE_PATH": str(modules)}
    command = [node, str(tmp_path / "reader.js")]
    follow(command, environment, make_random_row, recording, guard)


def test_the_c_reader_reads_everything(
    tmp_path: Path, make_random_row: Maker, recording: Recording, guard: Guard
) -> None:
    (tmp_path / "reader.c").write_text(code("c"))
    follow([compile_c(tmp_path)], {}, make_random_row, recording, guard)


def compile_c(folder: Path) -> str:
    """The program of ``reader.c``, made without a warning."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("needs a C compiler, to run the reader of PROTOCOL.md")
    command = [compiler, "-Wall", "-Wextra", "-Werror", "-o", "reader", "reader.c", "-lzmq"]
    complaints = ""
    for library in ("-lmsgpackc", "-lmsgpack-c"):  # msgpack-c was renamed
        done = subprocess.run(
            [*command, library], cwd=folder, capture_output=True, text=True, check=False
        )
        if done.returncode == 0:
            return str(folder / "reader")
        complaints += done.stderr
    if re.search(r"(zmq|msgpack)\.h: No such file|cannot find -l", complaints):
        pytest.skip("needs libzmq3-dev and libmsgpack-dev (or libmsgpack-c-dev), for PROTOCOL.md")
    raise AssertionError(complaints)


def install_packages(npm: str, config: pytest.Config) -> Path:
    """The packages that PROTOCOL.md names, in pytest's cache folder; skips without a network."""
    cache = getattr(config, "cache", None)
    assert cache is not None
    folder: Path = cache.mkdir("node-6-3")
    modules = folder / "node_modules"
    if not (modules / "zeromq" / "package.json").exists():
        command = [npm, "install", "--prefix", str(folder), "--no-audit", "--no-fund"]
        packages = ["zeromq@6", "@msgpack/msgpack@3"]
        try:
            subprocess.run(
                [*command, *packages], capture_output=True, text=True, timeout=120, check=True
            )
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
            told = f"npm install failed: {str(error.stderr or error)[-300:]}"
            assert "CI" not in os.environ, told  # which must run the reader
            pytest.skip(told)
    return modules
