"""What every sink is, and the one way in which files come to be."""

from __future__ import annotations

import contextlib
import errno
import os
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Final, NoReturn, Protocol, TypeVar, runtime_checkable

from ...models.errors import OutputError
from ..frame import Frame
from ..observation import FaceObservation
from .partial import PartialFile

Matrix3 = tuple[tuple[float, float, float], ...]
"""A 3x3 matrix, row by row."""

_FULL: Final = {
    errno.ENOSPC: "disk full",
    errno.EDQUOT: "disk quota used up",
    errno.EFBIG: "files may not grow further here",
}


@dataclass(frozen=True, kw_only=True)
class Recording:
    """What a file or a stream says about where its rows come from.

    Attributes:
        source: name of the source.
        rate: nominal frames per second; None where unknown.
        width: of a frame, px.
        height: of a frame, px.
        bundle_hash: of the model bundle.
        camera_matrix: 3x3, px; the poses hold for this camera.
        options: everything else that the rows depend on, as plain values.
    """

    source: str
    rate: float | None
    width: int
    height: int
    bundle_hash: str = ""
    camera_matrix: Matrix3 | None = None
    options: dict[str, Any] = field(default_factory=dict)


@runtime_checkable
class Sink(Protocol):
    """Takes every frame with its faces, in order.

    A context manager: it is closed where the block ends and aborted where an exception leaves it.
    """

    def write(self, frame: Frame, observations: Sequence[FaceObservation]) -> None:
        """Take a frame and its faces, none or many.

        Raises:
            OutputError: it cannot be written.
        """
        ...

    def close(self) -> None:
        """Finish: a file gets its final name now. May be called twice.

        Raises:
            OutputError: it cannot be written.
        """
        ...

    def abort(self) -> None:
        """Give up: what was written so far is removed. No effect after :meth:`close`."""
        ...


SelfSink = TypeVar("SelfSink", bound="FileSink")


class FileSink(ABC):
    """Base of the sinks that write one file: opening, renaming, giving up.

    A subclass implements :meth:`_write`, :meth:`_finish` and :meth:`_release`. Rows are handed to
    it in the order of their tracks.

    Without ``salvage``, a finished name means a finished file: what fails, or is left by an
    exception, is removed. A live recording cannot be made again and is kept, with ``salvage``:
    where nothing more can be written (the disk is full), the file is finished with the rows so
    far, gets its name, and :class:`OutputError` says how many they are; an exception that leaves
    the ``with`` block finishes the file too. A subclass that offers this implements
    :meth:`_secure`, or a :meth:`_finish` that needs no room.
    """

    def __init__(self, path: str | os.PathLike[str], *, salvage: bool = False) -> None:
        """Begin the file under a hidden name.

        Args:
            path: its final name.
            salvage: keep what was written before a failure.

        Raises:
            OutputError: the place cannot be written to.
        """
        self._file = self._begin(Path(path))
        self._open = True
        self._salvage = salvage
        self._kept = 0
        self._last_frame: int | None = None

    def _begin(self, path: Path) -> PartialFile:
        """What is written until all is complete; a subclass may make a folder."""
        return PartialFile(path)

    @property
    def path(self) -> Path:
        """The final name."""
        return self._file.final

    @property
    def rows(self) -> int:
        """Rows taken so far, those of a frame that failed not counted."""
        return self._kept

    def write(self, frame: Frame, observations: Sequence[FaceObservation]) -> None:
        """See :class:`Sink`."""
        if not self._open:
            raise OutputError(f"{self.path}: is closed, nothing more can be written")
        if len(observations) > 1:
            observations = sorted(observations, key=lambda row: row.track)
        try:
            self._write(frame, observations)
            self._kept += len(observations)
            self._last_frame = frame.index
            if self._salvage:
                self._secure()
        except OSError as error:
            if self._salvage:
                self._keep(error)
            if isinstance(error, OutputError):
                raise
            raise OutputError(
                f"{self.path}: cannot be written: {error.strerror or error}"
            ) from error

    def close(self) -> None:
        """See :class:`Sink`."""
        if not self._open:
            return
        try:
            self._finish()
            self._release()
        except OSError as error:
            self.abort()
            if isinstance(error, OutputError):
                raise
            raise OutputError(
                f"{self.path}: cannot be written: {error.strerror or error}"
            ) from error
        self._open = False
        self._commit()

    def abort(self) -> None:
        """See :class:`Sink`."""
        if self._open:
            self._open = False
            with contextlib.suppress(OSError):
                self._release()
            self._file.discard()

    def __enter__(self: SelfSink) -> SelfSink:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None or (self._salvage and self._kept):
            self.close()
        else:
            self.abort()

    def _keep(self, error: OSError) -> NoReturn:
        """Finish the file with the frames before the one that failed, and say so."""
        reason = _FULL.get(error.errno or 0, f"cannot be written: {error.strerror or error}")
        if not self._kept:
            self.abort()
            raise OutputError(f"{self.path}: {reason}, no row was written") from error
        try:
            self._finish()
            self._release()
        except OSError as further:
            self.abort()
            raise OutputError(
                f"{self.path}: {reason}, and the {self._kept} rows before could not be kept: "
                f"{further.strerror or further}"
            ) from further
        self._open = False
        self._commit()
        raise OutputError(
            f"{reason}: {self._kept} rows up to frame {self._last_frame} are kept in {self.path}"
        ) from error

    def _commit(self) -> None:
        try:
            self._file.commit()
        except OutputError as error:
            if not self._salvage:
                raise
            self._file.leave()
            raise OutputError(f"{error}; the recording lies in {self._file.path}") from error

    @abstractmethod
    def _write(self, frame: Frame, observations: Sequence[FaceObservation]) -> None:
        """Take in one frame's rows."""

    def _secure(self) -> None:  # noqa: B027 - need not be overridden
        """After a frame, where there is ``salvage``: see that the file can be finished from here.

        Raises:
            OSError: this was the last frame for which it can.
        """

    def _finish(self) -> None:  # noqa: B027 - need not be overridden
        """Write what is still held back, and take back what there is of a frame that failed."""

    def _release(self) -> None:  # noqa: B027 - need not be overridden
        """Close the file handle; called once, also where something failed."""
