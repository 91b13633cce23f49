"""Files and folders that have their name only when they are complete, and what a crash leaves."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import shutil
import time
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Final

from ...models.errors import OutputError
from ...models.writing import LEFT_BEHIND_S, rename

_HIDDEN: Final = re.compile(r"\..+\.[0-9a-f]{8}\.(part|old)")
_ATTEMPTS: Final = 1 if os.name == "nt" else 3
_NO_LOCKS: Final = os.name == "nt"
"""There folders have none, and a file that is locked could not be written through its name."""


class PartialFile:
    """A file that has its name only when it is complete.

    It is written beside its final place under a hidden name that no other process uses, and renamed
    by :meth:`commit`: whoever sees the final name sees a finished file. What nobody committed goes
    with this object, also where an interruption came before anybody held it. While the object
    lives, the hidden file is locked: a process that was killed leaves one without a lock, which
    :func:`sweep` removes.

    Attributes:
        final: the name when it is complete.
        path: the hidden name.
    """

    def __init__(self, path: Path) -> None:
        """Choose the hidden name, and see that the folder can be written to.

        Raises:
            OutputError: the folder cannot be made or written to, or the place is a folder.
        """
        if path.is_dir():
            raise OutputError(f"{path}: is a folder, expected a place for a file")
        self._begin(path, _remove, lambda hidden: hidden.touch())

    def commit(self) -> None:
        """Give the file its final name, replacing what had it.

        Raises:
            OutputError: it cannot be renamed.
        """
        try:
            self._rename()
            self._removal.detach()
        except OSError as error:
            raise OutputError(
                f"{self.final}: cannot be written: {error.strerror or error}"
            ) from error
        self._unlock()

    def discard(self) -> None:
        """Remove the file, if it is there."""
        self._removal()
        self._unlock()

    def leave(self) -> None:
        """Let the file stay under its hidden name."""
        self._removal.detach()
        self._unlock()

    def _rename(self) -> None:
        rename(self.path, self.final)

    def _begin(
        self, path: Path, remove: Callable[[Path], None], make: Callable[[Path], object]
    ) -> None:
        self.final = path
        lock: int | None = None
        for attempt in range(_ATTEMPTS):
            self.path = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
            self._removal = weakref.finalize(self, remove, self.path)
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                make(self.path)
            except OSError as error:
                raise OutputError(
                    f"{path}: cannot be written: {error.strerror or error}"
                ) from error
            lock = _lock(self.path)
            # Between its making and its locking another process's sweep may have taken it.
            if (lock is not None or attempt == _ATTEMPTS - 1) and self.path.exists():
                break
            self._removal()
            if lock is not None:
                os.close(lock)
        self._unlock = weakref.finalize(self, os.close, lock) if lock is not None else _nothing


class PartialFolder(PartialFile):
    """As :class:`PartialFile`, for a folder."""

    def __init__(self, path: Path) -> None:
        """Make the folder under a hidden name.

        Raises:
            OutputError: it cannot be made, or the place is a file.
        """
        if path.is_file():
            raise OutputError(f"{path}: is a file, expected a place for a folder")
        self._begin(path, _remove, Path.mkdir)

    def _rename(self) -> None:
        old = self.path.with_suffix(".old")
        replaces = self.final.is_dir()  # with something in it, it cannot be replaced in one step
        if replaces:
            rename(self.final, old)
        try:
            rename(self.path, self.final)
        except OSError:
            if replaces:
                rename(old, self.final)
            raise
        _remove(old)


def sweep(folder: Path) -> list[Path]:
    """Remove what processes that were killed have left under their hidden names.

    Files that another process is writing, also on another machine that shares the folder, are
    locked and stay; on Windows, which knows no such locks, whatever was changed within a day stays.

    Returns:
        What was removed.
    """
    found = []
    for root, folders, files in os.walk(folder):
        for name in (*folders, *files):
            place = Path(root) / name
            if not _HIDDEN.fullmatch(name) or place.is_symlink():
                continue
            if _NO_LOCKS:
                if _age_s(place) > LEFT_BEHIND_S:
                    _remove(place)
                    found.append(place)
                continue
            lock = _lock(place)
            if lock is not None:
                _remove(place)
                os.close(lock)
                found.append(place)
        folders[:] = [name for name in folders if not name.startswith(".")]
    return found


def _lock(path: Path) -> int | None:
    """A handle that holds the lock of a file or folder; None where another has it, or none can."""
    if _NO_LOCKS:
        return None
    import fcntl

    try:
        handle = os.open(path, os.O_RDONLY)
    except OSError:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(handle)
        return None
    return handle


def _age_s(path: Path) -> float:
    """Since it was last changed; of what is gone, none."""
    with contextlib.suppress(OSError):
        return time.time() - path.stat().st_mtime
    return 0.0


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
        return
    with contextlib.suppress(OSError):
        path.unlink()


def _nothing() -> None:
    """There is no lock to let go of."""
