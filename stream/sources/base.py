"""What every source is: an iterable of frames that owns something to be closed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Literal, Protocol, runtime_checkable

from ..frame import Frame
from ..health import StreamState

Clock = Callable[[], int]
"""Returns nanoseconds on a monotonic clock; ``time.perf_counter_ns`` outside tests."""

SourceKind = Literal["video", "image", "camera", "stream", "pattern"]


@dataclass(frozen=True, slots=True)
class SourceInfo:
    """What is known of a source when it is open.

    Attributes:
        name: short name for messages and metadata, as the user gave it.
        kind: where the frames come from.
        live: frames carry ``t_capture_ns`` and cannot be waited for.
        width: of an upright frame, px.
        height: of an upright frame, px.
        rate: nominal frames per second; None for images and where it is unknown.
        codec: FFmpeg's name of the codec.
        frames: how many frames to expect; an estimate, None where unknown.
        notes: what differs from what was asked for, one line each.
    """

    name: str
    kind: SourceKind
    live: bool
    width: int
    height: int
    rate: float | None
    codec: str
    frames: int | None
    notes: tuple[str, ...] = ()


@dataclass(slots=True)
class SourceStats:
    """Counts that grow while a source is read.

    Attributes:
        frames: frames decoded.
        decode_errors: packets that could not be decoded, and frames flagged as damaged.
        guessed_times: frames without a time stamp, which got the nominal one.
        dropped: frames of a live source that were replaced by newer ones before anyone took them.
        stale: frames of a live source that were too old when they could have been taken.
        reconnects: how often a live source was opened anew and gave frames again.
        state: whether frames come, or a live source is being opened anew.
        detail: why it is being opened anew, one line; empty while frames come.
    """

    frames: int = 0
    decode_errors: int = 0
    guessed_times: int = 0
    dropped: int = 0
    stale: int = 0
    reconnects: int = 0
    state: StreamState = "running"
    detail: str = ""


@runtime_checkable
class Source(Protocol):
    """Frames in order, once; a context manager that closes what it opened.

    Iterating raises :class:`~mien.models.errors.TruncatedError` after the last good frame where
    a source broke off, and :class:`~mien.models.errors.SourceError` where it failed.
    """

    @property
    def info(self) -> SourceInfo:
        """What is known of the source."""
        ...

    @property
    def stats(self) -> SourceStats:
        """Counts so far."""
        ...

    def __iter__(self) -> Iterator[Frame]: ...

    def close(self) -> None:
        """Let go of file, device and thread; may be called twice."""
        ...

    def __enter__(self) -> Source: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...
