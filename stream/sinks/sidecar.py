"""The sidecar ``<stem>.json``: what was read, with which options, and how it ended."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import msgspec

from ...models.documents import one_line
from ...models.errors import InputError
from ..frame import Frame
from ..observation import FaceObservation
from ..schema import DAMAGE
from .base import FileSink

Stop = Literal["end", "truncated", "interrupted", "failed"]


class Sidecar(msgspec.Struct, frozen=True, kw_only=True):
    """The facts of one annotated source; nothing in it differs between two equal runs.

    Attributes:
        frames_read: frames that were decoded and looked at.
        frames_with_faces: of these, the ones with an observed (not a predicted) face.
        decode_errors: packets that could not be decoded, and frames flagged as damaged.
        media_seconds: from the first frame to the end of the last, 0 for an image.
        stopped: ``end``, ``truncated`` (the source broke off), ``interrupted`` (by the user) or
            ``failed``.
        options: everything that the rows depend on, as plain values.
        bundle_hash: of the model bundle.
        input_bytes: size of the file that was read, which tells it from another of its name; None
            where it was no file, or before this was recorded.
    """

    frames_read: int
    frames_with_faces: int
    decode_errors: int
    media_seconds: float
    stopped: Stop
    options: dict[str, Any]
    bundle_hash: str
    input_bytes: int | None = None


def read_sidecar(path: str | os.PathLike[str]) -> Sidecar:
    """Read a sidecar.

    Raises:
        InputError: the file cannot be read or is no sidecar.
    """
    try:
        return msgspec.json.decode(Path(path).read_bytes(), type=Sidecar)
    except (OSError, *DAMAGE) as error:
        raise InputError(f"{path}: not a sidecar of an annotation: {one_line(error)}") from error


class SidecarSink(FileSink):
    """Counts frames, and writes the sidecar when it is closed.

    Close it after the other sinks: a sidecar says that the files beside it are complete.

    Attributes:
        stopped: how the source ended; to be set before closing where it was not the end.
        decode_errors: to be set before closing.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        options: dict[str, Any],
        bundle_hash: str,
        input_bytes: int | None = None,
    ) -> None:
        """Begin the file.

        Raises:
            OutputError: the place cannot be written to.
        """
        super().__init__(path)
        self.stopped: Stop = "end"
        self.decode_errors = 0
        self._options = options
        self._bundle_hash = bundle_hash
        self._input_bytes = input_bytes
        self._frames = 0
        self._with_faces = 0
        self._first_ns: int | None = None
        self._last_ns = 0

    @property
    def sidecar(self) -> Sidecar:
        """The facts so far."""
        span_ns = self._last_ns - (self._first_ns or 0)
        gaps = max(1, self._frames - 1)
        return Sidecar(
            frames_read=self._frames,
            frames_with_faces=self._with_faces,
            decode_errors=self.decode_errors,
            # The last frame stays on for as long as the mean one.
            media_seconds=round(span_ns * (gaps + 1) / gaps / 1e9, 6),
            stopped=self.stopped,
            options=self._options,
            bundle_hash=self._bundle_hash,
            input_bytes=self._input_bytes,
        )

    def _write(self, frame: Frame, observations: Sequence[FaceObservation]) -> None:
        self._frames += 1
        self._with_faces += any(row.observed for row in observations)
        if frame.t_media_ns is not None:
            self._first_ns = frame.t_media_ns if self._first_ns is None else self._first_ns
            self._last_ns = frame.t_media_ns

    def _finish(self) -> None:
        text = msgspec.json.encode(self.sidecar, order="sorted")
        self._file.path.write_bytes(msgspec.json.format(text, indent=2) + b"\n")
