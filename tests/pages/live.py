"""Live commands as two or three terminals type them, with a film for the camera."""

from __future__ import annotations

import signal
import socket
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from .reader import Reader
from .steps import Step

_UDP = {"--opentrack": 4242, "--vmc": 39540, "--ifacialmocap": 49983}
"""Where these send to if nothing else is said."""
_PRINTED = (5570, 5571, 8080)
_DEADLINE_S = 30.0


def _are_free(ports: Sequence[int]) -> bool:
    try:
        for port in ports:
            with socket.create_server(("127.0.0.1", port)):
                pass
    except OSError:
        return False
    return True


def live_stand_ins() -> Mapping[str, Sequence[str]]:
    """A film for the camera, this machine for others, and free ports where the printed are not."""
    first = 5570
    while not _are_free(ports := (first, first + 1, first + 2510)):
        first += 10
    address = f"tcp://127.0.0.1:{first}"
    return {
        "0": ("talk.mp4",),
        "FILE": ("take.csv",),
        "SET": ("helen",),
        "tcp://127.0.0.1:5570": (address,),
        "tcp://tracker.local:5570": (address,),
        "tcp://0.0.0.0:5570": (f"tcp://0.0.0.0:{first}",),
        ":8080": (f":{ports[2]}",),
        "center": ("center",) if ports == _PRINTED else ("center", f"tcp://127.0.0.1:{ports[1]}"),
    }


def follow_live(reader: Reader, steps: Sequence[Step]) -> None:
    """Type a page's live commands: to listen, and to centre, somebody has to publish."""
    publishing: Step | None = None
    for step in steps:
        if "--publish" in step.line:
            publishing = step
        if step.name == "mien listen":
            assert publishing is not None, f"{step.page}: nothing is published before {step.line}"
            _listen(reader, step, publishing)
        elif step.name == "mien center":
            assert publishing is not None, f"{step.page}: nothing is published before {step.line}"
            _center(reader, step, publishing)
        elif "--view" in step.line:
            _view(reader, step)
        else:
            _send(reader, step)


@contextmanager
def _running(reader: Reader, step: Step) -> Iterator[None]:
    """A command that follows the camera for a while, in another terminal."""
    stand_ins = {**reader.stand_ins, "0": ("camera.mp4", "--realtime")}
    other = Reader(reader.folder, reader.patch, stand_ins)
    process = reader.start(other.words(step))
    try:
        yield
    finally:
        process.send_signal(signal.SIGINT)
        _, told = process.communicate(timeout=_DEADLINE_S)
    assert process.returncode == 130, f"{step.page}: {step.line}\n{told}"


def _listen(reader: Reader, step: Step, publishing: Step) -> None:
    listener = reader.start(reader.words(step))
    assert listener.stderr is not None
    assert listener.stdout is not None
    began = listener.stderr.readline()
    assert began.startswith("listening to"), f"{step.page}: {step.line}\n{began}"
    with _running(reader, publishing):
        heard = listener.stdout.readline()
    listener.send_signal(signal.SIGINT)
    listener.communicate(timeout=_DEADLINE_S)
    assert listener.returncode == 130
    assert "yaw" in heard, f"{step.page}: {step.line}\n{heard}"


def _center(reader: Reader, step: Step, publishing: Step) -> None:
    with _running(reader, publishing):
        end = time.monotonic() + _DEADLINE_S
        while status := reader.mien(reader.words(step)):
            assert time.monotonic() < end, f"{step.page}: {step.line}\nends with {status}"
            time.sleep(0.2)


def _view(reader: Reader, step: Step) -> None:
    (port,) = (word[1:] for word in reader.words(step) if word.startswith(":"))
    with _running(reader, step):
        end, page = time.monotonic() + _DEADLINE_S, b""
        while not page:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5) as answer:
                    page = answer.read()
            except OSError:
                assert time.monotonic() < end, f"{step.page}: {step.line}\nserves nothing"
                time.sleep(0.1)
    assert b"<html" in page.lower()


def _send(reader: Reader, step: Step) -> None:
    """Type it; where it sends without being told where to, somebody is there."""
    ports = [port for option, port in _UDP.items() if option in step.line]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        try:
            receiver.bind(("127.0.0.1", ports[0] if ports else 0))
        except OSError:
            ports = []
        reader.follow(step)
        if ports:
            receiver.settimeout(_DEADLINE_S)
            assert receiver.recv(65536)
