"""Several sources opened at once: none waits for another, and none is left open."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mien.models.errors import SourceError
from mien.stream.frame import Frame
from mien.stream.sources import SourceInfo, SourceStats, open_together, together

DEADLINE_S = 20.0


class Fake:
    """A source of one picture."""

    def __init__(self, name: str) -> None:
        self.info = SourceInfo(name, "camera", True, 2, 2, 30.0, "", None)
        self.stats = SourceStats()
        self.closed = threading.Event()

    def __iter__(self) -> Iterator[Frame]:
        yield Frame(np.zeros((2, 2, 3), np.uint8), 0)

    def close(self) -> None:
        self.closed.set()

    def __enter__(self) -> Fake:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def opening(monkeypatch: pytest.MonkeyPatch, made: Callable[[str], Fake]) -> None:
    def open_source(spec: str, options: Any) -> Fake:
        return made(spec)

    monkeypatch.setattr(together, "open_source", open_source)


def test_sources_come_in_order_whichever_is_there_first(monkeypatch: pytest.MonkeyPatch) -> None:
    second_is_there = threading.Event()

    def made(spec: str) -> Fake:
        if spec == "http://1":
            assert second_is_there.wait(DEADLINE_S)  # which is opened at the same time
        else:
            second_is_there.set()
        return Fake(spec)

    opening(monkeypatch, made)
    sources = open_together(["http://1", "http://2"])
    assert [source.info.name for source in sources] == ["http://1", "http://2"]


def test_where_one_fails_the_others_are_closed_whenever_they_come(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    late = threading.Event()
    made_here: dict[str, Fake] = {}

    def made(spec: str) -> Fake:
        if spec == "http://bad":
            raise SourceError("bad: cannot be opened")
        if spec == "http://late":
            assert late.wait(DEADLINE_S)
        return made_here.setdefault(spec, Fake(spec))

    opening(monkeypatch, made)
    with pytest.raises(SourceError, match="bad: cannot be opened"):
        open_together(["http://good", "http://bad", "http://late"])
    assert made_here["http://good"].closed.is_set()
    late.set()
    end = time.monotonic() + DEADLINE_S
    while "http://late" not in made_here and time.monotonic() < end:
        time.sleep(0.005)
    assert made_here["http://late"].closed.wait(DEADLINE_S)


def test_real_files_are_opened(portrait_video: Path, empty_room_video: Path) -> None:
    sources = open_together([str(portrait_video), str(empty_room_video)])
    for source, width in zip(sources, (320, 160), strict=True):
        with source:
            assert next(iter(source)).image_bgr.shape[1] == width
    with pytest.raises(SourceError, match="no such file"):
        open_together([str(portrait_video), "nowhere.mp4"])
