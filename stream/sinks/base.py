"""What every sink is, and the one way in which files come to be."""

from __future__ import annotations

import contextlib
import os
import secrets
import weakref
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, TypeVar, runtime_checkable

from ...models.errors import OutputError
from ..frame import Frame
from ..observation import FaceObservation

Matrix3 = tuple[tuple[float, float, float], ...]
"""A 3x3 matrix, row by row."""


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


class PartialFile:
    """A file that has its name only when it is complete.

    It is written beside its final place under a hidden name that no other process uses, and renamed
    by :meth:`commit`: whoever sees the final name sees a finished file. What nobody committed goes
    with this object, also where an interruption came before anybody held it.
    """

    def __init__(self, path: Path) -> None:
        """Choose the hidden name, and see that the folder can be written to.

        Raises:
            OutputError: the folder cannot be made or written to, or the place is a folder.
        """
        self.final = path
        self.path = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
        if path.is_dir():
            raise OutputError(f"{path}: is a folder, expected a place for a file")
        self._removal = weakref.finalize(self, _remove, self.path)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self.path.touch()
        except OSError as error:
            raise OutputError(f"{path}: cannot be written: {error.strerror or error}") from error

    def commit(self) -> None:
        """Give the file its final name, replacing what had it.

        Raises:
            OutputError: it cannot be renamed.
        """
        try:
            os.replace(self.path, self.final)
            self._removal.detach()
        except OSError as error:
            raise OutputError(
                f"{self.final}: cannot be written: {error.strerror or error}"
            ) from error

    def discard(self) -> None:
        """Remove the file, if it is there."""
        self._removal()


def _remove(path: Path) -> None:
    with contextlib.suppress(OSError):
        path.unlink()


SelfSink = TypeVar("SelfSink", bound="FileSink")


class FileSink(ABC):
    """Base of the sinks that write one file: opening, renaming, giving up.

    A subclass implements :meth:`_write`, :meth:`_finish` and :meth:`_release`. Rows are handed to
    it in the order of their tracks.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """Begin the file under a hidden name.

        Raises:
            OutputError: the place cannot be written to.
        """
        self._file = PartialFile(Path(path))
        self._open = True

    @property
    def path(self) -> Path:
        """The final name."""
        return self._file.final

    def write(self, frame: Frame, observations: Sequence[FaceObservation]) -> None:
        """See :class:`Sink`."""
        if not self._open:
            raise OutputError(f"{self.path}: is closed, nothing more can be written")
        if len(observations) > 1:
            observations = sorted(observations, key=lambda row: row.track)
        try:
            self._write(frame, observations)
        except OutputError:
            raise
        except OSError as error:
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
        self._file.commit()

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
        if kind is None:
            self.close()
        else:
            self.abort()

    @abstractmethod
    def _write(self, frame: Frame, observations: Sequence[FaceObservation]) -> None:
        """Take in one frame's rows."""

    def _finish(self) -> None:  # noqa: B027 - need not be overridden
        """Write what is still held back."""

    def _release(self) -> None:  # noqa: B027 - need not be overridden
        """Close the file handle; called once, also where something failed."""
