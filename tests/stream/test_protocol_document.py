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

from mien.stream.frame import Frame
from mien.stream.messages import CONVENTIONS, DEFAULT_ENDPOINT, MESSAGES, EchoReply, PoseMessage
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


def follow(command: list[str], environment: dict[str, str], row: Maker, about: Recording) -> None:
    """Publish to a reader, and see that it read every message and every value."""
    with (
        ZeroMQPublisher(about, "tcp://127.0.0.1:*", stream="doc") as publisher,
        Reader([*command, publisher.endpoint], environment) as reader,
    ):
        hello = reader.next(30.0)
        assert hello is not None
        assert hello["topic"] == "hello.doc."  # the welcome, or the first hello
        assert hello["blendshape_names"][-1] == "tongueOut"
        assert hello["camera_matrix"][0] == [554, 0, 319.5]
        for _ in range(200):  # until all subscriptions are there
            publisher.write(Frame(BLANK, -1), [])
            line = reader.next(0.05)
            if line is not None and line["topic"] == "frame.doc.":
                break
        rows = [row(i, frame=i, track=3, pose_variance=None) for i in range(20)]
        for i, face in enumerate(rows):
            publisher.write(Frame(BLANK, i, t_capture_ns=2**60 + i), [face])
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


def test_the_python_reader_reads_everything(
    tmp_path: Path, make_random_row: Maker, recording: Recording
) -> None:
    (tmp_path / "reader.py").write_text(code("python"))
    follow([sys.executable, str(tmp_path / "reader.py")], {}, make_random_row, recording)


def test_the_node_reader_reads_everything(
    tmp_path: Path,
    make_random_row: Maker,
    recording: Recording,
    pytestconfig: pytest.Config,
) -> None:
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        pytest.skip("needs Node.js and npm, to run the reader of PROTOCOL.md")
    modules = install_packages(npm, pytestconfig)
    (tmp_path / "reader.js").write_text(code("javascript"))
    environment = {"NODE_PATH": str(modules)}
    follow([node, str(tmp_path / "reader.js")], environment, make_random_row, recording)


def install_packages(npm: str, config: pytest.Config) -> Path:
    """The two packages that PROTOCOL.md names, in pytest's cache folder."""
    cache = getattr(config, "cache", None)
    assert cache is not None
    folder: Path = cache.mkdir("node-6-3")
    modules = folder / "node_modules"
    if not (modules / "zeromq" / "package.json").exists():
        command = [npm, "install", "--prefix", str(folder), "--no-audit", "--no-fund"]
        packages = ["zeromq@6", "@msgpack/msgpack@3"]
        done = subprocess.run(
            [*command, *packages], capture_output=True, text=True, timeout=120, check=False
        )
        assert done.returncode == 0, f"npm install failed: {done.stderr[-2000:]}"
    return modules
