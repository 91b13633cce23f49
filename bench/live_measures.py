"""Shared by the live benches: processes, their use of the machine, and which frame is which.

Imports numpy only, so that programs of another environment can use it too.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).parent
_TICKS = os.sysconf("SC_CLK_TCK")
_SILENCE_S = 15.0
_GAP_NS = 150_000_000


def fold(i: int, count: int) -> int:
    """To and fro through a clip, without a jump at its ends."""
    i %= max(2 * count - 2, 1)
    return i if i < count else 2 * count - 2 - i


@dataclass(frozen=True)
class Grid:
    """When frames are due: frame n at ``epoch_ns + n period_ns``, on the monotonic clock."""

    epoch_ns: int
    rate: float

    def due_ns(self, n: np.ndarray | int) -> Any:
        """Of frames by number; rounded once, so that it does not drift."""
        return self.epoch_ns + np.round(np.asarray(n) * (1e9 / self.rate)).astype(np.int64)

    def number(self, t_ns: np.ndarray | int) -> Any:
        """The last frame that was due at a time."""
        since = np.asarray(t_ns, np.int64) - self.epoch_ns
        return np.floor((since + 1) * (self.rate / 1e9)).astype(np.int64)


def identify(
    grid: Grid,
    index: np.ndarray,
    t_capture_ns: np.ndarray,
    *,
    connections: bool = True,
    window: int = 31,
) -> np.ndarray:
    """(N,) which frame of the grid each message is about.

    Within a connection the tracker's index and the number on the grid go up together, so that
    their difference is constant. The tracker stamps a frame at its due time or later: the number
    due at the stamp is never too small, and the least difference among neighbours is the true one
    unless all of them are late by a whole period. With ``connections`` there may be several: after
    a gap neighbours are others'.
    """
    if not len(index):
        return index
    difference = grid.number(t_capture_ns) - index
    gap = (np.diff(t_capture_ns) > _GAP_NS) & connections
    part = np.concatenate([[0], np.cumsum(gap)])
    least = np.empty_like(difference)
    for one in np.unique(part):
        where = np.flatnonzero(part == one)
        values = difference[where]
        padded = np.pad(values, window // 2, mode="edge")
        least[where] = np.lib.stride_tricks.sliding_window_view(padded, window).min(axis=1)
    return index + least


@dataclass(frozen=True)
class Usage:
    """What a process has used and holds.

    Attributes:
        cpu_s: user and system time so far.
        rss_mb: resident memory, MB.
        handles: open file descriptors.
        threads: of the process.
    """

    cpu_s: float
    rss_mb: float
    handles: int
    threads: int

    @classmethod
    def of(cls, pid: int) -> Usage:
        """At this moment.

        Raises:
            FileNotFoundError: there is no such process.
        """
        place = Path(f"/proc/{pid}")
        fields = (place / "stat").read_text().rpartition(")")[2].split()
        status = dict(
            line.split(":", 1)
            for line in (place / "status").read_text().splitlines()
            if ":" in line
        )
        return cls(
            cpu_s=(int(fields[11]) + int(fields[12])) / _TICKS,
            rss_mb=int(status["VmRSS"].split()[0]) / 1000.0 * 1.024,
            handles=len(os.listdir(place / "fd")),
            threads=int(fields[17]),
        )


def slope_mb_per_hour(t_s: Sequence[float], rss_mb: Sequence[float]) -> float:
    """Of a straight line through samples."""
    if len(t_s) < 3:
        return float("nan")
    return float(np.polyfit(np.asarray(t_s) / 3600.0, np.asarray(rss_mb), 1)[0])


@dataclass
class Running:
    """A program of the bench: what it says goes to a file, it ends with the bench."""

    process: subprocess.Popen[bytes]
    said: Path
    about: dict[str, Any] = field(default_factory=dict)

    @property
    def alive(self) -> bool:
        return self.process.poll() is None

    def tell(self, line: str) -> None:
        """A line to its standard input."""
        assert self.process.stdin is not None
        self.process.stdin.write(line.encode() + b"\n")
        self.process.stdin.flush()

    def stop(self, with_signal: int = signal.SIGINT, patience_s: float = 10.0) -> None:
        """Ask it to end, then end it."""
        if self.process.poll() is None:
            self.process.send_signal(with_signal)
            try:
                self.process.wait(patience_s)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        if self.process.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                self.process.stdin.close()

    def last_words(self) -> str:
        return self.said.read_text(errors="replace")[-2000:]


class Stage:
    """Starts programs, their output in a folder; ends all of them with the block."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._running: list[Running] = []

    def __enter__(self) -> Stage:
        return self

    def __exit__(self, *exc: object) -> None:
        for one in reversed(self._running):
            one.stop(signal.SIGTERM, 5.0)

    def start(
        self,
        name: str,
        command: Sequence[str | Path],
        *,
        answers: bool = False,
        env: Mapping[str, str] | None = None,
    ) -> Running:
        """Run a program.

        Args:
            name: of its output file.
            command: program and arguments.
            answers: its first line on standard output is JSON, and is waited for.
            env: variables to add.
        """
        said = self._folder / f"{name}-{len(self._running)}.txt"
        with said.open("wb") as output:
            process = subprocess.Popen(
                [str(part) for part in command],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE if answers else output,
                stderr=output,
                cwd=self._folder,
                env={**os.environ, **(env or {})},
            )
        one = Running(process, said)
        self._running.append(one)
        if answers:
            assert process.stdout is not None
            line = process.stdout.readline()
            if not line:
                process.wait()
                raise SystemExit(f"{name} ended at once:\n{one.last_words()}")
            one.about = json.loads(line)
        return one


def start_server(stage: Stage, rate: float, *more: str | Path) -> Running:
    """The clip, served in real time; ``about`` has its port and epoch."""
    command = [sys.executable, HERE / "live_server.py", "--rate", f"{rate:g}", *more]
    return stage.start("server", command, answers=True)


def start_tracker(stage: Stage, url: str, endpoint: str, *more: str) -> Running:
    """``mien track``, publishing."""
    command = [sys.executable, "-m", "mien.tools.cli", "track", url, "--publish", endpoint, *more]
    return stage.start("track", command)


def start_subscriber(stage: Stage, endpoint: str, out: Path) -> Running:
    """Notes every message until it is told to end."""
    return stage.start(
        "subscriber", [sys.executable, HERE / "live_subscriber.py", endpoint, "--out", out]
    )


def free_endpoint() -> str:
    """A local endpoint whose port and the next one (for the echo) are free."""
    for _ in range(100):
        with socket.socket() as first, socket.socket() as second:
            first.bind(("127.0.0.1", 0))
            port = first.getsockname()[1]
            with contextlib.suppress(OSError, OverflowError):
                second.bind(("127.0.0.1", port + 1))
                return f"tcp://127.0.0.1:{port}"
    raise SystemExit("no two neighbouring ports are free")


def multipart_pictures(url: str) -> Iterator[bytes]:
    """The JPEG pictures of an ``http://`` multipart stream, as they come."""
    host, _, port = url.removeprefix("http://").rstrip("/").partition(":")
    with socket.create_connection((host, int(port)), _SILENCE_S) as connection:
        connection.sendall(f"GET / HTTP/1.0\r\nHost: {host}\r\n\r\n".encode())
        stream = connection.makefile("rb")
        length = 0
        while line := stream.readline():
            if line.lower().startswith(b"content-length:"):
                length = int(line.split(b":")[1])
            elif line == b"\r\n" and length:
                yield stream.read(length)
                length = 0


def quantiles(values: np.ndarray) -> tuple[float, float, float]:
    """Median, 99th percentile, maximum."""
    if not len(values):
        return float("nan"), float("nan"), float("nan")
    middle, high = np.percentile(values, [50, 99])
    return float(middle), float(high), float(np.max(values))


def tail(path: Path) -> list[dict[str, Any]]:
    """JSON lines of a file that may still be written to: whole lines only."""
    lines = path.read_text().split("\n")[:-1] if path.exists() else []
    return [json.loads(line) for line in lines]


def command_line() -> str:
    """As it was typed, without this machine's folders."""
    words = [Path(word).name if "/" in word else word for word in sys.argv]
    return f"python bench/{' '.join(words)}"


def write_section(path: Path, text: str) -> None:
    """Put a section that begins with its ``### title`` into a Markdown file; replace its like."""
    title = text.split("\n", 1)[0]
    before = path.read_text(encoding="utf-8") if path.exists() else "# Live tracking\n\n"
    first, *sections = before.split("\n### ")
    kept = [one for one in sections if f"### {one.splitlines()[0]}" != title]
    kept.append(text.removeprefix("### ").rstrip() + "\n")
    path.write_text("\n### ".join([first, *kept]), encoding="utf-8")
