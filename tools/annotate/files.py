"""The files that an annotated input leads to: what they are called, opened and replaced by."""

from __future__ import annotations

import errno
import os
import secrets
import shutil
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ...models.errors import InputError, OutputError
from ...models.writing import rename
from ...stream.export import EXPORTERS, ExportContext, ExportOptions, open_exporter
from ...stream.sinks.base import Recording, Sink
from ...stream.sinks.overlay import OverlaySink, StillOverlaySink
from ...stream.sinks.sidecar import read_sidecar
from ..files import row_sink
from .inputs import STILL_OVERLAY, VIDEO_OVERLAY

if TYPE_CHECKING:
    from ...models.face.morphable import FaceModel
    from ...stream.sinks.drawing import Annotator
    from ...stream.sources.base import SourceInfo

FORMATS: Final = ("parquet", "csv", "jsonl")
SIDECAR_SUFFIX: Final = ".json"


@dataclass(frozen=True)
class Wanted:
    """Which files are to be written.

    Attributes:
        formats: of :data:`FORMATS`.
        overlay: also a video or picture with the faces drawn in.
        exports: of :data:`~mien.stream.export.EXPORTERS`.
        export: what can be chosen about these.
    """

    formats: tuple[str, ...] = ("parquet",)
    overlay: bool = False
    exports: tuple[str, ...] = ()
    export: ExportOptions = field(default_factory=ExportOptions)

    def plain(self) -> dict[str, Any]:
        """The same as plain values, for the sidecar."""
        values: dict[str, Any] = {"formats": list(self.formats), "overlay": self.overlay}
        if self.exports:
            chosen = {**asdict(self.export), "frames": list(self.export.frames)}
            values |= {"exports": list(self.exports), "export": chosen}
        return values

    @property
    def needs_pictures(self) -> bool:
        """Whether something is drawn into, or cut out of, the frames."""
        return self.overlay or any(EXPORTERS[name].PICTURES for name in self.exports)

    def there(self, stem: Path) -> list[Path]:
        """The outputs that are there; the sidecar last.

        Args:
            stem: place of an input's outputs, without suffix.
        """
        suffixes = [*(f".{name}" for name in self.formats)]
        suffixes += [VIDEO_OVERLAY, STILL_OVERLAY] if self.overlay else []
        suffixes += [EXPORTERS[name].SUFFIX for name in self.exports]
        places = [_beside(stem, suffix) for suffix in (*suffixes, SIDECAR_SUFFIX)]
        return [place for place in places if place.exists()]

    def complete(self, stem: Path) -> bool:
        """Whether every output is there."""
        return len(self.there(stem)) == len(self.formats) + self.overlay + len(self.exports) + 1

    def forget(self, stem: Path) -> None:
        """Of a run that is being replaced, remove what this one will not write, and the sidecar.

        While the sidecar lies there, the outputs count as finished, and with its options. It goes
        last, and what is stale goes at once or not at all: wherever this breaks off, the same
        command still finds what there is to remove, and no other takes the rest for finished.
        """
        sidecar = _beside(stem, SIDECAR_SUFFIX)
        try:
            before = _suffixes(read_sidecar(sidecar).options)
        except InputError:  # there is none, or a file that is no sidecar
            before = set()
        for suffix in sorted(before - _suffixes(self.plain())):
            _remove(_beside(stem, suffix))
        sidecar.unlink(missing_ok=True)

    def secure(self, stem: Path) -> None:
        """See that the outputs are on the disk, should the machine go down."""
        for place in self.there(stem):
            for path in (*place.rglob("*"), place):
                _flush(path)
        _flush(stem.parent)

    def open(
        self,
        stem: Path,
        info: SourceInfo,
        recording: Recording,
        annotator: Annotator,
        face_model: FaceModel,
        stack: ExitStack,
    ) -> list[Sink]:
        """The sinks of everything but the sidecar, closed with the stack.

        Raises:
            OutputError: one cannot be written.
        """
        stem.parent.mkdir(parents=True, exist_ok=True)
        sinks: list[Sink] = [
            stack.enter_context(row_sink(_beside(stem, f".{name}"), recording))
            for name in self.formats
        ]
        if self.overlay and info.kind == "image":
            still = StillOverlaySink(_beside(stem, STILL_OVERLAY), annotator)
            sinks.append(stack.enter_context(still))
        elif self.overlay:
            film = OverlaySink(_beside(stem, VIDEO_OVERLAY), annotator, rate=info.rate)
            sinks.append(stack.enter_context(film))
        context = ExportContext(recording, face_model, self.export) if self.exports else None
        if context is not None:
            exports = [open_exporter(name, stem, context) for name in self.exports]
            sinks += [stack.enter_context(export) for export in exports]
        return sinks


def _flush(path: Path) -> None:
    try:
        handle = os.open(path, os.O_RDONLY)
    except OSError:  # of folders where the system opens none; what could not be had was not there
        return
    try:
        os.fsync(handle)
    except OSError as error:
        # Some network file systems cannot; a disk that fails says so.
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.EBADF):
            raise OutputError(f"{path}: cannot be written: {error.strerror}") from error
    finally:
        os.close(handle)


def _remove(place: Path) -> None:
    """Remove a file or folder in one step; what :func:`sweep` finds is no output any more."""
    if not place.is_dir():
        place.unlink(missing_ok=True)
        return
    old = place.with_name(f".{place.name}.{secrets.token_hex(4)}.old")
    rename(place, old)
    shutil.rmtree(old)


def _beside(stem: Path, suffix: str) -> Path:
    return stem.with_name(stem.name + suffix)


def _suffixes(options: Mapping[str, Any]) -> set[str]:
    """Of the outputs that a run with these options writes, or might."""
    found = {f".{name}" for name in FORMATS if name in options.get("formats", ())}
    if options.get("overlay"):
        found |= {VIDEO_OVERLAY, STILL_OVERLAY}
    named = options.get("exports", ())
    return found | {kind.SUFFIX for name, kind in EXPORTERS.items() if name in named}
