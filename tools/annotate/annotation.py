"""One file annotated: the pure function under every way of running a batch.

``annotate`` reads a file, tracks the faces in it and writes the outputs. Every output is written
under a hidden name and renamed when it is complete, the sidecar last: a sidecar says that the files
beside it are finished, and with which options. Unless it is to be causal, faces are smoothed when
the last frame is known, and rows are written in a second pass.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol, runtime_checkable

from ...models.errors import InputError, OutputError, SourceError, TruncatedError
from ...models.face.bundle import Bundle
from ...models.learning.prefetch import Prefetch
from ...stream.frame import Frame
from ...stream.observation import FaceObservation
from ...stream.sinks.base import Sink
from ...stream.sinks.sidecar import Sidecar, SidecarSink, read_sidecar
from ...stream.sources.base import Source, SourceInfo
from ...stream.sources.opening import SourceOptions, open_source
from ..following import Follower, FollowingOptions
from ..memory import keep_memory_of_frames
from .boxes import Boxes
from .files import SIDECAR_SUFFIX, Wanted
from .inputs import Input

if TYPE_CHECKING:
    from ...stream.two_pass import TwoPass

_AHEAD: Final = 8
"""Frames that may wait, decoded."""

Outcome = Literal["done", "skipped", "truncated", "failed"]
OnFrame = Callable[[Frame, Sequence[FaceObservation]], None]
"""Told every frame with its faces; in a second pass its pixels are absent where nothing draws."""


@runtime_checkable
class Watcher(Protocol):
    """Looks on while a file is annotated, for instance to show how far it is."""

    def opened(self, info: SourceInfo) -> None:
        """The source is open."""
        ...

    def followed(self) -> None:
        """A frame is done, but for what the second pass makes of it."""
        ...

    def smoothing(self, frames: int) -> None:
        """The second pass begins, over so many frames."""
        ...

    def frame(self, frame: Frame, rows: Sequence[FaceObservation]) -> None:
        """A frame is done; these are its rows."""
        ...


@dataclass(frozen=True)
class Batch:
    """What is the same for every input.

    Attributes:
        out: folder of the outputs.
        wanted: which files are written.
        bundle: the model bundle.
        tracking: how faces are followed.
        boxes: where the faces are, instead of detecting them; None to detect.
        overwrite: redo what is finished.
        causal: smooth with what came before a frame only, as in a live stream.
        threads: cores that one input may use; with more than one, decoding runs ahead.
    """

    out: Path
    wanted: Wanted
    bundle: Bundle
    tracking: FollowingOptions
    boxes: Boxes | None = None
    overwrite: bool = False
    causal: bool = False
    threads: int = 1

    def __post_init__(self) -> None:
        if self.threads < 1:
            raise InputError(f"--threads is {self.threads}, expected 1 or more")

    @property
    def options(self) -> dict[str, Any]:
        """Everything that the outputs depend on, as plain values; the bundle's hash is apart."""
        return {
            **self.tracking.plain(self.bundle),
            "boxes": None if self.boxes is None else self.boxes.hash,
            "causal": self.causal,
            **self.wanted.plain(),
        }

    def stem(self, item: Input) -> Path:
        """Where the outputs of an input lie, but for their suffixes."""
        return self.out / item.name

    def sidecar(self, item: Input) -> Path:
        """Where the sidecar of an input lies."""
        return self.out / f"{item.name}{SIDECAR_SUFFIX}"


@dataclass(frozen=True)
class Result:
    """How an input ended.

    Attributes:
        item: the input.
        outcome: ``skipped`` where it was finished before, ``truncated`` where only a part is there.
        reason: of a failure or a truncation, one line.
        sidecar: the facts; None where nothing was written.
    """

    item: Input
    outcome: Outcome
    reason: str = ""
    sidecar: Sidecar | None = None


def finished(batch: Batch, item: Input) -> Sidecar | None:
    """The sidecar of an input that was finished with these options, None where it was not.

    Raises:
        OutputError: it was finished with other options or another bundle, or is of another file.
    """
    path = batch.sidecar(item)
    # An empty one was being written when the machine went down.
    if batch.overwrite or not path.exists() or path.stat().st_size == 0:
        return None
    try:
        sidecar = read_sidecar(path)
    except InputError as error:
        raise OutputError(f"{path}: in the way: {error}; --overwrite replaces it") from error
    size = _input_bytes(item)
    if None not in (size, sidecar.input_bytes) and size != sidecar.input_bytes:
        raise OutputError(
            f"{path}: was made of another file, of {sidecar.input_bytes} bytes; {item.path} has "
            f"{size}; --overwrite replaces it, another --out keeps it"
        )
    changed = _changes(sidecar.options, batch.options)
    if sidecar.bundle_hash != batch.bundle.hash:
        changed.append("the bundle")
    if changed:
        raise OutputError(
            f"{path}: was made with other {', '.join(changed)}; "
            "--overwrite replaces it, another --out keeps it"
        )
    whole = sidecar.stopped in ("end", "truncated")
    return sidecar if whole and batch.wanted.complete(batch.stem(item)) else None


def _input_bytes(item: Input) -> int | None:
    try:
        return item.path.stat().st_size
    except OSError:
        return None  # opening it says what is wrong


def _changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    return sorted(key for key in old.keys() | new.keys() if old.get(key) != new.get(key))


def annotate(batch: Batch, item: Input, watcher: Watcher) -> Result:
    """Annotate one input; what is wrong with it is told in the result.

    Args:
        batch: what to do.
        item: with which file.
        watcher: told what happens.

    Raises:
        OutputError: it was finished with other options or another bundle, or is of another file.
    """
    sidecar = finished(batch, item)
    if sidecar is not None:
        if sidecar.stopped == "end":
            return Result(item, "skipped", sidecar=sidecar)
        reason = f"{item.path}: broke off after {sidecar.frames_read} frames (annotated before)"
        return Result(item, "truncated", reason, sidecar)
    keep_memory_of_frames()
    try:
        source = _open(batch, item)
    except SourceError as error:
        return Result(item, "failed", str(error))
    with source:
        watcher.opened(source.info)
        try:
            return _annotate_open(batch, item, source, watcher)
        except (OutputError, SourceError) as error:
            return Result(item, "failed", str(error))


def _annotate_open(batch: Batch, item: Input, source: Source, watcher: Watcher) -> Result:
    reason = ""
    stem = batch.stem(item)
    size = _input_bytes(item)
    with SidecarSink(batch.sidecar(item), batch.options, batch.bundle.hash, size) as facts:
        with ExitStack() as stack:
            follower = Follower(batch.bundle, batch.tracking, source.info)
            later = None if batch.causal else follower.two_pass(batch.out)
            if later is not None:
                stack.enter_context(later)
                _check_rereading(batch, item)
            batch.wanted.forget(stem)
            sinks = _open_sinks(batch, stem, source, follower, stack)
            # Decoding and conversion run ahead, where there is a core for them.
            ahead = Prefetch(source, _AHEAD) if batch.threads > 1 else nullcontext(source)
            try:
                for frame in stack.enter_context(ahead):
                    boxes = None if batch.boxes is None else batch.boxes.of(item.path, frame.index)
                    rows = follower.follow(frame, boxes)
                    facts.write(frame, rows)
                    if later is None:
                        _write(sinks, watcher, frame, rows)
                    else:
                        follower.remember(later, frame, rows)
                        watcher.followed()
            except SourceError as error:
                # What came before is good, and kept.
                facts.stopped = "truncated" if isinstance(error, TruncatedError) else "failed"
                reason = str(error)
            facts.decode_errors = source.stats.decode_errors
            if later is not None:
                watcher.smoothing(facts.sidecar.frames_read)
                pictures = _open(batch, item) if batch.wanted.needs_pictures else None
                with pictures or nullcontext():
                    for frame, rows in _in_pictures(later, item, pictures):
                        _write(sinks, watcher, frame, rows)
        # All outputs have their names; the sidecar, which vouches for them, comes after.
        batch.wanted.secure(stem)
    if facts.stopped == "end":
        return Result(item, "done", sidecar=facts.sidecar)
    outcome: Outcome = "truncated" if facts.stopped == "truncated" else "failed"
    return Result(item, outcome, reason, facts.sidecar)


def _open_sinks(
    batch: Batch, stem: Path, source: Source, follower: Follower, stack: ExitStack
) -> list[Sink]:
    recording = follower.recording(source.info, batch.options)
    # A file's name need not be text, what a table says of it must be.
    named = recording.source.encode("utf-8", "backslashreplace").decode("utf-8")
    return batch.wanted.open(
        stem,
        source.info,
        replace(recording, source=named),
        follower.annotator(),
        batch.bundle.face_model,
        stack,
    )


def _write(
    sinks: Sequence[Sink], watcher: Watcher, frame: Frame, rows: Sequence[FaceObservation]
) -> None:
    for sink in sinks:
        sink.write(frame, rows)
    watcher.frame(frame, rows)


def _open(batch: Batch, item: Input) -> Source:
    return open_source(item.path, SourceOptions(decode_threads=batch.threads))


def _check_rereading(batch: Batch, item: Input) -> None:
    """See that the frames can be had again, where the second pass needs their pictures.

    Raises:
        SourceError: they cannot.
    """
    if batch.wanted.needs_pictures and not item.path.is_file():
        raise SourceError(
            f"{item.path}: can be read only once, and an overlay or export of faces smoothed in "
            "two passes takes its pictures again; use --causal"
        )


def _in_pictures(
    later: TwoPass, item: Input, pictures: Source | None
) -> Iterator[tuple[Frame, list[FaceObservation]]]:
    """The frames and rows of the second pass; where they are read again, with the pixels.

    Raises:
        SourceError: the source is not what it was.
    """
    if pictures is None:
        yield from later.frames()
        return
    again = iter(pictures)
    for frame, rows in later.frames():
        picture = next(again, None)
        if picture is None or picture.index != frame.index:
            raise SourceError(f"{item.path}: changed while it was annotated")
        yield picture, rows
