"""Runs a parser under watch: what it raises, how long it takes, what memory it takes, its lines."""

from __future__ import annotations

import resource
import signal
import sys
import time
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, FrameType
from typing import Any, Final

from fuzz_parser import Parser

import mien.models
import mien.stream
import mien.tools

HANG_S: Final = 2.0
"""Of the processor, for one small input."""
STUCK_S: Final = 30.0
"""By the clock: it waits for something."""
MEMORY_BYTES: Final = 512 << 20
"""By which one input may raise the most that the process ever had."""
_ROOMS: Final = tuple(
    str(Path(str(room.__file__)).resolve().parent)
    for room in (mien.models, mien.stream, mien.tools)
)


class Hang(BaseException):
    """The parser takes too long."""


@dataclass(frozen=True)
class Finding:
    """Something that no parser may do.

    Attributes:
        kind: name of the error, ``hang``, ``memory`` or ``crash``.
        where: the last line of mien's that was at work.
        text: the error's.
        trace: of the error.
    """

    kind: str
    where: str
    text: str
    trace: str = ""

    @property
    def key(self) -> str:
        """Findings of one key are one fault, most likely."""
        return f"{self.kind} {self.where}"


class Lines:
    """The lines of mien that have run so far."""

    def __init__(self) -> None:
        self._seen: set[tuple[CodeType, int]] = set()
        self._own: dict[CodeType, bool] = {}

    @contextmanager
    def watch(self) -> Iterator[None]:
        before = sys.gettrace()
        sys.settrace(self._call)
        try:
            yield
        finally:
            sys.settrace(before)

    def __len__(self) -> int:
        return len(self._seen)

    def _call(self, frame: FrameType, _event: str, _arg: Any) -> Any:
        code = frame.f_code
        own = self._own.get(code)
        if own is None:
            own = self._own[code] = code.co_filename.startswith(_ROOMS)
        return self._line if own else None

    def _line(self, frame: FrameType, event: str, _arg: Any) -> Any:
        if event == "line":
            self._seen.add((frame.f_code, frame.f_lineno))
        return self._line


def _alarm(*_: object) -> None:
    raise Hang


@contextmanager
def _limited() -> Iterator[None]:
    signal.signal(signal.SIGPROF, _alarm)
    signal.signal(signal.SIGALRM, _alarm)
    signal.setitimer(signal.ITIMER_PROF, 2 * HANG_S)
    signal.setitimer(signal.ITIMER_REAL, STUCK_S)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.setitimer(signal.ITIMER_REAL, 0)


def _where(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if frame.filename.startswith(_ROOMS)]
    frame = (own or frames)[-1]
    return f"{Path(frame.filename).name}:{frame.lineno} {frame.name}"


def _peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def check(parser: Parser, data: bytes, folder: Path, lines: Lines | None = None) -> Finding | None:
    """Let a parser read, and say what it must not have done."""
    peak, begun = _peak_bytes(), time.process_time()
    finding = None
    try:
        with warnings.catch_warnings(), _limited():
            warnings.simplefilter("ignore")
            if lines is None:
                parser.parse(data, folder)
            else:
                with lines.watch():
                    parser.parse(data, folder)
    except Hang as error:
        finding = Finding("hang", _where(error), "", traceback.format_exc())
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # noqa: BLE001 - whatever it is, it is what is looked for
        if not isinstance(error, parser.raises):
            text = f"{type(error).__name__}: {error}"[:300]
            finding = Finding(type(error).__name__, _where(error), text, traceback.format_exc())
        elif "\n" in str(error).strip():
            finding = Finding("several lines", _where(error), str(error)[:300])
    if finding is None and lines is None and time.process_time() - begun > HANG_S:
        finding = Finding("hang", parser.name, f"{time.process_time() - begun:.1f} s")
    if finding is None and _peak_bytes() - peak > MEMORY_BYTES:
        finding = Finding("memory", parser.name, f"{(_peak_bytes() - peak) >> 20} MB")
    return finding
