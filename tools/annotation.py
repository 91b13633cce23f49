"""One file annotated: the pure function under every way of running a batch.

``annotate`` reads a file, tracks the faces in it and writes the outputs. Every output is written
under a hidden name and renamed when it is complete, the sidecar last: a sidecar says that the files
beside it are finished, and with which options. Unless it is to be causal, faces are smoothed when
the last frame is known, and rows are written in a second pass.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol, runtime_checkable

from ..models.errors import InputError, OutputError, SourceError, TruncatedError
from ..models.face.bundle import Bundle
from ..models.learning.prefetch import Prefetch
from ..stream.frame import Frame
from ..stream.observation import FaceObservation
from ..stream.sinks.base import Sink
from ..stream.sinks.overlay import OverlaySink, StillOverlaySink
from ..stream.sinks.sidecar import Sidecar, SidecarSink, read_sidecar
from ..stream.sources.base import Source, SourceInfo
from ..stream.sources.opening import SourceOptions, open_source
from .boxes import Boxes
from .files import row_sink
from .following import Follower, FollowingOptions
from .inputs import STILL_OVERLAY, VIDEO_OVERLAY, Input

if TYPE_CHECKING:
    from ..stream.two_pass import TwoPass

FORMATS: Final = ("parquet", "csv", "jsonl")
SIDECAR_SUFFIX: Final = ".json"
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
        formats: of :data:`FORMATS`.
        overlay: also write a video with the faces drawn in.
        bundle: the model bundle.
        tracking: how faces are followed.
        boxes: where the faces are, instead of detecting them; None to detect.
        overwrite: redo what is finished.
        causal: smooth with what came before a frame only, as in a live stream.
        threads: cores that one input may use; with more than one, decoding runs ahead.
    """

    out: Path
    formats: tuple[str, ...]
    overlay: bool
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
            **self.tracking.plain(),
            "boxes": None if self.boxes is None else self.boxes.hash,
            "causal": self.causal,
            "formats": list(self.formats),
            "overlay": self.overlay,
        }

    def output(self, item: Input, suffix: str) -> Path:
        """Where an output of an input lies."""
        return self.out / f"{item.name}{suffix}"

    def outputs(self, item: Input) -> list[Path]:
        """The files that an input has led to, as far as they are there; the sidecar last."""
        suffixes = [f".{name}" for name in self.formats]
        suffixes += [VIDEO_OVERLAY, STILL_OVERLAY] if self.overlay else []
        places = [self.output(item, suffix) for suffix in (*suffixes, SIDECAR_SUFFIX)]
        return [place for place in places if place.is_file()]

    def complete(self, item: Input) -> bool:
        """Whether every output of an input is there."""
        return len(self.outputs(item)) == len(self.formats) + self.overlay + 1


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
        OutputError: it was finished with other options or another bundle.
    """
    path = batch.output(item, SIDECAR_SUFFIX)
    if batch.overwrite or not path.exists():
        return None
    try:
        sidecar = read_sidecar(path)
    except InputError as error:
        raise OutputError(f"{path}: in the way: {error}; --overwrite replaces it") from error
    changed = _changes(sidecar.options, batch.options)
    if sidecar.bundle_hash != batch.bundle.hash:
        changed.append("the bundle")
    if changed:
        raise OutputError(
            f"{path}: was made with other {', '.join(changed)}; "
            "--overwrite replaces it, another --out keeps it"
        )
    whole = sidecar.stopped in ("end", "truncated")
    return sidecar if whole and batch.complete(item) else None


def _changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    return sorted(key for key in old.keys() | new.keys() if old.get(key) != new.get(key))


def annotate(batch: Batch, item: Input, watcher: Watcher) -> Result:
    """Annotate one input; what is wrong with it is told in the result.

    Args:
        batch: what to do.
        item: with which file.
        watcher: told what happens.

    Raises:
        OutputError: it was finished with other options or another bundle.
    """
    sidecar = finished(batch, item)
    if sidecar is not None:
        if sidecar.stopped == "end":
            return Result(item, "skipped", sidecar=sidecar)
        reason = f"{item.path}: broke off after {sidecar.frames_read} frames (annotated before)"
        return Result(item, "truncated", reason, sidecar)
    try:
        source = open_source(item.path, SourceOptions(decode_threads=batch.threads))
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
    place = batch.output(item, SIDECAR_SUFFIX)
    with SidecarSink(place, batch.options, batch.bundle.hash) as facts, ExitStack() as stack:
        follower = Follower(batch.bundle, batch.tracking, source.info)
        later = None if batch.causal else follower.two_pass(batch.out)
        if later is not None:
            stack.enter_context(later)
            _check_rereading(batch, item)
        _forget(batch, item)
        sinks = _sinks(batch, item, source.info, follower, stack)
        # Decoding and conversion run ahead, where there is a core for them.
        ahead = Prefetch(iter(source), _AHEAD) if batch.threads > 1 else nullcontext(source)
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
            pictures = open_source(item.path) if batch.overlay else None
            with pictures or nullcontext():
                for frame, rows in _in_pictures(later, item, pictures):
                    _write(sinks, watcher, frame, rows)
    if facts.stopped == "end":
        return Result(item, "done", sidecar=facts.sidecar)
    outcome: Outcome = "truncated" if facts.stopped == "truncated" else "failed"
    return Result(item, outcome, reason, facts.sidecar)


def _write(
    sinks: Sequence[Sink], watcher: Watcher, frame: Frame, rows: Sequence[FaceObservation]
) -> None:
    for sink in sinks:
        sink.write(frame, rows)
    watcher.frame(frame, rows)


def _check_rereading(batch: Batch, item: Input) -> None:
    """See that the frames can be had again, where the second pass draws into them.

    Raises:
        SourceError: they cannot.
    """
    if batch.overlay and not item.path.is_file():
        raise SourceError(
            f"{item.path}: can be read only once, and an overlay of faces smoothed in two passes "
            "takes its pictures again; use --causal"
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


def _forget(batch: Batch, item: Input) -> None:
    """Of a run that is being replaced, remove the sidecar and the outputs that this one lacks.

    While the sidecar lies there, the outputs count as finished, and with its options.
    """
    place = batch.output(item, SIDECAR_SUFFIX)
    try:
        options = read_sidecar(place).options
    except InputError:  # there is none, or a file that is no sidecar
        options = {}
    stale = [f".{name}" for name in FORMATS if name in options.get("formats", ())]
    stale += [VIDEO_OVERLAY, STILL_OVERLAY] if options.get("overlay") else []
    kept = [f".{name}" for name in batch.formats]
    kept += [VIDEO_OVERLAY, STILL_OVERLAY] if batch.overlay else []
    for suffix in (SIDECAR_SUFFIX, *(suffix for suffix in stale if suffix not in kept)):
        batch.output(item, suffix).unlink(missing_ok=True)


def _sinks(
    batch: Batch, item: Input, info: SourceInfo, follower: Follower, stack: ExitStack
) -> list[Sink]:
    """The outputs of an input but its sidecar, opened; closed with the stack."""
    recording = follower.recording(info, batch.options)
    for name in batch.formats:
        batch.output(item, f".{name}").parent.mkdir(parents=True, exist_ok=True)
    sinks: list[Sink] = [
        stack.enter_context(row_sink(batch.output(item, f".{name}"), recording))
        for name in batch.formats
    ]
    if batch.overlay:
        annotator = follower.annotator()
        if info.kind == "image":
            still = StillOverlaySink(batch.output(item, STILL_OVERLAY), annotator)
            sinks.append(stack.enter_context(still))
        else:
            film = OverlaySink(batch.output(item, VIDEO_OVERLAY), annotator, rate=info.rate)
            sinks.append(stack.enter_context(film))
    return sinks
